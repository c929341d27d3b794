"""The words for every way an activity can end without being surely recorded: what happened, and who can mend it."""

from dataclasses import dataclass
from enum import StrEnum

from bot.activities.delivery import Delivery, State
from bot.leadsquared.outcome import Problem
from bot.slack.text import one_line, shorten
from bot.tenants.tenant import ENVIRONMENT


class Button(StrEnum):
    """A button's action_id."""

    SEND_AGAIN = "send_again"
    SEND_AGAIN_ALL_THE_SAME = "send_again_all_the_same"
    EDIT_AND_SEND_AGAIN = "edit_and_send_again"
    CONFIRM = "confirm_recorded"


LABELS = {
    Button.SEND_AGAIN: "Send again",
    Button.SEND_AGAIN_ALL_THE_SAME: "Send again all the same",
    Button.EDIT_AND_SEND_AGAIN: "Edit and send again",
    Button.CONFIRM: "It is there",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What to say, in mrkdwn with {ticket}, {says} and the like to fill in, and what to offer."""

    words: str
    buttons: tuple[Button, ...]


_AGAIN = (Button.SEND_AGAIN,)
_EDIT = (Button.EDIT_AND_SEND_AGAIN,)
_LOOK = (Button.SEND_AGAIN, Button.CONFIRM)
_LOOK_FIRST = (
    "It may or may not be on {ticket}: *look there first*. "
    "If it is missing, send it again; if it is there, say so, and this is closed."
)

EXPLANATIONS = {
    Problem.BAD_REQUEST: Explanation(
        "*Not recorded* on {ticket}: LeadSquared did not accept the activity{says}. Change what it names, then send it again.",
        _EDIT,
    ),
    Problem.REFUSED: Explanation(
        "*Not recorded* on {ticket}: LeadSquared refused the activity{says}. Change it, then send it again.",
        _EDIT,
    ),
    Problem.NOT_FOUND: Explanation(
        "*Not recorded*: LeadSquared has no {ticket} in this tenant{says}. Check the number on the ticket's page. "
        "If the ticket exists, the host or the org id is wrong, and an admin corrects it: {address}.",
        _EDIT,
    ),
    Problem.UNAUTHORIZED: Explanation(
        "*Not recorded* on {ticket}: LeadSquared refused this workspace's keys{says}. An admin updates them: {keys}. "
        "If the keys are right, a LeadSquared admin looks at Settings &gt; Service Cloud &gt; API Configurations: "
        "the switch *LeadSquared Service CRM APIs* must be on, and with *Enable IP Whitelisting* the bot's address must be listed. "
        "A host of another region refuses the keys as well.",
        _AGAIN,
    ),
    Problem.FORBIDDEN: Explanation(
        "*Not recorded* on {ticket}: LeadSquared does not let this workspace's keys in{says}. "
        "A LeadSquared admin looks at Settings &gt; Service Cloud &gt; API Configurations: the switch *LeadSquared Service CRM APIs* "
        "must be on, and with *Enable IP Whitelisting* the bot's address must be listed. "
        "If the keys were changed, an admin updates them: {keys}.",
        _AGAIN,
    ),
    Problem.FAILED: Explanation(
        "*Not recorded* on {ticket}: the call failed inside LeadSquared{says}. "
        "Mend what it names, or ask a LeadSquared admin, then send it again.",
        _AGAIN,
    ),
    Problem.TLS: Explanation(
        "*Not recorded* on {ticket}: no secure connection to LeadSquared could be made{because}. "
        "An admin checks the host of the API address: {address}; if it is right, LeadSquared's support must renew the certificate.",
        _AGAIN,
    ),
    Problem.ADDRESS_REFUSED: Explanation(
        "*Not recorded* on {ticket}: the bot may not call this tenant's address{because}. An admin corrects it: {address}, "
        "or adds its host to `LEADSQUARED_ALLOWED_HOSTS`.",
        _AGAIN,
    ),
    Problem.UNREACHABLE: Explanation(
        "*Not recorded* on {ticket}: LeadSquared could not be reached{host}, and the bot has stopped trying. "
        "Send it again when LeadSquared is back; if it is up, an admin checks the address: {address}.",
        _AGAIN,
    ),
    Problem.RATE_LIMITED: Explanation(
        "*Not recorded* on {ticket}: LeadSquared kept saying that its limit of calls is used up, and the bot has stopped trying. "
        "Other integrations share that limit; send it again when they are quiet, or ask a LeadSquared admin.",
        _AGAIN,
    ),
    Problem.TENANT_REMOVED: Explanation(
        "*Not recorded* on {ticket}: the LeadSquared tenant {tenant} was removed from the bot before this was sent. "
        "An admin maps this workspace to a tenant (`python -m bot tenants map NAME --team {team}`), then send it again.",
        _AGAIN,
    ),
    Problem.ACCOUNT_CHANGED: Explanation(
        "*Not recorded* on {ticket}: this workspace was connected to another LeadSquared account before this could be sent. "
        "Check that the ticket exists in today's account, then press *Send again*.",
        (Button.SEND_AGAIN, Button.EDIT_AND_SEND_AGAIN),
    ),
    Problem.UNDECIPHERABLE: Explanation(
        "*Not recorded* on {ticket}: the bot cannot decrypt what it needs to send this, because a secret is missing from "
        "`ENCRYPTION_KEYS`. An admin adds the earlier secret there again, at the end, and restarts the bot; then send it again.",
        _AGAIN,
    ),
    Problem.NO_ANSWER: Explanation(
        f"*Not known whether recorded*: LeadSquared did not answer in time. {_LOOK_FIRST}", _LOOK
    ),
    Problem.DROPPED: Explanation(
        f"*Not known whether recorded*: the connection to LeadSquared broke before its answer came. {_LOOK_FIRST}",
        _LOOK,
    ),
    Problem.SERVER_ERROR: Explanation(
        f"*Not known whether recorded*: LeadSquared answered with an error of its own server{{says}}. {_LOOK_FIRST}",
        _LOOK,
    ),
    Problem.UNREADABLE: Explanation(
        f"*Not known whether recorded*: LeadSquared's answer was not one that the bot can read. {_LOOK_FIRST} "
        "If this repeats, an admin checks the API address: {address}.",
        _LOOK,
    ),
    Problem.REDIRECTED: Explanation(
        "*Not known whether recorded*: LeadSquared answered with a redirect to another address, which the bot does not follow. "
        f"{_LOOK_FIRST} If this repeats, an admin checks the API address: {{address}}.",
        _LOOK,
    ),
    Problem.INTERRUPTED: Explanation(
        f"*Not known whether recorded*: the bot was stopped while it was sending this. {_LOOK_FIRST}", _LOOK
    ),
    Problem.RESTORED: Explanation(
        f"*Not known whether recorded*: the bot's database was restored from a backup. {_LOOK_FIRST}", _LOOK
    ),
}

_NOT_HERE = "the bot is not in this conversation; invite it with `/invite @Portal Activity`"
_NOT_ALLOWED = "the bot may not read messages here; an admin of the bot updates the Slack app from `manifest.yml` and reinstalls it"
_GONE = "Slack does not find the thread any more"
UNREADABLE = {
    "not_in_channel": _NOT_HERE,
    "channel_not_found": _NOT_HERE,
    "missing_scope": _NOT_ALLOWED,
    "not_allowed_token_type": _NOT_ALLOWED,
    "no_permission": _NOT_ALLOWED,
    "access_denied": _NOT_ALLOWED,
    "thread_not_found": _GONE,
    "message_not_found": _GONE,
    "ratelimited": "Slack lets the bot read no more just now; try again in a minute",
    "no_answer": "Slack did not answer in time; try again in a minute",
    "no_bot_token": "the bot has no token for this workspace; an admin of the bot sets `SLACK_BOT_TOKEN`",
}
"""Why a thread cannot be read, by Slack's word. Elsewhere than in a channel nobody can be invited: see `unreadable`."""

_SAYS_AT_MOST = 600


def ticket(delivery: Delivery) -> str:
    return f"ticket {delivery.ticket_id}"


def explain(delivery: Delivery) -> str:
    """Return the words for a delivery that was rejected or is unknown, in mrkdwn."""
    assert delivery.problem is not None  # noqa: S101 - `rejected` and `unknown` are only ever written with a problem
    from_environment = delivery.tenant_name == ENVIRONMENT
    update = f"python -m bot tenants update {_shown(delivery.tenant_name)}"
    return EXPLANATIONS[delivery.problem].words.format(
        ticket=ticket(delivery),
        says=_says(delivery.detail),
        because=f" ({_shown(delivery.detail)})" if delivery.detail else "",
        host=f" at {_shown(delivery.detail)}" if delivery.detail else "",
        keys="`LEADSQUARED_ACCESS_KEY` and `LEADSQUARED_SECRET_KEY` in the bot's environment"
        if from_environment
        else f"`{update}`",
        address="`LEADSQUARED_API_URL` and `LEADSQUARED_ORG_ID` in the bot's environment"
        if from_environment
        else f"`{update} --api-url … --org-id …`",
        tenant=_shown(delivery.tenant_name),
        team=delivery.team_id,
    )


def unreadable(error: str, channel_id: str) -> str:
    """Say why a thread cannot be read, in mrkdwn."""
    words = UNREADABLE.get(error, f"Slack refuses it ({_shown(error)})")
    if words == _NOT_HERE and channel_id.startswith("D"):
        return "the bot has no part in this direct message"
    return words


def offered(delivery: Delivery) -> tuple[Button, ...]:
    """Return the buttons under a delivery's answer: none when it is recorded, or when somebody decided already."""
    if delivery.problem is None or not delivery.resendable:
        return ()
    buttons = EXPLANATIONS[delivery.problem].buttons
    return (
        buttons
        if delivery.state is State.UNKNOWN
        else tuple(button for button in buttons if button is not Button.CONFIRM)
    )


def _says(detail: str | None) -> str:
    return f'; LeadSquared says: "{_shown(detail)}"' if detail else ""


def _shown(words: str) -> str:
    # A backtick would pair with those of the commands beside it, and Slack knows no escape for it.
    return shorten(one_line(words.replace("`", "'")), at_most=_SAYS_AT_MOST)
