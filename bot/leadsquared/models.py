"""LeadSquared's wire shapes, as documented; LeadSquared's words outside, snake_case inside."""

import json
import re
from codecs import BOM_UTF8
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNSOUND = re.compile("[\0\ud800-\udfff]")


class Wire(BaseModel):
    # Inputs are customers' words and LeadSquared's answers: an error about one must not carry it along.
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
    return _words(_UNSOUND.sub("", value)) if isinstance(value, str) else None


Words = Annotated[str | None, BeforeValidator(_words)]
Shown = Annotated[str | None, BeforeValidator(_shown)]
"""Words for people, without what cannot be stored or sent on."""


class ConversationFilter(Wire):
    """The body of the filter over conversations; ids are numbers where they look like it, as in the documentation."""

    model_config = ConfigDict(populate_by_name=True)

    ticket_id: int | str = Field(alias="TicketId")
    org_id: int | str = Field(alias="OrgId")
    activity_type: tuple[str, ...] = Field(default=("PortalInbound",), alias="ActivityType")


class ListedConversation(Wire):
    """One entry of the answer; an entry without an id or a text is read as such, and is nobody's."""

    id: Annotated[str | None, BeforeValidator(_identifier)] = Field(default=None, alias="Id")
    text: Shown = Field(default=None, alias="Text")


class Conversations(Wire):
    """The answer of the filter over conversations."""

    total: int = Field(alias="Total")
    conversation_list: tuple[ListedConversation, ...] = Field(alias="ConversationList")


class Answer(Wire):
    """Any answer's body: the documented one and the error shapes seen in the field, each field optional."""

    id: Annotated[str | None, BeforeValidator(_identifier)] = Field(default=None, alias="Id")
    status: Words = Field(default=None, alias="Status")
    message: Shown = Field(default=None, alias="Message")
    exception_type: Words = Field(default=None, alias="ExceptionType")
    exception_message: Shown = Field(default=None, alias="ExceptionMessage")

    @property
    def says(self) -> str | None:
        """What LeadSquared says in words, if anything."""
        return self.exception_message or self.message
