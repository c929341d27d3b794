"""A store whose clock stands still until a test moves it, on either database."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import settings
from psycopg import sql

from bot.activities import acceptance, outbox
from bot.activities.acceptance import Acceptance
from bot.activities.outbox import Outbox
from bot.activities.tellings import Tellings
from bot.database.schema import migrate_database
from bot.database.tables import accounts, attempts, deliveries, now
from bot.database.writer import CommitUnknownError, Database
from bot.encryption import Keyring
from bot.leadsquared.tenant import Tenant
from bot.tenants.directory import Directory, Scope
from support.databases import database, sqlite_file
from support.running import ENCRYPTION_KEY

T = TypeVar("T")

TICKS = 64
"""Clock ticks in a second: a tick is exact both in binary fractions and in PostgreSQL's
microseconds.
"""

EPOCH = 1_700_000_000
PATIENCE = 60.0

REPEATABLE = settings(derandomize=True, database=None, deadline=None)
"""The same examples in each run, none kept in a file, and no bound on how slow the machine may be.
"""


class Clock:
    """The database's clock, and each process's own.

    `show` is told each new moment, where the database cannot ask for it.
    """

    def __init__(self, show: Callable[[float], object] = lambda _moment: None) -> None:
        self._show = show
        self.ticks = 0
        self.go_on(0)

    def now(self) -> float:
        return EPOCH + self.ticks / TICKS

    def go_on(self, ticks: int) -> None:
        self.ticks += ticks
        self._show(self.now())


class Heard(Database):
    """A database whose answer to a commit may be lost on its way.

    To the caller, or so that it is all done once more.
    """

    deaf = False
    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def run(self, do: Callable[[sa.Connection], T], **how: Any) -> T:
        result = await super().run(do, **how)
        if self.deaf:
            raise CommitUnknownError("the database does not answer")
        if self.meanwhile is not None and how.get("repeatable"):
            await self.meanwhile()
            result = await super().run(do, **how)
        return result


class Store:
    """One database with two processes' ends of it.

    What only a process knows, such as its calls, is the test's.
    """

    def __init__(self, url: str, clock: Clock, *, lease: float) -> None:
        self.clock = clock
        self.lease = lease
        self._keyring = Keyring([ENCRYPTION_KEY])
        self._loop = asyncio.new_event_loop()
        self.databases = [_database(url, clock) for _ in range(2)]
        self.acceptances = [Acceptance(database, self._keyring) for database in self.databases]
        self.outboxes = [
            Outbox(database, self._keyring, lease=lease) for database in self.databases
        ]
        self.tellings = [
            Tellings(database, self._keyring, lease=lease) for database in self.databases
        ]
        self.is_sqlite = url.startswith("sqlite")
        shown = self.run(
            self.databases[0].run(lambda connection: connection.execute(sa.select(now())).scalar())
        )
        assert shown == clock.now(), "the database tells another time than the test's"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def all_at_once(self, *work: Coroutine[Any, Any, object]) -> list[object]:
        """Run what may share a transaction."""

        async def gather() -> list[object]:
            return await asyncio.gather(*work)

        return self.run(gather())

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """No process hears of what is committed in here."""
        for one in self.databases:
            one.deaf = True
        yield
        for one in self.databases:
            one.deaf = False

    @contextmanager
    def repeating(self, meanwhile: Callable[[], Awaitable[None]]) -> Iterator[None]:
        """What is committed in here and may be repeated is repeated, and this comes between."""
        for one in self.databases:
            one.meanwhile = meanwhile
        yield
        for one in self.databases:
            one.meanwhile = None

    def add_tenant(self, team_id: str, calls_per_window: int) -> int:
        """Add a tenant named after its one workspace, with an account of its own; return its id."""
        directory = Directory(self.databases[0], self._keyring)
        key = f"key-of-{team_id}"
        self.run(
            directory.add(
                Tenant(team_id, "https://a.leadsquared.com", team_id, key, key, calls_per_window)
            )
        )
        self.run(directory.map(team_id, Scope(team_id=team_id)))
        tenant_id = self.run(directory.get(team_id, keys=False)).id
        assert tenant_id is not None
        return tenant_id

    def rows(self) -> Sequence[sa.RowMapping]:
        """Return every delivery as it is stored, in the order of acceptance."""
        everything = sa.select(deliveries).order_by(deliveries.c.seq)
        return self.run(
            self.databases[0].run(
                lambda connection: connection.execute(everything).mappings().all()
            )
        )

    def empty(self) -> None:
        """Begin anew, with the tenants alone."""

        def write(connection: sa.Connection) -> None:
            for table in (attempts, deliveries):
                # PostgreSQL would go on reading past the rows that were deleted.
                connection.execute(
                    sa.delete(table) if self.is_sqlite else sa.text(f"TRUNCATE {table.name}")
                )
            connection.execute(sa.update(accounts).values(resume_at=None))

        self.run(self.databases[0].run(write))
        self.clock.go_on(-self.clock.ticks)

    def close(self) -> None:
        for one in self.databases:
            self.run(one.close())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@contextmanager
def stepped_store(engine: str, folder: Path, *, lease: float) -> Iterator[Store]:
    """Lend a store of one's own on `sqlite` or `postgresql`. `lease` in seconds."""
    with ExitStack() as stack:
        if engine == "sqlite":
            url, clock = sqlite_file(folder / "bot.db"), Clock()
        else:
            plain_url = stack.enter_context(database(migrate_database))
            url = plain_url.replace("postgresql://", "postgresql+psycopg://", 1)
            clock = Clock(stack.enter_context(_postgresql_clock(plain_url)))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        # How long a person waits for the database is another test's question; here a slow machine
        # changes nothing.
        patch.setattr(acceptance, "ANSWER_WITHIN", PATIENCE)
        patch.setattr(outbox, "time", SimpleNamespace(monotonic=clock.now))
        patch.setattr(outbox, "steady", clock.now)
        lent = Store(url, clock, lease=lease)
        stack.callback(lent.close)
        yield lent


def _database(url: str, clock: Clock) -> Heard:
    heard = Heard(url)
    if heard.engine.dialect.name == "sqlite":

        @sa.event.listens_for(heard.engine, "connect")  # after the product's own
        def _prepare(connection: Any, _record: object) -> None:
            connection.create_function("bot_now", 0, clock.now)
            connection.execute("PRAGMA synchronous=OFF")  # no test cuts the power

    return heard


@contextmanager
def _postgresql_clock(url: str) -> Iterator[Callable[[float], object]]:
    """Give a migrated database a clock of the test's, and lend what sets it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE clock AS SELECT 0::double precision AS moment")
        connection.execute(
            "CREATE OR REPLACE FUNCTION bot_now() RETURNS double precision VOLATILE LANGUAGE sql"
            " AS 'SELECT moment FROM public.clock'"
        )
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))
        connection.execute("SET synchronous_commit = off")
        yield lambda moment: connection.execute("UPDATE clock SET moment = %s", (moment,))
