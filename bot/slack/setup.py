"""Connecting LeadSquared inside Slack: `/portal-activity setup`, its button, its form."""

import asyncio
import re
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import ValidationError
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext

from bot.database.writer import CommitUnknownError, DatabaseUnavailableError
from bot.encryption import Keyring, UndecipherableError
from bot.installations.access import Granted
from bot.leadsquared.client import LeadSquared
from bot.leadsquared.outcome import CannotRead
from bot.slack import answers, setup_modal
from bot.slack import setup_words as words
from bot.slack.answers import Message
from bot.slack.bolt import payload_of
from bot.slack.modals_api import SlackModals
from bot.slack.payloads import BlockActions, Interaction, SlashCommand, ViewSubmission, is_member
from bot.slack.roles import Role, SlackRoles
from bot.slack.setup_modal import Draft, Errors, Opened, Typed
from bot.slack.shared import Shared
from bot.tenants.changes import Author, ChangedSinceError
from bot.tenants.connections import Connections, Seen

_log = structlog.get_logger(__name__)

OPEN_WITHIN = 2.0
"""Seconds for `views.open` before an acknowledgement, which Slack wants within 3."""

DONE_WITHIN = 2.0
"""Seconds for a whole submission. If it takes longer, the form says so and is updated later."""

SHOWN_AFTER = 0.5
"""Seconds that Slack has to show what a submission was answered with, before that is replaced."""

_PERSON = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^<>]*)?>")

_CLOSED = "not_found"
"""Slack's word for a view that the person has closed."""

View = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """A form that is not taken: what is wrong by field, and the same as a view of its own."""

    errors: Errors
    form: View


Shown = View | Refused
"""What a submission is answered with."""


@dataclass(frozen=True, slots=True)
class Who:
    """A person who acts, and where."""

    enterprise_id: str | None
    team_id: str
    user_id: str

    @classmethod
    def of(cls, used: Interaction, opened: Opened | None = None) -> "Who":
        """Name who used something. A form knows the organisation where a payload leaves it out."""
        enterprise_id = used.enterprise_id or (None if opened is None else opened.enterprise)
        return cls(enterprise_id, used.team_id, used.user.id)

    @property
    def author(self) -> Author:
        return Author(self.team_id, self.enterprise_id, self.user_id)

    @property
    def is_in_a_workspace(self) -> bool:
        """Whether Slack named a workspace, and not only its organisation."""
        return not self.team_id.startswith("E")


