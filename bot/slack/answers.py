"""Block Kit builders: pure functions, data in, blocks out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bot.activities.acceptance import Double
from bot.activities.delivery import (
    FORGOTTEN,
    OPERATOR,
    Delivery,
    Finding,
    Resolution,
    Route,
    State,
    Waiting,
)
from bot.activities.policy import DOUBLE_WITHIN, mark
from bot.activities.ticket import MalformedTicketError
from bot.database.writer import CommitUnknownError, DatabaseUnavailableError
from bot.slack.explanations import LABELS, Button, explain, for_admin, offered, small_print
from bot.slack.text import cut, escape, legible, one_line, quote, shorten
from bot.tenants.rules import Answers, AskGroup, NotAllowed, Why

Block = dict[str, Any]

COMMAND = "/portal-activity"
RECORD_AGAIN = "record_again"
OPEN_SETUP = "open_setup"
"""The action of a button that opens the set-up form."""
_QUOTE_AT_MOST = 500
_TITLE_AT_MOST = 100
_A_FORMER_MEMBER = "a former member"
_AN_ADMIN = "an admin"
_EXAMPLE = f"`{COMMAND} 143 Customer uploaded the signed form`"

_SECRET = small_print(
    "add the earlier secret at the end of `ENCRYPTION_KEYS` and restart the bot", "secret missing"
)
_CHECK = "run `python -m bot check`"


@dataclass(frozen=True, slots=True)
class Message:
    """A message's blocks, and the same in words for notifications and screen readers."""

    text: str
    blocks: tuple[Block, ...] = ()

    def payload(self) -> dict[str, Any]:
        return (
            {"text": self.text, "blocks": list(self.blocks)} if self.blocks else {"text": self.text}
        )

    @property
    def words(self) -> str:
        """The main text, without the small print."""
        return next(
            (str(block["text"]["text"]) for block in self.blocks if block["type"] == "section"),
            self.text,
        )

    @property
    def small(self) -> tuple[str, ...]:
        """The lines of small print."""
        contexts = (block for block in self.blocks if block["type"] == "context")
        return tuple(str(element["text"]) for block in contexts for element in block["elements"])


def anchor(delivery: Delivery) -> Message:
    """The message in whose thread the answer is given, with the mark that the delivery has now."""
    by, on = f"by {_person(delivery, _A_FORMER_MEMBER)}", _titled(delivery)
    statuses: dict[str, str] = {
        State.ACCEPTED: f"⏳ Recording a portal activity on {on} {by}",
        State.RECORDED: f"✅ Portal activity recorded on {on} {by}",
        State.REJECTED: f"❌ Portal activity {by} not recorded on {on}",
        State.UNKNOWN: f"⚠️ Portal activity {by} may or may not be on {on}",
        Finding.PRESENT: f"✅ Portal activity {by} found on {on}",
        Resolution.CONFIRMED: f"✅ Portal activity {by} is on {on}, confirmed by {_decided_by(delivery, _AN_ADMIN)}",
    }
    return _message(f"{statuses[mark(delivery)]}\n{quoted(delivery)}", [_reference(delivery)])


def answer(delivery: Delivery, *, with_text: bool = False) -> Message:
    """The final answer. `with_text` repeats what was sent, where no anchor above shows it."""
    words = f"{_outcome(delivery)}\n{quoted(delivery)}" if with_text else _outcome(delivery)
    return _message(
        words, [*buttons_of(delivery), *(context(line) for line in _small_print(delivery))]
    )


