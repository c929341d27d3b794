"""What a delivery's person is told, and when.

An anchor, a note while it waits, the answer, the anchor's mark.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.activities.delivery import Delivery, Resolution, Route, State, Waiting
from bot.activities.policy import Step, Tell, Wait, mark, next_telling, reason_for_waiting
from bot.leadsquared.outcome import Problem

T = 1_000_000.0
SETTLED = [State.RECORDED, State.REJECTED, State.UNKNOWN]
ACCEPTED = Delivery(
    seq=1,
    id="d1",
    enterprise_id=None,
    team_id="T1",
    channel_id="C1",
    user_id="U1",
    tenant_id=1,
    tenant_name="acme",
    account_id=1,
    ticket_id="143",
    text="hello",
    response_url=None,
    thread_ts=None,
    message_ts=None,
    through_ts=None,
    state=State.ACCEPTED,
    accepted_at=T,
    attempts=0,
    first_attempt_at=None,
    waiting=None,
    activity_id=None,
    problem=None,
    detail=None,
    resolution=None,
    resolved_by=None,
    verifications=0,
    finding=None,
    route=Route.THREAD,
    anchor_ts=None,
    anchor_mark=None,
    noted=None,
    finding_told=None,
    replied_at=None,
    tell_attempts=0,
)


def delivery(**changes: Any) -> Delivery:
    return replace(ACCEPTED, **changes)


def anchored(**changes: Any) -> Delivery:
    return delivery(**{"anchor_ts": "1.0", "anchor_mark": State.ACCEPTED} | changes)


@pytest.mark.parametrize("passed", [0.0, 1.0, 1.999])
def test_no_anchor_is_posted_for_what_has_only_just_been_accepted(passed: float) -> None:
    assert next_telling(ACCEPTED, T + passed) == Wait(T + 2)


@pytest.mark.parametrize("passed", [2.0, 3.0, 600.0])
def test_what_waits_for_two_seconds_gets_its_anchor(passed: float) -> None:
    assert next_telling(ACCEPTED, T + passed) == Tell(Step.ANCHOR)


@pytest.mark.parametrize(
    "settled",
    [
        delivery(state=State.RECORDED, attempts=1, activity_id="1"),
        delivery(state=State.REJECTED, problem=Problem.TENANT_REMOVED),
        delivery(state=State.UNKNOWN, attempts=1, problem=Problem.NO_ANSWER),
    ],
)
def test_what_is_settled_gets_its_anchor_at_once(settled: Delivery) -> None:
    assert next_telling(settled, T) == Tell(Step.ANCHOR)


@pytest.mark.parametrize(
    "started",
    [
        {"state": State.CLAIMED},
        {"state": State.SENDING},
        {"state": State.ACCEPTED, "waiting": Waiting.RATE_LIMITED},
    ],
    ids=str,
)
@pytest.mark.parametrize("first_attempt_after", [0.0, 1.9, 600.0])
def test_what_has_begun_waits_a_moment_for_its_outcome(
    started: dict[str, Any], first_attempt_after: float
) -> None:
    first = T + first_attempt_after
    begun = delivery(attempts=1, first_attempt_at=first, **started)
    assert next_telling(begun, first + 0.399) == Wait(first + 0.4)
    assert next_telling(begun, first + 0.4) == Tell(Step.ANCHOR)


@pytest.mark.parametrize("state", SETTLED)
@pytest.mark.parametrize(
    "where",
    [
        {"anchor_ts": "1.0"},
        {"thread_ts": "0.5"},
        {"route": Route.RESPONSE_URL},
        {"route": Route.DIRECT_MESSAGE},
    ],
    ids=str,
)
def test_the_answer_follows_at_once_where_it_has_a_place(
    state: State, where: dict[str, Any]
) -> None:
    assert next_telling(delivery(state=state, attempts=1, **where), T) == Tell(Step.ANSWER)


def test_a_thread_of_its_own_message_needs_no_anchor() -> None:
    assert next_telling(delivery(thread_ts="0.5"), T + 3) == Wait(T + 5)


@pytest.mark.parametrize(
    ("waiting", "attempts", "after"),
    [(None, 0, 5.0), (Waiting.RATE_LIMITED, 1, 5.0), (Waiting.UNREACHABLE, 1, 10.0)],
)
@pytest.mark.parametrize("route", [Route.THREAD, Route.RESPONSE_URL])
def test_a_note_says_why_it_takes_long_once_it_does(
    waiting: Waiting | None, attempts: int, after: float, route: Route
) -> None:
    waits = anchored(waiting=waiting, attempts=attempts, route=route)
    assert next_telling(waits, T + after - 0.001) == Wait(T + after)
    assert next_telling(waits, T + after) == Tell(Step.NOTE)
    assert next_telling(waits, T + after + 600) == Tell(Step.NOTE)


@pytest.mark.parametrize(
    ("noted", "waiting", "again"),
    [
        (Waiting.TURN, None, False),
        (Waiting.TURN, Waiting.RATE_LIMITED, True),
        (Waiting.TURN, Waiting.UNREACHABLE, True),
        (Waiting.RATE_LIMITED, None, False),
        (Waiting.RATE_LIMITED, Waiting.RATE_LIMITED, False),
        (Waiting.RATE_LIMITED, Waiting.UNREACHABLE, True),
        (Waiting.UNREACHABLE, None, False),
        (Waiting.UNREACHABLE, Waiting.RATE_LIMITED, False),
        (Waiting.UNREACHABLE, Waiting.UNREACHABLE, False),
    ],
)
def test_each_reason_is_noted_once_and_none_after_a_graver_one(
    noted: Waiting,
    waiting: Waiting | None,
    again: bool,  # noqa: FBT001
) -> None:
    waits = anchored(noted=noted, waiting=waiting, attempts=1)
    assert next_telling(waits, T + 600) == (Tell(Step.NOTE) if again else None)


def test_a_direct_message_is_not_sent_for_a_note() -> None:
    assert (
        next_telling(
            delivery(route=Route.DIRECT_MESSAGE, waiting=Waiting.UNREACHABLE, attempts=3), T + 600
        )
        is None
    )


@pytest.mark.parametrize("route", list(Route))
def test_nothing_is_said_while_the_call_is_on_its_way(route: Route) -> None:
    assert next_telling(anchored(state=State.SENDING, attempts=1, route=route), T + 600) is None


@pytest.mark.parametrize("state", SETTLED)
def test_after_the_answer_the_anchor_gets_its_mark_and_then_there_is_silence(state: State) -> None:
    answered = anchored(state=state, attempts=1, replied_at=T + 1)
    assert next_telling(answered, T + 1) == Tell(Step.MARK)
    assert next_telling(replace(answered, anchor_mark=mark(answered)), T + 600) is None


@pytest.mark.parametrize("state", SETTLED)
def test_after_the_answer_a_note_that_it_did_not_replace_goes(state: State) -> None:
    answered = anchored(state=state, attempts=1, replied_at=T + 1, note_ts="2.0")
    assert next_telling(answered, T + 1) == Tell(Step.DELETION)
    assert next_telling(replace(answered, note_ts=None), T + 1) == Tell(Step.MARK)


@pytest.mark.parametrize("resolution", list(Resolution))
def test_an_answer_that_was_decided_changes_its_words_once(resolution: Resolution) -> None:
    decided = anchored(
        state=State.UNKNOWN,
        replied_at=T,
        answer_ts="3.0",
        resolution=resolution,
        anchor_mark=State.UNKNOWN,
    )
    assert next_telling(decided, T + 1) == Tell(Step.DECISION)
    told = replace(decided, resolution_told=resolution)
    assert next_telling(told, T + 1) == (
        Tell(Step.MARK) if resolution is Resolution.CONFIRMED else None
    )
    assert next_telling(replace(decided, answer_ts=None, anchor_ts=None), T + 1) is None, (
        "only one person sees it"
    )


def test_the_anchor_of_what_was_sent_again_follows_its_successor() -> None:
    again = anchored(state=State.SENDING, attempts=1, first_attempt_at=T + 1, anchor_mark=None)
    assert next_telling(again, T + 1.3) == Wait(T + 1.4)
    assert next_telling(again, T + 1.4) == Tell(Step.MARK)
    assert next_telling(replace(again, state=State.RECORDED), T + 1.1) == Tell(Step.ANSWER)
    assert next_telling(replace(again, route=Route.RESPONSE_URL), T + 600) is None


@pytest.mark.parametrize("state", SETTLED)
def test_where_no_anchor_stands_nothing_is_marked(state: State) -> None:
    assert next_telling(delivery(state=state, thread_ts="0.5", replied_at=T), T + 600) is None


def test_an_activity_that_somebody_found_on_the_ticket_changes_the_mark_again() -> None:
    found = anchored(
        state=State.UNKNOWN,
        anchor_mark=State.UNKNOWN,
        replied_at=T,
        resolution=Resolution.CONFIRMED,
        resolved_by="U2",
    )
    assert next_telling(found, T + 60) == Tell(Step.MARK)
    assert next_telling(replace(found, anchor_mark=mark(found)), T + 60) is None


def test_what_was_sent_again_leaves_the_anchor_to_its_successor() -> None:
    sent_again = anchored(state=State.REJECTED, replied_at=T, resolution=Resolution.SENT_AGAIN)
    assert next_telling(sent_again, T + 60) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": State.ACCEPTED}, State.ACCEPTED),
        ({"state": State.SENDING}, State.ACCEPTED),
        ({"state": State.RECORDED}, State.RECORDED),
        ({"state": State.REJECTED}, State.REJECTED),
        ({"state": State.UNKNOWN}, State.UNKNOWN),
        ({"state": State.UNKNOWN, "resolution": Resolution.CONFIRMED}, Resolution.CONFIRMED),
        ({"state": State.REJECTED, "resolution": Resolution.SENT_AGAIN}, State.REJECTED),
        ({"state": State.UNKNOWN, "resolution": Resolution.SENT_AGAIN}, State.UNKNOWN),
    ],
    ids=str,
)
def test_the_mark_is_the_state_or_what_a_person_made_of_it(
    changes: dict[str, Any], expected: str
) -> None:
    assert mark(delivery(**changes)) == expected


def test_what_has_met_nothing_yet_waits_for_its_turn() -> None:
    assert reason_for_waiting(ACCEPTED) is Waiting.TURN
    assert reason_for_waiting(delivery(waiting=Waiting.UNREACHABLE)) is Waiting.UNREACHABLE


DELIVERIES = st.builds(
    delivery,
    state=st.sampled_from(State),
    attempts=st.integers(0, 3),
    waiting=st.none() | st.sampled_from([Waiting.RATE_LIMITED, Waiting.UNREACHABLE]),
    resolution=st.none() | st.sampled_from(Resolution),
    route=st.sampled_from(Route),
    thread_ts=st.none() | st.just("0.5"),
)


@settings(deadline=None)
@given(DELIVERIES, st.floats(0, 3600))
def test_telling_one_thing_after_another_comes_to_an_end_with_the_answer_told_once(
    told: Delivery, passed: float
) -> None:
    steps = []
    now = T + passed
    while (step := next_telling(told, now)) is not None:
        if isinstance(step, Wait):
            assert step.until > now, "a wait lies ahead"
            now = step.until
            continue
        steps.append(step.step)
        assert len(steps) <= 4
        match step.step:
            case Step.ANCHOR:
                told = replace(told, anchor_ts="1.0", anchor_mark=mark(told))
            case Step.NOTE:
                told = replace(told, noted=reason_for_waiting(told), note_ts="2.0")
            case Step.DELETION:
                told = replace(told, note_ts=None)
            case Step.ANSWER:
                told = replace(
                    told, replied_at=now, answer_ts="3.0", resolution_told=told.resolution
                )
            case Step.MARK:
                told = replace(told, anchor_mark=mark(told))
    assert len(set(steps)) == len(steps)
    assert (Step.ANSWER in steps) is told.settled
    assert Step.ANCHOR not in steps or (told.route is Route.THREAD and told.thread_ts is None)
