"""Retention: after a time the words of settled activities go, and later the rows."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from sqlalchemy.engine import Connection

from bot.database.statement import Statement
from bot.database.writer import Database, DatabaseUnavailableError

_log = structlog.get_logger(__name__)

DAY = 86_400.0

BATCH = 100
"""Rows in one transaction, so that what people wait for is not held up."""

PAUSE = 0.05
"""Seconds between two batches."""

LOOK = 600.0
"""Seconds between two searches."""

FIRST_LOOK = 30.0
"""Seconds until the first one: a start has other things to do."""

KEPT_RESENDABLE = 90
"""With RETENTION_DAYS=0: days for which a text stays that a person may still send again."""


@dataclass(frozen=True, slots=True)
class Erased:
    """How many texts and how many rows one search has deleted."""

    texts: int
    rows: int


class Retention:
    """Deletes what is older than it may get, beside the work. Any number of processes may."""

    def __init__(self, database: Database, *, text_days: float, audit_days: float) -> None:
        self._database = database
        self._text_days = text_days
        self._audit_days = audit_days

    async def run(self) -> None:
        """Search now and then, until cancelled."""
        await asyncio.sleep(FIRST_LOOK)
        while True:
            try:
                erased = await self.erase()
            except DatabaseUnavailableError as error:
                _log.warning("database_unavailable", reason=str(error))
            else:
                if erased != Erased(0, 0):
                    _log.info("retention_ended", texts=erased.texts, rows=erased.rows)
            await asyncio.sleep(LOOK)

    async def erase(self) -> Erased:
        """Delete everything that is old enough. Raises DatabaseUnavailableError."""
        texts = 0
        if self._text_days == 0:
            texts += await self._in_batches(self._ERASE_FINAL)
        days = self._text_days or KEPT_RESENDABLE
        texts += await self._in_batches(self._ERASE_TEXTS, seconds=days * DAY)
        rows = 0
        while count := await self._database.run(self._delete):
            rows += count
            await asyncio.sleep(PAUSE)
        await self._database.run(
            lambda connection: self._DELETE_AUDIT.run(connection, seconds=self._audit_days * DAY)
        )
        return Erased(texts, rows)

    _DELETE_AUDIT = Statement(
        "What administrators did so many seconds ago.",
        "DELETE FROM audit WHERE at < (SELECT bot_now()) - :seconds",
        index=("ix_audit_at",),
    )

    # An empty text is a deleted one. What is still to be told needs its text.
    _ERASE_TEXTS = Statement(
        "Delete the words of what was settled so many seconds ago.",
        """
        UPDATE deliveries
        SET text = :nothing, response_url = NULL, detail = NULL, last_line = NULL, title = NULL,
            erased_at = bot_now()
        WHERE seq IN (
            SELECT seq FROM deliveries
            WHERE settled_at < (SELECT bot_now()) - :seconds AND erased_at IS NULL
            AND tell_at IS NULL AND verify_at IS NULL
            ORDER BY erased_at, settled_at LIMIT :at_most
            FOR UPDATE SKIP LOCKED
        )
        """,
        index=("ix_deliveries_unerased", "pk_deliveries"),
    )
    _ERASE_FINAL = Statement(
        "Delete the words of what no person can send again.",
        """
        UPDATE deliveries
        SET text = :nothing, response_url = NULL, detail = NULL, last_line = NULL, title = NULL,
            erased_at = bot_now()
        WHERE seq IN (
            SELECT seq FROM deliveries
            WHERE settled_at IS NOT NULL AND erased_at IS NULL
            AND (state = 'recorded' OR resolution IS NOT NULL)
            AND tell_at IS NULL AND verify_at IS NULL
            ORDER BY erased_at, settled_at LIMIT :at_most
            FOR UPDATE SKIP LOCKED
        )
        """,
        index=("ix_deliveries_unerased", "pk_deliveries"),
    )

    async def _in_batches(self, statement: Statement, **values: object) -> int:
        total = 0
        while True:
            count = await self._database.run(
                lambda connection: statement.run(connection, nothing=b"", at_most=BATCH, **values)
            )
            total += count
            if count < BATCH:
                return total
            await asyncio.sleep(PAUSE)

    _OLD = Statement(
        "Activities whose time in the audit trail is over.",
        """
        SELECT seq FROM deliveries WHERE settled_at < (SELECT bot_now()) - :seconds
        ORDER BY settled_at LIMIT :at_most
        FOR UPDATE SKIP LOCKED
        """,
        index=("ix_deliveries_settled",),
    )

    def _delete(self, connection: Connection) -> int:
        seconds = self._audit_days * DAY
        old = self._OLD.all(connection, seconds=seconds, at_most=BATCH)
        delete_activities(connection, [row["seq"] for row in old])
        return len(old)


_DELETE_ATTEMPTS = Statement(
    "The attempts of an activity go with it.",
    "DELETE FROM attempts WHERE delivery_seq = :seq",
    index=("pk_attempts",),
)
_DELETE = Statement(
    "An activity goes altogether.",
    "DELETE FROM deliveries WHERE seq = :seq",
    index=("pk_deliveries",),
)


def delete_activities(connection: Connection, seqs: Iterable[int]) -> None:
    """Delete activities with their attempts."""
    for seq in seqs:
        _DELETE_ATTEMPTS.run(connection, seq=seq)
        _DELETE.run(connection, seq=seq)
