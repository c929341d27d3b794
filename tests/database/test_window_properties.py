"""LeadSquared's limit, held for any latency of its calls, there and back."""

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.activities.delivery import State, Submission
from bot.activities.outbox import Claimed
from bot.activities.policy import Settle
from bot.leadsquared.outcome import NotSent, Outcome, Problem, Recorded
from support.stepped import REPEATABLE, TICKS, Store, stepped_store

LEASE = 30.0
LONGEST = int(LEASE * TICKS)
"""Ticks that a call takes at most: the lease sees to it that none outlasts it."""

WINDOW = 5 * TICKS
"""LeadSquared's, in ticks."""


class End(Enum):
    """What becomes of a call."""

    ANSWERED = "answered"
    NOT_SENT = "not sent"
    NEVER_HEARD_OF = "never heard of"  # its process died; it may arrive all the same


@dataclass(frozen=True, slots=True)
class Way:
    """A call's way to LeadSquared, and its answer's way back, in ticks."""

    there: int
    back: int
    end: End


@dataclass(frozen=True, slots=True)
class Call:
    """A call, in ticks: its claim, its arrival (None.

    It never did), and the moment from which its slot may be used again.
    """

    claimed_at: int
    arrived_at: int | None
    free_at: int


@st.composite
def ways(draw: st.DrawFn) -> Way:
    there = draw(st.integers(0, TICKS) | st.integers(0, LONGEST))
    back = draw(st.integers(0, min(TICKS, LONGEST - there)) | st.integers(0, LONGEST - there))
    return Way(there, back, draw(st.sampled_from([End.ANSWERED, End.ANSWERED, *End])))


def called(at: int, way: Way) -> Call:
    """Return what a call that begins `at` that tick comes to."""
    answered_at = at + way.there + way.back
    match way.end:
        case End.ANSWERED:
            return Call(at, at + way.there, answered_at + WINDOW)
        case End.NOT_SENT:
            return Call(at, None, answered_at)
        case End.NEVER_HEARD_OF:
            return Call(at, at + way.there, at + LONGEST + WINDOW)


def send_all(store: Store, tenant_id: int, ways: Sequence[Way]) -> list[Call]:
    """Send a delivery per way, by two processes that claim on notice or after an answered call."""
    clock = store.clock
    for number, _ in enumerate(ways):
        asked = Submission(
            None, "T0HOME", "C0SUPPORT", "U0ANNA", f"trigger-{number}", str(number), "called back"
        )
        store.run(store.acceptances[0].accept(asked))
    left = iter(ways)
    calls: list[Call] = []
    answers: list[tuple[int, int, Claimed, Outcome]] = []
    for outbox in itertools.cycle(store.outboxes):
        claim = store.run(outbox.claim([tenant_id]))
        for claimed in claim.claimed:
            way = next(left)
            calls.append(called(clock.ticks, way))
            if way.end is not End.NEVER_HEARD_OF:
                outcome: Outcome = (
                    Recorded("1") if way.end is End.ANSWERED else NotSent("a.leadsquared.com")
                )
                heapq.heappush(
                    answers, (clock.ticks + way.there + way.back, len(calls), claimed, outcome)
                )
        if len(calls) == len(ways):
            return calls
        next_in = claim.next_in[tenant_id] * TICKS
        next_answer = answers[0][0] - clock.ticks if answers else math.inf
        if not math.isinf(soonest := min(next_in, next_answer)):  # else the other process claims
            clock.go_on(math.ceil(soonest))
        while answers and answers[0][0] == clock.ticks:
            *_, claimed, outcome = heapq.heappop(answers)
            assert store.run(outbox.settle(claimed, outcome, settled_as(outcome)))
    raise AssertionError


def settled_as(outcome: Outcome) -> Settle:
    if isinstance(outcome, Recorded):
        return Settle(State.RECORDED, activity_id=outcome.activity_id)
    return Settle(State.REJECTED, problem=Problem.UNREACHABLE)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with stepped_store(request.param, tmp_path, lease=LEASE) as lent:
        yield lent


def test_no_latency_brings_too_many_calls_into_five_seconds_or_leaves_a_slot_unused(
    store: Store,
) -> None:
    limit = 3
    tenant_id = store.add_tenant("T0HOME", limit)

    @settings(REPEATABLE, max_examples=100 if store.is_sqlite else 30)
    @given(st.lists(ways(), min_size=limit + 1, max_size=5 * limit))
    def for_any_ways(ways: list[Way]) -> None:
        store.empty()
        calls = send_all(store, tenant_id, ways)
        assert len(calls) == len(ways)

        arrivals = sorted(call.arrived_at for call in calls if call.arrived_at is not None)
        for first, one_too_many in zip(arrivals, arrivals[limit:], strict=False):
            assert one_too_many - first >= WINDOW, "one call too many in 5 seconds"

        for call in calls:
            taken = [other for other in calls if other.claimed_at < call.claimed_at]
            for moment in {0, *(other.free_at for other in taken)} - {call.claimed_at}:
                if moment < call.claimed_at:
                    held = sum(other.claimed_at <= moment < other.free_at for other in taken)
                    assert held == limit, "a slot was free, and a delivery waited"

    for_any_ways()
