"""Filling in the open form at a prompt: one field after the other, or a named one."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.playground.modals import View, inputs
from bot.playground.screen import Screen
from bot.playground.slack import SlackStandIn

Ask = Callable[[str], Awaitable[str | None]]
"""Asks for a line by a prompt; None at the end of what is typed."""

SHOWN_WITHIN = 5.0
"""Seconds that a form has to follow a choice."""


@dataclass(frozen=True, slots=True)
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
        """Ask for one field after the other, submit, and ask again for what is wrong."""
        known: set[str] = set()
        while (filled_in := await self._ask_for_the_rest(modal, known)) is not None:
            modal = filled_in
            answer = await self.slack.submit(modal, {}, person=self.person)
            self.show.form_errors(answer.get("errors", {}))
            self.show.catch_up()
            known -= {_label(modal, block_id) for block_id in answer.get("errors", {})}
            if answer.get("response_action") == "update":
                modal = self.modal or modal
                if not await self._confirmed(modal):
                    break
            elif "errors" not in answer:
                return
        self.slack.modals.close(modal["id"])
        print("  Closed; nothing was recorded.")

    async def _ask_for_the_rest(self, modal: View, known: set[str]) -> View | None:
        """Ask for each field whose label is not `known` yet; a choice may bring others.

        Return the form as it then stands; None when it is to be closed, or nobody is there to answer for what was wrong.
        """
        corrects = bool(known)
        while left := [block_id for block_id in inputs(modal) if _label(modal, block_id) not in known]:
            known.add(_label(modal, left[0]))
            typed = await self.ask(f"  ? {self.show.question(modal, left[0])}: ")
            if typed == ":cancel" or (typed is None and corrects):
                return None
            if typed:
                await self.leave(modal, left[0], typed)
            modal = self.modal or modal
            self.show.catch_up()
        return modal

    async def _confirmed(self, modal: View) -> bool:
        if "submit" not in modal:
            return False  # it only says why not
        answer = await self.ask(f"  ? {modal['submit']['text']}? (yes or no) [no]: ")
        return (answer or "").strip().lower() in ("yes", "y")

    async def leave(self, modal: View, block_id: str, typed: str) -> None:
        """Type into a field, or choose in it; what the bot then changes is waited for."""
        element = inputs(modal)[block_id]["element"]
        values = [option["value"] for option in element.get("options", [])]
        if element["type"] == "checkboxes":
            self.slack.modals.fill(modal, block_id, values if typed.lower() in ("yes", "y") else [])
        elif not values:
            self.slack.modals.fill(modal, block_id, typed.replace("\\n", "\n"))
        elif typed.lower() in values and typed.lower() != self.slack.modals.value(modal, block_id):
            shown = modal["hash"]
            await self.slack.choose(modal, block_id, typed.lower(), person=self.person)
            with contextlib.suppress(TimeoutError):
                await self.slack.until(lambda: (self.modal or modal)["hash"] != shown, within=SHOWN_WITHIN)
        elif typed.lower() not in values:
            print(f"  One of: {', '.join(values)}. It stays as it is.")


def _label(modal: View, block_id: str) -> str:
    return str(inputs(modal)[block_id]["label"]["text"])
