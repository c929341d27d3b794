"""LeadSquared hangs, drops, is slow, or comes and goes, while people type."""

import asyncio
from itertools import cycle

from bot.activities.delivery import State
from bot.activities.policy import LONGEST_DELAY
from bot.leadsquared.outcome import Problem
from bot.playground.leadsquared import Behaviour
from faults.audit import Ledgers
from faults.bench import READ, RESTING, TICKETS_OF_ALL, Bench
from faults.forms import forms
from support.programs import until

BAD = {
    Behaviour.HANG: Problem.NO_ANSWER,
    Behaviour.TRICKLE: Problem.NO_ANSWER,
    Behaviour.DROP: Problem.DROPPED,
    Behaviour.DROP_MID_ANSWER: Problem.DROPPED,
    Behaviour.SERVER_ERROR: Problem.SERVER_ERROR,
}


@forms("seconds", short=[0.0], long=[30.0])
async def test_some_tickets_hang_and_drop(bench: Bench, seconds: float) -> None:
    """One ticket of each tenant is fine; the others fail, each in its own way."""
    for ticket, behaviour in zip(TICKETS_OF_ALL, cycle([Behaviour.FINE, *BAD])):
        bench.leadsquared.tickets[ticket] = behaviour
    await bench.start()
    await bench.type_all(len(TICKETS_OF_ALL))
    if seconds:
        async with bench.people_typing():
            await asyncio.sleep(seconds)
    # What trickles in takes the longest that a call may take, and what waits on its ticket follows.
    await bench.rest(within=RESTING + 10 * seconds)
    ledgers = bench.audit()
    assert {row.problem for row in ledgers.rows if row.state is State.UNKNOWN} == set(BAD.values())
    for row in ledgers.rows:
        fine = bench.leadsquared.tickets[row.ticket] is Behaviour.FINE
        assert row.state is (State.RECORDED if fine else State.UNKNOWN)


@forms("late, seconds", short=[], long=[(READ * 0.5, 30.0), (READ * 2, 30.0)])
async def test_answers_are_slow(bench: Bench, seconds: float, late: float) -> None:
    bench.leadsquared.late = late
    await bench.start()
    async with bench.people_typing():
        await asyncio.sleep(seconds)
    await until(lambda: bench.leadsquared.posts)
    await bench.rest()
    ledgers = bench.audit()
    assert {row.state for row in ledgers.rows} == {State.RECORDED if late < READ else State.UNKNOWN}
    assert len(ledgers.activities) == len(ledgers.rows), "it was carried out all the same"


@forms("seconds", short=[1.0], long=[30.0])
async def test_leadsquared_comes_and_goes(bench: Bench, seconds: float) -> None:
    bench.leadsquared.jitter = 0.3
    await bench.start()
    until_then = asyncio.get_running_loop().time() + seconds
    async with bench.people_typing():
        while asyncio.get_running_loop().time() < until_then:
            await asyncio.sleep(0.3)
            await bench.leadsquared.stop()
            await asyncio.sleep(0.3)
            await bench.leadsquared.start()
    await bench.rest(
        within=RESTING + LONGEST_DELAY
    )  # what met an outage again and again is tried that late
    ledgers = bench.audit()
    assert of_state(ledgers, State.RECORDED)
    assert not of_state(ledgers, State.REJECTED), "what was never sent is tried again"


def of_state(ledgers: Ledgers, state: State) -> int:
    return sum(row.state is state for row in ledgers.rows)
