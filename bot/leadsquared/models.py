"""LeadSquared's wire shapes, as documented; LeadSquared's words outside, snake_case inside."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Wire(BaseModel):
    # Inputs are customers' words and LeadSquared's answers: an error about one must not carry it along.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


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


Words = Annotated[str | None, BeforeValidator(_words)]


class ConversationFilter(Wire):
    """The body of the filter over conversations; ids are numbers where they look like it, as in the documentation."""

    model_config = ConfigDict(populate_by_name=True)

    ticket_id: int | str = Field(alias="TicketId")
    org_id: int | str = Field(alias="OrgId")
    activity_type: tuple[str, ...] = Field(default=("PortalInbound",), alias="ActivityType")


class ListedConversation(Wire):
    """One entry of the answer; an entry without an id or a text is read as such, and is nobody's."""

    id: Annotated[str | None, BeforeValidator(_identifier)] = Field(default=None, alias="Id")
    text: Words = Field(default=None, alias="Text")


class Conversations(Wire):
    """The answer of the filter over conversations."""

    total: int = Field(alias="Total")
    conversation_list: tuple[ListedConversation, ...] = Field(alias="ConversationList")


class Answer(Wire):
    """Any answer's body: the documented one and the error shapes seen in the field, each field optional."""

    id: Annotated[str | None, BeforeValidator(_identifier)] = Field(default=None, alias="Id")
    status: Words = Field(default=None, alias="Status")
    message: Words = Field(default=None, alias="Message")
    exception_type: Words = Field(default=None, alias="ExceptionType")
    exception_message: Words = Field(default=None, alias="ExceptionMessage")

    @property
    def says(self) -> str | None:
        """What LeadSquared says in words, if anything."""
        return self.exception_message or self.message
