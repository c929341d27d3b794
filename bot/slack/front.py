"""The HTTP front: size, encoding, signature and shape are checked before Bolt parses anything."""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl

import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.async_app import AsyncApp
from slack_sdk.signature import SignatureVerifier

from bot.slack.bodies import (
    LARGEST_BODY,
    BrokenOffError,
    NoRoomError,
    TooLargeError,
    UnverifiedBodies,
)
from bot.slack.bolt import dispatch
from bot.slack.connections import BODY_WITHIN, connection_of, watched
from bot.slack.install import Install
from bot.slack.pages import INSTALL_PATH, REDIRECT_PATH
from bot.slack.payloads import MalformedRequestError, Payload, parse_body
from bot.slack.signatures import why_not_slacks

_log = structlog.get_logger(__name__)

PATH = "/slack/events"

_LONGEST_SSL_CHECK = 1000

Ready = Callable[[], Awaitable[dict[str, bool | str]]]
"""What serving depends on, by name: whether it is there, or words beside that."""


def http_application(
    bolt: AsyncApp, signing_secret: str | None, ready: Ready, install: Install | None = None
) -> web.Application:
    """Return the aiohttp application that serves Bolt over HTTP, and the health pages.

    Without a signing secret (Socket Mode) there is nothing to receive over HTTP, and only the
    health pages are served. `install` adds the two addresses of an installation by OAuth.
    """
    application = web.Application(middlewares=[watched])
    application.router.add_get("/healthz", _healthz)
    application.router.add_get("/readyz", _readyz(ready))
    if install is not None:
        application.router.add_get(INSTALL_PATH, install.begin, allow_head=False)
        application.router.add_get(REDIRECT_PATH, install.end, allow_head=False)
    if signing_secret is not None:
        front = Front(bolt, SignatureVerifier(signing_secret))
        application.router.add_post(PATH, front.receive)
        application.router.add_get(PATH, front.receive, allow_head=False)  # Slack's ssl_check
    return application


class Front:
    """Receives Slack's requests.

    What is sound goes to Bolt parsed already, as it does with Socket Mode.
    """

    def __init__(self, bolt: AsyncApp, verifier: SignatureVerifier) -> None:
        self._bolt = bolt
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
        return await to_aiohttp_response(await dispatch(self._bolt, payload))

    async def _body(self, request: web.Request) -> str:
        try:
            body = await self._bodies.read(request)
        except TooLargeError:
            raise _RefusedError(413, f"The body is larger than {LARGEST_BODY} bytes.") from None
        except NoRoomError:
            why = "Too many bodies are arriving at the same time."
            raise _RefusedError(503, why, _LATER) from None
        except BrokenOffError:
            raise _RefusedError(400, _BROKEN_OFF) from None
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


_BROKEN_OFF = f"The body broke off, took over {BODY_WITHIN:g} s, or is not what its headers say."
_LATER = {"Retry-After": f"{BODY_WITHIN:.0f}"}
"""What is arriving now has arrived by then, or is gone."""


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self._headers = headers

    def response(self) -> web.Response:
        return web.Response(status=self.status, text=str(self), headers=self._headers)


def is_ssl_check(query: str, body: str) -> bool:
    """Say whether this is Slack's look at the certificate: ssl_check=1, at most with a token."""
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