class Setup:
    """Registers the set-up's actions. `Commands` is given its subcommand."""

    def __init__(
        self,
        shared: Shared,
        slack_modals: SlackModals,
        roles: SlackRoles,
        connections: Connections,
        leadsquared: LeadSquared,
        keyring: Keyring,
        allowed_hosts: tuple[str, ...],
    ) -> None:
        self._shared = shared
        self._modals = slack_modals
        self._roles = roles
        self._connections = connections
        self._leadsquared = leadsquared
        self._keyring = keyring
        self._allowed_hosts = allowed_hosts

    def register(self, bolt: AsyncApp) -> None:
        bolt.action(answers.OPEN_SETUP)(self.open_clicked)
        bolt.action(setup_modal.DISCONNECT_ACTION)(self.disconnect_clicked)
        bolt.view(setup_modal.CALLBACK)(self.submit)
        bolt.view(setup_modal.CONFIRM_CALLBACK)(self.confirm)

    # -- opening

    async def command(self, command: SlashCommand, rest: str) -> Message | None:
        """Open the form; with a person, let them connect the workspace, or no more."""
        who = Who(command.enterprise_id, command.team_id, command.user_id)
        if not rest.strip():
            opened = Opened(
                team=who.team_id,
                enterprise=who.enterprise_id,
                channel=command.channel_id,
                version=0,
            )
            return await self._open(who, opened, command.trigger_id)
        removes, _, person = rest.strip().rpartition(" ")
        mentioned = _PERSON.fullmatch(person)
        if mentioned is None or removes.strip().lower() not in ("", "remove"):
            return words.setup_usage()
        try:
            return await self._name(who, mentioned[1], takes_back=bool(removes))
        except DatabaseUnavailableError as error:
            return _unavailable(error)
        except ChangedSinceError:
            return words.failed()

    async def open_clicked(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Open the form for the button; in a modal, in that modal's place."""
        click = payload_of(context, BlockActions)
        self._shared.background.start(self._clicked(click))
        await ack()

    async def _clicked(self, click: BlockActions) -> None:
        who = Who.of(click)
        if not is_member(click, who.team_id, who.enterprise_id):
            self._shared.say(click, answers.elsewhere())
            return
        opened = Opened(
            team=who.team_id,
            enterprise=who.enterprise_id,
            channel=None if click.channel is None else click.channel.id,
            version=0,
        )
        view = click.view
        if view is not None and view.type == "modal":
            if view.team_id in (None, who.team_id):
                await self._fill_in(who, opened, view.id)
        elif (problem := await self._open(who, opened, click.trigger_id)) is not None:
            self._shared.say(click, problem)

    async def _open(self, who: Who, opened: Opened, trigger_id: str) -> Message | None:
        """Open the form before anything is looked up: the trigger_id is good for 3 seconds.

        Return why it did not open.
        """
        if not who.is_in_a_workspace:
            return words.no_workspace()
        loading = setup_modal.notice(words.loading())
        view_id = await self._modals.open(
            who.enterprise_id, who.team_id, trigger_id, loading, within=OPEN_WITHIN
        )
        if view_id is None:
            access = self._shared.installations.access(who.enterprise_id, who.team_id)
            if isinstance(access, Granted):
                return words.not_opened()
            no_access = self._shared.no_access(who.enterprise_id, who.team_id)
            return no_access or answers.no_token(who.team_id)
        self._shared.background.start(self._fill_in(who, opened, view_id))
        return None

    async def _fill_in(self, who: Who, opened: Opened, view_id: str) -> None:
        await self._update(who, view_id, self._form(who, opened))

    async def _form(self, who: Who, opened: Opened) -> View:
        match await self._seen(who, opened.channel):
            case Seen() as seen:
                return setup_modal.form(opened, seen)
            case Message() as why_not:
                return setup_modal.notice(why_not)

    async def _seen(
        self, who: Who, channel: str | None, since: int | None = None
    ) -> Seen | Message:
        """Return what the workspace is connected to, to a person who may change it.

        Slack is asked about the person each time.
        """
        if not who.is_in_a_workspace:
            return words.no_workspace()
        role, seen = await asyncio.gather(
            self._roles.role(who.enterprise_id, who.team_id, who.user_id),
            self._connections.seen(who.enterprise_id, who.team_id, channel or "", since),
        )
        return _why_not(role, who.user_id, seen.named) or seen

    # -- naming people

    async def _name(self, who: Who, user_id: str, *, takes_back: bool) -> Message:
        role, persons = await asyncio.gather(
            self._roles.role(who.enterprise_id, who.team_id, who.user_id),
            self._roles.role(who.enterprise_id, who.team_id, user_id),
        )
        if role is None:
            return words.role_unknown()
        if not _is_admin(role):
            return words.only_admins_name()
        if takes_back:
            was_named = await self._connections.unname(who.author, user_id)
            return words.unnamed(user_id) if was_named else words.was_not_named(user_id)
        if persons is None or persons.is_guest or persons.is_stranger:
            return words.cannot_be_named(user_id)
        await self._connections.name(who.author, user_id)
        return words.named(user_id)

    # -- saving

    async def submit(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Check the form, the person and the keys, then save it, or ask before that."""
        submitted = payload_of(context, ViewSubmission)
        opened = self._opened(submitted, submitted.view.private_metadata)
        if opened is None:
            await ack(response_action="update", view=setup_modal.notice(words.expired()))
            return
        state = submitted.view.state
        draft = setup_modal.read(opened, state, self._allowed_hosts)
        if not isinstance(draft, Draft):
            await ack(response_action="errors", errors=draft)
            return
        who = Who.of(submitted, opened)
        work = self._checked(who, draft, setup_modal.typed_in(state))
        await self._answer(ack, who, submitted.view.id, work)

    async def confirm(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Do what was asked about."""
        submitted = payload_of(context, ViewSubmission)
        draft = self._drafted(submitted)
        if draft is None:
            await ack(response_action="update", view=setup_modal.notice(words.expired()))
            return
        who = Who.of(submitted, draft)
        await self._answer(ack, who, submitted.view.id, self._confirmed(who, draft))

    async def disconnect_clicked(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Ask before a connection goes, and say what waits."""
        click = payload_of(context, BlockActions)
        self._shared.background.start(self._ask_to_disconnect(click))
        await ack()

    def _opened(self, used: Interaction, metadata: str) -> Opened | None:
        """Read a form's metadata; None when it is not this workspace's, or not the person's."""
        try:
            opened = Opened.model_validate_json(metadata)
        except ValidationError:
            return None
        return opened if self._may_act(used, opened) else None

    def _drafted(self, submitted: ViewSubmission) -> Draft | None:
        try:
            metadata = self._keyring.decrypt(submitted.view.private_metadata.encode())
            draft = Draft.model_validate_json(metadata)
        except (UndecipherableError, ValidationError):
            return None
        return draft if self._may_act(submitted, draft) else None

    @staticmethod
    def _may_act(used: Interaction, opened: Opened) -> bool:
        """Say whether a form belongs to the very workspace that the payload names."""
        if used.team_id == opened.team and is_member(used, opened.team, opened.enterprise):
            return True
        _log.warning("foreign_form_refused", team=used.team_id)
        return False

    async def _answer(self, ack: AsyncAck, who: Who, view_id: str, work: Awaitable[Shown]) -> None:
        """Answer a submission within Slack's 3 seconds: with what became of it, or that it goes on.

        Then the view is updated later.
        """
        task = asyncio.ensure_future(_safely(work))
        await asyncio.wait([task], timeout=DONE_WITHIN)
        if not task.done():
            self._shared.background.start(self._update(who, view_id, _late(task)))
            await ack(response_action="update", view=setup_modal.notice(words.checking()))
            return
        match task.result():
            case Refused(errors):
                await ack(response_action="errors", errors=errors)
            case view:
                await ack(response_action="update", view=view)

    async def _update(self, who: Who, view_id: str, work: Awaitable[Shown]) -> None:
        """Put in an open view's place what `work` brings."""
        shown = await _safely(work)
        view = shown.form if isinstance(shown, Refused) else shown
        refusal = await self._modals.update(who.enterprise_id, who.team_id, view_id, view)
        if refusal not in (None, _CLOSED):
            _log.warning("form_not_shown", reason=refusal)

    async def _checked(self, who: Who, draft: Draft, typed: Typed) -> Shown:
        """Check the person and the keys, then save. Ask first where that is due."""
        seen = await self._seen(who, draft.channel, since=draft.version)
        if isinstance(seen, Message):
            return setup_modal.notice(seen)
        if seen.version != draft.version:
            return _stale(draft, seen, typed)
        wanted, own = draft.wanted, seen.own(draft.channel_id)
        if own is not None and own.account != wanted.account:
            own = None  # its keys are another account's
        if own is None and (errors := setup_modal.missing_keys(draft)):
            return _refused(draft, seen, typed, errors)
        try:
            tenant = self._connections.with_keys(own, wanted)
        except UndecipherableError:
            errors = setup_modal.unreadable_keys(draft)
            return _refused(draft, seen, typed, errors)
        accepts = await self._leadsquared.try_keys(tenant)
        if accepts is False:
            return setup_modal.form(draft.opened, seen, typed, words.rejected())
        draft = draft.model_copy(update={"proved": accepts is True})
        before = seen.at(draft.channel_id)
        moves = before is not None and before.account != wanted.account
        questions = []
        if isinstance(accepts, CannotRead):
            questions.append(words.unproved(accepts.reason))
        if before is not None and moves:
            where = setup_modal.where(draft.channel_id)
            questions.append(words.moves(where, before, draft.org_id))
        if questions:
            submit = words.MOVE if accepts is True else words.SAVE_ANYWAY
            return setup_modal.question(self._sealed(draft), submit, *questions)
        return await self._save(who, draft)

    async def _confirmed(self, who: Who, draft: Draft) -> Shown:
        """Check the person again, then do what was asked about."""
        seen = await self._seen(who, draft.channel, since=draft.version)
        if isinstance(seen, Message):
            return setup_modal.notice(seen)
        if seen.version != draft.version:
            return _stale(draft, seen, setup_modal.typed_of(draft))
        return await self._save(who, draft)

    async def _save(self, who: Who, draft: Draft) -> Shown:
        where = setup_modal.where(draft.channel_id)
        try:
            if draft.disconnects:
                await self._connections.disconnect(who.author, draft.channel_id, draft.version)
                said = words.disconnected(where)
            else:
                await self._connections.connect(who.author, draft.wanted, draft.version)
                said = words.saved(where, draft.org_id, proved=draft.proved)
        except ChangedSinceError:
            return await self._confirmed(who, draft)
        _log.info("setup_changed", team=who.team_id, disconnected=draft.disconnects)
        return setup_modal.notice(said)

    async def _ask_to_disconnect(self, click: BlockActions) -> None:
        if click.view is None:
            return
        opened = self._opened(click, click.view.private_metadata)
        if opened is not None:
            who = Who.of(click, opened)
            work = self._about_to_disconnect(who, opened, click.actions[0].value)
            await self._update(who, click.view.id, work)

    async def _about_to_disconnect(self, who: Who, opened: Opened, place: str) -> Shown:
        seen = await self._seen(who, opened.channel, since=opened.version)
        if isinstance(seen, Message):
            return setup_modal.notice(seen)
        draft = Draft(**opened.model_dump(), place=place)
        own = seen.own(draft.channel_id)
        if seen.version != opened.version or own is None:
            return _stale(draft, seen, None)
        instead = seen.workspace if draft.channel_id else None
        said = words.disconnects(setup_modal.where(draft.channel_id), own, instead)
        return setup_modal.question(self._sealed(draft), words.DISCONNECT, said)

    def _sealed(self, draft: Draft) -> str:
        return self._keyring.encrypt(draft.model_dump_json(exclude_defaults=True)).decode()


async def _safely(work: Awaitable[Shown]) -> Shown:
    """Turn what goes wrong into a view that says so."""
    try:
        return await work
    except DatabaseUnavailableError as error:
        return setup_modal.notice(_unavailable(error))
    except Exception:  # noqa: BLE001 - logged; and the person reads that nothing was changed
        _log.exception("setup_failed")
        return setup_modal.notice(words.failed())


async def _late(task: asyncio.Future[Shown]) -> Shown:
    """Wait for a task, and until Slack shows that it goes on: else that would cover its result."""
    moment = asyncio.get_running_loop().time()
    shown = await task
    passed = asyncio.get_running_loop().time() - moment
    await asyncio.sleep(max(SHOWN_AFTER - passed, 0))
    return shown


def _unavailable(error: DatabaseUnavailableError) -> Message:
    """Say that nothing was changed, or that this is not known."""
    is_unknown = isinstance(error, CommitUnknownError)
    return words.maybe_saved() if is_unknown else words.database_away()


def _why_not(role: Role | None, user_id: str, named: tuple[str, ...]) -> Message | None:
    """Say why a person may not connect the workspace; None when they may."""
    if role is None:
        return words.role_unknown()
    if role.is_guest or role.is_stranger:
        return words.not_for_guests()
    if role.is_admin or user_id in named:
        return None
    return words.not_allowed(named)


def _is_admin(role: Role) -> bool:
    return role.is_admin and not role.is_guest and not role.is_stranger


def _stale(draft: Draft, seen: Seen, typed: Typed | None) -> View:
    """Show the form again with what somebody else has changed since it was opened."""
    said = words.changed_since(seen.newer)
    return setup_modal.form(draft.opened, seen, typed, said)


def _refused(draft: Draft, seen: Seen, typed: Typed, errors: Errors) -> Refused:
    said = Message(next(iter(errors.values())))
    return Refused(errors, setup_modal.form(draft.opened, seen, typed, said))
