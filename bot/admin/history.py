"""All activities of a workspace, in the order of acceptance, beside a running bot."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.engine import Connection

from bot.admin.snapshot import read
from bot.database.statement import Row, Statement
from bot.database.writer import Database

SPAN = 5000
"""Numbers that one query goes through: a query stays short, also where a workspace has little."""

PAGE = 200
"""Rows in memory: the longest text that Slack lets a person enter takes 60 kB, encrypted."""


@dataclass(frozen=True, slots=True)
class Whose:
    """A workspace, an organisation, or both. An empty field matches any."""

    team_id: str = ""
    enterprise_id: str = ""

    def __str__(self) -> str:
        named = {"workspace": self.team_id, "organisation": self.enterprise_id}
        return ", ".join(f"{kind} {value}" for kind, value in named.items() if value)


@dataclass(frozen=True, slots=True)
class Page:
    """Some activities, and which part of the whole way is done with them, from 0 to 1."""

    rows: list[Row]
    done: float


# Along the primary key, and by no index that begins with the workspace: so each page begins
# where the last one ended, and the whole is read once.
_FIRST = Statement(
    "The number of the oldest activity.",
    "SELECT seq FROM deliveries WHERE seq > 0 ORDER BY seq LIMIT 1",
    index=("pk_deliveries",),
)
_LAST = Statement(
    "The number of the newest activity.",
    "SELECT seq FROM deliveries WHERE seq > 0 ORDER BY seq DESC LIMIT 1",
    index=("pk_deliveries",),
)
_PAGE = Statement(
    "A workspace's activities, or an organisation's, with numbers within a span.",
    """
    SELECT * FROM deliveries
    WHERE seq > :beyond AND seq <= :up_to AND accepted_at >= :since
    AND (:team_id = '' OR team_id || '' = :team_id)
    AND (:enterprise_id = '' OR enterprise_id = :enterprise_id)
    ORDER BY seq LIMIT :at_most
    """,
    index=("pk_deliveries",),
)


async def pages(database: Database, whose: Whose, *, since: float = 0.0) -> AsyncIterator[Page]:
    """Return what was accepted from a moment on until now, each page by a transaction."""

    def ends(connection: Connection) -> tuple[int, int]:
        first, last = _FIRST.one(connection), _LAST.one(connection)
        return (0, 0) if first is None or last is None else (first["seq"] - 1, last["seq"])

    first, last = await read(database, ends)
    beyond = first
    while beyond < last:
        up_to = min(beyond + SPAN, last)
        asked: dict[str, Any] = {
            "team_id": whose.team_id,
            "enterprise_id": whose.enterprise_id,
            "since": since,
            "beyond": beyond,
            "up_to": up_to,
            "at_most": PAGE,
        }
        rows = await read(database, partial(_PAGE.all, **asked))
        beyond = rows[-1]["seq"] if len(rows) == PAGE else up_to
        yield Page(rows, (beyond - first) / (last - first))
