"""The words of connecting LeadSquared inside Slack: the form, its answers, its questions. Pure."""

from bot.leadsquared.tenant import Attribution
from bot.slack.answers import COMMAND, Message, day_and_time, message
from bot.slack.text import cut, one_line, shorten
from bot.tenants.changes import Change, What
from bot.tenants.connections import Connected

TITLE = "Connect LeadSquared"
SAVE, SAVE_ANYWAY, MOVE = "Save", "Save anyway", "Move"
DISCONNECT, CLOSE, CANCEL = "Disconnect", "Close", "Cancel"

PLACE, THIS_CHANNEL, WORKSPACE = "Connect", "This channel", "The whole workspace"
PLACE_HINT = "What this channel has of its own goes before what the whole workspace has."
API_HOST, OTHER_HOST = "API host", "Another API host"
OTHER_HOST_HINT = (
    "Only if LeadSquared gave you another host. It is then used instead of the one above."
)
ORG_ID, ACCESS_KEY, SECRET_KEY, RATE_LIMIT = "Org ID", "Access key", "Secret key", "Rate limit"
ORG_ID_HINT = "The number that LeadSquared shows after login, for example 22824"
KEY_HINT = "Leave this empty to keep the stored key."
RATE_LIMIT_HINT = "Calls in 5 seconds. LeadSquared's documentation says 25."

ATTRIBUTION, SHOW_TICKET = "Attribution", "Ticket titles"
ATTRIBUTIONS = {
    Attribution.NONE: "None",
    Attribution.NAME: "The name of who recorded it",
    Attribution.NAME_AND_LINK: "The name, and a link to the Slack message",
}
ATTRIBUTION_HINT = "A last line on the ticket, for example: — Maya Patel via Slack"
SHOW_TICKET_OPTION = "Show a ticket's title and status before recording"
SHOW_TICKET_HINT = "The bot then reads the ticket. LeadSquared documents this call only in part."

ENTER_ORG_ID = "Enter the org ID: the number that LeadSquared shows after login, for example 22824."
ENTER_KEY = "Enter this key. There is no stored key for this account."
KEY_MALFORMED = "This has characters that no key has. Copy the key again."
KEY_UNREADABLE = "The stored key can't be decrypted. Enter both keys again."
LIMIT_MALFORMED = "Enter a whole number from 1 to 1,000, for example 25."
HOST_MALFORMED = "This is not an API host. For example:\nhttps://apigw.service-in.leadsquared.com"


def host_not_allowed(host: str) -> str:
    """What stands by the API host when the bot may send no keys there."""
    shown = cut(one_line(host), 60)
    return f"The bot may not send keys to {shown}. Check the host with LeadSquared, or ask the person who runs the bot to allow it."


def loading() -> Message:
    return Message(
        "Asking Slack what you may do… If this takes more than 10 seconds, close this and try again."
    )


def checking() -> Message:
    return Message(
        "Checking the keys with LeadSquared… If this takes more than 30 seconds, close this and try again."
    )


def not_allowed(named: tuple[str, ...]) -> Message:
    """Say to a person who may not connect the workspace who can."""
    if not named:
        return Message("Only workspace admins and owners can connect LeadSquared. Ask one of them.")
    others = ", ".join(f"<@{user_id}>" for user_id in named[:20])
    return Message(
        f"Only workspace admins and owners can connect LeadSquared, and {others}. Ask one of them."
    )


def not_for_guests() -> Message:
    return Message(
        "Guests and people of other organisations can't connect LeadSquared. Ask a workspace admin."
    )


def role_unknown() -> Message:
    return message(
        "Slack didn't say whether you are a workspace admin, so nothing was changed. Try again in a minute.",
        "If this repeats, the app may miss the scope `users:read`: install it again.",
    )


def no_workspace() -> Message:
    return Message(
        f"Slack didn't say which workspace to connect. Enter `{COMMAND} setup` in one of its channels."
    )


def not_opened() -> Message:
    return Message("Slack didn't open the form in time, so nothing was changed. Try again.")


def database_away() -> Message:
    return Message(
        "The bot's database doesn't answer, so nothing was changed. Try again in a minute."
    )


def maybe_saved() -> Message:
    return Message(
        f"The bot may or may not have saved this. Enter `{COMMAND} setup` in a minute to see."
    )


def expired() -> Message:
    return Message(
        "This form is out of date or belongs to another workspace, so nothing was changed. Open it again."
    )


def failed() -> Message:
    return Message("Something went wrong in the bot, so nothing was changed. Try again.")


# -- naming people


def setup_usage() -> Message:
    return Message(
        f"Enter `{COMMAND} setup` to connect LeadSquared.\n"
        f"An admin lets a person connect it too:\n`{COMMAND} setup @person`\n"
        f"And takes that back:\n`{COMMAND} setup remove @person`"
    )


def only_admins_name() -> Message:
    return Message(
        "Only workspace admins and owners can name people for the set-up, so nothing was changed. Ask one of them."
    )


