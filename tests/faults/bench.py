"""The bench.

Bots that may be killed between the stand-ins, people who type, and the audit of it all.
"""

import asyncio
import itertools
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import psycopg

from bot.database.schema import migrate_database
from bot.database.writer import Database
from bot.encryption import Keyring
from bot.leadsquared.tenant import Tenant
from bot.playground.leadsquared import Account, Behaviour
from bot.playground.slack import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET
from bot.playground.workspace import Channel, Person, Workspace
from bot.tenants.directory import Directory, Scope
from faults.audit import AtOnce, Counts, Crash, Ledgers, Typed, audit, count
from faults.ledgers import DatabaseLedger, at_once, said
from faults.stand_ins import Chat, Portal
from support.programs import ANEW, ROOT, Serving, serving, until
from support.running import ENCRYPTION_KEY, TEAM, spelt_for_sqlalchemy

VICTIM = (sys.executable, "-m", "faults.victim")
PERSON = "U0ANNA"
NOBODY = "http://127.0.0.1:9/"
TENANTS, TICKETS = 4, 4

CONNECT, READ = 0.5, 1.5
LEASE = CONNECT + READ + 10
"""The shortest that the settings take with these time-outs."""

POLL = 0.5
RESTING = LEASE + POLL + 30
"""Seconds after which all must have ended, also what a dead process held: the lease, the poll, and
the work itself.
"""


def tickets_of(tenant: int) -> list[str]:
    """Return the tickets of a tenant; tenants are counted from 1."""
    return [str(1000 * tenant + number) for number in range(TICKETS)]


TICKETS_OF_ALL = tuple(itertools.chain.from_iterable(map(tickets_of, range(1, TENANTS + 1))))
ACCOUNTS = tuple(
    Account(str(tenant), f"access-{tenant}", f"secret-{tenant}") for tenant in range(1, TENANTS + 1)
)


def channel_of(ticket: str) -> str:
    """Return the channel whose commands go to the ticket's tenant."""
    return f"C0TENANT{ticket[0]}"


def portal() -> Portal:
    return Portal(list(ACCOUNTS), dict.fromkeys(TICKETS_OF_ALL, Behaviour.FINE))


def chat() -> Chat:
    ids = sorted({channel_of(ticket) for ticket in TICKETS_OF_ALL})
    channels = {id_: Channel(id_, id_.lower()) for id_ in ids}
    return Chat(Workspace(TEAM, channels, {PERSON: Person(PERSON, "Anna", TEAM)}))


