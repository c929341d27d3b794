"""What is stored encrypted, and whether today's secrets decrypt it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.database.tables import IS_OPEN, deliveries, installations, tenants
from bot.database.writer import Database
from bot.encryption import Keyring, UndecipherableError, UnusableSecretError

BATCH = 50
"""Rows in one transaction: a bot beside it waits for its turn no longer than for one of its own."""

EXAMINED = 1000
"""Rows of each kind that a start examines: a few thousand values take 0.1 s."""


@dataclass(frozen=True, slots=True)
class Change:
    number: int
    column: sa.Column[Any]
    old: bytes
    new: bytes


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A table, the column that numbers its rows, and the columns that are encrypted."""

    table: sa.Table
    number: sa.Column[int]
    columns: tuple[sa.Column[Any], ...]

    def last(self, connection: Connection) -> int:
        return connection.execute(sa.select(sa.func.max(self.number))).scalar() or 0

    def rows(self, connection: Connection, after: int, last: int) -> Sequence[sa.Row[Any]]:
        """Return the next rows: the number, then the encrypted values."""
        between = (self.number > after, self.number <= last)
        page = (
            sa.select(self.number, *self.columns).where(*between).order_by(self.number).limit(BATCH)
        )
        return connection.execute(page).all()

    def put(self, connection: Connection, changes: Sequence["Change"]) -> int:
        """Write each new value where the old one still stands.

        A value that changed in between is newer than both, and stays.
        """
        written = 0
        for change in changes:
            still = (self.number == change.number, change.column == change.old)
            written += connection.execute(
                sa.update(self.table).where(*still).values({change.column: change.new})
            ).rowcount
        return written


ENCRYPTED = (
    Encrypted(tenants, tenants.c.id, (tenants.c.access_key, tenants.c.secret_key)),
    Encrypted(
        installations,
        installations.c.id,
        (installations.c.bot_token, installations.c.refresh_token),
    ),
    Encrypted(
        deliveries,
        deliveries.c.seq,
        (
            deliveries.c.text,
            deliveries.c.response_url,
            deliveries.c.detail,
            deliveries.c.last_line,
            deliveries.c.title,
        ),
    ),
)
"""All that is encrypted.

A fingerprint is not: it cannot be renewed, and counts for two minutes only.
"""


@dataclass(frozen=True, slots=True)
class Examined:
    """How many stored values were tried, and how many of them no secret decrypts."""

    values: int
    unreadable: int


def unreadable(examined: Examined) -> str:
    """Say in words what some values that cannot be decrypted mean."""
    return (
        f"{examined.unreadable:,} of {examined.values:,} stored values cannot be decrypted with "
        "ENCRYPTION_KEYS; their activities wait for the secret that encrypted them"
    )


async def examine(
    database: Database, keyring: Keyring, *, tenants_at_most: int = EXAMINED
) -> Examined:
    """Try tenants' keys, bot tokens, what has no outcome yet, and the newest activities.

    Raises UnusableSecretError when none of all that is stored can be decrypted: the secret is
    another one.
    """

    def sample(connection: Connection) -> list[bytes]:
        keys = sa.select(tenants.c.access_key, tenants.c.secret_key).order_by(tenants.c.id)
        tokens = sa.select(installations.c.bot_token).order_by(installations.c.id)
        words = sa.select(deliveries.c.text, deliveries.c.response_url, deliveries.c.detail)
        newest_first = words.order_by(deliveries.c.seq.desc()).limit(EXAMINED)
        of_admins = (keys.limit(tenants_at_most), tokens.limit(tenants_at_most))
        queries = (*of_admins, newest_first.where(IS_OPEN), newest_first)
        found = (token for query in queries for row in connection.execute(query) for token in row)
        return list(dict.fromkeys(token for token in found if token))

    tokens = await database.run(sample)
    unreadable = sum(not _is_readable(keyring, token) for token in tokens)
    if tokens and unreadable == len(tokens):
        await _require_one_readable(database, keyring)
    return Examined(len(tokens), unreadable)


def stored_values(connection: Connection) -> int:
    """Count all that is stored encrypted; 0 where there are no tables yet."""
    there = sa.inspect(connection)
    counts = [
        connection.execute(sa.select(*(_stored(column) for column in encrypted.columns))).one()
        for encrypted in ENCRYPTED
        if there.has_table(encrypted.table.name)
    ]
    return sum(count for row in counts for count in row)


def _stored(column: sa.Column[Any]) -> sa.Function[int]:
    return sa.func.count(sa.func.nullif(column, b""))  # a text that was deleted is empty


async def _require_one_readable(database: Database, keyring: Keyring) -> None:
    """Go through everything until a value can be decrypted.

    Raise UnusableSecretError when none can.
    """
    values = 0
    async for token in _all_values(database):
        if _is_readable(keyring, token):
            return
        values += 1
    raise UnusableSecretError(
        f"ENCRYPTION_KEYS: none of the {values:,} stored values can be decrypted, "
        "so the secret is another one than the one that encrypted them; "
        "add the earlier secret at the end of ENCRYPTION_KEYS. Nothing was changed"
    )


async def _all_values(database: Database) -> AsyncIterator[bytes]:
    for encrypted in ENCRYPTED:
        after, last = 0, await database.run(encrypted.last)
        while after < last:
            rows = await database.run(partial(encrypted.rows, after=after, last=last))
            for token in _values(rows):
                yield token
            after = rows[-1][0] if len(rows) == BATCH else last


def _values(rows: Sequence[Sequence[Any]]) -> Iterator[bytes]:
    """Return the encrypted values of rows whose first field is their number.

    A text that was deleted is empty.
    """
    return (token for row in rows for token in row[1:] if token)


def _is_readable(keyring: Keyring, token: bytes) -> bool:
    try:
        keyring.decrypt(token)
    except UndecipherableError:
        return False
    return True
