"""Which tenant a workspace's activities go to, kept in the database with encrypted keys."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.database.stored import examine
from bot.database.tables import IS_OPEN, accounts, deliveries, insert, now, tenants, workspaces
from bot.database.writer import Database
from bot.encryption import Keyring, UndecipherableError
from bot.leadsquared.address import api_host
from bot.leadsquared.tenant import ENVIRONMENT, Attribution, Tenant
from bot.tenants.changes import Author, What, append, difference
from bot.tenants.rules import AS_AT_FIRST, Answers, Rules, columns_of, described, read_rules


class TenantError(Exception):
    """A tenant cannot be added, found or changed; the message is for the administrator."""


@dataclass(frozen=True, slots=True)
class Belongings:
    """What goes with a tenant when it is removed."""

    mappings: int
    waiting: int
    """Activities that were accepted for it and are not settled."""

    def __str__(self) -> str:
        mappings = _counted(self.mappings, "mapping", "mappings")
        return f"{mappings} and {_counted(self.waiting, 'waiting activity', 'waiting activities')}"


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of Slack that a mapping covers.

    It is an enterprise, a workspace, or one channel of either. An empty field matches any.
    """

    enterprise_id: str = ""
    team_id: str = ""
    channel_id: str = ""

    def __str__(self) -> str:
        named = {
            "enterprise": self.enterprise_id,
            "workspace": self.team_id,
            "channel": self.channel_id,
        }
        return ", ".join(f"{kind} {value}" for kind, value in named.items() if value)


EVERYBODY = Scope()
"""All of Slack."""

NOBODY = Scope(team_id="-")
"""No part of Slack: no workspace has this ID."""

MAPPINGS_OF_CONVERSATION = """
    tenants JOIN workspaces ON workspaces.tenant_id = tenants.id
    WHERE (
        workspaces.team_id = :team_id AND workspaces.channel_id IN (:channel_id, '')
        AND workspaces.enterprise_id IN (:enterprise_id, '')
    ) OR (
        workspaces.team_id = '' AND workspaces.channel_id IN (:channel_id, '')
        AND workspaces.enterprise_id = :enterprise_id
    )
    ORDER BY workspaces.channel_id DESC, workspaces.team_id DESC, workspaces.enterprise_id DESC
"""
"""The mappings that hold for a conversation, the strongest first: the channel's own, its
workspace's, its enterprise's.

`:enterprise_id` is NULL where the workspace belongs to none. Two searches, each by the whole of
the unique index: only so does PostgreSQL know that they find next to nothing.
"""

TENANT_OF_CONVERSATION = f"""
    SELECT tenants.id, tenants.name, tenants.account_id, tenants.attribution, tenants.show_ticket,
        tenants.answers, tenants.guests, tenants.reaction, tenants.record_group,
        tenants.record_channels
    FROM {MAPPINGS_OF_CONVERSATION} LIMIT 1
"""
"""The tenant of a conversation."""


def read_tenant(row: Mapping[Any, Any], keyring: Keyring | None) -> Tenant:
    """Build a Tenant from a row with the columns of `tenants`.

    Raises UndecipherableError when its keys cannot be decrypted; without a keyring they are left
    empty.
    """
    return Tenant(
        id=row["id"],
        name=row["name"],
        api_url=row["api_url"],
        org_id=row["org_id"],
        access_key=keyring.decrypt(row["access_key"]) if keyring else "",
        secret_key=keyring.decrypt(row["secret_key"]) if keyring else "",
        calls_per_window=row["calls_per_window"],
        account_id=row["account_id"],
        owner=row.get("owner", ""),  # what sends does not ask for it
        attribution=Attribution(row["attribution"]),
        show_ticket=bool(row["show_ticket"]),
    )


