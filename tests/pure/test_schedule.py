"""Which tenants are visited, and when: a table, and any order of events against a model."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.activities.outbox import VISITED_AT_ONCE, Claim
from bot.activities.policy import (
    CROWDED,
    FEW,
    MAX_CALLS_IN_FLIGHT,
    RETRY_DATABASE,
    WINDOW,
    may_begin,
)
from bot.activities.schedule import (
    BURST,
    BURST_FIRST,
    BURST_WITHIN,
    CLAIMED_AT_ONCE,
    NOTIFIED_DELAY,
    Burst,
    Schedule,
)

POLL = 5.0
OTHER = 99
"""A tenant whose calls fill the process."""


def schedule(poll: float = POLL) -> Schedule:
    """One that has polled at 0.0, and found nothing."""
    new = Schedule(poll)
    new.polling(0.0)
    new.polled({}, 0.0)
    return new


def claim(
    next_in: dict[int, float] | None = None,
    *,
    at: float = 0.0,
    full: Iterable[int] = (),
    held: Iterable[int] = (),
) -> Claim:
    """What a claim says of the tenants that it visited."""
    planned = {} if next_in is None else next_in
    return Claim((), planned, at, frozenset(planned), frozenset(full), frozenset(held), {})


def visited(schedule: Schedule, now: float) -> list[int]:
    visits = schedule.visits(now)
    return [] if visits is None else visits.tenant_ids


def crowd(schedule: Schedule, calls: int, tenant_id: int = OTHER) -> None:
    for _ in range(calls):
        schedule.began(tenant_id)


def make_full(schedule: Schedule, tenant_id: int, *, free_in: float) -> None:
    schedule.accepted(tenant_id, 0.0)
    assert visited(schedule, 0.0) == [tenant_id]
    schedule.claimed(claim({tenant_id: free_in}, full=[tenant_id]), 0.0)


def make_held_back(schedule: Schedule, tenant_id: int) -> None:
    crowd(schedule, CROWDED)
    crowd(schedule, FEW, tenant_id)
    schedule.accepted(tenant_id, 0.0)
    assert visited(schedule, 0.0) == [tenant_id]
    schedule.claimed(claim({tenant_id: math.inf}, held=[tenant_id]), 0.0)


# -- acceptances


def test_an_acceptance_is_visited_at_once_and_only_once() -> None:
    one = schedule()
    assert one.wait(1.0) == POLL - 1.0
    assert one.accepted(7, 1.0)
    assert one.wait(1.0) == 0.0
    visits = one.visits(1.0)
    assert visits is not None
    assert (visits.tenant_ids, visits.at_most, visits.in_flight) == ([7], CLAIMED_AT_ONCE, {})
    one.claimed(claim({7: math.inf}, at=1.0), 1.0)
    assert one.visits(1.0) is None
    assert one.wait(1.0) == POLL - 1.0


def test_what_another_process_accepted_is_left_to_it_for_a_moment() -> None:
    one = schedule()
    assert one.notified(7, 1.0)
    assert one.visits(1.0) is None
    assert one.wait(1.0) == pytest.approx(NOTIFIED_DELAY)
    assert visited(one, 1.0 + NOTIFIED_DELAY) == [7]


def test_a_notification_does_not_delay_this_processs_own_acceptance() -> None:
    one = schedule()
    one.accepted(7, 1.0)
    one.notified(7, 1.0)
    assert visited(one, 1.0) == [7]


def test_a_tenant_whose_window_is_full_is_visited_when_a_slot_is_free_and_not_on_acceptance() -> (
    None
):
    one = schedule(poll=60.0)
    make_full(one, 7, free_in=3.0)
    assert not one.accepted(7, 1.0)
    assert not one.notified(7, 1.0)
    assert one.visits(2.9) is None
    assert visited(one, 3.0) == [7]
    one.claimed(claim({7: math.inf}, at=3.0), 3.0)
    assert one.accepted(7, 3.1), "it has room again"
    assert visited(one, 3.1) == [7]


def test_a_call_that_ends_frees_a_full_window_only_after_its_slot_did() -> None:
    one = schedule(poll=60.0)
    crowd(one, 1, 7)
    make_full(one, 7, free_in=30.0)
    one.ended(7, 2.0)
    assert one.visits(2.0 + WINDOW - 0.1) is None
    assert visited(one, 2.0 + WINDOW) == [7]


def test_a_call_that_ends_lets_its_tickets_next_delivery_go() -> None:
    one = schedule()
    crowd(one, 1, 7)
    one.ended(7, 2.0)
    assert visited(one, 2.0) == [7]


# -- while a claim is under way


@pytest.mark.parametrize("was_full", [False, True])
def test_an_acceptance_during_a_claim_is_not_forgotten(*, was_full: bool) -> None:
    one = schedule(poll=60.0)
    if was_full:
        make_full(one, 7, free_in=1.0)
    else:
        one.accepted(7, 1.0)
    assert visited(one, 1.0) == [7]
    one.accepted(7, 1.1)
    one.claimed(claim({7: math.inf}, at=1.2), 1.2)
    assert visited(one, 1.2) == [7], "the claim may not have seen it"


def test_an_acceptance_during_a_claim_that_fills_the_window_waits_for_a_slot() -> None:
    one = schedule(poll=60.0)
    one.accepted(7, 1.0)
    assert visited(one, 1.0) == [7]
    one.accepted(7, 1.1)
    one.claimed(claim({7: 4.0}, at=1.2, full=[7]), 1.2)
    assert one.visits(5.1) is None
    assert visited(one, 5.2) == [7]


def test_a_call_that_ends_during_a_claim_lets_its_tickets_next_delivery_go() -> None:
    one = schedule(poll=60.0)
    crowd(one, 1, 7)
    make_full(one, 7, free_in=1.0)
    assert visited(one, 1.0) == [7]
    one.ended(7, 1.1)
    one.claimed(claim({7: math.inf}, at=1.2), 1.2)
    assert visited(one, 1.2) == [7], "the window is no longer full"


def test_what_a_claim_did_not_visit_is_planned_from_the_moment_of_its_count() -> None:
    one = schedule(poll=60.0)
    one.accepted(7, 1.0)
    assert visited(one, 1.0) == [7]
    one.claimed(claim({7: 2.0}, at=1.0), 1.5)
    assert one.visits(2.9) is None
    assert visited(one, 3.0) == [7]


def test_after_a_claim_that_failed_everything_is_polled_soon() -> None:
    one = schedule()
    one.accepted(7, 1.0)
    assert visited(one, 1.0) == [7]
    one.accepted(7, 1.1)
    one.database_failed(2.0)
    assert visited(one, 2.0) == [7], "the acceptance during the claim"
    assert not one.is_poll_due(2.0)
    assert one.is_poll_due(2.0 + RETRY_DATABASE)


# -- who is first


def test_the_tenant_visited_longest_ago_comes_first() -> None:
    one = schedule()
    for moment, tenant_id in ((1.0, 1), (2.0, 2), (3.0, 3)):
        one.accepted(tenant_id, moment)
        assert visited(one, moment) == [tenant_id]
        one.claimed(claim({tenant_id: math.inf}, at=moment), moment)
    for tenant_id in (3, 2, 4, 1):
        one.accepted(tenant_id, 4.0)
    assert visited(one, 4.0) == [4, 1, 2, 3], "and one never visited before them all"


def test_a_claim_visits_some_and_the_next_one_the_rest() -> None:
    one = schedule()
    one.polled(dict.fromkeys(range(VISITED_AT_ONCE + 2), 0.0), 0.0)
    first = visited(one, 0.0)
    assert len(first) == VISITED_AT_ONCE
    one.claimed(claim(dict.fromkeys(first, 0.0)), 0.0)  # all of them have more
    second = visited(one, 0.0)
    assert set(second[:2]) == set(range(VISITED_AT_ONCE + 2)) - set(first)


# -- calls in flight


def test_no_claim_and_no_poll_while_as_many_calls_are_in_flight_as_may_be() -> None:
    one = schedule()
    crowd(one, MAX_CALLS_IN_FLIGHT - 1)
    one.accepted(7, POLL)
    visits = one.visits(POLL)
    assert visits is not None
    assert visits.at_most == 1
    assert visits.in_flight == {OTHER: MAX_CALLS_IN_FLIGHT - 1}
    one.began(7)
    one.claimed(claim({7: 0.0}, at=POLL), POLL)
    assert one.visits(POLL) is None
    assert not one.is_poll_due(POLL)
    assert one.wait(POLL) == POLL, "a call that ends says so"
    one.ended(OTHER, POLL)
    assert one.is_poll_due(POLL)
    assert 7 in visited(one, POLL)


def test_a_tenant_that_is_held_back_is_visited_when_its_own_call_has_ended_or_enough_others() -> (
    None
):
    one = schedule(poll=60.0)
    make_held_back(one, 7)
    assert not one.accepted(7, 1.0)
    assert one.visits(1.0) is None
    one.ended(7, 2.0)
    assert 7 in visited(one, 2.0)

    one = schedule(poll=60.0)
    make_held_back(one, 7)
    for number in range(FEW):
        one.ended(OTHER, 2.0)
        assert 7 not in visited(one, 2.0), number
        one.claimed(claim({OTHER: math.inf}, at=2.0), 2.0)
    one.ended(OTHER, 2.0)
    assert 7 in visited(one, 2.0)


def test_calls_that_end_during_the_claim_let_the_held_back_go() -> None:
    one = schedule(poll=60.0)
    crowd(one, CROWDED)
    crowd(one, FEW, 7)
    one.accepted(7, 0.0)
    assert visited(one, 0.0) == [7]
    one.ended(7, 0.1)
    one.claimed(claim({7: math.inf}, held=[7]), 0.2)
    assert visited(one, 0.2) == [7]


# -- polls


def test_a_poll_plans_everything_anew() -> None:
    one = schedule()
    make_full(one, 1, free_in=100.0)
    one.notified(2, POLL)
    assert one.is_poll_due(POLL)
    one.polling(POLL)
    assert one.accepted(1, POLL + 0.1), "who is full is found out anew"
    one.polled({3: 0.0, 4: 2.0}, POLL + 0.2)
    assert not one.is_poll_due(POLL + 0.2)
    assert set(visited(one, POLL + 0.2)) == {1, 3}, (
        "what was accepted while the poll ran, and what it found"
    )
    assert visited(one, POLL + 2.3) == [4]
    assert one.wait(POLL + 2.3) == pytest.approx(POLL - 2.3)


def test_a_poll_can_be_asked_for() -> None:
    one = schedule()
    assert not one.is_poll_due(1.0)
    one.poll_now()
    assert one.is_poll_due(1.0)
    assert one.wait(1.0) == 0.0


def test_a_new_schedule_polls_first() -> None:
    assert Schedule(POLL).is_poll_due(0.0)


# -- bursts


def test_a_burst_is_noticed_and_is_waited_for() -> None:
    one = schedule()
    for number in range(BURST - 1):
        one.accepted(7, number / 1000)
    now = BURST / 1000
    assert one.pause(now) == 0.0, "not enough of them"
    one.accepted(7, now)
    assert one.pause(now) == pytest.approx(BURST_WITHIN - now)
    assert one.pause(BURST_WITHIN) == 0.0, "it has ended"


def test_what_another_process_accepts_is_no_burst_here() -> None:
    one = schedule()
    for _ in range(2 * BURST):
        one.notified(7, 1.0)
    assert one.pause(1.0) == 0.0


def test_what_comes_one_by_one_is_no_burst() -> None:
    burst = Burst()
    for number in range(10 * BURST):
        now = number * BURST_WITHIN / (BURST - 2)
        burst.count(now)
        assert burst.lasts(now) == 0.0


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 2 * BURST_WITHIN / BURST), min_size=BURST, max_size=20 * BURST))
def test_a_burst_is_waited_for_no_longer_than_its_bound(gaps: list[float]) -> None:
    burst, now, since = Burst(), 0.0, -math.inf
    paused = False
    for gap in gaps:
        now += gap
        burst.count(now)
        left = burst.lasts(now)
        if left > 0 and not paused:
            since = now
        paused = left > 0
        assert left <= BURST_WITHIN
        assert now + left <= since + BURST_FIRST or not paused


# -- any order of events


@dataclass
class Model:
    """The outbox and LeadSquared, as a schedule knows them: tenants with a window of two calls.

    All deliveries of a tenant that is `ordered` are on one ticket; else each has its own.
    """

    ordered: frozenset[int]
    now: float = 0.0
    waiting: Counter[int] = field(default_factory=Counter)
    calls: Counter[int] = field(default_factory=Counter)
    taken: dict[int, list[float]] = field(
        default_factory=dict
    )  # until when, by tenant, after a call

    def claim(
        self, tenant_ids: list[int], at_most: int, in_flight: dict[int, int]
    ) -> tuple[Claim, list[int]]:
        """Do what Outbox.claim does; return with it the tenant of each claimed delivery."""
        begun: list[int] = []
        next_in: dict[int, float] = {}
        full, held = set(), set()
        of_all = sum(in_flight.values())
        for tenant_id in tenant_ids:
            if len(begun) >= at_most:
                next_in[tenant_id] = 0.0
                continue
            share = may_begin(in_flight.get(tenant_id, 0), of_all + len(begun))
            next_in[tenant_id] = math.inf
            if share == 0:
                held.add(tenant_id)
                continue
            slots = [until for until in self.taken.get(tenant_id, []) if until > self.now]
            free = max(2 - len(slots) - self.calls[tenant_id], 0)
            room = min(free, share)
            due = self.waiting[tenant_id]
            if tenant_id in self.ordered:
                due = min(due, 0 if self.calls[tenant_id] else 1)
            taken = min(due, room)
            self.waiting[tenant_id] -= taken
            self.calls[tenant_id] += taken
            begun += [tenant_id] * taken
            if taken == room < free:
                held.add(tenant_id)
            elif free <= taken and self.waiting[tenant_id]:
                full.add(tenant_id)
                lease = 1000.0 if self.calls[tenant_id] else math.inf
                next_in[tenant_id] = min([*slots, self.now + lease]) - self.now
        return claim(next_in, at=self.now, full=full, held=held), begun

    def end(self, tenant_id: int) -> None:
        self.calls[tenant_id] -= 1
        self.taken.setdefault(tenant_id, []).append(self.now + WINDOW)


TENANT = st.integers(1, 3)
EVENT = st.one_of(
    st.tuples(st.just("accept"), TENANT),
    st.tuples(st.just("notify"), TENANT),
    st.tuples(st.just("taken elsewhere"), TENANT),
    st.tuples(st.just("end"), st.sampled_from([1, 2, 3, OTHER])),
    st.tuples(st.just("pass"), st.sampled_from([1, 20, 1000, 5000])),  # ms
    st.tuples(st.just("claim"), st.just(0)),
    st.tuples(st.just("claimed"), st.just(0)),
)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(EVENT, max_size=60),
    st.frozensets(TENANT),
    st.sampled_from([0, CROWDED - 2, CROWDED + 10]),
)
def test_whatever_happens_all_that_was_accepted_is_sent_without_a_poll(
    events: list[tuple[str, int]], ordered: frozenset[int], others: int
) -> None:
    one, model = schedule(poll=1e9), Model(ordered)
    crowd(one, others)
    model.calls[OTHER] = others
    under_way: tuple[Claim, list[int]] | None = None

    def carry_out(event: str, of: int) -> None:
        nonlocal under_way
        match event:
            case "accept":
                model.waiting[of] += 1
                one.accepted(of, model.now)
            case "notify":
                model.waiting[of] += 1
                one.notified(of, model.now)
            case "taken elsewhere":
                model.waiting[of] = 0
            case "end" if model.calls[of] > (under_way[1].count(of) if under_way else 0):
                model.end(of)
                one.ended(of, model.now)
            case "pass":
                model.now += of / 1000
            case "claim" if under_way is None:
                visits = one.visits(model.now)
                if visits is not None:
                    under_way = model.claim(visits.tenant_ids, visits.at_most, visits.in_flight)
            case "claimed" if under_way is not None:
                for tenant_id in under_way[1]:
                    one.began(tenant_id)
                one.claimed(under_way[0], model.now)
                under_way = None

    for event in events:
        carry_out(*event)
    assert not one.is_poll_due(model.now)
    for _ in range(40 * (len(events) + 1)):
        for step in ("claimed", "claim", "claimed"):
            carry_out(step, 0)
        if not model.waiting.total():
            return
        for tenant_id in (1, 2, 3):
            carry_out("end", tenant_id)
        if math.isfinite(model.now + one.wait(model.now)) and one.wait(model.now) < 1e8:
            model.now += one.wait(model.now)
    raise AssertionError(f"forgotten: {+model.waiting}")
