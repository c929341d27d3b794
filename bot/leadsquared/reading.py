"""How an answer is read: a pure function from (status, headers, body) to an Outcome."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from bot.leadsquared.models import Answer, Conversations, said_plainly
from bot.leadsquared.outcome import (
    CannotRead,
    Conversation,
    Outcome,
    Problem,
    RateLimited,
    Recorded,
    Rejected,
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
_WORDS_AT_MOST = 2000


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
    says = body[:_WORDS_AT_MOST].decode("utf-8", "replace") if answer is None else answer.says or ""
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
