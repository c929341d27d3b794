"""The workspace's side: to what it is connected, and connecting it from inside Slack.

A tenant made here belongs to the workspace (`owner`). Another workspace cannot see, choose or
change it, and nothing here shows or changes a tenant of the operator's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy.engine import Connection

from bot.database.statement import Row, Statement
from bot.database.tables import insert, now, tenants
from bot.database.writer import CommitUnknownError, Database, DatabaseUnavailableError
from bot.encryption import Keyring
from bot.leadsquared.address import api_host
from bot.leadsquared.tenant import Attribution, Tenant
from bot.tenants.changes import Author, Change, What, after, append, difference, newest
from bot.tenants.directory import MAPPINGS_OF_CONVERSATION, account_of, read_tenant

READ_WITHIN = 1.0
"""Seconds that a person waits for reading what there is."""

NAMED_WITHIN = 0.7
"""Seconds for a command that names a person, after Slack was asked about both people."""

WRITTEN_WITHIN = 5.0
"""Seconds that a person waits for a change, in a view that stands open."""


@dataclass(frozen=True, slots=True)
class Connected:
    """What a workspace or a channel is connected to.

    `is_own`: the workspace made it. `is_exact`: it is mapped for just this, not for all of an
    organisation. `waiting`: the workspace's activities that are accepted for it and not settled.
    `keys` are encrypted, and empty where it is not its own.
    """

    tenant: Tenant
    is_own: bool
    is_exact: bool
    waiting: int
    keys: tuple[bytes, bytes] = field(repr=False)

    @property
    def account(self) -> tuple[str, str]:
        return api_host(self.tenant.api_url), self.tenant.org_id


@dataclass(frozen=True, slots=True)
class _Found:
    """What holds for a whole workspace, and what one channel has of its own."""

    workspace: Connected | None
    channel: Connected | None

    def at(self, channel_id: str) -> Connected | None:
        """Return what a channel has of its own, or (`''`) what the whole workspace has."""
        return self.channel if channel_id else self.workspace

    def own(self, channel_id: str) -> Connected | None:
        """Return the same where the workspace made it."""
        found = self.at(channel_id)
        return found if found is not None and found.is_own and found.is_exact else None


@dataclass(frozen=True, slots=True)
class Seen(_Found):
    """What a person sees of a workspace's connections.

    `changes` are its newest, the newest first; `newer` those after a version that was asked
    for, the oldest first.
    """

    named: tuple[str, ...]
    changes: tuple[Change, ...]
    newer: tuple[Change, ...] = ()

    @property
    def version(self) -> int:
        """The number of the newest change."""
        return self.changes[0].number if self.changes else 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A connection as a person wants it. A key that is None stays what it is."""

    channel_id: str
    api_url: str
    org_id: str
    access_key: str | None = field(repr=False)
    secret_key: str | None = field(repr=False)
    calls_per_window: int
    attribution: Attribution = Attribution.NONE
    show_ticket: bool = False

    @property
    def account(self) -> tuple[str, str]:
        return api_host(self.api_url), self.org_id

    def as_tenant(self, name: str) -> Tenant:
        """Return a tenant with the keys that were typed."""
        keys = (self.access_key or "", self.secret_key or "")
        return Tenant(
            name,
            self.api_url,
            self.org_id,
            *keys,
            self.calls_per_window,
            attribution=self.attribution,
            show_ticket=self.show_ticket,
        )