def _outcome(delivery: Delivery) -> str:
    """Say how it ended; after a decision, what was decided."""
    icon = "⚠️" if delivery.state is State.UNKNOWN else "❌"
    if delivery.state is State.RECORDED:
        by = (
            "" if delivery.thread_ts is None else f" by {_person(delivery, _A_FORMER_MEMBER)}"
        )  # no anchor says it
        return f"✅ Recorded on {_titled(delivery)}{by}, activity ID {activity_id(delivery)}"
    if delivery.resolution is Resolution.CONFIRMED:
        return f"✅ {_decided_by(delivery)} confirmed that this is on {_titled(delivery)}."
    if delivery.resolution is Resolution.SENT_AGAIN:
        what = "may or may not be on" if delivery.state is State.UNKNOWN else "was not recorded on"
        on = (
            f" on ticket {other}"
            if (other := delivery.sent_again_on) not in (None, delivery.ticket_id)
            else ""
        )
        again = f"{_decided_by(delivery)} sent it again{on}: see the new answer below."
        return f"{icon} This {what} {_titled(delivery)}. {again}"
    return f"{icon} {_person(delivery)}: {explain(delivery, _titled(delivery))}"


def finding(delivery: Delivery, *, with_text: bool = False) -> Message:
    """What a verification found on the ticket, after an unknown outcome."""
    there = LABELS[Button.CONFIRM]
    if delivery.finding is Finding.PRESENT:
        words = (
            f"✅ Found on {_ticket(delivery)}: a portal activity with exactly this text, activity ID "
            f"{activity_id(delivery)}. If it's this one, press *{there}*."
        )
    else:
        words = (
            f"🔎 Not found on {_ticket(delivery)} so far. "
            "The bot keeps looking for a while: check the ticket yourself before you send this again."
        )
    return _message(f"{words}\n{quoted(delivery)}" if with_text else words, [])


def found_there(delivery: Delivery) -> Message:
    """The question before what was found on the ticket is sent again."""
    words = (
        f"Ticket {delivery.ticket_id} already has a portal activity with exactly this text "
        f"(activity ID {activity_id(delivery)}). "
        f"If it's this one, press *{LABELS[Button.CONFIRM]}* under the answer; if not, press *Send again* here."
    )
    return _message(
        words, [{"type": "actions", "elements": [_button(Button.SEND_AGAIN_ANYWAY, delivery)]}]
    )


def _ticket(delivery: Delivery) -> str:
    return f"ticket {delivery.ticket_id}"


def names_title(delivery: Delivery) -> bool:
    """Whether a message about a delivery names the ticket's title, which is a customer's words.

    Only in a thread that the bot has found out to be the workspace's own. The setting `thread`
    publishes answers without asking Slack who reads them, but no title.
    """
    is_own = delivery.route is Route.THREAD and delivery.answers is Answers.AUTO
    return delivery.title is not None and is_own


def _titled(delivery: Delivery) -> str:
    """Name the ticket, with its title where that may be read there."""
    if not names_title(delivery):
        return _ticket(delivery)
    title = _without_quotes(delivery.title or "")
    return f"{_ticket(delivery)} · “{shorten(title, at_most=_TITLE_AT_MOST)}”"


def activity_id(delivery: Delivery) -> str:
    """The ID that LeadSquared gave, safe to show: a server is trusted no more than a person."""
    return shorten(delivery.activity_id or "", at_most=100)


