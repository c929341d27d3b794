"""The form in which a workspace is connected to LeadSquared, as a modal: data in, a view out. Pure.

A stored key never stands in it. What a person typed travels to the next view encrypted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, Field

from bot.leadsquared.address import (
    DOCUMENTED_HOST,
    HostNotAllowedError,
    InvalidAddressError,
    parse_typed_address,
)
from bot.leadsquared.tenant import DEFAULT_LIMIT, Attribution, check_key, check_org_id
from bot.slack import setup_words as words
from bot.slack.answers import Block, Message, context, plain_text, section
from bot.slack.payloads import Id, InputState, Payload, ViewState
from bot.slack.text import sound
from bot.tenants.connections import Connected, Seen, Wanted

CALLBACK, CONFIRM_CALLBACK = "setup", "setup_confirm"
DISCONNECT_ACTION = "setup_disconnect"
_INPUT = "input"

PLACE_BLOCK, HOST_BLOCK, OTHER_HOST_BLOCK = "place", "api_host", "other_api_host"
ORG_ID_BLOCK, LIMIT_BLOCK = "org_id", "rate_limit"
ACCESS_BLOCK, SECRET_BLOCK = "access_key", "secret_key"
ATTRIBUTION_BLOCK, SHOW_TICKET_BLOCK = "attribution", "show_ticket"

CHANNEL, WORKSPACE = "channel", "workspace"
LONGEST_KEY = 300
"""Characters of a field. LeadSquared's keys have some tens; both must fit into the metadata."""

MOST_CALLS = 1000


class Opened(Payload):
    """What the form carries to its submission.

    `version` is the number of the newest change that it shows.
    """

    model_config = ConfigDict(extra="forbid")

    team: Id
    enterprise: Id | None = None
    channel: Id | None = None  # the channel in which it was opened
    version: int

    def channel_of(self, place: str) -> str:
        """Return the channel that a choice means; `''` for the whole workspace."""
        return self.channel or "" if place == CHANNEL else ""


class Draft(Opened):
    """What a question carries to its answer, encrypted: what is to be done if the answer is yes.

    Without an `api_url` it is to disconnect.
    """

    place: str
    api_url: str = ""
    org_id: str = ""
    access_key: str | None = Field(default=None, repr=False)
    secret_key: str | None = Field(default=None, repr=False)
    calls_per_window: int = DEFAULT_LIMIT
    attribution: Attribution = Attribution.NONE
    show_ticket: bool = False
    proved: bool = False

    @property
    def opened(self) -> Opened:
        """The form's own part."""
        return Opened(
            team=self.team, enterprise=self.enterprise, channel=self.channel, version=self.version
        )

    @property
    def disconnects(self) -> bool:
        return not self.api_url

    @property
    def channel_id(self) -> str:
        return self.channel_of(self.place)

    @property
    def wanted(self) -> Wanted:
        return Wanted(
            self.channel_id,
            self.api_url,
            self.org_id,
            self.access_key,
            self.secret_key,
            self.calls_per_window,
            self.attribution,
            self.show_ticket,
        )


Errors = dict[str, str]
"""What is wrong, by the field."""


@dataclass(frozen=True, slots=True)
class Typed:
    """What a person left in the form's fields, but for the keys."""

    place: str
    host: str
    other_host: str
    org_id: str
    limit: str
    attribution: Attribution = Attribution.NONE
    show_ticket: bool = False


def read(opened: Opened, state: ViewState, allowed_hosts: tuple[str, ...]) -> Draft | Errors:
    """Read a submitted form, or say by field what is wrong with it."""
    typed = typed_in(state)
    errors: Errors = {}
    api_url = ""
    try:
        api_url = parse_typed_address(typed.other_host or typed.host, allowed_hosts).url
    except HostNotAllowedError as error:
        errors[_host_block(typed)] = words.host_not_allowed(error.host)
    except InvalidAddressError:
        errors[_host_block(typed)] = words.HOST_MALFORMED
    if not _is_org_id(typed.org_id):
        errors[ORG_ID_BLOCK] = words.ENTER_ORG_ID
    keys = {block: _text(state, block) or None for block in (ACCESS_BLOCK, SECRET_BLOCK)}
    for block, key in keys.items():
        if key is not None and not _is_key(key):
            errors[block] = words.KEY_MALFORMED
    limit = typed.limit.replace(",", "")
    if not _is_limit(limit):
        errors[LIMIT_BLOCK] = words.LIMIT_MALFORMED
    if errors:
        return errors
    return Draft(
        **opened.model_dump(),
        place=typed.place,
        api_url=api_url,
        org_id=typed.org_id,
        access_key=keys[ACCESS_BLOCK],
        secret_key=keys[SECRET_BLOCK],
        calls_per_window=int(limit),
        attribution=typed.attribution,
        show_ticket=typed.show_ticket,
    )


