"""What Slack sends, as far as the bot reads it. The shape is checked before Bolt sees a request."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

Id = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9._-]+$")]
_MOST_FIELDS = 200


class MalformedRequestError(ValueError):
    """The body is not what Slack sends."""


class Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class SlashCommand(Payload):
    """A slash command's form. A `text` has Slack's encoding; new lines in it are kept."""

    command: str
    team_id: Id
    channel_id: Id
    user_id: Id
    trigger_id: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    text: str = ""
    enterprise_id: Id | None = None
    response_url: str | None = None


class Entity(Payload):
    id: Id


class Team(Payload):
    id: Id
    enterprise_id: Id | None = None


class User(Payload):
    id: Id
    team_id: Id | None = None


class Action(Payload):
    action_id: str
    value: str = ""


class Interaction(Payload):
    """What every interaction carries. `user.team_id` may be another organisation's (Slack Connect).

    `team` is the workspace in which the app acts; an org-wide install's payload may leave it null.
    """

    team: Team | None
    user: User
    trigger_id: str = ""
    enterprise: Entity | None = None

    @property
    def team_id(self) -> str:
        """The acting workspace; where the payload leaves it out, the person's own. Empty when neither is named."""
        return self.team.id if self.team else self.user.team_id or ""

    @property
    def enterprise_id(self) -> str | None:
        return self.enterprise.id if self.enterprise else self.team.enterprise_id if self.team else None


class BlockActions(Interaction):
    """A button was pressed."""

    type: Literal["block_actions"]
    actions: Annotated[list[Action], Field(min_length=1)]
    response_url: str | None = None


class InputState(Payload):
    value: str | None = None


class ViewState(Payload):
    values: dict[str, dict[str, InputState]] = {}

    def value(self, block_id: str) -> str | None:
        """Return what was typed into a block's only input; None when the block is not in the view."""
        return next((state.value for state in self.values.get(block_id, {}).values()), None)


class View(Payload):
    id: Id
    callback_id: str = ""
    private_metadata: str = ""
    state: ViewState = ViewState()


class ViewSubmission(Interaction):
    """A modal was submitted."""

    type: Literal["view_submission"]
    view: View


class Other(Payload):
    """An interaction or event that the bot has no part in."""

    type: Annotated[str, StringConstraints(min_length=1)]


_INTERACTIONS: dict[str, type[BaseModel]] = {"block_actions": BlockActions, "view_submission": ViewSubmission}
_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any], config=ConfigDict(hide_input_in_errors=True))


def parse_body(body: str, content_type: str) -> dict[str, Any]:
    """Return the body as Bolt takes it; raise MalformedRequestError unless Slack could have sent it to this app."""
    try:
        return _checked_event(body) if content_type == "application/json" else _checked_form(body)
    except (ValidationError, UnicodeDecodeError) as error:
        raise MalformedRequestError("not a request of Slack's") from error
    except ValueError as error:  # parse_qsl: too many fields
        raise MalformedRequestError("too many fields") from error


def _checked_event(body: str) -> dict[str, Any]:
    event = _object(body)
    Other.model_validate(event)
    return event


def _checked_form(body: str) -> dict[str, Any]:
    fields = dict(parse_qsl(body, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS))
    if "payload" in fields:
        payload = _object(fields["payload"])
        check_interaction(payload)
        return payload
    if "ssl_check" not in fields:  # Slack looks at the certificate now and then
        SlashCommand.model_validate(without_blanks(fields))
    return fields


def check_interaction(payload: Mapping[str, Any]) -> None:
    """Raise pydantic's ValidationError unless an interaction has the shape that its type asks for."""
    kind = payload.get("type")
    _INTERACTIONS.get(kind if isinstance(kind, str) else "", Other).model_validate(payload)


def without_blanks(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Drop empty form fields: Slack writes what is absent as nothing (`enterprise_id=`)."""
    return {name: value for name, value in fields.items() if value != ""}


def _object(text: str) -> dict[str, Any]:
    # pydantic's parser ends a nesting bomb with an error, where json.loads ends in a RecursionError.
    _OBJECT.validate_json(text)
    parsed: dict[str, Any] = json.loads(text)
    return parsed