def note(
    delivery: Delivery, reason: Waiting, *, give_up_at: float, with_text: bool = False
) -> Message:
    """What is said while a delivery waits."""
    limit = f"⏳ Waiting for LeadSquared's rate limit. This will be recorded on {_ticket(delivery)} automatically."
    words = {
        Waiting.TURN: limit,
        Waiting.RATE_LIMITED: limit,
        Waiting.UNREACHABLE: (
            f"⏳ LeadSquared can't be reached. The bot keeps trying to record this on {_ticket(delivery)} "
            f"until {clock_time(give_up_at)}."
        ),
        Waiting.UNDECIPHERABLE: (
            f"⏳ The bot can't decrypt this activity for {_ticket(delivery)}. "
            "It will be recorded automatically after an admin fixes this."
        ),
    }[reason]
    small = [context(_SECRET)] if reason is Waiting.UNDECIPHERABLE else []
    # Where no anchor has the reference, the note has it until the answer takes the note's place.
    replaced = delivery.route is Route.THREAD and delivery.anchor_ts is None
    more = [*small, _reference(delivery)] if replaced else small
    return _message(f"{words}\n{quoted(delivery)}" if with_text else words, more)


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
        f"*{COMMAND} &lt;ticket&gt; &lt;text&gt;* records what a customer did "
        "as a portal activity on a LeadSquared ticket.\n"
        f"For example:\n{_EXAMPLE}\n"
        f"• `{COMMAND}` alone, or with only the ticket, opens a form.\n"
        "• On a message, *More actions* &gt; *Record in LeadSquared* records that message, or its whole thread.\n"
        "• The ticket is its number (`143` or `#143`), its GUID, or a link to its page in LeadSquared.\n"
        "• The text is everything after the ticket, with its line breaks.\n"
        f"• `{COMMAND} setup` connects LeadSquared, for workspace admins and the people they name.\n"
        f"• `{COMMAND} recent` shows this conversation's newest activities, and `status` whether something waits or failed.\n"
        f"• `{COMMAND} help` shows this text.\n"
        "The bot posts the activity in this conversation. Its thread shows the activity ID, or what went wrong "
        "and who can fix it."
    )


def no_ticket() -> Message:
    return Message(
        f"Nothing was recorded. Enter the ticket, then the text. For example:\n{_EXAMPLE}\nMore: `{COMMAND} help`",
    )


def no_text(ticket_id: str) -> Message:
    return Message(
        f"Nothing was recorded on ticket {ticket_id}. After the ticket, enter what the customer did. "
        f"For example:\n`{COMMAND} {ticket_id} Customer uploaded the signed form`"
    )


def _without_quotes(word: str) -> str:
    """Return a word without the quotation marks that the answer puts around it."""
    return one_line(word).strip("“”")


def malformed_ticket(word: str, why: str, *, number: bool = False) -> Message:
    """The answer to a word that is no ticket; `number`: it is a number that no ticket has."""
    wrong = "can't be a ticket number" if number else "is not a ticket"
    shown = shorten(_without_quotes(word), at_most=60)
    return Message(f"Nothing was recorded. “{shown}” {wrong}: {why}. For example:\n{_EXAMPLE}")


def why_no_ticket(word: str, error: MalformedTicketError) -> str:
    """What stands by the form's field, which knows no marks, when it holds no ticket."""
    what = (
        f"“{cut(_without_quotes(word), 60)}” can't be a ticket number"
        if error.number
        else "Not a ticket"
    )
    return f"{what}: {error}. For example:\n143"


def unmapped(team_id: str) -> Message:
    """The answer where nothing is connected, with a button for those who may connect it."""
    small = small_print(f"`python -m bot tenants map NAME --team {team_id}`", "not connected")
    return _message(
        "This workspace isn't connected to LeadSquared yet, so nothing was recorded. "
        "Ask an admin to connect it, then try again.",
        [{"type": "actions", "elements": [setup_button()]}, context(small)],
    )


def setup_button() -> Block:
    """The button that opens the set-up form."""
    return {
        "type": "button",
        "action_id": OPEN_SETUP,
        "text": plain_text("Connect LeadSquared"),
        "value": "setup",
    }


def starting() -> Message:
    return message(
        "The bot has just started, so nothing was recorded. Try again in a minute.",
        small_print(f"Slack has not confirmed the bot token yet; {_CHECK}", "bot starting"),
    )


def token_refused(error: str) -> Message:
    """The answer while Slack rejects the bot's token; `error` is Slack's word."""
    return message(
        "Slack rejects the bot's token, so nothing was recorded. Ask an admin to fix this, then try again.",
        small_print(
            f"Slack says `{shorten(error, at_most=60)}`; copy the Bot User OAuth Token to `SLACK_BOT_TOKEN`",
            "token rejected",
        ),
    )


