"""claim -> post -> decide -> settle, for as long as the process lives."""

import asyncio
import contextlib
import heapq
import logging
import math
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import structlog

from bot.activities.backlog import WATCH_EVERY, Backlog
from bot.activities.outbox import VISITED_AT_ONCE, Claim, Claimed, Outbox
from bot.activities.policy import AT_ONCE, WINDOW, Decision, Repeat, decide, give_up_at, may_begin
from bot.activities.telling import ANCHOR_AFTER, OUTCOME_WITHIN
from bot.database.clock import steady
from bot.database.writer import DatabaseUnavailableError
from bot.leadsquared.address import api_host
from bot.leadsquared.outcome import (
    NotBegun,
    Outcome,
    Problem,
    RateLimited,
    Recorded,
    Rejected,
    Undecipherable,
    Unknown,
)
from bot.leadsquared.tenant import Tenant

_log = structlog.get_logger(__name__)

CLAIMED_AT_ONCE = 25
"""Deliveries in one claim, or one tenant's window more. What is accepted meanwhile goes between two claims."""

BURST = 10
BURST_WITHIN = 0.1
BURST_FIRST = 2.5
"""So many acceptances within so many seconds are a burst. It is taken before it is sent, yet sending waits no longer than the
last: people wait 3 s for an acknowledgement, and calls would take the processor from it."""

GIVE_WAY = 0.02
"""Seconds by which a process that only heard of an acceptance lets the one that made it go first."""

RETRY_DATABASE = 0.5
"""Seconds between tries to write down an outcome that the database did not take."""

OF_THE_AGENT = (Problem.BAD_REQUEST, Problem.NOT_FOUND, Problem.REFUSED, Problem.FAILED)
"""LeadSquared said no to this one activity: its agent acts. An admin acts on the rest."""


Begin = Callable[[], Awaitable[bool]]


class Portal(Protocol):
    """The one call that the core needs of LeadSquared. It never raises for what a network or a server can do.

    `begin` is awaited when the connection stands, right before the request goes out. Nothing goes out unless it
    returns True; the outcome is NotBegun then.
    """

    async def add_portal_activity(self, tenant: Tenant, ticket_id: str, text: str, begin: Begin) -> Outcome: ...


class Tells(Protocol):
    """Whoever tells people what there is to tell: woken when that changed, or will."""

    def wake(self) -> None: ...

    def wake_later(self, seconds: float) -> None: ...


