"""A statement as plain SQL, with named parameters and named rows.

The text is the same for SQLite and PostgreSQL.
"""

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Connection

Row = dict[str, Any]
"""A row's values by the names of its columns."""

_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")  # not the type in value::type
_LOCK = re.compile(r" FOR UPDATE( OF \w+)?( SKIP LOCKED)?\b")


class Statement:
    """SQL with parameters written `:name`, which runs on the driver's own connection.

    `purpose` says what it is for. `index` names the indexes that it finds its rows by, on both
    databases: tests/database/test_plans.py holds its plans against them.

    Two things differ between the databases. PostgreSQL's driver writes a parameter `%(name)s`. And
    SQLite has one writer at a time, so it neither needs nor knows FOR UPDATE: it is left out there.
    """

    __slots__ = ("_on_postgresql", "_on_sqlite", "index", "parameters", "purpose", "sql")

    def __init__(self, purpose: str, sql: str, *, index: Sequence[str] = ()) -> None:
        self.purpose = purpose
        self.sql = " ".join(sql.split())
        self.index = frozenset(index)
        self.parameters = frozenset(_PARAMETER.findall(self.sql))
        self._on_sqlite = _LOCK.sub("", self.sql)
        self._on_postgresql = _PARAMETER.sub(r"%(\1)s", self.sql.replace("%", "%%"))

    def all(self, connection: Connection, **values: object) -> list[Row]:
        """Execute, and return every row."""
        cursor = self.execute(connection, values)
        rows: list[Any] = cursor.fetchall()
        if not isinstance(cursor, sqlite3.Cursor):
            return rows
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=False)) for row in rows]

    def one(self, connection: Connection, **values: object) -> Row | None:
        """Execute, and return the first row; None when there is none."""
        rows = self.all(connection, **values)
        return rows[0] if rows else None

    def run(self, connection: Connection, **values: object) -> int:
        """Execute, and return how many rows changed."""
        changed: int = self.execute(connection, values).rowcount
        return changed

    def execute(
        self,
        connection: Connection,
        values: dict[str, object],
    ) -> Any:  # noqa: ANN401 - the driver's cursor
        """Execute with a value for each parameter, and return the driver's cursor.

        Read the cursor at once. `Database` translates what the driver raises.
        """
        if values.keys() != self.parameters:
            wrong = ", ".join(sorted(values.keys() ^ self.parameters))
            raise TypeError(f"missing or unknown parameters: {wrong}; {self.purpose}")
        driver: Any = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection):
            return driver.execute(self._on_sqlite, values)
        from psycopg.rows import dict_row  # noqa: PLC0415 - loaded only where it is used

        # `description` costs this driver 4 µs for each column, and some rows have 50.
        return driver.cursor(row_factory=dict_row).execute(self._on_postgresql, values)
