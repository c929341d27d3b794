"""A stand-in for a proxy that pools transactions.

A session of the server's is lent for one transaction only.

Like PgBouncer in that mode it refuses start-up parameters that it does not know; notifications
reach the client that has the session just then.
"""

import asyncio
import struct
import threading
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

KNOWN = {
    "user",
    "database",
    "application_name",
    "client_encoding",
    "extra_float_digits",
    "DateStyle",
    "TimeZone",
}
SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
SESSIONS = 2


class Session:
    """A connection to the server, and the client that it is lent to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.client: asyncio.StreamWriter | None = None
        self.greeting = b""


class PoolingProxy:
    """Serves any number of clients with a few sessions, another for each transaction."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url)
        self._sessions: list[Session] = []
        self._free: deque[Session] = deque()
        self._freed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self.transactions = 0
        # The next commit of a transaction that says this is carried out, and its answer is lost.
        self.loses = b""
        self.port = 0

    @property
    def url(self) -> str:
        return f"postgresql://{self._server.username}@127.0.0.1:{self.port}{self._server.path}"

    async def open_sessions(self) -> None:
        for _ in range(SESSIONS):
            session = Session(
                *await asyncio.open_connection(self._server.hostname, self._server.port)
            )
            names = {"user": self._server.username, "database": self._server.path[1:]}
            words = b"".join(f"{name}\0{value}\0".encode() for name, value in names.items()) + b"\0"
            session.writer.write(struct.pack("!ii", len(words) + 8, 196608) + words)
            while True:
                kind, message = await _message(session.reader)
                session.greeting += message
                if kind == b"Z":
                    break
            self._sessions.append(session)
            self._free.append(session)
            task = asyncio.create_task(self._answer(session))
            self._tasks.add(task)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        lent: Session | None = None
        doomed = False
        try:
            if not await self._greet(reader, writer):
                return
            while True:
                kind, message = await _message(reader)
                if kind == b"X":
                    return
                if lent is None or lent.client is not writer:
                    lent = await self._lend(writer)
                doomed = doomed or bool(self.loses and self.loses in message)
                if doomed and b"COMMIT" in message:
                    self.loses, lent.client = b"", None
                    lent.writer.write(message)
                    return
                lent.writer.write(message)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            with suppress(ConnectionError):
                writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        while True:
            (length,) = struct.unpack("!i", await reader.readexactly(4))
            body = await reader.readexactly(length - 4)
            (code,) = struct.unpack("!i", body[:4])
            if code not in (SSL_REQUEST, GSS_REQUEST):
                break
            writer.write(b"N")
        names = set(body[4:].rstrip(b"\0").decode().split("\0")[::2])
        if unknown := names - KNOWN:
            fault = f"SFATAL\0C08P01\0Munsupported startup parameter: {unknown}\0\0".encode()
            writer.write(b"E" + struct.pack("!i", len(fault) + 4) + fault)
            return False
        writer.write((await self._any()).greeting)
        return True

    async def _any(self) -> Session:
        async with self._freed:
            await self._freed.wait_for(lambda: self._free)
            return self._free[0]

    async def _lend(self, client: asyncio.StreamWriter) -> Session:
        async with self._freed:
            await self._freed.wait_for(lambda: self._free)
            session = self._free.popleft()
        session.client = client
        self.transactions += 1
        return session

    async def _answer(self, session: Session) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, message = await _message(session.reader)
                client = session.client
                done = kind == b"Z" and message[5:6] == b"I"
                if done:
                    session.client = None
                    async with self._freed:
                        self._free.append(session)
                        self._freed.notify_all()
                if client is not None:
                    client.write(message)

    async def close(self) -> None:
        tasks = [task for task in self._tasks if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in self._sessions:
            session.writer.close()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)


@contextmanager
def pooling_proxy(url: str) -> Iterator[PoolingProxy]:
    """Stand in front of the server of a database's URL, in a thread of its own."""
    proxy = PoolingProxy(url)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(10)

    try:
        run(proxy.open_sessions())
        server = run(asyncio.start_server(proxy.serve, "127.0.0.1", 0))
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy
        loop.call_soon_threadsafe(server.close)
        run(proxy.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
