"""What an answer means: a pure function from (status, headers, body) to an Outcome.

First come the shapes of bodies, documented and seen in the field; then what they mean.
"""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from bot.leadsquared.outcome import (
    CannotRead,
    Conversation,
    NoTicket,
    Outcome,
    Problem,
    RateLimited,
    Recorded,
    Rejected,
    Ticket,
    Unknown,
)

_RATE_LIMIT_WORDS = re.compile(
    r"\brate.?limit|too many (api )?(calls|requests)|(api )?calls? exceeded", re.IGNORECASE
)
_REJECTED_STATUS = {
    400: Problem.BAD_REQUEST,
    401: Problem.UNAUTHORIZED,
    403: Problem.FORBIDDEN,
    404: Problem.NOT_FOUND,
}
# Client errors that say nothing about whether the request was carried out.
_UNDECIDED_STATUS = frozenset({408, 425, 499})
Failed = Rejected | RateLimited | Unknown
_LONGEST_WAIT = 3600.0
_UNSOUND = re.compile("[\0\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = 0xDC00
"""What `surrogateescape` adds to a byte that is not UTF-8."""

_PLAIN_AT_MOST = 2000
"""Bytes. A longer text is a page, and no reason."""


class _Body(BaseModel):
    """An answer's body: LeadSquared's names outside, snake_case inside."""

    # Inputs are customers' words and LeadSquared's answers: an error about one must not carry it
    # along.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a body of JSON; raise ValueError for anything else.

        A character that is none must not cost the whole answer, so pydantic's own reading is not
        used: half a surrogate pair, a byte that is not UTF-8, a control character in a text.
        """
        text = body.removeprefix(BOM_UTF8).decode("utf-8", "surrogateescape")
        try:
            return cls.model_validate(json.loads(text, strict=False))
        except RecursionError:
            raise ValueError("nested too deeply") from None


def _identifier(value: Any) -> str | None:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, str):
        stripped = value.strip()
        return stripped if stripped and stripped.isprintable() else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _words(value: Any) -> str | None:  # noqa: ANN401 - whatever JSON holds
    return value.strip() or None if isinstance(value, str) else None


def _shown(value: Any) -> str | None:  # noqa: ANN401 - whatever JSON holds
    return _words(_UNSOUND.sub("", _latin(value))) if isinstance(value, str) else None


def _latin(text: str) -> str:
    """Read bytes that are not UTF-8 as Latin-1, where all of them are its letters and signs."""
    strays = _SURROGATE.findall(text)
    if not strays or not all("\udca0" <= stray <= "\udcfe" for stray in strays):
        return text
    return _SURROGATE.sub(lambda stray: chr(ord(stray[0]) - _ESCAPED), text)


def _said(value: Any) -> str | None:  # noqa: ANN401 - whatever JSON holds
    """Read a message: a text, or a list of texts."""
    if not isinstance(value, list):
        return _shown(value)
    return "; ".join(said for one in value if (said := _shown(one))) or None


def _said_of_fields(value: Any) -> str | None:  # noqa: ANN401 - whatever JSON holds
    """Read a ModelState: messages by the field that is wrong."""
    if not isinstance(value, dict):
        return None
    return "; ".join(dict.fromkeys(said for one in value.values() if (said := _said(one)))) or None


def said_plainly(body: bytes) -> str | None:
    """Read what an answer says that is no JSON object.

    It is plain text, a JSON text, or a list of texts and objects.
    """
    text = body[:_PLAIN_AT_MOST].decode("utf-8", "surrogateescape").removeprefix("\ufeff").strip()
    try:
        value = json.loads(body.decode("utf-8", "surrogateescape"), strict=False)
    except (ValueError, RecursionError):
        return None if not text or text[0] in "<{[" or len(body) > _PLAIN_AT_MOST else _shown(text)
    values = value if isinstance(value, list) else [value]
    said = (
        Answer.model_validate(one).says if isinstance(one, dict) else _shown(one) for one in values
    )
    return "; ".join(filter(None, said)) or None


Words = Annotated[str | None, BeforeValidator(_words)]
Shown = Annotated[str | None, BeforeValidator(_shown)]
"""Words for people, without what cannot be stored or sent on."""

Said = Annotated[str | None, BeforeValidator(_said)]


class ListedConversation(_Body):
    """One entry of the answer. It may have no id or no text, and then counts for no delivery."""

    id: Annotated[str | None, BeforeValidator(_identifier)] = Field(default=None, alias="Id")
    text: Shown = Field(default=None, alias="Text")


class Conversations(_Body):
    """The answer of the filter over conversations."""

    total: int = Field(alias="Total")
    conversation_list: tuple[ListedConversation, ...] = Field(alias="ConversationList")


class TicketField(_Body):
    """One of a ticket's fields. Only texts are read."""

    name: Words = Field(default=None, alias="SchemaName")
    value: Shown = Field(default=None, alias="Value")


class ShownTicket(_Body):
    """The answer of "Ticket by id"."""

    id: Annotated[str | None, BeforeValidator(_identifier)] = Field(alias="Id")
    guid: Words = Field(default=None, alias="TicketId")
    fields: tuple[TicketField, ...] = Field(alias="Fields")

    def is_(self, ticket_id: str) -> bool:
        """Say whether this is the ticket that was asked for, by its number or its GUID."""
        return ticket_id in (self.id, (self.guid or "").lower())

    def value(self, name: str) -> str | None:
        """Return a field's text; None where it has none, or two."""
        found = {one.value for one in self.fields if one.name == name}
        return found.pop() if len(found) == 1 else None


class Answer(_Body):
    """Any answer's body.

    It reads the documented answer and the error shapes seen in the field. Each field is optional.
    """

    id: Annotated[str | None, BeforeValidator(_identifier)] = Field(default=None, alias="Id")
    status: Words = Field(default=None, alias="Status")
    message: Said = Field(default=None, alias="Message")
    model_state: Annotated[str | None, BeforeValidator(_said_of_fields)] = Field(
        default=None, alias="ModelState"
    )
    exception_type: Words = Field(default=None, alias="ExceptionType")
    exception_message: Said = Field(default=None, alias="ExceptionMessage")

    @property
    def says(self) -> str | None:
        """What LeadSquared says in words, if anything."""
        return self.exception_message or self.model_state or self.message


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime | None = None
) -> Outcome:
    """Decide what an HTTP answer means. `headers` is looked up in lower case.

    Success is only a 2xx with the documented body. What is neither surely recorded nor surely
    refused is Unknown.
    """
    outcome = _read_answer(status, headers, body, now)
    if isinstance(outcome, Recorded):
        return outcome
    return replace(outcome, reason=_reason(status, outcome))