class Burst:
    """Acceptances that come thick and fast. Moments are by time.monotonic()."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=BURST)
        self._since = self._on_at = -math.inf

    def count(self, moment: float) -> None:
        """Note an acceptance."""
        self._last.append(moment)
        if self._is_on(moment):
            if moment > self._on_at + BURST_FIRST:  # and not the same one, after it drew breath
                self._since = moment
            self._on_at = moment

    def lasts(self, moment: float) -> float:
        """Return for how many seconds sending should still give way."""
        if not self._is_on(moment) or moment >= self._since + BURST_FIRST:
            return 0.0
        return min(self._last[0] + BURST_WITHIN, self._since + BURST_FIRST) - moment

    def _is_on(self, moment: float) -> bool:
        return len(self._last) == BURST and moment < self._last[0] + BURST_WITHIN


class Worker:
    """Sends what was accepted. One `run` per process; `wake` from anywhere in its event loop.

    Seconds: no call is begun later than `begin_within` after its claim.
    """

    def __init__(
        self,
        outbox: Outbox,
        portal: Portal,
        teller: Tells,
        *,
        retry_for: float,
        poll_interval: float,
        begin_within: float,
    ) -> None:
        self._outbox = outbox
        self._portal = portal
        self._teller = teller
        self._retry_for = retry_for
        self._poll_interval = poll_interval
        self._begin_within = begin_within
        self._started = steady()
        self._changed = asyncio.Event()
        self._stopping = False
        self._in_flight: dict[int, asyncio.Task[None]] = {}
        self._look_at: dict[int, float] = {}  # by time.monotonic(), per tenant, as is:
        self._looked_at: dict[int, float] = {}
        self._full: set[int] = set()
        self._calls: Counter[int] = Counter()  # in flight, per tenant
        self._held_back: set[int] = set()  # they have calls enough in flight, while all together are many
        self._poll_at = 0.0
        self._burst = Burst()
        self._backlog = Backlog()
        self._watch_at = 0.0

    def wake(self, tenant_id: int) -> None:
        """Say that a tenant has a new delivery."""
        self._teller.wake_later(ANCHOR_AFTER)
        self._burst.count(time.monotonic())
        if tenant_id in self._full or tenant_id in self._held_back:
            return  # it is known to have no room: it is looked at when it has
        self._look_at[tenant_id] = 0.0
        self._changed.set()

    def hear(self, tenant_id: int) -> None:
        """Say that another process has accepted something for a tenant. It looks first, so that the two do not collide."""
        if tenant_id not in self._full and tenant_id not in self._held_back:
            at = time.monotonic() + GIVE_WAY
            self._look_at[tenant_id] = min(self._look_at.get(tenant_id, at), at)
            self._changed.set()

    def look_again(self) -> None:
        """Say that something may have been accepted without a word: look at everything."""
        self._poll_at = 0.0
        self._changed.set()

    async def run(self) -> None:
        """Claim and send until `stop`; what is in flight then goes on: see `finish`."""
        while not self._stopping:
            self._changed.clear()
            if (pause := self._burst.lasts(time.monotonic())) > 0:
                await asyncio.sleep(pause)
                self._changed.set()
                continue
            try:
                await self._look()
            except DatabaseUnavailableError as error:
                _log.warning("database_unavailable", reason=str(error))
                self._poll_at = time.monotonic() + RETRY_DATABASE
            wait = max(min([self._poll_at, *self._look_at.values()]) - time.monotonic(), 0.0)
            if len(self._in_flight) >= AT_ONCE:
                wait = self._poll_interval  # a call that ends sets `_changed`
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)

    def stop(self) -> None:
        """Take nothing new. Not a cancellation: a claim that is being committed must still be carried out."""
        self._stopping = True
        self._changed.set()

    async def finish(self, within: float) -> int:
        """Wait for what is in flight, and return how many were not done `within` that many seconds."""
        if not self._in_flight:
            return 0
        _, pending = await asyncio.wait(self._in_flight.values(), timeout=within)
        return len(pending)

    async def _look(self) -> None:
        moment = time.monotonic()
        if len(self._in_flight) >= AT_ONCE:
            return
        if moment >= self._poll_at:
            self._poll_at = moment + self._poll_interval
            expired = await self._outbox.expire(sparing=self._in_flight.keys())
            for reference in expired:
                problem = Problem.INTERRUPTED.value
                _log.warning("ended_without_an_answer", delivery=reference, problem=problem)
            if expired:
                self._teller.wake()
            await self._watch_the_backlog()
            self._look_at.clear()
            self._full.clear()  # each with the look that was to follow
            self._held_back.clear()
            waiting = await self._outbox.waiting_tenants(within=self._poll_interval)
            self._plan(waiting, time.monotonic())
        due = self._due(time.monotonic())
        if due:
            for tenant_id in due:
                del self._look_at[tenant_id]
            at_most = min(AT_ONCE - len(self._in_flight), CLAIMED_AT_ONCE)
            self._start(await self._outbox.claim(due, at_most=at_most, in_flight=dict(self._calls)))

    def _due(self, moment: float) -> list[int]:
        """Return whom one claim is to visit: first who was looked at longest ago, so that nobody is always the last."""
        due = [tenant_id for tenant_id, at in self._look_at.items() if at <= moment]
        return heapq.nsmallest(VISITED_AT_ONCE, due, key=lambda tenant_id: self._looked_at.get(tenant_id, 0.0))

    def _plan(self, next_in: Mapping[int, float], counted_at: float) -> None:
        for tenant_id, seconds in next_in.items():
            # Woken while the database was asked: that look is still to come.
            at = min(self._look_at.get(tenant_id, math.inf), counted_at + seconds)
            if at < math.inf:
                self._look_at[tenant_id] = at

    def _start(self, claim: Claim) -> None:
        self._plan(claim.next_in, claim.counted_at)
        self._looked_at |= dict.fromkeys(claim.visited, claim.counted_at)
        self._full -= claim.next_in.keys()
        self._full |= claim.full
        self._held_back |= claim.held_back
        for claimed in claim.claimed:
            self._calls[claimed.delivery.tenant_id] += 1
            self._in_flight[claimed.delivery.seq] = asyncio.create_task(self._send(claimed))
        self._let_go()  # calls have ended while the claim ran
        for problem, references in claim.ended.items():
            for reference in references:
                _log.warning("ended_unsent", delivery=reference, problem=problem.value)
        if any(claim.ended.values()):
            self._teller.wake()
        if claim.claimed:
            self._teller.wake_later(OUTCOME_WITHIN)

    async def _watch_the_backlog(self) -> None:
        moment = time.monotonic()
        if moment < self._watch_at:
            return  # counting takes longer the more waits
        self._watch_at = moment + WATCH_EVERY
        waiting = await self._outbox.waiting()
        if self._backlog.is_worth_a_warning(waiting, moment):
            _log.warning("backlog", waiting=waiting.number, oldest_seconds=round(waiting.oldest))

    async def _send(self, claimed: Claimed) -> None:
        delivery = claimed.delivery
        try:
            with structlog.contextvars.bound_contextvars(delivery=delivery.id, tenant=claimed.tenant.name):
                started = time.monotonic()
                outcome = await self._post(claimed)
                decision = self._decide(claimed, outcome, now=claimed.at + steady() - claimed.since)
                await self._settle(claimed, outcome, decision, seconds=time.monotonic() - started)
        except Exception:  # noqa: BLE001 - logged with its delivery; the lease's end tells the person
            _log.exception("sending_failed", delivery=delivery.id)
        finally:
            del self._in_flight[delivery.seq]
            self._after(delivery.tenant_id)

    async def _post(self, claimed: Claimed) -> Outcome:
        text = claimed.delivery.text
        if text is None or not claimed.has_keys:
            return Undecipherable()

        async def begin() -> bool:
            return await self._begin(claimed)

        try:
            return await self._portal.add_portal_activity(claimed.tenant, claimed.delivery.ticket_id, text, begin)
        except Exception:  # noqa: BLE001 - a bug here must not leave a person without an answer
            # Nobody's expected case, and the request may have gone out: the person is told just that.
            _log.exception("post_failed")
            return Unknown(Problem.INTERRUPTED, reason="post failed")

    async def _begin(self, claimed: Claimed) -> bool:
        """Commit that the request goes out, unless the lease could end before the call does.

        A process that stood still may find its claim ended by another one.
        """
        try:
            begun = await self._outbox.begin(claimed)
        except DatabaseUnavailableError as error:
            _log.warning("database_unavailable", reason=str(error))
            return False
        return begun and steady() <= claimed.since + self._begin_within

    def _decide(self, claimed: Claimed, outcome: Outcome, *, now: float) -> Decision:
        delivery = claimed.delivery
        since = delivery.accepted_at
        if isinstance(outcome, Undecipherable):
            # A secret comes back with a start, so a start gives what is kept the whole time again.
            since = max(since, now - (steady() - self._started))
        give_up = give_up_at(since, delivery.first_attempt_at or claimed.at, self._retry_for)
        return decide(outcome, attempts=delivery.attempts, give_up=give_up, now=now, random=random.random)

    async def _settle(self, claimed: Claimed, outcome: Outcome, decision: Decision, *, seconds: float) -> None:
        """Write the outcome down, as often as it takes: it is known to nobody else."""
        while True:
            try:
                settled = await self._outbox.settle(claimed, outcome, decision)
            except DatabaseUnavailableError as error:
                _log.warning("database_unavailable", reason=str(error))
                await asyncio.sleep(RETRY_DATABASE)
                continue
            break
        _log_attempt(claimed, outcome, decision, seconds=seconds, settled=settled)
        self._teller.wake()

    def _after(self, tenant_id: int) -> None:
        self._calls[tenant_id] -= 1
        if not self._calls[tenant_id]:
            del self._calls[tenant_id]
        self._let_go()
        # The ticket's next delivery may go now; a full window has room when this call's slot is free again.
        at = time.monotonic() + WINDOW if tenant_id in self._full else 0.0
        self._look_at[tenant_id] = min(self._look_at.get(tenant_id, at), at)
        self._changed.set()

    def _let_go(self) -> None:
        """Look at those again that were held back and have room now."""
        for tenant_id in [one for one in self._held_back if may_begin(self._calls[one], len(self._in_flight))]:
            self._held_back.remove(tenant_id)
            self._look_at[tenant_id] = 0.0


def _log_attempt(claimed: Claimed, outcome: Outcome, decision: Decision, *, seconds: float, settled: bool) -> None:
    """Log how an attempt ended, and as a warning what an admin can do something about.

    An attempt that is to be repeated is for debugging; the warning says why, and is counted.
    """
    settles = None if isinstance(decision, Repeat) else decision
    problem_ = None if settles is None else settles.problem
    what = {
        "ticket": claimed.delivery.ticket_id,
        "host": api_host(claimed.tenant.api_url),
        "reason": getattr(outcome, "reason", ""),
    }
    _log.log(
        logging.DEBUG if settles is None else logging.INFO,
        "attempt_ended",
        outcome=type(outcome).__name__.lower(),
        decision="repeat" if settles is None else settles.state.value,
        problem=None if problem_ is None else problem_.value,
        attempt=claimed.delivery.attempts,
        seconds=round(seconds, 3),
        settled=settled,
        **what,
    )
    match outcome:
        case Recorded():
            pass
        case Rejected(problem) if problem in OF_THE_AGENT:
            pass
        case RateLimited():
            _log.warning("rate_limited", **what)
        case Undecipherable():
            _log.warning("cannot_decrypt", **what | {"reason": "no secret decrypts it"})
        case NotBegun():
            _log.warning("call_not_begun", **what | {"reason": "not committed in time"})
        case _:
            _log.warning("call_failed", outcome=type(outcome).__name__.lower(), **what)