def cannot_be_named(user_id: str) -> Message:
    return Message(
        f"<@{user_id}> is a guest, or of another organisation, or unknown to Slack. So nothing was changed."
    )


def named(user_id: str) -> Message:
    return Message(f"<@{user_id}> can connect LeadSquared now, with `{COMMAND} setup`.")


def unnamed(user_id: str) -> Message:
    return Message(
        f"<@{user_id}> is no longer named for the set-up. Workspace admins and owners can always connect LeadSquared."
    )


def was_not_named(user_id: str) -> Message:
    return Message(f"<@{user_id}> was not named for the set-up, so nothing was changed.")


# -- what there is


def state(where: str, connected: Connected | None) -> str:
    """Say what the whole workspace, or this channel, is connected to."""
    if connected is None:
        return f"*{where}* is not connected to LeadSquared."
    org = (
        f"*{where}* is connected to LeadSquared org {shorten(connected.tenant.org_id, at_most=60)}"
    )
    if not connected.is_own:
        return (
            f"{org} by the person who runs the bot. Save your own account here to use it instead."
        )
    host, limit = connected.account[0], connected.tenant.calls_per_window
    return f"{org} at {shorten(host, at_most=100)}. Keys are stored; {limit} calls in 5 seconds."


def change(one: Change) -> str:
    """A line of the audit trail, as the workspace reads it."""
    who = "The person who runs the bot" if one.user_id is None else f"<@{one.user_id}>"
    did = _DID[one.what].format(person=one.detail)
    says_what = one.what in (What.CONNECTED, What.CHANGED, What.MOVED, What.DISCONNECTED)
    detail = f": {shorten(one.detail, at_most=300)}" if says_what and one.detail else ""
    return f"{day_and_time(one.at)}: {who} {did}{detail}"


_DID = {
    What.CONNECTED: "connected LeadSquared",
    What.CHANGED: "changed the connection",
    What.MOVED: "moved to another account",
    What.DISCONNECTED: "disconnected LeadSquared",
    What.NAMED: "named <@{person}> for the set-up",
    What.UNNAMED: "took <@{person}> back from the set-up",
    What.ADDED: "added an account",
    What.REMOVED: "removed an account",
    What.MAPPED: "connected this workspace",
    What.UNMAPPED: "disconnected this workspace",
}


# -- what became of it


def rejected() -> Message:
    """The answer to keys that LeadSquared rejects."""
    return message(
        "LeadSquared rejected these keys, so nothing was saved. Check the API host, the org ID and both keys, then save again.",
        "LeadSquared also rejects good keys at another region's host. The Service CRM APIs must be on in its API Configurations.",
    )


def changed_since(changes: tuple[Change, ...]) -> Message:
    """The answer to a form that does not show what somebody has changed since."""
    lines = [change(one) for one in changes[-3:]]
    return message(
        "The set-up changed while your form was open, so nothing was saved. Compare, then save again if you still want this.",
        *lines,
    )


def unproved(reason: str) -> Message:
    """The question after a check of the keys that proved nothing."""
    return message(
        "LeadSquared didn't say whether these keys are right or wrong. Save them anyway?",
        f"Reason: {shorten(reason, at_most=100)}. For status 404, check the API host and the org ID.",
    )


def moves(where: str, before: Connected, org_id: str) -> Message:
    """The question before another account takes a connection's place."""
    old, new = (shorten(one, at_most=60) for one in (before.tenant.org_id, org_id))
    what = f"This moves {_inside(where)} from LeadSquared org {old} to org {new}."
    if before.is_own:
        return Message(f"{what} {_waiting(before)}")
    return Message(
        f"{what} The person who runs the bot connected it before; what already waits still goes there."
    )


def disconnects(where: str, before: Connected, instead: Connected | None) -> Message:
    """The question before a connection and its keys go."""
    org = shorten(before.tenant.org_id, at_most=60)
    if instead is None:
        then = "Nothing can be recorded there until you connect it again."
    else:
        then = f"From then on, it uses the whole workspace's account, org {shorten(instead.tenant.org_id, at_most=60)}."
    return message(
        f"This disconnects {_inside(where)} from LeadSquared org {org} and deletes its keys. {then}",
        _waiting(before),
    )


def _inside(where: str) -> str:
    return where[0].lower() + where[1:]


def _waiting(connected: Connected) -> str:
    number = connected.waiting
    if number == 0:
        return "No activity waits to be recorded there."
    if number == 1:
        return "1 activity that waits for it will not be recorded; the answer says so."
    return f"{number:,} activities that wait for it will not be recorded; the answers say so."


def saved(where: str, org_id: str, *, proved: bool) -> Message:
    """The answer to a form that was saved."""
    words = f"✅ {where} is connected to LeadSquared org {shorten(org_id, at_most=60)}."
    if proved:
        return Message(f"{words} LeadSquared accepted the keys.")
    return Message(f"{words} LeadSquared has not confirmed the keys yet.")


def disconnected(where: str) -> Message:
    return Message(f"{where} is disconnected from LeadSquared, and its keys are deleted.")
