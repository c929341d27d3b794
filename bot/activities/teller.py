"""Tells each delivery's person what there is to tell, for as long as the process lives.

The teller never posts an activity.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from bot.activities.delivery import Delivery, Route
from bot.activities.policy import (
    AFTER_ANSWERS,
    OUTCOMES,
    RETRY_DATABASE,
    TELL_FOR,
    Step,
    give_up_at,
)
from bot.activities.tellings import Due, Tellings
from bot.backoff import jittered
from bot.database.writer import DatabaseUnavailableError
from bot.tenants.directory import NOBODY, Scope

T = TypeVar("T")

_log = structlog.get_logger(__name__)

MAX_TELLINGS_IN_FLIGHT = 20
"""Deliveries that one process tells at a time. At 0.2 s for a call to Slack that is 100 messages a
second, enough for 100 conversations: Slack takes about one message a second in each."""

FIRST_DELAY = 1.0
LONGEST_DELAY = 300.0
SOON = 0.05

AFTER_QUIET = 1.0
"""Seconds for which marks wait when Slack takes messages in a conversation again.

The answers that Slack refused go first.
"""

LEAVE = 1.0
"""Seconds, beside the polls, in which the process that has a workspace's token tells what is due
there.
"""

POLLS = 3
"""Polls that a process with another workspace's token leaves to it.

A process whose own token is rejected leaves one poll.
"""


@dataclass(frozen=True, slots=True)
class Told:
    """Slack took it. `ts` is the message's, where there is one."""

    ts: str | None = None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """It cannot be told here; go on by this route."""

    route: Route
    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """Slack did not take it now. `after` in seconds, when Slack said how long to wait."""

    reason: str
    after: float | None = None


Telling = Told | Elsewhere | Later


class Replies(Protocol):
    """How a step is told in Slack. It never raises for what a network or Slack can do."""

    @property
    def scope(self) -> Scope | None:
        """The part of Slack that this process can tell anything.

        None: it is not known yet. Its change wakes the teller.
        """
        ...

    async def tell(
        self, delivery: Delivery, step: Step, *, age: float, give_up_at: float
    ) -> Telling:
        """Tell a step of a delivery that was accepted `age` seconds ago.

        The teller tries it until `give_up_at`, by the machine's wall clock.
        """
        ...

    def quiet(self) -> dict[tuple[str, str], float]:
        """Return for how many seconds Slack wants no message in a conversation.

        The key is (team_id, channel_id).
        """
        ...