def _reason(status: int, outcome: Failed) -> str:
    """Name the status, and what the body said against it: a 2xx alone would be a success."""
    if not 200 <= status < 300:
        return f"status {status}"
    match outcome:
        case Rejected():
            return f"status {status}, an error in the body"
        case RateLimited():
            return f"status {status}, a rate limit in the body"
        case Unknown():
            return f"status {status}, an unreadable body"


def _read_answer(
    status: int, headers: Mapping[str, str], body: bytes, now: datetime | None
) -> Recorded | Failed:
    answer = _parse(body)
    if _is_rate_limit(status, answer, body):
        if answer is not None and _is_success(answer):
            return Unknown(
                Problem.UNREADABLE
            )  # it says both, and must not be repeated on the strength of one
        return RateLimited(_retry_after(headers.get("retry-after"), now or datetime.now(UTC)))
    if answer is not None and _is_error(answer):
        own = status >= 500 or _is_exception(answer)
        return Rejected(
            _REJECTED_STATUS.get(status, Problem.FAILED if own else Problem.REFUSED), answer.says
        )
    if 200 <= status < 300:
        if answer is not None and answer.id is not None and _is_success(answer):
            return Recorded(answer.id)
        return Unknown(Problem.UNREADABLE)
    says = answer.says if answer is not None else _plainly(status, body)
    if status in _REJECTED_STATUS:
        return Rejected(_REJECTED_STATUS[status], says)
    if 400 <= status < 500 and status not in _UNDECIDED_STATUS:
        return Rejected(Problem.REFUSED, says or _phrase(status))
    if 300 <= status < 400:
        return Unknown(Problem.REDIRECTED)
    return Unknown(Problem.SERVER_ERROR, says)


