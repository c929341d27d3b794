"""What a delivery's person is still to be told, and when. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from bot.activities.delivery import Delivery, Finding, Resolution, Route, State, Waiting

ANCHOR_AFTER = 2.0
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
    FINDING = "finding"
    MARK = "mark"


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
    """Return the next thing to tell; None when there is nothing until the delivery itself changes."""
    if delivery.replied_at is not None:
        if delivery.finding is not delivery.finding_told and delivery.resolution is None:
            return Tell(Step.FINDING)
        stale = delivery.anchor_ts is not None and delivery.resolution is not Resolution.SENT_AGAIN
        return Tell(Step.MARK) if stale and delivery.anchor_mark != mark(delivery) else None
    if delivery.route is Route.THREAD and delivery.thread_ts is None and delivery.anchor_ts is None:
        started = delivery.state is not State.ACCEPTED or delivery.attempts > 0
        at = delivery.accepted_at + ANCHOR_AFTER
        return Tell(Step.ANCHOR) if started or now >= at else Wait(at)
    if delivery.settled:
        return Tell(Step.ANSWER)
    return _note(delivery, now)


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
