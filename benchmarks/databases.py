"""Databases of a measurement's own.

A SQLite file, or a PostgreSQL database that is dropped afterwards.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.processes import BenchmarkError

SERVER = "127.0.0.1:5432"
"""PostgreSQL, with a user postgres without a password and a database `test` to start from."""


class NoPostgreSQLError(BenchmarkError):
    """There is no PostgreSQL to measure."""


@contextmanager
def sqlite_file(directory: Path) -> Iterator[str]:
    """Name a new file in a directory that is thrown away."""
    yield f"sqlite:///{directory / f'{secrets.token_hex(6)}.db'}"


@contextmanager
def postgresql_database() -> Iterator[str]:
    """Create an empty database and drop it afterwards."""
    name = f"portal_activity_{secrets.token_hex(6)}"
    try:
        administrator = psycopg.connect(
            f"postgresql://postgres@{SERVER}/test", autocommit=True, connect_timeout=3
        )
    except psycopg.OperationalError as error:
        why = " ".join(str(error).split())
        raise NoPostgreSQLError(
            f"PostgreSQL was left out: none to be used at {SERVER} ({why})"
        ) from None
    with administrator:
        administrator.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield f"postgresql+psycopg://postgres@{SERVER}/{name}"
        finally:
            administrator.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )
