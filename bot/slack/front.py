"""The way in by HTTP: size, encoding, signature and shape are checked before Bolt parses anything.

This file collects a body, verifies its signature, and reads it.
"""

import asyncio
import hmac
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import structlog
from aiohttp import StreamReader, web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.async_app import AsyncApp
from slack_sdk.signature import SignatureVerifier

from bot.metrics import Metrics
from bot.slack.bolt import dispatch
from bot.slack.connections import BODY_WITHIN, connection_of, watched
from bot.slack.install import Install
from bot.slack.pages import INSTALL_PATH, REDIRECT_PATH
from bot.slack.payloads import MalformedRequestError, Payload, parse_body

_log = structlog.get_logger(__name__)

PATH = "/slack/events"

LARGEST_BODY = 1024 * 1024
"""Bytes. 40,000 emoji, percent-encoded, are 480,000."""

MOST_HELD = 16 * 1024 * 1024
"""Bytes of bodies that are still arriving, over all connections."""

OLDEST = 300
"""Seconds by which a timestamp may differ from this machine's clock, as Slack recommends."""

_WRONG = "The signature is missing or wrong."
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_LONGEST_SSL_CHECK = 1000

Ready = Callable[[], Awaitable[dict[str, bool | str]]]
"""What serving depends on, by name: whether it is there, or words beside that."""


def http_application(
    bolt: AsyncApp,
    signing_secret: str | None,
    ready: Ready,
    metrics: Metrics,
    install: Install | None = None,
) -> web.Application:
    """Return the aiohttp application that serves Bolt over HTTP, and the health pages.

    Without a signing secret (Socket Mode) there is nothing to receive over HTTP, and only the
    health pages are served. `install` adds the two addresses of an installation by OAuth.
    """
    application = pages(ready)
    if install is not None:
        application.router.add_get(INSTALL_PATH, install.begin, allow_head=False)
        application.router.add_get(REDIRECT_PATH, install.end, allow_head=False)
    if signing_secret is not None:
        front = Front(bolt, SignatureVerifier(signing_secret), metrics)
        application.router.add_post(PATH, front.receive)
        application.router.add_get(PATH, front.receive, allow_head=False)  # Slack's ssl_check
    return application


def pages(ready: Ready) -> web.Application:
    """Return an aiohttp application with the health pages alone."""
    application = web.Application(middlewares=[watched])
    application.router.add_get("/healthz", _healthz)
    application.router.add_get("/readyz", _readyz(ready))
    return application


class Front:
    """Receives Slack's requests.

    What is sound goes to Bolt parsed already, as it does with Socket Mode.
    """

    def __init__(self, bolt: AsyncApp, verifier: SignatureVerifier, metrics: Metrics) -> None:
        self._bolt = bolt
        self._metrics = metrics
        self._verifier = verifier
        self._bodies = UnverifiedBodies()

    async def receive(self, request: web.Request) -> web.Response:
        """Answer what is not Slack's with 413, 400, 401 or 503; hand the rest to Bolt."""
        connection = connection_of(request)
        try:
            body = await self._body(request)
            if connection is not None:
                connection.received()
            if is_ssl_check(request.query_string, body):
                return web.Response()
            self._verify(request, body)
            if connection is not None:
                connection.trust()
            payload = _payload(request, body)
        except _RefusedError as refused:
            _log.warning("request_refused", status=refused.status, reason=str(refused))
            return refused.response()
        with self._metrics.acknowledging("http"):
            return await to_aiohttp_response(await dispatch(self._bolt, payload))

    async def _body(self, request: web.Request) -> str:
        body = await self._bodies.read(request)
        try:
            return body.decode()
        except UnicodeDecodeError:
            raise _RefusedError(400, "The body is not UTF-8.") from None

    def _verify(self, request: web.Request, body: str) -> None:
        if why := why_not_slacks(self._verifier, body, request.headers):
            raise _RefusedError(401, why)


def _payload(request: web.Request, body: str) -> Payload:
    try:
        return parse_body(body, request.content_type)
    except MalformedRequestError as error:
        raise _RefusedError(400, f"The body is malformed: {error}.") from None


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self._headers = headers

    def response(self) -> web.Response:
        return web.Response(status=self.status, text=str(self), headers=self._headers)


def is_ssl_check(query: str, body: str) -> bool:
    """Say whether this is Slack's check of the certificate: ssl_check=1, at most with a token."""
    if len(query) + len(body) > _LONGEST_SSL_CHECK or "ssl_check" not in query + body:
        return False
    fields = [field for part in (query, body) for field in parse_qsl(part, keep_blank_values=True)]
    return ("ssl_check", "1") in fields and sorted(name for name, _ in fields) in (
        ["ssl_check"],
        ["ssl_check", "token"],
    )


async def _healthz(_request: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


def _readyz(ready: Ready) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def readyz(_request: web.Request) -> web.Response:
        checks = await ready()
        is_ready = False not in checks.values()
        return web.json_response(
            {"status": "ready" if is_ready else "not ready", **checks},
            status=200 if is_ready else 503,
        )

    return readyz


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

    Beyond that it refuses the one that announces the most, of equal ones the youngest. So bodies of
    a megabyte that never end keep no command out.

    `read` raises _RefusedError for a body that is too large, that breaks off, or has no room.
    """

    def __init__(self, most: int = MOST_HELD) -> None:
        self._most = most
        self._held = 0
        self._arriving: dict[_Arriving, None] = {}

    async def read(self, request: web.Request) -> bytes:
        """Return a request's body. Nothing keeps it: neither the request nor what is raised."""
        announced = request.content_length
        if (announced or 0) > LARGEST_BODY:
            raise _too_large()
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
            raise (_no_room() if waiting.expired() else _broken_off()) from None

    async def _arrive(self, content: StreamReader, body: _Arriving) -> bytes:
        self._arriving[body] = None
        try:
            while chunk := await content.readany():
                self._hold(body, chunk)
            if body not in self._arriving:  # another body took its room just now
                raise _no_room()
            return bytes(body.held)
        finally:
            self._let_go(body)

    def _hold(self, body: _Arriving, chunk: bytes) -> None:
        if body not in self._arriving:
            raise _no_room()
        body.held += chunk
        self._held += len(chunk)
        if len(body.held) > LARGEST_BODY:
            raise _too_large()
        while self._held > self._most:
            largest = max(reversed(self._arriving), key=lambda one: one.size)
            self._let_go(largest)
            if largest is body:
                raise _no_room()
            largest.waiting.reschedule(0)

    def _let_go(self, body: _Arriving) -> None:
        if body in self._arriving:
            del self._arriving[body]
            self._held -= len(body.held)
        body.held.clear()


def _too_large() -> _RefusedError:
    return _RefusedError(413, f"The body is larger than {LARGEST_BODY} bytes.")


def _no_room() -> _RefusedError:
    # What is arriving now has arrived by then, or is gone.
    later = {"Retry-After": f"{BODY_WITHIN:.0f}"}
    return _RefusedError(503, "Too many bodies are arriving at the same time.", later)


def _broken_off() -> _RefusedError:
    why = f"The body broke off, took over {BODY_WITHIN:g} s, or is not what its headers say."
    return _RefusedError(400, why)


def why_not_slacks(
    verifier: SignatureVerifier, body: str, headers: Mapping[str, str]
) -> str | None:
    """Say in a sentence why a request is not Slack's; None when it is."""
    timestamp = headers.get("X-Slack-Request-Timestamp", "")
    signature = headers.get("X-Slack-Signature", "")
    if not _TIMESTAMP.fullmatch(timestamp):
        return _WRONG
    expected = verifier.generate_signature(timestamp=timestamp, body=body) or ""
    if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
        return _WRONG
    return why_out_of_time(int(timestamp), time.time())


def why_out_of_time(timestamp: int, now: float) -> str | None:
    """Say what a signed timestamp that is far from `now` tells of this machine's clock. Pure."""
    ahead = round(now - timestamp)
    if abs(ahead) <= OLDEST:
        return None
    if ahead > 0:
        return (
            f"The signature is right, but its timestamp is {ahead} s older than this machine's "
            f"clock says. The clock is {ahead} s ahead, or the request comes late or again."
        )
    return (
        f"The signature is right, but its timestamp is {-ahead} s later than this machine's "
        f"clock says. The clock is {-ahead} s behind."
    )
