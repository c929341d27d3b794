"""What has no outcome yet, as a start finds it and a restore settles it."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.activities.delivery import State, Waiting
from bot.database.tables import IS_ACCEPTED, IS_OPEN, deliveries, now
from bot.database.writer import Database
from bot.leadsquared.outcome import Problem

OUTDATED = 3600.0
"""Seconds after the newest acceptance from which on a database with something waiting may be a
restored backup.
"""


@dataclass(frozen=True, slots=True)
class AtStart:
    """How many activities have no outcome yet, and how old the newest entry of all is.

    `newest_ago` is in seconds since its acceptance.
    """

    waiting: int
    newest_ago: float

    @property
    def looks_restored(self) -> bool:
        """Whether another database may have gone on from here.

        True when an activity waits, and the newest entry is old.
        """
        return self.waiting > 0 and self.newest_ago > OUTDATED


async def find_at_start(database: Database) -> AtStart:
    """Count what has no outcome yet, and read the newest entry.

    Each has its index: `ix_deliveries_open`, and the primary key.
    """

    def read(connection: Connection) -> AtStart:
        waiting = connection.scalar(sa.select(sa.func.count()).where(IS_OPEN))
        newest = (
            sa.select(now() - deliveries.c.accepted_at).order_by(deliveries.c.seq.desc()).limit(1)
        )
        return AtStart(waiting or 0, connection.scalar(newest) or 0.0)

    return await database.run(read)


async def retry_undecipherable(database: Database) -> None:
    """Try at once what waits for a secret: this start may have brought it."""
    waits = (IS_ACCEPTED, deliveries.c.waiting == Waiting.UNDECIPHERABLE)
    await database.run(
        lambda connection: connection.execute(
            deliveries.update().where(*waits).values(due_at=now())
        )
    )


async def settle_restored(database: Database, *, verify_after: float | None) -> int:
    """Settle as unknown all that has no outcome yet, and return how many there were.

    This is for a backup when another database went on from it. The next process that runs tells
    their people, and verifies them on their tickets after `verify_after` seconds (None: never).
    """
    settled = {
        "state": State.UNKNOWN,
        "problem": Problem.RESTORED,
        "settled_at": now(),
        "lease_until": None,
    }
    next_ = {"tell_at": now(), "verify_at": None if verify_after is None else now() + verify_after}
    change = deliveries.update().where(IS_OPEN).values(**settled, **next_)
    return await database.run(lambda connection: connection.execute(change).rowcount)
