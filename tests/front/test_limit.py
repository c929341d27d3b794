"""LeadSquared's 25 calls in 5 seconds, as the server sees them, with the whole budget used."""

import asyncio
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.database.tables import attempts
from support.limit import assert_within_the_limit, numbered
from support.programs import until
from support.running import Bot, Start


async def test_a_burst_is_never_refused_and_uses_the_whole_window(bot: Bot) -> None:
    tickets = numbered(bot.leadsquared, 60)
    await asyncio.gather(*(bot.type(f"{ticket} hello") for ticket in tickets))
    await bot.at_rest(within=60)

    calls = sorted(bot.leadsquared.ledger.calls, key=lambda call: call.at)
    assert [call.status for call in calls] == [200] * 60
    assert_within_the_limit(calls)
    # 25 at once, 25 after 5 seconds, 10 after 10: nothing is spread out by sleeping between calls.
    assert calls[24].at - calls[0].at < 2
    assert calls[-1].at - calls[0].at < 13


async def test_the_limit_is_the_tenants_own(start: Start, environment: dict[str, str]) -> None:
    async with start(environment) as bot:
        tenant = await bot.parts.directory.get("environment", keys=True)
        await bot.parts.directory.replace(replace(tenant, calls_per_window=3))
        tickets = numbered(bot.leadsquared, 5)
        await asyncio.gather(*(bot.type(f"{ticket} hello") for ticket in tickets))
        await bot.at_rest(within=30)

    calls = sorted(bot.leadsquared.ledger.calls, key=lambda call: call.at)
    assert calls[3].at - calls[0].at >= 5
    assert len(calls) == 5


async def test_a_slot_is_held_from_the_answer_on_and_not_from_when_it_was_written_down(
    bot: Bot, tmp_path: Path
) -> None:
    bot.leadsquared.latency = 0.3
    await bot.type("143 hello")
    await until(lambda: bot.leadsquared._arrivals["22824"])
    with sqlite3.connect(tmp_path / "bot.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        await until(lambda: bot.leadsquared.on("143"))
        let_go_at = time.time() + 0.5  # by then the answer is there, and waits to be written down
        await until(lambda: time.time() > let_go_at)
        other.execute("ROLLBACK")
    other.close()
    await bot.at_rest()

    columns = sa.select(attempts.c.started_at, attempts.c.answered_at, attempts.c.occupied_until)
    (row,) = await bot.parts.database.run(lambda connection: connection.execute(columns).all())
    assert row.started_at + 0.3 <= row.answered_at < let_go_at
    assert row.occupied_until - row.answered_at == pytest.approx(5, abs=0.01)


async def test_a_slot_that_is_free_again_is_used_at_once_when_nothing_waited_for_it(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | {"POLL_INTERVAL": "60"}) as bot:
        tenant = await bot.parts.directory.get("environment", keys=True)
        await bot.parts.directory.replace(replace(tenant, calls_per_window=2))
        first, second, third = numbered(bot.leadsquared, 3)
        calls = bot.leadsquared.ledger.calls
        await bot.type(f"{first} hello")
        await until(lambda: len(calls) == 1)
        later = calls[0].at + 2.5
        await until(lambda: time.monotonic() > later)
        await bot.type(f"{second} hello")  # takes the last slot, and nothing waits for the next
        await until(lambda: len(calls) == 2)
        await bot.type(f"{third} hello")
        await until(lambda: len(calls) == 3)
        # The first one's slot, and not the second's, which is free 2.5 s later.
        assert 5 <= calls[2].at - calls[0].at < 7
        await bot.at_rest()


async def test_a_long_wait_for_its_turn_is_told(bot: Bot) -> None:
    tenant = await bot.parts.directory.get("environment", keys=True)
    await bot.parts.directory.replace(replace(tenant, calls_per_window=1))
    for ticket in numbered(bot.leadsquared, 3):
        await bot.type(f"{ticket} hello")
    await bot.at_rest(within=40)

    notes = [
        arguments["text"]
        for method, arguments in bot.slack.workspace.calls
        if method == "chat.postMessage"
        and "Waiting for LeadSquared's rate limit" in arguments["text"]
    ]
    assert any("5002" in note for note in notes), "the third waits for two windows"
    assert not any("5000" in note for note in notes)
    assert (
        len([message for message in bot.slack.workspace.messages if "activity ID" in message.text])
        == 3
    )
