"""Token rotation: a bot token that lasts 12 hours is refreshed before its end."""

import asyncio
import contextlib
import time

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError, SlackTokenRotationError
from slack_sdk.oauth.installation_store import Bot
from slack_sdk.oauth.token_rotation.async_rotator import AsyncTokenRotator

from bot.database.writer import DatabaseUnavailableError
from bot.encryption import Keyring, UndecipherableError
from bot.installations.known import ENDING, EXPIRED, KnownInstallations
from bot.installations.store import Expiring, InstallationStore

_log = structlog.get_logger(__name__)

LOOK = 60.0
"""Seconds between two looks for tokens that end within two hours."""

AT_ONCE = 10
TRY_AGAIN = 2.0

_FOREVER = 10**9
"""Minutes before its end at which slack_sdk refreshes a token: always, the store says when."""


class TokenRefresh:
    """Refreshes tokens. Of several processes, the one with the lease does; the others see it."""

    def __init__(
        self,
        store: InstallationStore,
        known: KnownInstallations,
        keyring: Keyring,
        rotator: AsyncTokenRotator,
    ) -> None:
        self._store = store
        self._known = known
        self._keyring = keyring
        self._rotator = rotator
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Refresh, until cancelled."""
        while True:
            self._known.expired.clear()
            try:
                while expiring := await self._store.lease_expiring(AT_ONCE):
                    await asyncio.wait([self._begun(one) for one in expiring])
            except DatabaseUnavailableError as error:
                _log.warning("database_unavailable", reason=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._known.expired.wait(), LOOK)

    def _begun(self, expiring: Expiring) -> asyncio.Task[None]:
        """Begin a refresh, which goes on when `run` is cancelled: its answer comes once."""
        task = asyncio.create_task(self._refresh(expiring))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def finish(self, within: float) -> None:
        """Wait for what is under way, `within` so many seconds."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=within)

    async def _refresh(self, expiring: Expiring) -> None:
        try:
            bot = Bot(
                bot_token="",
                bot_id="",
                bot_user_id="",
                bot_refresh_token=self._keyring.decrypt(expiring.refresh_token),
                bot_token_expires_at=int(time.time()),
                installed_at=time.time(),
            )
            new = await self._rotator.perform_bot_token_rotation(
                bot=bot, minutes_before_expiration=_FOREVER
            )
        except UndecipherableError:
            _log.error("bot_token_cannot_be_decrypted", installed_in=expiring.installed_in)
        except SlackTokenRotationError as error:
            await self._refused(expiring, error.api_error)
        except (aiohttp.ClientError, TimeoutError, SlackClientError, ValueError) as error:
            self._log_failure(expiring, type(error).__name__)
        else:
            if new is not None and new.bot_refresh_token and new.bot_token_expires_at:
                await self._write(expiring, new)
            else:
                self._log_failure(expiring, "unreadable answer")

    async def _refused(self, expiring: Expiring, error: SlackApiError) -> None:
        word = str(error.response.get("error") or "unreadable answer")
        self._log_failure(expiring, word)
        if word in ENDING or (expiring.has_expired and word == "invalid_refresh_token"):
            await self._end(expiring, word if word in ENDING else EXPIRED)

    async def _end(self, expiring: Expiring, because: str) -> None:
        try:
            await self._store.end(expiring.installed_in, because, until=expiring.installed_at)
        except DatabaseUnavailableError as error:
            _log.warning("database_unavailable", reason=str(error))  # the next try ends it
        self._known.changed()

    async def _write(self, expiring: Expiring, new: Bot) -> None:
        """Store the new token, as often as it takes: the old refresh token is used up."""
        assert new.bot_token_expires_at is not None  # noqa: S101 - for the type checker
        expires_in = float(new.bot_token_expires_at) - time.time()
        while True:
            try:
                await self._store.refreshed(
                    expiring, new.bot_token, new.bot_refresh_token or "", expires_in=expires_in
                )
            except DatabaseUnavailableError as error:
                _log.warning("database_unavailable", reason=str(error))
                await asyncio.sleep(TRY_AGAIN)
            else:
                self._known.changed()
                _log.info("token_refreshed", installed_in=expiring.installed_in)
                return

    def _log_failure(self, expiring: Expiring, reason: str) -> None:
        _log.error(
            "token_not_refreshed",
            installed_in=expiring.installed_in,
            reason=reason,
            has_expired=expiring.has_expired,
        )