class Directory:
    """The administrator's side: add, show, change, remove, map.

    Each change is a line in the audit trail.
    """

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    async def add(self, tenant: Tenant, rules: Rules = AS_AT_FIRST) -> None:
        """Add a tenant.

        Raises UnusableSecretError when the secret is another one than encrypted all the rest.
        """
        await examine(self._database, self._keyring)

        def write(connection: Connection) -> None:
            if connection.execute(
                sa.select(tenants.c.id).where(tenants.c.name == tenant.name)
            ).first():
                raise TenantError(
                    f"The tenant {tenant.name} already exists; change it with: "
                    f"python -m bot tenants update {tenant.name}"
                )
            detail = ", ".join(filter(None, (difference(None, tenant), described(rules))))
            append(connection, Author(), What.ADDED, tenant.name, detail)
            columns = self._columns(connection, tenant) | columns_of(rules)
            connection.execute(
                tenants.insert().values(**columns, created_at=now(), updated_at=now())
            )

        await self._database.run(write)

    async def replace(
        self, tenant: Tenant, change: Callable[[Rules], Rules] = lambda rules: rules
    ) -> None:
        """Write every field of the tenant of this name, and change its rules."""

        def update(connection: Connection) -> None:
            same_name = tenants.c.name == tenant.name
            old = connection.execute(sa.select(tenants).where(same_name)).mappings().first()
            if old is None:
                raise _missing(tenant.name)
            before = read_rules(old)
            changed = (difference(self._readable(old), tenant), described(change(before), before))
            detail = ", ".join(filter(None, changed))
            append(connection, Author(old["owner"]), What.CHANGED, tenant.name, detail)
            columns = self._columns(connection, tenant) | columns_of(change(before))
            connection.execute(
                tenants.update().where(same_name).values(**columns, updated_at=now())
            )

        await self._database.run(update)

    async def rules(self, name: str) -> Rules:
        """Return what a tenant wants of answers and of who may record."""
        return await self._database.run(lambda connection: _rules(connection, name))

    async def set_rules(self, name: str, change: Callable[[Rules], Rules]) -> None:
        """Change what a tenant wants, and nothing else of it."""

        def update(connection: Connection) -> None:
            before = _rules(connection, name)
            after = change(before)
            by = _owner(connection, name)
            append(connection, by, What.CHANGED, name, described(after, before))
            same = tenants.c.name == name
            connection.execute(
                tenants.update().where(same).values(**columns_of(after), updated_at=now())
            )

        await self._database.run(update)

    async def get(self, name: str, *, keys: bool) -> Tenant:
        """Return a tenant; without `keys` they are left empty, and need not be decryptable."""

        def select(connection: Connection) -> sa.RowMapping | None:
            return (
                connection.execute(sa.select(tenants).where(tenants.c.name == name))
                .mappings()
                .first()
            )

        row = await self._database.run(select)
        if row is None:
            raise _missing(name)
        return read_tenant(row, self._keyring if keys else None)

    async def names(self) -> list[str]:
        def select(connection: Connection) -> list[str]:
            return list(
                connection.execute(sa.select(tenants.c.name).order_by(tenants.c.name)).scalars()
            )

        return await self._database.run(select)

    async def belongings(self, name: str) -> Belongings:
        return await self._database.run(lambda connection: _belongings(connection, name))

    async def remove(self, name: str) -> Belongings:
        """Remove a tenant and its mappings.

        What was accepted for it and not sent is told as not recorded.
        """

        def delete(connection: Connection) -> Belongings:
            found = _belongings(connection, name)
            append(connection, _owner(connection, name), What.REMOVED, name, str(found))
            connection.execute(tenants.delete().where(tenants.c.name == name))
            return found

        return await self._database.run(delete)

    async def mapped_to(self, scope: Scope) -> str | None:
        """Return the tenant to which exactly this scope is mapped."""
        return await self._database.run(lambda connection: _mapped_to(connection, scope))

    async def map(self, name: str, scope: Scope) -> None:
        """Send a scope's activities to a tenant; a mapping of the very same scope is replaced."""

        def upsert(connection: Connection) -> None:
            tenant_id = _id_of(connection, name)
            append(connection, Author(scope.team_id), What.MAPPED, name, str(scope))
            _put_mapping(connection, tenant_id, scope)

        await self._database.run(upsert)

    async def map_from(
        self, before: str | None, name: str, scope: Scope, answers: Answers | None = None
    ) -> None:
        """Map a scope as `map` does, if its tenant is still `before` (None: it has none).

        `answers` goes before the tenant's own setting; None leaves it as it is, and with another
        tenant ends it.
        """

        def upsert(connection: Connection) -> None:
            tenant_id = _id_of(connection, name)
            detail = str(scope) if before in (None, name) else f"{scope}, before: {before}"
            wanted: dict[str, str | None] = {} if answers is None else {"answers": answers.value}
            detail = ", ".join([detail, *(f"answers {value}" for value in wanted.values())])
            if before != name:
                wanted.setdefault("answers", None)  # another tenant's wish does not stay
            append(connection, Author(scope.team_id), What.MAPPED, name, detail)
            mapping = {**asdict(scope), "tenant_id": tenant_id, **wanted}
            change: sa.Insert | sa.Update
            if before is None:
                change = insert(connection, workspaces).values(**mapping).on_conflict_do_nothing()
            else:
                was = sa.and_(_is(scope), workspaces.c.tenant_id == _id_of(connection, before))
                change = workspaces.update().where(was).values(tenant_id=tenant_id, **wanted)
            if connection.execute(change).rowcount == 0:
                found = _mapped_to(connection, scope) or "nothing"
                raise TenantError(f"{scope} is now mapped to {found}; nothing was changed.")

        await self._database.run(upsert)

    async def unmap(self, scope: Scope) -> None:
        def delete(connection: Connection) -> None:
            name = _mapped_to(connection, scope) or ""
            append(connection, Author(scope.team_id), What.UNMAPPED, name, str(scope))
            if connection.execute(workspaces.delete().where(_is(scope))).rowcount == 0:
                raise TenantError(
                    f"There is no mapping of exactly {scope}. See: python -m bot tenants list"
                )

        await self._database.run(delete)

    async def mappings(self, name: str) -> list[Scope]:
        return list(await self.answers(name))

    async def answers(self, name: str) -> dict[Scope, Answers | None]:
        """Return a tenant's mappings, each with where its answers go, if it says so itself."""

        def select(connection: Connection) -> dict[Scope, Answers | None]:
            rows = connection.execute(
                sa.select(
                    workspaces.c.enterprise_id,
                    workspaces.c.team_id,
                    workspaces.c.channel_id,
                    workspaces.c.answers,
                )
                .join(tenants, tenants.c.id == workspaces.c.tenant_id)
                .where(tenants.c.name == name)
                .order_by(workspaces.c.id)
            )
            return {Scope(*row[:3]): None if row[3] is None else Answers(row[3]) for row in rows}

        return await self._database.run(select)

    async def use_environment(self, tenant: Tenant | None, scope: Scope | None) -> bool:
        """Make the database agree with LEADSQUARED_*.

        The variables define a tenant named `environment`, mapped to the bot token's workspace.

        `scope` is None until Slack has said whose the token is. Until then another account is not
        put in the place of the one that is there, for that may be another bot's on the same
        database; False says that it waits for this. Then a bot whose workspace is another one gets
        a tenant of its own, `environment-T…`. A mapping that an administrator made stays: it was
        the more deliberate of the two.
        """

        def write(connection: Connection) -> bool:
            old = (
                connection.execute(sa.select(tenants).where(tenants.c.name == ENVIRONMENT))
                .mappings()
                .first()
            )
            if tenant is None:
                if old is not None and scope is not None:
                    _leave(connection, old["id"], scope)
                return True
            same = old is None or old["account_id"] == account_of(connection, tenant)
            if scope is None:
                if same:
                    self._put_environment(connection, tenant)
                return same
            foreign = not same and old is not None and _serves_another(connection, old["id"], scope)
            name = (
                f"{ENVIRONMENT}-{scope.team_id or scope.enterprise_id}" if foreign else ENVIRONMENT
            )
            tenant_id = self._put_environment(connection, replace(tenant, name=name))
            mapped = _mapped_to(connection, scope)
            if mapped is None or mapped.startswith(ENVIRONMENT):
                _put_mapping(connection, tenant_id, scope)
            return True

        return await self._database.run(write)

    def _put_environment(self, connection: Connection, tenant: Tenant) -> int:
        columns = self._columns(connection, tenant)
        statement = insert(connection, tenants).values(
            **columns, created_at=now(), updated_at=now()
        )
        changes = {name: statement.excluded[name] for name in (*columns, "updated_at")}
        result: int = connection.execute(
            statement.on_conflict_do_update(index_elements=["name"], set_=changes).returning(
                tenants.c.id
            )
        ).scalar_one()
        return result

    def _readable(self, row: sa.RowMapping) -> Tenant:
        """Return a tenant with its keys; without them, where no secret decrypts them."""
        try:
            return read_tenant(row, self._keyring)
        except UndecipherableError:
            return read_tenant(row, None)

    def _columns(self, connection: Connection, tenant: Tenant) -> dict[str, object]:
        return {
            "account_id": account_of(connection, tenant),
            "name": tenant.name,
            "api_url": tenant.api_url,
            "org_id": tenant.org_id,
            "access_key": self._keyring.encrypt(tenant.access_key),
            "secret_key": self._keyring.encrypt(tenant.secret_key),
            "calls_per_window": tenant.calls_per_window,
            "attribution": tenant.attribution,
            "show_ticket": tenant.show_ticket,
        }


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _id_of(connection: Connection, name: str) -> int:
    found = connection.execute(sa.select(tenants.c.id).where(tenants.c.name == name)).scalar()
    if found is None:
        raise _missing(name)
    return int(found)


