"""What people are still to be told, and who tells it: one process at a time, under a lease."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from bot.activities.delivery import Delivery, Route, Rows
from bot.activities.outbox import PASSED_BY
from bot.activities.policy import (
    AFTER_ANSWERS,
    TELL_FOR,
    Step,
    Tell,
    Wait,
    anchor_mark,
    next_telling,
    reason_for_waiting,
)
from bot.database.statement import Row, Statement
from bot.database.writer import Database
from bot.encryption import Keyring
from bot.tenants.directory import EVERYBODY, Scope

SEARCH_PAST = 500
"""How many rows a claim may pass over: of quiet conversations, and what is marked after answers."""


@dataclass(frozen=True, slots=True)
class Due:
    """A step that this process is to tell now.

    `at` is that moment by the database's clock, `lease_until` the one until which the telling is
    this process's own.
    """

    delivery: Delivery
    step: Step
    at: float
    lease_until: float


class Tellings:
    """What is to be told, in the application's own database.

    `lease` in seconds: a telling that is not written down by then may be told again, by any
    process.
    """

    def __init__(self, database: Database, keyring: Keyring, *, lease: float) -> None:
        self._database = database
        self._lease = lease
        self._rows = Rows(keyring)

    # What a process may tell: what it has a token for, what needs none, and what no other process
    # has told in time. After a day any process may give it up.
    _DUE = Statement(
        "What is to be told now, and this process may tell. For the first `leave` seconds, only"
        " a process with the token may.",
        f"""
        SELECT seq, team_id, channel_id, replied_at IS NOT NULL AS is_answered FROM deliveries
        WHERE tell_at <= (SELECT bot_now())
        AND (tell_lease_until IS NULL OR tell_lease_until < bot_now())
        AND (NOT :settled_only OR settled_at IS NOT NULL)
        AND (
            (:team_id = '' AND :enterprise_id = '')
            OR team_id = :team_id
            OR enterprise_id = :enterprise_id
            OR route = 'response_url'
            OR (
                response_url IS NOT NULL AND route != 'direct_message' AND replied_at IS NULL
                AND tell_at < (SELECT bot_now()) - :leave
            )
            OR accepted_at < (SELECT bot_now()) - {TELL_FOR}
        )
        ORDER BY tell_at LIMIT :at_most
        """,
        index=("ix_deliveries_untold",),
    )
    # By order, and not by min(): of a million rows PostgreSQL takes a third for likely to be
    # counted, and makes a great plan for it (two workers, compiled: 50 ms) when the index holds
    # next to nothing.
    _NEXT = Statement(
        "In how many seconds the next telling is due.",
        """
        SELECT tell_at - bot_now() AS next_in FROM deliveries
        WHERE tell_at > (SELECT bot_now()) ORDER BY tell_at LIMIT 1
        """,
        index=("ix_deliveries_untold",),
    )
    _LOCK = Statement(
        "A delivery, and whether no process has a lease on its telling.",
        """
        SELECT *, bot_now() AS now,
            (tell_lease_until IS NULL OR tell_lease_until < bot_now()) AS is_free
        FROM deliveries WHERE seq = :seq
        FOR UPDATE SKIP LOCKED
        """,
        index=("pk_deliveries",),
    )

    async def claim(
        self,
        scope: Scope = EVERYBODY,
        *,
        leave: float = 0.0,
        at_most: int,
        sparing: Collection[int] = (),
        quiet: Collection[tuple[str, str]] = (),
        busy: Collection[tuple[str, str]] = (),
        settled_only: bool = False,
    ) -> tuple[list[Due], float]:
        """Take what is due to be told, and say in how many seconds the next will be.

        The seconds are infinite when nothing is planned.

        `scope` is the part of Slack that this process has a token for. Others' deliveries are left
        to the processes that have theirs, for `leave` seconds. Then they are told by response_url,
        which needs no token. `sparing` are the deliveries, by seq, that this process is telling
        already, however long that takes; `quiet` the conversations, as (team_id, channel_id), in
        which Slack wants no message just now, and `busy` those in which an answer is on its way.
        What was answered is marked after all answers that are due there. `settled_only` leaves out
        what has no outcome yet.
        """
        spared, silent = frozenset(sparing), frozenset(quiet)
        asked = {
            "team_id": scope.team_id,
            "enterprise_id": scope.enterprise_id,
            "leave": leave,
            "settled_only": settled_only,
            "at_most": at_most + len(spared) + SEARCH_PAST,
        }

        def write(connection: Connection) -> tuple[list[Due], float]:
            rows = self._DUE.all(connection, **asked)
            due = _in_order(
                (row for row in rows if row["seq"] not in spared and _place(row) not in silent),
                busy,
            )
            locked = [self._LOCK.one(connection, seq=seq) for seq in due[:at_most]]
            free = [row for row in locked if row is not None and row["is_free"]]
            found = [step for row in free if (step := self._next_step(connection, row)) is not None]
            if len(due) >= at_most:
                return found, 0.0
            if None in locked:
                return found, PASSED_BY  # another transaction held its row
            next_ = self._NEXT.one(connection)
            return found, math.inf if next_ is None else next_["next_in"]

        return await self._database.run(write)

    _ANCHORED = Statement(
        "The anchor was posted.",
        """
        UPDATE deliveries SET anchor_ts = :ts, anchor_mark = :mark, tell_attempts = 0
        WHERE seq = :seq
        """,
        index=("pk_deliveries",),
    )
    _NOTED = Statement(
        "A note was told.",
        "UPDATE deliveries SET noted = :noted, note_ts = :ts, tell_attempts = 0 WHERE seq = :seq",
        index=("pk_deliveries",),
    )
    _FINDING_TOLD = Statement(
        "What a verification found was told.",
        "UPDATE deliveries SET finding_told = :finding, tell_attempts = 0 WHERE seq = :seq",
        index=("pk_deliveries",),
    )
    _ANSWERED = Statement(
        "The answer was told. One that took the note's place is no note to be deleted.",
        """
        UPDATE deliveries
        SET replied_at = bot_now(), answer_ts = :ts, resolution_told = :resolution,
            note_ts = CASE WHEN note_ts = :ts THEN NULL ELSE note_ts END, tell_attempts = 0
        WHERE seq = :seq
        """,
        index=("pk_deliveries",),
    )
    _DECISION_TOLD = Statement(
        "The answer shows a person's decision.",
        "UPDATE deliveries SET resolution_told = :resolution, tell_attempts = 0 WHERE seq = :seq",
        index=("pk_deliveries",),
    )
    _NOTE_DELETED = Statement(
        "The note was deleted.",
        "UPDATE deliveries SET note_ts = NULL, tell_attempts = 0 WHERE seq = :seq",
        index=("pk_deliveries",),
    )
    _MARKED = Statement(
        "The anchor shows a mark.",
        "UPDATE deliveries SET anchor_mark = :mark, tell_attempts = 0 WHERE seq = :seq",
        index=("pk_deliveries",),
    )

    async def told(self, due: Due, ts: str | None) -> Due | None:
        """Write down that a step was told, as message `ts`.

        Return what this process is to tell next.
        """
        leases = [due.lease_until]
        delivery = due.delivery
        in_thread = (
            ts if delivery.route is Route.THREAD else None
        )  # what only one person sees cannot be changed

        def write(connection: Connection) -> Due | None:
            seq = delivery.seq
            match due.step:
                case Step.ANCHOR:
                    self._ANCHORED.run(connection, seq=seq, ts=ts, mark=anchor_mark(delivery))
                case Step.NOTE:
                    self._NOTED.run(
                        connection, seq=seq, noted=reason_for_waiting(delivery), ts=in_thread
                    )
                case Step.FINDING:
                    self._FINDING_TOLD.run(connection, seq=seq, finding=delivery.finding)
                case Step.ANSWER:
                    self._ANSWERED.run(
                        connection, seq=seq, ts=in_thread, resolution=delivery.resolution
                    )
                case Step.DECISION:
                    self._DECISION_TOLD.run(connection, seq=seq, resolution=delivery.resolution)
                case Step.DELETION:
                    self._NOTE_DELETED.run(connection, seq=seq)
                case Step.MARK:
                    self._MARKED.run(connection, seq=seq, mark=anchor_mark(delivery))
            return self._go_on(connection, seq, leases)

        return await self._database.run(write, repeatable=True)

    _REROUTED = Statement(
        "It is told by another route from here.",
        "UPDATE deliveries SET route = :route, tell_attempts = 0 WHERE seq = :seq",
        index=("pk_deliveries",),
    )

    async def tell_elsewhere(self, due: Due, route: Route) -> Due | None:
        """Go on by another route; return what this process is to tell there."""
        leases = [due.lease_until]

        def write(connection: Connection) -> Due | None:
            self._REROUTED.run(connection, seq=due.delivery.seq, route=route)
            return self._go_on(connection, due.delivery.seq, leases)

        return await self._database.run(write, repeatable=True)

    # A process whose lease has ended, and is another process's by now, plans nothing.
    _TELL_LATER = Statement(
        "A step that Slack did not take is due again in some seconds.",
        """
        UPDATE deliveries
        SET tell_at = bot_now() + :seconds, tell_attempts = tell_attempts + 1,
            tell_lease_until = NULL
        WHERE seq = :seq AND tell_lease_until = :lease_until
        """,
        index=("pk_deliveries",),
    )
    _GIVE_UP = Statement(
        "A step is told no more. If the delivery has changed since, that change said when to tell.",
        """
        UPDATE deliveries
        SET tell_lease_until = NULL, tell_at = CASE
            WHEN state = :state AND COALESCE(resolution, '') = COALESCE(:resolution, '')
                AND COALESCE(finding, '') = COALESCE(:finding, '') THEN NULL
            ELSE tell_at
        END
        WHERE seq = :seq AND tell_lease_until = :lease_until
        """,
        index=("pk_deliveries",),
    )

    async def tell_later(self, due: Due, seconds: float | None) -> None:
        """Give the telling back, to be tried again in some seconds.

        None: never; what has changed since is still told.
        """
        delivery = due.delivery
        mine = {"seq": delivery.seq, "lease_until": due.lease_until}
        as_it_was = {
            "state": delivery.state,
            "resolution": delivery.resolution,
            "finding": delivery.finding,
        }

        def write(connection: Connection) -> None:
            if seconds is None:
                self._GIVE_UP.run(connection, **mine, **as_it_was)
            else:
                self._TELL_LATER.run(connection, **mine, seconds=seconds)

        await self._database.run(write, repeatable=True)

    def _go_on(self, connection: Connection, seq: int, leases: list[float]) -> Due | None:
        """Return the next step, unless the lease had ended and another process took over.

        `leases` are the ends of this process's own, to which a new one is added: a unit of work
        may be run twice.
        """
        row = self._LOCK.one(connection, seq=seq)
        if row is None or row["tell_lease_until"] not in leases:
            return None
        due = self._next_step(connection, row, after=AFTER_ANSWERS)
        if due is not None:
            leases.append(due.lease_until)
        return due

    _LEASE = Statement(
        "This process is to tell a step, until its lease ends.",
        """
        UPDATE deliveries SET tell_lease_until = bot_now() + :lease WHERE seq = :seq
        RETURNING tell_lease_until
        """,
        index=("pk_deliveries",),
    )
    _PLAN = Statement(
        "The next step is due at a moment, or there is none (NULL).",
        "UPDATE deliveries SET tell_at = :tell_at, tell_lease_until = NULL WHERE seq = :seq",
        index=("pk_deliveries",),
    )

    def _next_step(
        self, connection: Connection, row: Row, after: Collection[Step] = ()
    ) -> Due | None:
        """Lease what is to be told now.

        `after` are the steps that wait until other deliveries' answers are told.

        If there is nothing, plan the next step and give up the lease in the same transaction. This
        transaction sees an outcome that was committed before it; a later one wakes a teller.
        """
        delivery, moment = self._rows.delivery(row), row["now"]
        next_ = next_telling(delivery, moment)
        if isinstance(next_, Tell) and next_.step in after:
            next_ = Wait(moment)
        if isinstance(next_, Tell):
            (leased,) = self._LEASE.all(connection, seq=delivery.seq, lease=self._lease)
            if next_.step is Step.DECISION:
                delivery = self._rows.with_successor(delivery, connection)
            return Due(delivery, next_.step, moment, leased["tell_lease_until"])
        tell_at = next_.until if isinstance(next_, Wait) else None
        self._PLAN.run(connection, seq=delivery.seq, tell_at=tell_at)
        return None


def _in_order(rows: Iterable[Row], busy: Collection[tuple[str, str]]) -> list[int]:
    """Return the deliveries to tell, the unanswered first.

    What is answered waits while an answer is due, or on its way, in its conversation.
    """
    found = [(row["seq"], _place(row), row["is_answered"]) for row in rows]
    answering = {place for _, place, is_answered in found if not is_answered}.union(busy)
    unanswered = [seq for seq, _, is_answered in found if not is_answered]
    return unanswered + [
        seq for seq, place, is_answered in found if is_answered and place not in answering
    ]


def _place(row: Row) -> tuple[str, str]:
    return row["team_id"], row["channel_id"]
