"""The words for every way an activity can end without being surely recorded, and the buttons."""

import re
from dataclasses import dataclass
from enum import StrEnum

from bot.activities.delivery import Delivery, State
from bot.leadsquared.outcome import Problem
from bot.leadsquared.pages import server_page
from bot.leadsquared.tenant import ENVIRONMENT
from bot.slack.text import one_line, shorten


class Button(StrEnum):
    """A button's action_id."""

    SEND_AGAIN = "send_again"
    SEND_AGAIN_ANYWAY = "send_again_anyway"
    EDIT_AND_SEND_AGAIN = "edit_and_send_again"
    CONFIRM = "confirm_recorded"


LABELS = {
    Button.SEND_AGAIN: "Send again",
    Button.SEND_AGAIN_ANYWAY: "Send again",
    Button.EDIT_AND_SEND_AGAIN: "Edit and send again",
    Button.CONFIRM: "It's there",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What an agent reads, in mrkdwn with {ticket} to fill in, and what to offer.

    `with_reason` is read instead where LeadSquared gives a reason that is of use to an agent.
    `admin` is the small print: what only an admin can use. `details` is the entry's name in
    docs/errors.md.
    """

    words: str
    buttons: tuple[Button, ...]
    with_reason: str | None = None
    admin: str | None = None
    details: str | None = None


_AGAIN = (Button.SEND_AGAIN,)
_EDIT = (Button.EDIT_AND_SEND_AGAIN,)
_BOTH = (Button.SEND_AGAIN, Button.EDIT_AND_SEND_AGAIN)
_CHECK = (Button.SEND_AGAIN, Button.CONFIRM)
_CHECK_FIRST = (
    "so this may or may not be on {ticket}. Check the ticket first: "
    "if it's missing, press *Send again*; if it's there, press *It's there*."
)
_NOT_RECORDED = Explanation(
    "LeadSquared couldn't record this on {ticket}. "
    "Press *Edit and send again* to change it, or *Send again* to try it unchanged.",
    _BOTH,
    with_reason='LeadSquared couldn\'t record this on {ticket}: "{reason}". Fix that, or edit and send again.',
)

EXPLANATIONS = {
    Problem.BAD_REQUEST: _NOT_RECORDED,
    Problem.REFUSED: _NOT_RECORDED,
    Problem.FAILED: _NOT_RECORDED,
    Problem.NOT_FOUND: Explanation(
        "LeadSquared has no {ticket}, so nothing was recorded. Check the number, then press *Edit and send again*.",
        _EDIT,
        admin="if the ticket exists, check {address}",
        details="no such ticket",
    ),
    Problem.UNAUTHORIZED: Explanation(
        "LeadSquared rejected the access keys, so nothing was recorded on {ticket}. "
        "Ask an admin to update them, then press *Send again*.",
        _AGAIN,
        admin="{keys}{host}",
        details="keys rejected",
    ),
    Problem.FORBIDDEN: Explanation(
        "LeadSquared denied access, so nothing was recorded on {ticket}. "
        "Ask an admin to allow it, then press *Send again*.",
        _AGAIN,
        admin="check the API switch and the IP allowlist in LeadSquared",
        details="access denied",
    ),
    Problem.TLS: Explanation(
        "The bot couldn't connect to LeadSquared securely, so nothing was recorded on {ticket}. "
        "Ask an admin to fix this, then press *Send again*.",
        _AGAIN,
        admin="{cause}check {url}",
        details="no secure connection",
    ),
    Problem.ADDRESS_REFUSED: Explanation(
        "The bot can't use the LeadSquared address, so nothing was recorded on {ticket}. "
        "Ask an admin to correct it, then press *Send again*.",
        _AGAIN,
        admin="{cause}check {url} and `LEADSQUARED_ALLOWED_HOSTS`",
        details="address not allowed",
    ),
    Problem.UNREACHABLE: Explanation(
        "LeadSquared couldn't be reached, so nothing was recorded on {ticket}. "
        "The bot stopped trying: press *Send again* when LeadSquared is back.",
        _AGAIN,
        admin="no connection{to}; check {url}",
        details="not reached",
    ),
    Problem.RATE_LIMITED: Explanation(
        "LeadSquared's rate limit was used up, so nothing was recorded on {ticket}. "
        "Press *Send again* in a few minutes.",
        _AGAIN,
        admin="other integrations use the same rate limit",
        details="rate limit",
    ),
    Problem.TENANT_REMOVED: Explanation(
        "This workspace was disconnected from LeadSquared, so nothing was recorded on {ticket}. "
        "Ask an admin to connect it, then press *Send again*.",
        _AGAIN,
        admin="`python -m bot tenants map NAME --team {team}`",
        details="tenant removed",
    ),
    Problem.ACCOUNT_CHANGED: Explanation(
        "This workspace moved to another LeadSquared account, so nothing was recorded on {ticket}. "
        "Check that the ticket exists there, then press *Send again*.",
        _BOTH,
        admin="the tenant's API host or org ID was changed",
        details="account changed",
    ),
    Problem.UNDECIPHERABLE: Explanation(
        "The bot can't decrypt this activity, so nothing was recorded on {ticket}. "
        "Ask an admin to fix this, then press *Send again*.",
        _AGAIN,
        admin="add the earlier secret at the end of `ENCRYPTION_KEYS` and restart the bot",
        details="secret missing",
    ),
    Problem.STOPPED: Explanation(
        "An admin stopped this before it was sent, so nothing was recorded on {ticket}. "
        "Ask an admin before you record it again.",
        (),
    ),
    Problem.NO_ANSWER: Explanation(f"LeadSquared didn't answer in time, {_CHECK_FIRST}", _CHECK),
    Problem.DROPPED: Explanation(f"The connection to LeadSquared broke, {_CHECK_FIRST}", _CHECK),
    Problem.SERVER_ERROR: Explanation(
        f"LeadSquared answered with an error, {_CHECK_FIRST}", _CHECK
    ),
    Problem.UNREADABLE: Explanation(
        f"LeadSquared's answer was unreadable, {_CHECK_FIRST}",
        _CHECK,
        admin="if this repeats, check {address}",
        details="unreadable answer",
    ),
    Problem.REDIRECTED: Explanation(
        f"LeadSquared didn't confirm this, {_CHECK_FIRST}",
        _CHECK,
        admin="LeadSquared answered with a redirect; check {address}",
        details="redirect",
    ),
    Problem.INTERRUPTED: Explanation(
        f"The bot stopped while it was sending this, {_CHECK_FIRST}", _CHECK
    ),
    Problem.RESTORED: Explanation(f"The bot was restored from a backup, {_CHECK_FIRST}", _CHECK),
}

PROBLEMS = {
    Problem.BAD_REQUEST: "LeadSquared rejected the request",
    Problem.UNAUTHORIZED: "LeadSquared rejected the access keys",
    Problem.FORBIDDEN: "LeadSquared denied access",
    Problem.NOT_FOUND: "LeadSquared has no such ticket",
    Problem.REFUSED: "LeadSquared rejected the activity",
    Problem.FAILED: "LeadSquared could not record the activity",
    Problem.TLS: "no secure connection to LeadSquared",
    Problem.ADDRESS_REFUSED: "the API address is not allowed",
    Problem.UNREACHABLE: "LeadSquared could not be reached",
    Problem.RATE_LIMITED: "LeadSquared's rate limit was used up",
    Problem.TENANT_REMOVED: "the tenant was removed",
    Problem.ACCOUNT_CHANGED: "the tenant has another account now",
    Problem.UNDECIPHERABLE: "a value cannot be decrypted",
    Problem.STOPPED: "an admin stopped it before it was sent",
    Problem.NO_ANSWER: "LeadSquared did not answer in time",
    Problem.DROPPED: "the connection to LeadSquared broke",
    Problem.SERVER_ERROR: "LeadSquared answered with a server error",
    Problem.UNREADABLE: "LeadSquared's answer could not be read",
    Problem.REDIRECTED: "LeadSquared answered with a redirect",
    Problem.INTERRUPTED: "the bot was stopped during the call",
    Problem.RESTORED: "the database was restored from a backup",
}
"""What a problem means, in a few words."""

_NOT_HERE = "The bot is not in this conversation: invite it with `/invite @Portal Activity`."
_NOT_ALLOWED = "The bot may not read messages here: ask an admin to reinstall the Slack app."
_GONE = "Slack can't find the thread."
UNREADABLE = {
    "not_in_channel": _NOT_HERE,
    "channel_not_found": _NOT_HERE,
    "missing_scope": _NOT_ALLOWED,
    "not_allowed_token_type": _NOT_ALLOWED,
    "no_permission": _NOT_ALLOWED,
    "access_denied": _NOT_ALLOWED,
    "thread_not_found": _GONE,
    "message_not_found": _GONE,
    "ratelimited": "Slack's rate limit is used up: try again in a minute.",
    "no_answer": "Slack didn't answer in time: try again in a minute.",
    "no_bot_token": "The bot is not installed in this workspace: ask an admin to install it.",
}
"""Why the bot cannot read a thread, by Slack's word; see `unreadable` for direct messages."""

_REASON_AT_MOST = 200
_REASON_WORDS = 25
"""With the words around it, a reason of so many words leaves the text within 45."""

_HOST = re.compile(r"\b(?:[a-z0-9-]+\.)+leadsquared\.com\b", re.IGNORECASE)


def explain(delivery: Delivery, ticket: str | None = None) -> str:
    """Return what an agent reads about a delivery that was rejected or is unknown, in mrkdwn.

    `ticket` names the ticket, in mrkdwn; else its number does.
    """
    found = _explanation(delivery)
    reason = None if found.with_reason is None else _reason(delivery.detail)
    words = found.words if reason is None else found.with_reason or ""
    return words.format(ticket=ticket or f"ticket {delivery.ticket_id}", reason=reason)


def for_admin(delivery: Delivery) -> str | None:
    """Return the small print under it, in mrkdwn; None where an admin has nothing to do."""
    found = _explanation(delivery)
    if found.admin is None or found.details is None:
        return None
    from_environment = delivery.tenant_name.startswith(ENVIRONMENT)
    update = f"`python -m bot tenants update {_shown(delivery.tenant_name, words=3)}`"
    detail = _shown(delivery.detail or "", words=9)
    host = _HOST.search(delivery.detail or "")
    admin = found.admin.format(
        keys="`LEADSQUARED_ACCESS_KEY` and `LEADSQUARED_SECRET_KEY`"
        if from_environment
        else update,
        address="`LEADSQUARED_API_URL` and `LEADSQUARED_ORG_ID`" if from_environment else update,
        url="`LEADSQUARED_API_URL`" if from_environment else update,
        host=f"; LeadSquared names {_shown(host[0])}" if host else "",
        to=f" to {detail}" if detail else "",
        cause=f"{detail}; " if detail else "",
        team=delivery.team_id,
    )
    return small_print(admin, found.details)


def small_print(admin: str, details: str) -> str:
    """Return the one line for admins; `details` is the entry's name in docs/errors.md."""
    return f"Admin: {admin}; details: {details}"


def _explanation(delivery: Delivery) -> Explanation:
    assert delivery.problem is not None  # noqa: S101 - `rejected` and `unknown` always have one
    return EXPLANATIONS[delivery.problem]


def unreadable(error: str, channel_id: str) -> str:
    """Say why a thread cannot be read, in mrkdwn."""
    words = UNREADABLE.get(error, f"Slack rejected the request ({_shown(error)}).")
    if words == _NOT_HERE and channel_id.startswith("D"):
        return "The bot can't see this direct message."
    return words


def offered(delivery: Delivery) -> tuple[Button, ...]:
    """Return the buttons under the answer of a delivery that can be sent again."""
    buttons = _explanation(delivery).buttons
    if delivery.state is State.UNKNOWN:
        return buttons
    return tuple(button for button in buttons if button is not Button.CONFIRM)


def _reason(detail: str | None) -> str | None:
    """Return what LeadSquared says, cut short; None where it is of no use to an agent."""
    if detail is None or server_page(detail) is not None:
        return None
    return _shown(detail, words=_REASON_WORDS).rstrip(".") or None


def _shown(text: str, *, words: int = _REASON_WORDS) -> str:
    # A backtick would pair with those of a command beside it, and Slack has no escape for it.
    found = one_line(text.replace("`", "'")).split()
    short = " ".join(found[:words]) + ("…" if len(found) > words else "")
    return shorten(short, at_most=_REASON_AT_MOST)
