"""PostgreSQL databases of a test's own."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import psycopg
import pytest
from psycopg import sql

SERVER = "postgresql://postgres@127.0.0.1:5432"


def missing(reason: str) -> NoReturn:
    """Skip the test; in CI (`.ci/run` says so), where everything must be there, it fails."""
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def database() -> Iterator[str]:
    """Create an empty database and drop it afterwards.

    Without a server the test is skipped; in CI it fails.
    """
    name = f"portal_activity_{secrets.token_hex(6)}"
    try:
        administrator = psycopg.connect(f"{SERVER}/test", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        missing(f"no PostgreSQL for the tests at {SERVER}/test: {error}")
    with administrator:
        administrator.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield f"{SERVER}/{name}"
        finally:
            administrator.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )
