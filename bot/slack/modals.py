"""The form in which an activity is recorded, as a modal: data in, a view out. Pure.

Slack's limits hold by construction: https://docs.slack.dev/reference/views/modal-views
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from pydantic import ConfigDict

from bot.activities.delivery import Delivery, with_last_line
from bot.slack import hints
from bot.slack.answers import Block, Message, context, message, plain_text, quoted, section
from bot.slack.messages import WholeThread
from bot.slack.payloads import Payload, View, ViewBlock, ViewState
from bot.slack.previews import NO_PREVIEW, Preview, SeenTicket
from bot.slack.text import cut, sound, units

CALLBACK = "record_portal_activity"
"""The message shortcut's callback_id in the manifest, and that of the form."""

TICKET_BLOCK = "ticket"
TEXT_BLOCK = "text"
THREAD_BLOCK = "thread_text"
WHAT_BLOCKS = {False: "what_message", True: "what_thread"}
"""The choice's block_id, by whether the text is the thread's.

Slack keeps what was chosen in a block of the same id, even if the text changes.
"""

LINK_BLOCK = "link"
NOTICE_BLOCK = "notice"
"""The small print under the notice; the notes below the fields have ids of Slack's."""

SEEN_BLOCK = "ticket_seen"
LAST_LINE_BLOCK = "last_line"

TICKET_ACTION = "ticket_typed"
"""The ticket's action_id where the form shows which ticket it is: the bot hears of each change."""

WHAT_ACTION = "what_to_record"
INPUT_ACTION = "input"
LONGEST_INPUT = 3000
"""Characters in a field, as Slack counts them (`units`)."""

MOST_FIELDS = 5
"""Fields for one text: a message that a person types has 12,000 characters at most."""

_LONGEST_METADATA = 2900
"""Slack takes 3,000 characters; what the text needs (`of_text`) and a delivery that is shown later
must find room too.
"""

THIS_MESSAGE, WHOLE_THREAD = "message", "thread"
_TITLE = "Record in LeadSquared"


class Metadata(Payload):
    """What the form carries to its submission, in `private_metadata`. `response_url` is encrypted.

    `team` is the workspace in which it was opened, where all the rest belongs, and `enterprise` its
    organisation.
    """

    model_config = ConfigDict(extra="forbid")

    team: str
    enterprise: str | None = None
    channel: str
    thread: str | None = None
    message: str | None = None
    link: str | None = None
    response_url: str | None = None
    joins: tuple[str, ...] = ()  # what stood between the parts of a text that needs several fields
    through: str | None = None  # the last message in the text, where that is the thread's
    shown: str | None = None  # the delivery that the person was shown as recorded before
    retry_of: str | None = None
    last_line: str | None = None  # as the form shows it, where LeadSquared gets one
    shows_ticket: bool = False
    seen: SeenTicket | None = None  # as the form shows it

    def of_text(self, text: "FormText") -> Self:
        """Return what the submission has to know of the text in the form."""
        return self.model_copy(update={"joins": text.joins, "through": text.through})

    def previewing(self, preview: Preview) -> Self:
        """Return what the form shows of what will stand on the ticket."""
        return self.model_copy(
            update={
                "last_line": preview.last_line,
                "shows_ticket": preview.shows_ticket,
                "seen": preview.seen,
            }
        )

    @property
    def adds_link(self) -> bool:
        """Whether the last line has the link to the message already."""
        line = self.last_line
        return self.link is not None and line is not None and line.endswith(f": {self.link}")

    def room(self, *, is_last: bool) -> int:
        """Return how many characters a field takes: the last line counts in the last one."""
        if self.last_line is None or not is_last:
            return LONGEST_INPUT
        return LONGEST_INPUT - units(with_last_line("", self.last_line))

    def fitting(self) -> Self:
        """Return what Slack's 3,000 characters have room for.

        Leave out the response_url, then the link, until the rest fits.
        """
        for left_out in ((), ("response_url",), ("response_url", "link")):
            smaller = self.model_copy(update=dict.fromkeys(left_out))
            if units(smaller.model_dump_json()) <= _LONGEST_METADATA:
                break
        return smaller


