"""Block Kit builders: pure functions, data in, blocks out."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bot.activities.acceptance import Double
from bot.activities.delivery import OPERATOR, Delivery, Finding, Resolution, Route, State, Waiting
from bot.activities.policy import DOUBLE_WITHIN
from bot.activities.telling import mark
from bot.activities.ticket import MalformedTicketError
from bot.db import CommitUnknownError, DatabaseUnavailableError
from bot.slack.explanations import LABELS, Button, explain, offered, ticket
from bot.slack.text import cut, escape, legible, one_line, quote, shorten

Block = dict[str, Any]

COMMAND = "/portal-activity"
RECORD_AGAIN = "record_again"
_QUOTE_AT_MOST = 500
_EXAMPLE = f"`{COMMAND} 143 Customer uploaded the signed form`"

_UNDECIPHERABLE = "Admin: add the earlier secret to `ENCRYPTION_KEYS`, at the end, and restart the bot."


@dataclass(frozen=True, slots=True)
class Message:
    """A message's blocks, and the same in words for notifications and screen readers."""

    text: str
    blocks: tuple[Block, ...] = ()

    def payload(self) -> dict[str, Any]:
        return {"text": self.text, "blocks": list(self.blocks)} if self.blocks else {"text": self.text}


def anchor(delivery: Delivery) -> Message:
    """The message in whose thread the answer is given, with the mark that the delivery has now."""
    statuses: dict[str, str] = {
        State.ACCEPTED: "⏳ Recording a portal activity",
        State.RECORDED: "✅ Recorded: a portal activity",
        State.REJECTED: "❌ Not recorded: a portal activity",
        State.UNKNOWN: "⚠️ Not known whether recorded: a portal activity",
        Finding.PRESENT: "✅ On the ticket, as LeadSquared shows: a portal activity",
        Resolution.CONFIRMED: f"✅ On the ticket, seen by {_decided_by(delivery)}: a portal activity",
    }
    line = f"{statuses[mark(delivery)]} on *{ticket(delivery)}*, by <@{delivery.user_id}>"
    return _message(f"{line}\n{quoted(delivery)}", [_reference(delivery)])


def answer(delivery: Delivery, *, with_text: bool = False) -> Message:
    """The final answer. `with_text` repeats what was sent, where no anchor above shows it."""
    if delivery.state is State.RECORDED:
        by = "" if delivery.thread_ts is None else f", by <@{delivery.user_id}>"  # no anchor says it
        words = f"✅ *Recorded* on {ticket(delivery)}, activity Id {activity_id(delivery)}{by}"
    else:
        icon = "⚠️" if delivery.state is State.UNKNOWN else "❌"
        words = f"{icon} <@{delivery.user_id}>: {explain(delivery)}"
    if with_text:
        words = f"{words}\n{quoted(delivery)}"
    return _message(words, [*_resolved(delivery), *_buttons(delivery), _small_print(delivery)])


def finding(delivery: Delivery, *, with_text: bool = False) -> Message:
    """What a look at the ticket showed, after an unknown outcome."""
    if delivery.finding is Finding.PRESENT:
        words = (
            f"✅ It is there: {ticket(delivery)} has a portal activity with exactly these words, Id {activity_id(delivery)}. "
            "If that is this one, there is nothing to do: sending it again would double it."
        )
    else:
        words = (
            f"🔎 Not found so far: LeadSquared does not show these words on {ticket(delivery)}. It may still appear there, and "
            "the bot goes on looking for a while. Look at the ticket yourself before you send it again."
        )
    if with_text:
        words = f"{words}\n{quoted(delivery)}"
    return _message(words, [_reference(delivery)])


def found_there(delivery: Delivery) -> Message:
    """The question before what was found on the ticket is sent again."""
    words = (
        f"*Nothing was sent again yet*: {ticket(delivery)} has a portal activity with exactly these words, "
        f"Id {activity_id(delivery)}. Sending it again would double it. If that one is another, send it; else press "
        f"*{LABELS[Button.CONFIRM]}* under the answer, and this is closed."
    )
    return _message(words, [{"type": "actions", "elements": [_button(Button.SEND_AGAIN_ALL_THE_SAME, delivery)]}])


