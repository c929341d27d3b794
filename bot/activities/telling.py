"""What a delivery's person is still to be told, and when. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from bot.activities.delivery import Delivery, Finding, Resolution, Route, State, Waiting

ANCHOR_AFTER = 2.0
"""Seconds after acceptance at which the anchor of what is not sent yet is posted."""

OUTCOME_WITHIN = 0.4
"""Seconds from its first attempt for which an activity's anchor waits for the outcome.

If the outcome is known by then, the anchor is posted in its final state and never edited.
"""

NOTE_AFTER = {
    Waiting.TURN: 5.0,
    Waiting.RATE_LIMITED: 5.0,
    Waiting.UNREACHABLE: 10.0,
    Waiting.UNDECIPHERABLE: 0.0,
}
TELL_FOR = 24 * 3600.0
"""Seconds after acceptance until which an answer that Slack refuses is tried."""

_ORDER = list(Waiting)


class Step(StrEnum):
    """One message to send, or one to change."""

    ANCHOR = "anchor"
    NOTE = "note"
    ANSWER = "answer"
    DELETION = "deletion"  # of the note, after an answer that did not take its place
    FINDING = "finding"
    DECISION = "decision"  # the answer's words, after a person decided
    MARK = "mark"


AFTER_ANSWERS = frozenset({Step.DELETION, Step.DECISION, Step.MARK})
"""Steps that are never urgent: where Slack's rate limit is short, answers go first."""

OUTCOMES = frozenset({Step.ANSWER, Step.FINDING, Step.DECISION})
"""Steps that tell what a delivery has become."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Say this now."""

    step: Step


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to say before this moment."""

    until: float


def mark(delivery: Delivery) -> str:
    """Name the mark that the anchor should bear: the state, or what a person made of it."""
    if delivery.resolution is Resolution.CONFIRMED:
        return Resolution.CONFIRMED
    if delivery.finding is Finding.PRESENT:
        return Finding.PRESENT
    return delivery.state if delivery.settled else State.ACCEPTED


def next_telling(delivery: Delivery, now: float) -> Tell | Wait | None:
    """Return the next thing to tell.

    Return None when there is nothing until the delivery itself changes.
    """
    if delivery.replied_at is not None:
        return _after_the_answer(delivery)
    anchor_at = _anchor_at(delivery)
    if delivery.route is Route.THREAD and delivery.thread_ts is None and delivery.anchor_ts is None:
        return Tell(Step.ANCHOR) if delivery.settled or now >= anchor_at else Wait(anchor_at)
    if delivery.settled:
        return Tell(Step.ANSWER)
    note = _note(delivery, now)
    if isinstance(note, Tell) or delivery.route is not Route.THREAD or not _is_stale(delivery):
        return note
    if now >= anchor_at:  # sent again: the anchor still shows the earlier outcome
        return Tell(Step.MARK)
    return Wait(anchor_at if note is None else min(anchor_at, note.until))


def _after_the_answer(delivery: Delivery) -> Tell | None:
    if delivery.finding is not delivery.finding_told and delivery.resolution is None:
        return Tell(Step.FINDING)
    if delivery.note_ts is not None:
        return Tell(Step.DELETION)
    if delivery.answer_ts is not None and delivery.resolution is not delivery.resolution_told:
        return Tell(Step.DECISION)
    return Tell(Step.MARK) if _is_stale(delivery) else None


def _anchor_at(delivery: Delivery) -> float:
    """Return when an anchor is to show what has no outcome yet."""
    if delivery.state is State.ACCEPTED and delivery.attempts == 0:
        return delivery.accepted_at + ANCHOR_AFTER
    return (delivery.first_attempt_at or delivery.accepted_at) + OUTCOME_WITHIN


def _is_stale(delivery: Delivery) -> bool:
    """Say whether the anchor shows something else.

    A delivery that was sent again has left its anchor to its successor.
    """
    is_its_own = delivery.anchor_ts is not None and delivery.resolution is not Resolution.SENT_AGAIN
    return is_its_own and delivery.anchor_mark != mark(delivery)


def reason_for_waiting(delivery: Delivery) -> Waiting:
    """Say why an unsettled delivery waits: what its last attempt met, else its turn."""
    return delivery.waiting or Waiting.TURN


def _note(delivery: Delivery, now: float) -> Tell | Wait | None:
    if delivery.state is not State.ACCEPTED or delivery.route is Route.DIRECT_MESSAGE:
        return None
    reason = reason_for_waiting(delivery)
    if delivery.noted is not None and _ORDER.index(reason) <= _ORDER.index(delivery.noted):
        return None
    at = delivery.accepted_at + NOTE_AFTER[reason]
    return Tell(Step.NOTE) if now >= at else Wait(at)
