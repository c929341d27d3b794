"""What a process takes of a machine and of PostgreSQL, to choose sizes by: docs/deploy.md.

`python -m benchmarks.sizes` starts one `run` and then two on one database. It looks at each at
rest, and while 2,000 commands at once go over 20 accounts the whole way: accepted, sent as fast as
LeadSquared lets 20 accounts, and told in Slack. The load generator and the stand-ins share the
machine, but what a process took of the processor is its own.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.databases import postgresql_database
from benchmarks.flood import Flood, Size
from benchmarks.processes import BenchmarkError, percentile

REST = 10.0
"""Seconds. A process looks for work twice in these (`POLL_INTERVAL`)."""

OFTEN = 0.02
"""Seconds between two looks at the connections."""

DAY = 86_400
OF_THE_BOT = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'portal-activity'
"""


@dataclass
class Connections:
    """How many connections all processes had, at each look."""

    seen: list[int] = field(default_factory=list)

    @contextmanager
    def watched(self, url: str) -> Iterator[None]:
        over = threading.Event()

        def look() -> None:
            with psycopg.connect(url, autocommit=True) as connection:
                while not over.wait(OFTEN):
                    row = connection.execute(OF_THE_BOT).fetchone()
                    self.seen.append(int(row[0]) if row else 0)

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()


def stored_bytes(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return int(row[0]) if row else 0


def cpu_of(flood: Flood) -> float:
    return sum(bot.cpu() for bot in flood.bots)


def measure(processes: int, size: Size, directory: Path) -> None:
    """Print the figures of so many processes on one database."""
    with ExitStack() as stack:
        url = stack.enter_context(postgresql_database())
        flood = Flood(stack, directory, url, size, processes=processes)
        plain = url.replace("postgresql+psycopg", "postgresql")
        resting, busy = Connections(), Connections()
        cpu = cpu_of(flood)
        with resting.watched(plain):
            time.sleep(REST)
        idle = (cpu_of(flood) - cpu) / REST / processes
        stored, cpu, began = stored_bytes(plain), cpu_of(flood), time.monotonic()
        with busy.watched(plain):
            seen = flood.burst()
        seconds = time.monotonic() - began
        each = (cpu_of(flood) - cpu) / size.commands
        kept = (stored_bytes(plain) - stored) / size.commands
    answered = list(seen.answers.answered.values())
    show(
        {
            "processes": f"{processes}",
            "memory of each, at rest": f"{max(flood.memory.before):.0f} MB",
            "memory of each, at most": f"{max(flood.memory.peak[0]):.0f} MB",
            "connections of all, at rest": f"{max(resting.seen)}",
            "connections of all, at most": f"{max(busy.seen)}",
            "processor of each, at rest": f"{idle:.2%} of a core",
            "processor for a command": f"{each * 1000:.1f} ms, the whole way",
            "so a core is full at": f"{1 / each:.0f} commands a second",
            "recorded and told": f"{len(seen.rows)} of {size.commands}, in {seconds:.0f} s",
            "slowest acknowledgement": f"{max(answered):.2f} s",
            "half of them within": f"{percentile(answered, 50):.2f} s",
            "stored for an activity": f"{kept / 1024:.1f} KB",
            "not as promised": "; ".join(seen.problems()) or "nothing",
        }
    )


def show(figures: Mapping[str, str]) -> None:
    for what, figure in figures.items():
        print(f"{what:<28} {figure}")
    print()


def main() -> None:
    size = Size()
    print(
        f"An account records at most {size.calls_per_window / 5 * DAY:,.0f} activities a day: "
        f"{size.calls_per_window} calls in 5 s.\n"
    )
    with tempfile.TemporaryDirectory(prefix="sizes-") as name:
        for processes in (1, 2):
            measure(processes, size, Path(name))


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as failed:
        sys.exit(str(failed))
