"""App Home: published when a person opens it, and again when one of their activities changes."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.async_context import AsyncBoltContext

from bot.activities.delivery import Delivery
from bot.activities.recent import Person, Recent
from bot.database.writer import DatabaseUnavailableError
from bot.installations.access import Installations, token_of
from bot.slack import home_view
from bot.slack.answers import Block, Message
from bot.slack.background import Background
from bot.slack.bolt import payload_of
from bot.slack.payloads import BlockActions, EventCallback, is_member
from bot.slack.roles import SlackRoles
from bot.slack.web import Done, NotNow, SlackWeb

_log = structlog.get_logger(__name__)

SHORTLY = 0.5
"""Seconds between a change and its publication, so that one shows outcome and thread."""

NOTICE_LASTS = 60.0
"""Seconds for which the answer to a click stands above the page."""

ROLE_LASTS = 300.0
"""Seconds for which a person counts as an admin, or not, while the page stands open."""

MOST_KEPT = 10_000
"""People of whom such things are kept."""

T = TypeVar("T")


@dataclass(slots=True)
class _Publication:
    """A publication that is to come. `asked`: the person waits for it."""

    asked: bool = False
    now: asyncio.Event = field(default_factory=asyncio.Event)


class Homes:
    """Publishes a person's page in the background, once a second at most by all processes.

    It publishes nothing for people who never opened it. What Slack does not take is given up: the
    next opening shows it.
    """

    def __init__(
        self, web: SlackWeb, installations: Installations, roles: SlackRoles, recent: Recent
    ) -> None:
        self._web = web
        self._installations = installations
        self._roles = roles
        self._recent = recent
        self._background = Background()
        self._coming: dict[Person, _Publication] = {}
        self._notices: dict[Person, tuple[Message, float]] = {}  # until when, time.monotonic()
        self._admins: dict[Person, tuple[bool, float]] = {}

    def changed(self, delivery: Delivery) -> None:
        """Say that a delivery has an outcome, or another one."""
        self._publish(Person(delivery.team_id, delivery.user_id, delivery.enterprise_id))

    def opened(self, person: Person) -> None:
        """Show a person the page that they have opened."""
        self._notices.pop(person, None)
        self._admins.pop(person, None)
        self._publish(person, asked=True)

    def say(self, click: BlockActions, message: Message) -> None:
        """Answer a click in the page, above all else in it."""
        if not is_member(click, click.team_id, click.enterprise_id):
            return  # another organisation's people have no page here
        person = Person(click.team_id, click.user.id, click.enterprise_id)
        _keep(self._notices, person, (message, time.monotonic() + NOTICE_LASTS))
        self._publish(person, asked=True)

    async def close(self) -> None:
        await self._background.cancel()

    def _publish(self, person: Person, *, asked: bool = False) -> None:
        coming = self._coming.get(person)
        if coming is None:
            coming = self._coming[person] = _Publication()
            self._background.start(self._publish_shortly(person, coming))
        if asked:
            coming.asked = True
            coming.now.set()

    async def _publish_shortly(self, person: Person, coming: _Publication) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(coming.now.wait(), SHORTLY)
            access = self._installations.access(person.enterprise_id, person.team_id)
            token = token_of(access)
            # Another process may have the token: what it is to publish is not claimed here.
            view = None if token is None else await self._view(person, coming)
        finally:
            self._begun(person, coming)
        if token is None or view is None:
            return
        result = await self._web.call(token, "views.publish", user_id=person.user_id, view=view)
        if not isinstance(result, Done):
            reason = result.reason if isinstance(result, NotNow) else result.error
            _log.warning("home_not_published", reason=reason)

    async def _view(self, person: Person, coming: _Publication) -> Block | None:
        """Return the page; None when the person never opened it, or the database is away."""
        try:
            if not await self._may_publish(person, coming):
                return None
            is_admin = await self._is_admin(person)
            self._begun(person, coming)
            page = await self._recent.page(person, with_health=is_admin)
        except DatabaseUnavailableError as error:
            _log.warning("home_not_published", reason=str(error))
            return home_view.away(self._notice(person)) if coming.asked else None
        return home_view.home(page, self._notice(person))

    async def _may_publish(self, person: Person, coming: _Publication) -> bool:
        """Wait until the page may be published; False for a person who never opened it."""
        while True:
            if coming.asked:
                await self._recent.opened(person)
            wait = await self._recent.may_publish(person)
            if wait is None and not coming.asked:
                return False
            if wait == 0:
                return True
            await asyncio.sleep(wait or 0.0)

    def _begun(self, person: Person, coming: _Publication) -> None:
        """Let what changes from here on be published next."""
        if self._coming.get(person) is coming:
            del self._coming[person]

    def _notice(self, person: Person) -> Message | None:
        message, until = self._notices.get(person, (None, 0.0))
        if until < time.monotonic():
            self._notices.pop(person, None)
            return None
        return message

    async def _is_admin(self, person: Person) -> bool:
        known, until = self._admins.get(person, (False, 0.0))
        if until > time.monotonic():
            return known
        role = await self._roles.role(person.enterprise_id, person.team_id, person.user_id)
        is_admin = role is not None and role.is_admin and not role.is_stranger
        _keep(self._admins, person, (is_admin, time.monotonic() + ROLE_LASTS))
        return is_admin


class Home:
    """Registers the opening of App Home."""

    def __init__(self, homes: Homes) -> None:
        self._homes = homes

    def register(self, bolt: AsyncApp) -> None:
        bolt.event("app_home_opened")(self.opened)

    async def opened(self, context: AsyncBoltContext) -> None:
        """Publish the page; the tab with the messages has none."""
        happened = payload_of(context, EventCallback)
        event, team_id = happened.event, happened.team_id or happened.installed_in
        if event.tab == "home" and event.user is not None and team_id is not None:
            self._homes.opened(Person(team_id, event.user, happened.enterprise_id))


def _keep(kept: dict[Person, T], person: Person, value: T) -> None:
    """Keep a value for a person, and no more than `MOST_KEPT` in all: the oldest goes."""
    kept.pop(person, None)
    kept[person] = value
    if len(kept) > MOST_KEPT:
        del kept[next(iter(kept))]
