"""The durable outbox: accept, claim, settle, and what is still to be told."""

import base64
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeVar

from sqlalchemy.engine import Connection

from bot.activities.delivery import Delivery, Resolution, Route, State, Waiting
from bot.activities.policy import WINDOW, Decision, Repeat
from bot.activities.statements import (
    COLUMNS,
    DESPITE_ALL,
    GIVEN,
    AcceptanceStatements,
    SendingStatements,
    TellingStatements,
)
from bot.activities.submission import Submission
from bot.activities.telling import Step, Tell, Wait, mark, next_telling, reason_for_waiting
from bot.db import Database
from bot.encryption import Keyring, UndecipherableError
from bot.leadsquared.outcome import NotSent, Outcome, Problem
from bot.tenants.directory import read_tenant
from bot.tenants.tenant import Tenant

ACCEPT_WITHIN = 0.6
"""Seconds that what a person waits for may wait for its turn at the database."""

ANSWER_WITHIN = 2.2
"""Seconds after which the person is answered, even when the database is silent: Slack waits 3."""

PASSED_BY = 0.05
"""Seconds after which a tenant whose row another process held is asked for again."""

T = TypeVar("T")

LOOK_PAST = 500
"""How many rows of quiet conversations a look for tellings may pass over."""

_NAMES = [column.name for column in COLUMNS]
_NOTHING_GIVEN: dict[str, Any] = dict.fromkeys(f"_{name}" for name in GIVEN)


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
class Double:
    """Nothing was stored: this delivery, accepted so many seconds ago, may have brought the same to the ticket already.

    Whoever wants it all the same says so, by `despite`.
    """

    delivery: Delivery
    seconds_ago: float


