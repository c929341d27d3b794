"""The whole application between the two stand-ins, in the test's process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from bot.activities.delivery import Delivery
from bot.app import Parts, build
from bot.database.schema import migrate_database
from bot.installations.single import SingleInstallation
from bot.logs import configure_logging
from bot.playground.leadsquared import Account, Behaviour, LeadSquaredStandIn
from bot.playground.slack import SlackStandIn
from bot.playground.workspace import Channel, Person, Posted, Workspace
from bot.process import Process
from bot.settings import Settings, load_settings
from support.databases import sqlite_file
from support.programs import PATIENCE

TEAM = "T0HOME"
ACCOUNT = Account("22824", "access-key-of-the-tests", "secret-key-of-the-tests")
ENCRYPTION_KEY = "an-encryption-secret-of-the-tests-1234"


def workspace() -> Workspace:
    """A workspace with a channel for each way in which the bot may or may not post."""
    channels = [
        Channel("C0SUPPORT", "support"),
        Channel("C0OTHER", "other"),
        Channel("C0PRIVATE", "private", refuses="channel_not_found", hides="channel_not_found"),
        Channel(
            "D0DIRECT", "directmessage", refuses="channel_not_found", hides="channel_not_found"
        ),
        Channel("C0ELSEWHERE", "elsewhere", refuses="not_in_channel", hides="not_in_channel"),
        Channel("C0ARCHIVED", "archived", refuses="is_archived"),
        Channel("C0ADMINS", "admins", refuses="restricted_action"),
    ]
    people = [
        Person("U0ANNA", "Anna", TEAM, "Asia/Kolkata"),
        Person("U0BEN", "Ben", TEAM),
        Person("U0GUEST", "Guest", "T0PARTNER"),
    ]
    return Workspace(
        TEAM,
        {channel.id: channel for channel in channels},
        {person.id: person for person in people},
        groups={"S0HELP": "helpdesk"},
    )


TICKETS = {"143": Behaviour.FINE, "144": Behaviour.FINE, "145": Behaviour.FINE} | {
    str(1000 + number): behaviour for number, behaviour in enumerate(Behaviour)
}


def spelt_for_sqlalchemy(url: str) -> str:
    """Spell a DATABASE_URL as the product does for SQLAlchemy."""
    return load_settings(
        env_file=None, database_url=url, encryption_keys=ENCRYPTION_KEY
    ).sqlalchemy_url


def ticket_that(behaviour: Behaviour) -> str:
    return str(1000 + list(Behaviour).index(behaviour))


@dataclass
class Bot:
    """A running bot, and what a person in its workspace does and sees."""

    parts: Parts
    process: Process
    slack: SlackStandIn
    leadsquared: LeadSquaredStandIn

    @property
    def single(self) -> SingleInstallation:
        """The installation of SLACK_BOT_TOKEN."""
        assert self.parts.single is not None
        return self.parts.single

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.port}"

    async def type(
        self, text: str, *, channel: str = "C0SUPPORT", person: str = "U0ANNA", **form: str
    ) -> Posted | None:
        """Type the command as a person would; Slack's encoding is the stand-in's."""
        return await self.slack.command(
            self.slack.encode(text), channel=channel, person=person, **form
        )

    async def use(
        self, message: Posted, /, *, person: str = "U0ANNA", **changes: Any
    ) -> dict[str, Any]:
        """Use the message shortcut, and return its form when it is filled in (or says why not)."""
        open_before = [modal["id"] for modal in self.slack.modals.open]
        assert await self.slack.shortcut(message, person=person, **changes) == {}

        def shown() -> list[dict[str, Any]]:
            opened = [modal for modal in self.slack.modals.open if modal["id"] not in open_before]
            return [modal for modal in opened if "Reading the message" not in str(modal["blocks"])]

        await self.slack.until(shown)
        return shown()[-1]

    async def ask_by_command(self, text: str = "", **form: Any) -> dict[str, Any]:
        """Type a command that leaves something out, and return the form that opens."""
        assert await self.type(text, **form) is None
        return self.slack.modals.open[-1]

    async def submit(
        self, modal: dict[str, Any], person: str = "U0ANNA", **values: Any
    ) -> dict[str, Any]:
        return await self.slack.submit(modal, values, person=person)

    def anchor(self, number: int = -1) -> Posted:
        posted = [
            one for one in self.slack.workspace.messages if one.is_the_bots and not one.ephemeral
        ]
        return [message for message in posted if message.thread_ts is None][number]

    async def answered(self, *, messages: int = 1, within: float = PATIENCE) -> Posted:
        """Wait until so many answers stand in threads; return the last."""

        def answers() -> list[Posted]:
            posted = [
                one
                for one in self.slack.workspace.messages
                if one.is_the_bots and not one.ephemeral
            ]
            return [message for message in posted if message.thread_ts]

        await self.slack.until(lambda: len(answers()) >= messages, within=within)
        return answers()[-1]

    async def told_to(self, person: str, *, messages: int = 1, within: float = PATIENCE) -> Posted:
        """Wait for ephemeral messages to a person; return the last."""

        def shown() -> list[Posted]:
            return [
                message for message in self.slack.workspace.messages if message.ephemeral == person
            ]

        await self.slack.until(lambda: len(shown()) >= messages, within=within)
        return shown()[-1]

    async def at_rest(self, *, within: float = PATIENCE) -> None:
        """Wait until every delivery is settled and told."""
        async with asyncio.timeout(within):
            while await self.parts.outbox.unfinished():
                await asyncio.sleep(0.01)

    async def delivery(self, reference: str) -> Delivery:
        found = await self.parts.acceptance.find(TEAM, reference)
        assert found is not None
        return found


Start = Callable[..., Any]


@asynccontextmanager
async def running(
    environment: dict[str, str],
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
    *,
    surface: bool = True,
    ready: bool = True,
) -> AsyncIterator[Bot]:
    """Run a bot in this process until the block ends, as `python -m bot run` does.

    Without `ready` the bot need not know Slack yet.
    """
    settings = settings_from(environment)
    configure_logging(settings.log_level, "json")
    file = settings.sqlite_file
    if file is not None and not file.exists():
        sqlite_file(file)
    else:
        migrate_database(settings.sqlalchemy_url)
    stop, started = asyncio.Event(), asyncio.Event()
    async with build(settings) as parts:
        process = Process(parts, surface=surface)
        task = asyncio.create_task(process.run(stop, started.set))
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        bot = Bot(parts, process, slack, leadsquared)
        slack.request_url = None if settings.slack_app_token else f"{bot.url}/slack/events"
        slack.oauth.redirect_url = f"{bot.url}/slack/oauth_redirect"
        async with asyncio.timeout(PATIENCE):
            while surface and ready and not all((await process.ready()).values()):
                await asyncio.sleep(0.01)
        try:
            yield bot
        finally:
            stop.set()
            await task


def settings_from(environment: dict[str, str]) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return load_settings(env_file=None)
