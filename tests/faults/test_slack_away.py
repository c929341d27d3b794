"""Slack is down for a while, one way or the other.

What was recorded during that time is told when it is back.
"""

import asyncio
from itertools import product

from faults.bench import RESTING, Bench
from faults.forms import KINDS, forms
from support.programs import until


@forms(
    "kind, away, seconds",
    short=[("sqlite", "says no", 1.0)],
    long=product(KINDS, ["says no", "is not there"], [60.0]),
)
async def test_slack_is_down_for_a_while(bench: Bench, away: str, seconds: float) -> None:
    """A process dies in the midst of it, so that the next one finds what is still to be told."""
    process = await bench.start()
    if away == "says no":
        bench.slack.down = True
    else:
        await bench.slack.stop()
    async with bench.people_typing():
        await asyncio.sleep(seconds / 2)
        await bench.kill(process)
        await bench.start()
        await asyncio.sleep(seconds / 2)
    await until(lambda: bench.leadsquared.ledger.activities)
    bench.slack.down = False
    await bench.slack.start()
    bench.database.end_leases()
    await bench.rest(
        within=RESTING + seconds
    )  # the pauses between tries have grown as long as it was away
    ledgers = bench.audit()
    assert len({about.reference for about in ledgers.said}) == len(ledgers.rows)
