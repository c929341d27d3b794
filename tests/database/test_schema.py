"""The tables in bot/database/tables.py, the migrations and the expected revision agree."""

import asyncio
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from bot.database.engines import PATIENCE, engine_for
from bot.database.schema import HEAD, migrate_database, revision_of, upgrade
from bot.database.tables import metadata
from support.databases import database
from support.programs import Ended, run_beside, until
from support.running import ENCRYPTION_KEY

ENGINES = ["sqlite", "postgresql"]
LOCK = 7_316_021_143
WAITING = """
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with ExitStack() as stack:
        yield new_database(request.param, tmp_path / "first.db", stack)


def new_database(engine: str, file: Path, stack: ExitStack) -> str:
    if engine == "sqlite":
        return f"sqlite:///{file}"
    return stack.enter_context(database()).replace("postgresql://", "postgresql+psycopg://")


def test_the_revision_that_the_code_expects_is_the_newest_one() -> None:
    config = Config()
    config.set_main_option("script_location", "bot.database:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


@pytest.mark.parametrize("url", ENGINES, indirect=True)
def test_the_migrations_make_what_the_tables_say(url: str) -> None:
    migrate_database(url)
    assert revision_of(url) == HEAD
    engine = engine_for(url, PATIENCE)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection,
                opts={"compare_type": True, "compare_server_default": url.startswith("postgresql")},
            )
            assert compare_metadata(context, metadata) == []
    finally:
        engine.dispose()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_migrations_make_the_very_columns_and_indexes_of_the_tables(
    engine: str, tmp_path: Path
) -> None:
    # Alembic compares neither the conditions of partial indexes nor, on SQLite, empty defaults.
    with ExitStack() as stack:
        migrated = new_database(engine, tmp_path / "migrated.db", stack)
        with engine_of(migrated) as one:
            upgrade(one)
        created = new_database(engine, tmp_path / "created.db", stack)
        if engine == "sqlite":
            migrate_database(created)  # a new file is made without Alembic
        else:
            with engine_of(created) as other, other.begin() as connection:
                metadata.create_all(connection)
                connection.execute(
                    sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
                )
        assert columns(migrated) == columns(created)
        assert indexes(migrated) == indexes(created)
        assert sum("WHERE" in index for index in indexes(migrated)) > 12


def columns(url: str) -> set[tuple[object, ...]]:
    with engine_of(url) as engine, engine.connect() as connection:
        inspector = sa.inspect(connection)
        return {
            (table, column["name"], str(column["type"]), column["nullable"], column["default"])
            for table in inspector.get_table_names()
            for column in inspector.get_columns(table)
        }


def indexes(url: str) -> set[str]:
    statement = (
        "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        if url.startswith("sqlite")
        else "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' "
        "AND tablename <> 'alembic_version'"
    )
    with engine_of(url) as engine, engine.connect() as connection:
        return {
            re.sub(r"\s+", " ", index) for index in connection.execute(sa.text(statement)).scalars()
        }


class engine_of:  # noqa: N801 - reads as what it gives
    """An engine for a block."""

    def __init__(self, url: str) -> None:
        self._engine = engine_for(url, PATIENCE)

    def __enter__(self) -> sa.Engine:
        return self._engine

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_two_migrations_of_sqlite_at_once_both_succeed(url: str, tmp_path: Path) -> None:
    assert_both(await two_migrations(url, tmp_path))
    assert revision_of(url) == HEAD


def test_a_new_sqlite_file_that_another_process_is_writing_is_waited_for(tmp_path: Path) -> None:
    # SQLite itself does not wait when the journal's mode is changed, however long it is told to.
    path = tmp_path / "new.db"
    with sqlite3.connect(path, isolation_level=None, check_same_thread=False) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE x (y)")
        threading.Timer(0.3, other.execute, ["COMMIT"]).start()
        migrate_database(f"sqlite:///{path}")
    other.close()
    assert revision_of(f"sqlite:///{path}") == HEAD


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
async def test_two_migrations_of_postgresql_at_once_both_succeed(url: str, tmp_path: Path) -> None:
    # Both are held at the lock that only one may have, with the database still empty, and then let
    # go.
    plain = url.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        both = asyncio.create_task(two_migrations(plain, tmp_path))
        await until(lambda: both.done() or holder.execute(WAITING).fetchone() == (2,))
        holder.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
        assert_both(await both)
    assert revision_of(url) == HEAD


async def two_migrations(url: str, cwd: Path) -> list[Ended]:
    variables = {"DATABASE_URL": url, "ENCRYPTION_KEYS": ENCRYPTION_KEY}
    return list(
        await asyncio.gather(
            *(run_beside("migrate", cwd=cwd, variables=variables) for _ in range(2))
        )
    )


def assert_both(ended: list[Ended]) -> None:
    for one in ended:
        assert (one.status, one.err) == (0, "")
        assert one.out.endswith(f" at revision {HEAD}.\n")
