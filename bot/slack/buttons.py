"""The buttons under an answer: Send again, Edit and send again, It is there."""

import contextlib
from collections.abc import Awaitable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck

from bot.activities.delivery import Delivery, Resolution
from bot.activities.store import Accepted, Outbox, Refused, Unmapped
from bot.activities.submission import MalformedTicketError, Submission, parse_ticket
from bot.activities.worker import Tells
from bot.db import DatabaseUnavailableError
from bot.slack import views
from bot.slack.commands import Accepting
from bot.slack.explanations import Button
from bot.slack.installations import Installations
from bot.slack.payloads import BlockActions, Interaction, ViewSubmission
from bot.slack.replies import Responder
from bot.slack.text import is_blank, sound
from bot.slack.web import Done, SlackWeb

Decided = Accepted | Unmapped | Refused | Delivery

OPEN_WITHIN = 2.0
"""Seconds for `views.open`: a trigger_id is good for 3."""


class EditMetadata(BaseModel):
    """What the modal carries from its button to its submission."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    delivery: str


class Buttons:
    """Registers the buttons and the modal that one of them opens."""

    def __init__(
        self,
        outbox: Outbox,
        worker: Accepting,
        teller: Tells,
        responder: Responder,
        web: SlackWeb,
        installations: Installations,
        link_hosts: tuple[str, ...],
    ) -> None:
        self._outbox = outbox
        self._worker = worker
        self._teller = teller
        self._responder = responder
        self._web = web
        self._installations = installations
        self._link_hosts = link_hosts

    def register(self, bolt: AsyncApp) -> None:
        bolt.action(Button.SEND_AGAIN.value)(self.send_again)
        bolt.action(Button.EDIT_AND_SEND_AGAIN.value)(self.edit)
        bolt.action(Button.CONFIRM.value)(self.confirm)
        bolt.view(views.EDIT_CALLBACK)(self.submit_edit)

    async def send_again(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Accept the same activity anew, once: the outbox decides who was first."""
        click = BlockActions.model_validate(body)
        old = await self._pressable(click)
        if old is not None and old.text is None:
            self._responder.say(click.response_url, views.undecipherable())
        elif old is not None and old.text is not None:
            again = _again(click, old, old.ticket_id, old.text, click.response_url)
            await self._decide(click, old, self._outbox.send_again(old.id, again))
        await ack()

    async def confirm(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Close an unknown delivery: a person has seen the activity on the ticket."""
        click = BlockActions.model_validate(body)
        if (old := await self._pressable(click)) is not None:
            await self._decide(click, old, self._outbox.confirm(click.team_id, old.id, click.user.id))
        await ack()

    async def edit(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Open the modal with what was sent."""
        click = BlockActions.model_validate(body)
        old = await self._pressable(click)
        if old is not None and not old.resendable:
            self._responder.say(click.response_url, views.already(old))
        elif old is not None:
            await self._open(click, old)
        await ack()

    async def submit_edit(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Accept what was edited; an error stands by its field."""
        submission = ViewSubmission.model_validate(body)
        errors, message = await self._resubmit(submission)
        if errors:
            await ack(response_action="errors", errors=errors)
        elif message is not None:
            await ack(response_action="update", view=views.notice_modal(message))
        else:
            await ack()

    async def _resubmit(self, submitted: ViewSubmission) -> tuple[dict[str, str], views.Message | None]:
        """Return the errors by field, or a message in the modal's place, or neither: accepted."""
        try:
            delivery_id = EditMetadata.model_validate_json(submitted.view.private_metadata).delivery
            old = await self._outbox.find(submitted.team_id, delivery_id)
            if old is None or _is_foreign(submitted):
                return {}, views.already(None)
            typed = submitted.view.state.value(views.TEXT_BLOCK)
            text = old.text if typed is None else sound(typed).strip()  # an input's value has no encoding to undo
            try:
                ticket_id = parse_ticket(
                    (submitted.view.state.value(views.TICKET_BLOCK) or "").strip(), self._link_hosts
                )
            except MalformedTicketError as error:
                return {views.TICKET_BLOCK: f"Not a ticket: {error}."}, None
            if text is None:
                return {}, views.undecipherable()
            if is_blank(text):
                return {views.TEXT_BLOCK: "Write what the customer did."}, None
            result = await self._outbox.send_again(old.id, _again(submitted, old, ticket_id, text, old.response_url))
        except ValidationError:
            return {}, views.already(None)
        except DatabaseUnavailableError as error:
            return {}, views.unavailable(error)
        match result:
            case Unmapped():
                return {}, views.unmapped(submitted.team_id)
            case Refused(delivery):
                return {}, views.already(delivery)
            case Accepted():
                self._worker.wake(result.tenant_id)
                await self._show_resolved(submitted, old, old.response_url)
                return {}, None

    async def _open(self, click: BlockActions, old: Delivery) -> None:
        token = self._installations.token_for(old.enterprise_id, old.team_id)
        if token is not None and click.response_url is not None:
            opened = await self._web.call(
                token, "views.open", timeout=OPEN_WITHIN, trigger_id=click.trigger_id, view=views.edit_modal(old)
            )
            if isinstance(opened, Done):
                # The modal's submission brings no response_url of its own; this one answers for it.
                with contextlib.suppress(DatabaseUnavailableError):  # the old one, or a direct message, does as well
                    await self._outbox.renew_response_url(old, click.response_url)
                return
        self._responder.say(click.response_url, views.modal_failed())

    async def _pressable(self, click: BlockActions) -> Delivery | None:
        """Return the delivery that a button belongs to; None when the person was told why nothing is done."""
        if _is_foreign(click):
            self._responder.say(click.response_url, views.foreign_member())
            return None
        try:
            delivery = await self._outbox.find(click.team_id, click.actions[0].value)
        except DatabaseUnavailableError as error:
            self._responder.say(click.response_url, views.unavailable(error))
            return None
        if delivery is None:
            self._responder.say(click.response_url, views.already(None))
        return delivery

    async def _decide(self, click: BlockActions, old: Delivery, decision: Awaitable[Decided]) -> None:
        """Carry a click's decision out, and show what came of it."""
        try:
            result = await decision
        except DatabaseUnavailableError as error:
            self._responder.say(click.response_url, views.unavailable(error))
            return
        match result:
            case Refused(delivery):
                self._responder.say(click.response_url, views.already(delivery))
                return
            case Unmapped():
                self._responder.say(click.response_url, views.unmapped(click.team_id))
                return
            case Accepted():
                self._worker.wake(result.tenant_id)
        self._teller.wake()
        await self._show_resolved(click, old, click.response_url)

    async def _show_resolved(self, click: Interaction, old: Delivery, response_url: str | None) -> None:
        """Take the buttons away and say who decided."""
        try:
            current = await self._outbox.find(click.team_id, old.id)
        except DatabaseUnavailableError:
            return  # a button that still stands there says that it is past its time
        if current is not None and current.resolution is not None:
            self._responder.replace(response_url, views.answer(current, with_text=views.stands_alone(current)))


def _is_foreign(click: Interaction) -> bool:
    """Say whether the person belongs to another workspace (a channel shared by Slack Connect)."""
    own = {click.team_id, click.enterprise_id}
    return click.user.team_id is not None and click.user.team_id not in own


def _again(click: Interaction, old: Delivery, ticket_id: str, text: str, response_url: str | None) -> Submission:
    return Submission(
        enterprise_id=old.enterprise_id,
        team_id=old.team_id,
        channel_id=old.channel_id,
        user_id=click.user.id,
        key=f"{Resolution.SENT_AGAIN}:{old.id}",
        ticket_id=ticket_id,
        text=text,
        response_url=response_url,
    )
