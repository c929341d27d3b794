"""What Slack sends, as far as the bot reads it.

Bolt sees that much of a request, in these shapes, and nothing else.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qsl

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from bot.slack.text import sound

Id = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9._-]+$")]
_TS = re.compile(r"[0-9]{1,10}\.[0-9]{1,9}")  # seconds since the epoch, until the year 2286
_MOST_FIELDS = 200
_UNSOUND = re.compile("[\0\ud800-\udfff]")


def _sound(value: Any) -> Any:  # noqa: ANN401 - not validated yet
    return sound(value) if isinstance(value, str) else value


FreeText = Annotated[str, BeforeValidator(_sound)]
"""What people wrote: what cannot be stored is left out of it, instead of refusing all of it."""


class MalformedRequestError(ValueError):
    """The body is not what Slack sends."""


class Payload(BaseModel):
    """Values that come from outside, and may reach a statement.

    Every database can hold their texts.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    @field_validator("*")
    @classmethod
    def _can_be_stored(cls, value: Any) -> Any:  # noqa: ANN401 - any field's
        # PostgreSQL holds no NUL, and nothing encodes half a character. No person types them into
        # an id.
        if isinstance(value, str) and _UNSOUND.search(value):
            raise ValueError("a character that cannot be stored")
        return value


class SlashCommand(Payload):
    """A slash command's form. A `text` has Slack's encoding; new lines in it are kept."""

    command: str
    team_id: Id
    channel_id: Id
    user_id: Id
    trigger_id: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    text: FreeText = ""
    enterprise_id: Id | None = None
    response_url: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, fields: Any) -> Any:  # noqa: ANN401 - not validated yet
        # Slack writes what is absent as nothing (`enterprise_id=`).
        return (
            {name: value for name, value in fields.items() if value != ""}
            if isinstance(fields, dict)
            else fields
        )


class Entity(Payload):
    id: Id


class Team(Payload):
    id: Id
    enterprise_id: Id | None = None


class User(Payload):
    id: Id
    team_id: Id | None = None


class Option(Payload):
    value: str = ""


class Action(Payload):
    action_id: str
    value: str = ""
    selected_option: Option | None = None


class InputState(Payload):
    value: FreeText | None = None
    selected_option: Option | None = None
    selected_options: list[Option] | None = None


class ViewState(Payload):
    values: dict[str, dict[str, InputState]] = {}

    def input(self, block_id: str) -> InputState | None:
        """Return a block's only input; None when the block is not in the view."""
        return next(iter(self.values.get(block_id, {}).values()), None)


class PlainText(Payload):
    text: FreeText = ""


class InputElement(Payload):
    initial_value: FreeText | None = None


class ViewBlock(Payload):
    """A block of the bot's own modal, as Slack gives it back."""

    type: str = ""
    block_id: str = ""
    text: PlainText | None = None
    hint: PlainText | None = None
    element: InputElement | None = None
    elements: list[dict[str, Any]] = []


class View(Payload):
    """A modal as it stands. Bolt reads its type."""

    id: Id
    type: str
    team_id: Id | None = None
    callback_id: str = ""
    hash: str | None = None
    private_metadata: str = ""
    state: ViewState = ViewState()
    blocks: list[ViewBlock] = []


class Interaction(Payload):
    """What every interaction carries; see `is_member` for whose `user.team_id` may be.

    `team` is the workspace in which the app acts; an org-wide install's payload may leave it null.
    """

    team: Team | None
    user: User
    trigger_id: str = ""
    enterprise: Entity | None = None
    api_app_id: str = ""
    view: View | None = None

    @model_validator(mode="after")
    def _names_a_workspace(self) -> Self:
        # A payload of no workspace would match every workspace. An organisation alone will do.
        if not self.team_id:
            raise ValueError("an interaction that names no workspace")
        return self

    @property
    def team_id(self) -> str:
        """The acting workspace; else the form's, the person's own, or the whole organisation."""
        named = (self.team and self.team.id, self.view and self.view.team_id, self.user.team_id)
        return next((team_id for team_id in named if team_id), self.enterprise_id or "")

    @property
    def enterprise_id(self) -> str | None:
        return (
            self.enterprise.id
            if self.enterprise
            else self.team.enterprise_id
            if self.team
            else None
        )


class MessageShortcut(Interaction):
    """A message shortcut was used.

    `message` is the whole message, in one of Slack's many shapes.
    """

    type: Literal["message_action"]
    callback_id: str
    channel: Entity
    message: dict[str, Any]
    message_ts: str | None = None
    response_url: str | None = None

    @model_validator(mode="after")
    def _has_ts(self) -> Self:
        if not is_ts(self.ts):
            raise ValueError("a message without its ts")
        return self

    @property
    def ts(self) -> str:
        """The message's own."""
        return self.message_ts or str(self.message.get("ts"))

    @property
    def thread_ts(self) -> str | None:
        """The thread that the message stands in; None when it is in none yet."""
        ts = self.message.get("thread_ts")
        return ts if isinstance(ts, str) and is_ts(ts) else None


class Container(Payload):
    """Where what was pressed stands."""

    thread_ts: str | None = None


