"""The message shortcut "Record in LeadSquared": open the form at once, then fill it in."""

import asyncio
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext

from bot.activities.acceptance import Double, Place, Unmapped
from bot.activities.ticket import find_ticket
from bot.activities.titles import READ_WITHIN
from bot.database.writer import DatabaseUnavailableError
from bot.encryption import Keyring
from bot.installations.access import Granted, NotInstalled
from bot.slack import answers, hints, modals
from bot.slack.bolt import payload_of
from bot.slack.conversations import SlackConversations, Thread, Unreadable
from bot.slack.explanations import unreadable
from bot.slack.forms import sealed
from bot.slack.modals import Form, FormText, Metadata, modal
from bot.slack.modals_api import SlackModals
from bot.slack.payloads import MessageShortcut, is_member
from bot.slack.previews import NO_PREVIEW, Preview, Previews, Where
from bot.slack.shared import Shared
from bot.slack.web import TIMEOUT

_CLOSED = "not_found"
"""Slack's word for a view that the person has closed."""

_log = structlog.get_logger(__name__)


class Shortcuts:
    """Registers the message shortcut. What it opens is submitted like any other form."""

    def __init__(
        self,
        shared: Shared,
        slack_modals: SlackModals,
        conversations: SlackConversations,
        keyring: Keyring,
        previews: Previews,
    ) -> None:
        self._shared = shared
        self._modals = slack_modals
        self._conversations = conversations
        self._keyring = keyring
        self._previews = previews

    def register(self, bolt: AsyncApp) -> None:
        bolt.message_shortcut(modals.CALLBACK)(self.record)

    async def record(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Acknowledge, and open the form before any lookup.

        The trigger_id is good for 3 seconds.
        """
        used = payload_of(context, MessageShortcut)
        if not is_member(used, used.team_id, used.enterprise_id):
            self._shared.say(used, answers.elsewhere())
        else:
            self._shared.background.start(self._open(used))
        await ack()

    async def _open(self, used: MessageShortcut) -> None:
        within = (used.enterprise_id, used.team_id, used.trigger_id)
        view_id = await self._modals.open(*within, modals.loading_modal(), within=TIMEOUT)
        if view_id is None:
            self._shared.say(used, await self._why_not_opened(used))
            return
        try:
            view = await self._filled_in(used)
        except Exception:  # noqa: BLE001 - logged; and the person reads that nothing was done
            _log.exception("form_not_filled_in")
            view = modals.notice_modal(answers.broken())
        refusal = await self._modals.update(used.enterprise_id, used.team_id, view_id, view)
        if refusal not in (None, _CLOSED):
            _log.warning("form_not_shown", reason=refusal)
            self._shared.say(used, answers.modal_failed())

    async def _why_not_opened(self, used: MessageShortcut) -> answers.Message:
        match self._shared.installations.access(used.enterprise_id, used.team_id):
            case Granted():
                return answers.modal_failed()
            case NotInstalled(by_oauth=False):
                pass
            case _:
                return self._shared.not_connected(used.enterprise_id, used.team_id)
        try:
            mapped = await self._shared.acceptance.is_mapped(
                used.enterprise_id, used.team_id, used.channel.id
            )
        except DatabaseUnavailableError as error:
            return self._shared.try_again(error)
        return (
            answers.no_token(used.team_id)
            if mapped
            else self._shared.not_connected(used.enterprise_id, used.team_id)
        )

    async def _filled_in(self, used: MessageShortcut) -> dict[str, Any]:
        place = Place(
            used.enterprise_id, used.team_id, used.channel.id, used.thread_ts or used.ts, used.ts
        )
        remembered, thread, link, text = await asyncio.gather(
            self._remembered(place),
            self._conversations.thread(place, used.api_app_id),
            self._conversations.link(place),
            self._conversations.words(place, used.message),
        )
        if isinstance(remembered, Unmapped):
            return modals.notice_modal(self._shared.not_connected(used.enterprise_id, used.team_id))
        ticket = (
            remembered
            or find_ticket(text, self._shared.link_hosts)
            or await self._named_at_first(place, thread)
        )
        before, preview = await asyncio.gather(
            self._before(place, ticket), self._preview(used, link, ticket)
        )
        metadata = Metadata(
            team=place.team_id,
            enterprise=place.enterprise_id,
            channel=place.channel_id,
            thread=place.thread_ts,
            message=place.message_ts,
            link=link,
            response_url=sealed(self._keyring, used.response_url),
            shown=None if before is None else before.delivery.id,
        )
        metadata = metadata.previewing(preview)
        form = Form(
            metadata.fitting(),
            ticket=ticket or "",
            text=FormText.of(text, last=metadata.room(is_last=True)),
            choice=isinstance(thread, Thread) and len(thread.messages) > 1,
            notes=_notes(used, thread, link),
            notice=None
            if before is None
            else answers.recorded_before(before, place.message_ts, used.user.id),
        )
        return modal(form)

    async def _remembered(self, place: Place) -> str | Unmapped | None:
        try:
            return await self._shared.acceptance.last_ticket(place)
        except DatabaseUnavailableError:
            return None  # the form is worth having without; the submission meets the database again

    async def _preview(
        self, used: MessageShortcut, link: str | None, ticket: str | None
    ) -> Preview:
        where = Where(used.enterprise_id, used.team_id, used.channel.id, used.user.id)
        mapped = await self._previews.mapped(where)
        if mapped is None:
            return NO_PREVIEW
        return await self._previews.of(
            where, mapped, link=link, ticket_id=ticket, within=READ_WITHIN
        )

    async def _before(self, place: Place, ticket: str | None) -> Double | None:
        if ticket is None:
            return None
        try:
            return await self._shared.acceptance.recorded_before(place, ticket)
        except DatabaseUnavailableError:
            return None  # asked about at the submission

    async def _named_at_first(self, place: Place, thread: Thread | Unreadable) -> str | None:
        """Return the ticket that the thread's first message names, if it can be read."""
        if isinstance(thread, Unreadable) or thread.first["ts"] == place.message_ts:
            return None
        return find_ticket(
            await self._conversations.words(place, thread.first), self._shared.link_hosts
        )


def _notes(used: MessageShortcut, thread: Thread | Unreadable, link: str | None) -> tuple[str, ...]:
    """Say what the form does not offer, and why."""
    notes = []
    if isinstance(thread, Unreadable):
        why = unreadable(thread.error, used.channel.id)
        notes.append(hints.only_this_message(why))
    elif thread.read_on_in is not None:
        read = len(thread.messages)
        notes.append(hints.thread_read_in_part(read, thread.total, thread.read_on_in))
    if link is None:
        notes.append(hints.NO_LINK)
    return tuple(notes)
