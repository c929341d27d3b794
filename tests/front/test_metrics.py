"""/metrics through the front door: what is counted, and who may read it."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack

import aiohttp
import pytest

from bot.playground.leadsquared import Behaviour, LeadSquaredStandIn
from bot.playground.slack import APP_TOKEN, SlackStandIn
from support.programs import PATIENCE
from support.running import Bot, Start, running, ticket_that

TOKEN = "a-token-for-the-metrics-0123456789abcdef"
TEXT = "Customer uploaded the signed form"
SAMPLE = re.compile(r"^portal_activity_(\w+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)


async def get(bot: Bot, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{bot.url}/metrics", headers=headers) as response,
    ):
        return response.status, await response.text()


async def samples(bot: Bot) -> dict[str, float]:
    status, page = await get(bot)
    assert status == 200
    return {name: float(value) for name, value in SAMPLE.findall(page)}


async def test_what_happened_is_counted(bot: Bot) -> None:
    await bot.type(f"143 {TEXT}")
    await bot.type(f"{ticket_that(Behaviour.UNAUTHORIZED)} {TEXT} too")
    await bot.at_rest()
    counted = await samples(bot)
    assert counted["accepted_total"] == 2
    assert counted['attempts_total{outcome="recorded"}'] == 1
    assert counted['settled_total{outcome="recorded",problem=""}'] == 1
    assert counted['settled_total{outcome="rejected",problem="unauthorized"}'] == 1
    assert counted['outcome_seconds_count{outcome="recorded"}'] == 1
    assert 0 < counted['outcome_seconds_sum{outcome="recorded"}'] < 60
    assert counted['ack_seconds_count{way="http"}'] == 2
    assert counted['slack_calls_total{method="chat.postMessage",result="ok"}'] == 4
    assert counted['database_seconds_count{waits="person"}'] >= 2
    assert counted["undecided"] == 0
    assert counted['build_info{version="0.1.0"}'] == 1


async def test_what_waits_is_told_by_tenant_without_a_word_of_it(bot: Bot) -> None:
    await bot.type(f"{ticket_that(Behaviour.RATE_LIMITED)} {TEXT}")
    async with asyncio.timeout(PATIENCE):
        while 'attempts_total{outcome="ratelimited"}' not in (counted := await samples(bot)):
            await asyncio.sleep(0.01)
    (waiting,) = (name for name in counted if name.startswith("waiting{"))
    assert counted[waiting] == 1
    assert counted['oldest_waiting_seconds{tenant="environment"}'] > 0
    assert counted['slots_in_use{tenant="environment"}'] == 1
    _, page = await get(bot)
    assert TEXT not in page
    assert "U0ANNA" not in page


async def test_an_unknown_outcome_counts_until_a_person_decides(bot: Bot) -> None:
    await bot.type(f"{ticket_that(Behaviour.SERVER_ERROR)} {TEXT}")
    await bot.at_rest()
    assert (await samples(bot))["undecided"] == 1


async def test_websockets_and_their_envelopes_are_counted(
    environment: dict[str, str], start: Start
) -> None:
    async with start(environment | {"SLACK_APP_TOKEN": APP_TOKEN}) as bot:
        await bot.type(f"143 {TEXT}")
        await bot.at_rest()
        counted = await samples(bot)
    assert counted['websockets_total{event="connected"}'] == 2
    assert counted['ack_seconds_count{way="socket"}'] == 1


# -- who may read them


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "bot.example.com"},
        {"Host": "127.0.0.1.example.com:80"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
    ],
)
async def test_without_a_token_only_this_machine_reads_them(
    bot: Bot, headers: dict[str, str]
) -> None:
    assert (await get(bot))[0] == 200
    assert (await get(bot, headers))[0] == 404


@pytest.mark.parametrize(
    "given", [None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é"]
)
async def test_a_wrong_token_reads_nothing(
    given: str | None, environment: dict[str, str], start: Start
) -> None:
    async with start(environment | {"METRICS_TOKEN": TOKEN}) as bot:
        headers = {} if given is None else {"Authorization": given}
        assert await get(bot, headers) == (401, "")


async def test_the_token_reads_them_through_a_proxy(
    environment: dict[str, str], start: Start
) -> None:
    async with start(environment | {"METRICS_TOKEN": TOKEN}) as bot:
        proxied = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "203.0.113.9"}
        status, page = await get(bot, proxied)
    assert status == 200
    assert TOKEN not in page


# -- several processes


async def test_one_of_two_processes_tells_what_stands_in_the_database(
    url: str,
    environment: dict[str, str],
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
) -> None:
    environment |= {"DATABASE_URL": url}
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running(environment, slack, leadsquared))
        other = await stack.enter_async_context(running(environment, slack, leadsquared))
        for number, bot in enumerate((one, other, one)):
            slack.request_url = f"{bot.url}/slack/events"
            await bot.type(f"{ticket_that(Behaviour.SERVER_ERROR)} {TEXT} {number}")
        await one.at_rest()
        first, second, again = [await samples(bot) for bot in (one, other, one)]
    assert first["undecided"] == again["undecided"] == 3
    assert "undecided" not in second
    assert (first["accepted_total"], second["accepted_total"]) == (2, 1)
