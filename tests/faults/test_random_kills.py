"""kill -9 at random moments under load.

One process again and again, or one of two that share a database.
"""

import asyncio
import random
from itertools import product

from bot.activities.delivery import State
from bot.leadsquared.client import BEGINNING_AT_ONCE
from faults.bench import Bench
from faults.forms import KINDS, forms
from support.programs import Serving, until

JITTER = 0.2
LIVES = 1.2
"""Seconds that a process lives at most, from the moment at which it may be sent commands."""

STARTS = 0.3
"""Seconds in which a process starts, more or less: some die before they serve."""

BURST = 20
"""Commands that are typed at the same moment."""

OF_A_BURST = 0.4
"""Seconds in which a burst is accepted and sent, more or less."""

LOOK_EVERY = 10
"""Rounds after which people check what is unknown, and send it again."""


@forms("kind, rounds", short=product(KINDS, [2]), long=product(KINDS, [200]))
async def test_a_process_that_dies_at_random_moments_loses_and_doubles_nothing(
    bench: Bench, rounds: int
) -> None:
    slow_down(bench)
    for number in range(1, rounds + 1):
        process = bench.begin()
        async with bench.people_typing():
            await live_for_a_while(bench, process)
            if number % LOOK_EVERY == 0:
                await bench.send_again()
            await bench.kill(process)
        bench.audit(at_rest=False)
    await end(bench, long=rounds > LOOK_EVERY)


@forms("kind, rounds", short=[("postgresql", 1)], long=product(KINDS, [30]))
async def test_one_of_two_processes_dies_and_the_other_goes_on(bench: Bench, rounds: int) -> None:
    slow_down(bench)
    survivor, other = await bench.start(), await bench.start()
    async with bench.people_typing():
        for number in range(1, rounds + 1):
            await asyncio.sleep(random.random() * LIVES)
            await bench.kill(other)
            survivor, other = await bench.start(), survivor
            if number % LOOK_EVERY == 0:
                await bench.send_again()
            bench.audit(at_rest=False)
    await end(bench, long=rounds > LOOK_EVERY)


def slow_down(bench: Bench) -> None:
    """Slow down both sides, so that a process usually dies in the middle of an exchange."""
    bench.slack.jitter = bench.leadsquared.jitter = JITTER


async def live_for_a_while(bench: Bench, process: Serving) -> None:
    """Let a process live for a random time; in one round of five it dies while it starts."""
    if random.random() < 0.2:
        await asyncio.sleep(random.random() * STARTS)
        return
    await bench.serves(process)
    await asyncio.sleep(random.random() * LIVES)


async def end(bench: Bench, *, long: bool) -> None:
    """Wait until all work has ended, send unknown deliveries again, and compare the ledgers.

    The long form waits the leases of the dead out.
    """
    if not long:
        await bench.kill_all()
        bench.database.end_leases()
    if not bench.serves_somewhere:
        await bench.start()
    await bench.rest()
    bench.audit()
    await bench.send_again()
    await bench.rest()
    ledgers = bench.audit()
    assert ledgers.clicked or not long


@forms("kind, rounds", short=product(KINDS, [3]), long=product(KINDS, [20]))
async def test_a_process_that_dies_in_a_burst_leaves_unknown_only_what_may_have_gone_out(
    bench: Bench, rounds: int
) -> None:
    for _ in range(rounds):
        process = await bench.start()
        burst = asyncio.create_task(bench.type_all(BURST))
        await until(lambda: bench.database.unfinished() > 0)
        await asyncio.sleep(random.random() * OF_A_BURST)
        await bench.kill(process)
        await burst
        bench.database.end_leases()
    await bench.start()
    await bench.rest(within=60)
    ledgers = bench.audit()
    arrived = {post.text for post in ledgers.posts}
    never_left = [
        row for row in ledgers.rows if row.state is State.UNKNOWN and row.text not in arrived
    ]
    assert len(never_left) <= BEGINNING_AT_ONCE * rounds, (
        "each kill met a few between their beginning and first byte"
    )