_NOT_INSTALLED = "The bot isn't installed in this workspace, so nothing was recorded. Ask an admin to install it."


def removed() -> Message:
    """The answer where the bot was removed from the workspace, or its token revoked."""
    return message(
        "Portal Activity is no longer installed in this workspace, so nothing was recorded. "
        "Ask a Slack admin to install it again, then try again.",
        small_print("open `/slack/install` at the bot's own address", "bot removed"),
    )


def not_installed() -> Message:
    """The answer where the workspace has not installed the bot by OAuth."""
    return message(
        _NOT_INSTALLED, small_print("open `/slack/install` at the bot's own address", "no token")
    )


def token_unreadable() -> Message:
    """The answer where something needs the bot token, and no secret decrypts it."""
    return message(
        "The bot can't decrypt its Slack token for this workspace, so nothing was recorded. "
        "Ask an admin to fix this, then try again.",
        _SECRET,
    )


def unavailable(error: DatabaseUnavailableError) -> Message:
    """Say what the database's trouble means for the person.

    Either surely nothing was stored, or that is unknown.
    """
    return maybe_accepted() if isinstance(error, CommitUnknownError) else not_accepted()


def not_accepted() -> Message:
    return message(
        "The bot couldn't store this, so nothing was recorded. Try again in a minute.",
        small_print(f"the database could not store it; {_CHECK}", "not stored"),
    )


def maybe_accepted() -> Message:
    return message(
        "The bot may or may not have stored this. "
        "If no message about it appears here within two minutes, send it again.",
        small_print(f"the database stopped answering; {_CHECK}", "maybe stored"),
    )


def broken() -> Message:
    return message(
        "Something went wrong in the bot, so nothing was done. Try again.",
        small_print("if this repeats, look at the bot's log", "bot error"),
    )


def already(delivery: Delivery | None) -> Message:
    """The answer to a button that is past its time, or another workspace's."""
    if delivery is None:
        return Message("This workspace has no such activity, so nothing was done.")
    on = _ticket(delivery)
    if delivery.resolution is Resolution.SENT_AGAIN:
        return Message(
            f"{_decided_by(delivery)} already sent this again, so nothing was done. See the new answer."
        )
    if delivery.resolution is Resolution.CONFIRMED:
        return Message(
            f"{_decided_by(delivery)} already confirmed that this is on {on}, so nothing was done."
        )
    if delivery.state is State.RECORDED:
        return Message(
            f"This is already recorded on {on} (activity ID {activity_id(delivery)}), so nothing was done."
        )
    if delivery.settled:
        return Message(
            f"This was not recorded on {on}, so it can't be there. Send it again instead."
        )
    return Message(
        f"This is still being recorded on {on}, so nothing was done. Wait for the answer."
    )


def foreign_member() -> Message:
    return Message(
        "Only members of the workspace that recorded this can decide about it, so nothing was done."
    )


def may_not_record(no: NotAllowed | AskGroup) -> Message:
    """The answer to a person who may not record here, or of whom Slack does not say it."""
    match no.why if isinstance(no, NotAllowed) else Why.AWAY:
        case Why.STRANGER:
            return Message(
                "Only people of the organisation that uses Portal Activity here can record, so nothing was recorded. "
                "Ask your contact there to record it."
            )
        case Why.GUEST:
            return message(
                "Guests can't record activities in this workspace, so nothing was recorded. Ask a member to record it.",
                small_print("`python -m bot tenants update NAME --guests`", "guests"),
            )
        case Why.CHANNEL:
            return message(
                "Activities can't be recorded in this conversation, so nothing was recorded. Use one of the channels for that.",
                small_print(
                    "`python -m bot tenants show NAME` lists the channels", "limited to channels"
                ),
            )
        case Why.GROUP:
            return message(
                "Only the people of one user group can record activities here, so nothing was recorded. "
                "Ask an admin to add you to it.",
                small_print(
                    "`python -m bot tenants show NAME` names the group", "limited to a group"
                ),
            )
        case Why.UNTOLD:
            return message(
                "Slack doesn't tell the bot whether you may record, so nothing was recorded. Ask an admin to fix this, then try again.",
                small_print(
                    "the app may miss `users:read` or `usergroups:read`; install it again",
                    "person unknown",
                ),
            )
        case Why.AWAY:
            return message(
                "Slack didn't say in time whether you may record, so nothing was recorded. Try again in a minute.",
                small_print("Slack's Web API is slow or away", "person not looked up"),
            )


