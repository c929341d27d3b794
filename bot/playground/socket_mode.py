"""Slack's end of Socket Mode.

It has the open websockets, sends each envelope to one of them, and can break a connection.
"""

import asyncio
import itertools
import json
import secrets
from typing import Any

import aiohttp
from aiohttp import web

REPEAT_AFTER = 1.0
"""Seconds without an acknowledgement after which an envelope is sent again, to the next
connection.
"""


class Connection:
    """One websocket that the bot opened."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self._socket = socket
        self._transport = transport
        self.alive = True

    async def send(self, message: dict[str, Any]) -> None:
        if self.alive:
            await self._socket.send_json(message)

    def drop(self) -> None:
        """Break the connection without a word."""
        self.alive = False
        self._transport.abort()

    def freeze(self) -> None:
        """Leave it half-open.

        The connection stays open, but nothing is read or answered any more, not even a ping.
        """
        self.alive = False
        self._transport.pause_reading()

    async def refresh(self) -> None:
        """Ask for another connection in this one's place, as Slack does every few hours."""
        await self.send(
            {
                "type": "disconnect",
                "reason": "refresh_requested",
                "debug_info": {"host": "playground"},
            }
        )


class Sockets:
    """All websockets that the bot has open; Slack does not know which are half-open.

    `connected` is set when the first has been opened. An address opens one websocket, once:
    `ticket`.
    """

    def __init__(self) -> None:
        self.open: list[Connection] = []
        self.opened = 0
        self.connected = asyncio.Event()
        self._tickets: set[str] = set()
        self._acks: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._turn = itertools.count()

    def ticket(self) -> str:
        ticket = secrets.token_hex(8)
        self._tickets.add(ticket)
        return ticket

    async def send(
        self, kind: str, payload: dict[str, Any], envelope_id: str | None = None
    ) -> dict[str, Any]:
        """Send an envelope until it is acknowledged; return the acknowledgement's payload."""
        envelope = envelope_id or secrets.token_hex(16)
        acknowledged = self._acks[envelope] = asyncio.get_running_loop().create_future()
        message = {
            "type": kind,
            "envelope_id": envelope,
            "accepts_response_payload": True,
            "payload": payload,
        }
        for attempt in itertools.count():
            if self.open:
                connection = self.open[next(self._turn) % len(self.open)]
                await connection.send(message | ({"retry_attempt": attempt} if attempt else {}))
            done, _ = await asyncio.wait([acknowledged], timeout=REPEAT_AFTER)
            if done:
                break
        answer: dict[str, Any] = acknowledged.result()
        return answer

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one websocket until it ends."""
        socket = web.WebSocketResponse()
        ticket = request.match_info["id"]
        if ticket not in self._tickets:
            raise web.HTTPForbidden(text="The address was used before.")
        self._tickets.remove(ticket)
        await socket.prepare(request)
        await socket.send_json(
            {
                "type": "hello",
                "num_connections": len(self.open) + 1,
                "connection_info": {"app_id": "A0"},
            }
        )
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            return socket  # gone already
        connection = Connection(socket, transport)
        self.open.append(connection)
        self.opened += 1
        self.connected.set()
        try:
            async for frame in socket:
                if frame.type is aiohttp.WSMsgType.TEXT and frame.data.startswith("{"):
                    self._acknowledged(json.loads(frame.data))
        finally:
            self.open.remove(connection)
        return socket

    def _acknowledged(self, answer: dict[str, Any]) -> None:
        waiting = self._acks.pop(answer.get("envelope_id", ""), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer.get("payload") or {})
