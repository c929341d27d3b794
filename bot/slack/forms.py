"""The form in which an activity is recorded: opening it, choosing in it, submitting it."""

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import structlog
from pydantic import ValidationError
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext

from bot.activities.acceptance import Accepted, Double, Place, Refused, Unmapped
from bot.activities.delivery import Delivery, Submission, with_link
from bot.activities.ticket import MalformedTicketError, parse_ticket, visible
from bot.activities.titles import READ_WITHIN as TITLE_WITHIN
from bot.database.writer import DatabaseUnavailableError
from bot.encryption import Keyring, UndecipherableError
from bot.slack import answers, hints, modals
from bot.slack.bolt import payload_of
from bot.slack.conversations import SlackConversations, Unreadable
from bot.slack.explanations import unreadable
from bot.slack.modals import Form, FormText, Metadata, Typed, modal
from bot.slack.modals_api import SlackModals
from bot.slack.payloads import (
    BlockActions,
    Interaction,
    SlashCommand,
    View,
    ViewSubmission,
    is_member,
)
from bot.slack.previews import NO_PREVIEW, Preview, Previews, SeenTicket, Where
from bot.slack.shared import Shared
from bot.slack.text import as_read, is_blank, units

_log = structlog.get_logger(__name__)

OPEN_WITHIN = 2.0
"""Seconds for `views.open` before an acknowledgement, which Slack wants within 3."""

READ_WITHIN = 0.7
"""Seconds for reading a thread between a submission and its acknowledgement, which Slack wants
within 3.
"""

MAPPED_WITHIN = 0.5
"""Seconds for finding out whether the workspace has a tenant, before the form is opened."""

NAMED_WITHIN = 0.3
"""Seconds of them for the name in the last line. Without it, the form says "your name"."""

DOUBTS_WITHIN = 0.5
"""Seconds for reading a ticket that the form does not show yet, at the submission."""

TYPED_AFTER = 0.6
"""Seconds after the last character for which the bot waits for another one: each read of a ticket
is a call."""

Answer = dict[str, Any]
"""The acknowledgement of a submission: nothing (the form closes), errors by field, or another
view.
"""


