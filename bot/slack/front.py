"""The HTTP front: size, encoding, signature and shape are checked before Bolt parses anything."""

import re
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from slack_bolt.async_app import AsyncApp
from slack_sdk.signature import SignatureVerifier

from bot.slack import views
from bot.slack.payloads import MalformedRequestError, check_body

_log = structlog.get_logger(__name__)

PATH = "/slack/events"
LARGEST_BODY = 1024 * 1024
"""Bytes, and aiohttp's own default for a body of unknown length. 40,000 emoji, percent-encoded, are 480,000."""

_TIMESTAMP = re.compile(r"[0-9]{1,12}")

Ready = Callable[[], Awaitable[dict[str, bool]]]


def http_application(bolt: AsyncApp, signing_secret: str | None, ready: Ready) -> web.Application:
    """Return Bolt's own aiohttp application with the guard in front and the health pages beside.

    Without a signing secret (Socket Mode) there is nothing to receive over HTTP, and only the health pages are served.
    """
    if signing_secret is None:
        application = web.Application()
    else:
        application = bolt.server(path=PATH).web_app
        application.middlewares.append(_guard(SignatureVerifier(signing_secret)))
    application.router.add_get("/healthz", _healthz)
    application.router.add_get("/readyz", _readyz(ready))
    return application


def _guard(verifier: SignatureVerifier) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != PATH or request.method != "POST":
            return await handler(request)
        refusal = await _refusal(request, verifier)
        if refusal is not None:
            _log.warning("request_refused", status=refusal.status, reason=refusal.text)
            return refusal
        try:
            return await handler(request)
        except web.HTTPException:
            raise
        except Exception:  # noqa: BLE001 - it is logged, and told
            # A body that Slack signed and Bolt could not take: whoever is behind it reads that nothing was done.
            _log.exception("request_failed")
            return web.json_response({"response_type": "ephemeral", "text": views.broken().text})

    return guard


async def _refusal(request: web.Request, verifier: SignatureVerifier) -> web.Response | None:
    too_large = web.Response(status=413, text=f"The body is larger than {LARGEST_BODY} bytes.")
    if (request.content_length or 0) > LARGEST_BODY:
        return too_large
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return too_large
    try:
        body = raw.decode()
    except UnicodeDecodeError:
        return web.Response(status=400, text="The body is not UTF-8.")
    if not _is_signed(verifier, body, request):
        return web.Response(status=401, text="The signature is missing, wrong, or older than 5 minutes.")
    try:
        check_body(body, request.content_type)
    except MalformedRequestError as error:
        return web.Response(status=400, text=f"The body is malformed: {error}.")
    return None


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
        return web.json_response(
            {"status": "ready" if all(checks.values()) else "not ready", **checks},
            status=200 if all(checks.values()) else 503,
        )

    return readyz
