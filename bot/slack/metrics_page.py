"""/metrics: for this machine only, or with a token."""

import hmac
from collections.abc import Awaitable, Callable

from aiohttp import web
from pydantic import SecretStr

from bot.metrics import CONTENT_TYPE

PATH = "/metrics"

_LOOPBACK = ("127.0.0.1", "::1")
_NAMES = ("localhost", "127.0.0.1", "[::1]")
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")

Page = Callable[[], Awaitable[bytes]]


class MetricsPage:
    """Serves the metrics, and says nothing at all to who may not read them."""

    def __init__(self, page: Page, token: SecretStr | None) -> None:
        """Without a token only this machine may read them, and not through a proxy."""
        self._page = page
        self._token = token

    async def get(self, request: web.Request) -> web.Response:
        if self._token is None and not _is_local(request):
            raise web.HTTPNotFound
        if self._token is not None and not _has(request, self._token.get_secret_value()):
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        return web.Response(body=await self._page(), headers={"Content-Type": CONTENT_TYPE})


def _is_local(request: web.Request) -> bool:
    """Say whether a program of this machine asks for itself.

    A proxy on this machine asks for others: it says for whom, or keeps the public name as Host.
    """
    name = request.host.rpartition(":")[0] if ":" in request.host else request.host
    is_forwarded = any(header in request.headers for header in _FORWARDED)
    return request.remote in _LOOPBACK and name in _NAMES and not is_forwarded


def _has(request: web.Request, token: str) -> bool:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode(errors="replace"), token.encode())
    return kind.lower() == "bearer" and same