@dataclass(frozen=True, slots=True)
class Thread:
    """What the outbox knows of a thread: the ticket it was last recorded on."""

    ticket_id: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """A message in a conversation, as the outbox knows it. `thread_ts` is the message's own where it stands in no thread."""

    enterprise_id: str | None
    team_id: str
    channel_id: str
    thread_ts: str
    message_ts: str


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

    `full` are the tenants whose window was full: a new acceptance need not ask before that time. `ended` is what was
    settled without sending, by id: its tenant, or the tenant's keys, are gone.
    """

    claimed: tuple[Claimed, ...]
    next_in: dict[int, float]
    full: frozenset[int]
    ended: dict[Problem, list[str]]


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
        self._accepting = AcceptanceStatements(database.engine)
        self._sending = SendingStatements(database.engine)
        self._telling = TellingStatements(database.engine)

    # -- acceptance

    async def accept(self, submission: Submission, *, despite: str | None = None) -> Accepted | Unmapped | Double:
        """Commit a submission, unless it would double what was recorded before.

        `despite` is the id of the delivery that the person was shown as the double, and wants doubled. Raises
        DatabaseUnavailableError when it could not be committed; nothing is stored then.
        """
        row = self._row(submission) | {"_route": Route.THREAD}

        def write(connection: Connection) -> Accepted | Unmapped | Double:
            shown = None if despite is None else self._find(connection, submission.team_id, despite)
            # What was shown of one ticket says nothing of another.
            same = shown is not None and shown.ticket_id == submission.ticket_id
            return self._insert(connection, row, despite=shown.seq if shown and same else 0)

        return await self._promptly(write)

    async def thread(self, place: Place) -> Thread | Unmapped:
        """Say what is known of a message's thread; that its workspace has no tenant comes first."""

        def read(connection: Connection) -> Thread | Unmapped:
            asked = _conversation(place.enterprise_id, place.team_id, place.channel_id)
            if self._accepting.find_tenant(connection, **asked).fetchone() is None:
                return Unmapped()
            last = self._accepting.last_ticket(connection, **asked, **_thread(place)).fetchone()
            return Thread(None if last is None else last[0])

        return await self._promptly(read)

    async def is_mapped(self, enterprise_id: str | None, team_id: str, channel_id: str) -> bool:
        """Say whether a conversation has a tenant."""
        asked = _conversation(enterprise_id, team_id, channel_id)
        return await self._promptly(
            lambda connection: self._accepting.find_tenant(connection, **asked).fetchone() is not None
        )

    async def recorded_before(self, place: Place, ticket_id: str) -> Double | None:
        """Return the newest delivery that brought this very message to this ticket, or may have."""

        def read(connection: Connection) -> Double | None:
            asked = _conversation(place.enterprise_id, place.team_id, place.channel_id)
            message = {"_message_ts": place.message_ts, "_ticket_id": ticket_id, "_fingerprint": None}
            return self._double(connection, {**asked, **_thread(place), **message}, despite=0)

        return await self._promptly(read)

    async def send_again(self, old_id: str, submission: Submission) -> Accepted | Unmapped | Refused:
        """Accept a delivery anew, in its old place in Slack, and mark the old one as sent again.

        Once: whoever clicks first.
        """
        given = self._row(submission)

        def write(connection: Connection) -> Accepted | Unmapped | Refused:
            old = self._find(connection, submission.team_id, old_id)
            if old is None or not old.resendable:
                return Refused(old)
            alone = old.route is Route.DIRECT_MESSAGE and submission.response_url is not None
            place = {  # without the anchor's mark: it is to show this delivery's ticket and text
                "_retry_of": old.id,
                "_channel_id": old.channel_id,
                "_thread_ts": old.thread_ts,
                "_message_ts": old.message_ts,
                "_anchor_ts": old.anchor_ts,
                "_route": Route.RESPONSE_URL if alone else old.route,
            }
            accepted = self._insert(connection, given | place, despite=DESPITE_ALL)
            if isinstance(accepted, Accepted) and not accepted.again:
                self._resolve(connection, old, Resolution.SENT_AGAIN, submission.user_id)
            return Unmapped() if isinstance(accepted, Double) else accepted

        return await self._promptly(write)

    async def confirm(self, team_id: str, id_: str, user_id: str) -> Delivery | Refused:
        """Close an unknown delivery because a person saw it on the ticket."""

        def write(connection: Connection) -> Delivery | Refused:
            old = self._find(connection, team_id, id_)
            if old is None or old.state is not State.UNKNOWN or old.resolution is not None:
                return Refused(old)
            self._resolve(connection, old, Resolution.CONFIRMED, user_id)
            return old

        return await self._promptly(write)

    async def find(self, team_id: str, id_: str) -> Delivery | None:
        """Return a workspace's own delivery; another workspace's is not there."""
        return await self._promptly(lambda connection: self._find(connection, team_id, id_))

    async def renew_response_url(self, delivery: Delivery, response_url: str) -> None:
        """Keep a younger response_url for what follows this delivery."""
        renewed = self._keyring.encrypt(response_url)

        def write(connection: Connection) -> None:
            self._accepting.renew(connection, _seq=delivery.seq, _response_url=renewed)

        await self._promptly(write)

    async def _promptly(self, do: Callable[[Connection], T]) -> T:
        # Each of these is repeatable: the key, the resolution or the state decides what a second run still changes.
        return await self._database.run(do, within=ACCEPT_WITHIN, answer_within=ANSWER_WITHIN, repeatable=True)

    def _row(self, submission: Submission) -> dict[str, Any]:
        return _NOTHING_GIVEN | {
            "_id": reference(submission.team_id, submission.key),
            "_enterprise_id": submission.enterprise_id,
            "_team_id": submission.team_id,
            "_channel_id": submission.channel_id,
            "_user_id": submission.user_id,
            "_key": submission.key,
            "_ticket_id": submission.ticket_id,
            "_text": self._keyring.encrypt(submission.text),
            "_response_url": self._keyring.encrypt(submission.response_url) if submission.response_url else None,
            "_thread_ts": submission.thread_ts,
            "_message_ts": submission.message_ts,
            "_fingerprint": self._keyring.fingerprint(
                submission.team_id, submission.user_id, submission.ticket_id, submission.text
            ),
            "_state": State.ACCEPTED,
        }

    def _insert(self, connection: Connection, row: dict[str, Any], *, despite: int) -> Accepted | Unmapped | Double:
        """Store a row, or say why not. `despite` is the seq up to which doubles are wanted."""
        asked = _conversation(row["_enterprise_id"], row["_team_id"], row["_channel_id"])
        stored = self._accepting.accept(connection, **row, **asked, despite=despite).fetchone()
        if stored is not None:
            return Accepted(row["_id"], stored[0])
        before = self._accepting.accepted_before(connection, _team_id=row["_team_id"], _key=row["_key"]).fetchone()
        if before is not None:
            return Accepted(before[0], before[1], again=True)
        if despite == DESPITE_ALL or self._accepting.find_tenant(connection, **asked).fetchone() is None:
            return Unmapped()
        names = ("_team_id", "_channel_id", "_thread_ts", "_message_ts", "_ticket_id", "_fingerprint")
        double = self._double(connection, {**asked, **{name: row[name] for name in names}}, despite=despite)
        # What stood in the way may have been rejected a moment ago, by another process.
        return double or self._insert(connection, row, despite=DESPITE_ALL)

    def _double(self, connection: Connection, asked: dict[str, Any], *, despite: int) -> Double | None:
        row = self._accepting.double(connection, **asked, despite=despite).fetchone()
        return None if row is None else Double(self._delivery(row[:-1]), row[-1])

    def _find(self, connection: Connection, team_id: str, id_: str) -> Delivery | None:
        row = self._accepting.find(connection, _id=id_, _team_id=team_id).fetchone()
        return None if row is None else self._delivery(row)

    def _resolve(self, connection: Connection, old: Delivery, resolution: Resolution, user_id: str) -> None:
        self._accepting.resolve(connection, _seq=old.seq, _resolution=resolution, _resolved_by=user_id)

    # -- sending

    async def claim(self, tenant_ids: Collection[int] | None = None, *, at_most: int = 100) -> Claim:
        """Take what may be sent now, in order per ticket and within each tenant's window; None asks for every tenant.

        A claimed delivery is `sending` under a lease, its attempt is written down, and its slot is taken.
        """
        return await self._database.run(lambda connection: self._claim(connection, tenant_ids, at_most))

    def _claim(self, connection: Connection, tenant_ids: Collection[int] | None, at_most: int) -> Claim:
        if tenant_ids is None:
            tenant_ids = [tenant_id for (tenant_id,) in self._sending.waiting_tenants(connection).fetchall()]
        claimed: list[Claimed] = []
        next_in: dict[int, float] = {}
        full: set[int] = set()
        ended: dict[Problem, list[str]] = defaultdict(list)
        for tenant_id in sorted(tenant_ids):
            if len(claimed) >= at_most:
                next_in[tenant_id] = 0.0
                continue
            row = self._sending.lock_tenant(connection, _id=tenant_id).fetchone()
            if row is None:
                if self._sending.tenant_exists(connection, _id=tenant_id).fetchone() is None:
                    ended[Problem.TENANT_REMOVED] += self._end_waiting(connection, tenant_id, Problem.TENANT_REMOVED)
                    next_in[tenant_id] = math.inf
                else:
                    next_in[tenant_id] = PASSED_BY
                continue
            *fields, moment = row
            try:
                tenant, resume_at = read_tenant(fields, self._keyring)
            except UndecipherableError:
                ended[Problem.UNDECIPHERABLE] += self._end_waiting(connection, tenant_id, Problem.UNDECIPHERABLE)
                next_in[tenant_id] = math.inf
                continue
            free, free_at = self._free_slots(connection, tenant, resume_at, moment)
            taken = self._take(connection, tenant_id, moment, free)
            if free <= len(taken):
                full.add(tenant_id)
            next_at = self._next_at(connection, tenant_id, moment, room=free - len(taken), free_at=free_at)
            next_in[tenant_id] = math.inf if next_at is None else max(next_at - moment, 0.0)
            claimed += [Claimed(delivery, tenant, moment) for delivery in taken]
        return Claim(tuple(claimed), next_in, frozenset(full), ended)

    def _free_slots(
        self, connection: Connection, tenant: Tenant, resume_at: float | None, moment: float
    ) -> tuple[int, float | None]:
        """Return how many calls the tenant may make now, and when the next slot is free again."""
        if resume_at is not None and resume_at > moment:
            return 0, resume_at
        count, first_free = self._sending.taken_slots(connection, _tenant_id=tenant.id, moment=moment).fetchone()
        return max(tenant.calls_per_window - count, 0), first_free

    def _take(self, connection: Connection, tenant_id: int, moment: float, room: int) -> list[Delivery]:
        if room == 0:
            return []
        heads = self._sending.heads(connection, _tenant_id=tenant_id, moment=moment, room=room).fetchall()
        taken = []
        for (seq,) in heads:
            row = self._sending.take(connection, _seq=seq, lease=self._lease).fetchone()
            if row is not None:
                delivery = self._delivery(row)
                attempt = {"_delivery_seq": seq, "_number": delivery.attempts, "_tenant_id": tenant_id}
                self._sending.begin_attempt(connection, **attempt, lease=self._lease)
                taken.append(delivery)
        return taken

    def _next_at(
        self, connection: Connection, tenant_id: int, moment: float, *, room: int, free_at: float | None
    ) -> float | None:
        """Return when the tenant could send more without anybody waking the worker; None when nothing is planned."""
        if room <= 0:
            waiting = self._sending.any_waiting(connection, _tenant_id=tenant_id).fetchone()
            return None if waiting is None else free_at
        due_at: float | None = self._sending.next_due(connection, _tenant_id=tenant_id, moment=moment).fetchone()[0]
        return due_at

    def _end_waiting(self, connection: Connection, tenant_id: int, problem: Problem) -> list[str]:
        """Settle without a call what waits for a tenant that cannot be called any more; return the deliveries' ids."""
        return [
            id_ for (id_,) in self._sending.end_waiting(connection, _tenant_id=tenant_id, _problem=problem).fetchall()
        ]

    async def settle(self, claimed: Claimed, outcome: Outcome, decision: Decision) -> bool:
        """Write down what became of an attempt. False: somebody else had settled it, and nothing was changed."""
        delivery = claimed.delivery
        # A call that was never made has not used its slot.
        occupied_for = 0.0 if isinstance(outcome, NotSent) else WINDOW
        attempt = {"_seq": delivery.seq, "_number": delivery.attempts, "_outcome": type(outcome).__name__.lower()}
        mine = {"_seq": delivery.seq, "_attempts": delivery.attempts}

        def write(connection: Connection) -> bool:
            self._sending.end_attempt(connection, **attempt, occupied_for=occupied_for)
            if decision.hold_tenant_until is not None:
                self._sending.hold_tenant(connection, _id=delivery.tenant_id, _resume_at=decision.hold_tenant_until)
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
            return bool(change.rowcount == 1)

        return await self._database.run(write, repeatable=True)

    async def expire(self, *, sparing: Collection[int] = ()) -> list[str]:
        """Settle as unknown what was being sent by a process that died, and return the ids.

        `sparing` are this process's own, by seq: their outcome is still to come.
        """
        spared = frozenset(sparing)

        def write(connection: Connection) -> list[str]:
            dead = [(seq, id_) for seq, id_ in self._sending.dead(connection).fetchall() if seq not in spared]
            return [id_ for seq, id_ in dead if self._sending.expire(connection, _seq=seq).rowcount == 1]

        return await self._database.run(write)

    # -- telling

    async def claim_tellings(
        self,
        *,
        at_most: int,
        sparing: Collection[int] = (),
        quiet: Collection[tuple[str, str]] = (),
        settled_only: bool = False,
    ) -> tuple[list[Due], float]:
        """Take what is due to be told, and say in how many seconds the next will be (infinite: nothing is planned).

        `sparing` are the deliveries, by seq, that this process is telling already, however long that takes; `quiet` the
        conversations, as (team_id, channel_id), in which Slack wants no message just now. `settled_only` leaves out what
        has no outcome yet.
        """
        spared, silent = frozenset(sparing), frozenset(quiet)
        untold = self._telling.unanswered if settled_only else self._telling.untold
        look_at = at_most + len(spared) + (LOOK_PAST if silent else 0)

        def write(connection: Connection) -> tuple[list[Due], float]:
            rows = untold(connection, at_most=look_at).fetchall()
            due = [seq for seq, team, channel in rows if seq not in spared and (team, channel) not in silent]
            found = [step for seq in due[:at_most] if (step := self._begin_telling(connection, seq)) is not None]
            if len(due) >= at_most:
                return found, 0.0
            next_in = self._telling.next_untold(connection).fetchone()[0]
            return found, math.inf if next_in is None else next_in

        return await self._database.run(write)

    async def told(self, due: Due, ts: str | None) -> Due | None:
        """Write down that a step was told, as message `ts`; return what is to be told right after."""

        def write(connection: Connection) -> Due | None:
            seq = due.delivery.seq
            match due.step:
                case Step.ANCHOR:
                    self._telling.anchored(connection, _seq=seq, _anchor_ts=ts, _anchor_mark=mark(due.delivery))
                case Step.NOTE:
                    self._telling.noted(connection, _seq=seq, _noted=reason_for_waiting(due.delivery))
                case Step.ANSWER:
                    self._telling.answered(connection, _seq=seq)
                case Step.MARK:
                    self._telling.marked(connection, _seq=seq, _anchor_mark=mark(due.delivery))
            return self._go_on_telling(connection, seq)

        return await self._database.run(write, repeatable=True)

    async def tell_elsewhere(self, due: Due, route: Route) -> Due | None:
        """Go on by another route; return what is to be told there."""

        def write(connection: Connection) -> Due | None:
            self._telling.rerouted(connection, _seq=due.delivery.seq, _route=route)
            return self._go_on_telling(connection, due.delivery.seq)

        return await self._database.run(write, repeatable=True)

    async def tell_later(self, due: Due, seconds: float | None) -> None:
        """Give the telling back, to be tried again in some seconds (None: never)."""

        def write(connection: Connection) -> None:
            if seconds is None:
                self._telling.plan_telling(connection, _seq=due.delivery.seq, _tell_at=None)
            else:
                self._telling.tell_later(connection, _seq=due.delivery.seq, seconds=seconds)

        await self._database.run(write, repeatable=True)

    def _begin_telling(self, connection: Connection, seq: int) -> Due | None:
        row = self._telling.look(connection, _seq=seq).fetchone()
        if row is None or not row[-1]:
            return None  # another process was quicker
        due = self._next_step(connection, row[:-1])
        if due is not None:
            self._telling.lease_telling(connection, _seq=seq, lease=self._lease)
        return due

    def _go_on_telling(self, connection: Connection, seq: int) -> Due | None:
        row = self._telling.look(connection, _seq=seq).fetchone()
        due = None if row is None else self._next_step(connection, row[:-1])
        if due is not None:
            self._telling.lease_telling(connection, _seq=seq, lease=self._lease)
        return due

    def _next_step(self, connection: Connection, row: Sequence[Any]) -> Due | None:
        """Return what is to be told now.

        If that is nothing, plan the next look and give up the lease in this very transaction: what settles meanwhile is
        seen here, or wakes a teller after.
        """
        *fields, moment = row
        delivery = self._delivery(fields)
        next_ = next_telling(delivery, moment)
        if isinstance(next_, Tell):
            return Due(delivery, next_.step)
        self._telling.plan_telling(
            connection, _seq=delivery.seq, _tell_at=next_.until if isinstance(next_, Wait) else None
        )
        return None

    # -- looking

    async def unfinished(self) -> int:
        """Count the deliveries that are not settled, or not told."""
        return await self._database.run(lambda connection: int(self._accepting.unfinished(connection).fetchone()[0]))

    def _delivery(self, fields: Sequence[Any]) -> Delivery:
        row = dict(zip(_NAMES, fields, strict=True))
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
            message_ts=row["message_ts"],
            state=State(row["state"]),
            accepted_at=row["accepted_at"],
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


def _conversation(enterprise_id: str | None, team_id: str, channel_id: str) -> dict[str, str]:
    """Name a conversation to FIND_TENANT."""
    return {"enterprise": enterprise_id or "", "team": team_id, "channel": channel_id}


def _thread(place: Place) -> dict[str, str]:
    return {"_team_id": place.team_id, "_channel_id": place.channel_id, "_thread_ts": place.thread_ts}


def reference(team_id: str, key: str) -> str:
    """Return a delivery's id: 12 letters and digits that a person can read out, the same for the same request."""
    return base64.b32encode(blake2b(f"{team_id}/{key}".encode(), digest_size=8).digest()).decode().lower()[:12]
