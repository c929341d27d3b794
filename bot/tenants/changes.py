"""The audit trail: who changed which tenant, what, and when. It never holds a key."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.database.statement import Statement
from bot.database.tables import tenant_changes
from bot.leadsquared.address import api_host
from bot.leadsquared.tenant import Tenant


class ChangedSinceError(Exception):
    """Another change came first; nothing was written."""

    def __init__(self) -> None:
        super().__init__("Another change came first, so nothing was changed. Try again.")


class What(StrEnum):
    """What a change did."""

    CONNECTED = "connected"
    CHANGED = "changed"
    MOVED = "moved"
    DISCONNECTED = "disconnected"
    NAMED = "named"
    UNNAMED = "unnamed"
    ADDED = "added"
    REMOVED = "removed"
    MAPPED = "mapped"
    UNMAPPED = "unmapped"


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes something, and in which workspace. Without `user_id` it is the operator."""

    team_id: str = ""
    enterprise_id: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the audit trail."""

    team_id: str
    number: int
    at: float
    user_id: str | None
    tenant_name: str
    what: What
    detail: str


NEWEST = 3
"""Changes that are shown in Slack."""

_APPEND = Statement(
    "A change, under the next number of its workspace.",
    """
    INSERT INTO tenant_changes
        (team_id, number, at, enterprise_id, user_id, tenant_name, what, detail)
    VALUES
        (:team_id, :number, bot_now(), :enterprise_id, :user_id, :tenant_name, :what, :detail)
    ON CONFLICT DO NOTHING
    """,
)
_NEWEST = Statement(
    "A workspace's newest changes.",
    """
    SELECT team_id, number, at, user_id, tenant_name, what, detail FROM tenant_changes
    WHERE team_id = :team_id ORDER BY number DESC LIMIT :at_most
    """,
    index=("pk_tenant_changes",),
)
_AFTER = Statement(
    "What was changed after a person looked.",
    """
    SELECT team_id, number, at, user_id, tenant_name, what, detail FROM tenant_changes
    WHERE team_id = :team_id AND number > :number ORDER BY number
    """,
    index=("pk_tenant_changes",),
)


def append(
    connection: Connection,
    by: Author,
    what: What,
    tenant_name: str,
    detail: str = "",
    *,
    after: int | None = None,
) -> None:
    """Write an entry. `after` is the number of the newest one that the person has seen.

    Raises ChangedSinceError when there is a newer one. Of two at once, the second waits here
    for the first, so write the entry before the change itself.
    """
    if after is None:
        last = newest(connection, by.team_id, at_most=1)
        after = last[0].number if last else 0
    written = _APPEND.run(
        connection,
        team_id=by.team_id,
        number=after + 1,
        enterprise_id=by.enterprise_id,
        user_id=by.user_id,
        tenant_name=tenant_name,
        what=what,
        detail=detail,
    )
    if not written:
        raise ChangedSinceError


def newest(connection: Connection, team_id: str, *, at_most: int = NEWEST) -> tuple[Change, ...]:
    """Return a workspace's newest changes, the newest first."""
    return tuple(
        read_change(row) for row in _NEWEST.all(connection, team_id=team_id, at_most=at_most)
    )


def after(connection: Connection, team_id: str, number: int) -> tuple[Change, ...]:
    """Return a workspace's changes after one, the oldest first."""
    return tuple(read_change(row) for row in _AFTER.all(connection, team_id=team_id, number=number))


def listed(connection: Connection, name: str | None, *, at_most: int) -> list[Change]:
    """Return the newest changes of a tenant or a workspace, or of all; the newest first."""
    table = tenant_changes
    wanted = (
        sa.true() if name is None else sa.or_(table.c.tenant_name == name, table.c.team_id == name)
    )
    order = (table.c.at.desc(), table.c.team_id, table.c.number.desc())
    rows = connection.execute(sa.select(table).where(wanted).order_by(*order).limit(at_most))
    return [read_change(row) for row in rows.mappings()]


def read_change(row: Mapping[Any, Any]) -> Change:
    """Build a Change from a row of `tenant_changes`."""
    return Change(
        row["team_id"],
        row["number"],
        row["at"],
        row["user_id"],
        row["tenant_name"],
        What(row["what"]),
        row["detail"],
    )


def _on(is_on: bool) -> str:  # noqa: FBT001 - a setting's value
    return "on" if is_on else "off"


def difference(old: Tenant | None, new: Tenant) -> str:
    """Say in what a tenant changes, or with what it begins. Of its keys only that they change."""
    values = {
        "API host": (old and api_host(old.api_url), api_host(new.api_url)),
        "org ID": (old and old.org_id, new.org_id),
        "rate limit": (old and old.calls_per_window, new.calls_per_window),
        "attribution": (old and old.attribution, new.attribution),
        "show ticket": (old and _on(old.show_ticket), _on(new.show_ticket)),
    }
    if old is None:
        return ", ".join(f"{name} {now}" for name, (_, now) in values.items())
    changed = [f"{name} {was} → {now}" for name, (was, now) in values.items() if was != now]
    changed += ["access key"] if old.access_key != new.access_key else []
    changed += ["secret key"] if old.secret_key != new.secret_key else []
    return ", ".join(changed)
