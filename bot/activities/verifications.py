"""Unknown outcomes, and whether their text is on the ticket after all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from bot.activities.delivery import Delivery, Finding, Rows
from bot.activities.policy import WINDOW
from bot.activities.window import Window, end_attempt, lock_window
from bot.database.clock import steady
from bot.database.statement import Statement
from bot.database.writer import Database
from bot.encryption import Keyring
from bot.leadsquared.outcome import Problem
from bot.leadsquared.tenant import Tenant

POSTPONED = 1.0
"""Seconds after which a verification is tried again for which no slot was free."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A delivery that this process is to verify now, for the so-many-th time.

    `since` is as in `Claimed`.
    """

    delivery: Delivery
    tenant: Tenant
    number: int
    since: float


class Verifications:
    """Which unknown outcomes are verified when, and what each verification found.

    `after` are the seconds between an unknown outcome, its first verification, and those that
    follow.
    """

    def __init__(
        self, database: Database, keyring: Keyring, *, lease: float, after: Sequence[float]
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._lease = lease
        self._after = after
        self._rows = Rows(keyring)

    _DUE = Statement(
        "The deliveries that are to be verified now.",
        """
        SELECT * FROM deliveries
        WHERE verify_at IS NOT NULL AND verify_at <= (SELECT bot_now())
        ORDER BY verify_at LIMIT :at_most
        FOR UPDATE SKIP LOCKED
        """,
        index=("ix_deliveries_verify",),
    )
    _NEXT = Statement(
        "In how many seconds the next delivery is to be verified.",
        """
        SELECT verify_at - bot_now() AS next_in FROM deliveries
        WHERE verify_at IS NOT NULL ORDER BY verify_at LIMIT 1
        """,
        index=("ix_deliveries_verify",),
    )

    async def claim(self, *, at_most: int) -> tuple[list[Verification], float]:
        """Take what is to be verified now, and say in how many seconds the next is.

        The seconds are infinite when nothing is planned.

        Each verification holds a slot of its tenant's window, as any call does.
        """
        since = steady()

        def write(connection: Connection) -> tuple[list[Verification], float]:
            due = [self._rows.delivery(row) for row in self._DUE.all(connection, at_most=at_most)]
            begun = [one for delivery in due if (one := self._begin(connection, delivery, since))]
            next_ = self._NEXT.one(connection)
            return begun, math.inf if next_ is None else next_["next_in"]

        return await self._database.run(write)

    _START = Statement(
        "A verification begins; the next one is due in some seconds.",
        """
        UPDATE deliveries SET verifications = verifications + 1, verify_at = bot_now() + :after
        WHERE seq = :seq
        """,
        index=("pk_deliveries",),
    )
    _BEGIN_ATTEMPT = Statement(
        "A verification's attempt holds a slot until the lease ends, and a window longer.",
        f"""
        INSERT INTO attempts (delivery_seq, number, account_id, started_at, occupied_until)
        VALUES (:seq, :number, :account_id, bot_now(), bot_now() + :lease + {WINDOW})
        """,
    )
    _POSTPONE = Statement(
        "A verification is due in some seconds.",
        "UPDATE deliveries SET verify_at = bot_now() + :after WHERE seq = :seq",
        index=("pk_deliveries",),
    )
    _END = Statement(
        "A delivery is verified no more.",
        "UPDATE deliveries SET verify_at = NULL WHERE seq = :seq",
        index=("pk_deliveries",),
    )

    def _begin(
        self, connection: Connection, delivery: Delivery, since: float
    ) -> Verification | None:
        seq = delivery.seq
        wanted = (
            delivery.resolution is None
            and delivery.finding is not Finding.PRESENT
            and delivery.text is not None
        )
        if not wanted or delivery.verifications >= len(self._after):
            self._END.run(connection, seq=seq)
            return None
        window = lock_window(connection, delivery.tenant_id, self._keyring)
        if isinstance(window, Problem) or (
            window is not None and not _may_verify(window, delivery)
        ):
            self._END.run(connection, seq=seq)
            return None
        if window is None or window.free == 0:
            self._POSTPONE.run(connection, seq=seq, after=POSTPONED)
            return None
        number = delivery.verifications + 1
        next_in = self._after[number] if number < len(self._after) else self._lease
        self._START.run(connection, seq=seq, after=max(next_in, self._lease))
        attempt = {
            "seq": seq,
            "number": -number,
            "account_id": delivery.account_id,
            "lease": self._lease,
        }
        self._BEGIN_ATTEMPT.run(connection, **attempt)
        return Verification(delivery, window.tenant, number, since)

    _ON_TICKET = Statement(
        "What deliveries brought to a ticket, or may have brought.",
        """
        SELECT seq, activity_id, resolution, text, last_line FROM deliveries
        WHERE account_id = :account_id AND ticket_id = :ticket_id
        AND (activity_id IS NOT NULL OR state = 'unknown')
        """,
        index=("ix_deliveries_on_ticket",),
    )
    _FOUND = Statement(
        "What a verification found, unless a person has decided.",
        """
        UPDATE deliveries SET finding = :finding, activity_id = :activity_id, tell_at = bot_now()
        WHERE seq = :seq AND state = 'unknown' AND resolution IS NULL
        AND problem != 'undecipherable'
        """,
        index=("pk_deliveries",),
    )

    async def shown(self, verification: Verification, ids: Sequence[str]) -> Finding | None:
        """Write down what a ticket showed.

        `ids` are the activities with the delivery's words there, the newest last.

        Other deliveries of the same words may have brought some of them. Those do not count, and
        neither do those that another unknown delivery may have brought: which is which cannot be
        told, and the earlier delivery has the earlier activity. Return None when a person has
        decided already.
        """

        def write(connection: Connection) -> Finding | None:
            delivery = verification.delivery
            _end(connection, verification, "verified")
            ticket = {"account_id": delivery.account_id, "ticket_id": delivery.ticket_id}
            others = [
                row
                for row in self._ON_TICKET.all(connection, **ticket)
                # A later one of which nothing is known comes after this.
                if row["activity_id"] or row["resolution"] or row["seq"] < delivery.seq
            ]
            theirs = {row["activity_id"] for row in others}
            same = sum(self._rows.has_text(row, delivery.sent_text or "") for row in others)
            left = [id_ for id_ in ids if id_ not in theirs]
            finding = Finding.PRESENT if left and len(ids) > same else Finding.ABSENT
            activity_id = left[-1] if finding is Finding.PRESENT else None
            changed = self._FOUND.run(
                connection, seq=delivery.seq, finding=finding, activity_id=activity_id
            )
            if finding is Finding.PRESENT:
                self._END.run(connection, seq=delivery.seq)
            return finding if changed else None

        return await self._database.run(write, repeatable=True)

    async def not_shown(self, verification: Verification) -> None:
        """Write down that LeadSquared showed neither that the text is there nor that it is not."""
        await self._database.run(
            lambda connection: _end(connection, verification, "not_shown"), repeatable=True
        )


def _end(connection: Connection, verification: Verification, outcome: str) -> None:
    end_attempt(
        connection, verification.delivery.seq, -verification.number, outcome, occupied_for=WINDOW
    )


def _may_verify(window: Window, delivery: Delivery) -> bool:
    """Say whether today's tenant can be asked about a delivery.

    Its keys must be known, and it must name the same account.
    """
    return window.has_keys and window.tenant.account_id == delivery.account_id
