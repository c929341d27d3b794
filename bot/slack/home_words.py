"""The words of App Home and of the commands that show what was recorded. Pure."""

from bot.activities.delivery import OPERATOR, Delivery, Finding, Resolution, State, Waiting
from bot.activities.recent import Aged, Health
from bot.slack.answers import COMMAND, Message, activity_id, clock_time, message
from bot.slack.explanations import PROBLEMS, small_print
from bot.slack.text import escape, one_line, shorten

NEWEST = "Your newest activities"
NONE_YET = "You have recorded no activity in this workspace yet."
NONE_HERE = "No activity was recorded in this conversation yet."
NEWEST_HERE = "The newest activities in this conversation"
THREAD = "Open the thread"
NO_TEXT = "(the text can't be decrypted)"
DELETED = "(the text has been deleted)"
HOW_TO = (
    f"*How to record:* type `{COMMAND} 143 Customer uploaded the signed form`, "
    "or use *More actions* &gt; *Record in LeadSquared* on a message. "
    f"More: `{COMMAND} help`"
)
_TEXT_AT_MOST = 80
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_UNITS = ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"), (1, "second"))
_WAITING = {
    Waiting.RATE_LIMITED: "waiting for LeadSquared's rate limit",
    Waiting.UNREACHABLE: "waiting, LeadSquared can't be reached",
    Waiting.UNDECIPHERABLE: "waiting, the bot can't decrypt it",
}


def connection(what: str, org_id: str | None) -> str:
    """Say to which LeadSquared organisation a workspace, or a conversation, is connected."""
    if org_id is None:
        return f"This {what} isn't connected to LeadSquared yet. Ask an admin to connect it."
    return f"This {what} is connected to LeadSquared org {escape(org_id)}."


def connection_of(channel_id: str, org_id: str) -> str:
    """Say which organisation one channel is connected to."""
    return f"In <#{escape(channel_id)}>: LeadSquared org {escape(org_id)}."


def and_more(number: int) -> str:
    return f"In {number:,} more channel{'' if number == 1 else 's'}: other LeadSquared orgs."


def outcome(delivery: Delivery) -> str:
    """Say in a line what became of an activity."""
    return f"{_icon(delivery)} Ticket {delivery.ticket_id}: {_outcome(delivery)}"


def _icon(delivery: Delivery) -> str:
    if delivery.state is State.RECORDED or delivery.resolution is Resolution.CONFIRMED:
        return "✅"
    return {State.REJECTED: "❌", State.UNKNOWN: "⚠️"}.get(delivery.state, "⏳")


def _outcome(delivery: Delivery) -> str:
    if delivery.state is State.RECORDED:
        return f"recorded, activity ID {activity_id(delivery)}"
    if delivery.resolution is Resolution.CONFIRMED:
        by = delivery.resolved_by or ""
        return f"recorded, confirmed by {'an admin' if by.startswith(OPERATOR) else f'<@{by}>'}"
    if not delivery.settled:
        reason = None if delivery.waiting is None else _WAITING.get(delivery.waiting)
        return reason or "being recorded"
    again = ", sent again" if delivery.resolution is Resolution.SENT_AGAIN else ""
    if delivery.state is State.REJECTED:
        return f"not recorded{again}"
    if delivery.finding is Finding.PRESENT and not again:
        return f"may be there, found as activity ID {activity_id(delivery)}"
    return f"may or may not be recorded{again}"


def sent(aged: Aged, *, by: bool) -> str:
    """Say when an activity was accepted, with `by` also who sent it.

    Slack counts the age on, and puts it in the reader's own words.
    """
    delivery = aged.delivery
    who = f" by <@{delivery.user_id}>" if by else ""
    when = f"<!date^{int(delivery.accepted_at)}^{{ago}}|{ago(aged.seconds_ago)}>"
    return f"Sent{who} {when}"


def ago(seconds: float) -> str:
    """Write an age in words: 3 minutes ago."""
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def duration(seconds: float) -> str:
    """Write seconds in the largest unit that they fill."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "second"))
    number = int(seconds // size)
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def text(delivery: Delivery) -> str:
    """Return the beginning of a person's own text, on one line."""
    if delivery.text is None:
        return DELETED if delivery.is_erased else NO_TEXT
    return shorten(one_line(delivery.text), at_most=_TEXT_AT_MOST)


def health(found: Health) -> list[str]:
    """Say in lines what waits and what failed in a workspace."""
    lines = []
    if found.waiting:
        lines.append(f"⏳ Waiting: {found.waiting:,}, the oldest for {duration(found.oldest)}.")
    if found.undecided:
        lines.append(
            f"⚠️ May or may not be recorded: {found.undecided:,}. "
            "Check the tickets, then press a button under each answer."
        )
    if found.not_recorded:
        lines.append(f"❌ Not recorded in the last 24 hours: {found.not_recorded:,}.")
    if found.last_error is not None:
        lines.append(f"Last error {ago(found.error_ago)}: {PROBLEMS[found.last_error]}.")
    return lines or ["✅ Nothing waits, and nothing failed in the last 24 hours."]


def as_of(moment: float) -> str:
    return f"As of {clock_time(moment)}. Open this page again to refresh it."


def not_shown() -> Message:
    return message(
        "The bot can't read its database, so it can't show your activities. Try again in a minute.",
        small_print("the database did not answer; run `python -m bot check`", "not shown"),
    )
