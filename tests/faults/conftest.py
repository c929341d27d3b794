"""Fixtures of the fault bench, and the table at the end of `make faults`."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import pytest

from bot.database.schema import migrate_database
from faults.audit import Counts
from faults.bench import Bench, chat, portal
from support.databases import database, sqlite_file

_PROPERTY = "faults"


@pytest.fixture
def kind() -> str:
    """Which database; a test that runs on both has it as a parameter."""
    return "sqlite"


@pytest.fixture
def url(kind: str, tmp_path: Path) -> Iterator[str]:
    """A migrated database of a kind."""
    with ExitStack() as stack:
        yield (
            sqlite_file(tmp_path / "bot.db")
            if kind == "sqlite"
            else stack.enter_context(database(migrate_database))
        )


@pytest.fixture
async def bench(url: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """A bench on which nothing runs yet."""
    async with chat() as slack, portal() as leadsquared:
        with Bench(slack, leadsquared, url, tmp_path) as made:
            await made.prepare()
            yield made
            request.node.user_properties.append((_PROPERTY, asdict(made.counts())))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted, a line for each test."""
    lines: dict[str, Counts] = {}
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        counted = dict(getattr(report, "user_properties", ())).get(_PROPERTY)
        if counted is not None:
            lines[report.nodeid.rpartition("/")[2]] = Counts(**counted)
    if not lines:
        return
    lines["in all"] = sum(lines.values(), Counts())
    width = max(map(len, lines))
    names = list(asdict(Counts()))
    terminalreporter.write_sep("=", "counted")
    terminalreporter.write_line("  ".join([" " * width, *names]))
    for name, counts in lines.items():
        figures = (f"{number:>{len(column)}}" for column, number in asdict(counts).items())
        terminalreporter.write_line("  ".join([f"{name:<{width}}", *figures]))
