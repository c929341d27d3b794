"""How a database carries a statement out, with a history and a backlog in it."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from benchmarks.filling import History, fill
from bot.database.engines import PATIENCE, engine_for
from bot.database.schema import migrate_database
from bot.database.tables import metadata
from bot.encryption import Keyring
from support.databases import Prepare, database, sqlite_file
from support.running import ENCRYPTION_KEY, spelt_for_sqlalchemy

HISTORY = History(20_000, 2_000)

UNDER_WAY = (
    "\n    UPDATE deliveries SET state = CASE WHEN seq % 80 = 0 THEN 'sending' ELSE 'accepted' END,"
    " settled_at = NULL,"
    "\n    activity_id = NULL, lease_until = CASE WHEN seq % 80 = 0 THEN accepted_at END, "
    "tell_at = accepted_at"
    "\n    WHERE seq % 20 = 0\n"
)

TO_VERIFY = "UPDATE deliveries SET verify_at = accepted_at WHERE state = 'unknown'"
"""A backlog: with nothing under way any index over it is as good as another."""

EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN (FORMAT JSON)"}


def plan_nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from plan_nodes(below)


UNDER_WAY_ONLY = {
    f"ix_deliveries_{what}"
    for what in ("open", "waiting", "due", "leased", "untold", "verify", "undecided")
}
"""Partial indexes without the history: they may be gone through."""

ALIASES = {table: table for table in metadata.tables} | {
    "earlier": "deliveries",
    "other": "workspaces",
}


def used_on_sqlite(connection: Connection, lines: list[str]) -> tuple[set[str], list[str]]:
    by, through = set(), []
    named = _named_indexes(connection)
    for line in lines:
        found = re.match(
            r"(SCAN|SEARCH) (\w+)(?:.* USING (?:COVERING )?(INTEGER PRIMARY KEY|INDEX (\w+)))?",
            line,
        )
        if found is None or found[2] not in ALIASES:
            continue
        if found[3] is not None:
            table = ALIASES[found[2]]
            rowid = f"pk_{table}" if len(metadata.tables[table].primary_key) == 1 else "rowid"
            by.add(rowid if found[4] is None else named.get(found[4], found[4]))
        if found[1] == "SCAN" and found[4] not in UNDER_WAY_ONLY:
            through.append(ALIASES[found[2]])
    return by, through


def _named_indexes(connection: Connection) -> dict[str, str]:
    """Return our name for each index that SQLite has named itself, for a constraint."""
    names = {}
    for table in metadata.tables.values():
        for _, index, _, origin, *_ in connection.exec_driver_sql(
            f"PRAGMA index_list({table.name})"
        ):
            if origin in ("u", "pk"):
                columns = [
                    row[2] for row in connection.exec_driver_sql(f"PRAGMA index_info({index})")
                ]
                names[index] = (
                    f"pk_{table.name}" if origin == "pk" else f"uq_{table.name}_{'_'.join(columns)}"
                )
    return names


def with_backlog(url: str) -> None:
    """Make a database with a history, a backlog, and statistics."""
    _prepare(url, UNDER_WAY, TO_VERIFY, "ANALYZE")


def under_way_without_statistics(url: str) -> None:
    """Make a database with a history and a backlog."""
    _prepare(url, UNDER_WAY)


def quiet(url: str) -> None:
    """Make a database with a history and statistics, in which nothing is under way."""
    _prepare(url, "ANALYZE")


def _prepare(url: str, *changes: str) -> None:
    migrate_database(url)
    engine = engine_for(url, PATIENCE)
    try:
        with engine.begin() as connection:
            fill(connection, Keyring([ENCRYPTION_KEY]), HISTORY)
            for change in changes:
                connection.execute(sa.text(change))
    finally:
        engine.dispose()


@contextmanager
def prepared(kind: str, folder: Path, prepare: Prepare) -> Iterator[Connection]:
    """Lend a connection to a copy of a database of a kind, `sqlite` or `postgresql`."""
    with ExitStack() as stack:
        url = (
            sqlite_file(folder / "prepared.db", prepare)
            if kind == "sqlite"
            else stack.enter_context(database(prepare))
        )
        engine = engine_for(spelt_for_sqlalchemy(url), PATIENCE)
        stack.callback(engine.dispose)
        yield stack.enter_context(engine.begin())