def activity_id(delivery: Delivery) -> str:
    """The Id that LeadSquared gave, safe to show: what a server sends is no more to be trusted than what a person wrote."""
    return shorten(delivery.activity_id or "", at_most=100)


def note(delivery: Delivery, reason: Waiting, *, give_up_at: float, with_text: bool = False) -> Message:
    """What is said while a delivery waits."""
    words = {
        Waiting.TURN: (
            f"⏳ Waiting for its turn on {ticket(delivery)}: LeadSquared's limit of calls, or an earlier activity on the same ticket, "
            "comes first. It will be recorded by itself; there is nothing to do."
        ),
        Waiting.RATE_LIMITED: (
            f"⏳ Waiting for LeadSquared's limit of calls: the activity on {ticket(delivery)} will be recorded by itself; "
            "there is nothing to do."
        ),
        Waiting.UNREACHABLE: (
            f"⏳ LeadSquared cannot be reached. The activity on {ticket(delivery)} is kept, and the bot is still trying "
            f"until {clock_time(give_up_at)}; there is nothing to do."
        ),
        Waiting.UNDECIPHERABLE: (
            f"⏳ Waiting for an admin: the bot can't decrypt the activity for {ticket(delivery)}. "
            "It is kept and will be recorded automatically when the admin has fixed this; there is nothing to do."
        ),
    }[reason]
    if with_text:
        words = f"{words}\n{quoted(delivery)}"
    small = [context(_UNDECIPHERABLE)] if reason is Waiting.UNDECIPHERABLE else []
    return _message(words, [*small, _reference(delivery)])


def clock_time(moment: float) -> str:
    """HH:MM in the reader's own time zone: Slack puts it in, and the fall-back is in UTC."""
    return _in_readers_zone(moment, "{time}", "%H:%M")


def day_and_time(moment: float) -> str:
    """Day and time in the reader's own time zone."""
    return _in_readers_zone(moment, "{date_short} at {time}", "%Y-%m-%d at %H:%M")


def _in_readers_zone(moment: float, slacks: str, fallback: str) -> str:
    return f"<!date^{int(moment)}^{slacks}|{datetime.fromtimestamp(moment, UTC).strftime(fallback)} UTC>"


def usage() -> Message:
    """The answer to `/portal-activity help`."""
    return Message(
        f"*{COMMAND} &lt;ticket&gt; &lt;text&gt;* records what a customer did as a portal activity on a LeadSquared ticket.\n"
        f"For example: {_EXAMPLE}\n"
        f"• `{COMMAND}` alone, or with only the ticket, opens a form.\n"
        "• On a message, *More actions* &gt; *Record in LeadSquared* records that message, or its whole thread.\n"
        "• The ticket is its number (`143` or `#143`), its GUID, or a link to its page in LeadSquared.\n"
        "• The text is everything after it, new lines included.\n"
        "The bot posts what it records in this conversation and answers in that message's thread: "
        "with the activity's Id, or with what went wrong and who can mend it."
    )


def no_ticket() -> Message:
    return Message(
        f"Nothing was recorded: name the ticket, then the text. For example:\n{_EXAMPLE}\nMore: `{COMMAND} help`",
    )


def no_text(ticket_id: str) -> Message:
    return Message(
        f"Nothing was recorded: there is no text for ticket {ticket_id}. Write what the customer did after the ticket. "
        f"For example:\n`{COMMAND} {ticket_id} Customer uploaded the signed form`"
    )


def malformed_ticket(word: str, why: str, *, number: bool = False) -> Message:
    """The answer to a word that is no ticket; `number`: it is a number that no ticket has."""
    is_none = "can't be a ticket number" if number else "is not a ticket"
    shown = shorten(one_line(word), at_most=60)
    return Message(f"Nothing was recorded: “{shown}” {is_none}; {why}. For example:\n{_EXAMPLE}")


def why_no_ticket(word: str, error: MalformedTicketError) -> str:
    """What stands by the form's field, which knows no marks, when it holds no ticket."""
    shown = cut(one_line(word), 60)
    what = f"“{shown}” can't be a ticket number; " if error.number else ""
    return f"Not a ticket: {what}{error}. For example:\n143"


