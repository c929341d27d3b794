"""Many tenants at once: none waits for all the others, and a claim delays no person in Slack."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from benchmarks.filling import History, fill, team
from bot.activities.acceptance import Acceptance, Accepted
from bot.activities.delivery import Submission
from bot.activities.outbox import VISITED_AT_ONCE, Outbox
from bot.activities.policy import MAX_CALLS_IN_FLIGHT
from bot.activities.worker import Begin, Worker
from bot.database.statement import Statement
from bot.database.writer import Database
from bot.encryption import Keyring
from bot.leadsquared.outcome import Outcome, Recorded
from bot.leadsquared.tenant import Tenant
from support.programs import until
from support.running import ENCRYPTION_KEY, spelt_for_sqlalchemy

KEYRING = Keyring([ENCRYPTION_KEY])
TENANTS = 300
FREED_AT_ONCE = 20

WAITING = (
    "\n    UPDATE deliveries SET state = 'accepted', settled_at = NULL, activity_id = NULL, "
    "problem = NULL, response_url = NULL,"
    "\n    attempts = 0, first_attempt_at = NULL, ticket_id = '' || seq, text = :text, "
    "due_at = due_at + :later\n"
)


class Portal:
    """LeadSquared as the worker knows it.

    Calls hang until they are let go, or are answered at once.
    """

    def __init__(self, *, hangs: bool) -> None:
        self.hangs = hangs
        self.begun: Counter[str] = Counter()
        self.hanging: list[asyncio.Future[None]] = []

    async def add_portal_activity(
        self, tenant: Tenant, ticket_id: str, text: str, begin: Begin
    ) -> Outcome:
        del text, begin
        self.begun[tenant.name] += 1
        if self.hangs:
            answered = asyncio.get_running_loop().create_future()
            self.hanging.append(answered)
            await answered
        return Recorded(ticket_id)

    def let_go(self, count: int) -> None:
        """Answer those that have hung for longest."""
        freed, self.hanging = self.hanging[:count], self.hanging[count:]
        for one in freed:
            one.set_result(None)


class Nobody:
    """Has nothing to tell."""

    def wake(self) -> None: ...

    def wake_later(self, seconds: float) -> None: ...


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Counter[str]]]:
    """Count from now on each transaction's statements, and the tenants it asks for by number."""
    counted: list[Counter[str]] = []
    execute = Statement.execute

    def counting(statement: Statement, connection: Connection, values: dict[str, object]) -> Any:
        if counted:
            counted[-1].update(
                ["statements", *(["visits"] if set(values) == {"tenant_id"} else [])]
            )
        return execute(statement, connection, values)

    def begin(_: Connection) -> None:
        counted.append(Counter())

    monkeypatch.setattr(Statement, "execute", counting)
    sa.event.listen(sa.engine.Engine, "begin", begin)
    yield counted
    sa.event.remove(sa.engine.Engine, "begin", begin)


async def fill_up(database: Database, *, each: int, later: float = 0.0) -> None:
    """Make `each` deliveries of each tenant wait, all on different tickets.

    Their due times move by `later` seconds.
    """

    def write(connection: Connection) -> None:
        fill(connection, KEYRING, History(TENANTS * each, TENANTS))
        connection.execute(sa.text(WAITING), {"text": KEYRING.encrypt("hello"), "later": later})
        connection.execute(sa.text("DELETE FROM attempts"))

    await database.run(write)


@asynccontextmanager
async def working(database: Database, portal: Portal) -> AsyncIterator[Worker]:
    outbox = Outbox(database, KEYRING, lease=600.0)
    worker = Worker(
        outbox, portal, Nobody(), retry_for=900.0, poll_interval=3600.0, begin_within=300.0
    )
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        await running
        while portal.hanging:
            portal.let_go(MAX_CALLS_IN_FLIGHT)
            await asyncio.sleep(0)
        assert await worker.finish(30.0) == 0


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = Database(spelt_for_sqlalchemy(url))
    yield opened
    await opened.close()


async def test_what_waits_for_later_costs_a_look_for_work_nothing(
    database: Database, transactions: list[Counter[str]]
) -> None:
    await fill_up(database, each=1, later=1e9)
    portal = Portal(hangs=False)
    async with working(database, portal) as worker:
        transactions.clear()
        worker.poll_now()
        await until(lambda: any(one["statements"] for one in transactions))
        await database.run(lambda _: None)
    assert not portal.begun
    assert sum(one["visits"] for one in transactions) == 0
    assert sum(one["statements"] for one in transactions) < 10


async def test_one_transaction_visits_only_some_of_the_tenants_that_have_something_due(
    database: Database, transactions: list[Counter[str]]
) -> None:
    await fill_up(database, each=1)
    portal = Portal(hangs=False)
    async with working(database, portal):
        await until(lambda: portal.begun.total() == TENANTS, within=60)
    assert max(one["visits"] for one in transactions) <= VISITED_AT_ONCE


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_tenants_whose_calls_hang_take_turns_with_all_others(database: Database) -> None:
    await fill_up(database, each=6)
    portal = Portal(hangs=True)
    async with working(database, portal) as worker:
        await until(lambda: len(portal.hanging) == MAX_CALLS_IN_FLIGHT, within=60)
        # The last one by its number, which is new to every process.
        last, name = TENANTS - 1, f"filled-{TENANTS - 1}"
        before = portal.begun[name]
        asked = Submission(
            None, team(last), "C01", "U01", "trigger", "143", "called back", thread_ts="5.0"
        )
        accepted = await Acceptance(database, KEYRING).accept(asked)
        assert isinstance(accepted, Accepted)
        worker.wake(accepted.tenant_id)
        freed = 0
        while portal.begun[name] == before and freed < 4 * TENANTS:
            portal.let_go(FREED_AT_ONCE)
            freed += FREED_AT_ONCE
            await until(lambda: len(portal.hanging) == MAX_CALLS_IN_FLIGHT)
        assert portal.begun[name] > before, f"{freed} calls were begun, and none was its own"
        # Two each: none has a third place before the last has its first.
        assert freed <= 2 * TENANTS
        crowd = [count for one, count in portal.begun.items() if one != name]
        assert min(crowd) >= 1