def not_shown_yet() -> Message:
    """The answer to who wants to see what was recorded while Slack does not say who that is."""
    return message(
        "Slack didn't say in time who you are, so nothing is shown. Try again in a minute.",
        small_print("Slack's Web API is slow or away", "person not looked up"),
    )


def elsewhere() -> Message:
    """The answer to a form or a shortcut that reached another workspace than its own."""
    return Message(
        "This form belongs to another workspace, so nothing was recorded. Use your own workspace."
    )


def without_text(delivery: Delivery) -> Message:
    """The answer where something needs a text that the bot no longer has."""
    if delivery.is_erased:
        return Message(
            "The text of this activity has been deleted, so nothing was sent. Write the activity again."
        )
    return message(
        "The bot can't decrypt this text, so nothing was sent. Ask an admin to fix this, or write the activity again.",
        _SECRET,
    )


def modal_failed() -> Message:
    return Message("Slack didn't open the form in time, so nothing was recorded. Try again.")


def double(double_: Double, reader_id: str, what: str = "this text") -> str:
    """Say that this was recorded before, or may have been: by whom, when, with which ID."""
    delivery, ago = double_.delivery, double_.seconds_ago
    when = _ago(ago) if ago < DOUBLE_WITHIN else f"on {day_and_time(delivery.accepted_at)}"
    who = "You" if delivery.user_id == reader_id else _person(delivery)
    on = _ticket(delivery)
    if delivery.state is State.RECORDED:
        return (
            f"{who} already recorded {what} on {on} {when} (activity ID {activity_id(delivery)})."
        )
    if delivery.resolution is Resolution.CONFIRMED:
        return f"{who} already recorded {what} on {on} {when} (confirmed by {_decided_by(delivery, _AN_ADMIN)})."
    if delivery.settled:
        return f"{who} already sent {what} to {on} {when}, and it may be there."
    return f"{who} already sent {what} to {on} {when}, and it is still being recorded."


def _ago(seconds: float) -> str:
    whole = round(seconds)
    return "just now" if whole < 1 else f"{whole} second{'' if whole == 1 else 's'} ago"


def recorded_before(double_: Double, message_ts: str | None, reader_id: str) -> Message:
    """The text above a form when the same message or text is already on the same ticket."""
    what = "this message" if double_.delivery.has_message(message_ts) else "this text"
    return Message(f"{double(double_, reader_id, what)} Press *Record again* to record it again.")


def doubtful(ticket_id: str) -> Message:
    """The text above a form when the ticket is closed, or LeadSquared does not show it."""
    return Message(
        f"Nothing was recorded on ticket {ticket_id} yet. Check the ticket below, then submit the form again if you still want this."
    )


def same_words(double_: Double, key: str) -> Message:
    """The question before a person records the same text on the same ticket again."""
    value = json.dumps({"delivery": double_.delivery.id, "key": key})
    button = {
        "type": "button",
        "action_id": RECORD_AGAIN,
        "text": plain_text("Record again"),
        "value": value,
    }
    words = f"{double(double_, double_.delivery.user_id)} Record it again?"
    return _message(words, [{"type": "actions", "elements": [button]}])


def submitted_before(delivery: Delivery) -> Message:
    """The answer to a form that was changed and submitted a second time."""
    return Message(
        f"You already submitted this form for {_ticket(delivery)}, so your later changes were not recorded. "
        "Record what is missing with a new form."
    )


