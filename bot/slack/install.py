"""Installation from Slack: Bolt's OAuth flow, and the pages that a person sees at its end."""

import logging
import re
from typing import Any
from urllib.parse import urljoin

import aiohttp
import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.oauth.async_callback_options import (
    AsyncCallbackOptions,
    AsyncFailureArgs,
    AsyncSuccessArgs,
)
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.response import BoltResponse
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.database.writer import CommitUnknownError, DatabaseUnavailableError
from bot.installations.client import OAuthClient
from bot.installations.known import KnownInstallations
from bot.installations.store import STATE_LASTS, InstallationStore, StateStore
from bot.slack import pages
from bot.slack.pages import INSTALL_PATH, REDIRECT_PATH
from bot.slack.scopes import SCOPES

_log = structlog.get_logger(__name__)

_WORKSPACE = re.compile(r"[TE][A-Z0-9]{1,30}")
_WORD = re.compile(r"[a-z_]{1,60}")
"""Slack's words for errors, and Bolt's."""


class Install:
    """Serves the two addresses of an installation."""

    def __init__(
        self,
        client: AsyncWebClient,
        api_url: str,
        client_id: str,
        client_secret: str,
        installations: InstallationStore,
        states: StateStore,
        known: KnownInstallations,
    ) -> None:
        self._known = known
        settings = AsyncOAuthSettings(
            client_id=client_id,
            client_secret=client_secret,
            scopes=SCOPES,
            user_scopes=(),
            install_path=INSTALL_PATH,
            redirect_uri_path=REDIRECT_PATH,
            # The link to the bot's own address is the button: no page stands before Slack's.
            install_page_rendering_enabled=False,
            authorization_url=urljoin(api_url, "../oauth/v2/authorize"),
            installation_store=installations,
            state_store=states,
            state_expiration_seconds=STATE_LASTS,
            callback_options=AsyncCallbackOptions(self._installed, _failed),
        )
        # Bolt logs a refused code as it came.
        quiet = logging.getLogger("slack_bolt.oauth")
        quiet.disabled = True
        self._flow = AsyncOAuthFlow(client=_Client(client), settings=settings, logger=quiet)
        self._forget = settings.state_utils.build_set_cookie_for_deletion()

    async def begin(self, request: web.Request) -> web.Response:
        """Send the person to Slack's page of consent."""
        try:
            asked = await to_bolt_request(request)
            if not all(_WORKSPACE.fullmatch(team) for team in asked.query.get("team", ())):
                del asked.query["team"]  # Bolt would copy it into Slack's address as it is
            return await to_aiohttp_response(await self._flow.handle_installation(asked))
        except DatabaseUnavailableError as error:
            _log.warning("installation_not_begun", reason=str(error))
            return await to_aiohttp_response(pages.database_away())

    async def end(self, request: web.Request) -> web.Response:
        """Take the person in who comes back from there, and store what Slack granted."""
        response = await self._ended(request)
        response.headers.setdefault("set-cookie", [self._forget])
        return await to_aiohttp_response(response)

    async def _ended(self, request: web.Request) -> BoltResponse:
        try:
            return await self._flow.handle_callback(await to_bolt_request(request))
        except _RefusedError as refused:
            return _failure(refused.error, 401)
        except CommitUnknownError as error:
            _log.error("installation_not_stored", reason=str(error))
            return pages.maybe_installed()
        except DatabaseUnavailableError as error:
            _log.error("installation_not_stored", reason=str(error))
            return pages.database_away()
        except (aiohttp.ClientError, TimeoutError, SlackClientError, ValueError, KeyError) as error:
            _log.error("installation_failed", reason=type(error).__name__)
            return pages.slack_away()

    async def _installed(self, args: AsyncSuccessArgs) -> BoltResponse:
        # A person who reads this types a command next: its answer is to find the token.
        await self._known.catch_up()
        return pages.installed(args.installation)


class _RefusedError(Exception):
    """Slack refuses a code; `error` is its word. The code stands in no message."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class _Client(OAuthClient):
    """Slack's client, which tells why Slack refused: the flow itself knows `invalid_code` only."""

    async def oauth_v2_access(self, **arguments: Any) -> AsyncSlackResponse:  # noqa: ANN401
        return await _or_refused(super().oauth_v2_access(**arguments))

    async def auth_test(self, **arguments: Any) -> AsyncSlackResponse:  # noqa: ANN401
        return await _or_refused(super().auth_test(**arguments))


async def _or_refused(call: Any) -> AsyncSlackResponse:  # noqa: ANN401 - a coroutine
    try:
        response: AsyncSlackResponse = await call
    except SlackApiError as error:
        raise _RefusedError(str(error.response.get("error") or "unreadable answer")) from None
    return response


async def _failed(args: AsyncFailureArgs) -> BoltResponse:
    return _failure(args.reason, args.suggested_status_code)


def _failure(reason: str, status: int) -> BoltResponse:
    word = reason if _WORD.fullmatch(reason) else "unknown"  # anybody can write into the address
    _log.warning("installation_failed", reason=word)
    return pages.failed(word, status)
