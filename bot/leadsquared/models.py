"""LeadSquared's wire shapes, as documented; LeadSquared's words outside, snake_case inside."""

import json
import re
from codecs import BOM_UTF8
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNSOUND = re.compile("[\0\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = 0xDC00
"""What `surrogateescape` adds to a byte that is not UTF-8."""

_PLAIN_AT_MOST = 2000
"""Bytes. A longer text is a page, and no reason."""


class Wire(BaseModel):
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


class PortalActivity(Wire):
    """The body of "Add Portal Activities to Tickets"."""

    model_config = ConfigDict(populate_by_name=True)

    text: str = Field(alias="Text")
    direction: str = Field(default="INBOUND", alias="Direction")


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


class ConversationFilter(Wire):
    """The body of the filter over conversations.

    An ID of digits is sent as a number, as in the documentation.
    """

    model_config = ConfigDict(populate_by_name=True)

    ticket_id: int | str = Field(alias="TicketId")
    org_id: int | str = Field(alias="OrgId")
    activity_type: tuple[str, ...] = Field(default=("PortalInbound",), alias="ActivityType")


class ListedConversation(Wire):
    """One entry of the answer. It may have no id or no text, and then counts for no delivery."""

    id: Annotated[str | None, BeforeValidator(_identifier)] = Field(default=None, alias="Id")
    text: Shown = Field(default=None, alias="Text")


class Conversations(Wire):
    """The answer of the filter over conversations."""

    total: int = Field(alias="Total")
    conversation_list: tuple[ListedConversation, ...] = Field(alias="ConversationList")


class Answer(Wire):
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