class Connections:
    """Reads and writes the connections of one workspace at a time."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    _FIND = Statement(
        "All mappings that hold for a conversation, the strongest first.",
        f"""
        SELECT tenants.id, tenants.name, tenants.api_url, tenants.org_id, tenants.access_key,
            tenants.secret_key, tenants.calls_per_window, tenants.account_id, tenants.owner,
            tenants.attribution, tenants.show_ticket, workspaces.channel_id, workspaces.team_id
        FROM {MAPPINGS_OF_CONVERSATION}
        """,
        index=("uq_workspaces_team_id_channel_id_enterprise_id", "pk_tenants"),
    )
    _WAITING = Statement(
        "How much of a workspace waits for a tenant.",
        """
        SELECT count(*) AS waiting FROM deliveries
        WHERE tenant_id = :tenant_id AND team_id = :team_id
        AND state IN ('accepted', 'claimed', 'sending')
        """,
        index=("ix_deliveries_open",),
    )
    _NAMED = Statement(
        "Who may connect a workspace beside its admins.",
        "SELECT user_id FROM setup_people WHERE team_id = :team_id ORDER BY named_at, user_id",
        index=("pk_setup_people",),
    )

    async def seen(
        self, enterprise_id: str | None, team_id: str, channel_id: str, since: int | None = None
    ) -> Seen:
        """Return what a workspace is connected to; `since` also what changed after that.

        Raises DatabaseUnavailableError: it only reads, so nothing is changed then.
        """

        def read(connection: Connection) -> Seen:
            by = Author(team_id, enterprise_id)
            found = self._found(connection, by, channel_id)
            named = self._NAMED.all(connection, team_id=team_id)
            return Seen(
                found.workspace,
                found.channel,
                tuple(row["user_id"] for row in named),
                newest(connection, team_id),
                () if since is None else after(connection, team_id, since),
            )

        try:
            return await self._database.run(read, answer_within=READ_WITHIN)
        except CommitUnknownError as error:
            raise DatabaseUnavailableError(str(error)) from None

    def with_keys(self, own: Connected | None, wanted: Wanted) -> Tenant:
        """Return the tenant as it would be, with the keys that it keeps.

        Raises UndecipherableError when a key that it keeps cannot be decrypted.
        """
        stored = (b"", b"") if own is None else own.keys
        typed = (wanted.access_key, wanted.secret_key)
        access_key, secret_key = (
            self._keyring.decrypt(old) if new is None else new
            for old, new in zip(stored, typed, strict=True)
        )
        return replace(wanted.as_tenant(""), access_key=access_key, secret_key=secret_key)

    _UPDATE = Statement(
        "A workspace's own tenant, changed.",
        """
        UPDATE tenants SET api_url = :api_url, org_id = :org_id, access_key = :access_key,
            secret_key = :secret_key, calls_per_window = :calls_per_window,
            attribution = :attribution, show_ticket = :show_ticket, account_id = :account_id,
            updated_at = bot_now()
        WHERE id = :tenant_id AND owner = :team_id
        """,
        index=("pk_tenants",),
    )
    _UNMAP = Statement(
        "A workspace's or a channel's mappings, away.",
        "DELETE FROM workspaces WHERE team_id = :team_id AND channel_id = :channel_id",
        index=("uq_workspaces_team_id_channel_id_enterprise_id",),
    )
    _MAP = Statement(
        "A workspace or a channel, mapped.",
        """
        INSERT INTO workspaces (enterprise_id, team_id, channel_id, tenant_id)
        VALUES ('', :team_id, :channel_id, :tenant_id)
        """,
    )

    async def connect(self, by: Author, wanted: Wanted, version: int) -> None:
        """Connect a workspace or a channel.

        Raises ChangedSinceError when something changed after `version`.
        """

        def write(connection: Connection) -> None:
            found = self._found(connection, by, wanted.channel_id)
            before, own = found.at(wanted.channel_id), found.own(wanted.channel_id)
            name = _name(by.team_id, wanted.channel_id) if own is None else own.tenant.name
            new = wanted.as_tenant(name)
            stored = (b"", b"") if own is None else own.keys
            columns: dict[str, object] = {
                "api_url": new.api_url,
                "org_id": new.org_id,
                "access_key": self._encrypted(wanted.access_key, stored[0]),
                "secret_key": self._encrypted(wanted.secret_key, stored[1]),
                "calls_per_window": new.calls_per_window,
                "attribution": new.attribution,
                "show_ticket": new.show_ticket,
                "account_id": account_of(connection, new),
            }
            if own is not None:
                what = What.CHANGED if own.account == wanted.account else What.MOVED
                append(connection, by, what, name, difference(own.tenant, new), after=version)
                which = {"tenant_id": own.tenant.id, "team_id": by.team_id}
                self._UPDATE.run(connection, **which, **columns)
                return
            what = What.CONNECTED if before is None else What.MOVED
            tenant_id, name = self._inserted(connection, name, by, columns)
            append(connection, by, what, name, difference(None, new), after=version)
            place = {"team_id": by.team_id, "channel_id": wanted.channel_id}
            self._UNMAP.run(connection, **place)
            self._MAP.run(connection, **place, tenant_id=tenant_id)

        await self._database.run(write, answer_within=WRITTEN_WITHIN)

    def _encrypted(self, typed: str | None, stored: bytes) -> bytes:
        return stored if typed is None else self._keyring.encrypt(typed)

    @staticmethod
    def _inserted(
        connection: Connection, name: str, by: Author, columns: Mapping[str, object]
    ) -> tuple[int, str]:
        """Insert a tenant under the first free name: its own, or with a number behind."""
        values = {**columns, "owner": by.team_id, "created_at": now(), "updated_at": now()}
        number, free = 1, name
        while True:
            row = insert(connection, tenants).values(**values, name=free)
            row_once = row.on_conflict_do_nothing(index_elements=["name"])
            found = connection.execute(row_once.returning(tenants.c.id)).scalar()
            if found is not None:
                return int(found), free
            number += 1
            free = f"{name}-{number}"

    _DELETE = Statement(
        "A workspace's own tenant that nothing leads to any more.",
        """
        DELETE FROM tenants WHERE id = :tenant_id AND owner = :team_id
        AND NOT EXISTS (SELECT 1 FROM workspaces WHERE workspaces.tenant_id = tenants.id)
        """,
        index=("pk_tenants", "ix_workspaces_tenant_id"),
    )

    async def disconnect(self, by: Author, channel_id: str, version: int) -> None:
        """Take a workspace's own tenant away from it, or from a channel, with its keys.

        Raises ChangedSinceError when something changed after `version`.
        """

        def write(connection: Connection) -> None:
            found = self._found(connection, by, channel_id).own(channel_id)
            if found is None:
                return
            name, org_id = found.tenant.name, found.tenant.org_id
            append(connection, by, What.DISCONNECTED, name, f"org ID {org_id}", after=version)
            self._UNMAP.run(connection, team_id=by.team_id, channel_id=channel_id)
            self._DELETE.run(connection, tenant_id=found.tenant.id, team_id=by.team_id)

        await self._database.run(write, answer_within=WRITTEN_WITHIN)

    _NAME = Statement(
        "A person who may connect the workspace.",
        """
        INSERT INTO setup_people (team_id, user_id, named_by, named_at)
        VALUES (:team_id, :user_id, :named_by, bot_now()) ON CONFLICT DO NOTHING
        """,
    )
    _UNNAME = Statement(
        "A person who may not any more.",
        "DELETE FROM setup_people WHERE team_id = :team_id AND user_id = :user_id",
        index=("pk_setup_people",),
    )

    async def name(self, by: Author, user_id: str) -> None:
        """Let a person connect the workspace."""

        def write(connection: Connection) -> None:
            values = {"team_id": by.team_id, "user_id": user_id}
            if self._NAME.run(connection, **values, named_by=by.user_id):
                append(connection, by, What.NAMED, "", user_id)

        await self._database.run(write, answer_within=NAMED_WITHIN)

    async def unname(self, by: Author, user_id: str) -> bool:
        """Let a person connect the workspace no more; False when that was so before."""

        def write(connection: Connection) -> bool:
            if not self._UNNAME.run(connection, team_id=by.team_id, user_id=user_id):
                return False
            append(connection, by, What.UNNAMED, "", user_id)
            return True

        return await self._database.run(write, answer_within=NAMED_WITHIN)

    def _found(self, connection: Connection, by: Author, channel_id: str) -> "_Found":
        rows = self._FIND.all(
            connection,
            enterprise_id=by.enterprise_id,
            team_id=by.team_id,
            channel_id=channel_id,
        )
        return _Found(
            self._first(connection, by, [row for row in rows if not row["channel_id"]]),
            self._first(connection, by, [row for row in rows if row["channel_id"]]),
        )

    def _first(self, connection: Connection, by: Author, rows: list[Row]) -> Connected | None:
        if not rows:
            return None
        row = rows[0]
        is_own = row["owner"] == by.team_id
        waiting = self._WAITING.all(connection, tenant_id=row["id"], team_id=by.team_id)
        return Connected(
            read_tenant(row, None),
            is_own=is_own,
            is_exact=row["team_id"] == by.team_id,
            waiting=waiting[0]["waiting"],
            keys=(row["access_key"], row["secret_key"]) if is_own else (b"", b""),
        )


def _name(team_id: str, channel_id: str) -> str:
    """Return a name that a person knows again in `tenants list`."""
    return "-".join(filter(None, ("slack", team_id, channel_id)))
