"""kill -9 at each named point in the life of a command.

Then the bot starts again and all must end, told once.
"""

import asyncio
import signal
from collections.abc import Sequence
from itertools import product

import pytest

from bot.activities.delivery import State
from faults.audit import AtOnce, Kind, Ledgers, Typed
from faults.bench import TICKETS_OF_ALL, Bench
from faults.forms import KINDS, forms
from faults.points import EXPECTED, WORDS, Point
from support.programs import Serving

AT_THE_DATABASE = (
    Point.BEFORE_COMMIT,
    Point.BEFORE_ACK,
    Point.AFTER_CLAIM,
    Point.BEFORE_SETTLING,
    Point.AFTER_SETTLING,
    Point.BEFORE_NOTE,
)


@forms("kind, point", short=[], long=product(KINDS, Point))
async def test_a_process_that_dies_at_a_point_loses_and_doubles_nothing(
    bench: Bench, point: Point
) -> None:
    """A database for each point, and the lease is waited out."""
    typed = await die(bench, point, "1000")
    await bench.start()
    await bench.rest()
    hold_against(bench.audit(), {point: typed})


@pytest.mark.parametrize(
    ("kind", "points"), [("sqlite", tuple(Point)), ("postgresql", AT_THE_DATABASE)]
)
async def test_one_process_after_the_other_dies_at_every_point(
    bench: Bench, points: Sequence[Point]
) -> None:
    """One database for all points.

    Each start takes up what the one before left, and dies at its own.
    """
    typed = {}
    for point, ticket in zip(points, TICKETS_OF_ALL, strict=False):
        typed[point] = await die(bench, point, ticket)
        bench.database.end_leases()
    await bench.start()
    await bench.rest()
    hold_against(bench.audit(), typed)


async def die(bench: Bench, point: Point, ticket: str) -> Typed:
    """Start a bot, type the command that meets the point, and wait until the process dies."""
    process = await bench.start({"FAULTS_POINT": point})
    await bench.rest()  # what the one before left
    arm_stand_ins(bench, process, point, ticket)
    typed = await bench.type(ticket, WORDS + point)
    if point is Point.AFTER_ACK:
        process.signal(signal.SIGKILL)
    await bench.died(process)
    bench.slack.disarm()
    bench.leadsquared.disarm()
    return typed


def arm_stand_ins(bench: Bench, process: Serving, point: Point, ticket: str) -> None:
    """Have a stand-in kill the process where the point is on its side, and not answer any more."""

    async def kill() -> None:
        process.signal(signal.SIGKILL)
        await asyncio.Future()  # the stand-in gives up when it sees that the process is gone

    async def kill_for_post(_ticket: str, text: str) -> None:
        if text == WORDS + point:
            await kill()

    async def kill_for_anchor(thread: str, text: str) -> None:
        if not thread and f"ticket {ticket}" in text:
            await kill()

    async def kill_for_reply(thread: str, text: str) -> None:
        if thread and f"ticket {ticket}" in text:
            await kill()

    match point:
        case Point.POST_ARRIVES:
            bench.leadsquared.when_arrived = kill_for_post
        case Point.POST_CARRIED_OUT:
            bench.leadsquared.when_carried_out = kill_for_post
        case Point.ANCHOR_ARRIVES:
            bench.slack.when_arrived = kill_for_anchor
        case Point.ANCHOR_TAKEN:
            bench.slack.when_taken = kill_for_anchor
        case Point.REPLY_ARRIVES:
            bench.slack.when_arrived = kill_for_reply
        case Point.REPLY_TAKEN:
            bench.slack.when_taken = kill_for_reply


def hold_against(ledgers: Ledgers, typed: dict[Point, Typed]) -> None:
    """Beyond the audit: what each point must have led to."""
    assert len(ledgers.crashes) == len(typed)
    for point, command in typed.items():
        expected = EXPECTED[point]
        rows = [row for row in ledgers.rows if row.text == command.text]
        states: list[State | None] = [row.state for row in rows] or [None]
        on_ticket = sum(activity.text == command.text for activity in ledgers.activities)
        references = {row.reference for row in rows}
        answers = sum(
            said.reference in references and said.kind is Kind.ANSWER for said in ledgers.said
        )
        assert command.at_once is expected.at_once, point
        assert len(states) == 1, point
        assert states[0] in expected.states, point
        assert on_ticket in expected.on_ticket, point
        assert answers in expected.answers, point
    assert {command.at_once for command in typed.values()} <= {AtOnce.ACKNOWLEDGED, AtOnce.UNSURE}
