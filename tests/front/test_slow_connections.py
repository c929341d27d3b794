"""Connections that send slowly or nothing are closed in time, and give way to new ones.

`tests/processes/test_fuzz.py` has 1,500 of them beside a served process.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from bot.slack.connections import (
    BODY_WITHIN,
    HEADERS_WITHIN,
    LINGER,
    Connections,
    connection_of,
    watched,
)
from support.connections import Client
from support.running import Bot

LATE = 1.0
"""Seconds by which a busy machine may be late."""

HEADER = b"POST /slack/events HTTP/1.1\r\nHost: x\r\nX-Slow: "
BODY = b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"
CHUNKED = b"POST /slack/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\nabc"
NOT_FOUND = b"POST /elsewhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"
TOO_LARGE = b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\nabc"
PAGE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SIGNED = b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: x\r\n\r\n"
HEALTHY = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


Dial = Callable[..., Awaitable[Client]]


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Open connections, which are closed at the end."""
    clients: list[Client] = []

    async def open_one(address: tuple[str, int], begun: bytes = b"") -> Client:
        clients.append(await Client.to(address, begun))
        return clients[-1]

    yield open_one
    for client in clients:
        client.close()


def address_of(bot: Bot) -> tuple[str, int]:
    return "127.0.0.1", bot.process.port or 0


UNFINISHED = {
    "nothing": (b"", HEADERS_WITHIN),
    "a header": (HEADER, HEADERS_WITHIN),
    "a body": (BODY, BODY_WITHIN),
    "a body of no named length": (CHUNKED, BODY_WITHIN),
    "a body for nobody": (NOT_FOUND, LINGER),
    "a body that is refused": (TOO_LARGE, LINGER),
}


async def test_what_is_not_finished_is_closed_in_time(bot: Bot, dial: Dial) -> None:
    async def times(begun: bytes) -> tuple[float, float]:
        silent, slow = [await dial(address_of(bot), begun) for _ in range(2)]
        trickling = asyncio.create_task(slow.trickle() if begun else asyncio.sleep(0))
        took = await asyncio.gather(silent.closed(20), slow.closed(20))
        trickling.cancel()
        return took

    all_times = await asyncio.gather(*(times(begun) for begun, _ in UNFINISHED.values()))
    for (name, (_, most)), took in zip(UNFINISHED.items(), all_times, strict=True):
        assert most - LATE <= min(took), name
        assert max(took) <= most + LATE, name


@pytest.mark.parametrize("before", [b"", HEALTHY, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_endless_headers_are_not_collected(bot: Bot, dial: Dial, before: bytes) -> None:
    client = await dial(address_of(bot), before + HEADER[:-8])
    client.writer.write(b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1000) for number in range(100)))
    assert await client.closed(20) < HEADERS_WITHIN - LATE


async def test_a_second_request_has_as_long_for_its_headers(bot: Bot, dial: Dial) -> None:
    client = await dial(address_of(bot), HEALTHY)
    assert (await client.answer()).startswith(b"HTTP/1.1 200")
    client.writer.write(HEADER)
    assert await client.closed(20) <= HEADERS_WITHIN + LATE


async def test_an_idle_connection_outlasts_what_a_request_may_take(
    bot: Bot, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = HEADERS_WITHIN / 5
    for name in ("HEADERS_WITHIN", "BODY_WITHIN", "LINGER"):
        monkeypatch.setattr(f"bot.slack.connections.{name}", short)
    client = await dial(address_of(bot), HEALTHY)
    await client.answer()
    with pytest.raises(TimeoutError):
        await client.closed(2 * short + LATE)
    client.writer.write(HEALTHY)
    assert (await client.answer()).startswith(b"HTTP/1.1 200")
    client.close()


# -- the bound alone


@asynccontextmanager
async def bounded(most: int, finish: asyncio.Event | None = None) -> AsyncIterator[tuple[str, int]]:
    """Serve a page behind a bound. `Authorization` counts as signed, and waits for `finish`."""

    async def page(request: web.Request) -> web.Response:
        connection = connection_of(request)
        assert connection is not None
        if "Authorization" in request.headers:
            connection.trust()
            if finish is not None:
                await finish.wait()
        return web.Response(text="here")

    application = web.Application(middlewares=[watched])
    application.router.add_get("/", page)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    assert runner.server is not None
    connections = Connections(runner.server, most)
    server = await asyncio.get_running_loop().create_server(connections, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await runner.cleanup()


async def test_a_new_connection_takes_the_place_of_the_one_that_waits_longest(dial: Dial) -> None:
    async with bounded(3) as address:
        signed = await dial(address, SIGNED)
        await signed.answer()
        idle = await dial(address, PAGE)
        await idle.answer()
        slow = await dial(address, HEADER)
        for oldest in (idle, slow):
            newest = await dial(address, PAGE)
            await oldest.closed(HEADERS_WITHIN - LATE)
            assert (await newest.answer()).startswith(b"HTTP/1.1 200")
        signed.writer.write(SIGNED)
        assert (await signed.answer()).startswith(b"HTTP/1.1 200")


async def test_where_all_are_slacks_the_one_that_is_idle_longest_gives_way(dial: Dial) -> None:
    async with bounded(2) as address:
        first, second = [await dial(address, SIGNED) for _ in range(2)]
        await second.answer()
        await first.answer()
        first.writer.write(SIGNED)
        await first.answer()
        third = await dial(address, SIGNED)
        await third.answer()
        await second.closed(HEADERS_WITHIN - LATE)
        first.writer.write(SIGNED)
        assert (await first.answer()).startswith(b"HTTP/1.1 200")


async def test_a_request_that_is_being_answered_is_not_given_up(dial: Dial) -> None:
    finish = asyncio.Event()
    async with bounded(1, finish) as address:
        busy = await dial(address, SIGNED)
        refused = await dial(address)
        await refused.closed(HEADERS_WITHIN - LATE)
        finish.set()
        assert (await busy.answer()).startswith(b"HTTP/1.1 200")
