"""What is next for a delivery: settle, repeat, or tell its person something. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from bot.activities.delivery import Delivery, Finding, Resolution, Route, State, Waiting
from bot.leadsquared.outcome import (
    NotBegun,
    NotSent,
    Outcome,
    Problem,
    RateLimited,
    Recorded,
    Rejected,
    Undecipherable,
    Unknown,
)

WINDOW = 5.0
"""LeadSquared counts an account's calls in any 5 seconds."""

DOUBLE_WITHIN = 120.0
"""Seconds within which the bot takes a person's same words on the same ticket for a slip.

It asks the person first.
"""

MAX_CALLS_IN_FLIGHT = 500
"""Calls of one process that are not answered yet: 20 tenants with full windows of 25."""

CROWDED = MAX_CALLS_IN_FLIGHT // 2
FEW = 2
"""When so many calls are in flight, a tenant may have only a few of its own: calls that hang leave
room for the other tenants'. Two at a time, of 0.4 s each, are a tenant's whole rate."""

RETRY_DATABASE = 0.5
"""Seconds between tries when the database did not answer: few enough that no person notices, and
enough for a database that has just been restarted."""

FIRST_DELAY = 1.0
LONGEST_DELAY = 30.0
RATE_LIMIT_JITTER = 1.0
LATE_START_GRACE = 60.0

SECRET_DELAY = 30.0
"""Seconds between tries to decrypt: a secret comes back with a start, and a start tries at once."""

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


@dataclass(frozen=True, slots=True)
class Settle:
    """The outcome is known, or known to stay unknown."""

    state: State
    activity_id: str | None = None
    problem: Problem | None = None
    detail: str | None = None
    hold_account_until: float | None = None  # no call of the account before that


@dataclass(frozen=True, slots=True)
class Repeat:
    """Surely not recorded; try again `at`."""

    at: float
    waiting: Waiting
    hold_account_until: float | None = None  # no other call of the account before that


Decision = Settle | Repeat


def may_begin(tenants_own: int, of_all: int) -> int:
    """Return how many more calls a tenant may begin now.

    `tenants_own` and `of_all` count the calls in flight in this process.
    """
    return max(CROWDED - of_all, min(FEW - tenants_own, MAX_CALLS_IN_FLIGHT - of_all), 0)


def give_up_at(accepted_at: float, first_attempt_at: float, retry_for: float) -> float:
    """Return when repeating ends: `retry_for` after acceptance.

    A delivery that had to queue that long still gets a minute.
    """
    return max(accepted_at + retry_for, first_attempt_at + min(retry_for, LATE_START_GRACE))


def decide(
    outcome: Outcome, *, attempts: int, give_up: float, now: float, random: Callable[[], float]
) -> Decision:
    """Return what follows from the outcome of attempt number `attempts`, at `now`.

    `random` gives 0 ≤ x < 1.
    """
    match outcome:
        case Recorded(activity_id):
            return Settle(State.RECORDED, activity_id=activity_id)
        case Rejected(problem, message):
            return Settle(State.REJECTED, problem=problem, detail=message)
        case Unknown(problem, message):
            return Settle(State.UNKNOWN, problem=problem, detail=message)
        case RateLimited(retry_after):
            at = now + max(WINDOW, retry_after or 0.0) + RATE_LIMIT_JITTER * random()
            if at > give_up:
                return Settle(State.REJECTED, problem=Problem.RATE_LIMITED, hold_account_until=at)
            return Repeat(at, Waiting.RATE_LIMITED, hold_account_until=at)
        case NotBegun():
            return Repeat(now + FIRST_DELAY, Waiting.TURN)
        case Undecipherable():
            if now >= give_up:
                return Settle(State.REJECTED, problem=Problem.UNDECIPHERABLE)
            return Repeat(min(now + SECRET_DELAY, give_up), Waiting.UNDECIPHERABLE)
        case NotSent(host):
            if now >= give_up:
                return Settle(State.REJECTED, problem=Problem.UNREACHABLE, detail=host)
            # Full jitter: machines that lost the same host do not come back to it in step. The
            # last try is at the end.
            delay = random() * min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(attempts, 16))
            return Repeat(min(now + delay, give_up), Waiting.UNREACHABLE)


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


def anchor_mark(delivery: Delivery) -> str:
    """Name all that the anchor should show: its mark, and whether the ticket has a title.

    The title may come after the anchor was posted.
    """
    return mark(delivery) if delivery.title is None else f"{mark(delivery)}, titled"


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
    return is_its_own and delivery.anchor_mark != anchor_mark(delivery)


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
