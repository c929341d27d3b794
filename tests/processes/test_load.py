"""A burst over several tenants, one of which never answers: `make flood` in small."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.flood import Flood, Size
from benchmarks.window import in_full_windows, most_in_a_window, share_of_windows, sustained_share
from support.databases import database
from support.running import Bot

SIZE = Size(
    tenants=6, tickets=4, commands=90, calls_per_window=5, answer_within=1.0, rest_within=60.0
)
"""Three windows for each tenant."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.mark.parametrize("processes", [1, 2])
def test_a_burst_is_taken_sent_and_told_whole(
    processes: int, stack: ExitStack, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'bot.db'}"
    if processes > 1:
        url = stack.enter_context(database()).replace("postgresql://", "postgresql+psycopg://")
    flood = Flood(stack, tmp_path, url, SIZE, processes=processes)
    seen = flood.burst(hanging=[0])
    assert list(seen.problems()) == []
    assert len(seen.answers.acknowledged) == len(seen.rows) == SIZE.commands
    assert [len(times) for times in seen.arrivals().values()] == [15] * 5


def test_a_hundred_tenants_that_hang_keep_no_other_waiting(
    stack: ExitStack, tmp_path: Path
) -> None:
    # 606 commands, of which 600 are to hang for 6 s each: more than a process's 500 calls in
    # flight.
    size = Size(
        tenants=101,
        tickets=6,
        commands=606,
        there=0.05,
        back=0.05,
        answer_within=6.0,
        rest_within=60.0,
    )
    flood = Flood(stack, tmp_path, f"sqlite:///{tmp_path / 'bot.db'}", size)
    seen = flood.burst(hanging=range(100))
    assert len(seen.answers.acknowledged) == 606
    last_call = seen.done_after()[100]
    assert last_call < size.answer_within, "it began only when others had ended"


def test_the_share_is_measured_as_it_says() -> None:
    exact = [5.0 * window + number / 64 for window in range(4) for number in range(5)]
    assert most_in_a_window(exact) == 5
    assert in_full_windows(exact) == [5, 5, 5]
    assert share_of_windows(exact, 5) == sustained_share(exact, 5) == 1.0
    late = [5.5 * window + number / 64 for window in range(4) for number in range(5)]
    assert share_of_windows(late, 5) == 1.0
    assert sustained_share(late, 5) == pytest.approx(5 / 5.5)
    sparse = [5.0 * window + number / 64 for window in range(4) for number in range(4)]
    assert share_of_windows(sparse, 5) == 0.8
    assert most_in_a_window([*exact, 5.0078125]) == 6


class Finder:
    """Notes each import, and finds nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find_spec(self, name: str, *_: object) -> None:
        self.asked.append(name)


async def test_a_call_looks_for_no_module(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    await bot.type("143 the first call imports what it needs")
    await bot.at_rest()
    finder = Finder()
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    await bot.type("144 the second has all")
    await bot.at_rest()
    assert finder.asked == []
