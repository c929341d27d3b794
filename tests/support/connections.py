"""Connections by which anything can be sent."""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Self


@dataclass(eq=False)
class Client:
    """A connection, by which anything can be sent."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def to(cls, address: tuple[str, int], begun: bytes = b"") -> Self:
        client = cls(*await asyncio.open_connection(*address))
        client.writer.write(begun)
        return client

    async def answer(self) -> bytes:
        """Return the next answer without its body, which is read as well."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        await self.reader.readexactly(int(length[1]))
        return head

    async def closed(self, within: float) -> float:
        """Wait until the bot closes the connection; return after how many seconds it did."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(within):
                while await self.reader.read(65536):
                    pass
        except ConnectionError:
            pass
        return time.monotonic() - began

    async def trickle(self) -> None:
        """Send a byte now and then, until the connection is closed."""
        while not self.writer.transport.is_closing():
            self.writer.write(b"x")
            await asyncio.sleep(0.2)

    def close(self) -> None:
        self.writer.transport.abort()
