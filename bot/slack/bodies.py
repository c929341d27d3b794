"""Bodies of requests that are not verified yet: how large, and how much of them is held."""

import asyncio
from dataclasses import dataclass, field

from aiohttp import StreamReader, web

LARGEST_BODY = 1024 * 1024
"""Bytes. 40,000 emoji, percent-encoded, are 480,000."""

MOST_HELD = 16 * 1024 * 1024
"""Bytes of bodies that are still arriving, over all connections."""


class TooLargeError(Exception):
    """A body, or what its headers announce, is larger than LARGEST_BODY."""


class BrokenOffError(Exception):
    """The sender went away in the middle of a body, or it is not what its headers say."""


class NoRoomError(Exception):
    """Too much of other bodies is held."""


@dataclass(eq=False)
class _Arriving:
    """A body of which a part is here."""

    announced: int
    waiting: asyncio.Timeout
    held: bytearray = field(default_factory=bytearray)

    @property
    def size(self) -> int:
        return max(self.announced, len(self.held))


class UnverifiedBodies:
    """Reads bodies, of which it holds at most `most` bytes together.

    Beyond that the one that announces the most gives way, of equal ones the youngest. So bodies of
    a megabyte that never end keep no command out.
    """

    def __init__(self, most: int = MOST_HELD) -> None:
        self._most = most
        self._held = 0
        self._arriving: dict[_Arriving, None] = {}

    async def read(self, request: web.Request) -> bytes:
        """Return a request's body. Nothing keeps it: neither the request nor what is raised."""
        announced = request.content_length
        if (announced or 0) > LARGEST_BODY:
            raise TooLargeError
        waiting = asyncio.timeout(None)
        try:
            if request.content.is_eof():  # as mostly: it came with the headers, in a few reads
                return await request.content.readany()
            async with waiting:
                body = _Arriving(announced or LARGEST_BODY, waiting)
                return await self._arrive(request.content, body)
        except (OSError, web.RequestPayloadError) as error:
            # The request keeps this error, and its traceback the frames: a cycle, rarely collected.
            error.__traceback__ = error.__cause__ = error.__context__ = None
            raise (NoRoomError if waiting.expired() else BrokenOffError) from None

    async def _arrive(self, content: StreamReader, body: _Arriving) -> bytes:
        self._arriving[body] = None
        try:
            while chunk := await content.readany():
                self._hold(body, chunk)
            if body not in self._arriving:  # another one took its room in this very moment
                raise NoRoomError
            return bytes(body.held)
        finally:
            self._let_go(body)

    def _hold(self, body: _Arriving, chunk: bytes) -> None:
        if body not in self._arriving:
            raise NoRoomError
        body.held += chunk
        self._held += len(chunk)
        if len(body.held) > LARGEST_BODY:
            raise TooLargeError
        while self._held > self._most:
            largest = max(reversed(self._arriving), key=lambda one: one.size)
            self._let_go(largest)
            if largest is body:
                raise NoRoomError
            largest.waiting.reschedule(0)

    def _let_go(self, body: _Arriving) -> None:
        if body in self._arriving:
            del self._arriving[body]
            self._held -= len(body.held)
        body.held.clear()
