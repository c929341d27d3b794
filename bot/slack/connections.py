"""How long a connection may keep the HTTP server waiting, and how many connections there may be.

aiohttp bounds an idle connection only: not a request that arrives slowly, and not their number.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum
from typing import cast

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

_log = structlog.get_logger(__name__)

HEADERS_WITHIN = 5.0
"""Seconds to the end of the headers: from the connection, or from a later request's first byte."""

BODY_WITHIN = 10.0
"""Seconds from the end of the headers to the end of the body."""

ANSWER_WITHIN = 30.0
"""Seconds to the answer. Slack waits 3 s, Heroku's router 30 s."""

IDLE_FOR = 75.0
"""Seconds that a connection may stay open between two requests."""

MOST = 3000
"""Open connections. 2,000 commands at the same moment have one each."""

READ_SIZE = 16 * 1024
"""Bytes read at a time: what all connections have sent before the front reads it stays small."""

LONGEST_HEAD = 16 * 1024
"""Bytes of a request's line and headers together. Slack's are below 2,000."""

LINGER = 2.0
"""Seconds in which a sender can read why its body was not wanted."""

SAY_AGAIN_AFTER = 60.0
"""Seconds between two warnings that connections are dropped."""


def most_connections() -> int:
    """Return the bound: half of the files that this process may open are for other things.

    The process takes as many files as it needs and the system lets it have: 1,024 is a usual
    default.
    """
    try:
        import resource  # noqa: PLC0415 - Windows has none, and no such limit
    except ImportError:
        return MOST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 2 * MOST:
        wanted = 2 * MOST if hard == resource.RLIM_INFINITY else min(2 * MOST, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else min(MOST, soft // 2)


@asynccontextmanager
async def listening(
    application: web.Application, host: str, port: int, *, shutdown_timeout: float
) -> AsyncIterator[asyncio.Server]:
    """Serve an application whose middlewares have `watched`, with its connections bounded."""
    runner = web.AppRunner(
        application,
        access_log=None,
        shutdown_timeout=shutdown_timeout,
        keepalive_timeout=IDLE_FOR,
        lingering_time=LINGER,
        read_bufsize=READ_SIZE,
        auto_decompress=False,  # Slack compresses nothing
    )
    await runner.setup()
    try:
        assert runner.server is not None  # noqa: S101 - for the type checker
        connections = Connections(runner.server, most_connections())
        server = await asyncio.get_running_loop().create_server(connections, host, port)
        try:
            yield server
        finally:
            server.close()
    finally:
        await runner.cleanup()


class Connections:
    """All connections of a server. At the bound, a new one takes the place of one that waits.

    First of those that brought nothing signed: so Slack's new connections find room, and its idle
    ones stay.
    """

    def __init__(self, server: Callable[[], asyncio.Protocol], most: int) -> None:
        self._server = server
        self._most = most
        self._open: set[Connection] = set()
        # What keeps the server waiting, the longest first.
        self._strangers: OrderedDict[Connection, None] = OrderedDict()
        self._trusted: OrderedDict[Connection, None] = OrderedDict()
        self._buffer = bytearray(READ_SIZE)
        self._dropped = 0
        self._said_at = -SAY_AGAIN_AFTER

    def __call__(self) -> "Connection":
        """Return the protocol of a new connection."""
        return Connection(self, self._server(), self._buffer)

    def opened(self, connection: "Connection") -> None:
        self._open.add(connection)
        if len(self._open) > self._most:
            self._dropped += 1
            self._say()
            next(iter(self._strangers or self._trusted), connection).drop()

    def closed(self, connection: "Connection") -> None:
        self._open.discard(connection)
        self.is_busy(connection)

    def waits_for(self, connection: "Connection", *, trusted: bool) -> None:
        """Put a connection at the end of those that keep the server waiting."""
        self.is_busy(connection)
        if connection in self._open:
            connection.queue = self._trusted if trusted else self._strangers
            connection.queue[connection] = None

    def is_busy(self, connection: "Connection") -> None:
        """Count a connection no more among those that keep the server waiting."""
        if connection.queue is not None:
            del connection.queue[connection]
            connection.queue = None

    def _say(self) -> None:
        if time.monotonic() - self._said_at >= SAY_AGAIN_AFTER:
            self._said_at = time.monotonic()
            _log.warning("connections_dropped", most=self._most, dropped=self._dropped)


class _Stage(Enum):
    IDLE = "between two requests"
    HEADERS = "a request's line and headers are arriving"
    BODY = "its body is arriving"
    ANSWER = "it is being answered"
    UNREAD = "it was answered without its body, which is thrown away"


class Connection(asyncio.BufferedProtocol):
    """Stands between a transport and aiohttp's protocol; drops the connection when time is up."""

    def __init__(self, all_: Connections, inner: asyncio.Protocol, buffer: bytearray) -> None:
        self._connections = all_
        self._inner = inner
        self._buffer = memoryview(buffer)  # shared: it is read in the very call after it was filled
        self._loop = asyncio.get_running_loop()
        self.queue: OrderedDict[Connection, None] | None = None  # where `Connections` has put it
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._stage = _Stage.HEADERS
        self._head = 0  # bytes that are, or may be, of headers that are not complete
        self._end = b""  # the last of them
        self._signed = False

    # -- what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._inner.connection_made(transport)
        self._connections.opened(self)
        self._waits(HEADERS_WITHIN, trusted=False)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._buffer[:nbytes])
        if self._stage is _Stage.UNREAD:
            return
        if self._stage is _Stage.IDLE:
            self._stage = _Stage.HEADERS
            self._waits(HEADERS_WITHIN, trusted=self._signed)
        if self._stage is not _Stage.BODY and not self._has_room_for(data):
            self.drop()
            return
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._connections.closed(self)
        self._inner.connection_lost(exc)

    def _has_room_for(self, data: bytes) -> bool:
        """Count bytes of headers, and what is sent ahead while a request is being answered."""
        self._head += len(data)
        seen = self._end + data
        if self._stage is _Stage.HEADERS and b"\r\n\r\n" in seen:
            # `begun` is called in a moment; until then a body may arrive already.
            self._stage = _Stage.BODY
            return True
        self._end = seen[-3:]
        return self._head <= LONGEST_HEAD

    # -- what the requests on it say

    def begun(self, *, complete: bool) -> None:
        """The headers of a request are there; `complete`: its body as well."""
        self._head, self._end = 0, b""
        if complete:
            self.received()
        else:
            self._stage = _Stage.BODY
            # Through a router, anybody's body may come by a connection that brought Slack's before.
            self._waits(BODY_WITHIN, trusted=False)

    def received(self) -> None:
        """The whole request is there: now the sender waits for this process."""
        self._stage = _Stage.ANSWER
        self._connections.is_busy(self)
        self._within(ANSWER_WITHIN)

    def trust(self) -> None:
        """Slack signed what came: idle, this connection stays when others are dropped."""
        self._signed = True

    def ended(self, *, unread: bool) -> None:
        """The request has its answer; `unread`: the rest of its body is still to come."""
        if unread:
            self._stage = _Stage.UNREAD
        else:
            self._stage = _Stage.HEADERS if self._head else _Stage.IDLE
        seconds = IDLE_FOR if self._stage is _Stage.IDLE else HEADERS_WITHIN
        self._waits(seconds, trusted=self._signed and not unread)

    # -- time

    def drop(self) -> None:
        self._connections.closed(self)
        if self._transport is not None:
            self._transport.abort()

    def _waits(self, seconds: float, *, trusted: bool) -> None:
        self._connections.waits_for(self, trusted=trusted)
        self._within(seconds)

    def _within(self, seconds: float) -> None:
        if self._transport is None:
            return
        self._deadline = self._loop.time() + seconds
        # A timer that fires too early is set again: to move it at each step would cost more.
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._deadline, self._end_or_wait)

    def _end_or_wait(self) -> None:
        if self._loop.time() < self._deadline:
            self._set_timer()
        else:
            self.drop()


def connection_of(request: web.Request) -> Connection | None:
    """Return the connection that a request came by; None when it is gone, or not watched."""
    protocol = None if request.transport is None else request.transport.get_protocol()
    return protocol if isinstance(protocol, Connection) else None


@web.middleware
async def watched(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection where its request stands."""
    connection = connection_of(request)
    if connection is None:
        return await handler(request)
    content = request.content
    connection.begun(complete=content.is_eof())
    response: web.StreamResponse | None = None
    try:
        response = await handler(request)
    except web.HTTPException as refusal:
        response = refusal
        raise
    finally:
        unread = not content.is_eof()
        if unread and response is not None:
            response.force_close()
        connection.ended(unread=unread)
    return response
