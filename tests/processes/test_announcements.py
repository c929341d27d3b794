"""What one process accepts, the others hear at once; and what happens when they cannot."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bot.database.schema import migrate_database
from bot.playground.leadsquared import LeadSquaredStandIn
from bot.playground.slack import SlackStandIn
from support.accepting import Web, accept, answers
from support.databases import database
from support.pooling_proxy import pooling_proxy
from support.programs import serving, until
from support.running import Start

NEVER = "300"
"""For POLL_INTERVAL: what is found is found because it was announced."""

LISTENERS = (
    "SELECT pid FROM pg_stat_activity "
    "WHERE application_name LIKE %s AND datname = current_database()"
)


@pytest.fixture
def url() -> Iterator[str]:
    with database(migrate_database) as given:
        yield given


async def test_a_worker_is_woken_by_what_another_process_accepts(
    web: Web,
    variables: dict[str, str],
    slack: SlackStandIn,
    tmp_path: Path,
) -> None:
    with serving("worker", cwd=tmp_path, variables=variables | {"POLL_INTERVAL": NEVER}) as worker:
        await worker.logged("listening_for_announcements")
        await accept(web, "143", "announced")
        await slack.until(lambda: len(answers(slack)) == 1)


async def test_a_worker_listens_again_and_finds_what_it_did_not_hear(
    web: Web,
    variables: dict[str, str],
    url: str,
    slack: SlackStandIn,
    tmp_path: Path,
) -> None:
    with (
        psycopg.connect(url, autocommit=True) as administrator,
        serving("worker", cwd=tmp_path, variables=variables | {"POLL_INTERVAL": NEVER}) as worker,
    ):
        await worker.logged("listening_for_announcements")
        ((pid,),) = administrator.execute(LISTENERS, ["%listening"]).fetchall()
        administrator.execute("SELECT pg_terminate_backend(%s)", [pid])
        await worker.logged("announcements_lost")
        await accept(web, "143", "unheard")
        await slack.until(lambda: len(answers(slack)) == 1)


async def test_behind_a_proxy_that_pools_transactions_everything_works_but_the_listening(
    start: Start,
    environment: dict[str, str],
    url: str,
    leadsquared: LeadSquaredStandIn,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.database.announcements.HEARD_WITHIN", 0.5)
    with pooling_proxy(url) as proxy:
        behind = environment | {"DATABASE_URL": proxy.url, "POLL_INTERVAL": "0.5"}
        async with start(behind) as first, start(behind) as second:
            for number in range(10):
                for bot in (first, second):
                    bot.slack.request_url = f"{bot.url}/slack/events"
                    assert (
                        await bot.type(f"{143 + number % 3} number {number} by {bot.process.port}")
                        is None
                    )
            await first.at_rest()
            logged = [""]

            def both_say_so() -> bool:
                logged.append(capsys.readouterr().err)
                return "".join(logged).count("announcements_not_heard") == 2

            await until(both_say_so)
            assert proxy.transactions > 40
    assert len(leadsquared.ledger.activities) == 20
    assert len({call.body["Text"] for call in leadsquared.ledger.calls}) == 20


async def test_a_burst_shares_round_trips_through_a_proxy_that_pools_transactions(
    start: Start, environment: dict[str, str], url: str, leadsquared: LeadSquaredStandIn
) -> None:
    with pooling_proxy(url) as proxy:
        async with start(environment | {"DATABASE_URL": proxy.url, "POLL_INTERVAL": "0.5"}) as bot:
            before = proxy.transactions
            said = await asyncio.gather(
                *(bot.type(f"{143 + number % 3} number {number}") for number in range(75))
            )
            assert said == [None] * 75
            assert proxy.transactions - before < 75, "they shared commits"
            await until(lambda: len(leadsquared.ledger.calls) >= 25)
    texts = [call.body["Text"] for call in leadsquared.ledger.calls]
    assert len(set(texts)) == len(texts)


async def test_a_claim_whose_commit_was_lost_is_sent_once_when_its_lease_has_ended(
    start: Start, environment: dict[str, str], url: str, leadsquared: LeadSquaredStandIn
) -> None:
    with pooling_proxy(url) as proxy:
        short = {
            "LEASE": "11",
            "LEADSQUARED_READ_TIMEOUT": "0.5",
            "LEADSQUARED_CONNECT_TIMEOUT": "0.5",
        }
        async with start(
            environment | short | {"DATABASE_URL": proxy.url, "POLL_INTERVAL": "0.5"}
        ) as bot:
            await bot.at_rest()
            proxy.loses = b"claimed_by = "
            assert await bot.type("143 hello") is None
            answer = await bot.answered()
            await bot.at_rest()
            assert proxy.loses == b"", "it was lost"
    assert "Recorded" in answer.text, "nothing had begun, so nothing is unknown"
    assert len(leadsquared.ledger.calls) == 1
