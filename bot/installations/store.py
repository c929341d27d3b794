"""The installations in the application's own database, by slack_sdk's interface for OAuth."""

import hashlib
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Self

import structlog
from slack_sdk.oauth.installation_store import Bot
from slack_sdk.oauth.installation_store import Installation as Authorization
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore
from sqlalchemy.engine import Connection

from bot.database.announcements import CHANNEL, INSTALLATIONS
from bot.database.statement import Row, Statement
from bot.database.writer import Database
from bot.encryption import Keyring, UndecipherableError

_log = structlog.get_logger(__name__)

ANSWER_WITHIN = 5.0
"""Seconds that a person at a browser, or Slack with an event, waits for the database."""

STATE_LASTS = 600
"""Seconds from the first page of an installation to its last."""

FORGOTTEN_AT_ONCE = 10
"""States that a new installation deletes when they are past their time."""

OVERLAP = 60.0
"""Seconds by which a search for changes goes back.

A transaction may commit after another one that has a later moment.
"""

REFRESH_BEFORE = 2 * 3600.0
"""Seconds before a token's end at which it is refreshed: Slack's own default."""

REFRESH_LEASE = 120.0
"""Seconds that a process has for a refresh, and until the next try after a failure."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A workspace, or an organisation, that has or had installed the bot.

    `installed_in` is the workspace's ID, or the organisation's where the installation is
    organisation-wide. The tokens are encrypted; an ended installation has none.
    """

    installed_in: str
    enterprise_id: str | None
    name: str | None
    app_id: str | None
    bot_user_id: str | None
    scopes: frozenset[str]
    installed_by: str | None
    installed_at: float
    ended_at: float | None
    ended_because: str | None
    changed_at: float
    bot_token: bytes | None = field(repr=False)

    @classmethod
    def of(cls, row: Row) -> Self:
        names = set(cls.__dataclass_fields__) - {"scopes"}
        scopes = frozenset(scope for scope in row["scopes"].split(",") if scope)
        return cls(scopes=scopes, **{name: row[name] for name in names})


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed, up to the moment `at` by the database's clock."""

    installations: Sequence[Installation]
    at: float


@dataclass(frozen=True, slots=True)
class Expiring:
    """A token that this process is to refresh, under a lease."""

    installed_in: str
    installed_at: float
    refresh_token: bytes = field(repr=False)
    has_expired: bool


def installed_in(
    enterprise_id: str | None, team_id: str | None, *, is_enterprise_install: bool
) -> str | None:
    """Return what names an installation: the organisation's ID, or the workspace's."""
    return enterprise_id if is_enterprise_install else team_id


