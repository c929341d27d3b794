"""claim -> post -> decide -> settle, for as long as the process lives."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from bot.activities.backlog import Backlog
from bot.activities.delivery import Delivery, with_last_line
from bot.activities.outbox import Claim, Claimed, Outbox
from bot.activities.policy import (
    ANCHOR_AFTER,
    OUTCOME_WITHIN,
    RETRY_DATABASE,
    Decision,
    Repeat,
    decide,
    give_up_at,
)
from bot.activities.schedule import Schedule, Visits
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
from bot.leadsquared.tenant import Attribution, Tenant

_log = structlog.get_logger(__name__)

OF_THE_AGENT = (Problem.BAD_REQUEST, Problem.NOT_FOUND, Problem.REFUSED, Problem.FAILED)
"""LeadSquared said no to this one activity: its agent acts. An admin acts on the rest."""


Begin = Callable[[], Awaitable[bool]]


class Portal(Protocol):
    """The one call that the core needs of LeadSquared.

    It never raises for what a network or a server can do.

    `begin` is awaited when the connection stands, right before the request goes out. Nothing goes
    out unless it returns True; the outcome is NotBegun then.
    """

    async def add_portal_activity(
        self, tenant: Tenant, ticket_id: str, text: str, begin: Begin
    ) -> Outcome: ...


class Attributes(Protocol):
    """Who says by whom an activity was recorded. It never raises, and takes a few seconds at most.

    Slack is asked here, before the request and after the acknowledgement: the person does not wait
    for a lookup, and a burst of commands does not either.
    """

    async def last_line(self, delivery: Delivery) -> str: ...


class Tells(Protocol):
    """The teller, as the worker and the verifier know it.

    They wake it when there is something to tell, or will be.
    """

    def wake(self) -> None: ...

    def wake_later(self, seconds: float) -> None: ...


class Worker:
    """Sends what was accepted. One `run` per process; `wake` from anywhere in its event loop.

    Seconds: no call is begun later than `begin_within` after its claim. `on_settled` is called
    with each delivery that has its outcome.
    """

    def __init__(
        self,
        outbox: Outbox,
        portal: Portal,
        teller: Tells,
        *,
        attributes: Attributes | None = None,
        retry_for: float,
        poll_interval: float,
        begin_within: float,
        on_settled: Callable[[Delivery], None] = lambda _: None,
    ) -> None:
        self._outbox = outbox
        self._portal = portal
        self._teller = teller
        self._attributes = attributes
        self._retry_for = retry_for
        self._poll_interval = poll_interval
        self._begin_within = begin_within
        self._on_settled = on_settled
        self._started = steady()
        self._changed = asyncio.Event()
        self._stopping = False
        self._in_flight: dict[int, asyncio.Task[None]] = {}
        self._schedule = Schedule(poll_interval)
        self._backlog = Backlog()

    def wake(self, tenant_id: int) -> None:
        """Say that this process has accepted something for a tenant."""
        self._teller.wake_later(ANCHOR_AFTER)
        if self._schedule.accepted(tenant_id, time.monotonic()):
            self._changed.set()

    def hear(self, tenant_id: int) -> None:
        """Say that another process has accepted something for a tenant."""
        if self._schedule.notified(tenant_id, time.monotonic()):
            self._changed.set()

    def poll_now(self) -> None:
        """Say that something may have been accepted without a notification."""
        self._schedule.poll_now()
        self._changed.set()

    async def run(self) -> None:
        """Claim and send until `stop`; what is in flight then goes on: see `finish`."""
        while not self._stopping:
            self._changed.clear()
            if (pause := self._schedule.pause(time.monotonic())) > 0:
                # Not for `_changed`: each acceptance of the burst sets it.
                await asyncio.sleep(pause)
                continue
            try:
                if self._schedule.is_poll_due(time.monotonic()):
                    await self._poll()
                if not self._stopping and (visits := self._schedule.visits(time.monotonic())):
                    self._start(await self._claim(visits))
            except DatabaseUnavailableError as error:
                _log.warning("database_unavailable", reason=str(error))
                self._schedule.database_failed(time.monotonic())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._schedule.wait(time.monotonic()))

    def stop(self) -> None:
        """Take nothing new.

        Not a cancellation: a claim that is being committed must still be carried out.
        """
        self._stopping = True
        self._changed.set()

    async def finish(self, within: float) -> int:
        """Wait for what is in flight. Return how many were not done `within` that many seconds."""
        if not self._in_flight:
            return 0
        _, pending = await asyncio.wait(self._in_flight.values(), timeout=within)
        return len(pending)

    async def _poll(self) -> None:
        expired = await self._outbox.expire(sparing=self._in_flight.keys())
        for reference in expired:
            problem = Problem.INTERRUPTED.value
            _log.warning("ended_without_an_answer", delivery=reference, problem=problem)
        if expired:
            self._teller.wake()
        await self._watch_the_backlog()
        self._schedule.polling(time.monotonic())
        waiting = await self._outbox.waiting_tenants(within=self._poll_interval)
        self._schedule.polled(waiting, time.monotonic())

    async def _watch_the_backlog(self) -> None:
        moment = time.monotonic()
        if not self._backlog.is_count_due(moment):
            return
        waiting = await self._outbox.waiting()
        if self._backlog.is_worth_a_warning(waiting, moment):
            _log.warning("backlog", waiting=waiting.number, oldest_seconds=round(waiting.oldest))

    async def _claim(self, visits: Visits) -> Claim:
        return await self._outbox.claim(
            visits.tenant_ids, at_most=visits.at_most, in_flight=visits.in_flight
        )

    def _start(self, claim: Claim) -> None:
        """Send what a claim brought."""
        for claimed in claim.claimed:
            self._schedule.began(claimed.delivery.tenant_id)
            self._in_flight[claimed.delivery.seq] = asyncio.create_task(self._send(claimed))
        self._schedule.claimed(claim, time.monotonic())
        for problem, references in claim.ended.items():
            for reference in references:
                _log.warning("ended_unsent", delivery=reference, problem=problem.value)
        if any(claim.ended.values()):
            self._teller.wake()
        if claim.claimed:
            self._teller.wake_later(OUTCOME_WITHIN)

    async def _send(self, claimed: Claimed) -> None:
        delivery = claimed.delivery
        try:
            with structlog.contextvars.bound_contextvars(
                delivery=delivery.id, tenant=claimed.tenant.name
            ):
                started = time.monotonic()
                outcome = await self._post(claimed)
                decision = self._decide(claimed, outcome, now=claimed.at + steady() - claimed.since)
                await self._settle(claimed, outcome, decision, seconds=time.monotonic() - started)
        except Exception:  # noqa: BLE001 - logged; the lease's end tells the person
            _log.exception("sending_failed", delivery=delivery.id)
        finally:
            del self._in_flight[delivery.seq]
            self._schedule.ended(delivery.tenant_id, time.monotonic())
            self._changed.set()

    async def _post(self, claimed: Claimed) -> Outcome:
        text = claimed.delivery.text
        if text is None or not claimed.has_keys:
            return Undecipherable()
        last_line: str | None = None

        async def begin() -> bool:
            return await self._begin(claimed, last_line)

        try:
            last_line = await self._last_line(claimed.delivery)
            return await self._portal.add_portal_activity(
                claimed.tenant,
                claimed.delivery.ticket_id,
                with_last_line(text, last_line),
                begin,
            )
        except Exception:  # noqa: BLE001 - a bug here must not leave a person without an answer
            # Unexpected, and the request may have gone out: the person reads just that.
            _log.exception("post_failed")
            return Unknown(Problem.INTERRUPTED, reason="post failed")

    async def _last_line(self, delivery: Delivery) -> str | None:
        """Return the line of the first attempt; on the first attempt, make it."""
        if delivery.attribution is Attribution.NONE or self._attributes is None:
            return None
        return delivery.last_line or await self._attributes.last_line(delivery)

    async def _begin(self, claimed: Claimed, last_line: str | None) -> bool:
        """Commit that the request goes out, unless the lease could end before the call does.

        A process that stood still may find its claim ended by another one.
        """
        try:
            begun = await self._outbox.begin(claimed, last_line)
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
        return decide(
            outcome, attempts=delivery.attempts, give_up=give_up, now=now, random=random.random
        )

    async def _settle(
        self, claimed: Claimed, outcome: Outcome, decision: Decision, *, seconds: float
    ) -> None:
        """Write the outcome down, with as many tries as it takes: only this process knows it."""
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
        if not isinstance(decision, Repeat):
            self._on_settled(claimed.delivery)


def _log_attempt(
    claimed: Claimed, outcome: Outcome, decision: Decision, *, seconds: float, settled: bool
) -> None:
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
