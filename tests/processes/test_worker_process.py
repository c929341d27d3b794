"""`python -m bot worker`: sends and tells what another process accepted, on the same database."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.activities.delivery import State
from bot.activities.outbox import Claim, Outbox
from bot.database.clock import steady
from bot.playground.leadsquared import LeadSquaredStandIn
from bot.playground.slack import SlackStandIn
from support.accepting import Web, accept, answers
from support.programs import free_port, serving, until
from support.running import Start


async def test_a_worker_sends_and_tells_what_was_accepted_before_and_while_it_runs(
    web: Web,
    variables: dict[str, str],
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> None:
    await accept(web, "143", "before it ran")
    with serving("worker", cwd=tmp_path, variables=variables) as worker:
        await slack.until(lambda: len(answers(slack)) == 1)
        await accept(web, "144", "while it runs")
        await slack.until(lambda: len(answers(slack)) == 2)
        await rest(web.outbox)
        worker.signal()
        assert await worker.ended() == 0

    assert [(activity.ticket_id, activity.text) for activity in leadsquared.ledger.activities] == [
        ("143", "before it ran"),
        ("144", "while it runs"),
    ]
    for number, answer in enumerate(answers(slack), 1):
        assert f"activity ID {number}" in answer.text
    (started,) = [event for event in worker.events() if event["event"] == "started"]
    assert (started["surface"], started["port"]) == (False, None), "a worker does not listen"


async def test_two_workers_share_the_work_and_do_none_of_it_twice(
    web: Web,
    variables: dict[str, str],
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> None:
    leadsquared.latency = 0.05
    with ExitStack() as stack:
        workers = [
            stack.enter_context(serving("worker", cwd=tmp_path, variables=variables))
            for _ in range(2)
        ]
        for worker in workers:
            await worker.logged("started")
        texts = [f"number {number}" for number in range(20)]
        await asyncio.gather(
            *(accept(web, str(143 + number % 3), text) for number, text in enumerate(texts))
        )
        await rest(web.outbox)
        for worker in workers:
            worker.signal()
        assert [await worker.ended() for worker in workers] == [0, 0]

    assert sorted(activity.text for activity in leadsquared.ledger.activities) == sorted(texts)
    assert len(answers(slack)) == 20
    assert len(slack.workspace.messages) == 40, "one anchor and one answer each"
    assert {call.status for call in leadsquared.ledger.calls} == {200}


async def rest(outbox: Outbox) -> None:
    """Wait until every activity is settled and answered."""
    left = [1]

    async def look() -> None:
        while left[0]:
            left[0] = await outbox.unfinished()
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look())
    try:
        await until(looking.done, within=40)
        await looking
    finally:
        looking.cancel()


async def test_a_process_that_stood_still_after_its_claim_does_not_send_under_an_old_lease(
    start: Start,
    environment: dict[str, str],
    leadsquared: LeadSquaredStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = {"LEASE": "11", "LEADSQUARED_READ_TIMEOUT": "0.5", "LEADSQUARED_CONNECT_TIMEOUT": "0.5"}
    claim = Outbox.claim
    stood_still: list[str] = []
    asleep = 0.0  # in which time.monotonic() stands still on Linux
    for module in ("bot.activities.outbox", "bot.activities.worker"):
        monkeypatch.setattr(f"{module}.steady", lambda: steady() + asleep)

    async def and_stand_still(outbox: Outbox, *arguments: Any, **named: Any) -> Claim:
        nonlocal asleep
        claimed = await claim(outbox, *arguments, **named)
        if claimed.claimed and not stood_still:
            stood_still.append(claimed.claimed[0].delivery.id)
            asleep = 5.5  # the machine was suspended
        return claimed

    monkeypatch.setattr(Outbox, "claim", and_stand_still)
    async with start(environment | short) as bot:
        await bot.type("143 hello")
        await bot.at_rest()
        delivery = await bot.delivery(stood_still[0])

    assert (delivery.state, delivery.attempts) == (State.RECORDED, 2)
    assert len(leadsquared.on("143")) == 1


async def test_a_worker_serves_its_metrics_where_it_is_told_to(
    web: Web, variables: dict[str, str], slack: SlackStandIn, tmp_path: Path
) -> None:
    await accept(web, "143", "a text that no metric holds")
    port = free_port()
    with serving("worker", cwd=tmp_path, variables={**variables, "METRICS_PORT": str(port)}):
        await slack.until(lambda: len(answers(slack)) == 1)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/metrics") as response,
        ):
            page = await response.text()
    assert 'portal_activity_settled_total{outcome="recorded",problem=""} 1.0' in page
    assert "portal_activity_undecided 0.0" in page
    assert "no metric holds" not in page
