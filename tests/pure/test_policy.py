"""What follows from each outcome: settled, or repeated when that is safe, and for how long."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.activities.delivery import State, Waiting
from bot.activities.policy import Decision, Repeat, Settle, decide, give_up_at, may_begin
from bot.leadsquared.outcome import (
    NotSent,
    Outcome,
    Problem,
    RateLimited,
    Recorded,
    Rejected,
    Unknown,
)

NOW = 1_000_000.0
GIVE_UP = NOW + 600
ALMOST_ONE = 1 - 2**-53
PATIENT = settings(deadline=None)
RANDOM = st.floats(0, ALMOST_ONE)


def decided(
    outcome: Outcome,
    *,
    attempts: int = 1,
    give_up: float = GIVE_UP,
    now: float = NOW,
    random: float = 0.0,
) -> Decision:
    return decide(outcome, attempts=attempts, give_up=give_up, now=now, random=lambda: random)


@pytest.mark.parametrize("give_up", [GIVE_UP, NOW, NOW - 1])
@pytest.mark.parametrize("attempts", [1, 50])
@pytest.mark.parametrize(
    ("outcome", "decision"),
    [
        (Recorded("1"), Settle(State.RECORDED, activity_id="1")),
        (
            Rejected(Problem.BAD_REQUEST, "No"),
            Settle(State.REJECTED, problem=Problem.BAD_REQUEST, detail="No"),
        ),
        (Rejected(Problem.UNAUTHORIZED), Settle(State.REJECTED, problem=Problem.UNAUTHORIZED)),
        (
            Rejected(Problem.FAILED, "No"),
            Settle(State.REJECTED, problem=Problem.FAILED, detail="No"),
        ),
        (
            Rejected(Problem.TLS, "expired"),
            Settle(State.REJECTED, problem=Problem.TLS, detail="expired"),
        ),
        (Unknown(Problem.NO_ANSWER), Settle(State.UNKNOWN, problem=Problem.NO_ANSWER)),
        (
            Unknown(Problem.SERVER_ERROR, "Oh"),
            Settle(State.UNKNOWN, problem=Problem.SERVER_ERROR, detail="Oh"),
        ),
    ],
)
def test_what_is_known_or_stays_unknown_is_settled_and_never_repeated(
    outcome: Outcome, decision: Settle, attempts: int, give_up: float
) -> None:
    assert decided(outcome, attempts=attempts, give_up=give_up) == decision


@pytest.mark.parametrize(
    ("retry_after", "random", "after"),
    [
        (None, 0.0, 5.0),
        (None, 0.5, 5.5),
        (0.0, 0.0, 5.0),
        (3.0, 0.5, 5.5),
        (5.0, 0.0, 5.0),
        (30.0, 0.0, 30.0),
        (30.0, 0.25, 30.25),
        (600.0, 0.0, 600.0),
    ],
)
def test_a_rate_limit_holds_the_whole_tenant_for_its_window_or_as_long_as_it_asks_with_jitter(
    retry_after: float | None, random: float, after: float
) -> None:
    repeat = Repeat(NOW + after, Waiting.RATE_LIMITED, hold_account_until=NOW + after)
    assert decided(RateLimited(retry_after), random=random) == repeat


@pytest.mark.parametrize(
    ("retry_after", "give_up"),
    [(None, NOW + 4.9), (None, NOW), (None, NOW - 100), (600.1, GIVE_UP), (3600.0, GIVE_UP)],
)
def test_a_rate_limit_that_outlasts_the_time_for_repeating_is_not_recorded(
    retry_after: float | None, give_up: float
) -> None:
    decision = decided(RateLimited(retry_after), give_up=give_up)
    until = NOW + max(5.0, retry_after or 0.0)
    assert decision == Settle(
        State.REJECTED, problem=Problem.RATE_LIMITED, hold_account_until=until
    )


@pytest.mark.parametrize(
    ("attempts", "at_most"),
    [(1, 2), (2, 4), (3, 8), (4, 16), (5, 30), (6, 30), (100, 30), (10**6, 30)],
)
def test_tries_to_reach_a_host_come_ever_later_up_to_half_a_minute(
    attempts: int, at_most: float
) -> None:
    longest = decided(NotSent("a.leadsquared.com"), attempts=attempts, random=ALMOST_ONE)
    half = decided(NotSent("a.leadsquared.com"), attempts=attempts, random=0.5)
    assert isinstance(longest, Repeat)
    assert longest.at == pytest.approx(NOW + at_most)
    assert half == Repeat(NOW + at_most / 2, Waiting.UNREACHABLE)


def test_a_host_out_of_reach_does_not_hold_the_tenant() -> None:
    decision = decided(NotSent("a.leadsquared.com"))
    assert isinstance(decision, Repeat)
    assert decision.hold_account_until is None


def test_the_last_try_to_reach_a_host_is_made_at_the_very_end() -> None:
    decision = decided(NotSent("a.leadsquared.com"), attempts=9, give_up=NOW + 3, random=0.9)
    assert decision == Repeat(NOW + 3, Waiting.UNREACHABLE)


@pytest.mark.parametrize("late", [0.0, 0.1, 900.0])
def test_when_time_is_up_what_never_reached_the_host_is_not_recorded_and_the_host_is_named(
    late: float,
) -> None:
    decision = decided(NotSent("a.leadsquared.com"), now=GIVE_UP + late)
    assert decision == Settle(
        State.REJECTED, problem=Problem.UNREACHABLE, detail="a.leadsquared.com"
    )


@PATIENT
@given(
    st.builds(RateLimited, st.none() | st.floats(0, 3600)) | st.just(NotSent("host")),
    st.integers(1, 10_000),
    st.floats(-900, 900),
    RANDOM,
)
def test_a_repetition_lies_ahead_and_within_the_time_for_repeating(
    outcome: Outcome, attempts: int, left: float, random: float
) -> None:
    decision = decided(outcome, attempts=attempts, give_up=NOW + left, random=random)
    if isinstance(decision, Repeat):
        assert NOW <= decision.at <= NOW + left
    else:
        assert decision.state is State.REJECTED
    assert (decision.hold_account_until is not None) is isinstance(outcome, RateLimited), (
        "also when it is given up"
    )


@PATIENT
@given(st.integers().map(Random), st.floats(0.01, 10))
def test_repeating_comes_to_an_end_whatever_the_dice_say(
    dice: Random, seconds_per_try: float
) -> None:
    now, attempts = NOW, 1
    while isinstance(
        decision := decide(
            NotSent("host"), attempts=attempts, give_up=GIVE_UP, now=now, random=dice.random
        ),
        Repeat,
    ):
        now, attempts = decision.at + seconds_per_try, attempts + 1
    assert decision.problem is Problem.UNREACHABLE
    assert now <= GIVE_UP + seconds_per_try


@pytest.mark.parametrize(
    ("first_attempt", "retry_for", "end"),
    [
        (0.0, 900.0, 900.0),  # sent at once
        (100.0, 900.0, 900.0),  # queued for a while: still a quarter of an hour after acceptance
        (839.0, 900.0, 900.0),
        (841.0, 900.0, 901.0),  # queued nearly as long: a minute of tries is left all the same
        (5000.0, 900.0, 5060.0),
        (0.0, 10.0, 10.0),
        (50.0, 10.0, 60.0),  # the grace is no longer than the time for repeating itself
    ],
)
def test_repeating_ends_after_its_time_but_what_queued_that_long_gets_a_minute(
    first_attempt: float, retry_for: float, end: float
) -> None:
    assert give_up_at(NOW, NOW + first_attempt, retry_for) == NOW + end


@pytest.mark.parametrize(
    ("own", "of_all", "more"),
    [
        (0, 0, 250),
        (25, 225, 25),
        (0, 249, 2),
        (0, 250, 2),
        (1, 300, 1),
        (2, 300, 0),
        (25, 300, 0),
        (0, 499, 1),
        (0, 500, 0),
        (1, 500, 0),
    ],
)
def test_a_tenant_gets_its_share_of_the_calls_in_flight(own: int, of_all: int, more: int) -> None:
    assert may_begin(own, of_all) == more
