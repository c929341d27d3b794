"""Many workspaces: every installation, in this process's memory, so that no command asks for it."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from bot.database.writer import DatabaseUnavailableError
from bot.encryption import Keyring, UndecipherableError
from bot.installations.access import (
    Access,
    Ended,
    Granted,
    NotInstalled,
    TokenUnreadable,
    Unidentified,
)
from bot.installations.store import Installation, InstallationStore
from bot.tenants.directory import EVERYBODY, Scope

_log = structlog.get_logger(__name__)

ENDING = frozenset({"invalid_auth", "account_inactive", "token_revoked"})
"""Slack's words for a token that will never be good again."""

EXPIRED = "token_expired"
"""Slack's word for a token whose 12 hours are over: a refresh brings another one."""


class KnownInstallations:
    """Knows what the store has, and ends an installation whose token Slack rejects.

    `changed` says that the store has changed; without it, it is read again after `poll_interval`
    seconds. `on_granted` is called when there may be a token that was not there before.
    """

    def __init__(
        self,
        store: InstallationStore,
        keyring: Keyring,
        *,
        poll_interval: float,
        on_granted: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._poll_interval = poll_interval
        self._on_granted = on_granted
        self._known: dict[str, Installation] | None = None
        self._read_at = 0.0  # by the database's clock
        self._access: dict[str, Access] = {}
        self._of_token: dict[str, Installation] = {}  # by token, of those that were used
        self._token_in: dict[str, str] = {}  # the same the other way round, by installed_in
        self._refused: dict[str, tuple[str, str]] = {}  # token and Slack's word, by installed_in
        self._changed = asyncio.Event()
        self._reading = asyncio.Lock()  # else the slower of two would put the older state back
        self.expired = asyncio.Event()  # Slack calls a token expired: it is to be refreshed

    @property
    def scope(self) -> Scope | None:
        """All of Slack: where there is no token, a delivery is told by another way, or later."""
        return None if self._known is None else EVERYBODY

    @property
    def number(self) -> int | None:
        """How many installations have not ended; None when the database was away so far."""
        if self._known is None:
            return None
        return sum(one.ended_at is None for one in self._known.values())

    def access(self, enterprise_id: str | None, team_id: str) -> Access:
        """Return what a workspace's own installation grants, else its organisation's."""
        if self._known is None:
            return Unidentified()
        own = self._granted_in(team_id)
        if isinstance(own, Granted) or not enterprise_id or enterprise_id == team_id:
            return own
        shared = self._granted_in(enterprise_id)
        return own if isinstance(shared, NotInstalled) else shared

    def _granted_in(self, where: str) -> Access:
        known = self._known or {}
        if where in known and where not in self._access:
            self._access[where] = self._of(known[where])
        return self._access.get(where, NotInstalled(by_oauth=True))

    def _of(self, installation: Installation) -> Access:
        if installation.bot_token is None:
            return Ended(installation.ended_because or "removed")
        try:
            token = self._keyring.decrypt(installation.bot_token)
        except UndecipherableError:
            _log.error("bot_token_cannot_be_decrypted", installed_in=installation.installed_in)
            return TokenUnreadable()
        self._of_token[token] = installation
        self._token_in[installation.installed_in] = token
        return Granted(token)

    def refuse(self, token: str | None, error: str) -> None:
        """Take in that Slack rejects a token: its installation has ended, or it is refreshed."""
        installation = self._of_token.get(token or "")
        if installation is None:
            return
        if error == EXPIRED:
            self._access[installation.installed_in] = Unidentified()  # until it is refreshed
        elif error in ENDING:
            self._access[installation.installed_in] = Ended(error)
        else:
            return
        self._refused[installation.installed_in] = (token or "", error)
        self._changed.set()

    def changed(self) -> None:
        """Say that the store has changed."""
        self._changed.set()

    async def catch_up(self) -> None:
        """Read what this process has just changed; later, when the database is away."""
        self.changed()
        with contextlib.suppress(DatabaseUnavailableError):
            await self.read()

    async def run(self) -> None:
        """Keep up with the store, until cancelled."""
        while True:
            self._changed.clear()
            try:
                await self._write_refused()
                await self.read()
            except DatabaseUnavailableError as error:
                _log.warning("database_unavailable", reason=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._poll_interval)

    async def read(self) -> None:
        """Read what has changed in the store. Raises DatabaseUnavailableError."""
        async with self._reading:
            await self._read()

    async def _read(self) -> None:
        changes = await self._store.changed(self._read_at)
        known = self._known or {}
        news = [one for one in changes.installations if known.get(one.installed_in) != one]
        for one in news:
            known[one.installed_in] = one
            self._access.pop(one.installed_in, None)
            self._of_token.pop(self._token_in.pop(one.installed_in, ""), None)
        self._known, self._read_at = known, changes.at
        if any(one.bot_token is not None for one in news):
            self._on_granted()

    async def _write_refused(self) -> None:
        for where, (token, error) in list(self._refused.items()):
            if error == EXPIRED:
                await self._store.expire_token(where, token)
                self.expired.set()
            else:
                await self._store.end_token(where, token, error)
            if self._refused.get(where) == (token, error):
                del self._refused[where]
