"""The clock of the bot's machine is an hour off, from one moment to the next.

On SQLite it is the database's clock as well. By websocket: Slack's signatures are good for five
minutes only.
"""

import struct
from pathlib import Path

import pytest

from bot.activities.delivery import State
from faults.bench import Bench, tickets_of
from faults.forms import KINDS, forms
from support.programs import until

STEPS = (3600.0, -3600.0)
JITTER = 0.3
WAITING = 3


class Clock:
    """The clock of processes that are started with `variables`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.write_bytes(struct.pack("d", 0.0))

    @property
    def variables(self) -> dict[str, str]:
        return {"FAULTS_CLOCK": str(self._file)}

    def step(self, seconds: float) -> None:
        # In place: the process has the file in its memory.
        with self._file.open("r+b") as file:
            file.write(struct.pack("d", seconds))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@forms(
    "kind, seconds, burst",
    short=[("sqlite", seconds, 6) for seconds in STEPS],
    long=[(kind, seconds, 40) for kind in KINDS for seconds in STEPS],
)
async def test_a_clock_that_steps_while_the_bot_runs(
    bench: Bench, clock: Clock, seconds: float, burst: int
) -> None:
    """In the midst of calls, and in the long form with the tenant's window full."""
    bench.by_websocket = True
    bench.leadsquared.jitter = bench.slack.jitter = JITTER
    await bench.start(clock.variables)
    await waiting_to_be_tried_again(bench)
    await bench.type_all(burst, tickets_of(1))
    await until(lambda: len(bench.leadsquared.posts) >= min(burst, 25) // 2)
    clock.step(seconds)
    await bench.type_all(burst, tickets_of(1))
    await bench.rest()
    assert len(bench.audit().rows) == WAITING + 2 * burst


@forms("kind, seconds", short=[], long=[("postgresql", seconds) for seconds in STEPS])
async def test_a_clock_that_steps_between_the_starts_of_two(
    bench: Bench, clock: Clock, seconds: float
) -> None:
    """Each process has seen another hour, and both live.

    By PostgreSQL's clock neither takes the other's for dead.
    """
    bench.by_websocket = True
    bench.leadsquared.late = 1.0
    await bench.start(clock.variables)
    clock.step(seconds)
    await bench.start(clock.variables)
    for _ in range(3):
        await bench.type_all(6)
    await bench.rest()
    ledgers = bench.audit()
    assert {row.state for row in ledgers.rows} == {State.RECORDED}


async def waiting_to_be_tried_again(bench: Bench) -> None:
    """Type some commands that cannot reach LeadSquared, so that each waits for a retry."""
    await bench.leadsquared.stop()
    await bench.type_all(WAITING, tickets_of(2))
    await until(lambda: all(row.answered_at for row in bench.database.rows()))
    await bench.leadsquared.start()
