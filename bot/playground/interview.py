"""Filling in the open form at a prompt: one field after the other, or a named one."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.playground.open_modals import View, inputs
from bot.playground.screen import Screen
from bot.playground.slack import SlackStandIn

Ask = Callable[[str], Awaitable[str | None]]
"""Asks for a line by a prompt; None at the end of what is typed."""

SHOWN_WITHIN = 5.0
"""Seconds that a form has to follow a choice."""


@dataclass(slots=True)
class Interview:
    """Asks one person for what the form wants to know."""

    slack: SlackStandIn
    show: Screen
    ask: Ask
    person: str

    @property
    def modal(self) -> View | None:
        """The form that is open, in front of all others."""
        return self.slack.modals.open[-1] if self.slack.modals.open else None

    async def go_through(self, modal: View) -> None:
        """Ask for one field after the other, submit, and ask again from the first that is wrong."""
        known: set[str] = set()
        while await self._ask_from(known) and await self._confirmed():
            modal = self.modal or modal
            answer = await self.slack.submit(modal, {}, person=self.person)
            errors = answer.get("errors", {})
            self.show.form_errors(modal, errors)
            if answer.get("response_action") is None:
                return
            labels = [_label(modal, block_id) for block_id in inputs(modal)]
            wrong = [labels.index(_label(modal, block_id)) for block_id in errors]
            known -= set(labels[min(wrong) :]) if wrong else set()
            self.show.catch_up()
        self.close()

    async def _ask_from(self, known: set[str]) -> bool:
        """Ask for each field whose label is not `known` yet; a choice may bring others.

        False: the form is to be closed.
        """
        while (modal := self.modal) and (
            left := [one for one in inputs(modal) if _label(modal, one) not in known]
        ):
            typed = await self.ask(f"  ? {self.show.question(modal, left[0])}: ")
            if typed is None or typed == ":cancel":
                return False
            if typed.startswith(":"):
                print(
                    "  Type an answer, press Enter to keep the value, "
                    "or type :cancel to close the form."
                )
            elif not typed or await self.leave(modal, left[0], typed):
                known.add(_label(modal, left[0]))
            self.show.catch_up()
        return self.modal is not None

    async def _confirmed(self) -> bool:
        """Ask once more before something is recorded again.

        A form that only says why not needs no answer.
        """
        button = (self.modal or {}).get("submit", {}).get("text")
        if button != "Record again":
            return button is not None
        answer = await self.ask("  ? Record again? (yes or no) [no]: ")
        return (answer or "").strip().lower() in ("yes", "y")

    async def leave(self, modal: View, block_id: str, typed: str) -> bool:
        """Type into a field, or choose in it; what the bot then changes is waited for.

        False: that is no answer to it.
        """
        element = inputs(modal)[block_id]["element"]
        values = [option["value"] for option in element.get("options", [])]
        if not values:
            text = typed.replace("\\n", "\n")
            await self.slack.choose(modal, block_id, text, person=self.person)
            return True
        answers = (
            {"yes": values, "y": values, "no": [], "n": []}
            if element["type"] == "checkboxes"
            else None
        )
        choices = ["yes", "no"] if answers else values
        if typed.lower() not in (answers or values):
            print(f"  Answer {' or '.join(choices)}.")
            return False
        if answers:
            self.slack.modals.fill(modal, block_id, answers[typed.lower()])
        elif typed.lower() != self.slack.modals.value(modal, block_id):
            shown = modal["hash"]
            await self.slack.choose(modal, block_id, typed.lower(), person=self.person)
            with contextlib.suppress(TimeoutError):
                await self.slack.until(
                    lambda: (self.modal or modal)["hash"] != shown, within=SHOWN_WITHIN
                )
        return True

    def close(self) -> None:
        """Close the form that is open."""
        if (modal := self.modal) is not None:
            self.slack.modals.close(modal["id"])
            records = any(_label(modal, block_id) == "Ticket" for block_id in inputs(modal))
            print("  Closed; nothing was recorded." if records else "  Closed.")


def _label(modal: View, block_id: str) -> str:
    return str(inputs(modal)[block_id]["label"]["text"])