def unmapped(team_id: str) -> Message:
    return Message(
        f"Nothing was recorded: this Slack workspace ({team_id}) is not connected to LeadSquared yet. "
        f"An admin of the bot connects it: `python -m bot tenants add NAME`, then `python -m bot tenants map NAME --team {team_id}`; "
        "or, for a single workspace, sets the four `LEADSQUARED_…` variables. Then send it again."
    )


def starting() -> Message:
    return Message(
        "*Not recorded, try again*: the bot has just started and does not know yet whose it is, because Slack has not answered it. "
        "Nothing was kept. Try again in a minute; if it stays so, an admin of the bot runs `python -m bot check`."
    )


def token_refused(error: str) -> Message:
    """What is said where nothing can be done because Slack rejects the bot's token; `error` is Slack's word."""
    words = (
        "Slack rejects the bot's token, so nothing was recorded. Ask an admin of the bot to fix this, then try again."
    )
    admin = f"Admin: Slack says `{shorten(error, at_most=60)}`. Copy the Bot User OAuth Token to `SLACK_BOT_TOKEN`."
    return _message(words, [context(admin)])


def unavailable(error: DatabaseUnavailableError) -> Message:
    """What the database's trouble means for the person: surely nothing was kept, or nobody can say."""
    return maybe_accepted() if isinstance(error, CommitUnknownError) else not_accepted()


def not_accepted() -> Message:
    return Message(
        "*Not recorded, try again*: the bot's database did not take the activity just now, so nothing was kept and nothing was sent. "
        "Try again in a minute; if it stays so, an admin of the bot runs `python -m bot check`."
    )


def maybe_accepted() -> Message:
    return Message(
        "*Not known whether this was kept*: the bot's database stopped answering in the middle. If it was kept, it is recorded "
        "by itself, and a message about it appears here; if none has appeared in two minutes, send it again. "
        "If it stays so, an admin of the bot runs `python -m bot check`."
    )


def broken() -> Message:
    return Message(
        "*Something went wrong in the bot*, and this was not carried out. Try again; "
        "if it stays so, an admin of the bot looks at its log."
    )


def already(delivery: Delivery | None) -> Message:
    """The answer to a button that is past its time, or another workspace's."""
    if delivery is None:
        return Message("Nothing was done: this workspace has no such activity.")
    by = f" by {_decided_by(delivery)}"
    on = ticket(delivery)
    if delivery.resolution is Resolution.SENT_AGAIN:
        why = f"this was sent again already{by}. Its answer is in the same place"
    elif delivery.resolution is Resolution.CONFIRMED:
        why = f"this was closed already{by}: it is on {on}"
    elif delivery.state is State.RECORDED:
        why = f"this is recorded on {on} already, activity Id {activity_id(delivery)}"
    elif delivery.settled:
        why = f"LeadSquared did not take this activity for {on}, so it cannot be there"
    else:
        why = f"this is still being sent to {on}"
    return Message(f"Nothing was done: {why}.")


def foreign_member() -> Message:
    return Message("Nothing was done: only members of the workspace that recorded this can decide about it.")


def elsewhere() -> Message:
    """The answer to a form or a shortcut that reached another workspace than its own."""
    return Message(
        "Nothing was recorded: this form belongs to another workspace. Record it from the workspace that you are a member of."
    )


def undecipherable() -> Message:
    return Message(
        "Nothing was sent: the bot cannot decrypt the text, because a secret is missing from `ENCRYPTION_KEYS`. "
        "An admin adds the earlier secret there again, at the end, and restarts the bot; or write the activity anew."
    )


def modal_failed() -> Message:
    return Message("The form could not be opened: Slack did not take it in time. Try again; nothing was recorded.")


def double(double_: Double) -> str:
    """Say that the same was recorded before, or may have been: by whom, when, with which Id."""
    delivery, ago = double_.delivery, double_.seconds_ago
    when = f"{max(round(ago), 0)} s ago" if ago < DOUBLE_WITHIN else f"on {day_and_time(delivery.accepted_at)}"
    by, on = f"by <@{delivery.user_id}>", f"on {ticket(delivery)}"
    if delivery.state is State.RECORDED:
        return f"already recorded as Id {activity_id(delivery)}, {when}, {by}, {on}"
    if delivery.resolution is Resolution.CONFIRMED:
        return f"already recorded {on}, {when}, {by}; {_decided_by(delivery)} saw it there"
    if delivery.settled:
        return f"already sent {when}, {by}, and it is not known whether it was recorded {on}: look there first"
    return f"already being recorded {on}, {when}, {by}"