def missing_keys(draft: Draft) -> Errors:
    """Say which keys must be entered where none is stored."""
    keys = {ACCESS_BLOCK: draft.access_key, SECRET_BLOCK: draft.secret_key}
    return {block: words.ENTER_KEY for block, key in keys.items() if key is None}


def unreadable_keys(draft: Draft) -> Errors:
    """Say which keys must be entered anew, because the stored ones cannot be decrypted."""
    return dict.fromkeys(missing_keys(draft), words.KEY_UNREADABLE)


def typed_of(draft: Draft) -> Typed | None:
    """Return what the fields of a form held that became a draft."""
    if draft.disconnects:
        return None
    limit = str(draft.calls_per_window)
    return Typed(
        draft.place,
        DOCUMENTED_HOST,
        draft.api_url,
        draft.org_id,
        limit,
        draft.attribution,
        draft.show_ticket,
    )


def typed_in(state: ViewState) -> Typed:
    """Read the fields as they stand."""
    place, host = state.input(PLACE_BLOCK), state.input(HOST_BLOCK)
    attribution, show_ticket = state.input(ATTRIBUTION_BLOCK), state.input(SHOW_TICKET_BLOCK)
    return Typed(
        place=WORKSPACE
        if place is None or place.selected_option is None
        else place.selected_option.value,
        host=DOCUMENTED_HOST
        if host is None or host.selected_option is None
        else host.selected_option.value,
        other_host=_text(state, OTHER_HOST_BLOCK),
        org_id=_text(state, ORG_ID_BLOCK),
        limit=_text(state, LIMIT_BLOCK),
        attribution=_attribution_of(attribution),
        show_ticket=show_ticket is not None and bool(show_ticket.selected_options),
    )


def _attribution_of(found: InputState | None) -> Attribution:
    chosen = found.selected_option.value if found and found.selected_option else None
    return next((one for one in Attribution if one.value == chosen), Attribution.NONE)


def _text(state: ViewState, block_id: str) -> str:
    """Return a field's text without the white space around it, which copying leaves."""
    found = state.input(block_id)
    return "" if found is None else sound(found.value or "").strip()


def _host_block(typed: Typed) -> str:
    return OTHER_HOST_BLOCK if typed.other_host else HOST_BLOCK


def _is_org_id(text: str) -> bool:
    # Stricter than the operator's command: letters here are a slip, such as the company's name.
    try:
        return check_org_id(text).isdecimal()
    except ValueError:
        return False


def _is_limit(text: str) -> bool:
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_CALLS))
    return is_number and 1 <= int(text) <= MOST_CALLS


def _is_key(text: str) -> bool:
    try:
        check_key(text)
    except ValueError:
        return False
    return True


def where(channel_id: str) -> str:
    """Return what a connection is for, in words."""
    return words.THIS_CHANNEL if channel_id else words.WORKSPACE


# -- the views


def form(
    opened: Opened, seen: Seen, typed: Typed | None = None, notice: Message | None = None
) -> dict[str, Any]:
    """Build the form: what there is, the fields, and the newest changes."""
    typed = typed or _first(opened, seen)
    return _view(
        CALLBACK,
        words.SAVE,
        opened.model_copy(update={"version": seen.version}).model_dump_json(exclude_defaults=True),
        [*_said(notice), *_states(opened, seen), *_fields(opened, seen, typed), *_log(seen)],
    )


def question(sealed: str, submit: str, *said: Message) -> dict[str, Any]:
    """Build a view that asks before something is done; `sealed` says what."""
    blocks = [block for one in said for block in _said(one)]
    return _view(CONFIRM_CALLBACK, submit, sealed, blocks)


def notice(said: Message) -> dict[str, Any]:
    """Build a view that only says something."""
    return {
        "type": "modal",
        "title": plain_text(words.TITLE),
        "close": plain_text(words.CLOSE),
        "blocks": list(_said(said)),
    }


def _view(callback_id: str, submit: str, metadata: str, blocks: list[Block]) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": callback_id,
        "title": plain_text(words.TITLE),
        "submit": plain_text(submit),
        "close": plain_text(words.CANCEL),
        "private_metadata": metadata,
        "blocks": blocks,
    }


def _first(opened: Opened, seen: Seen) -> Typed:
    """Return what the fields begin with: what the workspace itself has entered before."""
    channel_id = opened.channel or ""
    place = CHANNEL if channel_id and seen.channel is not None else WORKSPACE
    own = seen.own(opened.channel_of(place))
    if own is None:
        return Typed(place, DOCUMENTED_HOST, "", "", str(DEFAULT_LIMIT))
    tenant = own.tenant
    return Typed(
        place,
        _host(own),
        "",
        tenant.org_id,
        str(tenant.calls_per_window),
        tenant.attribution,
        tenant.show_ticket,
    )


def _host(own: Connected) -> str:
    """Return the API host as an option's value: the documented one without https://."""
    return own.tenant.api_url.removeprefix("https://")


def _said(said: Message | None) -> Iterator[Block]:
    if said is not None:
        yield section(said.words)
        yield from (context(line) for line in said.small)


