"""Socket Mode over several websockets.

Each is watched, and replaced when it is gone or silent.
"""

import asyncio
import contextlib
import logging
import time

import aiohttp
import structlog
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.adapter.socket_mode.async_internals import send_async_response
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

from bot.backoff import Backoff
from bot.logs import SOCKET_LOGGER
from bot.metrics import Metrics
from bot.slack.bolt import dispatch
from bot.slack.payloads import MalformedRequestError, read_payload

_log = structlog.get_logger(__name__)

PING = 4.0
"""Seconds between pings. A websocket that does not answer one within half of that is closed."""

CHECK_EVERY = 0.5
"""Seconds between two checks of a websocket."""

MISSING = 2.0
"""Seconds without a websocket after which the bot replaces it.

When Slack asks for another one, Slack's client replaces it automatically.
"""

CONNECT_WITHIN = 10.0
CLOSE_WITHIN = 2.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0


class SocketMode:
    """Keeps `connections` websockets to Slack open. Slack sends each envelope to one of them.

    Slack's own client speaks the protocol; but it gives a lost websocket up only after minutes,
    and tries an address again that was good for once. So each is watched from outside, and a
    client that has none is replaced by a new one.
    """

    def __init__(
        self,
        bolt: AsyncApp,
        token: str,
        client: AsyncWebClient,
        metrics: Metrics,
        *,
        connections: int,
    ) -> None:
        self._metrics = metrics
        self._bolt = bolt
        self._token = token
        self._client = client
        self._handlers: list[AsyncSocketModeHandler | None] = [None] * connections

    async def run(self) -> None:
        """Hold the websockets until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(len(self._handlers)):
                group.create_task(self._hold(number))

    async def connected(self) -> bool:
        """Say whether Slack can reach the bot: one websocket is enough."""
        return any(
            [
                await handler.client.is_connected()
                for handler in self._handlers
                if handler is not None
            ]
        )

    async def close(self) -> None:
        """Close them all. `run` must have been cancelled."""
        await asyncio.gather(
            *(_close(handler) for handler in self._handlers if handler is not None)
        )
        self._handlers = [None] * len(self._handlers)

    async def _hold(self, number: int) -> None:
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        fix = {"fix": "python -m bot check"}  # said the first time only
        while True:
            handler = self._handlers[number] = self._new_handler()
            try:
                async with asyncio.timeout(CONNECT_WITHIN):
                    # Asked for here: `connect` would repeat the call, and hide the reason.
                    handler.client.wss_uri = await handler.client.issue_new_wss_url()
                    await handler.connect_async()  # type: ignore[no-untyped-call]
            except SlackApiError as error:
                _log.error(
                    "socket_mode_refused",
                    connection=number,
                    reason=error.response.get("error"),
                    **fix,
                )
                fix = {}
            except Exception as error:  # noqa: BLE001 - a new client tries next
                _log.warning(
                    "socket_mode_not_connected", connection=number, reason=_in_words(error), **fix
                )
                fix = {}
            else:
                _log.info("socket_mode_connected", connection=number)
                self._metrics.websocket("connected")
                backoff.reset()
                fix = {"fix": "python -m bot check"}
                await _until_missing(handler)
                _log.warning("socket_mode_lost", connection=number)
                self._metrics.websocket("lost")
            self._handlers[number] = None
            await _close(handler)
            await asyncio.sleep(backoff.pause())

    def _new_handler(self) -> AsyncSocketModeHandler:
        handler = _Handler(
            self._bolt,
            self._token,
            logging.getLogger(SOCKET_LOGGER),
            self._client,
            ping_interval=PING,
        )
        handler.metrics = self._metrics
        return handler


class _Handler(AsyncSocketModeHandler):
    """Slack's own, with the way in that HTTP has."""

    metrics: Metrics

    async def handle(  # type: ignore[override]
        self,
        client: SocketModeClient,
        req: SocketModeRequest,
    ) -> None:
        began = time.time()
        try:
            payload = read_payload(req.payload)
        except MalformedRequestError as error:
            # Not acknowledged, as little as by HTTP: in Slack the person reads that it failed.
            _log.warning("request_refused", reason=f"The payload is malformed: {error}.")
            return
        with self.metrics.acknowledging("socket"):
            await send_async_response(client, req, await dispatch(self.app, payload), began)


def _in_words(error: Exception) -> str:
    """Say why Slack was not reached.

    Leave out its address, which may hold a ticket for the websocket.
    """
    match error:
        case TimeoutError():
            return f"Slack did not answer within {CONNECT_WITHIN:g} s"
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} is not known: no network, or SLACK_API_URL is wrong"
        case aiohttp.ClientConnectorError():
            why = error.os_error.strerror or type(error.os_error).__name__
            return f"no connection to {error.host}:{error.port} ({why})"
        case _:
            return type(error).__name__


async def _until_missing(handler: AsyncSocketModeHandler) -> None:
    missing = 0.0
    while missing < MISSING:
        await asyncio.sleep(CHECK_EVERY)
        missing = 0.0 if await handler.client.is_connected() else missing + CHECK_EVERY


async def _close(handler: AsyncSocketModeHandler) -> None:
    # A websocket that is half-open cannot be said goodbye to.
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_WITHIN):
            await handler.close_async()  # type: ignore[no-untyped-call]
            return
    with contextlib.suppress(Exception):
        await handler.client.aiohttp_client_session.close()
