"""Databases of a test's own."""

import functools
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString, NoReturn

import psycopg
import pytest
from psycopg import sql

from bot.database.schema import migrate_database

SERVER = "postgresql://postgres@127.0.0.1:5432"

Prepare = Callable[[str], object]
"""Makes an empty database what a test needs, given its URL as SQLAlchemy reads it."""


def missing(reason: str) -> NoReturn:
    """Skip the test; in CI (`.ci/run` says so), where everything must be there, it fails."""
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def database(prepare: Prepare | None = None) -> Iterator[str]:
    """Lend a PostgreSQL database for a test: empty, or a copy of a prepared one.

    Without a server the test is skipped; in CI it fails.
    """
    template = "template1" if prepare is None else _template(prepare)
    spare = _spare if prepare is migrate_database else []
    name = spare.pop() if spare else _create(template)
    try:
        yield f"{SERVER}/{name}"
    finally:
        if prepare is migrate_database and _is_as_new(name, template):
            _spare.append(name)
        else:
            _drop(name)


_spare: list[str] = []
"""Databases that are migrated and empty. To make one costs 0.3 s of CPU, to empty one 0.02 s."""

_AS_MADE = """
    SELECT relname, relkind, relacl::text, reltuples, attname, atttypid, attnotnull, atthasdef
    FROM pg_class LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
    WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT proname, 'function', '', 0, NULL, NULL, NULL, NULL FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT tgname, 'trigger', '', 0, NULL, NULL, NULL, NULL FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'database', '', datacl::text, 0, NULL, NULL, NULL, NULL FROM pg_database
    WHERE datname = current_database()
    UNION ALL
    SELECT 'setting', '', setconfig::text, 0, NULL, NULL, NULL, NULL FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY 1, 2, 5
"""
_ROWS = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
    AND relname != 'alembic_version' AND pg_relation_size(oid) > 0
"""
LARGEST_KEPT = 1_000_000
"""Bytes of a table above which its deleted rows would slow the next test down."""


@functools.cache
def _as_made(template: str) -> list[tuple[object, ...]]:
    with _connected(template) as connection:
        return connection.execute(_AS_MADE).fetchall()


def _is_as_new(name: str, template: str) -> bool:
    """Empty a database that a test has used; False when the test left more than rows in it."""
    try:
        with _connected(name) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid != pg_backend_pid()"
            )
            if connection.execute(_AS_MADE).fetchall() != _as_made(template):
                return False
            for (table,) in connection.execute(_ROWS).fetchall():
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
            connection.execute("SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S'")
            largest = connection.execute(
                "SELECT max(pg_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"
                " AND relnamespace = 'public'::regnamespace"
            ).fetchone()
            return largest is not None and largest[0] < LARGEST_KEPT
    except psycopg.Error:
        return False


def sqlite_file(file: Path, prepare: Prepare = migrate_database) -> str:
    """Make a copy of a prepared SQLite database, and return its DATABASE_URL."""
    file.write_bytes(_content(prepare))
    file.chmod(0o600)
    return f"sqlite:///{file}"


@functools.cache
def _content(prepare: Prepare) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.db"
        prepare(f"sqlite:///{file}")
        return file.read_bytes()


_templates: dict[Prepare, str] = {}


def _template(prepare: Prepare) -> str:
    """Prepare a database, once for a test process."""
    if prepare not in _templates:
        name = _templates[prepare] = _create("template1")
        prepare(f"{SERVER.replace('postgresql:', 'postgresql+psycopg:')}/{name}")
    return _templates[prepare]


def drop_templates() -> None:
    """Drop what the tests copied, and the copies that are left, at their end."""
    while _spare:
        _drop(_spare.pop())
    while _templates:
        _drop(_templates.popitem()[1])


def _create(template: str) -> str:
    name = f"portal_activity_{secrets.token_hex(6)}"
    try:
        _administrate("CREATE DATABASE {} TEMPLATE {}", name, template)
    except psycopg.OperationalError as error:
        missing(f"no PostgreSQL for the tests at {SERVER}/test: {error}")
    return name


def _drop(name: str) -> None:
    _administrate("DROP DATABASE {} WITH (FORCE)", name)


def _administrate(statement: LiteralString, *names: str) -> None:
    with _connected("test") as administrator:
        administrator.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _connected(name: str) -> psycopg.Connection:
    return psycopg.connect(f"{SERVER}/{name}", autocommit=True, connect_timeout=3)
