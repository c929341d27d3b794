"""What follows from an outcome: settle, or repeat what is safe to repeat. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from bot.activities.delivery import State, Waiting
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
