"""What the terminal shows: Slack's messages as plain lines, new ones as they come."""

import asyncio
import re
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.playground.leadsquared import Activity
from bot.playground.open_modals import View, buttons_of, inputs
from bot.playground.slack import SlackStandIn
from bot.playground.workspace import Posted, Workspace
from bot.slack.messages import author, plain

WIDTH = 110
LISTED = 6
LINES = 5
"""Of a thread, and of a message, in a list."""

_DATE = re.compile(r"<!date\^(\d+)\^([^|>]*)\|([^>]*)>")
_MENTION = re.compile(r"<@([A-Z0-9]+)>")
_CHANNEL = re.compile(r"<#([A-Z0-9]+)>")
_LINK = re.compile(r"<https?://[^|>]+\|([^>]+)>")
_BOLD = re.compile(r"(?<!\w)\*([^*\n]+)\*(?!\w)")


@dataclass(frozen=True, slots=True)
class Button:
    """A button that was shown, in a message or in a view."""

    place: Posted | View
    element: View

    @property
    def label(self) -> str:
        return str(self.element["text"]["text"])


class Screen:
    """Prints each message once, and again when it is changed; numbers the buttons."""

    def __init__(self, slack: SlackStandIn) -> None:
        self._slack = slack
        self.reader = ""  # as whom one looks; '': as whom anything is shown to
        self._shown: dict[str, int] = {}
        self._buttons: list[Button] = []
        self._modals: set[str] = set()
        self._numbers: dict[str, list[Posted]] = {}
        self.asking = False  # the open form's fields are being asked one by one

    async def follow(self) -> None:
        """Print what happens, for as long as the playground runs."""
        while True:
            await self._slack.until(self._has_news, within=float("inf"))
            await asyncio.sleep(0.05)  # what belongs together is printed together
            self.catch_up()

    def catch_up(self) -> None:
        """Print what has happened since the last time."""
        for message in self._bots_messages():
            if self._shown.get(message.ts) != message.edits:
                self._print(message, changed=message.ts in self._shown)
                self._shown[message.ts] = message.edits
        for modal in self._slack.modals.open:
            if str(modal) not in self._modals:
                self.form(modal)
        sys.stdout.flush()

    def button(self, number: str) -> Button | None:
        """Return a numbered button; without a number, the newest."""
        if not number and self._buttons:
            return self._buttons[-1]
        return (
            self._buttons[int(number) - 1]
            if number.isdigit() and 0 < int(number) <= len(self._buttons)
            else None
        )

    def buttons(self) -> str:
        """Say which numbers there are."""
        last = len(self._buttons)
        if not last:
            return "None has been shown yet."
        return (
            f"There {'is only 1' if last == 1 else f'are 1 to {last}'}; "
            f"the number stands in front of it: :press {last}"
        )

    def messages(self, channel: str) -> None:
        """List what everybody sees in a conversation, each message with its number.

        A thread stands below its first message.
        """
        numbers = {id(message): number for number, message in enumerate(self._numbered(channel), 1)}
        if not numbers:
            print("  There are no messages here yet.")
        for first in [message for message in self._numbered(channel) if message.thread_ts is None]:
            thread = [reply for reply in self._in(channel).thread(first.ts) if id(reply) in numbers]
            self._list(first, "  ", numbers[id(first)])
            for reply in thread[:LISTED]:
                self._list(reply, "      └ ", numbers[id(reply)])
            if len(thread) > LISTED:
                print(
                    f"        … and {len(thread) - LISTED} more, "
                    f"up to number {numbers[id(thread[-1])]}"
                )
        sys.stdout.flush()

    def message(self, channel: str, number: str) -> Posted | None:
        """Return a conversation's message by its number."""
        numbered = self._numbered(channel)
        return (
            numbered[int(number) - 1]
            if number.isdigit() and 0 < int(number) <= len(numbered)
            else None
        )

    def _numbered(self, channel: str) -> list[Posted]:
        """Return a conversation's messages in the order of their numbers.

        A later message has a higher number.
        """
        known = self._numbers.setdefault(channel, [])
        ids = {id(message) for message in known}
        known += [
            message
            for message in self._in(channel).messages
            if message.channel == channel and not message.ephemeral and id(message) not in ids
        ]
        return known

    def _list(self, message: Posted, prefix: str, number: int) -> None:
        if message.is_the_bots:
            who, words = "Portal Activity", self._words(message)
        else:
            workspace = self._in(message.channel)
            known = workspace.message(message)
            names = {person.id: person.name for person in workspace.people.values()}
            names |= {channel.id: channel.name for channel in workspace.channels.values()}
            who, words = author(known, names), plain(known, names | workspace.groups)
        lines = [*words.split("\n"), *(f":{name}:" for name in message.reactions)]
        shown = (
            [*lines[:LINES], f"… ({len(lines) - LINES} more lines)"]
            if len(lines) > LINES + 1
            else lines
        )
        print(_indented(f"{who}: " + "\n".join(shown), f"{prefix}{number}. "))

    def _bots_messages(self) -> list[Posted]:
        return [
            message
            for workspace in self._slack.workspaces
            for message in workspace.messages
            if message.is_the_bots
        ]

    def _in(self, place: str) -> Workspace:
        """Return the workspace that a channel is in, or a person whom the bot writes to."""
        found = self._slack.with_channel(place)
        return found if place in found.channels else self._slack.with_person(place)

    def question(self, modal: dict[str, Any], block_id: str) -> str:
        """Return the prompt for a field: its label, what one may answer, what stands there."""
        block = inputs(modal)[block_id]
        stands = self._stands(modal, block_id)
        choices = {"radio_buttons": "message or thread", "checkboxes": "yes or no"}.get(
            block["element"]["type"]
        )
        label = (
            block["element"]["options"][0]["text"]["text"]
            if choices == "yes or no"
            else block["label"]["text"]
        )
        return f"{label}{f' ({choices})' if choices else ''} [{_short(stands)}]"

    def _stands(self, modal: dict[str, Any], block_id: str) -> str:
        value = self._slack.modals.value(modal, block_id)
        if isinstance(value, list):
            return "yes" if value else "no"
        return str(value or "")

    def form_errors(self, modal: dict[str, Any], errors: dict[str, str]) -> None:
        for block_id, words in errors.items():
            print(f"  │ {inputs(modal)[block_id]['label']['text']}: {words}")

    def ticket(self, number: str, activities: list[Activity]) -> None:
        print(
            f"Ticket {number} in LeadSquared: "
            f"{len(activities) or 'no'} portal activit{'y' if len(activities) == 1 else 'ies'}"
        )
        for activity in activities:
            print(_indented(f"Activity ID {activity.id}: {activity.text}", "    "))

    def tickets(self, activities: list[Activity]) -> None:
        """Print every ticket that has an activity."""
        for number in dict.fromkeys(activity.ticket_id for activity in activities):
            self.ticket(
                number, [activity for activity in activities if activity.ticket_id == number]
            )

    def _has_news(self) -> bool:
        new_message = any(
            self._shown.get(message.ts) != message.edits for message in self._bots_messages()
        )
        return new_message or any(
            str(modal) not in self._modals for modal in self._slack.modals.open
        )

    def _print(self, message: Posted, *, changed: bool) -> None:
        in_thread = message.thread_ts is not None
        prefix = "    └ " if in_thread else "  "
        where = self._where(message)
        words = self._words(message)
        print(_indented(f"{where}{' (changed)' if changed else ''}: {words}", prefix))
        self._print_buttons(message, list(message.buttons().values()), "      ")

    def _print_buttons(self, place: Posted | View, elements: list[View], prefix: str) -> None:
        """Print buttons in a line, each with its number."""
        if not elements:
            return
        buttons = [Button(place, element) for element in elements]
        first = len(self._buttons) + 1
        self._buttons += buttons
        numbered = (f"[{number}: {one.label}]" for number, one in enumerate(buttons, first))
        print(_indented("  ".join(numbered), prefix))

    def _where(self, message: Posted) -> str:
        workspace = self._in(message.channel)
        channel = workspace.channels.get(message.channel)
        person = workspace.people.get(message.channel)
        name = (
            f"#{channel.name}"
            if channel
            else f"message to {person.name}"
            if person
            else message.channel
        )
        only = ""
        if message.ephemeral:
            reader = workspace.people.get(message.ephemeral)
            is_you = self.reader in ("", message.ephemeral) or reader is None
            only = (
                f" (only {'you see' if is_you or reader is None else f'{reader.name} sees'} this)"
            )
        team = "" if workspace is self._slack.workspace else f"{workspace.name} "
        return f"{team}{name}{' thread' if message.thread_ts else ''} · Portal Activity{only}"

    def _words(self, message: Posted) -> str:
        blocks = [text for block in message.blocks for text in _texts(block)] or [message.text]
        return "\n".join(self._plain(text) for text in blocks)

    def _plain(self, text: str) -> str:
        people = {
            id_: person
            for workspace in self._slack.workspaces
            for id_, person in workspace.people.items()
        }
        text = _DATE.sub(_shown_date, text)
        text = _MENTION.sub(
            lambda found: f"@{people[found[1]].name if found[1] in people else found[1]}", text
        )
        channels = {
            id_: channel
            for workspace in self._slack.workspaces
            for id_, channel in workspace.channels.items()
        }
        text = _CHANNEL.sub(
            lambda found: f"#{channels[found[1]].name if found[1] in channels else found[1]}", text
        )
        text = _LINK.sub(r"\1", text)
        text = _BOLD.sub(r"\1", text).replace("`", "")
        return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")

    def form(self, modal: dict[str, Any]) -> None:
        """Print a form as it stands."""
        self._modals.add(str(modal))
        print(f"  ┌ {modal['title']['text']}")
        for block in modal["blocks"]:
            if block["type"] == "input":
                value = self._stands(modal, block["block_id"])
                print(_indented(f"{block['label']['text']}: {value}", "  │ "))
                if "hint" in block:
                    print(_indented(f"({block['hint']['text']})", "  │   "))
            else:
                self._print_block(modal, block)
        if "submit" in modal:
            fields = [block["label"]["text"] for block in inputs(modal).values()]
            field = "Text" if "Text" in fields else next(reversed(fields), "")
            change = f"change a field with :fill {field} …, then " if field else ""
            ways = f"{change}:submit; or :cancel"
            print(
                f"  └ [{modal['submit']['text']}]  "
                f"{'Enter keeps a value, :cancel closes the form' if self.asking else ways}"
            )

    def home(self, view: View) -> None:
        """Print an App Home."""
        print("  ┌ App Home")
        for block in view["blocks"]:
            self._print_block(view, block)

    def _print_block(self, view: View, block: View) -> None:
        """Print what stands in a block that is no field."""
        if block["type"] == "divider":
            print("  │ ──")
        elif words := "\n".join(self._plain(text) for text in _texts(block)):
            print(_indented(words, "  │ "))
        self._print_buttons(view, buttons_of(block), "  │   ")


def _shown_date(found: re.Match[str]) -> str:
    if "{ago}" in found[2]:
        return found[3]
    moment = datetime.fromtimestamp(int(found[1])).astimezone()
    return f"{moment:%Y-%m-%d at %H:%M}" if "{date" in found[2] else f"{moment:%H:%M}"


def _short(text: str) -> str:
    line, _, more = text.partition("\n")
    return f"{line[:40].rstrip()}…" if more or len(line) > 40 else line  # noqa: PLR2004 - a prompt


def _texts(block: dict[str, Any]) -> Iterable[str]:
    if block["type"] == "section":
        return [block["text"]["text"]]
    return (
        [element["text"] for element in block.get("elements", [])]
        if block["type"] == "context"
        else []
    )


def _indented(text: str, prefix: str) -> str:
    lines: list[str] = []
    for line in text.split("\n"):
        lines += textwrap.wrap(line, WIDTH - len(prefix), replace_whitespace=False) or [""]
    following = " " * len(prefix) if prefix.strip() != "│" else prefix
    return "\n".join(
        f"{prefix if number == 0 else following}{line}" for number, line in enumerate(lines)
    )