def _rules(connection: Connection, name: str) -> Rules:
    found = connection.execute(sa.select(tenants).where(tenants.c.name == name)).mappings().first()
    if found is None:
        raise _missing(name)
    return read_rules(found)


def _owner(connection: Connection, name: str) -> Author:
    """Return the operator as the author of a change, in the workspace that made a tenant."""
    owner = connection.execute(sa.select(tenants.c.owner).where(tenants.c.name == name)).scalar()
    return Author(owner or "")


def _mapped_to(connection: Connection, scope: Scope) -> str | None:
    names = sa.select(tenants.c.name).join(workspaces, workspaces.c.tenant_id == tenants.c.id)
    found: str | None = connection.execute(names.where(_is(scope))).scalar()
    return found


def _belongings(connection: Connection, name: str) -> Belongings:
    tenant_id = _id_of(connection, name)

    def count(table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
        counted = sa.select(sa.func.count()).select_from(table).where(*where)
        return connection.execute(counted.where(table.c.tenant_id == tenant_id)).scalar_one()

    return Belongings(mappings=count(workspaces), waiting=count(deliveries, IS_OPEN))


def _serves_another(connection: Connection, tenant_id: int, scope: Scope) -> bool:
    """Say whether a tenant is mapped to another workspace, or organisation, than this one."""
    mine = sa.and_(
        workspaces.c.team_id == scope.team_id, workspaces.c.enterprise_id == scope.enterprise_id
    )
    others = sa.select(workspaces.c.id).where(workspaces.c.tenant_id == tenant_id, sa.not_(mine))
    return connection.execute(others.limit(1)).first() is not None


def _leave(connection: Connection, tenant_id: int, scope: Scope) -> None:
    """Take a workspace away from a tenant, and the tenant away when it serves no other."""
    connection.execute(workspaces.delete().where(_is(scope), workspaces.c.tenant_id == tenant_id))
    served = sa.select(workspaces.c.id).where(workspaces.c.tenant_id == tenant_id).exists()
    connection.execute(tenants.delete().where(tenants.c.id == tenant_id, ~served))


def account_of(connection: Connection, tenant: Tenant) -> int:
    """Return the number of the account that a tenant names, numbering it the first time."""
    account = {"api_host": api_host(tenant.api_url), "org_id": tenant.org_id}
    connection.execute(insert(connection, accounts).values(**account).on_conflict_do_nothing())
    same = sa.and_(*(accounts.c[name] == value for name, value in account.items()))
    found: int = connection.execute(sa.select(accounts.c.id).where(same)).scalar_one()
    return found


def _is(scope: Scope) -> sa.ColumnElement[bool]:
    return sa.and_(
        workspaces.c.enterprise_id == scope.enterprise_id,
        workspaces.c.team_id == scope.team_id,
        workspaces.c.channel_id == scope.channel_id,
    )


def _put_mapping(connection: Connection, tenant_id: int, scope: Scope) -> None:
    statement = insert(connection, workspaces).values(
        enterprise_id=scope.enterprise_id,
        team_id=scope.team_id,
        channel_id=scope.channel_id,
        tenant_id=tenant_id,
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["team_id", "channel_id", "enterprise_id"],
            set_={
                "tenant_id": statement.excluded.tenant_id,
                # What was wanted for one tenant's answers says nothing of another's.
                "answers": sa.case(
                    (
                        workspaces.c.tenant_id == statement.excluded.tenant_id,
                        workspaces.c.answers,
                    ),
                    else_=None,
                ),
            },
        )
    )


def _missing(name: str) -> TenantError:
    return TenantError(f"There is no tenant {name}; see: python -m bot tenants list")