class BlockActions(Interaction):
    """A person pressed a button, or chose something.

    It is in a message, or in a modal or App Home (`view`, and no `response_url`).
    """

    type: Literal["block_actions"]
    actions: Annotated[list[Action], Field(min_length=1)]
    response_url: str | None = None
    channel: Entity | None = None
    container: Container | None = None

    @property
    def thread_ts(self) -> str | None:
        """The thread in which the button stands, and so what is said to it."""
        ts = self.container.thread_ts if self.container else None
        return ts if ts is not None and is_ts(ts) else None

    @property
    def is_at_home(self) -> bool:
        """Whether the button stands in App Home, where no response_url answers it."""
        return self.view is not None and self.view.type == "home"


class ViewSubmission(Interaction):
    """A modal was submitted."""

    type: Literal["view_submission"]
    view: View


class RevokedTokens(Payload):
    """The users whose tokens were revoked: people's (`oauth`) and bots'."""

    oauth: tuple[Id, ...] = ()
    bot: tuple[Id, ...] = ()


class Event(Payload):
    """What happened, as far as the bot reads it."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    user: Id | None = None
    channel: Id | None = None
    tab: str = ""
    tokens: RevokedTokens = RevokedTokens()

    @field_validator("user", "channel", mode="before")
    @classmethod
    def _id_of(cls, value: Any) -> Any:  # noqa: ANN401 - an ID, or in some events the whole object
        return value.get("id") if isinstance(value, dict) else value


class Authorization(Payload):
    """The installation that an event was sent for."""

    enterprise_id: Id | None = None
    team_id: Id | None = None
    is_enterprise_install: bool = False


class EventCallback(Payload):
    """An event, as https://docs.slack.dev/apis/events-api#callback-field has it."""

    type: Literal["event_callback"]
    event: Event
    team_id: Id | None = None
    enterprise_id: Id | None = None
    event_id: str = ""
    event_time: int | None = None
    authorizations: tuple[Authorization, ...] = ()
    is_enterprise_install: bool = False

    @property
    def installed_in(self) -> str | None:
        """The workspace whose installation it is about, or the organisation.

        Slack names the installation in `authorizations`; without it, the outer fields say.
        """
        named = self.authorizations[0] if self.authorizations else self
        if named.is_enterprise_install or self.is_enterprise_install:
            return named.enterprise_id or self.enterprise_id
        return named.team_id or self.team_id or self.enterprise_id


class UrlVerification(Payload):
    """Slack's question whether this address is the app's."""

    type: Literal["url_verification"]
    challenge: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Other(Payload):
    """An interaction or event that the bot has no part in."""

    type: Annotated[str, StringConstraints(min_length=1)]


_BY_TYPE: dict[str, type[Payload]] = {
    "block_actions": BlockActions,
    "event_callback": EventCallback,
    "message_action": MessageShortcut,
    "url_verification": UrlVerification,
    "view_submission": ViewSubmission,
}
_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(
    dict[str, Any], config=ConfigDict(hide_input_in_errors=True)
)


def is_member(who: Interaction, team_id: str, enterprise_id: str | None) -> bool:
    """Say whether a person may act on what belongs to this workspace, of this organisation if any.

    In an organisation Slack may name another workspace of it, the organisation, or none as the
    person's own; `enterprise` tells that it is the same organisation. In a channel shared by
    Slack Connect the person may be of another one.
    """
    organisation = who.enterprise.id if who.enterprise else None
    named = {organisation, who.team.enterprise_id if who.team else None, enterprise_id} - {None}
    if len(named) > 1:
        return False
    same_team = who.team_id == team_id
    same_organisation = organisation is not None and (same_team or organisation == enterprise_id)
    home = who.user.team_id
    if same_organisation and home is not None and not home.startswith("E"):
        return True  # one of the organisation's workspaces
    return (same_team or same_organisation) and home in (None, team_id, *named)


def is_ts(text: str) -> bool:
    """Say whether a text has the form of a message's ts, such as 1790000000.000100."""
    return bool(_TS.fullmatch(text))


def objects(value: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
    """Return the objects of a list; what is not of these types is passed over."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def parse_body(body: str, content_type: str) -> Payload:
    """Return what is read of an HTTP body.

    Raise MalformedRequestError unless Slack could have sent it to this app.
    """
    return read_payload(_parsed(body, content_type))


def read_payload(payload: Mapping[str, Any]) -> Payload:
    """Return what the bot reads of a payload, or raise MalformedRequestError.

    This is the one way in, by HTTP and by websocket, and the only place that validates a payload.
    """
    try:
        return _shape(payload).model_validate(payload)
    except ValidationError as error:
        raise MalformedRequestError("not a request of Slack's") from error


def _shape(payload: Mapping[str, Any]) -> type[Payload]:
    kind = payload.get("type")
    if kind is None and "command" in payload:
        return SlashCommand
    return _BY_TYPE.get(kind, Other) if isinstance(kind, str) else Other


def _parsed(body: str, content_type: str) -> dict[str, Any]:
    try:
        if content_type == "application/json":
            return _OBJECT.validate_json(body)
        fields = dict(
            parse_qsl(body, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
        )
        return _OBJECT.validate_json(fields["payload"]) if "payload" in fields else fields
    except (ValidationError, UnicodeDecodeError) as error:
        raise MalformedRequestError("not a request of Slack's") from error
    except ValueError as error:  # parse_qsl: too many fields
        raise MalformedRequestError("too many fields") from error
