"""The durable outbox: accept, claim, settle, and what is still to be told."""

import base64
import math
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from bot.activities.delivery import Delivery, Resolution, Route, State, Waiting
from bot.activities.policy import WINDOW, Decision, Repeat
from bot.activities.submission import Submission
from bot.activities.telling import ANCHOR_AFTER, Step, Tell, Wait, mark, next_telling, reason_for_waiting
from bot.db import IS_ACCEPTED, IS_OPEN, IS_SENDING, IS_UNTOLD, Database, attempts, deliveries, insert, now, tenants
from bot.encryption import Keyring, UndecipherableError
from bot.leadsquared.outcome import NotSent, Outcome, Problem
from bot.tenants.directory import find_tenant, read_tenant
from bot.tenants.tenant import Tenant

ACCEPT_WITHIN = 1.0
"""Seconds that an acceptance may wait for its turn at the database: Slack hears the answer within 3 s, whichever it is."""

PASSED_BY = 0.05
"""Seconds after which a tenant whose row another process held is asked for again."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Committed. `again`: it had been accepted before, under the same key."""

    id: str
    tenant_id: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Nothing was stored: no tenant is mapped for this workspace."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was changed: the delivery is not this workspace's (`delivery` is None), or past what was asked of it."""

    delivery: Delivery | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that this process is to send now. `at` is the moment of the claim by the database's clock."""

    delivery: Delivery
    tenant: Tenant
    at: float


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim brought, and in how many seconds the next can bring more, per tenant (infinite: nothing is planned).

    `full` are the tenants whose window was full: a new acceptance need not ask before that time.
    """

    claimed: tuple[Claimed, ...]
    next_in: dict[int, float]
    full: frozenset[int]
    ended: dict[Problem, list[str]]  # what was settled without sending, by id: its tenant or the tenant's keys are gone


@dataclass(frozen=True, slots=True)
class Due:
    """A step that this process is to tell now."""

    delivery: Delivery
    step: Step


class Outbox:
    """Deliveries in the application's own database. `lease` in seconds; a claim not settled by then is unknown."""

    def __init__(self, database: Database, keyring: Keyring, *, lease: float) -> None:
        self._database = database
        self._keyring = keyring
        self._lease = lease

    # -- acceptance

    async def accept(self, submission: Submission) -> Accepted | Unmapped:
        """Commit a submission. Raises DatabaseUnavailableError when it could not be; nothing is stored then."""
        row = self._row(submission) | {"route": Route.THREAD}

        def write(connection: Connection) -> Accepted | Unmapped:
            return self._insert(connection, submission, row)

        return await self._database.run(write, within=ACCEPT_WITHIN)

    async def send_again(self, old_id: str, submission: Submission) -> Accepted | Unmapped | Refused:
        """Accept a delivery anew, in its old place in Slack, and mark the old one as sent again: once, whoever clicks first."""
        row = self._row(submission)

        def write(connection: Connection) -> Accepted | Unmapped | Refused:
            old = self._find(connection, submission.team_id, old_id)
            if old is None or not old.resendable:
                return Refused(old)
            row.update(
                retry_of=old.id,
                channel_id=old.channel_id,
                thread_ts=old.thread_ts,
                anchor_ts=old.anchor_ts,
                anchor_mark=old.anchor_mark,
                route=Route.RESPONSE_URL
                if old.route is Route.DIRECT_MESSAGE and submission.response_url
                else old.route,
            )
            accepted = self._insert(connection, submission, row)
            if isinstance(accepted, Accepted) and not accepted.again:
                self._resolve(connection, old, Resolution.SENT_AGAIN, submission.user_id)
            return accepted

        return await self._database.run(write, within=ACCEPT_WITHIN)

    async def confirm(self, team_id: str, id_: str, user_id: str) -> Delivery | Refused:
        """Close an unknown delivery because a person saw it on the ticket."""

        def write(connection: Connection) -> Delivery | Refused:
            old = self._find(connection, team_id, id_)
            if old is None or old.state is not State.UNKNOWN or old.resolution is not None:
                return Refused(old)
            self._resolve(connection, old, Resolution.CONFIRMED, user_id)
            return old

        return await self._database.run(write, within=ACCEPT_WITHIN)

    async def find(self, team_id: str, id_: str) -> Delivery | None:
        """Return a workspace's own delivery; another workspace's is not there."""

        def read(connection: Connection) -> Delivery | None:
            return self._find(connection, team_id, id_)

        return await self._database.run(read, within=ACCEPT_WITHIN)

    async def renew_response_url(self, delivery: Delivery, response_url: str) -> None:
        """Keep a younger response_url for what follows this delivery."""
        renewed = self._keyring.encrypt(response_url)

        def write(connection: Connection) -> None:
            connection.execute(deliveries.update().where(deliveries.c.seq == delivery.seq).values(response_url=renewed))

        await self._database.run(write, within=ACCEPT_WITHIN)

    def _row(self, submission: Submission) -> dict[str, Any]:
        return {
            "id": new_reference(),
            "enterprise_id": submission.enterprise_id,
            "team_id": submission.team_id,
            "channel_id": submission.channel_id,
            "user_id": submission.user_id,
            "key": submission.key,
            "ticket_id": submission.ticket_id,
            "text": self._keyring.encrypt(submission.text),
            "response_url": self._keyring.encrypt(submission.response_url) if submission.response_url else None,
            "thread_ts": submission.thread_ts,
            "state": State.ACCEPTED,
        }

    def _insert(self, connection: Connection, submission: Submission, row: dict[str, Any]) -> Accepted | Unmapped:
        tenant = find_tenant(connection, submission.enterprise_id, submission.team_id, row["channel_id"])
        if tenant is None:
            return Unmapped()
        statement = (
            insert(connection, deliveries)
            .values(accepted_at=now(), due_at=now(), tell_at=now() + ANCHOR_AFTER)
            .on_conflict_do_nothing(index_elements=["team_id", "key"])
            .returning(deliveries.c.seq)
        )
        row |= {"tenant_id": tenant["id"], "tenant_name": tenant["name"]}
        if connection.execute(statement, row).first() is not None:
            return Accepted(row["id"], tenant["id"])
        same = sa.and_(deliveries.c.team_id == submission.team_id, deliveries.c.key == submission.key)
        first = connection.execute(sa.select(deliveries.c.id, deliveries.c.tenant_id).where(same)).one()
        return Accepted(first.id, first.tenant_id, again=True)

    def _find(self, connection: Connection, team_id: str, id_: str) -> Delivery | None:
        statement = sa.select(deliveries).where(deliveries.c.id == id_, deliveries.c.team_id == team_id)
        row = connection.execute(_locked(connection, statement)).mappings().first()
        return None if row is None else self._delivery(row)

    @staticmethod
    def _resolve(connection: Connection, old: Delivery, resolution: Resolution, user_id: str) -> None:
        change = deliveries.update().where(deliveries.c.seq == old.seq)
        connection.execute(change.values(resolution=resolution, resolved_by=user_id, tell_at=now()))

    # -- sending

    async def claim(self, tenant_ids: Collection[int] | None = None, *, at_most: int = 100) -> Claim:
        """Take what may be sent now, in order per ticket and within each tenant's window; None asks for every tenant.

        A claimed delivery is `sending` under a lease, its attempt is written down, and its slot is taken.
        """

        def write(connection: Connection) -> Claim:
            return self._claim(connection, tenant_ids, at_most)

        return await self._database.run(write)

    def _claim(self, connection: Connection, tenant_ids: Collection[int] | None, at_most: int) -> Claim:
        if tenant_ids is None:
            waiting = sa.select(deliveries.c.tenant_id).where(IS_ACCEPTED).distinct()
            tenant_ids = list(connection.execute(waiting).scalars())
        claimed: list[Claimed] = []
        next_in: dict[int, float] = {}
        full: set[int] = set()
        ended: dict[Problem, list[str]] = defaultdict(list)
        for row in self._lock_tenants(connection, tenant_ids):
            tenant_id, moment = row["id"], row["now"]
            if len(claimed) >= at_most:
                next_in[tenant_id] = 0.0
                continue
            free, free_at = _free_slots(connection, row)
            heads = _heads(connection, tenant_id, moment, free)
            if free <= len(heads):
                full.add(tenant_id)
            next_at = _next_at(connection, tenant_id, moment, room=free - len(heads), free_at=free_at)
            next_in[tenant_id] = math.inf if next_at is None else max(next_at - moment, 0.0)
            if not heads:
                continue
            try:
                tenant = read_tenant(row, self._keyring)
            except UndecipherableError:
                ended[Problem.UNDECIPHERABLE] += _end(connection, tenant_id, Problem.UNDECIPHERABLE)
                continue
            taken = [self._delivery(head) for head in self._take(connection, heads, tenant_id)]
            claimed += [Claimed(delivery, tenant, moment) for delivery in taken]
        passed_by = set(tenant_ids) - next_in.keys()
        if passed_by:
            known = set(connection.execute(sa.select(tenants.c.id).where(tenants.c.id.in_(passed_by))).scalars())
            next_in |= dict.fromkeys(known, PASSED_BY)
            for gone in passed_by - known:
                ended[Problem.TENANT_REMOVED] += _end(connection, gone, Problem.TENANT_REMOVED)
        return Claim(tuple(claimed), next_in, frozenset(full), ended)

    @staticmethod
    def _lock_tenants(connection: Connection, tenant_ids: Iterable[int]) -> list[RowMapping]:
        # Whoever holds a tenant's row counts its window alone; another process passes by and comes back.
        statement = sa.select(tenants, now().label("now")).where(tenants.c.id.in_(tenant_ids)).order_by(tenants.c.id)
        return list(connection.execute(_locked(connection, statement, skip_locked=True)).mappings())

    def _take(self, connection: Connection, heads: list[int], tenant_id: int) -> list[RowMapping]:
        taken = connection.execute(
            deliveries.update()
            .where(deliveries.c.seq.in_(heads), IS_ACCEPTED)
            .values(
                state=State.SENDING,
                lease_until=now() + self._lease,
                attempts=deliveries.c.attempts + 1,
                first_attempt_at=sa.func.coalesce(deliveries.c.first_attempt_at, now()),
                tell_at=now(),
            )
            .returning(deliveries)
        )
        rows = sorted(taken.mappings(), key=lambda row: int(row["seq"]))
        connection.execute(
            attempts.insert().values(
                tenant_id=tenant_id, started_at=now(), occupied_until=now() + self._lease + WINDOW
            ),
            [{"delivery_seq": row["seq"], "number": row["attempts"]} for row in rows],
        )
        return rows

    async def settle(self, claimed: Claimed, outcome: Outcome, decision: Decision) -> bool:
        """Write down what became of an attempt. False: somebody else had settled it, and nothing was changed."""
        delivery = claimed.delivery
        if isinstance(decision, Repeat):
            changes: dict[str, Any] = {
                "state": State.ACCEPTED,
                "due_at": decision.at,
                "waiting": decision.waiting,
            }
        else:
            detail = None if decision.detail is None else self._keyring.encrypt(decision.detail)
            changes = {
                "state": decision.state,
                "activity_id": decision.activity_id,
                "problem": decision.problem,
                "detail": detail,
                "settled_at": now(),
            }
        # A call that was never made has not used its slot.
        occupied = now() if isinstance(outcome, NotSent) else now() + WINDOW
        this_attempt = sa.and_(attempts.c.delivery_seq == delivery.seq, attempts.c.number == delivery.attempts)

        def write(connection: Connection) -> bool:
            connection.execute(
                attempts.update()
                .where(this_attempt)
                .values(answered_at=now(), occupied_until=occupied, outcome=type(outcome).__name__.lower())
            )
            if isinstance(decision, Repeat) and decision.hold_tenant:
                connection.execute(
                    tenants.update().where(tenants.c.id == delivery.tenant_id).values(resume_at=decision.at)
                )
            mine = sa.and_(
                deliveries.c.seq == delivery.seq,
                deliveries.c.attempts == delivery.attempts,
                IS_SENDING,
            )
            return (
                connection.execute(
                    deliveries.update().where(mine).values(**changes, lease_until=None, tell_at=now())
                ).rowcount
                == 1
            )

        return await self._database.run(write)

    async def expire(self, *, sparing: Collection[int] = ()) -> list[str]:
        """Settle as unknown what was being sent by a process that died, and return the ids.

        `sparing` are this process's own, by seq: their outcome is still to come.
        """
        dead = (IS_SENDING, deliveries.c.lease_until < now(), deliveries.c.seq.not_in(list(sparing)))

        def write(connection: Connection) -> list[str]:
            ended = (
                deliveries.update()
                .where(*dead)
                .values(
                    state=State.UNKNOWN, problem=Problem.INTERRUPTED, settled_at=now(), lease_until=None, tell_at=now()
                )
            )
            return list(connection.execute(ended.returning(deliveries.c.id)).scalars())

        return await self._database.run(write)

    # -- telling

    async def claim_tellings(self, *, at_most: int, sparing: Collection[int] = ()) -> tuple[list[Due], float]:
        """Take what is due to be told, and say in how many seconds the next will be (infinite: nothing is planned).

        `sparing` are the deliveries, by seq, that this process is telling already, however long that takes.
        """
        spared = list(sparing)

        def write(connection: Connection) -> tuple[list[Due], float]:
            free = sa.or_(deliveries.c.tell_lease_until.is_(None), deliveries.c.tell_lease_until < now())
            due = (
                sa.select(deliveries.c.seq)
                .where(deliveries.c.tell_at <= now(), free, deliveries.c.seq.not_in(spared))
                .order_by(deliveries.c.tell_at)
                .limit(at_most)
            )
            seqs = list(connection.execute(_locked(connection, due, skip_locked=True)).scalars())
            found = [step for seq in seqs if (step := self._look(connection, seq)) is not None]
            if found:
                taken = deliveries.update().where(deliveries.c.seq.in_([due.delivery.seq for due in found]))
                connection.execute(taken.values(tell_lease_until=now() + self._lease))
            if len(seqs) == at_most:
                return found, 0.0
            planned = sa.select(sa.func.min(deliveries.c.tell_at) - now()).where(deliveries.c.tell_at > now())
            next_in = connection.execute(planned).scalar()
            return found, math.inf if next_in is None else next_in

        return await self._database.run(write)

    async def told(self, due: Due, ts: str | None) -> Due | None:
        """Write down that a step was told, as message `ts`; return what is to be told right after."""
        changes: dict[str, Any] = {"tell_attempts": 0}
        match due.step:
            case Step.ANCHOR:
                changes |= {"anchor_ts": ts, "anchor_mark": mark(due.delivery)}
            case Step.NOTE:
                changes |= {"noted": reason_for_waiting(due.delivery)}
            case Step.ANSWER:
                changes |= {"replied_at": now()}
            case Step.MARK:
                changes |= {"anchor_mark": mark(due.delivery)}
        return await self._change_telling(due, changes)

    async def tell_elsewhere(self, due: Due, route: Route) -> Due | None:
        """Go on by another route; return what is to be told there."""
        return await self._change_telling(due, {"route": route, "tell_attempts": 0})

    async def tell_later(self, due: Due, seconds: float | None) -> None:
        """Give the telling back, to be tried again in some seconds (None: never)."""
        later = {"tell_attempts": deliveries.c.tell_attempts + 1, "tell_lease_until": None}

        def write(connection: Connection) -> None:
            change = deliveries.update().where(deliveries.c.seq == due.delivery.seq)
            connection.execute(change.values(**later, tell_at=None if seconds is None else now() + seconds))

        await self._database.run(write)

    async def _change_telling(self, due: Due, changes: dict[str, Any]) -> Due | None:
        def write(connection: Connection) -> Due | None:
            connection.execute(deliveries.update().where(deliveries.c.seq == due.delivery.seq).values(changes))
            return self._look(connection, due.delivery.seq)

        return await self._database.run(write)

    def _look(self, connection: Connection, seq: int) -> Due | None:
        """Return what is to be told now.

        If that is nothing, plan the next look and give up the lease in this very transaction: what settles meanwhile is
        seen here, or wakes a teller after.
        """
        this = deliveries.c.seq == seq
        row = (
            connection.execute(_locked(connection, sa.select(deliveries, now().label("now")).where(this)))
            .mappings()
            .one()
        )
        delivery = self._delivery(row)
        next_ = next_telling(delivery, row["now"])
        if isinstance(next_, Tell):
            return Due(delivery, next_.step)
        tell_at = next_.until if isinstance(next_, Wait) else None
        connection.execute(deliveries.update().where(this).values(tell_at=tell_at, tell_lease_until=None))
        return None

    # -- looking

    async def unfinished(self) -> int:
        """Count the deliveries that are not settled, or not told."""

        def read(connection: Connection) -> int:
            unsettled = IS_OPEN
            open_ = sa.or_(unsettled, IS_UNTOLD)
            return int(connection.execute(sa.select(sa.func.count()).select_from(deliveries).where(open_)).scalar_one())

        return await self._database.run(read)

    def _delivery(self, row: RowMapping) -> Delivery:
        return Delivery(
            seq=row["seq"],
            id=row["id"],
            enterprise_id=row["enterprise_id"],
            team_id=row["team_id"],
            channel_id=row["channel_id"],
            user_id=row["user_id"],
            tenant_id=row["tenant_id"],
            tenant_name=row["tenant_name"],
            ticket_id=row["ticket_id"],
            text=self._decrypted(row["text"]),
            response_url=self._decrypted(row["response_url"]),
            thread_ts=row["thread_ts"],
            retry_of=row["retry_of"],
            state=State(row["state"]),
            accepted_at=row["accepted_at"],
            due_at=row["due_at"],
            attempts=row["attempts"],
            first_attempt_at=row["first_attempt_at"],
            waiting=Waiting(row["waiting"]) if row["waiting"] else None,
            activity_id=row["activity_id"],
            problem=Problem(row["problem"]) if row["problem"] else None,
            detail=self._decrypted(row["detail"]),
            resolution=Resolution(row["resolution"]) if row["resolution"] else None,
            resolved_by=row["resolved_by"],
            route=Route(row["route"]),
            anchor_ts=row["anchor_ts"],
            anchor_mark=row["anchor_mark"],
            noted=Waiting(row["noted"]) if row["noted"] else None,
            replied_at=row["replied_at"],
            tell_attempts=row["tell_attempts"],
        )

    def _decrypted(self, token: bytes | None) -> str | None:
        # One row whose secret is gone must not keep all the others from being sent or told.
        try:
            return None if token is None else self._keyring.decrypt(token)
        except UndecipherableError:
            return None


def new_reference() -> str:
    """Return a delivery's id: 12 letters and digits (60 random bits) that a person can read out."""
    return base64.b32encode(secrets.token_bytes(8)).decode().lower()[:12]


def _locked(connection: Connection, statement: sa.Select[Any], *, skip_locked: bool = False) -> sa.Select[Any]:
    # SQLite has one writer at a time anyway, and no such words.
    return statement if connection.dialect.name == "sqlite" else statement.with_for_update(skip_locked=skip_locked)


def _free_slots(connection: Connection, tenant: RowMapping) -> tuple[int, float | None]:
    """Return how many calls the tenant may make now, and when the next slot is free again."""
    if tenant["resume_at"] is not None and tenant["resume_at"] > tenant["now"]:
        return 0, tenant["resume_at"]
    taken = sa.select(sa.func.count(), sa.func.min(attempts.c.occupied_until)).where(
        attempts.c.tenant_id == tenant["id"], attempts.c.occupied_until > tenant["now"]
    )
    count, first_free = connection.execute(taken).one()
    return max(tenant["calls_per_window"] - count, 0), first_free


def _heads(connection: Connection, tenant_id: int, moment: float, room: int) -> list[int]:
    """Return the first open delivery of each ticket, if it is due: an earlier one of the same ticket goes first."""
    if room <= 0:
        return []
    earlier = deliveries.alias("earlier")
    statement = (
        sa.select(deliveries.c.seq)
        .where(
            deliveries.c.tenant_id == tenant_id,
            IS_ACCEPTED,
            deliveries.c.due_at <= moment,
            ~sa.exists().where(
                earlier.c.tenant_id == deliveries.c.tenant_id,
                earlier.c.ticket_id == deliveries.c.ticket_id,
                earlier.c.seq < deliveries.c.seq,
                earlier.c.state.in_((sa.literal_column("'accepted'"), sa.literal_column("'sending'"))),
            ),
        )
        .order_by(deliveries.c.seq)
        .limit(room)
    )
    return list(connection.execute(statement).scalars())


def _next_at(
    connection: Connection, tenant_id: int, moment: float, *, room: int, free_at: float | None
) -> float | None:
    """Return when the tenant could send more without anybody waking the worker; None when nothing is planned."""
    waiting = (deliveries.c.tenant_id == tenant_id, IS_ACCEPTED)
    if room <= 0:
        is_waiting = connection.execute(sa.select(deliveries.c.seq).where(*waiting).limit(1)).first() is not None
        return free_at if is_waiting else None
    later = sa.select(sa.func.min(deliveries.c.due_at)).where(*waiting, deliveries.c.due_at > moment)
    due_at: float | None = connection.execute(later).scalar()
    return due_at


def _end(connection: Connection, tenant_id: int, problem: Problem) -> list[str]:
    """Settle without a call what waits for a tenant that cannot be called any more; return the deliveries' ids."""
    waiting = deliveries.update().where(deliveries.c.tenant_id == tenant_id, IS_ACCEPTED)
    ended = waiting.values(state=State.REJECTED, problem=problem, settled_at=now(), tell_at=now())
    return list(connection.execute(ended.returning(deliveries.c.id)).scalars())
