"""Queries beside a running bot."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from bot.database.engines import READING
from bot.database.writer import Database, DatabaseUnavailableError

T = TypeVar("T")


async def read(database: Database, do: Callable[[Connection], T]) -> T:
    """Run queries on one snapshot. On SQLite they take no lock, however long they run."""
    return await asyncio.to_thread(_read, database.engine, do)


def _read(engine: Engine, do: Callable[[Connection], T]) -> T:
    try:
        with engine.connect().execution_options(**READING) as connection, connection.begin():
            return do(connection)
    except sa.exc.DBAPIError as error:
        raise DatabaseUnavailableError(" ".join(str(error.orig).split())) from error
