"""What time it is in SQLite, when the machine's clock is set."""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.database.clock import SteadyClock
from bot.database.schema import migrate_database
from bot.database.tables import attempts, now
from bot.database.writer import Database

NOON = 1_700_000_000.0
HOUR = 3600.0


@dataclass
class Machine:
    """A machine with a clock that can be set, one that cannot, and a name for its start."""

    wall: float = NOON
    steady: float = 100.0
    boot: str | None = "first"

    def go_on(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def start_anew(self) -> None:
        self.steady, self.boot = 10.0, "second"

    def clock(self) -> SteadyClock:
        return SteadyClock(lambda: self.wall, lambda: self.steady, lambda: self.boot)


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'bot.db'}"
    migrate_database(url)
    return url


@asynccontextmanager
async def process(machine: Machine, url: str) -> AsyncIterator[Database]:
    """Lend a process that has looked at the database."""
    database = Database(url, clock=machine.clock())
    try:
        await time_of(database)
        yield database
    finally:
        await database.close()


async def time_of(database: Database) -> float:
    return await database.run(lambda connection: connection.scalar(sa.select(now())) or 0.0)


async def begin_an_attempt(database: Database) -> None:
    begun = sa.insert(attempts).values(delivery_seq=1, number=1, account_id=1, started_at=now(), occupied_until=now())
    await database.run(lambda connection: connection.execute(begun))


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_a_process_that_comes_after_the_clock_was_set_agrees_with_the_one_that_runs(
    url: str, step: float
) -> None:
    machine = Machine()
    async with process(machine, url) as first:
        machine.wall += step
        machine.go_on(7)
        async with process(machine, url) as second:
            machine.go_on(1)
            assert await time_of(second) == await time_of(first) == NOON + 8


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_a_process_goes_on_where_the_one_before_it_ended(url: str, step: float) -> None:
    machine = Machine()
    async with process(machine, url):
        pass
    machine.go_on(7)
    machine.wall += step
    async with process(machine, url) as second:
        assert await time_of(second) == NOON + 7


async def test_a_machine_that_starts_anew_takes_its_clocks_time_over(url: str) -> None:
    machine = Machine()
    async with process(machine, url) as first:
        await begin_an_attempt(first)
    machine.wall += HOUR
    machine.start_anew()
    async with process(machine, url) as second, process(machine, url) as third:
        assert await time_of(second) == await time_of(third) == NOON + HOUR


@pytest.mark.parametrize("boot", ["first", None])
async def test_time_does_not_run_backwards_from_one_start_of_the_machine_to_the_next(
    url: str, boot: str | None
) -> None:
    machine = Machine(boot=boot)
    async with process(machine, url) as first:
        machine.go_on(7)
        await begin_an_attempt(first)
    machine.wall -= HOUR
    machine.start_anew()
    machine.boot = boot and machine.boot
    async with process(machine, url) as second:
        assert await time_of(second) == NOON + 7


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not name its start")
async def test_this_machine_names_its_start(url: str) -> None:
    first, second = Database(url), Database(url, clock=SteadyClock(lambda: time.time() + HOUR))
    try:
        assert abs(await time_of(first) - time.time()) < HOUR / 2
        assert abs(await time_of(second) - time.time()) < HOUR / 2
    finally:
        await first.close()
        await second.close()
