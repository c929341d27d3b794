"""The durable outbox: what was accepted is claimed, settled, and told."""

import math
import secrets
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy.engine import Connection

from bot.activities.backlog import Queued
from bot.activities.delivery import Delivery, Finding, Route, State
from bot.activities.policy import WINDOW, Decision, Repeat, may_begin
from bot.activities.rows import Rows
from bot.activities.statements import LookingStatements, SendingStatements, TellingStatements
from bot.activities.telling import AFTER_ANSWERS, Step, Tell, Wait, mark, next_telling, reason_for_waiting
from bot.database.clock import steady
from bot.database.writer import Database
from bot.encryption import Keyring, UndecipherableError
from bot.leadsquared.outcome import NotBegun, NotSent, Outcome, Problem, Undecipherable
from bot.leadsquared.tenant import Tenant
from bot.tenants.directory import EVERYBODY, Scope, read_tenant

PASSED_BY = 0.05
"""Seconds after which a tenant is asked for again of which another process held a row."""

VISITED_AT_ONCE = 25
"""Tenants that one claim visits at most, each with a few statements. What is accepted meanwhile goes between two claims."""

LOOK_PAST = 500
"""How many rows a look for tellings may pass over: of quiet conversations, and what is marked after answers."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process is to send now.

    `at` is the moment of the claim by the database's clock, `since` one before it by `steady`. `has_keys`: the
    tenant's keys could be decrypted; they are empty otherwise.
    """

    delivery: Delivery
    tenant: Tenant
    at: float
    since: float
    has_keys: bool = True


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim brought, and in how many seconds the next can bring more, per tenant (infinite: nothing is planned).

    They count from `counted_at`, by time.monotonic(): the commit, and the way to the worker, take their time.

    `visited` are the tenants that were visited; the others are to be visited again.
    `full` are the tenants whose window was full, with more waiting: a new acceptance need not ask before that time.
    `held_back` are those that had more waiting and a free slot, but calls enough in flight.
    `ended` is what was settled without sending, by id: its tenant is gone, or names another account today.
    """

    claimed: tuple[Claimed, ...]
    next_in: dict[int, float]
    counted_at: float
    visited: frozenset[int]
    full: frozenset[int]
    held_back: frozenset[int]
    ended: dict[Problem, list[str]]


@dataclass(frozen=True, slots=True)
class Due:
    """A step that this process is to tell now.

    `at` is that moment by the database's clock, `lease_until` the one until which the telling is this process's own.
    """

    delivery: Delivery
    step: Step
    at: float
    lease_until: float


@dataclass(frozen=True, slots=True)
class Look:
    """A delivery of unknown outcome that this process is to look for now, the so-many-th time. `since` as in `Claimed`."""

    delivery: Delivery
    tenant: Tenant
    number: int
    since: float


@dataclass(frozen=True, slots=True)
class _Window:
    """A tenant whose account this transaction has locked, at that moment.

    `free`: how many calls may begin; `free_at`: when the next slot is free.
    """

    tenant: Tenant
    has_keys: bool
    at: float
    free: int
    free_at: float | None


class Outbox:
    """Deliveries in the application's own database. `lease` in seconds; a claim not settled by then is unknown.

    `look_after`: the seconds between an unknown outcome, the first look for it, and those that follow; empty: never.
    """

    def __init__(self, database: Database, keyring: Keyring, *, lease: float, look_after: Sequence[float] = ()) -> None:
        self._database = database
        self._keyring = keyring
        self._lease = lease
        self._look_after = look_after
        self._rows = Rows(keyring)
        self._sending = SendingStatements(database.engine)
        self._looking = LookingStatements(database.engine)
        self._telling = TellingStatements(database.engine)

    # -- sending

    async def waiting_tenants(self, *, within: float) -> dict[int, float]:
        """Return in how many seconds each tenant has something to send, where that is `within` so many; 0.0 or less: now."""
        rows = await self._database.run(
            lambda connection: self._sending.waiting_tenants(connection, within=within).fetchall()
        )
        return dict(rows)

    async def claim(
        self,
        tenant_ids: Sequence[int],
        *,
        at_most: int = 100,
        in_flight: Mapping[int, int] = MappingProxyType({}),
    ) -> Claim:
        """Take what these tenants may send now, in order per ticket and within each one's window.

        The first tenant goes first, and who goes beyond VISITED_AT_ONCE is not visited. No tenant's lock is waited for, so
        two processes may go in different orders. `in_flight` are this process's calls by tenant, among which each has its
        share. A claimed delivery has a lease, its attempt is written down, and its slot is taken. One that is not begun
        when its lease ends is accepted again.
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
            window = self._window(connection, tenant_id)
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
            taken = self._take(connection, name, tenant_id, moment, room)
            for strange in [one for one in taken if one.account_id != window.tenant.account_id]:
                self._refuse(connection, strange)
                ended[Problem.ACCOUNT_CHANGED].append(strange.id)
                taken.remove(strange)
            claimed += [Claimed(delivery, window.tenant, moment, since, window.has_keys) for delivery in taken]
            if len(taken) == room < free:
                next_in[tenant_id] = math.inf  # more may be waiting, and have a slot: when other calls have ended
                held_back.add(tenant_id)
                continue
            next_at = self._next_at(connection, tenant_id, moment, room=free - len(taken), free_at=window.free_at)
            next_in[tenant_id] = math.inf if next_at is None else max(next_at - moment, 0.0)
            if free <= len(taken) and next_at is not None:
                full.add(tenant_id)
        counted_at = time.monotonic()
        return Claim(
            tuple(claimed), next_in, counted_at, frozenset(visited), frozenset(full), frozenset(held_back), ended
        )

    def _window(self, connection: Connection, tenant_id: int) -> _Window | Problem | None:
        """Lock a tenant's account and count its slots.

        Returns None when another process holds it; a Problem when the tenant is gone.
        """
        row = self._sending.lock_account(connection, _id=tenant_id).fetchone()
        if row is None:
            gone = self._sending.tenant_exists(connection, _id=tenant_id).fetchone() is None
            return Problem.TENANT_REMOVED if gone else None
        *fields, resume_at, moment = row
        try:
            tenant, has_keys = read_tenant(fields, self._keyring), True
        except UndecipherableError:
            tenant, has_keys = read_tenant(fields, None), False
        if resume_at is not None and resume_at > moment:
            return _Window(tenant, has_keys, moment, 0, resume_at)
        slots = self._sending.taken_slots(connection, _account_id=tenant.account_id, moment=moment)
        count, first_free = slots.fetchone()
        return _Window(tenant, has_keys, moment, max(tenant.calls_per_window - count, 0), first_free)

    def _take(self, connection: Connection, name: str, tenant_id: int, moment: float, room: int) -> list[Delivery]:
        if room == 0:
            return []
        claim = {"_tenant_id": tenant_id, "_claimed_by": name, "lease": self._lease}
        rows = self._sending.take(connection, **claim, moment=moment, room=room).fetchall()
        if rows:
            self._sending.begin_attempts(connection, **claim)
        return sorted((self._rows.delivery(row) for row in rows), key=lambda delivery: delivery.seq)

    def _refuse(self, connection: Connection, delivery: Delivery) -> None:
        """Settle what was accepted for another account than its tenant names today."""
        self._end_unbegun(connection, delivery.seq, delivery.attempts)
        refused = {"_state": State.REJECTED, "_problem": Problem.ACCOUNT_CHANGED, "_activity_id": None, "_detail": None}
        self._sending.settle(connection, _id=delivery.id, _attempts=delivery.attempts, **refused)

    def _end_unbegun(self, connection: Connection, seq: int, attempts: int) -> None:
        """End an attempt whose call never began: its slot is free."""
        attempt = {"_seq": seq, "_number": attempts, "_outcome": "not_begun"}
        self._sending.end_attempt(connection, **attempt, ago=0.0, occupied_for=0.0)

    def _next_at(
        self, connection: Connection, tenant_id: int, moment: float, *, room: int, free_at: float | None
    ) -> float | None:
        """Return when the tenant could send more without anybody waking the worker; None when nothing is planned."""
        if room <= 0:
            waiting = self._sending.any_waiting(connection, _tenant_id=tenant_id).fetchone()
            return None if waiting is None else free_at
        due_at: float | None
        due_at, passed_by = self._sending.next_due(connection, _tenant_id=tenant_id, moment=moment).fetchone()
        return moment + PASSED_BY if passed_by else due_at

    def _end_waiting(self, connection: Connection, tenant_id: int, problem: Problem) -> list[str]:
        """Settle without a call what waits for a tenant that cannot be called any more; return the deliveries' ids."""
        return [
            id_ for (id_,) in self._sending.end_waiting(connection, _tenant_id=tenant_id, _problem=problem).fetchall()
        ]

    async def begin(self, claimed: Claimed) -> bool:
        """Commit that a claimed delivery's request goes out now; False: the claim has ended, and nothing may go out."""
        delivery = claimed.delivery
        begun = {"_id": delivery.id, "_attempts": delivery.attempts}
        return await self._database.run(lambda connection: bool(self._sending.begin(connection, **begun).rowcount == 1))

    async def settle(self, claimed: Claimed, outcome: Outcome, decision: Decision) -> bool:
        """Write down what became of an attempt that was answered just now.

        False: somebody else had settled it, and nothing was changed.
        """
        answered = time.monotonic()
        delivery = claimed.delivery
        # A call that was never made has not used its slot.
        occupied_for = 0.0 if isinstance(outcome, NotSent | NotBegun | Undecipherable) else WINDOW
        attempt = {"_seq": delivery.seq, "_number": delivery.attempts, "_outcome": type(outcome).__name__.lower()}
        mine = {"_id": delivery.id, "_attempts": delivery.attempts}

        def write(connection: Connection) -> bool:
            ago = time.monotonic() - answered  # measured before the database's now: never too long ago
            self._sending.end_attempt(connection, **attempt, ago=ago, occupied_for=occupied_for)
            if isinstance(decision, Repeat):
                change = self._sending.repeat(connection, **mine, _due_at=decision.at, _waiting=decision.waiting)
            else:
                change = self._sending.settle(
                    connection,
                    **mine,
                    _state=decision.state,
                    _activity_id=decision.activity_id,
                    _problem=decision.problem,
                    _detail=None if decision.detail is None else self._keyring.encrypt(decision.detail),
                )
                self._plan_look(connection, delivery.seq, decision.state)
            return bool(change.rowcount == 1)

        if decision.hold_account_until is not None:
            await self._hold(delivery.account_id, decision.hold_account_until)
        return await self._database.run(write, repeatable=True)

    async def _hold(self, account_id: int, until: float) -> None:
        """Let no call of an account begin before then."""
        await self._database.run(
            lambda connection: self._sending.hold_account(connection, _id=account_id, _resume_at=until),
        )

    async def expire(self, *, sparing: Collection[int] = ()) -> list[str]:
        """End the leases of processes that died: what had begun is unknown, and the rest is accepted again.

        Returns the ids of what is unknown. `sparing` are this process's own, by seq: their outcome is still to come.
        """
        spared = frozenset(sparing)

        def write(connection: Connection) -> list[str]:
            unknown = []
            for seq, id_, attempts, state in self._sending.dead(connection).fetchall():
                if seq in spared:
                    continue
                if state == State.CLAIMED:
                    self._end_unbegun(connection, seq, attempts)
                    self._sending.give_back(connection, _id=id_, _attempts=attempts)
                elif self._sending.expire(connection, _seq=seq).rowcount == 1:
                    self._plan_look(connection, seq, State.UNKNOWN)
                    unknown.append(id_)
            return unknown

        return await self._database.run(write)

    def _plan_look(self, connection: Connection, seq: int, state: State) -> None:
        if self._look_after and state is State.UNKNOWN:
            self._looking.plan_first(connection, _seq=seq, after=self._look_after[0])

    # -- looking for what is not known to be there

    async def claim_looks(self, *, at_most: int) -> tuple[list[Look], float]:
        """Take what is to be looked for now, and say in how many seconds the next is (infinite: nothing is planned).

        Each look holds a slot of its tenant's window, as any call does.
        """
        since = steady()

        def write(connection: Connection) -> tuple[list[Look], float]:
            rows = self._looking.due(connection, at_most=at_most).fetchall()
            looks = [look for row in rows if (look := self._begin_look(connection, self._rows.delivery(row), since))]
            next_in = self._looking.next_due(connection).fetchone()[0]
            return looks, math.inf if next_in is None else next_in

        return await self._database.run(write)

    def _begin_look(self, connection: Connection, delivery: Delivery, since: float) -> Look | None:
        this = {"_seq": delivery.seq}
        wanted = delivery.resolution is None and delivery.finding is not Finding.PRESENT and delivery.text is not None
        if not wanted or delivery.looks >= len(self._look_after):
            self._looking.end(connection, **this)
            return None
        window = self._window(connection, delivery.tenant_id)
        if isinstance(window, Problem) or (window is not None and not _may_look(window, delivery)):
            self._looking.end(connection, **this)
            return None
        if window is None or window.free == 0:
            self._looking.postpone(connection, **this, after=1.0)
            return None
        number = delivery.looks + 1
        next_in = self._look_after[number] if number < len(self._look_after) else self._lease
        self._looking.begin(connection, **this, after=max(next_in, self._lease))
        attempt = {"_delivery_seq": delivery.seq, "_number": -number, "_account_id": delivery.account_id}
        self._sending.begin_attempt(connection, **attempt, lease=self._lease)
        return Look(delivery, window.tenant, number, since)

    async def looked(self, look: Look, ids: Sequence[str]) -> Finding | None:
        """Write down what a look showed: the ids of what has the delivery's words on its ticket, the newest last.

        What other deliveries of the same words brought there is theirs, and so is what one may have brought of which nobody
        knows either: which is which cannot be told, and the earlier one has the earlier activity. Returns None when a
        person has decided meanwhile.
        """

        def write(connection: Connection) -> Finding | None:
            delivery = look.delivery
            self._end_look(connection, look, "looked")
            ticket = {"_account_id": delivery.account_id, "_ticket_id": delivery.ticket_id}
            known = self._looking.on_ticket(connection, **ticket).fetchall()
            others = [
                (id_, text)
                for seq, id_, resolution, text in known
                if id_ or resolution or seq < delivery.seq  # a later one of which nothing is known comes after this
            ]
            theirs = {id_ for id_, _ in others}
            same = sum(self._rows.has_text(text, delivery.text or "") for _, text in others)
            left = [id_ for id_ in ids if id_ not in theirs]
            finding = Finding.PRESENT if left and len(ids) > same else Finding.ABSENT
            found = {"_finding": finding, "_activity_id": left[-1] if finding is Finding.PRESENT else None}
            changed = self._looking.found(connection, _seq=delivery.seq, **found).rowcount
            if finding is Finding.PRESENT:
                self._looking.end(connection, _seq=delivery.seq)
            return finding if changed else None

        return await self._database.run(write, repeatable=True)

    async def looked_in_vain(self, look: Look) -> None:
        """Write down that a look showed nothing, neither that the text is there nor that it is not."""
        await self._database.run(lambda connection: self._end_look(connection, look, "not_shown"), repeatable=True)

    def _end_look(self, connection: Connection, look: Look, outcome: str) -> None:
        attempt = {"_seq": look.delivery.seq, "_number": -look.number, "_outcome": outcome}
        self._sending.end_attempt(connection, **attempt, ago=0.0, occupied_for=WINDOW)

    # -- telling

    async def claim_tellings(
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
        """Take what is due to be told, and say in how many seconds the next will be (infinite: nothing is planned).

        `scope` is the part of Slack that this process has a token for. Others' deliveries are left to the processes
        that have theirs, for `leave` seconds. Then they are told by response_url, which needs no token.
        `sparing` are the deliveries, by seq, that this process is telling already, however long that takes; `quiet` the
        conversations, as (team_id, channel_id), in which Slack wants no message just now, and `busy` those in which an
        answer is on its way. What was answered is marked after all answers that are due there. `settled_only` leaves out
        what has no outcome yet.
        """
        spared, silent = frozenset(sparing), frozenset(quiet)
        untold = self._telling.unanswered if settled_only else self._telling.untold
        look_at = at_most + len(spared) + LOOK_PAST

        def write(connection: Connection) -> tuple[list[Due], float]:
            rows = untold(connection, **_part(scope), leave=leave, at_most=look_at).fetchall()
            open_rows = (row for row in rows if row[0] not in spared and (row[1], row[2]) not in silent)
            due = _in_order(open_rows, busy)
            looked_at = [self._telling.look(connection, _seq=seq).fetchone() for seq in due[:at_most]]
            found = [step for row in looked_at if row and (step := self._begin_telling(connection, row))]
            if len(due) >= at_most:
                return found, 0.0
            if None in looked_at:
                return found, PASSED_BY  # another transaction held its row
            next_in = self._telling.next_untold(connection).fetchone()[0]
            return found, math.inf if next_in is None else next_in

        return await self._database.run(write)

    async def told(self, due: Due, ts: str | None) -> Due | None:
        """Write down that a step was told, as message `ts`; return what this process is to tell right after."""
        leases = [due.lease_until]
        in_thread = ts if due.delivery.route is Route.THREAD else None  # what only one person sees cannot be changed

        def write(connection: Connection) -> Due | None:
            seq = due.delivery.seq
            match due.step:
                case Step.ANCHOR:
                    self._telling.anchored(connection, _seq=seq, _anchor_ts=ts, _anchor_mark=mark(due.delivery))
                case Step.NOTE:
                    noted = reason_for_waiting(due.delivery)
                    self._telling.noted(connection, _seq=seq, _noted=noted, _note_ts=in_thread)
                case Step.FINDING:
                    self._telling.finding_told(connection, _seq=seq, _finding_told=due.delivery.finding)
                case Step.ANSWER:
                    decided = due.delivery.resolution
                    self._telling.answered(connection, _seq=seq, _answer_ts=in_thread, _resolution_told=decided)
                case Step.DECISION:
                    self._telling.decision_told(connection, _seq=seq, _resolution_told=due.delivery.resolution)
                case Step.DELETION:
                    self._telling.note_deleted(connection, _seq=seq)
                case Step.MARK:
                    self._telling.marked(connection, _seq=seq, _anchor_mark=mark(due.delivery))
            return self._go_on_telling(connection, seq, leases)

        return await self._database.run(write, repeatable=True)

    async def tell_elsewhere(self, due: Due, route: Route) -> Due | None:
        """Go on by another route; return what this process is to tell there."""
        leases = [due.lease_until]

        def write(connection: Connection) -> Due | None:
            self._telling.rerouted(connection, _seq=due.delivery.seq, _route=route)
            return self._go_on_telling(connection, due.delivery.seq, leases)

        return await self._database.run(write, repeatable=True)

    async def tell_later(self, due: Due, seconds: float | None) -> None:
        """Give the telling back, to be tried again in some seconds. None: never; what has changed since is still told."""
        delivery = due.delivery
        mine = {"_seq": delivery.seq, "_tell_lease_until": due.lease_until}
        as_it_was = {"_state": delivery.state, "_resolution": delivery.resolution, "_finding": delivery.finding}

        def write(connection: Connection) -> None:
            if seconds is None:
                self._telling.give_up_telling(connection, **mine, **as_it_was)
            else:
                self._telling.tell_later(connection, **mine, seconds=seconds)

        await self._database.run(write, repeatable=True)

    def _begin_telling(self, connection: Connection, row: Sequence[Any]) -> Due | None:
        *fields, moment, unleased, _ = row
        return self._next_step(connection, fields, moment) if unleased else None

    def _go_on_telling(self, connection: Connection, seq: int, leases: list[float]) -> Due | None:
        """Return the next step, unless the lease had ended and another process took over.

        `leases` are the ends of this process's own, to which a new one is added: a unit of work may be run twice.
        """
        row = self._telling.look(connection, _seq=seq).fetchone()
        if row is None:
            return None
        *fields, moment, _, lease_until = row
        if lease_until not in leases:
            return None
        due = self._next_step(connection, fields, moment, after=AFTER_ANSWERS)
        if due is not None:
            leases.append(due.lease_until)
        return due

    def _next_step(
        self, connection: Connection, fields: Sequence[Any], moment: float, after: Collection[Step] = ()
    ) -> Due | None:
        """Lease what is to be told now; `after` are the steps that wait until other deliveries' answers are told.

        If that is nothing, plan the next look and give up the lease in this very transaction: what settles meanwhile is
        seen here, or wakes a teller after.
        """
        delivery = self._rows.delivery(fields)
        next_ = next_telling(delivery, moment)
        if isinstance(next_, Tell) and next_.step in after:
            next_ = Wait(moment)
        if isinstance(next_, Tell):
            lease_until = self._telling.lease_telling(connection, _seq=delivery.seq, lease=self._lease).fetchone()[0]
            if next_.step is Step.DECISION:
                delivery = self._rows.with_successor(delivery, connection, self._telling.accepted_after)
            return Due(delivery, next_.step, moment, lease_until)
        self._telling.plan_telling(
            connection, _seq=delivery.seq, _tell_at=next_.until if isinstance(next_, Wait) else None
        )
        return None

    # -- looking

    async def waiting(self, *, answer_within: float | None = None) -> Queued:
        """Count what is accepted and not yet claimed, by this process or another."""

        def read(connection: Connection) -> Queued:
            number, oldest = self._sending.waiting(connection).fetchone()
            return Queued(number, oldest or 0.0)

        return await self._database.run(read, answer_within=answer_within)

    async def untold(self, *, answer_within: float | None = None) -> int:
        """Count the outcomes that are still to be told."""
        return await self._database.run(
            lambda connection: int(self._sending.untold(connection).fetchone()[0]),
            answer_within=answer_within,
        )

    async def unfinished(self) -> int:
        """Count the deliveries that are not settled, or not told."""
        return await self._database.run(lambda connection: int(self._telling.unfinished(connection).fetchone()[0]))


def _in_order(rows: Iterable[Sequence[Any]], busy: Collection[tuple[str, str]]) -> list[int]:
    """Return the deliveries to tell, the unanswered first.

    What is answered waits while an answer is due, or on its way, in its conversation.
    """
    found = list(rows)
    answering = {(team, channel) for _, team, channel, is_answered in found if not is_answered}.union(busy)
    unanswered = [seq for seq, _, _, is_answered in found if not is_answered]
    return unanswered + [
        seq for seq, team, channel, is_answered in found if is_answered and (team, channel) not in answering
    ]


def _part(scope: Scope) -> dict[str, str]:
    return {"team": scope.team_id, "enterprise": scope.enterprise_id}


def _may_look(window: _Window, delivery: Delivery) -> bool:
    """Whether today's tenant can be asked about a delivery: it has its keys, and names the same account."""
    return window.has_keys and window.tenant.account_id == delivery.account_id
