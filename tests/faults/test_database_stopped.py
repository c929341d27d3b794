"""PostgreSQL stops, crashes, or stands still for a while, and comes back."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from faults.audit import AtOnce
from faults.bench import Bench
from faults.forms import forms
from faults.server import Server, own_server
from support.programs import until

SLACK_WAITS = 3.0


@pytest.fixture
def server() -> Iterator[Server]:
    with own_server() as running:
        yield running


@pytest.fixture
def url(server: Server) -> str:
    """In the place of the usual database."""
    return server.url


@forms("mode, seconds", short=[("fast", 3.0)], long=[("fast", 20.0), ("immediate", 20.0)])
async def test_a_database_that_is_stopped_for_a_while(
    bench: Bench, server: Server, mode: str, seconds: float
) -> None:
    bench.leadsquared.jitter = 1.0
    await bench.start()
    await bench.type_all(12)
    await until(lambda: bench.leadsquared.posts)
    async with bench.people_typing():
        await asyncio.to_thread(server.stop, mode)
        try:
            await nothing_is_taken(bench, {AtOnce.REFUSED}, seconds)
        finally:
            await asyncio.to_thread(server.start)
        await until_taken(bench)
    await bench.rest()
    bench.audit()


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="a server's processes are found as on Linux"
)
@forms("seconds", short=[3.0], long=[20.0])
async def test_a_database_that_stands_still_for_a_while(
    bench: Bench, server: Server, seconds: float
) -> None:
    bench.leadsquared.jitter = 1.0
    await bench.start()
    await bench.type_all(12)
    await until(lambda: bench.leadsquared.posts)
    async with bench.people_typing():
        with frozen(server):
            await nothing_is_taken(bench, {AtOnce.REFUSED, AtOnce.UNSURE}, seconds)
        await until_taken(bench)
    await bench.rest()
    bench.audit()


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    server.freeze()
    try:
        yield
    finally:
        server.thaw()


async def nothing_is_taken(bench: Bench, told: set[AtOnce], seconds: float) -> None:
    """Type for so many seconds; each is told in time that it was not taken."""
    until_then = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until_then:
        for typed in await bench.type_all(3):
            assert typed.at_once in told
            assert typed.ended - typed.began < SLACK_WAITS
        await asyncio.sleep(0.1)


async def until_taken(bench: Bench) -> None:
    """Wait until a command is accepted again: the bot goes on automatically."""
    async with asyncio.timeout(10):
        while (await bench.type("1000")).at_once is not AtOnce.ACKNOWLEDGED:
            await asyncio.sleep(0.1)
