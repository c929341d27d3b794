"""The HTTP front: size, encoding, signature and shape are checked before Bolt parses anything."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.async_app import AsyncApp
from slack_sdk.signature import SignatureVerifier

from bot.slack.bolt import dispatch
from bot.slack.payloads import MalformedRequestError, parse_body

_log = structlog.get_logger(__name__)

PATH = "/slack/events"
LARGEST_BODY = 1024 * 1024
"""Bytes. 40,000 emoji, percent-encoded, are 480,000."""

_TIMESTAMP = re.compile(r"[0-9]{1,12}")

Ready = Callable[[], Awaitable[dict[str, bool | str]]]
"""What serving depends on, by name: whether it is there, or words beside that."""


def http_application(bolt: AsyncApp, signing_secret: str | None, ready: Ready) -> web.Application:
    """Return the aiohttp application that Bolt is reached by over HTTP, with the health pages beside.

    Without a signing secret (Socket Mode) there is nothing to receive over HTTP, and only the health pages are served.
    """
    application = web.Application(client_max_size=LARGEST_BODY)
    application.router.add_get("/healthz", _healthz)
    application.router.add_get("/readyz", _readyz(ready))
    if signing_secret is not None:
        application.router.add_post(PATH, Front(bolt, SignatureVerifier(signing_secret)).receive)
    return application


class Front:
    """Receives Slack's requests. What is sound goes to Bolt parsed already, as it does with Socket Mode."""

    def __init__(self, bolt: AsyncApp, verifier: SignatureVerifier) -> None:
        self._bolt = bolt
        self._verifier = verifier

    async def receive(self, request: web.Request) -> web.Response:
        """Answer what is not Slack's with 413, 400 or 401; hand the rest to Bolt."""
        try:
            body = await self._sound_body(request)
        except _RefusedError as refused:
            _log.warning("request_refused", status=refused.status, reason=str(refused))
            return web.Response(status=refused.status, text=str(refused))
        return await to_aiohttp_response(await dispatch(self._bolt, body))

    async def _sound_body(self, request: web.Request) -> dict[str, Any]:
        if (request.content_length or 0) > LARGEST_BODY:
            raise _RefusedError(413, f"The body is larger than {LARGEST_BODY} bytes.")
        try:
            body = (await request.read()).decode()
        except web.HTTPRequestEntityTooLarge:
            raise _RefusedError(413, f"The body is larger than {LARGEST_BODY} bytes.") from None
        except (ConnectionError, web.RequestPayloadError):
            raise _RefusedError(400, "The body broke off, or is not what its headers say.") from None
        except UnicodeDecodeError:
            raise _RefusedError(400, "The body is not UTF-8.") from None
        if not _is_signed(self._verifier, body, request):
            raise _RefusedError(401, "The signature is missing, wrong, or older than 5 minutes.")
        try:
            return parse_body(body, request.content_type)
        except MalformedRequestError as error:
            raise _RefusedError(400, f"The body is malformed: {error}.") from None


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def _is_signed(verifier: SignatureVerifier, body: str, request: web.Request) -> bool:
    timestamp = request.headers.get("X-Slack-Request-Timestamp", "")
    signature = request.headers.get("X-Slack-Signature", "")
    return (
        bool(_TIMESTAMP.fullmatch(timestamp)) and signature.isascii() and verifier.is_valid(body, timestamp, signature)
    )


async def _healthz(_request: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


def _readyz(ready: Ready) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def readyz(_request: web.Request) -> web.Response:
        checks = await ready()
        is_ready = False not in checks.values()
        return web.json_response(
            {"status": "ready" if is_ready else "not ready", **checks}, status=200 if is_ready else 503
        )

    return readyz