class Teller:
    """Tells what is due. One `run` per process; `wake` from anywhere in its event loop."""

    def __init__(
        self,
        tellings: Tellings,
        replies: Replies,
        *,
        retry_for: float,
        poll_interval: float,
        on_told: Callable[[Delivery], None] = lambda _: None,
    ) -> None:
        """`on_told` is called after what became of a delivery was told, or what was decided."""
        self._tellings = tellings
        self._replies = replies
        self._retry_for = retry_for
        self._poll_interval = poll_interval
        self._on_told = on_told
        self._changed = asyncio.Event()
        self._stopping = False
        self._timers: dict[float, asyncio.TimerHandle] = {}  # by their delay
        self._crowded = False  # the last claim left something due, for want of room
        self._in_flight: dict[int, asyncio.Task[None]] = {}
        self._answering: dict[
            int, tuple[str, str]
        ] = {}  # the conversations of those that are not answered yet
        self._answers_first: dict[
            tuple[str, str], float
        ] = {}  # until when, by time.monotonic(), after a refusal

    def wake(self) -> None:
        """Say that there may be something to tell now."""
        self._changed.set()

    def wake_later(self, seconds: float) -> None:
        """Say that there may be something to tell in so many seconds.

        One claim then serves all that said the same before.
        """
        if seconds not in self._timers:
            self._timers[seconds] = asyncio.get_running_loop().call_later(
                seconds, self._ring, seconds
            )

    def _ring(self, seconds: float) -> None:
        del self._timers[seconds]
        self._changed.set()

    async def run(self) -> None:
        """Tell until `stop`; what is being told then goes on: see `finish`."""
        while not self._stopping:
            self._changed.clear()
            wait = self._poll_interval
            if len(self._in_flight) < MAX_TELLINGS_IN_FLIGHT:
                try:
                    wait = min(wait, await self._claim())
                except DatabaseUnavailableError as error:
                    _log.warning("database_unavailable", reason=str(error))
                    wait = RETRY_DATABASE
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)

    def stop(self) -> None:
        """Take nothing new.

        Not a cancellation: a claim that is being committed must still be carried out.
        """
        self._stopping = True
        for timer in self._timers.values():
            timer.cancel()
        self._changed.set()

    async def finish(self, within: float) -> int:
        """Tell what is due already. Return how many were not told `within` that many seconds."""
        until = time.monotonic() + within
        while (left := until - time.monotonic()) > 0:
            if len(self._in_flight) < MAX_TELLINGS_IN_FLIGHT:
                with contextlib.suppress(DatabaseUnavailableError):
                    await self._claim()
            if not self._in_flight:
                return 0
            await asyncio.wait(
                self._in_flight.values(), timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
        return len(self._in_flight)

    async def _claim(self) -> float:
        scope = self._replies.scope
        if scope is None:
            return math.inf  # a start is no failure, after which each next try would come later
        room = MAX_TELLINGS_IN_FLIGHT - len(self._in_flight)
        self._crowded = False
        quiet = self._replies.quiet()
        answers_first = self._after_refusals(quiet)
        found, next_in = await self._tellings.claim(
            scope,
            leave=self._poll_interval * (1 if scope == NOBODY else POLLS) + LEAVE,
            at_most=room,
            sparing=self._in_flight.keys(),
            quiet=quiet,
            busy=frozenset({*self._answering.values(), *answers_first}),
            # What waits for its outcome waits for the next start as well.
            settled_only=self._stopping,
        )
        self._crowded = len(found) >= room
        for due in found:
            delivery = due.delivery
            if due.step not in AFTER_ANSWERS:
                self._answering[delivery.seq] = (delivery.team_id, delivery.channel_id)
            self._in_flight[delivery.seq] = asyncio.create_task(self._tell_all(due))
        return min([next_in, *quiet.values(), *answers_first.values()])

    def _after_refusals(
        self, quiet: Mapping[tuple[str, str], float]
    ) -> dict[tuple[str, str], float]:
        """Return for how many seconds marks wait in each conversation that Slack limits."""
        moment = time.monotonic()
        self._answers_first |= {
            place: moment + seconds + AFTER_QUIET for place, seconds in quiet.items()
        }
        self._answers_first = {
            place: until for place, until in self._answers_first.items() if until > moment
        }
        return {place: until - moment for place, until in self._answers_first.items()}

    async def _tell_all(self, first: Due) -> None:
        """Tell one step after the other until there is no more to say now."""
        with structlog.contextvars.bound_contextvars(delivery=first.delivery.id):
            due: Due | None = first
            try:
                while due is not None:
                    due = await self._tell(due)
            except Exception:  # noqa: BLE001 - logged; the lease's end brings the next try
                _log.exception("telling_broke")
            finally:
                del self._in_flight[first.delivery.seq]
                self._answering.pop(first.delivery.seq, None)
                # At once if more is due than had room, else once for all that end in the next
                # moments.
                self.wake() if self._crowded else self.wake_later(SOON)

    async def _tell(self, due: Due) -> Due | None:
        delivery, step = due.delivery, due.step
        try:
            age = due.at - delivery.accepted_at
            telling = await self._replies.tell(
                delivery, step, age=age, give_up_at=self._give_up_at(due)
            )
        except Exception as error:  # noqa: BLE001 - the person still waits for the answer
            _log.exception("reply_failed")
            telling = Later(type(error).__name__)
        match telling:
            case Told(ts):
                _log.info("told", step=step.value, route=delivery.route.value)
                next_ = await _written(lambda: self._tellings.told(due, ts))
                if step in OUTCOMES:
                    self._on_told(delivery)
                return next_
            case Elsewhere(route, reason):
                went = {"step": step.value, "reason": reason}
                if route is Route.PRIVATE:  # that others are not to read it is no fault
                    _log.info("told_privately", **went)
                else:
                    _log.warning("told_elsewhere", route=route.value, **went)
                return await _written(lambda: self._tellings.tell_elsewhere(due, route))
            case Later(reason, after):
                again_in = _again_in(due, after)
                attempts = delivery.tell_attempts + 1
                failed = {"step": step.value, "reason": reason, "attempts": attempts}
                if again_in is None:
                    _log.error("telling_given_up", **failed)
                else:
                    _log.warning("telling_failed", again_in=again_in, **failed)
                await _written(lambda: self._tellings.tell_later(due, again_in))
                return None

    def _give_up_at(self, due: Due) -> float:
        """Return until when it will be tried, by the wall clock.

        The database's clock may differ.
        """
        delivery = due.delivery
        until = give_up_at(
            delivery.accepted_at, delivery.first_attempt_at or delivery.accepted_at, self._retry_for
        )
        return until - due.at + time.time()


def _again_in(due: Due, after: float | None) -> float | None:
    """Return in how many seconds to try again; None after a day: it is given up then."""
    if due.at > due.delivery.accepted_at + TELL_FOR:
        return None
    backoff = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(due.delivery.tell_attempts, 16))
    return round(jittered(backoff) if after is None else after, 3)


async def _written(write: Callable[[], Awaitable[T]]) -> T:
    """Write down what was told, as often as it takes: it must not be told twice."""
    while True:
        try:
            return await write()
        except DatabaseUnavailableError as error:
            _log.warning("database_unavailable", reason=str(error))
            await asyncio.sleep(RETRY_DATABASE)