@dataclass(frozen=True, slots=True)
class FormText:
    """A text over the fields that it needs, and what stood between them.

    `whole`: it is the thread's. Without fields, the text is not edited here.
    """

    fields: tuple[str, ...] = ("",)
    joins: tuple[str, ...] = ()
    whole: bool = False
    hint: str | None = None
    through: str | None = None  # the thread's last message in it
    left_out: int = 0  # characters that no field has room for, in UTF-16 units

    @classmethod
    def of(cls, text: str, *, what: str = "message", last: int = LONGEST_INPUT) -> Self:
        """Spread a text over fields.

        Split it at the ends of lines, else of words, else where the field ends. The last field
        takes `last` characters.
        """
        fields: list[str] = []
        joins: list[str] = []
        rest = text
        while units(rest) > last and len(fields) < MOST_FIELDS - 1:
            head = cut(rest, LONGEST_INPUT)
            if head == rest:  # only the last line has no room
                head = cut(rest, last)
            end = _end(head, "\n") or _end(head, " ") or len(head)
            join = rest[end] if rest[end] in "\n " else ""
            fields.append(rest[:end])
            joins.append(join)
            rest = rest[end + len(join) :]
        end_of_it = cut(rest, last)
        left_out = units(rest) - units(end_of_it)
        hint = hints.continued(what, units(text), left_out) if fields else None
        return cls((*fields, end_of_it), tuple(joins), hint=hint, left_out=left_out)

    @classmethod
    def of_thread(cls, thread: WholeThread, at_most: int = LONGEST_INPUT) -> Self:
        """Fill the one field that a thread has; it was written to fit."""
        found = []
        without_room = thread.left_out - thread.unread
        if without_room > 0 or thread.cut:
            found.append(hints.thread_cut(at_most, without_room, first_is_cut=thread.cut))
        if thread.unread:
            found.append(hints.thread_unread(thread.unread, thread.read_on_in))
        elif thread.read_ago is not None:
            found.append(hints.thread_read_ago(thread.read_ago))
        return cls((thread.text,), whole=True, hint=" ".join(found) or None, through=thread.through)

    def joined(self) -> str:
        """Return the text over all fields."""
        between = [*self.joins, *("\n" for _ in self.fields)][: max(len(self.fields) - 1, 0)]
        return "".join(
            part + join for part, join in zip(self.fields, [*between, ""], strict=False)
        ).strip()


