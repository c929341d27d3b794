"""What time it is in SQLite, when the machine's wall clock is set."""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.database.clock import steady, steady_clock
from bot.database.tables import now
from bot.database.writer import Database

HOUR = 3600.0


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_time_goes_on_evenly_when_the_wall_clock_is_set(
    monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    seconds = {"wall": 1_700_000_000.0, "steady": 100.0}
    monkeypatch.setattr("bot.database.clock.time.time", lambda: seconds["wall"])
    monkeypatch.setattr("bot.database.clock.steady", lambda: seconds["steady"])
    clock = steady_clock()
    assert clock() == 1_700_000_000.0
    seconds["wall"] += step + 7
    seconds["steady"] += 7
    assert clock() == 1_700_000_007.0


def test_the_steady_clock_does_not_go_back() -> None:
    before = steady()
    assert before <= steady() <= before + HOUR


async def test_sqlite_has_this_processs_time(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'bot.db'}")
    try:
        moment = await database.run(lambda connection: connection.scalar(sa.select(now())))
        assert moment == pytest.approx(time.time(), abs=60)
    finally:
        await database.close()
