"""Unknown is only what may have gone out: a call begins, committed, right before its first byte."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.activities.delivery import State
from bot.activities.outbox import Claimed, Outbox
from bot.database.tables import deliveries
from bot.database.writer import DatabaseUnavailableError
from bot.leadsquared.client import LeadSquared
from bot.leadsquared.outcome import NotBegun, NotSent, Problem, Recorded, Unknown
from bot.leadsquared.tenant import Tenant
from bot.playground.leadsquared import LeadSquaredStandIn
from support.programs import until
from support.running import Bot, Start


async def post(
    stand_in: LeadSquaredStandIn, begin: Callable[[], Awaitable[bool]], port: int | None = None
) -> object:
    (account,) = stand_in.accounts.values()
    url = stand_in.url if port is None else f"http://127.0.0.1:{port}"
    tenant = Tenant("acme", url, account.org_id, account.access_key, account.secret_key)
    async with LeadSquared((), connect_timeout=1, read_timeout=1, deadline=2) as client:
        return await client.add_portal_activity(tenant, "143", "hello", begin)


async def test_a_call_begins_before_anything_of_it_arrives(leadsquared: LeadSquaredStandIn) -> None:
    arrived_before: list[int] = []

    async def begin() -> bool:
        await asyncio.sleep(0)
        arrived_before.append(len(leadsquared.ledger.calls))
        return True

    assert await post(leadsquared, begin) == Recorded("1")
    assert arrived_before == [0]
    assert len(leadsquared.ledger.calls) == 1


async def test_a_call_that_may_not_begin_does_not_go_out(leadsquared: LeadSquaredStandIn) -> None:
    async def begin() -> bool:
        return False

    assert await post(leadsquared, begin) == NotBegun()
    assert leadsquared.ledger.calls == []


async def test_a_call_whose_connection_is_refused_never_begins(
    leadsquared: LeadSquaredStandIn,
) -> None:
    begun: list[bool] = []

    async def begin() -> bool:
        begun.append(True)
        return True

    async with await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0
    ) as server:
        port = server.sockets[0].getsockname()[1]
    assert await post(leadsquared, begin, port) == NotSent("127.0.0.1")
    assert begun == []


async def test_a_beginning_that_outlasts_the_call_sends_nothing(
    leadsquared: LeadSquaredStandIn,
) -> None:
    async def begin() -> bool:
        await asyncio.Event().wait()
        return True

    assert await post(leadsquared, begin) == NotBegun(), "the database's fault, not LeadSquared's"
    assert leadsquared.ledger.calls == []


async def test_a_call_that_began_and_broke_is_unknown() -> None:
    async def begin() -> bool:
        return True

    async with await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0
    ) as server:
        tenant = Tenant(
            "acme", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "1", "key", "key"
        )
        async with LeadSquared((), connect_timeout=1, read_timeout=1, deadline=2) as client:
            assert await client.add_portal_activity(tenant, "143", "hello", begin) == Unknown(
                Problem.DROPPED
            )


@pytest.mark.parametrize("at", ["claim", "begin"])
async def test_what_a_dead_process_claimed_and_did_not_begin_is_sent_by_the_next(
    start: Start,
    environment: dict[str, str],
    url: str,
    leadsquared: LeadSquaredStandIn,
    monkeypatch: pytest.MonkeyPatch,
    at: str,
) -> None:
    environment = environment | {"DATABASE_URL": url}
    original, dead = Outbox.begin, asyncio.Event()

    async def never(outbox: Outbox, claimed: Claimed, last_line: str | None) -> bool:
        if at == "begin":
            await original(outbox, claimed, last_line)
        dead.set()
        return await asyncio.Future()

    async with start(environment) as bot:
        monkeypatch.setattr(Outbox, "begin", never)
        for number in range(5):
            await bot.type(f"{143 + number % 2} number {number}")
        await asyncio.wait_for(dead.wait(), 10)
        await bot.parts.worker.finish(0.1)
        for task in list(bot.parts.worker._in_flight.values()):
            task.cancel()
        bot.parts.worker.stop()
        await bot.parts.database.run(end_leases)

    monkeypatch.setattr(Outbox, "begin", original)
    async with start(environment) as bot:
        await bot.at_rest()
        states = await bot.parts.database.run(
            lambda connection: (
                connection.execute(sa.select(deliveries.c.state).order_by(deliveries.c.seq))
                .scalars()
                .all()
            )
        )
    expected = {"claim": [State.RECORDED] * 5, "begin": [State.UNKNOWN] * 2 + [State.RECORDED] * 3}[
        at
    ]
    assert sorted(states) == sorted(expected), "the first of each ticket had begun"


def end_leases(connection: Connection) -> None:
    """Let the time pass after which a process that holds a delivery counts as dead."""
    held = deliveries.c.state.in_([State.CLAIMED, State.SENDING])
    connection.execute(sa.update(deliveries).where(held).values(lease_until=0))


async def test_a_beginning_that_cannot_be_committed_is_tried_again(
    bot: Bot, leadsquared: LeadSquaredStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, tries = Outbox.begin, 0

    async def fails_at_first(outbox: Outbox, claimed: Claimed, last_line: str | None) -> bool:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise DatabaseUnavailableError("the disk is full")
        return await original(outbox, claimed, last_line)

    monkeypatch.setattr(Outbox, "begin", fails_at_first)
    await bot.type("143 hello")
    assert "Recorded" in (await bot.answered()).text
    assert len(leadsquared.ledger.calls) == 1


async def test_a_worker_that_stops_during_a_poll_claims_nothing_more(bot: Bot) -> None:
    database = bot.parts.database
    lane = database._lanes[True, True]
    held, release = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        held.set()
        release.wait(60)

    holding = asyncio.create_task(database.run(hold))
    await until(held.is_set)
    bot.parts.worker.poll_now()
    await until(lambda: lane.others)
    typing = asyncio.create_task(bot.type("143 hello"))
    await until(lambda: lane.people)
    bot.parts.worker.stop()
    release.set()
    await asyncio.gather(holding, typing)
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "worker"))
    await bot.parts.worker.finish(5)
    assert bot.leadsquared.ledger.calls == []
    assert await bot.parts.outbox.unfinished() == 1