def _end(text: str, separator: str) -> int:
    """Return where the last line, or word, of a text's second half ends; 0 when it has none."""
    return max(text.rfind(separator, len(text) // 2), 0)


@dataclass(frozen=True, slots=True)
class Form:
    """What stands in the form. `choice`: one may choose between the message and its thread."""

    metadata: Metadata
    ticket: str = ""
    text: FormText = FormText()
    choice: bool = False
    add_link: bool = True
    notes: tuple[str, ...] = ()
    notice: Message | None = None  # above the fields


def text_blocks(*, whole: bool) -> list[str]:
    """Return the block_ids of a text's fields.

    A thread's are others: Slack keeps what stands in a block of the same id.
    """
    first = THREAD_BLOCK if whole else TEXT_BLOCK
    return [first, *(f"{first}_{number}" for number in range(2, MOST_FIELDS + 1))]


def modal(form: Form) -> dict[str, Any]:
    """Build the form's view."""
    metadata = form.metadata
    asked = form.notice is not None and metadata.shown is not None
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "title": plain_text(_TITLE if metadata.retry_of is None else "Edit and send again"),
        "submit": plain_text(
            "Record again" if asked else "Record" if metadata.retry_of is None else "Send again"
        ),
        "close": plain_text("Cancel"),
        "private_metadata": metadata.of_text(form.text).model_dump_json(exclude_defaults=True),
        "blocks": list(_blocks(form)),
    }


def _blocks(form: Form) -> Iterator[Block]:
    if form.notice is not None:
        yield section(form.notice.words)
        for number, line in enumerate(form.notice.small):
            yield context(line) | {"block_id": f"{NOTICE_BLOCK}_{number}"}
    yield _ticket(form)
    if form.metadata.seen is not None:
        yield _plain(SEEN_BLOCK, _seen(form.metadata.seen))
    if form.choice:
        yield _what(whole=form.text.whole)
    yield from _text(form)
    if form.metadata.link is not None and not form.metadata.adds_link:
        yield _link(ticked=form.add_link)
    if form.metadata.last_line is not None:
        yield _plain(LAST_LINE_BLOCK, hints.last_line(form.metadata.last_line))
    for note in form.notes:
        yield context(note)


def _ticket(form: Form) -> Block:
    block = _text_input(TICKET_BLOCK, "Ticket", form.ticket, hint=hints.TICKET)
    if not form.metadata.shows_ticket:
        return block
    heard = {"trigger_actions_on": ["on_character_entered", "on_enter_pressed"]}
    element = block["element"] | {"action_id": TICKET_ACTION, "dispatch_action_config": heard}
    return block | {"dispatch_action": True, "element": element}


def _seen(seen: SeenTicket) -> str:
    if seen.title is None:
        return hints.no_such_ticket(seen.ticket)
    if seen.is_closed:
        return hints.ticket_closed(seen.ticket, seen.title)
    return hints.ticket_seen(seen.ticket, seen.title, seen.status)


def _plain(block_id: str, words: str) -> Block:
    """Show words in which Slack reads no marks and no emoji: a title, and a name."""
    element = plain_text(words) | {"emoji": False}
    return {"type": "context", "block_id": block_id, "elements": [element]}


def _text(form: Form) -> Iterator[Block]:
    text = form.text
    hint = text.hint or hints.TEXT
    for number, (block_id, words) in enumerate(
        zip(text_blocks(whole=text.whole), text.fields, strict=False), 1
    ):
        label = "Text" if len(text.fields) == 1 else f"Text, part {number} of {len(text.fields)}"
        block = _text_input(
            block_id,
            label,
            words,
            hint=hint if number == 1 else None,
            multiline=True,
            at_most=form.metadata.room(is_last=number == len(text.fields)),
        )
        yield block | {"optional": True} if number > 1 else block


def _what(*, whole: bool) -> Block:
    options = {
        THIS_MESSAGE: _option("This message", THIS_MESSAGE),
        WHOLE_THREAD: _option("The whole thread, with authors and times", WHOLE_THREAD),
    }
    return {
        "type": "input",
        "block_id": WHAT_BLOCKS[whole],
        "dispatch_action": True,
        "label": plain_text("What to record"),
        "hint": plain_text(hints.CHOICE),
        "element": {
            "type": "radio_buttons",
            "action_id": WHAT_ACTION,
            "options": list(options.values()),
            "initial_option": options[WHOLE_THREAD if whole else THIS_MESSAGE],
        },
    }


def _link(*, ticked: bool) -> Block:
    option = _option("Add a link to the Slack message", "link")
    chosen = {"initial_options": [option]} if ticked else {}
    return {
        "type": "input",
        "block_id": LINK_BLOCK,
        "optional": True,
        "label": plain_text("Link"),
        "element": {"type": "checkboxes", "action_id": INPUT_ACTION, "options": [option], **chosen},
    }


def _option(label: str, value: str) -> dict[str, Any]:
    return {"text": plain_text(label), "value": value}


def _text_input(
    block_id: str,
    label: str,
    value: str,
    *,
    hint: str | None,
    multiline: bool = False,
    at_most: int = LONGEST_INPUT,
) -> Block:
    element = {
        "type": "plain_text_input",
        "action_id": INPUT_ACTION,
        "multiline": multiline,
        "max_length": at_most,
        **({"initial_value": value} if value else {}),
    }
    block = {"type": "input", "block_id": block_id, "label": plain_text(label), "element": element}
    return block if hint is None else block | {"hint": plain_text(hint)}


@dataclass(frozen=True, slots=True)
class Typed:
    """What a person left in the form."""

    ticket: str
    text: FormText
    wants_whole: bool | None  # None: there was no choice
    add_link: bool
    edited: bool  # the text is not what the form was filled in with
    notice: Message | None  # what stood above the fields
    notes: tuple[str, ...]  # and below them


def typed(view: View, metadata: Metadata) -> Typed:
    """Read a submitted form, or one in which something was chosen."""
    state = view.state
    whole = state.input(THREAD_BLOCK) is not None
    blocks = text_blocks(whole=whole)
    # An input's value has no encoding to undo.
    fields = tuple(
        sound(found.value or "")
        for block_id in blocks
        if (found := state.input(block_id)) is not None
    )
    shown = {block.block_id: block for block in view.blocks}
    filled_in = [
        block.element.initial_value if (block := shown.get(id_)) and block.element else ""
        for id_ in blocks
    ]
    hint = block.hint.text if (block := shown.get(blocks[0])) and block.hint else None
    notice = next(
        (block.text.text for block in view.blocks if block.type == "section" and block.text), None
    )
    contexts = [
        block
        for block in view.blocks
        if block.type == "context" and block.block_id not in (SEEN_BLOCK, LAST_LINE_BLOCK)
    ]
    small, notes = (
        [
            str(each.get("text"))
            for block in contexts
            if _is_notice(block) is wanted
            for each in block.elements
        ]
        for wanted in (True, False)
    )
    ticket, link = state.input(TICKET_BLOCK), state.input(LINK_BLOCK)
    return Typed(
        ticket="" if ticket is None else sound(ticket.value or "").strip(),
        text=FormText(fields, metadata.joins, whole, hint, metadata.through if whole else None),
        wants_whole=_wants_whole(state),
        add_link=link is not None and bool(link.selected_options),
        edited=any(
            words != (initial or "") for words, initial in zip(fields, filled_in, strict=False)
        ),
        notice=None if notice is None else message(notice, *small),
        notes=tuple(notes),
    )


def _is_notice(block: ViewBlock) -> bool:
    return block.block_id.startswith(NOTICE_BLOCK)


def _wants_whole(state: ViewState) -> bool | None:
    choice = next(
        (found for block_id in WHAT_BLOCKS.values() if (found := state.input(block_id))), None
    )
    if choice is None or choice.selected_option is None:
        return None
    return choice.selected_option.value == WHOLE_THREAD


def edit_form(delivery: Delivery, preview: Preview = NO_PREVIEW) -> Form:
    """The form of "Edit and send again", filled in with what was sent."""
    words = delivery.text or ""
    metadata = Metadata(team=delivery.team_id, channel=delivery.channel_id, retry_of=delivery.id)
    metadata = metadata.previewing(preview)
    text = FormText.of(words, what="text", last=metadata.room(is_last=True))
    if not text.left_out:
        return Form(metadata, delivery.ticket_id, text)
    note = f"{hints.not_editable(units(words))}\n{quoted(delivery)}"
    return Form(metadata, delivery.ticket_id, FormText(fields=()), notes=(note,))


def loading_modal() -> dict[str, Any]:
    """What opens at once, while Slack is asked for the rest."""
    return notice_modal(Message(hints.READING))


def notice_modal(notice: Message) -> dict[str, Any]:
    """A modal that only says something."""
    buttons = (block for block in notice.blocks if block["type"] == "actions")
    blocks = [section(notice.words), *buttons, *(context(line) for line in notice.small)]
    return {
        "type": "modal",
        "title": plain_text(_TITLE),
        "close": plain_text("Close"),
        "blocks": blocks,
    }
