"""What the terminal shows: Slack's messages as plain lines, new ones as they come."""

import asyncio
import re
import sys
import textwrap
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from bot.playground.leadsquared import Activity
from bot.playground.slack import SlackStandIn
from bot.playground.workspace import Posted

WIDTH = 110
_DATE = re.compile(r"<!date\^(\d+)\^\{time\}\|[^>]*>")
_MENTION = re.compile(r"<@([A-Z0-9]+)>")
_BOLD = re.compile(r"(?<!\w)\*([^*\n]+)\*(?!\w)")


class Screen:
    """Prints each message once, and again when it is changed; numbers the buttons."""

    def __init__(self, slack: SlackStandIn) -> None:
        self._slack = slack
        self._shown: dict[str, int] = {}
        self._buttons: list[tuple[Posted, str]] = []
        self._modals: set[str] = set()

    async def follow(self) -> None:
        """Print what happens, for as long as the playground runs."""
        while True:
            await self._slack.until(self._has_news, within=float("inf"))
            await asyncio.sleep(0.05)  # what belongs together is printed together
            self.catch_up()

    def catch_up(self) -> None:
        """Print what has happened since the last time."""
        for message in self._slack.workspace.messages:
            if self._shown.get(message.ts) != message.edits:
                self._print(message, changed=message.ts in self._shown)
                self._shown[message.ts] = message.edits
        for modal in self._slack.workspace.modals:
            if str(modal) not in self._modals:
                self._modals.add(str(modal))
                self._print_modal(modal)
        sys.stdout.flush()

    def button(self, number: str) -> tuple[Posted, str] | None:
        """Return the message and the label of a numbered button; without a number, the newest."""
        if not number and self._buttons:
            return self._buttons[-1]
        return self._buttons[int(number) - 1] if number.isdigit() and 0 < int(number) <= len(self._buttons) else None

    def fill(self, modal: dict[str, Any], field: str, value: str) -> bool:
        """Type into a field of a form, named by its label."""
        for block in modal["blocks"]:
            if block["type"] == "input" and block["label"]["text"].lower() == field.lower():
                block["element"]["initial_value"] = value
                return True
        return False

    def form_errors(self, errors: dict[str, str]) -> None:
        for field, words in errors.items():
            print(f"  │ {field}: {words}")

    def ticket(self, number: str, activities: list[Activity]) -> None:
        print(
            f"Ticket {number} in LeadSquared: {len(activities) or 'no'} portal activit{'y' if len(activities) == 1 else 'ies'}"
        )
        for activity in activities:
            print(_indented(f"Id {activity.id}: {activity.text}", "    "))

    def tickets(self, activities: list[Activity]) -> None:
        """Print every ticket that has an activity."""
        for number in dict.fromkeys(activity.ticket_id for activity in activities):
            self.ticket(number, [activity for activity in activities if activity.ticket_id == number])

    def _has_news(self) -> bool:
        new_message = any(self._shown.get(message.ts) != message.edits for message in self._slack.workspace.messages)
        return new_message or any(str(modal) not in self._modals for modal in self._slack.workspace.modals)

    def _print(self, message: Posted, *, changed: bool) -> None:
        in_thread = message.thread_ts is not None
        prefix = "    └ " if in_thread else "  "
        where = self._where(message)
        words = self._words(message)
        print(_indented(f"{where}{' (changed)' if changed else ''}: {words}", prefix))
        labels = list(message.buttons())
        for label in labels:
            self._buttons.append((message, label))
        if labels:
            first = len(self._buttons) - len(labels) + 1
            print(_indented("  ".join(f"[{number}: {label}]" for number, label in enumerate(labels, first)), "      "))

    def _where(self, message: Posted) -> str:
        channel = self._slack.workspace.channels.get(message.channel)
        person = self._slack.workspace.people.get(message.channel)
        name = f"#{channel.name}" if channel else f"message to {person.name}" if person else message.channel
        only = " (only you see this)" if message.ephemeral else ""
        return f"{name}{' thread' if message.thread_ts else ''} · Portal Activity{only}"

    def _words(self, message: Posted) -> str:
        blocks = [text for block in message.blocks for text in _texts(block)] or [message.text]
        return "\n".join(self._plain(text) for text in blocks)

    def _plain(self, text: str) -> str:
        people = self._slack.workspace.people
        text = _DATE.sub(lambda found: f"{datetime.fromtimestamp(int(found[1])).astimezone():%H:%M}", text)
        text = _MENTION.sub(lambda found: f"@{people[found[1]].name if found[1] in people else found[1]}", text)
        text = _BOLD.sub(r"\1", text).replace("`", "")
        return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")

    def _print_modal(self, modal: dict[str, Any]) -> None:
        print(f"  ┌ {modal['title']['text']}")
        for block in modal["blocks"]:
            if block["type"] == "input":
                value = block["element"].get("initial_value", "")
                print(_indented(f"{block['label']['text']}: {value}", "  │ "))
            else:
                print(_indented("\n".join(self._plain(text) for text in _texts(block)), "  │ "))
        if "submit" in modal:
            print("  └ change a field with :fill Text …, then :submit")


def _texts(block: dict[str, Any]) -> Iterable[str]:
    if block["type"] == "section":
        return [block["text"]["text"]]
    return [element["text"] for element in block.get("elements", [])] if block["type"] == "context" else []


def _indented(text: str, prefix: str) -> str:
    lines: list[str] = []
    for line in text.split("\n"):
        lines += textwrap.wrap(line, WIDTH - len(prefix), replace_whitespace=False) or [""]
    following = " " * len(prefix) if prefix.strip() != "│" else prefix
    return "\n".join(f"{prefix if number == 0 else following}{line}" for number, line in enumerate(lines))
