"""What must hold when several processes share a database."""

import asyncio
import math
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.activities.acceptance import Acceptance
from bot.activities.delivery import Submission
from bot.activities.outbox import PASSED_BY, Outbox
from bot.database.schema import migrate_database
from bot.database.writer import (
    PER_LANE,
    SHARED_BY,
    Database,
    DatabaseUnavailableError,
)
from bot.encryption import Keyring
from bot.leadsquared.tenant import Tenant
from bot.tenants.directory import Directory, Scope
from bot.tenants.rules import MEMBER
from support.databases import database
from support.limit import assert_within_the_limit, numbered
from support.programs import until
from support.running import ENCRYPTION_KEY, TEAM, Bot, Start

T = TypeVar("T")


@pytest.fixture
def postgresql() -> Iterator[str]:
    with database(migrate_database) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def shared_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shared.db'}"
    url: str = request.getfixturevalue("postgresql")
    return url


@asynccontextmanager
async def held(one: Database) -> AsyncIterator[None]:
    """Keep a database's thread busy, until all that is asked for in here has queued up."""
    begun, all_queued = threading.Event(), threading.Event()

    def unit(_: Connection) -> None:
        begun.set()
        all_queued.wait(10)

    holding = asyncio.create_task(one.run(unit))
    try:
        await until(begun.is_set)
        yield
        await asyncio.sleep(0)  # what was made a task in here has queued up now
    finally:
        all_queued.set()
        await holding


async def test_two_bots_on_one_database_keep_the_limit_and_the_order_and_tell_once(
    bot: Bot, start: Start, environment: dict[str, str], shared_database: str
) -> None:
    del bot  # the stand-ins' first bot has a database of its own, and is no part of this
    variables = environment | {"DATABASE_URL": shared_database, "POLL_INTERVAL": "0.2"}
    async with start(variables) as first, start(variables) as second:
        tickets = numbered(first.leadsquared, 20)
        for number in range(2):
            for each in (first, second):
                each.slack.request_url = f"{each.url}/slack/events"
                await asyncio.gather(
                    *(each.type(f"{ticket} {number} by {id(each)}") for ticket in tickets)
                )
        await first.at_rest(within=90)

    calls = sorted(first.leadsquared.ledger.calls, key=lambda call: call.at)
    assert [call.status for call in calls] == [200] * 80
    assert_within_the_limit(calls)
    for ticket in tickets:
        assert [activity.text[0] for activity in first.leadsquared.on(ticket)] == [
            "0",
            "0",
            "1",
            "1",
        ]
    answers = [
        message for message in first.slack.workspace.messages if "activity ID" in message.text
    ]
    assert len({message.thread_ts for message in answers}) == len(answers) == 80


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Database]:
    """A database on SQLite, where units share commits."""
    one = Database(f"sqlite:///{tmp_path / 'one.db'}")
    yield one
    await one.close()


def ask(
    one: Database, number: int, do: Callable[[Connection], T], answer_within: float | None = None
) -> list[asyncio.Task[T]]:
    return [asyncio.create_task(one.run(do, answer_within=answer_within)) for _ in range(number)]


async def test_what_has_queued_up_shares_commits_and_not_all_of_it_one(one: Database) -> None:
    async with held(one):
        units = ask(one, 3 * SHARED_BY, lambda connection: connection.get_transaction())
    shared = Counter(await asyncio.gather(*units))
    assert list(shared.values()) == [SHARED_BY] * 3


async def test_what_a_person_waits_for_goes_first_and_shares_no_commit_with_the_rest(
    one: Database,
) -> None:
    transactions: list[tuple[str, object]] = []

    def unit(name: str) -> Callable[[Connection], None]:
        return lambda connection: transactions.append((name, connection.get_transaction()))

    async with held(one):
        others = ask(one, 2, unit("other"))
        await asyncio.sleep(0)
        people = ask(one, 2, unit("person"), answer_within=10.0)
    await asyncio.gather(*others, *people)
    assert [name for name, _ in transactions] == ["person", "person", "other", "other"]
    assert len({transaction for _, transaction in transactions}) == 2


async def test_a_spoilt_unit_does_not_spoil_those_that_share_its_commit(one: Database) -> None:
    def unit(statement: str) -> Callable[[Connection], int]:
        return lambda connection: int(connection.execute(sa.text(statement)).scalar_one())

    await one.run(
        lambda connection: connection.execute(sa.text("CREATE TABLE things (n INTEGER UNIQUE)"))
    )
    insert = "INSERT INTO things VALUES ({}) RETURNING n"
    async with held(one):
        units = [task for n in (1, 1, 3) for task in ask(one, 1, unit(insert.format(n)))]
    first, spoilt, third = await asyncio.gather(*units, return_exceptions=True)
    assert (first, third) == (1, 3)
    assert isinstance(spoilt, sa.exc.IntegrityError)
    assert await one.run(unit("SELECT count(*) FROM things")) == 2


async def test_a_connection_lost_while_idle_is_replaced_without_a_word(postgresql: str) -> None:
    one, other = Database(_driver(postgresql)), Database(_driver(postgresql))
    try:
        pid = await one.run(
            lambda connection: connection.execute(sa.text("SELECT pg_backend_pid()")).scalar()
        )
        await other.run(
            lambda connection: connection.execute(
                sa.text(f"SELECT pg_terminate_backend({pid})")
            ).scalar()
        )
        assert (
            await one.run(lambda connection: connection.execute(sa.text("SELECT 1")).scalar()) == 1
        )
    finally:
        await one.close()
        await other.close()