class Forms:
    """Registers the form's actions. `Shortcuts`, `Buttons` and `Commands` open it."""

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
        self._typing: dict[str, BlockActions] = {}

    def register(self, bolt: AsyncApp) -> None:
        bolt.view(modals.CALLBACK)(self.submit)
        bolt.action(modals.WHAT_ACTION)(self.choose)
        bolt.action(modals.TICKET_ACTION)(self.look_up)

    async def submit(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Accept the form; an error stands by its field, or above all fields."""
        submitted = payload_of(context, ViewSubmission)
        try:
            metadata = Metadata.model_validate_json(submitted.view.private_metadata)
        except ValidationError:
            await ack(
                response_action="update",
                view=modals.notice_modal(self._shared.already_decided(None)),
            )
            return
        if not is_member(submitted, metadata.team, metadata.enterprise):
            _log.warning("foreign_form_refused", team=submitted.team_id)
            await ack(**_notice(answers.elsewhere()))
            return
        await ack(**await self._submit(submitted, metadata, modals.typed(submitted.view, metadata)))

    async def choose(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Fill the text in anew: with the message, or with the whole thread."""
        click = payload_of(context, BlockActions)
        if click.view is not None:
            self._shared.background.start(self._switch(click, click.view))
        await ack()

    async def look_up(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Show which ticket it is that the person has typed."""
        click = payload_of(context, BlockActions)
        if click.view is not None:
            self._shared.background.start(self._look_up(click, click.view))
        await ack()

    async def ask(
        self, command: SlashCommand, ticket: str, otherwise: answers.Message
    ) -> answers.Message | None:
        """Open the form for what a command left out. Return the answer if that fails."""
        where = Where(command.enterprise_id, command.team_id, command.channel_id, command.user_id)
        preview: Preview | None = NO_PREVIEW  # the submission says so if it is not connected
        try:
            async with asyncio.timeout(MAPPED_WITHIN):
                preview = await self._preview(where, within=NAMED_WITHIN)
        except (TimeoutError, DatabaseUnavailableError):
            pass
        response_url = sealed(self._keyring, command.response_url)
        metadata = Metadata(
            team=command.team_id,
            enterprise=command.enterprise_id,
            channel=command.channel_id,
            response_url=response_url,
        )
        if preview is None:
            otherwise = self._shared.not_connected(command.enterprise_id, command.team_id)
            view, form = modals.notice_modal(otherwise), None
        else:
            form = Form(metadata.previewing(preview).fitting(), ticket)
            view = modal(form)
        within = (command.enterprise_id, command.team_id, command.trigger_id)
        opened = await self._modals.open(*within, view, within=OPEN_WITHIN)
        if opened is None:
            return otherwise
        if form is not None and form.metadata.shows_ticket and ticket:
            self._shared.background.start(self._show_ticket(where, form, opened))
        return None

    async def _preview(self, where: Where, *, within: float) -> Preview | None:
        """Return what a form shows before a ticket is read; None where nothing is connected."""
        place = (where.enterprise_id, where.team_id, where.channel_id)
        mapped = await self._shared.acceptance.tenant_of(*place)
        if mapped is None:
            return None
        return await self._previews.of(where, mapped, link=None, ticket_id=None, within=within)

    def _not_connected(self, metadata: Metadata) -> answers.Message:
        return self._shared.not_connected(metadata.enterprise, metadata.team)

    async def open_edit(self, click: BlockActions, old: Delivery) -> bool:
        """Open the form with the ticket and text of an earlier delivery."""
        organisation = old.enterprise_id or click.enterprise_id
        where = Where(organisation, old.team_id, old.channel_id, click.user.id)
        preview: Preview | None = None
        with contextlib.suppress(TimeoutError, DatabaseUnavailableError):
            async with asyncio.timeout(MAPPED_WITHIN):
                preview = await self._preview(where, within=NAMED_WITHIN)
        form = modals.edit_form(old, preview or NO_PREVIEW)
        metadata = form.metadata.model_copy(update={"enterprise": organisation})
        form = replace(form, metadata=metadata)
        within = (organisation, old.team_id, click.trigger_id)
        opened = await self._modals.open(*within, modal(form), within=OPEN_WITHIN)
        if opened is not None and metadata.shows_ticket:
            self._shared.background.start(self._show_ticket(where, form, opened))
        return opened is not None

    # -- which ticket that is

    async def _show_ticket(self, where: Where, form: Form, view_id: str) -> None:
        """Add to a form that has just been opened which ticket it is."""
        seen = await self._previews.ticket(where, form.ticket, within=TITLE_WITHIN)
        if seen is None:
            return
        metadata = form.metadata.model_copy(update={"seen": seen}).fitting()
        view = modal(replace(form, metadata=metadata))
        await self._modals.update(where.enterprise_id, where.team_id, view_id, view)

    async def _look_up(self, click: BlockActions, view: View) -> None:
        """Show the ticket that was typed, once the person has stopped typing."""
        metadata = self._metadata(click, view)
        if metadata is None or not metadata.shows_ticket:
            return
        self._typing[view.id] = click
        await asyncio.sleep(TYPED_AFTER)
        if self._typing.get(view.id) is not click:
            return
        del self._typing[view.id]
        typed = modals.typed(view, metadata)
        try:
            ticket = parse_ticket(visible(typed.ticket).strip(), self._shared.link_hosts)
        except MalformedTicketError:
            ticket = ""
        if ticket == (metadata.seen.ticket if metadata.seen else ""):
            return
        where = _where(click, metadata)
        seen = await self._previews.ticket(where, ticket, within=TITLE_WITHIN) if ticket else None
        if seen == metadata.seen:
            return
        form = _as_typed(metadata.model_copy(update={"seen": seen}).fitting(), typed)
        within = (where.enterprise_id, where.team_id)
        refusal = await self._modals.update(*within, view.id, modal(form), hash_=view.hash)
        if refusal is not None:
            _log.info("ticket_not_shown", reason=refusal)

    async def _doubts(
        self, submitted: ViewSubmission, metadata: Metadata, ticket_id: str
    ) -> SeenTicket | None:
        """Return a ticket that is closed, or that LeadSquared does not show.

        Return None where the form has shown it: the person has read it.
        """
        shown = metadata.seen is not None and metadata.seen.ticket == ticket_id
        if not metadata.shows_ticket or shown:
            return None
        where = _where(submitted, metadata)
        seen = await self._previews.ticket(where, ticket_id, within=DOUBTS_WITHIN)
        return seen if seen is not None and seen.is_doubtful else None

    # -- submitting

    async def _submit(self, submitted: ViewSubmission, metadata: Metadata, typed: Typed) -> Answer:
        if not visible(typed.ticket).strip():
            return _errors(modals.TICKET_BLOCK, hints.ENTER_TICKET)
        try:
            ticket_id = parse_ticket(visible(typed.ticket).strip(), self._shared.link_hosts)
        except MalformedTicketError as error:
            return _errors(modals.TICKET_BLOCK, answers.why_no_ticket(typed.ticket, error))
        blocks = modals.text_blocks(whole=typed.text.whole)
        for number, (block_id, words) in enumerate(zip(blocks, typed.text.fields, strict=False), 1):
            room = metadata.room(is_last=number == len(typed.text.fields))
            if (length := units(words)) > room:
                return _errors(block_id, hints.too_long(length, room))
        text = await self._chosen(submitted, metadata, typed)
        if isinstance(text, str):
            return _errors(modals.WHAT_BLOCKS[typed.text.whole], text)
        was_read = text is not typed.text  # it has taken its time
        typed = replace(
            typed, text=text
        )  # what is shown once more, if it must be, is what was chosen
        words = text.joined()
        if is_blank(words) and (text.fields or metadata.retry_of is None):
            return _errors(blocks[0], hints.ENTER_TEXT)
        if metadata.link is not None and typed.add_link:
            words = with_link(words, metadata.link)
        doubts = None if was_read else await self._doubts(submitted, metadata, ticket_id)
        if doubts is not None:
            seen = metadata.model_copy(update={"seen": doubts}).fitting()
            return _once_more(seen, typed, answers.doubtful(ticket_id))
        try:
            accept = self._accept if metadata.retry_of is None else self._send_edited
            return await accept(submitted, metadata, typed, ticket_id, words)
        except DatabaseUnavailableError as error:
            return _once_more(metadata, typed, self._shared.try_again(error))

    async def _chosen(
        self, submitted: ViewSubmission, metadata: Metadata, typed: Typed
    ) -> FormText | str:
        """Return the text to record, or say why not.

        It is the form's text, or the chosen one if the form does not show it yet. Say why not when
        the person's own words would be lost, or Slack does not show the text.
        """
        if typed.wants_whole is None or typed.wants_whole == typed.text.whole:
            return typed.text
        if typed.edited:
            return hints.TEXT_CHANGED
        try:
            async with asyncio.timeout(READ_WITHIN):
                found = await self._read(submitted, metadata, whole=typed.wants_whole)
        except TimeoutError:
            found = Unreadable("no_answer")
        if isinstance(found, FormText):
            return found
        why = as_read(unreadable(found.error, metadata.channel))  # a field's error knows no marks
        return hints.not_chosen(why)

    async def _accept(
        self, submitted: ViewSubmission, metadata: Metadata, typed: Typed, ticket_id: str, text: str
    ) -> Answer:
        submission = Submission(
            enterprise_id=metadata.enterprise or submitted.enterprise_id,
            team_id=metadata.team,
            channel_id=metadata.channel,
            user_id=submitted.user.id,
            key=f"view:{submitted.view.id}",  # however often it is submitted, and Slack sends it
            ticket_id=ticket_id,
            text=text,
            response_url=self._opened(metadata.response_url),
            thread_ts=metadata.thread,
            message_ts=metadata.message,
            through_ts=typed.text.through,
            title=_title(metadata, ticket_id),
        )
        match await self._shared.acceptance.accept(submission, despite=metadata.shown):
            case Unmapped():
                return _once_more(metadata, typed, self._not_connected(metadata))
            case Double() as double:
                shown = metadata.model_copy(update={"shown": double.delivery.id})
                return _once_more(
                    shown,
                    typed,
                    answers.recorded_before(double, metadata.message, submitted.user.id),
                )
            case Accepted(again=True) as accepted:
                return await self._submitted_before(accepted, submission)
            case Accepted():
                return {}

    async def _submitted_before(self, accepted: Accepted, submission: Submission) -> Answer:
        """Close a form that was accepted before.

        If it was changed since, say that the changes were not recorded.
        """
        earlier = await self._shared.acceptance.find(submission.team_id, accepted.id)
        if earlier is None or (earlier.ticket_id, earlier.text) == (
            submission.ticket_id,
            submission.text,
        ):
            return {}
        return _notice(answers.submitted_before(earlier))

    async def _send_edited(
        self, submitted: ViewSubmission, metadata: Metadata, typed: Typed, ticket_id: str, text: str
    ) -> Answer:
        old = await self._shared.acceptance.find(metadata.team, metadata.retry_of or "")
        if old is None:
            return _notice(self._shared.already_decided(None))
        words = text if typed.text.fields else old.text
        if words is None:
            return _notice(answers.without_text(old))
        submission = again(submitted, old, ticket_id, words, old.response_url)
        submission = replace(submission, title=_title(metadata, ticket_id))
        match await self._shared.acceptance.send_edited(old, submission, despite=metadata.shown):
            case Unmapped():
                return _once_more(metadata, typed, self._not_connected(metadata))
            case Refused(delivery):
                return _notice(self._shared.already_decided(delivery))
            case Double() as double:
                shown = metadata.model_copy(update={"shown": double.delivery.id})
                return _once_more(
                    shown,
                    typed,
                    answers.recorded_before(double, metadata.message, submitted.user.id),
                )
            case Accepted():
                self._shared.background.start(show_resolved(self._shared, old, old.response_url))
                return {}

    def _opened(self, response_url: str | None) -> str | None:
        try:
            return None if response_url is None else self._keyring.decrypt(response_url.encode())
        except UndecipherableError:
            return None  # a direct message does as well

    # -- choosing between the message and its thread

    async def _switch(self, click: BlockActions, view: View) -> None:
        metadata = self._metadata(click, view)
        if metadata is None:
            return
        typed = modals.typed(view, metadata)
        chosen = click.actions[0].selected_option
        whole = chosen is not None and chosen.value == modals.WHOLE_THREAD
        if whole == typed.text.whole:
            return
        form = _as_typed(metadata, typed)
        match await self._read(click, metadata, whole=whole):
            case Unreadable(error):
                note = hints.not_replaced(unreadable(error, metadata.channel))
                # A person with the thread's text must be able to come back to the message's.
                form = replace(form, choice=form.text.whole, notes=(*form.notes, note))
            case FormText() as text:
                form = replace(form, text=text)
        within = (metadata.enterprise or click.enterprise_id, metadata.team)
        refusal = await self._modals.update(*within, view.id, modal(form), hash_=view.hash)
        if refusal is not None:
            _log.warning("form_not_changed", reason=refusal)  # the submission goes by the choice

    @staticmethod
    def _metadata(click: BlockActions, view: View) -> Metadata | None:
        """Read a form's metadata; None when it is not this bot's, or not the person's to change."""
        try:
            metadata = Metadata.model_validate_json(view.private_metadata)
        except ValidationError:
            return None
        if is_member(click, metadata.team, metadata.enterprise):
            return metadata
        _log.warning("foreign_form_refused", team=click.team_id)
        return None

    async def _read(
        self, who: Interaction, metadata: Metadata, *, whole: bool
    ) -> FormText | Unreadable:
        """Read the message, or its whole thread, anew: the form has no room to keep both."""
        enterprise = metadata.enterprise or who.enterprise_id
        thread_ts, message_ts = metadata.thread or "", metadata.message or ""
        place = Place(enterprise, metadata.team, metadata.channel, thread_ts, message_ts)
        thread = await self._conversations.thread(place, who.api_app_id)
        if isinstance(thread, Unreadable):
            return thread
        if whole and thread.messages:
            at_most = metadata.room(is_last=True)
            written = await self._conversations.whole(place, thread, who.user.id, at_most=at_most)
            return FormText.of_thread(written, at_most)
        for message in thread.messages:
            if message["ts"] == place.message_ts:
                words = await self._conversations.words(place, message)
                return FormText.of(words, last=metadata.room(is_last=True))
        return Unreadable(
            "ratelimited" if thread.total > len(thread.messages) else "message_not_found"
        )


def sealed(keyring: Keyring, response_url: str | None) -> str | None:
    """Encrypt a response_url for the way through Slack and back in a form's metadata."""
    return None if response_url is None else keyring.encrypt(response_url).decode()


def again(
    who: Interaction, old: Delivery, ticket_id: str, text: str, response_url: str | None
) -> Submission:
    """Ask for an earlier delivery once more, in its place in Slack."""
    return Submission(
        enterprise_id=old.enterprise_id,
        team_id=old.team_id,
        channel_id=old.channel_id,
        user_id=who.user.id,
        key=old.again_key,
        ticket_id=ticket_id,
        text=text,
        response_url=response_url,
    )


async def show_resolved(shared: Shared, old: Delivery, response_url: str | None) -> None:
    """Take an answer's buttons away and say who decided.

    The teller can't do this for an answer that stands in no thread.
    """
    if old.answer_ts is not None:
        return
    try:
        current = await shared.acceptance.find(old.team_id, old.id)
    except DatabaseUnavailableError:
        return  # a button that still stands there says that it is past its time
    if current is not None and current.resolution is not None:
        message = answers.answer(current, with_text=answers.stands_alone(current))
        shared.responder.replace(response_url, message, thread_ts=current.active_thread_ts)


def _where(who: Interaction, metadata: Metadata) -> Where:
    enterprise = metadata.enterprise or who.enterprise_id
    return Where(enterprise, metadata.team, metadata.channel, who.user.id)


def _title(metadata: Metadata, ticket_id: str) -> str | None:
    """Return the title that the form has shown, if it is this ticket's."""
    seen = metadata.seen
    return seen.title if seen is not None and seen.ticket == ticket_id else None


def _as_typed(metadata: Metadata, typed: Typed) -> Form:
    return Form(
        metadata,
        typed.ticket,
        typed.text,
        choice=typed.wants_whole is not None,
        add_link=typed.add_link,
        notes=typed.notes,
        notice=typed.notice,
    )


def _once_more(metadata: Metadata, typed: Typed, notice: answers.Message) -> Answer:
    """Show the form again as it was typed, and above it why it was not recorded yet."""
    form = replace(_as_typed(metadata, typed), notice=notice)
    return {"response_action": "update", "view": modal(form)}


def _errors(block_id: str, words: str) -> Answer:
    return {"response_action": "errors", "errors": {block_id: words}}


def _notice(message: answers.Message) -> Answer:
    return {"response_action": "update", "view": modals.notice_modal(message)}
