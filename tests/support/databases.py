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
    """Create a PostgreSQL database and drop it afterwards: empty, or a copy of a prepared one.

    Without a server the test is skipped; in CI it fails.
    """
    template = "template1" if prepare is None else _template(prepare)
    name = _create(template)
    try:
        yield f"{SERVER}/{name}"
    finally:
        _drop(name)


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
    """Drop what the tests copied, at their end."""
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
    with psycopg.connect(f"{SERVER}/test", autocommit=True, connect_timeout=3) as administrator:
        administrator.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
