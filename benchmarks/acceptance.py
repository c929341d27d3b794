"""The bot against stock Bolt, in one table: `python -m benchmarks.acceptance [--json FILE]`.

Every figure is the median of several rounds. A ratio is the bot's figure in that of a stock app
in the same round: machines differ and are noisy, so compare two commits by their ratios only. The
apps and the load generator are processes of their own; all traffic stays on 127.0.0.1.
"""

import asyncio
import json
import signal
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import apps, cost, journey
from benchmarks.apps import App
from benchmarks.cost import Costs
from benchmarks.journey import AtOnce, Seen
from benchmarks.processes import BenchmarkError, percentile

LONGEST = 540
"""Seconds after which everything is stopped."""

COLUMNS = (apps.BOT, apps.ACKNOWLEDGING, apps.PYTHON_ASYNC, apps.PYTHON_SYNC, apps.JAVASCRIPT)

HEADING = f"""\
Medians of {cost.ROUNDS} rounds, of answers {journey.ROUNDS}. All but "ours" are stock Bolt apps
(benchmarks/stock/) and store nothing; "ack only" only acknowledges. From "1 at a time" on,
LeadSquared takes {journey.LEADSQUARED:g} s, and 25 calls in 5 s from each tenant.
A ratio is the median of the rounds' own: compare two commits by these.
"""


@dataclass(frozen=True)
class Figure:
    """A line of the table: a value for each app and round, and which apps the bot is held against.

    Where these are several, it is held against the one with the least median.
    """

    name: str
    unit: str
    rounds: dict[App, list[float]]
    against: tuple[App, ...] = ()
    asked: str = ""
    digits: int = 0

    def values(self) -> dict[str, float]:
        return {app.name: median(values) for app, values in self.rounds.items()}

    def ratio(self) -> tuple[float, str] | None:
        """Return the median of the rounds' ratios, and the name of the app in them."""
        against = [app for app in self.against if app in self.rounds]
        if not against:
            return None
        best = min(against, key=lambda app: median(self.rounds[app]))
        pairs = zip(self.rounds[apps.BOT], self.rounds[best], strict=True)
        return median(ours / other for ours, other in pairs), best.name

    def cells(self) -> list[str]:
        values, ratio = self.values(), self.ratio()
        shown = {name: f"{value:.{self.digits}f} {self.unit}" for name, value in values.items()}
        beside = f"{ratio[0]:.2f} of {ratio[1]}" if ratio else ""
        return [self.name, *(shown.get(app.name, "") for app in COLUMNS), beside, self.asked]

    def as_json(self) -> dict[str, object]:
        ratio, against = self.ratio() or (None, None)
        described = {"figure": self.name, "unit": self.unit, "asked": self.asked}
        return {**described, **self.values(), "ratio": ratio, "against": against}


def cost_figures(ours: Costs, stock: Costs) -> Iterator[Figure]:
    """Return what accepting costs. A `times` converts seconds to the unit of the line."""

    def both(get: Callable[[Costs], list[float]], times: float = 1) -> dict[App, list[float]]:
        costs = {apps.BOT: ours, apps.ACKNOWLEDGING: stock}
        return {app: [times * value for value in get(one)] for app, one in costs.items()}

    def alone(values: list[float]) -> dict[App, list[float]]:
        return {apps.BOT: [1000 * value for value in values]}

    held = (apps.ACKNOWLEDGING,)
    many = f"{cost.CONNECTIONS} connections"
    cpu, ack = both(lambda one: one.cpu, 1e6), both(lambda one: one.ack, 1000)
    idle_cpu = {apps.BOT: [100 * share for share in ours.idle_cpu]}
    yield Figure(f"CPU per accepted command, {many}", "µs", cpu, held, "0.45 of before")
    yield Figure(f"accepted, {many}", "/s", both(lambda one: one.rate), held, ">= 0.8")
    yield Figure("ack p50, 1 connection", "ms", ack, held, "<= 0.08", 2)
    yield Figure("one bare INSERT and commit, p50", "ms", alone(ours.commit), digits=2)
    yield Figure("ack -> POST begins, idle, p50", "ms", alone(ours.to_post), (), "<= 2.5", 1)
    name = "command -> answer, idle, vendors at 0 ms, p50"
    yield Figure(name, "ms", alone(ours.to_answer), (), "<= 9.5", 1)
    yield Figure("memory after start", "MB", both(lambda one: one.memory), held, "<= 92")
    yield Figure("memory after the load", "MB", both(lambda one: one.memory_after), held, "<= 100")
    yield Figure("start -> ready", "s", both(lambda one: one.ready), held, "<= 0.8", 2)
    yield Figure("idle CPU, % of a core", "%", idle_cpu, digits=2)


def journey_figures(seen: dict[App, Seen]) -> Iterator[Figure]:
    """Return how long people wait for an answer, and what became of many commands at once."""
    for people in journey.TURNS:
        answers = {app: one.answers[people] for app, one in seen.items()}
        for percent in (50, 99):
            rounds = {app: _milliseconds(each, percent) for app, each in answers.items()}
            asked = "<= 1" if (people, percent) == (16, 50) else ""
            name = f"command -> answer, {people} at a time, p{percent}"
            yield Figure(name, "ms", rounds, (apps.PYTHON_ASYNC,), asked)
    for tenants in (journey.TENANTS, journey.FEW):
        yield from at_once_figures(seen, tenants)


def _milliseconds(rounds: list[list[float]], percent: int) -> list[float]:
    return [1000 * percentile(seconds, percent) for seconds in rounds]


def at_once_figures(seen: dict[App, Seen], tenants: int) -> Iterator[Figure]:
    def each(get: Callable[[AtOnce], float]) -> dict[App, list[float]]:
        return {app: [get(burst) for burst in one.at_once[tenants]] for app, one in seen.items()}

    what = f"{journey.AT_ONCE} at once, {tenants} tenants:"
    stock = (apps.PYTHON_ASYNC, apps.PYTHON_SYNC, apps.JAVASCRIPT)
    # Over few tenants the stock apps lose half of the commands, and so are done sooner.
    held, asked = (stock, "<= 0.8") if tenants == journey.TENANTS else ((), "")
    in_time = f"{what} acknowledged within {journey.IN_TIME:g} s"
    done = each(lambda one: 1000 * one.all_answered)
    yield Figure(f"{what} all answered", "ms", done, held, asked)
    yield Figure(in_time, "", each(lambda one: one.in_time))
    yield Figure(f"{what} recorded", "", each(lambda one: one.recorded))
    yield Figure(f"{what} acknowledged, then lost", "", each(lambda one: one.lost))
    yield Figure(f"{what} calls refused by the limit", "", each(lambda one: one.refused))
    yield Figure(f"{what} without an answer", "", each(lambda one: one.unanswered))


def problems(ours: Costs, seen: dict[App, Seen]) -> Iterator[str]:
    """Say what the bot lost or doubled."""
    bot = seen[apps.BOT]
    for one in (ours, bot):
        if one.accepted != one.rows:
            yield f"{one.accepted} commands were accepted, {one.rows} are stored"
    for tenants, bursts in bot.at_once.items():
        for burst in bursts:
            if burst.lost or burst.unanswered:
                left = f"{burst.lost} were lost, {burst.unanswered} not answered"
                yield f"of {journey.AT_ONCE} commands over {tenants} tenants {left}"
    if doubled := bot.doubled:
        yield f"{doubled} commands are on their ticket twice"


def show(figures: list[Figure]) -> None:
    print(HEADING)
    lines = [["figure", *(app.name for app in COLUMNS), "ratio", "asked"]]
    lines += [figure.cells() for figure in figures]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    for first, *others in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    if not apps.has_javascript():
        print("JavaScript was left out. Install Node.js with npm, then run: make clean benchmark")


async def measure(directory: Path) -> tuple[list[Figure], list[str]]:
    """Return the figures, and what went wrong."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(LONGEST):
        ours, stock = await cost.measure(directory)
        seen = await journey.measure(directory)
    return [*cost_figures(ours, stock), *journey_figures(seen)], list(problems(ours, seen))


def main() -> None:
    parser = ArgumentParser(description="Measure the bot against stock Bolt apps.")
    parser.add_argument("--json", type=Path, help="a file for the figures, to compare two commits")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        figures, wrong = asyncio.run(measure(Path(directory)))
    show(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps([figure.as_json() for figure in figures], indent=1))
    if wrong:
        raise BenchmarkError("\n".join(wrong))


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as failed:
        sys.exit(str(failed))
