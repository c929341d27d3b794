"""How the bot connects to each database.

Each connection commits durably, has timeouts, and works behind a connection pooler.
"""

import contextlib
import os
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from bot.database.clock import steady_clock

BUSY_PAUSE = 0.02
"""Seconds between tries that SQLite does not make automatically."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a connection waits, in seconds.

    It waits for SQLite's lock, for a lock on PostgreSQL, and for one statement there (0: for
    ever).
    """

    busy: float = 0.9
    lock: float = 1.0
    statement: float = 10.0


PATIENCE = Patience()
"""While somebody waits in Slack."""

MIGRATING = Patience(busy=60.0, lock=60.0, statement=0.0)
"""Another release's migration, and an index on a large table, take their time."""


def engine_for(url: str, patience: Patience) -> Engine:
    """Return an engine for SQLite or PostgreSQL, set up for durability."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, patience)
    return _postgresql(parsed, patience)


READING = {"reading": True}
"""A connection's execution options for queries alone: on SQLite they take no lock."""


NOTICED_IN_SECONDS = {
    # A server that has gone silent is noticed in seconds, not by the kernel's patience.
    "connect_timeout": 2,
    "tcp_user_timeout": 4000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
}


def _postgresql(url: sa.URL, patience: Patience) -> Engine:
    engine = sa.create_engine(
        url,
        hide_parameters=True,
        poolclass=sa.NullPool,  # each of the writer's threads keeps its own
        connect_args={
            **NOTICED_IN_SECONDS,
            # Prepared statements would break behind a transaction-pooling proxy.
            "prepare_threshold": None,
            "application_name": "portal-activity",
        },
    )
    # Such a proxy lends a session for one transaction only, and takes no `options` at the start:
    # so the time-outs are each transaction's own. They travel with its BEGIN, which costs a round
    # trip anyway.
    lock, statement = round(patience.lock * 1000), round(patience.statement * 1000)
    begin = f"BEGIN; SET LOCAL lock_timeout = {lock}; SET LOCAL statement_timeout = {statement}"

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's
        connection.autocommit = True  # the driver's own BEGIN takes no company
        # Behind a transaction-pooling proxy a session may have listened for another client.
        # The driver would keep each announcement for a reader that this connection never has.
        connection.add_notify_handler(_ignore)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _ignore(*_announcement: object) -> None: ...


def _sqlite(url: sa.URL, patience: Patience) -> Engine:
    now = steady_clock()
    engine = sa.create_engine(
        url,
        hide_parameters=True,
        pool_size=1,
        max_overflow=1,
        connect_args={"timeout": patience.busy, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "do_connect")
    def _make(*_: object) -> None:
        _make_for_its_owner(url.database or "")

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's
        connection.isolation_level = None  # the driver's own BEGIN is deferred; ours is below
        connection.create_function("bot_now", 0, now)
        connection.create_function("pg_notify", 2, _ignore)  # no other process listens
        _write_ahead(connection, patience.busy)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # IMMEDIATE: wait for the lock at the start, where waiting is safe, instead of failing in
        # the middle.
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _make_for_its_owner(file: str) -> None:
    """Make a database that is not there yet an empty file of mode 0600.

    SQLite gives its other files the database's mode.
    """
    # It is there, or it cannot be made: then the driver says why.
    with contextlib.suppress(OSError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _write_ahead(connection: sqlite3.Connection, patience: float) -> None:
    """Turn write-ahead logging on.

    SQLite does not wait for the lock that this takes on a new file, whatever its time-out.
    """
    until = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(BUSY_PAUSE)
        else:
            return