def _states(opened: Opened, seen: Seen) -> Iterator[Block]:
    if seen.channel is not None:
        yield _state(CHANNEL, words.THIS_CHANNEL, seen.channel, seen.own(opened.channel or ""))
    yield _state(WORKSPACE, words.WORKSPACE, seen.workspace, seen.own(""))


def _state(place: str, named: str, found: Connected | None, own: Connected | None) -> Block:
    block = section(words.state(named, found))
    if own is None:
        return block
    button = {
        "type": "button",
        "action_id": DISCONNECT_ACTION,
        "text": plain_text(words.DISCONNECT),
        "style": "danger",
        "value": place,
    }
    return block | {"accessory": button}


def _fields(opened: Opened, seen: Seen, typed: Typed) -> Iterator[Block]:
    if opened.channel is not None:
        yield _place(typed.place)
    yield _api_host(seen, opened, typed.host)
    yield _input(
        OTHER_HOST_BLOCK,
        words.OTHER_HOST,
        typed.other_host,
        hint=words.OTHER_HOST_HINT,
        optional=True,
    )
    yield _input(ORG_ID_BLOCK, words.ORG_ID, typed.org_id, hint=words.ORG_ID_HINT)
    has_keys = seen.own("") is not None or seen.own(opened.channel or "") is not None
    for block_id, label in ((ACCESS_BLOCK, words.ACCESS_KEY), (SECRET_BLOCK, words.SECRET_KEY)):
        hint = words.KEY_HINT if has_keys else None
        yield _input(block_id, label, "", hint=hint, optional=has_keys)
    yield _input(LIMIT_BLOCK, words.RATE_LIMIT, typed.limit, hint=words.RATE_LIMIT_HINT)
    yield _attribution(typed.attribution)
    yield _show_ticket(is_on=typed.show_ticket)


def _attribution(chosen: Attribution) -> Block:
    options = {one: _option(words.ATTRIBUTIONS[one], one.value) for one in Attribution}
    return {
        "type": "input",
        "block_id": ATTRIBUTION_BLOCK,
        "label": plain_text(words.ATTRIBUTION),
        "hint": plain_text(words.ATTRIBUTION_HINT),
        "element": {
            "type": "static_select",
            "action_id": _INPUT,
            "options": list(options.values()),
            "initial_option": options[chosen],
        },
    }


def _show_ticket(*, is_on: bool) -> Block:
    option = _option(words.SHOW_TICKET_OPTION, "on")
    chosen = {"initial_options": [option]} if is_on else {}
    return {
        "type": "input",
        "block_id": SHOW_TICKET_BLOCK,
        "optional": True,
        "label": plain_text(words.SHOW_TICKET),
        "hint": plain_text(words.SHOW_TICKET_HINT),
        "element": {"type": "checkboxes", "action_id": _INPUT, "options": [option], **chosen},
    }


def _place(place: str) -> Block:
    options = {
        WORKSPACE: _option(words.WORKSPACE, WORKSPACE),
        CHANNEL: _option(words.THIS_CHANNEL, CHANNEL),
    }
    return {
        "type": "input",
        "block_id": PLACE_BLOCK,
        "label": plain_text(words.PLACE),
        "hint": plain_text(words.PLACE_HINT),
        "element": {
            "type": "radio_buttons",
            "action_id": _INPUT,
            "options": list(options.values()),
            "initial_option": options[place],
        },
    }


def _api_host(seen: Seen, opened: Opened, host: str) -> Block:
    own = [one for id_ in ("", opened.channel or "") if (one := seen.own(id_)) is not None]
    hosts = dict.fromkeys([DOCUMENTED_HOST, *(_host(one) for one in own)])
    options = {one: _option(one, one) for one in hosts if len(one) <= _LONGEST_OPTION}
    return {
        "type": "input",
        "block_id": HOST_BLOCK,
        "label": plain_text(words.API_HOST),
        "element": {
            "type": "static_select",
            "action_id": _INPUT,
            "options": list(options.values()),
            "initial_option": options.get(host, options[DOCUMENTED_HOST]),
        },
    }


_LONGEST_OPTION = 75
"""Characters of an option's text in Slack."""


def _option(label: str, value: str) -> dict[str, Any]:
    return {"text": plain_text(label), "value": value}


def _input(
    block_id: str, label: str, value: str, *, hint: str | None, optional: bool = False
) -> Block:
    element = {
        "type": "plain_text_input",
        "action_id": _INPUT,
        "max_length": LONGEST_KEY,
        **({"initial_value": value} if value else {}),
    }
    block = {
        "type": "input",
        "block_id": block_id,
        "label": plain_text(label),
        "element": element,
        "optional": optional,
    }
    return block if hint is None else block | {"hint": plain_text(hint)}


def _log(seen: Seen) -> Iterator[Block]:
    yield from (context(words.change(one)) for one in seen.changes)