def no_token(team_id: str) -> Message:
    return message(
        _NOT_INSTALLED,
        small_print(f"`SLACK_BOT_TOKEN` is not for workspace {team_id}", "no token"),
    )


def recorded_again(delivery: Delivery) -> Message:
    """What stands in the question's place after "Record again"."""
    return Message(f"Recording this on {_ticket(delivery)} again. The answer follows.")


def _decided_by(delivery: Delivery, admin: str = "An admin") -> str:
    """Name who decided.

    It is a person in Slack. An admin may decide by a command, and Slack does not know the account.
    """
    by = delivery.resolved_by or ""
    if by == FORGOTTEN:
        return "A former member" if admin[0].isupper() else _A_FORMER_MEMBER
    return admin if by.startswith(OPERATOR) else f"<@{by}>"


def _person(delivery: Delivery, former: str = "A former member") -> str:
    """Mention the person who recorded this, unless that ID was deleted (`forget --user`)."""
    return former if delivery.user_id == FORGOTTEN else f"<@{delivery.user_id}>"


def stands_alone(delivery: Delivery) -> bool:
    """Whether an answer has no anchor above it that says what it is about."""
    return delivery.route is not Route.THREAD


def message(words: str, *small: str) -> Message:
    """Return a message with its lines of small print."""
    return _message(words, [context(line) for line in small])


def _message(words: str, more: list[Block]) -> Message:
    # Where there is a `text`, a screen reader reads that and not the blocks: the small print
    # stands in both.
    small = [
        element["text"]
        for block in more
        if block["type"] == "context"
        for element in block["elements"]
    ]
    return Message("\n".join([words, *small]), (section(words), *more))


def section(words: str) -> Block:
    # verbatim: Slack makes no links, channels or mentions out of plain words.
    return {"type": "section", "text": {"type": "mrkdwn", "text": words, "verbatim": True}}


def quoted(delivery: Delivery) -> str:
    if delivery.text is None:
        return (
            "> (the text has been deleted)"
            if delivery.is_erased
            else "> (the text can't be decrypted)"
        )
    shown = quote(delivery.text, at_most=_QUOTE_AT_MOST)
    if len(escape(legible(delivery.text))) <= _QUOTE_AT_MOST:
        return shown
    return f"{shown}\n_{len(delivery.text):,} characters; LeadSquared gets the whole text._"


def _small_print(delivery: Delivery) -> Iterator[str]:
    if (
        delivery.problem is not None
        and delivery.resolution is None
        and (admin := for_admin(delivery))
    ):
        yield admin
    in_thread = delivery.thread_ts is not None or delivery.anchor_ts is not None
    on_ticket = delivery.state is State.RECORDED or delivery.resolution is Resolution.CONFIRMED
    remembered = (
        f"The form will suggest {_ticket(delivery)} for this thread"
        if on_ticket and in_thread
        else None
    )
    # The reference stands once: on the anchor, unless there is none or a later activity has taken
    # it over.
    reference = delivery.anchor_ts is None or delivery.resolution is Resolution.SENT_AGAIN
    last = [f"Reference {delivery.id}" if reference else None, remembered]
    if any(last):
        yield " · ".join(filter(None, last))


def _reference(delivery: Delivery) -> Block:
    return context(f"Reference {delivery.id}")


def context(words: str) -> Block:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": words, "verbatim": True}]}


def buttons_of(delivery: Delivery) -> list[Block]:
    """Return the buttons that the answer offers: none when it is recorded or decided."""
    if not delivery.resendable:
        return []
    buttons = [_button(button, delivery) for button in offered(delivery)]
    return [{"type": "actions", "elements": buttons}] if buttons else []


def _button(button: Button, delivery: Delivery) -> Block:
    return {
        "type": "button",
        "action_id": button.value,
        "text": plain_text(LABELS[button]),
        "value": delivery.id,
    }


def plain_text(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}
