"""Several workspaces that install one bot by OAuth: two alone, two in a Grid organisation."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from bot.database.tables import metadata
from bot.leadsquared.tenant import Tenant
from bot.playground.browser import Browser, Page
from bot.playground.leadsquared import Account
from bot.playground.slack import CLIENT_ID, CLIENT_SECRET
from bot.playground.workspace import Channel, Person, Posted, Workspace
from bot.tenants.directory import Scope
from support.running import TEAM, Bot, workspace

HOME, SECOND, GRID, SISTER = TEAM, "T0SECOND", "T0GRID", "T0SISTER"
CORP = "E0CORP"


def account(team_id: str) -> Account:
    """Return a workspace's own account in LeadSquared."""
    number = str(700 + [HOME, SECOND, GRID, SISTER].index(team_id))
    return Account(number, f"access-key-of-{number}", f"secret-key-of-{number}")


def workspaces() -> list[Workspace]:
    home = workspace()
    home.name = "Home"
    others = [
        Workspace(
            team_id,
            {f"C{team_id}": Channel(f"C{team_id}", "general")},
            {f"U{team_id}": Person(f"U{team_id}", name, team_id)},
            enterprise_id=organisation,
            name=name,
            bot_user=f"UBOT{team_id}",
        )
        for team_id, name, organisation in (
            (SECOND, "Second", None),
            (GRID, "Grid", CORP),
            (SISTER, "Sister", CORP),
        )
    ]
    return [home, *others]


def serving_many(environment: Mapping[str, str], url: str | None = None) -> dict[str, str]:
    """Return the variables of a bot that workspaces install by OAuth."""
    kept = {
        name: value
        for name, value in environment.items()
        if name != "SLACK_BOT_TOKEN" and not name.startswith("LEADSQUARED_")
    }
    times = {"LEADSQUARED_READ_TIMEOUT": "1", "LEADSQUARED_CONNECT_TIMEOUT": "1"}
    client = {"SLACK_CLIENT_ID": CLIENT_ID, "SLACK_CLIENT_SECRET": CLIENT_SECRET}
    database = {} if url is None else {"DATABASE_URL": url}
    return {**kept, **times, **client, **database, "POLL_INTERVAL": "0.2"}


@dataclass
class Team:
    """One workspace's people."""

    bot: Bot
    team_id: str

    @property
    def workspace(self) -> Workspace:
        return self.bot.slack.named(self.team_id)

    @property
    def channel(self) -> str:
        return next(iter(self.workspace.channels))

    @property
    def person(self) -> str:
        return next(iter(self.workspace.people))

    async def install(self, *, by: Browser | None = None, of: str | None = None) -> Page:
        """Install the bot; return the last page. `of`: organisation-wide, by its ID."""
        name = self.workspace.name if of is None else f"Organisation {of}"
        return await (by or Browser()).install(self.bot.url, name)

    async def connect(self) -> None:
        """Connect the workspace to an account of its own."""
        own = account(self.team_id)
        self.bot.leadsquared.accounts[own.org_id] = own
        tenant = Tenant(
            f"tenant-{self.team_id}",
            self.bot.leadsquared.url,
            own.org_id,
            own.access_key,
            own.secret_key,
        )
        await self.bot.parts.directory.add(tenant)
        await self.bot.parts.directory.map(tenant.name, Scope(team_id=self.team_id))

    async def joins(self) -> None:
        """Install the bot, and connect the workspace."""
        page = await self.install()
        assert page.status == 200, page.title
        await self.connect()

    async def type(self, text: str) -> Posted | None:
        return await self.bot.type(text, channel=self.channel, person=self.person)

    def posted(self) -> list[Posted]:
        """Return what the bot said here, to everybody or to one person."""
        return [one for one in self.workspace.messages if one.is_the_bots]

    async def told(self, words: str, *, within: float = 20.0) -> Posted:
        """Wait until the bot has said something with these words."""

        def found() -> list[Posted]:
            return [one for one in self.posted() if words in one.text]

        await self.bot.slack.until(found, within=within)
        return found()[-1]

    async def records(self, text: str, ticket: str = "143") -> Posted:
        """Record something; return the answer in the thread."""
        before = len(self.answers())
        assert await self.type(f"{ticket} {text}") is None
        await self.bot.slack.until(lambda: len(self.answers()) > before)
        return self.answers()[-1]

    def answers(self) -> list[Posted]:
        """Return the answers in threads."""
        return [one for one in self.posted() if one.thread_ts and not one.ephemeral]

    def calls(self) -> list[str]:
        """Return the methods that were called with this workspace's token, in their order."""
        return [method for method, _ in self.workspace.calls if method != "auth.test"]

    @property
    def token(self) -> str:
        grant = self.bot.slack.oauth.serving(self.workspace)
        assert grant is not None
        return grant.token


async def everything_stored(bot: Bot) -> bytes:
    """Return every value of every row, and of SQLite the whole file."""

    def read(connection: sa.Connection) -> list[object]:
        tables = metadata.sorted_tables
        return [
            value
            for table in tables
            for row in connection.execute(sa.select(table))
            for value in row
        ]

    values = await bot.parts.database.run(read)
    found = [value if isinstance(value, bytes) else str(value).encode() for value in values]
    file = bot.parts.settings.sqlite_file
    if file is not None:
        found += [_whole(file)]
    return b"\n".join(found)


def _whole(file: Path) -> bytes:
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file.read_bytes()