class Bench:
    """One database, the two stand-ins, and the processes between them."""

    def __init__(
        self, slack: Chat, leadsquared: Portal, url: str, folder: Path, secret: str = ENCRYPTION_KEY
    ) -> None:
        self.slack = slack
        self.leadsquared = leadsquared
        self.database = DatabaseLedger(url, secret)
        self.problems: list[str] = []
        self.by_websocket = False
        self._folder = folder
        self._secret = secret
        self._stack = ExitStack()
        self._surfaces: dict[Serving, str] = {}
        self._typed: dict[str, Typed] = {}
        self._crashes: list[Crash] = []
        self._clicked: set[str] = set()
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    async def prepare(self) -> None:
        """Migrate the database, and give each tenant its channel."""
        url = spelt_for_sqlalchemy(self.database.url)
        await asyncio.to_thread(migrate_database, url)
        database = Database(url)
        directory = Directory(database, Keyring([self._secret]))
        for number, account in enumerate(ACCOUNTS, 1):
            tenant = Tenant(
                f"tenant{number}",
                self.leadsquared.url,
                account.org_id,
                account.access_key,
                account.secret_key,
            )
            await directory.add(tenant)
            await directory.map(
                tenant.name, Scope(team_id=TEAM, channel_id=channel_of(tickets_of(number)[0]))
            )
        await database.close()

    # -- processes

    def variables(self) -> dict[str, str]:
        """Return the environment that processes are started with."""
        given = {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            # Coverage would slow a process down, and a killed process reports none.
            "COVERAGE_PROCESS_CONFIG": "",
            "COVERAGE_PROCESS_START": "",
            "DATABASE_URL": self.database.url,
            "ENCRYPTION_KEYS": self._secret,
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            "SLACK_SIGNING_SECRET": SIGNING_SECRET,
            "SLACK_API_URL": self.slack.api_url,
            "LEADSQUARED_CONNECT_TIMEOUT": str(CONNECT),
            "LEADSQUARED_READ_TIMEOUT": str(READ),
            "LEASE": str(LEASE),
            "POLL_INTERVAL": str(POLL),
            "PORT": "0",
        }
        return given | {"SLACK_APP_TOKEN": APP_TOKEN} if self.by_websocket else given

    def begin(self, faults: Mapping[str, str] | None = None, *, by: Sequence[str] = ()) -> Serving:
        """Start a process, and do not wait for it.

        `faults` are the variables that `victim.py` reads, `by` is a launcher.
        """
        variables = {**self.variables(), **(faults or {})}
        if "FAULTS_CLOCK" in variables:
            by = ANEW  # what is loaded already has taken `time` over by name
        return self._stack.enter_context(
            serving("run", cwd=self._folder, variables=variables, command=(*by, *VICTIM))
        )

    async def serves(self, process: Serving) -> Serving:
        """Wait until a process may be sent commands."""
        self.route(process, await process.url())
        if self.by_websocket:
            await until(self.slack.is_connected)
        return process

    def route(self, process: Serving, url: str) -> None:
        """Send commands to a process that listens there, as a router does."""
        self._surfaces[process] = f"{url}/slack/events"

    def route_no_more(self, process: Serving) -> None:
        """Send nothing more to a process that is about to stop."""
        del self._surfaces[process]

    async def start(self, faults: Mapping[str, str] | None = None) -> Serving:
        """Start a process, and wait until it may be sent commands."""
        return await self.serves(self.begin(faults))

    async def kill(self, process: Serving) -> None:
        process.signal(signal.SIGKILL)
        await self.died(process)

    async def died(self, process: Serving) -> None:
        """Wait until SIGKILL ends a process, and write down what all processes had in hand."""
        assert await process.ended(within=20) == -signal.SIGKILL, process.log
        self._surfaces.pop(process, None)
        self._crashes.append(self.database.in_hand())

    async def kill_all(self) -> None:
        for process in list(self._surfaces):
            await self.kill(process)

    @property
    def serves_somewhere(self) -> bool:
        return bool(self._surfaces)

    # -- people

    def a_text(self) -> str:
        """Return words that were not typed yet."""
        return f"activity {next(self._numbers)}"

    async def type(self, ticket: str, text: str | None = None) -> Typed:
        """Type a command; it goes to any of the processes."""
        text = text or self.a_text()
        began = time.monotonic()
        self._typed[text] = Typed(ticket, text, AtOnce.UNSURE, began, began)  # until it is answered
        self.slack.request_url = self._anywhere()
        shown = await self.slack.command(
            f"{ticket} {text}", channel=channel_of(ticket), person=PERSON
        )
        self._typed[text] = Typed(ticket, text, at_once(shown), began, time.monotonic())
        return self._typed[text]

    def _anywhere(self) -> str | None:
        """Return where a request goes: to any process that serves, or to a closed port.

        None means by websocket.
        """
        if self.by_websocket:
            return None
        return random.choice(list(self._surfaces.values()) or [NOBODY])

    async def type_all(self, count: int, tickets: Sequence[str] = TICKETS_OF_ALL) -> list[Typed]:
        """Type so many commands at once, on tickets in turn."""
        return list(
            await asyncio.gather(
                *(self.type(tickets[number % len(tickets)]) for number in range(count))
            )
        )

    @asynccontextmanager
    async def people_typing(self) -> AsyncIterator[None]:
        """Have people type on any tickets until the block ends.

        What was typed by then gets its answer.
        """
        typing = asyncio.create_task(self._type_on())
        try:
            yield
        finally:
            typing.cancel()
            with suppress(asyncio.CancelledError):
                await typing

    async def _type_on(self, *, pause: float = 0.1) -> None:
        typing: set[asyncio.Task[Typed]] = set()
        try:
            while True:
                typing.add(asyncio.create_task(self.type(random.choice(TICKETS_OF_ALL))))
                await asyncio.sleep(random.random() * 2 * pause)
        finally:
            await asyncio.gather(*typing)

    async def send_again(self) -> None:
        """Press "Send again" under every answer that has it, as if after a check of the ticket."""
        for message in list(self.slack.workspace.messages):
            about = said(message, {})
            if about is None or "Send again" not in message.buttons():
                continue
            self._clicked.add(about.reference)
            self.slack.request_url = self._anywhere()
            await self.slack.click(message, "Send again", person=PERSON)

    # -- the end

    async def rest(self, *, within: float = RESTING) -> None:
        """Wait until all is settled and told; what is not by then, the audit tells."""
        with suppress(TimeoutError):
            await until(self._at_rest, within=within)

    def _at_rest(self) -> bool:
        with suppress(psycopg.OperationalError):
            return self.database.unfinished() == 0
        return False

    def ledgers(self) -> Ledgers:
        rows = self.database.rows()
        recorded = {row.activity_id: row.reference for row in rows if row.activity_id is not None}
        messages = self.slack.workspace.messages
        return Ledgers(
            typed=list(self._typed.values()),
            posts=self.leadsquared.posts,
            activities=self.leadsquared.ledger.activities,
            rows=rows,
            said=[about for message in messages if (about := said(message, recorded)) is not None],
            crashes=self._crashes,
            clicked=self._clicked,
            outages=self.leadsquared.outages,
        )

    def audit(self, *, at_rest: bool = True) -> Ledgers:
        """Hold the ledgers against each other; fail with what is wrong, and return them."""
        ledgers = self.ledgers()
        self.problems = audit(ledgers, at_rest=at_rest)
        assert not self.problems, "\n".join(["", *self.problems])
        return ledgers

    def counts(self) -> Counts:
        return count(self.ledgers(), problems=len(self.problems))
