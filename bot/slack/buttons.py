"""The buttons under an answer: Send again, Edit and send again, It's there."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext

from bot.activities.acceptance import Accepted, NotDone, Refused, Unmapped
from bot.activities.delivery import Delivery, Finding
from bot.activities.recent import Person
from bot.database.writer import DatabaseUnavailableError
from bot.slack import answers
from bot.slack.bolt import payload_of
from bot.slack.explanations import Button
from bot.slack.forms import Forms, again, show_resolved
from bot.slack.payloads import BlockActions, is_member
from bot.slack.shared import Shared
from bot.tenants.rules import AskGroup, NotAllowed, Recorder

Decided = Accepted | NotDone | Refused | Delivery


class Buttons:
    """Registers the buttons."""

    def __init__(self, shared: Shared, forms: Forms) -> None:
        self._shared = shared
        self._forms = forms

    def register(self, bolt: AsyncApp) -> None:
        bolt.action(Button.SEND_AGAIN.value)(self.send_again)
        bolt.action(Button.SEND_AGAIN_ANYWAY.value)(self.send_again_anyway)
        bolt.action(Button.EDIT_AND_SEND_AGAIN.value)(self.edit)
        bolt.action(Button.CONFIRM.value)(self.confirm)

    async def send_again(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Accept the same activity again, once. Ask first if the text was found on the ticket."""
        click = payload_of(context, BlockActions)
        old = await self._pressable(click)
        if old is not None and old.resendable and old.finding is Finding.PRESENT:
            self._shared.say(click, answers.found_there(old))
        elif old is not None:
            await self._send_again(click, old)
        await ack()

    async def send_again_anyway(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Accept the same activity again, although it was found on the ticket."""
        click = payload_of(context, BlockActions)
        if (old := await self._pressable(click)) is not None:
            await self._send_again(click, old)
        await ack()

    async def _send_again(self, click: BlockActions, old: Delivery) -> None:
        if old.text is None:
            self._shared.say(click, answers.without_text(old))
            return
        submission = again(click, old, old.ticket_id, old.text, click.response_url)
        send = self._shared.acceptance.send_again
        await self._decide(
            click, old, lambda recorder: send(old, replace(submission, recorder=recorder))
        )

    async def confirm(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Close an unknown delivery: a person has seen the activity on the ticket."""
        click = payload_of(context, BlockActions)
        if (old := await self._pressable(click)) is not None:
            confirm = self._shared.acceptance.confirm
            await self._decide(
                click, old, lambda recorder: confirm(old.team_id, old, click.user.id, recorder)
            )
        await ack()

    async def edit(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Open the form with the ticket and the text."""
        click = payload_of(context, BlockActions)
        old = await self._pressable(click)
        if old is not None and not old.resendable:
            self._shared.say(click, self._shared.already_decided(old))
        elif old is not None:
            await self._open(click, old)
        await ack()

    async def _open(self, click: BlockActions, old: Delivery) -> None:
        why_not = None
        with contextlib.suppress(DatabaseUnavailableError):  # the submission asks once more
            why_not = await self._shared.why_not(_person(click, old), old.channel_id)
        if isinstance(why_not, NotAllowed):
            self._shared.say(click, answers.may_not_record(why_not))
        elif not await self._forms.open_edit(click, old):
            self._shared.say(click, answers.modal_failed())
        elif click.response_url is not None:
            # The form's submission brings no response_url of its own; this one answers for it.
            # If it cannot be stored, the old one or a direct message does as well.
            with contextlib.suppress(DatabaseUnavailableError):
                await self._shared.acceptance.renew_response_url(old, click.response_url)

    async def _pressable(self, click: BlockActions) -> Delivery | None:
        """Return the delivery that a button belongs to.

        Return None when the person has read why nothing is done.
        """
        try:
            id_, organisation = click.actions[0].value, click.enterprise_id
            delivery = await self._shared.acceptance.find(
                click.team_id, id_, enterprise_id=organisation
            )
        except DatabaseUnavailableError as error:
            self._shared.say(click, self._shared.try_again(error))
            return None
        if delivery is None:
            self._shared.say(click, self._shared.already_decided(None))
        elif not is_member(click, delivery.team_id, delivery.enterprise_id):
            self._shared.say(click, answers.foreign_member())
            return None
        return delivery

    async def _decide(
        self,
        click: BlockActions,
        old: Delivery,
        decide: Callable[[Recorder], Awaitable[Decided]],
    ) -> None:
        """Carry out a click's decision, and show the result."""
        try:
            result = await self._shared.as_recorder(_person(click, old), decide)
        except DatabaseUnavailableError as error:
            self._shared.say(click, self._shared.try_again(error))
            return
        match result:
            case Refused(delivery):
                self._shared.say(click, self._shared.already_decided(delivery))
            case Unmapped():
                self._shared.say(click, self._shared.not_connected(old.enterprise_id, old.team_id))
            case NotAllowed() | AskGroup() as no:
                self._shared.say(click, answers.may_not_record(no))
            case Accepted() | Delivery():
                await show_resolved(self._shared, old, click.response_url)


def _person(click: BlockActions, old: Delivery) -> Person:
    return Person(old.team_id, click.user.id, old.enterprise_id or click.enterprise_id)