async def test_a_claim_passes_by_what_another_process_is_telling(
    bot: Bot, start: Start, environment: dict[str, str], postgresql: str
) -> None:
    async with start(environment | {"DATABASE_URL": postgresql}) as quiet:
        for each in (bot, quiet):
            each.parts.worker.stop()  # it accepts; the test claims
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "worker"))
        ours, others = numbered(quiet.leadsquared, 2)
        quiet.slack.request_url = f"{quiet.url}/slack/events"
        await quiet.type(f"{ours} hello")
        await quiet.type(f"{others} hello")
        with psycopg.connect(postgresql) as other:
            other.execute("SELECT seq FROM deliveries WHERE ticket_id = %s FOR UPDATE", [others])
            tenants = list(await quiet.parts.outbox.waiting_tenants(within=0.0))
            claim = await quiet.parts.outbox.claim(tenants)
            assert [claimed.delivery.ticket_id for claimed in claim.claimed] == [ours]
            assert list(claim.next_in.values()) == [pytest.approx(PASSED_BY)]
        claim = await quiet.parts.outbox.claim(tenants)
        assert [claimed.delivery.ticket_id for claimed in claim.claimed] == [others]
        assert list(claim.next_in.values()) == [math.inf]


async def test_a_ticket_has_one_call_at_a_time_although_an_earlier_acceptance_is_committed_later(
    postgresql: str,
) -> None:
    url = _driver(postgresql)
    keyring = Keyring([ENCRYPTION_KEY])
    slow, quick = Database(url), Database(url)
    first, second = (Outbox(database, keyring, lease=30.0) for database in (slow, quick))
    asked = [
        Submission(None, TEAM, "C0SUPPORT", "U0ANNA", f"key {n}", "143", f"number {n}")
        for n in range(2)
    ]
    commit = threading.Event()

    async def is_stored_uncommitted() -> None:
        count = sa.text("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'")
        async with asyncio.timeout(10):
            while not await quick.run(lambda connection: connection.scalar(count)):
                await asyncio.sleep(0.01)

    try:
        directory = Directory(slow, keyring)
        await directory.add(
            Tenant("acme", "https://a.leadsquared.com", "1", "k" * 20, "s" * 20, 25)
        )
        await directory.map("acme", Scope(team_id=TEAM))
        tenant_id = (await directory.get("acme", keys=False)).id
        assert tenant_id is not None
        acceptance = Acceptance(slow, keyring)
        row = acceptance._new(asked[0])

        def accept_and_wait(connection: Connection) -> None:
            acceptance._insert(connection, row, MEMBER, despite=0)
            commit.wait(10)

        earlier = asyncio.create_task(slow.run(accept_and_wait))
        await is_stored_uncommitted()

        await Acceptance(quick, keyring).accept(asked[1])
        assert [claimed.delivery.text for claimed in (await second.claim([tenant_id])).claimed] == [
            "number 1"
        ]
        commit.set()
        await earlier
        assert (await first.claim([tenant_id])).claimed == (), "the later one is on its way"
    finally:
        commit.set()
        await slow.close()
        await quick.close()


async def test_what_somebody_once_listened_to_is_not_kept_for_ever(postgresql: str) -> None:
    """A proxy may lend a session on which another client listened."""
    one = Database(_driver(postgresql))
    barrier = threading.Barrier(PER_LANE)

    def listen(connection: Connection) -> Any:
        barrier.wait(10)
        connection.execute(sa.text("LISTEN anything"))
        return connection.connection.driver_connection

    try:
        drivers = await asyncio.gather(
            *(one.run(listen, answer_within=10.0) for _ in range(PER_LANE))
        )
        for _ in range(3 * PER_LANE):
            await one.run(
                lambda connection: connection.execute(sa.text("NOTIFY anything")),
                answer_within=10.0,
            )
        assert not any(driver._notifies_backlog for driver in drivers)
    finally:
        await one.close()


async def test_who_waits_for_a_locked_row_makes_way_for_people(postgresql: str) -> None:
    url = _driver(postgresql)
    one = Database(url)
    change = sa.text("UPDATE things SET changed = changed + 1")
    with psycopg.connect(postgresql) as foreign:
        foreign.execute("CREATE TABLE things AS SELECT 0 AS changed")
        foreign.commit()
        foreign.execute("SELECT * FROM things FOR UPDATE")

        async def settles() -> None:
            while True:
                try:
                    await one.run(lambda connection: connection.execute(change))
                except DatabaseUnavailableError:
                    await asyncio.sleep(0.5)
                else:
                    return

        try:
            waiting = [asyncio.create_task(settles()) for _ in range(2 * PER_LANE)]
            for _ in range(12):
                assert (
                    await one.run(
                        lambda connection: connection.scalar(sa.select(1)),
                        within=1.5,
                        answer_within=2.0,
                    )
                    == 1
                )
                await asyncio.sleep(0.2)
            foreign.rollback()
            await asyncio.wait_for(asyncio.gather(*waiting), 10)
        finally:
            await one.close()


def _driver(url: str) -> str:
    return url.replace("postgres://", "postgresql+psycopg://", 1)
