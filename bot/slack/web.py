"""Slack's Web API and response_urls: one call, told as a value."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bot.installations.single import Identity
from bot.slack.response_urls import host_of, slacks_url

_log = structlog.get_logger(__name__)

TIMEOUT = 10

MOST_CLIENTS = 1000
"""Tokens whose clients are kept: a rotated token is never used again."""

LONGEST_WAIT = 300.0
"""Seconds for which Slack's Retry-After is followed."""

# Slack's own words for "not now": https://docs.slack.dev/reference/methods/chat.postMessage#errors
_PASSING = frozenset(
    {
        "ratelimited",
        "rate_limited",
        "message_limit_exceeded",
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
    }
)
# Slack's words for a token that it rejects for every method.
_TOKEN_REFUSED = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"}
)
_SERVER_ERROR = 500
_TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Done:
    """Slack said ok."""

    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NotNow:
    """Worth another try: Slack is away, busy, or limits us.

    `after` is in seconds, when Slack said it.
    """

    reason: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Never:
    """Slack said no, and would again: `error` is its word, such as not_in_channel."""

    error: str


Result = Done | NotNow | Never


class SlackWeb:
    """One HTTP session for all workspaces of a process. It repeats no call: the caller does."""

    def __init__(
        self, api_url: str, refused: Callable[[str | None, str], None] | None = None
    ) -> None:
        """`refused` hears of each token that Slack rejects, with Slack's word."""
        self._api_url = api_url
        self._refused = refused or (lambda _token, _error: None)
        self._clients: dict[str | None, AsyncWebClient] = {}
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT), trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    def client(self, token: str | None) -> AsyncWebClient:
        """Return a Web API client for a token; it shares the session and repeats no call."""
        if token not in self._clients:
            if len(self._clients) >= MOST_CLIENTS:
                del self._clients[next(iter(self._clients))]
            self._clients[token] = self._client(token)
        return self._clients[token]

    def _client(self, token: str | None) -> AsyncWebClient:
        return AsyncWebClient(
            token=token,
            base_url=self._api_url,
            session=self._session,
            timeout=TIMEOUT,
            retry_handlers=[],
            trust_env_in_session=False,
        )

    async def call(
        self,
        token: str,
        method: str,
        *,
        timeout: float = TIMEOUT,  # noqa: ASYNC109 - a bound on the call
        **arguments: Any,  # noqa: ANN401 - JSON
    ) -> Result:
        """Call a Web API method that writes: its arguments go as JSON."""
        return await self._call(token, method, timeout, {"json": arguments})

    async def read(
        self,
        token: str,
        method: str,
        *,
        timeout: float = TIMEOUT,  # noqa: ASYNC109 - as above
        **arguments: Any,  # noqa: ANN401 - JSON
    ) -> Result:
        """Call a Web API method that reads: Slack takes its arguments from the address only."""
        return await self._call(token, method, timeout, {"http_verb": "GET", "params": arguments})

    async def _call(
        self,
        token: str,
        method: str,
        timeout: float,  # noqa: ASYNC109 - as above
        arguments: dict[str, Any],
    ) -> Result:
        try:
            async with asyncio.timeout(timeout):
                response = await self.client(token).api_call(method, **arguments)
        except SlackApiError as error:
            refusal = _refusal(error)
            if isinstance(refusal, Never) and refusal.error in _TOKEN_REFUSED:
                self._refused(token, refusal.error)
            return refusal
        except (aiohttp.ClientError, TimeoutError, SlackClientError, ValueError) as error:
            return NotNow(type(error).__name__)
        return (
            Done(response.data) if isinstance(response.data, dict) else NotNow("unreadable answer")
        )

    async def respond(self, response_url: str, payload: dict[str, Any]) -> Result:
        """Post to a response_url (30 minutes, 5 uses); one that is not Slack's is not called."""
        url = slacks_url(response_url, self._api_url)
        if url is None:
            _log.warning("response_url_skipped", host=host_of(response_url))
            return Never("response_url_not_slacks")
        try:
            async with self._session.post(url, json=payload, allow_redirects=False) as response:
                if response.status == _TOO_MANY:
                    return NotNow("ratelimited", _seconds(response.headers.get("Retry-After")))
                if response.status >= _SERVER_ERROR:
                    return NotNow(f"status {response.status}")
                accepted = response.status == HTTPStatus.OK and not _says_no(await response.text())
                return Done({}) if accepted else Never("response_url_refused")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return NotNow(type(error).__name__)

    async def identify(self, token: str) -> Identity | NotNow | Never:
        """Ask `auth.test` whose token this is."""
        try:
            response = await self.client(token).auth_test()
        except SlackApiError as error:
            refusal = _refusal(error)
            return refusal if not isinstance(refusal, Done) else Never("unreadable answer")
        except (aiohttp.ClientError, TimeoutError, SlackClientError, ValueError) as error:
            return NotNow(type(error).__name__)
        granted = str(
            response.headers.get("x-oauth-scopes") or response.headers.get("X-OAuth-Scopes") or ""
        )
        return Identity(
            team_id=response.get("team_id"),
            enterprise_id=response.get("enterprise_id"),
            is_enterprise_install=bool(response.get("is_enterprise_install")),
            team_name=response.get("team"),
            scopes=frozenset(scope.strip() for scope in granted.split(",") if scope.strip()),
        )

    async def clock_ahead(self) -> float | None:
        """Return by how many seconds this machine's clock is ahead of Slack's; None: unknown."""
        try:
            async with self._session.get(self._api_url, allow_redirects=False) as response:
                told = parsedate_to_datetime(response.headers.get("Date", ""))
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        return time.time() - told.timestamp()


def _says_no(body: str) -> bool:
    """Say whether a response_url's answer is a refusal in spite of its status.

    Such a body is `{"ok": false, …}`.
    """
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("ok") is False


def _refusal(error: SlackApiError) -> Result:
    response = error.response
    status = getattr(response, "status_code", 0)
    word = (
        str(response.get("error") or "unreadable answer")
        if isinstance(getattr(response, "data", None), dict)
        else "unreadable answer"
    )
    if status == _TOO_MANY or word in _PASSING:
        headers = {
            name.lower(): value
            for name, value in (getattr(response, "headers", None) or {}).items()
        }
        return NotNow(word, _seconds(headers.get("retry-after")))
    return NotNow(word) if status >= _SERVER_ERROR or word == "unreadable answer" else Never(word)


def _seconds(value: str | None) -> float | None:
    # At least a second: "0" would have everything that waits ask again at once, and again. A wait
    # of hours would outlast the day for which an answer is tried; asking once more costs nothing.
    return (
        min(max(float(value), 1.0), LONGEST_WAIT)
        if value is not None and value.strip().isdecimal()
        else None
    )