def recorded_before(double_: Double, message_ts: str | None) -> str:
    """What stands above the form of a message (or none) before the same is recorded on the same ticket a second time."""
    what = "This message" if double_.delivery.has_message(message_ts) else "This text"
    return f"*{what} is {double(double_)}.* To record it once more, press *Record again*."


def same_words(double_: Double, key: str) -> Message:
    """The question before the same words are recorded on the same ticket a second time."""
    words = (
        f"*Nothing was recorded yet*: the same text is {double(double_)}. "
        "If the customer did it once more, record it again; else there is nothing to do."
    )
    value = json.dumps({"delivery": double_.delivery.id, "key": key})
    button = {"type": "button", "action_id": RECORD_AGAIN, "text": plain_text("Record again"), "value": value}
    return _message(words, [{"type": "actions", "elements": [button]}])


def taken_before(delivery: Delivery) -> Message:
    """The answer to a form that was submitted a second time, with something else in it."""
    return Message(
        f"This form was taken before, as it stood then: for {ticket(delivery)}. What you changed since was *not taken*. "
        "Look at that ticket; if something is missing there, record it anew."
    )


def no_token(team_id: str) -> Message:
    return Message(
        f"Nothing was recorded: the bot's Slack token is not for this workspace ({team_id}), so it cannot open a form here. "
        "An admin of the bot looks at `SLACK_BOT_TOKEN`: one process serves the workspace of its token."
    )


def recorded_again(delivery: Delivery) -> Message:
    """What stands in the question's place after "Record again"."""
    return Message(f"It is being recorded on {ticket(delivery)} once more; the answer follows.")


def _decided_by(delivery: Delivery) -> str:
    """Name who decided: a person of Slack's, or an operator, whom Slack does not know."""
    by = delivery.resolved_by or ""
    return "an operator" if by.startswith(OPERATOR) else f"<@{by}>"


def stands_alone(delivery: Delivery) -> bool:
    """Whether an answer has no anchor above it that says what it is about."""
    return delivery.route is not Route.THREAD


def _message(words: str, more: list[Block]) -> Message:
    # Where there is a `text`, a screen reader reads that and not the blocks: the small print stands in both.
    small = [element["text"] for block in more if block["type"] == "context" for element in block["elements"]]
    return Message("\n".join([words, *small]), (section(words), *more))


def section(words: str) -> Block:
    # verbatim: Slack makes no links, channels or mentions out of plain words.
    return {"type": "section", "text": {"type": "mrkdwn", "text": words, "verbatim": True}}


def quoted(delivery: Delivery) -> str:
    if delivery.text is None:
        return "> (the text cannot be decrypted)"
    shown = quote(delivery.text, at_most=_QUOTE_AT_MOST)
    if len(escape(legible(delivery.text))) <= _QUOTE_AT_MOST:
        return shown
    return f"{shown}\n_{len(delivery.text):,} characters in all; LeadSquared gets them all._"


def _small_print(delivery: Delivery) -> Block:
    in_thread = delivery.thread_ts is not None or delivery.anchor_ts is not None
    on_ticket = delivery.state is State.RECORDED or delivery.resolution is Resolution.CONFIRMED
    if not (on_ticket and in_thread):
        return _reference(delivery)
    return context(f"Reference {delivery.id} · next time this thread goes to {ticket(delivery)}")


def _reference(delivery: Delivery) -> Block:
    return context(f"Reference {delivery.id}")


def context(words: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": words, "verbatim": True}]}


def _resolved(delivery: Delivery) -> list[Block]:
    if delivery.resolution is None:
        return []
    words = {Resolution.SENT_AGAIN: "Sent again by", Resolution.CONFIRMED: "Found on the ticket by"}[
        delivery.resolution
    ]
    return [context(f"{words} {_decided_by(delivery)}")]


def _buttons(delivery: Delivery) -> list[Block]:
    buttons = [_button(button, delivery) for button in offered(delivery)]
    return [{"type": "actions", "elements": buttons}] if buttons else []


def _button(button: Button, delivery: Delivery) -> Block:
    return {"type": "button", "action_id": button.value, "text": plain_text(LABELS[button]), "value": delivery.id}


def plain_text(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}
