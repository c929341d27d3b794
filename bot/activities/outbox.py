"""The durable outbox: what was accepted is claimed, sent and settled."""

import math
import secrets
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy.engine import Connection

from bot.activities.backlog import Queued
from bot.activities.delivery import Delivery, Rows, State
from bot.activities.policy import OUTCOME_WITHIN, WINDOW, Decision, Repeat, may_begin
from bot.activities.window import end_attempt, hold, lock_window
from bot.database.clock import steady
from bot.database.statement import Statement
from bot.database.writer import Database
from bot.encryption import Keyring
from bot.leadsquared.outcome import NotBegun, NotSent, Outcome, Problem, Undecipherable
from bot.leadsquared.tenant import Tenant

PASSED_BY = 0.05
"""Seconds until the next visit to a tenant of which another process held a row."""

VISITED_AT_ONCE = 25
"""Tenants that one claim visits at most, each with a few statements.

Acceptances commit between two claims.
"""

SOONEST = 100_000
"""Tickets that a search for tenants with something to send takes in at most."""

_OPEN_ON_ITS_TICKET = """
    earlier.tenant_id = deliveries.tenant_id AND earlier.ticket_id = deliveries.ticket_id
    AND earlier.state IN ('accepted', 'claimed', 'sending')
"""

_HEADS = f"""
    SELECT seq FROM deliveries
    WHERE tenant_id = :tenant_id AND state = 'accepted' AND due_at <= :moment
    AND NOT EXISTS (
        SELECT 1 FROM deliveries AS earlier
        WHERE {_OPEN_ON_ITS_TICKET}
        AND (earlier.seq < deliveries.seq OR earlier.state IN ('claimed', 'sending'))
    )
"""
"""The first open delivery of each of a tenant's tickets, if it is due: an earlier one goes first.

So does a later one that is claimed: another process had committed and claimed it before the
earlier one was committed.
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process is to send now.

    `at` is the moment of the claim by the database's clock, `since` one before it by `steady`.
    `has_keys`: the tenant's keys could be decrypted; they are empty otherwise.
    """

    delivery: Delivery
    tenant: Tenant
    at: float
    since: float
    has_keys: bool = True


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim brought, and in how many seconds the next can bring more, per tenant.

    `next_in` is infinite when nothing is planned. It counts from `counted_at`, by
    time.monotonic(): the commit, and the way to the worker, take their time.

    `visited` are the tenants that were visited; the others are to be visited again. `full` are the
    tenants whose window was full, with more waiting: a new acceptance need not ask before that
    time. `held_back` are those that had more waiting and a free slot, but calls enough in flight.
    `ended` is what was settled without sending, by id: its tenant is gone, or names another
    account today.
    """

    claimed: tuple[Claimed, ...]
    next_in: dict[int, float]
    counted_at: float
    visited: frozenset[int]
    full: frozenset[int]
    held_back: frozenset[int]
    ended: dict[Problem, list[str]]


class Outbox:
    """Deliveries in the application's own database.

    `lease` in seconds; a claim not settled by then is unknown.

    `verify_after`: the seconds between an unknown outcome and its first verification. None: never.
    """

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        *,
        lease: float,
        verify_after: float | None = None,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._lease = lease
        self._verify_after = verify_after
        self._rows = Rows(keyring)

    # The limit keeps both databases to the index: what is due first, first. Without it SQLite
    # takes an order that suits the grouping, and PostgreSQL joins all that is open with itself.
    _WAITING_TENANTS = Statement(
        "Which tenants soon have something to send, and in how many seconds. It must be the first"
        " open delivery of its ticket.",
        f"""
        SELECT tenant_id, min(due_at) - (SELECT bot_now()) AS due_in
        FROM (
            SELECT tenant_id, due_at FROM deliveries
            WHERE state = 'accepted' AND due_at <= (SELECT bot_now()) + :within
            AND seq = (
                SELECT earlier.seq FROM deliveries AS earlier
                WHERE {_OPEN_ON_ITS_TICKET}
                ORDER BY earlier.seq LIMIT 1
            )
            ORDER BY due_at LIMIT {SOONEST}
        ) AS soon
        GROUP BY tenant_id
        """,
        index=("ix_deliveries_due", "ix_deliveries_open"),
    )

    async def waiting_tenants(self, *, within: float) -> dict[int, float]:
        """Return in how many seconds each tenant has something to send.

        Leave out those that have nothing `within` so many. 0.0 or less: now.
        """
        rows = await self._database.run(
            lambda connection: self._WAITING_TENANTS.all(connection, within=within)
        )
        return {row["tenant_id"]: row["due_in"] for row in rows}

    async def claim(
        self,
        tenant_ids: Sequence[int],
        *,
        at_most: int = 100,
        in_flight: Mapping[int, int] = MappingProxyType({}),
    ) -> Claim:
        """Take what these tenants may send now, in order per ticket and within each one's window.

        The first tenant goes first, and who goes beyond VISITED_AT_ONCE is not visited. No
        tenant's lock is waited for, so two processes cannot deadlock. `in_flight` are
        this process's calls by tenant, among which each has its share. A claimed delivery has a
        lease, its attempt is written down, and its slot is in use. One that is not begun when its
        lease ends is accepted again.
        """
        name, since = secrets.token_hex(8), steady()
        return await self._database.run(
            lambda connection: self._claim(connection, name, since, tenant_ids, at_most, in_flight)
        )

    def _claim(
        self,
        connection: Connection,
        name: str,
        since: float,
        tenant_ids: Sequence[int],
        at_most: int,
        in_flight: Mapping[int, int],
    ) -> Claim:
        claimed: list[Claimed] = []
        next_in: dict[int, float] = {}
        visited: set[int] = set()
        full: set[int] = set()
        held_back: set[int] = set()
        of_all = sum(in_flight.values())
        ended: dict[Problem, list[str]] = defaultdict(list)
        for tenant_id in tenant_ids:
            if len(claimed) >= at_most or len(visited) >= VISITED_AT_ONCE:
                next_in[tenant_id] = 0.0
                continue
            share = may_begin(in_flight.get(tenant_id, 0), of_all + len(claimed))
            if share == 0:
                next_in[tenant_id] = math.inf
                held_back.add(tenant_id)
                continue
            window = lock_window(connection, tenant_id, self._keyring)
            if window is None:
                next_in[tenant_id] = PASSED_BY
                continue
            visited.add(tenant_id)
            if isinstance(window, Problem):
                ended[window] += self._end_waiting(connection, tenant_id, window)
                next_in[tenant_id] = math.inf
                continue
            moment, free = window.at, window.free
            room = min(free, share)
            heads = self._claim_heads(connection, name, tenant_id, moment, room)
            for misplaced in [one for one in heads if one.account_id != window.tenant.account_id]:
                self._refuse(connection, misplaced)
                ended[Problem.ACCOUNT_CHANGED].append(misplaced.id)
                heads.remove(misplaced)
            claimed += [
                Claimed(delivery, window.tenant, moment, since, window.has_keys)
                for delivery in heads
            ]
            if len(heads) == room < free:
                next_in[tenant_id] = (
                    math.inf
                )  # more may be waiting, and have a slot: when other calls have ended
                held_back.add(tenant_id)
                continue
            next_at = self._next_at(
                connection, tenant_id, moment, room=free - len(heads), free_at=window.free_at
            )
            next_in[tenant_id] = math.inf if next_at is None else max(next_at - moment, 0.0)
            if free <= len(heads) and next_at is not None:
                full.add(tenant_id)
        counted_at = time.monotonic()
        return Claim(
            tuple(claimed),
            next_in,
            counted_at,
            frozenset(visited),
            frozenset(full),
            frozenset(held_back),
            ended,
        )

    # PostgreSQL passes by a head whose row another process has locked, to tell its person.
    _CLAIM_HEADS = Statement(
        "Claim the heads of a tenant's tickets, as many as there is room for; in no order.",
        f"""
        WITH heads AS ({_HEADS} ORDER BY seq LIMIT :room FOR UPDATE SKIP LOCKED)
        UPDATE deliveries
        SET state = 'claimed', lease_until = bot_now() + :lease, claimed_by = :claimed_by,
            attempts = attempts + 1, first_attempt_at = COALESCE(first_attempt_at, bot_now()),
            tell_at = bot_now() + {OUTCOME_WITHIN}
        WHERE seq IN (SELECT seq FROM heads) AND state = 'accepted'
        RETURNING *
        """,
        index=("ix_deliveries_waiting", "ix_deliveries_open", "pk_deliveries"),
    )
    # That it is open goes without saying, but leads to the index that begins with the tenant.
    _BEGIN_ATTEMPTS = Statement(
        "An attempt for each delivery of a claim. Each holds a slot until the lease ends, and"
        " a window longer.",
        f"""
        INSERT INTO attempts (delivery_seq, number, account_id, started_at, occupied_until)
        SELECT seq, attempts, account_id, bot_now(), bot_now() + :lease + {WINDOW}
        FROM deliveries
        WHERE tenant_id = :tenant_id AND state IN ('accepted', 'claimed', 'sending')
        AND state = 'claimed' AND claimed_by = :claimed_by
        """,
        index=("ix_deliveries_open",),
    )

    def _claim_heads(
        self, connection: Connection, name: str, tenant_id: int, moment: float, room: int
    ) -> list[Delivery]:
        if room == 0:
            return []
        claim = {"tenant_id": tenant_id, "claimed_by": name, "lease": self._lease}
        rows = self._CLAIM_HEADS.all(connection, **claim, moment=moment, room=room)
        if rows:
            self._BEGIN_ATTEMPTS.run(connection, **claim)
        return sorted((self._rows.delivery(row) for row in rows), key=lambda delivery: delivery.seq)

    def _refuse(self, connection: Connection, delivery: Delivery) -> None:
        """Settle what was accepted for another account than its tenant names today."""
        _end_unbegun(connection, delivery.seq, delivery.attempts)
        refused = {
            "state": State.REJECTED,
            "problem": Problem.ACCOUNT_CHANGED,
            "activity_id": None,
            "detail": None,
        }
        self._SETTLE.run(connection, id=delivery.id, attempts=delivery.attempts, **refused)

    _ANY_WAITING = Statement(
        "Whether anything waits for a tenant.",
        "SELECT seq FROM deliveries WHERE tenant_id = :tenant_id AND state = 'accepted' LIMIT 1",
        index=("ix_deliveries_waiting",),
    )
    # Not the bare `due_at`: PostgreSQL would search for it along all tenants' moments.
    _NEXT_DUE = Statement(
        "When the next of a tenant's deliveries is due, and whether a head that is due was passed"
        " by, because another process held its row. (SQLite has one writer: it never is there.)",
        f"""
        SELECT min(due_at + 0.0) AS next_at, EXISTS ({_HEADS}) AS passed_by
        FROM deliveries
        WHERE tenant_id = :tenant_id AND state = 'accepted' AND due_at + 0.0 > :moment
        """,
        index=("ix_deliveries_waiting", "ix_deliveries_open"),
    )

    def _next_at(
        self,
        connection: Connection,
        tenant_id: int,
        moment: float,
        *,
        room: int,
        free_at: float | None,
    ) -> float | None:
        """Return when the tenant could send more without anybody waking the worker.

        Return None when nothing is planned.
        """
        if room <= 0:
            return (
                None if self._ANY_WAITING.one(connection, tenant_id=tenant_id) is None else free_at
            )
        (row,) = self._NEXT_DUE.all(connection, tenant_id=tenant_id, moment=moment)
        next_at: float | None = row["next_at"]
        return moment + PASSED_BY if row["passed_by"] else next_at

    _END_WAITING = Statement(
        "Settle without a call what waits for a tenant.",
        """
        UPDATE deliveries
        SET state = 'rejected', problem = :problem, settled_at = bot_now(), tell_at = bot_now()
        WHERE tenant_id = :tenant_id AND state = 'accepted'
        RETURNING id
        """,
        index=("ix_deliveries_waiting",),
    )

    def _end_waiting(self, connection: Connection, tenant_id: int, problem: Problem) -> list[str]:
        """Settle all that waits for a tenant that cannot be called any more; return the IDs.

        This needs no call.
        """
        return [
            row["id"]
            for row in self._END_WAITING.all(connection, tenant_id=tenant_id, problem=problem)
        ]

    # By its id: a database that is new, or restored, gives the same numbers to others.
    _BEGIN = Statement(
        "A claimed delivery's request goes out now, with this last line, if the claim stands.",
        """
        UPDATE deliveries SET state = 'sending', last_line = :last_line
        WHERE id = :id AND attempts = :attempts AND state = 'claimed' AND lease_until > bot_now()
        """,
        index=("uq_deliveries_id",),
    )

    async def begin(self, claimed: Claimed, last_line: str | None = None) -> bool:
        """Commit that a claimed delivery's request goes out now, with this last line.

        So a retry sends the same bytes. Return False when the claim has ended: then nothing may
        go out.
        """
        delivery = claimed.delivery
        line = None if last_line is None else self._keyring.encrypt(last_line)
        mine = {"id": delivery.id, "attempts": delivery.attempts, "last_line": line}
        return await self._database.run(
            lambda connection: self._BEGIN.run(connection, **mine) == 1, row=delivery.seq
        )

    _REPEAT = Statement(
        "A claimed delivery is due again later.",
        """
        UPDATE deliveries
        SET state = 'accepted', due_at = :due_at, waiting = :waiting, lease_until = NULL,
            tell_at = bot_now()
        WHERE id = :id AND attempts = :attempts AND state IN ('claimed', 'sending')
        """,
        index=("uq_deliveries_id",),
    )
    _SETTLE = Statement(
        "A claimed delivery has its outcome.",
        """
        UPDATE deliveries
        SET state = :state, activity_id = :activity_id, problem = :problem, detail = :detail,
            settled_at = bot_now(), lease_until = NULL, tell_at = bot_now()
        WHERE id = :id AND attempts = :attempts AND state IN ('claimed', 'sending')
        """,
        index=("uq_deliveries_id",),
    )

    async def settle(self, claimed: Claimed, outcome: Outcome, decision: Decision) -> bool:
        """Write down what became of an attempt that was answered just now.

        False: somebody else had settled it, and nothing was changed.
        """
        answered = time.monotonic()
        delivery = claimed.delivery
        # A call that was never made has not used its slot.
        occupied_for = 0.0 if isinstance(outcome, NotSent | NotBegun | Undecipherable) else WINDOW
        mine = {"id": delivery.id, "attempts": delivery.attempts}
        attempt = (delivery.seq, delivery.attempts, type(outcome).__name__.lower())

        def write(connection: Connection) -> bool:
            ago = (
                time.monotonic() - answered
            )  # measured before the database's now: never too long ago
            end_attempt(connection, *attempt, ago=ago, occupied_for=occupied_for)
            if isinstance(decision, Repeat):
                return (
                    self._REPEAT.run(
                        connection, **mine, due_at=decision.at, waiting=decision.waiting
                    )
                    == 1
                )
            changed = self._SETTLE.run(
                connection,
                **mine,
                state=decision.state,
                activity_id=decision.activity_id,
                problem=decision.problem,
                detail=None if decision.detail is None else self._keyring.encrypt(decision.detail),
            )
            self._plan_verification(connection, delivery.seq, decision.state)
            return changed == 1

        if decision.hold_account_until is not None:
            await self._hold(delivery.account_id, decision.hold_account_until)
        return await self._database.run(write, repeatable=True, row=delivery.seq)

    async def _hold(self, account_id: int, until: float) -> None:
        """Let no call of an account begin before then."""
        await self._database.run(
            lambda connection: hold(connection, account_id, until),
        )

    _DEAD = Statement(
        "The claims whose leases have ended.",
        """
        SELECT seq, id, attempts, state FROM deliveries
        WHERE state IN ('claimed', 'sending') AND lease_until < (SELECT bot_now())
        FOR UPDATE SKIP LOCKED
        """,
        index=("ix_deliveries_leased",),
    )
    _GIVE_BACK = Statement(
        "A claim whose request never went out: its delivery is due again.",
        """
        UPDATE deliveries
        SET state = 'accepted', due_at = bot_now(), lease_until = NULL, tell_at = bot_now()
        WHERE id = :id AND attempts = :attempts AND state = 'claimed'
        """,
        index=("uq_deliveries_id",),
    )
    _EXPIRE = Statement(
        "A request that may have gone out, and whose lease has ended: its outcome is unknown.",
        """
        UPDATE deliveries
        SET state = 'unknown', problem = 'interrupted', settled_at = bot_now(), lease_until = NULL,
            tell_at = bot_now()
        WHERE seq = :seq AND state IN ('claimed', 'sending') AND lease_until < (SELECT bot_now())
        """,
        index=("pk_deliveries",),
    )

    async def expire(self, *, sparing: Collection[int] = ()) -> list[str]:
        """End the leases of processes that died, and return the IDs of what is unknown.

        A delivery that had begun is unknown. The rest is accepted again. `sparing` are this
        process's own, by seq: their outcome is still to come.
        """
        spared = frozenset(sparing)

        def write(connection: Connection) -> list[str]:
            unknown = []
            for row in self._DEAD.all(connection):
                seq, id_, attempts = row["seq"], row["id"], row["attempts"]
                if seq in spared:
                    continue
                if row["state"] == State.CLAIMED:
                    _end_unbegun(connection, seq, attempts)
                    self._GIVE_BACK.run(connection, id=id_, attempts=attempts)
                elif self._EXPIRE.run(connection, seq=seq) == 1:
                    self._plan_verification(connection, seq, State.UNKNOWN)
                    unknown.append(id_)
            return unknown

        return await self._database.run(write)

    _PLAN_VERIFICATION = Statement(
        "An unknown outcome is verified on its ticket in some seconds, for the first time.",
        """
        UPDATE deliveries SET verify_at = bot_now() + :after
        WHERE seq = :seq AND state = 'unknown' AND resolution IS NULL
        AND problem != 'undecipherable' AND verifications = 0 AND verify_at IS NULL
        """,
        index=("pk_deliveries",),
    )

    def _plan_verification(self, connection: Connection, seq: int, state: State) -> None:
        if self._verify_after is not None and state is State.UNKNOWN:
            self._PLAN_VERIFICATION.run(connection, seq=seq, after=self._verify_after)

    # The moment leads to the index of what is due, and excludes nothing.
    _WAITING = Statement(
        "How many deliveries are accepted and not claimed, and the age of the first in seconds.",
        """
        SELECT count(*) AS number, bot_now() - min(accepted_at) AS oldest FROM deliveries
        WHERE state = 'accepted' AND due_at > 0
        """,
        index=("ix_deliveries_due",),
    )

    async def waiting(self, *, answer_within: float | None = None) -> Queued:
        """Count what is accepted and not yet claimed, by this process or another."""

        def read(connection: Connection) -> Queued:
            (row,) = self._WAITING.all(connection)
            return Queued(row["number"], row["oldest"] or 0.0)

        return await self._database.run(read, answer_within=answer_within)

    _UNTOLD = Statement(
        "How many outcomes are to be told.",
        """
        SELECT count(*) AS number FROM deliveries
        WHERE tell_at IS NOT NULL AND settled_at IS NOT NULL
        """,
        index=("ix_deliveries_untold",),
    )

    async def untold(self, *, answer_within: float | None = None) -> int:
        """Count the outcomes that are still to be told."""
        return await self._database.run(
            lambda connection: _number(self._UNTOLD, connection), answer_within=answer_within
        )

    # A query for each, so that each has its index.
    _UNFINISHED = Statement(
        "How many deliveries are not settled, or not told.",
        """
        SELECT count(*) AS number
        FROM (
            SELECT seq FROM deliveries WHERE state IN ('accepted', 'claimed', 'sending')
            UNION
            SELECT seq FROM deliveries WHERE tell_at IS NOT NULL
        ) AS unfinished
        """,
        index=("ix_deliveries_open", "ix_deliveries_untold"),
    )

    async def unfinished(self) -> int:
        """Count the deliveries that are not settled, or not told."""
        return await self._database.run(lambda connection: _number(self._UNFINISHED, connection))


def _end_unbegun(connection: Connection, seq: int, attempts: int) -> None:
    """End an attempt whose call never began: its slot is free."""
    end_attempt(connection, seq, attempts, "not_begun", occupied_for=0.0)


def _number(counting: Statement, connection: Connection) -> int:
    (row,) = counting.all(connection)
    return int(row["number"])
