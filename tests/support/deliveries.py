"""Deliveries as values, in each state."""

from dataclasses import replace
from typing import Any

from bot.activities.delivery import Delivery, Route, State
from bot.leadsquared.outcome import Problem

GIVE_UP = 1_795_000_000.0

RECORDED = Delivery(
    seq=1,
    id="d1a2b3c4",
    enterprise_id="E0ORG",
    team_id="T0HOME",
    channel_id="C0SUPPORT",
    user_id="U0ANNA",
    tenant_id=1,
    tenant_name="acme",
    account_id=1,
    ticket_id="143",
    text="Customer uploaded the signed form",
    response_url=None,
    thread_ts=None,
    message_ts=None,
    through_ts=None,
    state=State.RECORDED,
    accepted_at=GIVE_UP - 900,
    attempts=1,
    first_attempt_at=GIVE_UP - 900,
    waiting=None,
    activity_id="17",
    problem=None,
    detail=None,
    resolution=None,
    resolved_by=None,
    verifications=0,
    finding=None,
    route=Route.THREAD,
    anchor_ts="1.0",
    anchor_mark=None,
    noted=None,
    finding_told=None,
    replied_at=None,
    tell_attempts=0,
)

UNDECIDED = frozenset(
    {
        Problem.NO_ANSWER,
        Problem.DROPPED,
        Problem.SERVER_ERROR,
        Problem.UNREADABLE,
        Problem.REDIRECTED,
        Problem.INTERRUPTED,
        Problem.RESTORED,
    }
)


def ended(problem: Problem, **changes: Any) -> Delivery:
    """Return a delivery that ended with a problem: unknown or rejected, as that problem is."""
    state = State.UNKNOWN if problem in UNDECIDED else State.REJECTED
    return replace(RECORDED, state=state, activity_id=None, problem=problem, **changes)