def read_conversations(status: int, body: bytes | None) -> list[Conversation] | CannotRead:
    """Read the answer of the filter over conversations.

    Only the documented shape, and the whole of it, says what is there.
    """
    answer = _conversations(status, body)
    if isinstance(answer, CannotRead):
        return answer
    if answer.total > len(answer.conversation_list):
        return CannotRead("not all were shown")
    listed = answer.conversation_list
    return [Conversation(one.id, one.text) for one in listed if one.id and one.text]


def read_keys(status: int, body: bytes | None) -> bool | CannotRead:
    """Say whether the filter's answer accepts the keys, refuses them, or proves neither."""
    if status == 401:
        return False
    answer = _conversations(status, body)
    return answer if isinstance(answer, CannotRead) else True


def read_ticket(
    status: int, headers: Mapping[str, str], body: bytes | None, ticket_id: str
) -> Ticket | NoTicket | RateLimited | CannotRead:
    """Read the answer of "Ticket by id".

    Only the documented shape, of the very ticket that was asked for, says anything of it.
    """
    answer = _parse(body or b"")
    if _is_rate_limit(status, answer, body or b""):
        return RateLimited(_retry_after(headers.get("retry-after"), datetime.now(UTC)))
    if status == 404:
        return NoTicket(ticket_id)
    if status != 200 or (answer is not None and _is_error(answer)):
        return CannotRead(f"status {status}")
    try:
        shown = ShownTicket.read(body or b"")
    except ValueError:
        return CannotRead("unreadable answer")
    title = shown.value("Title")
    if not shown.is_(ticket_id) or title is None:
        return CannotRead("another ticket, or no title")
    return Ticket(ticket_id, title, shown.value("Status"))


def _conversations(status: int, body: bytes | None) -> Conversations | CannotRead:
    if not 200 <= status < 300:
        return CannotRead(f"status {status}")
    try:
        return Conversations.read(body or b"")
    except ValueError:
        return CannotRead("unreadable answer")


def _plainly(status: int, body: bytes) -> str | None:
    """Read the words of a body that is no JSON object.

    Return None when the words may be a gateway's and not LeadSquared's.
    """
    return said_plainly(body) if 400 <= status <= 500 else None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"


def _parse(body: bytes) -> Answer | None:
    """Return the body when it is a JSON object, else None.

    The body may be HTML, a list, cut short or empty.
    """
    try:
        return Answer.read(body)
    except ValueError:
        return None


def _is_success(answer: Answer) -> bool:
    return answer.status == "Success" and answer.id is not None


def _is_exception(answer: Answer) -> bool:
    return (answer.exception_type or "").upper().startswith("MX")


def _is_error(answer: Answer) -> bool:
    return (answer.status or "").lower() in ("error", "failed") or _is_exception(answer)


def _is_rate_limit(status: int, answer: Answer | None, body: bytes) -> bool:
    if status == 429:
        return True
    if answer is not None and "ratelimit" in (answer.exception_type or "").lower():
        return True
    says = body[:_PLAIN_AT_MOST].decode("utf-8", "replace") if answer is None else answer.says or ""
    return status == 403 and _RATE_LIMIT_WORDS.search(says) is not None


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Read Retry-After (RFC 9110: seconds, or a date) as seconds from now; nonsense is None."""
    if value is None:
        return None
    try:
        seconds = (
            float(value)
            if value.strip().isdecimal()
            else (parsedate_to_datetime(value) - now).total_seconds()
        )
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT)