class InstallationStore(AsyncInstallationStore):
    """Stores an installation for each workspace or organisation; the newest one counts."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    _SAVE = Statement(
        "A workspace, or an organisation, has installed the bot, perhaps again.",
        f"""
        INSERT INTO installations (
            installed_in, enterprise_id, name, app_id, bot_user_id, scopes, installed_by,
            installed_at, bot_token, refresh_token, expires_at, changed_at
        )
        VALUES (
            :installed_in, :enterprise_id, :name, :app_id, :bot_user_id, :scopes, :installed_by,
            bot_now(), :bot_token, :refresh_token, bot_now() + :expires_in, bot_now()
        )
        ON CONFLICT (installed_in) DO UPDATE SET
            enterprise_id = excluded.enterprise_id, name = excluded.name,
            app_id = excluded.app_id, bot_user_id = excluded.bot_user_id,
            scopes = excluded.scopes, installed_by = excluded.installed_by,
            installed_at = excluded.installed_at, bot_token = excluded.bot_token,
            refresh_token = excluded.refresh_token, expires_at = excluded.expires_at,
            refresh_lease_until = NULL, ended_at = NULL, ended_because = NULL,
            changed_at = excluded.changed_at
        RETURNING pg_notify('{CHANNEL}', :process || ' {INSTALLATIONS}')
        """,
    )
    _GO_ON = Statement(
        "What an ended installation has not posted yet is due now.",
        """
        UPDATE deliveries SET tell_at = bot_now()
        WHERE tell_at > bot_now() AND tell_attempts > 0
        AND (team_id = :installed_in OR enterprise_id = :installed_in)
        """,
        index=("ix_deliveries_untold",),
    )

    async def async_save(self, installation: Authorization) -> None:
        """Store what Slack granted. Raises DatabaseUnavailableError: nothing is stored then."""
        where = installed_in(
            installation.enterprise_id,
            installation.team_id,
            is_enterprise_install=bool(installation.is_enterprise_install),
        )
        if not where or not installation.bot_token:
            raise ValueError("an installation without its workspace, or without a bot token")
        values = {
            "installed_in": where,
            "enterprise_id": installation.enterprise_id,
            "name": installation.enterprise_name
            if installation.is_enterprise_install
            else installation.team_name,
            "app_id": installation.app_id,
            "bot_user_id": installation.bot_user_id,
            "scopes": ",".join(installation.bot_scopes or ()),
            "installed_by": installation.user_id,
            **self._tokens(installation.bot_token, installation.bot_refresh_token),
            "expires_in": _seconds_left(installation),
            "process": self._database.process,
        }

        def write(connection: Connection) -> None:
            self._SAVE.one(connection, **values)
            self._GO_ON.run(connection, installed_in=where)

        await self._database.run(write, repeatable=True, answer_within=ANSWER_WITHIN)
        _log.info("installed", installed_in=where, by=installation.user_id)

    def _tokens(self, bot_token: str, refresh_token: str | None) -> dict[str, bytes | None]:
        encrypt = self._keyring.encrypt
        return {
            "bot_token": encrypt(bot_token),
            "refresh_token": None if refresh_token is None else encrypt(refresh_token),
        }

    _FIND = Statement(
        "An installation by its workspace or organisation.",
        "SELECT * FROM installations WHERE installed_in = :installed_in",
        index=("uq_installations_installed_in",),
    )

    async def find(self, where: str) -> Installation | None:
        """Return the installation in a workspace or of an organisation, ended or not."""
        row = await self._database.run(
            lambda connection: self._FIND.one(connection, installed_in=where)
        )
        return None if row is None else Installation.of(row)

    async def async_find_bot(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        is_enterprise_install: bool | None = False,
    ) -> Bot | None:
        """Return the installation that serves a workspace: its own, else its organisation's."""
        for where in (None if is_enterprise_install else team_id, enterprise_id):
            found = await self.find(where) if where else None
            if found is not None and found.bot_token is not None:
                return Bot(
                    app_id=found.app_id,
                    enterprise_id=found.enterprise_id,
                    team_id=None if where == enterprise_id else where,
                    bot_token=self._keyring.decrypt(found.bot_token),
                    bot_id="",
                    bot_user_id=found.bot_user_id or "",
                    bot_scopes=sorted(found.scopes),
                    is_enterprise_install=where == enterprise_id,
                    installed_at=found.installed_at,
                )
        return None

    async def async_delete_all(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """End the installation in a workspace; in an organisation when no workspace is named."""
        if where := team_id or enterprise_id:
            await self.end(where, "removed")

    _END = Statement(
        "An installation has ended, and its tokens go. One that is newer than the event stays.",
        f"""
        UPDATE installations
        SET bot_token = NULL, refresh_token = NULL, expires_at = NULL, ended_at = bot_now(),
            ended_because = :because, changed_at = bot_now()
        WHERE installed_in = :installed_in AND ended_at IS NULL AND installed_at <= :until
        RETURNING pg_notify('{CHANNEL}', :process || ' {INSTALLATIONS}')
        """,
        index=("uq_installations_installed_in",),
    )

    async def end(
        self,
        where: str,
        because: str,
        *,
        until: float | None = None,
        revoked: Collection[str] | None = None,
    ) -> bool:
        """End an installation, unless it was made after `until`. Say whether this ended it.

        `revoked` names the bot users whose tokens were revoked: another one's revocation ends
        nothing here.
        """

        def is_meant(row: Row) -> bool:
            return revoked is None or row["bot_user_id"] in revoked

        return await self._end(where, because, is_meant, until=until, answer_within=ANSWER_WITHIN)

    async def end_token(self, where: str, token: str, because: str) -> None:
        """End an installation whose token Slack rejects, unless it has another one by now."""
        await self._end(where, because, lambda row: self._has(row, token))

    async def _end(
        self,
        where: str,
        because: str,
        is_meant: Callable[[Row], bool],
        *,
        until: float | None = None,
        answer_within: float | None = None,
    ) -> bool:
        values = {
            "installed_in": where,
            "because": because,
            "until": 1e12 if until is None else until,
            "process": self._database.process,
        }

        def write(connection: Connection) -> bool:
            row = self._LOCK.one(connection, installed_in=where)
            if row is None or not is_meant(row):
                return False
            return self._END.one(connection, **values) is not None

        ended = await self._database.run(write, answer_within=answer_within)
        if ended:
            _log.warning("installation_ended", installed_in=where, because=because)
        return ended

    _LOCK = Statement(
        "An installation that is then changed.",
        "SELECT * FROM installations WHERE installed_in = :installed_in FOR UPDATE",
        index=("uq_installations_installed_in",),
    )
    _EXPIRE = Statement(
        "Slack calls a token expired: it is to be refreshed now, whatever end is stored.",
        """
        UPDATE installations SET expires_at = bot_now()
        WHERE installed_in = :installed_in AND expires_at > bot_now()
        """,
        index=("uq_installations_installed_in",),
    )

    async def expire_token(self, where: str, token: str) -> None:
        """Let a token be refreshed next, unless it was refreshed by now."""

        def write(connection: Connection) -> None:
            row = self._LOCK.one(connection, installed_in=where)
            if row is not None and self._has(row, token):
                self._EXPIRE.run(connection, installed_in=where)

        await self._database.run(write)

    def _has(self, row: Row, token: str) -> bool:
        """Say whether this is the stored token: not as it was encrypted, which may be anew."""
        try:
            return row["bot_token"] is not None and self._keyring.decrypt(row["bot_token"]) == token
        except UndecipherableError:
            return False

    _CHANGED = Statement(
        "Installations that changed after a moment, the earliest first.",
        "SELECT * FROM installations WHERE changed_at > :since ORDER BY changed_at",
        index=("ix_installations_changed_at",),
    )

    _NOW = Statement(
        "The moment, by the database's clock.",
        "SELECT bot_now() AS now",
    )

    async def changed(self, since: float) -> Changes:
        """Return what has changed since a moment, by the database's clock; 0: everything."""

        def read(connection: Connection) -> Changes:
            moment = self._NOW.all(connection)[0]["now"]
            rows = self._CHANGED.all(connection, since=since - OVERLAP)
            return Changes([Installation.of(row) for row in rows], moment)

        return await self._database.run(read)

    async def all(self) -> Sequence[Installation]:
        """Return every installation, the ended ones too."""
        return (await self.changed(0)).installations

    _LEASE = Statement(
        "Tokens that end soon, and that this process is to refresh until its lease ends.",
        f"""
        UPDATE installations SET refresh_lease_until = bot_now() + {REFRESH_LEASE}
        WHERE id IN (
            SELECT id FROM installations
            WHERE expires_at < (SELECT bot_now()) + {REFRESH_BEFORE}
            AND (refresh_lease_until IS NULL OR refresh_lease_until < bot_now())
            AND refresh_token IS NOT NULL
            ORDER BY expires_at LIMIT :at_most
            FOR UPDATE SKIP LOCKED
        )
        RETURNING installed_in, installed_at, refresh_token, expires_at < bot_now() AS has_expired
        """,
        index=("ix_installations_expires_at", "pk_installations"),
    )

    async def lease_expiring(self, at_most: int) -> Sequence[Expiring]:
        """Take tokens that this process is to refresh: no other process does, under the lease."""
        rows = await self._database.run(
            lambda connection: self._LEASE.all(connection, at_most=at_most)
        )
        return [
            Expiring(
                row["installed_in"],
                row["installed_at"],
                row["refresh_token"],
                bool(row["has_expired"]),
            )
            for row in rows
        ]

    _REFRESHED = Statement(
        "A token was refreshed. A newer installation keeps its own.",
        f"""
        UPDATE installations
        SET bot_token = :bot_token, refresh_token = :refresh_token,
            expires_at = bot_now() + :expires_in, refresh_lease_until = NULL,
            changed_at = bot_now()
        WHERE installed_in = :installed_in AND installed_at = :installed_at AND ended_at IS NULL
        RETURNING pg_notify('{CHANNEL}', :process || ' {INSTALLATIONS}')
        """,
        index=("uq_installations_installed_in",),
    )

    async def refreshed(
        self, old: Expiring, bot_token: str, refresh_token: str, *, expires_in: float
    ) -> None:
        """Store what a refresh brought."""
        values = {
            "installed_in": old.installed_in,
            "installed_at": old.installed_at,
            "expires_in": expires_in,
            "process": self._database.process,
            **self._tokens(bot_token, refresh_token),
        }
        await self._database.run(
            lambda connection: self._REFRESHED.one(connection, **values), repeatable=True
        )


def _seconds_left(installation: Authorization) -> float | None:
    if installation.bot_token_expires_at is None:
        return None
    return float(installation.bot_token_expires_at) - installation.installed_at


class StateStore(AsyncOAuthStateStore):
    """The `state` of an installation under way: once, for 10 minutes, in any process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _ISSUE = Statement(
        "A state that an installation has begun with.",
        """
        INSERT INTO oauth_states (digest, expires_at)
        VALUES (:digest, bot_now() + :seconds)
        """,
    )
    _PAST = Statement(
        "States that are past their time. A stranger may have left a million of them.",
        f"""
        SELECT digest FROM oauth_states WHERE expires_at < (SELECT bot_now())
        ORDER BY expires_at LIMIT {FORGOTTEN_AT_ONCE}
        FOR UPDATE SKIP LOCKED
        """,
        index=("ix_oauth_states_expires_at",),
    )
    _FORGET = Statement(
        "A state that is past its time.",
        "DELETE FROM oauth_states WHERE digest = :digest",
        index=("pk_oauth_states",),
    )
    _CONSUME = Statement(
        "A state is used up. Is it one, and in time?",
        """
        DELETE FROM oauth_states WHERE digest = :digest
        RETURNING expires_at > bot_now() AS in_time
        """,
        index=("pk_oauth_states",),
    )

    async def async_issue(self, *_args: object, **_kwargs: object) -> str:
        """Return a new state. Raises DatabaseUnavailableError."""
        state = secrets.token_urlsafe(32)

        def write(connection: Connection) -> None:
            for row in self._PAST.all(connection):
                self._FORGET.run(connection, digest=row["digest"])
            self._ISSUE.run(connection, digest=_digest(state), seconds=STATE_LASTS)

        await self._database.run(write, answer_within=ANSWER_WITHIN)
        return state

    async def async_consume(self, state: str) -> bool:
        """Use a state up, and say whether it was good. Raises DatabaseUnavailableError."""
        row = await self._database.run(
            lambda connection: self._CONSUME.one(connection, digest=_digest(state)),
            answer_within=ANSWER_WITHIN,
        )
        return row is not None and bool(row["in_time"])


def _digest(state: str) -> bytes:
    return hashlib.sha256(state.encode()).digest()
