"""Many commands at once over many tenants, up to the answers in Slack.

`python -m benchmarks.flood` writes 2,000 commands at the same moment, over 20 tenants and 200
tickets, to the real bot: one process on SQLite, one on PostgreSQL, and two on PostgreSQL.
LeadSquared counts calls as they arrive, refuses the 26th in any 5 s, and is 0 to 0.3 s away, there
and back. Each bot takes two bursts: in the second, one of the tenants never answers, so that the
others can be compared with themselves. Slack accepts every message, so that the run ends. The bot,
the stand-ins and the load generator are processes of their own.

The benchmark prints in two ways how much of a tenant's 25 calls per 5 s is used. By whole windows:
the calls in each 5 s from the tenant's first call on, for as long as it had work. As it goes on:
from the middle of its first 25 calls to the middle of its last, which also counts that each
windowful comes later than 5 s after the one before. How far away LeadSquared is decides how near to
100 % the latter can come while surely no call is one too many: see `possible_share` in `window.py`.
So for the last bot only the way there takes time.
"""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import sqlalchemy as sa

from benchmarks.burst import Answers, Burst, ticket
from benchmarks.commands import BOT_TOKEN, SIGNING_SECRET
from benchmarks.databases import NoPostgreSQLError, postgresql_database, sqlite_file
from benchmarks.leadsquared import Distance
from benchmarks.processes import ROOT, BenchmarkError, Server, environment, free_port, serving
from benchmarks.tenants import ENCRYPTION_KEY, add_tenants
from benchmarks.window import (
    WINDOW,
    most_in_a_window,
    possible_share,
    share_of_windows,
    sustained_share,
)
from bot.database.tables import deliveries
from bot.playground.leadsquared import Behaviour

PROMISED_ACK = 3.0
PROMISED_SHARE = 0.95
PROMISED_OF_POSSIBLE = 0.95
_NUMBER = re.compile(r"\((\d+)\)\Z")
_REFERENCE = re.compile(r"Reference ([a-z2-7]{12})")
_FINAL = ("✅", "❌", "⚠️")


@dataclass(frozen=True)
class Size:
    """How much.

    `there` and `back` are the seconds that a call is on its way at most; `answer_within` what it
    may take.
    """

    tenants: int = 20
    tickets: int = 10
    commands: int = 2000
    calls_per_window: int = 25
    there: float = 0.3
    back: float = 0.3
    answer_within: float = 3.0
    rest_within: float = 120.0

    def org_id(self, tenant: int) -> str:
        return str(20_000 + tenant)

    def tickets_of(self, tenant: int) -> list[str]:
        return [str(ticket(tenant, number)) for number in range(self.tickets)]


@dataclass
class Seen:
    """What was seen of one burst. Moments by time.monotonic()."""

    size: Size
    burst: Burst
    answers: Answers
    hanging: frozenset[int]
    calls: list[dict[str, Any]]
    on_the_way: list[float]
    rows: Sequence[Any]
    told: dict[str, list[str]]  # final answers, by reference

    def arrivals(self) -> dict[int, list[float]]:
        """Return when the calls of each tenant that answers arrived, in order."""
        tenants = {
            self.size.org_id(tenant): tenant
            for tenant in range(self.size.tenants)
            if tenant not in self.hanging
        }
        found: dict[int, list[float]] = defaultdict(list)
        for call in self.calls:
            if call["org_id"] in tenants:
                found[tenants[call["org_id"]]].append(call["at"])
        return {tenant: sorted(times) for tenant, times in sorted(found.items())}

    def done_after(self) -> dict[int, float]:
        """Return how many seconds after the burst each tenant's last call arrived."""
        return {tenant: times[-1] - self.answers.began for tenant, times in self.arrivals().items()}

    def shares(self) -> list[float]:
        """Return each tenant's share of the calls that whole windows allow."""
        return [
            share_of_windows(times, self.size.calls_per_window)
            for times in self.arrivals().values()
        ]

    def sustained(self) -> list[float]:
        """Return each tenant's share as it goes on."""
        return [
            sustained_share(times, self.size.calls_per_window) for times in self.arrivals().values()
        ]

    def possible(self) -> float:
        """Return the share that could be had without ever risking a refusal."""
        return possible_share(mean(self.on_the_way))

    def used_of_possible(self) -> float:
        return mean(self.sustained()) / self.possible()

    def refused_by_limit(self) -> int:
        return sum(call["status"] == 429 for call in self.calls)

    def fullest_window(self) -> int:
        return max(most_in_a_window(times) for times in self.arrivals().values())

    def problems(self) -> Iterator[str]:
        """Say what was promised and not kept."""
        if self.answers.refused:
            yield (
                f"{len(self.answers.refused)} commands not accepted: "
                f"{dict(Counter(self.answers.refused.values()))}"
            )
        if (slowest := max(self.answers.answered.values(), default=0.0)) >= PROMISED_ACK:
            yield f"an answer took {slowest:.2f} s"
        yield from self._lost_or_doubled()
        yield from self._told_wrongly()
        if refused := self.refused_by_limit():
            yield f"{refused} calls over the limit"
        if (least := min(self.shares())) < PROMISED_SHARE:
            yield f"a tenant had {least:.1%} of its windows"

    def _lost_or_doubled(self) -> Iterator[str]:
        times = Counter(_number_of(call["body"]["Text"]) for call in self.calls)
        accepted = self.answers.acknowledged.keys()
        if missing := accepted - times.keys():
            yield f"{len(missing)} accepted commands never reached LeadSquared"
        if doubled := [number for number, count in times.items() if count > 1]:
            yield f"{len(doubled)} commands reached LeadSquared more than once"
        if foreign := times.keys() - accepted:
            yield f"{len(foreign)} calls of commands that were not accepted"
        if len(self.rows) != len(accepted):
            yield f"{len(self.rows)} rows for {len(accepted)} accepted commands"

    def _told_wrongly(self) -> Iterator[str]:
        hangs = {int(name) for tenant in self.hanging for name in self.size.tickets_of(tenant)}
        wrong: Counter[str] = Counter()
        for row in self.rows:
            should_be = "unknown" if int(row.ticket_id) in hangs else "recorded"
            said = self.told.get(row.id, [])
            words = (
                "may or may not be on"
                if should_be == "unknown"
                else f"activity ID {row.activity_id}"
            )
            if row.state != should_be:
                wrong[f"{row.state} instead of {should_be}"] += 1
            elif len(said) != 1 or words not in said[0]:
                wrong[f"{should_be}, and told {len(said)} times, or in other words"] += 1
        yield from (f"{count} deliveries {what}" for what, count in wrong.items())


@dataclass
class Memory:
    """MB of each bot process: after its start, the most in each burst, and at rest after each."""

    before: list[float] = field(default_factory=list)
    peak: list[list[float]] = field(default_factory=list)
    after: list[list[float]] = field(default_factory=list)


class Flood:
    """Bots on one database between the stand-ins."""

    def __init__(
        self, stack: ExitStack, directory: Path, url: str, size: Size, *, processes: int = 1
    ) -> None:
        self._stack = stack
        self._directory = directory
        self._url = url
        self._size = size
        self._sent = 0
        self._engine = sa.create_engine(url, poolclass=sa.NullPool)
        self._slack = self._begin("benchmarks.stand_ins", "{port}")
        self._leadsquared = self._begin_leadsquared()
        for server, path in ((self._slack, "/told"), (self._leadsquared, "/_ledger")):
            server.until_answering(path)
        org_ids = [size.org_id(tenant) for tenant in range(size.tenants)]
        api_url = f"http://127.0.0.1:{self._leadsquared.port}"
        asyncio.run(add_tenants(url, api_url, org_ids, size.calls_per_window))
        self.bots = [self._begin_bot() for _ in range(processes)]
        for bot in self.bots:
            bot.until_answering("/readyz")
        self.memory = Memory(before=[bot.memory() for bot in self.bots])

    def burst(self, *, hanging: Iterable[int] = ()) -> Seen:
        """Send a burst and wait until all of it has been told.

        `hanging` are the tenants that never answer from now on.
        """
        size, hanging = self._size, frozenset(hanging)
        for tenant in hanging:
            self._post("/_tickets", dict.fromkeys(size.tickets_of(tenant), Behaviour.HANG))
        for bot in self.bots:
            bot.forget_peak()
        rows_before = self._scalar(sa.select(sa.func.coalesce(sa.func.max(deliveries.c.seq), 0)))
        ports = tuple(bot.port for bot in self.bots)
        burst = Burst(ports, self._sent, size.commands, size.tenants, size.tickets)
        self._sent += size.commands
        answers = _send(burst)
        self._until_at_rest()
        self.memory.peak.append([bot.peak_memory() for bot in self.bots])
        self.memory.after.append([bot.memory() for bot in self.bots])
        return self._seen(burst, answers, hanging, rows_before)

    def until_windows_are_empty(self) -> None:
        """Let the slots of the last burst's calls become free."""
        time.sleep(WINDOW + 1)

    def _seen(
        self, burst: Burst, answers: Answers, hanging: frozenset[int], rows_before: int
    ) -> Seen:
        ledger = self._get(self._leadsquared, "/_ledger")
        numbers = burst.numbers()
        calls = [call for call in ledger["calls"] if _number_of(call["body"]["Text"]) in numbers]
        told: dict[str, list[str]] = defaultdict(list)
        for first, text in self._get(self._slack, "/told"):
            if text.startswith(_FINAL) and (reference := _REFERENCE.search(first)):
                told[reference[1]].append(text)
        columns = (
            deliveries.c.id,
            deliveries.c.ticket_id,
            deliveries.c.state,
            deliveries.c.activity_id,
        )
        with self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(*columns).where(deliveries.c.seq > rows_before)
            ).all()
        return Seen(self._size, burst, answers, hanging, calls, ledger["on_the_way"], rows, told)

    def _until_at_rest(self) -> None:
        until = time.monotonic() + self._size.rest_within
        unfinished = sa.select(sa.func.count()).where(
            sa.or_(deliveries.c.tell_at.is_not(None), deliveries.c.settled_at.is_(None))
        )
        left = -1
        while left:
            time.sleep(0.25)
            left = self._scalar(unfinished)
            if time.monotonic() > until:
                raise BenchmarkError(
                    f"{left} deliveries are not settled and told after {self._size.rest_within:g} s"
                )

    def _scalar(self, statement: sa.Select[Any]) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(statement).scalar_one())

    def _begin(self, module: str, *arguments: str) -> Server:
        port = free_port()
        command = [module, *(argument.replace("{port}", str(port)) for argument in arguments)]
        return self._stack.enter_context(serving(command, self._directory, port))

    def _begin_leadsquared(self) -> Server:
        size, port = self._size, free_port()
        org_ids = [size.org_id(tenant) for tenant in range(size.tenants)]
        tickets = [name for tenant in range(size.tenants) for name in size.tickets_of(tenant)]
        distance = Distance(
            port, tuple(org_ids), tuple(tickets), size.calls_per_window, size.there, size.back
        )
        command = ["benchmarks.leadsquared", json.dumps(asdict(distance))]
        return self._stack.enter_context(serving(command, self._directory, port))

    def _begin_bot(self) -> Server:
        port = free_port()
        settings = {
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            "SLACK_SIGNING_SECRET": SIGNING_SECRET,
            "SLACK_API_URL": f"http://127.0.0.1:{self._slack.port}/slack/",
            "ENCRYPTION_KEYS": ENCRYPTION_KEY,
            "DATABASE_URL": self._url.replace("postgresql+psycopg", "postgresql"),
            "LEADSQUARED_READ_TIMEOUT": str(self._size.answer_within),
            "PORT": str(port),
            "LOG_LEVEL": "WARNING",
            "SHUTDOWN_GRACE": "3",
        }
        return self._stack.enter_context(serving(["bot", "run"], self._directory, port, **settings))

    @staticmethod
    def _get(server: Server, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
            return json.load(answer)

    def _post(self, path: str, value: Any) -> None:
        address = f"http://127.0.0.1:{self._leadsquared.port}{path}"
        urllib.request.urlopen(address, data=json.dumps(value).encode(), timeout=10).close()


def _number_of(text: str) -> int:
    found = _NUMBER.search(text)
    if found is None:
        raise BenchmarkError(f"LeadSquared got words that were never typed: {text[:80]!r}")
    return int(found[1])


def _send(burst: Burst) -> Answers:
    """Carry out a burst in a process of its own."""
    arguments = [sys.executable, "-m", "benchmarks.burst", json.dumps(asdict(burst))]
    done = subprocess.run(
        arguments, cwd=ROOT, env=environment({}), capture_output=True, timeout=120, check=False
    )
    if done.returncode:
        raise BenchmarkError(f"the load generator failed:\n{done.stderr.decode()[-2000:]}")
    read = json.loads(done.stdout)
    return Answers(
        read["began"],
        {int(number): seconds for number, seconds in read["answered"].items()},
        {int(number): words for number, words in read["refused"].items()},
    )


def show(seen: Seen) -> None:
    """Print the figures of one burst."""
    acks = list(seen.answers.acknowledged.values())
    shares, sustained, done = seen.shares(), seen.sustained(), seen.done_after()
    print(
        f"  acknowledged               {len(acks)} of {seen.burst.commands}, "
        f"p50 {median(acks):.2f} s, max {max(acks):.2f} s"
    )
    print(
        f"  reached LeadSquared        {len(seen.calls)} calls, "
        f"{seen.refused_by_limit()} of them over the limit"
    )
    print(
        f"  fullest window             {seen.fullest_window()} of "
        f"{seen.size.calls_per_window} calls in any 5 s"
    )
    print(
        f"  share, whole windows       least {min(shares):.1%}, "
        f"mean {mean(shares):.1%} over the tenants"
    )
    print(f"  share, as it goes on       least {min(sustained):.1%}, mean {mean(sustained):.1%}")
    print(
        f"  the most that can be sure  {seen.possible():.1%}, "
        f"so {seen.used_of_possible():.1%} of it was used"
    )
    print(
        f"  last call of a tenant      after {min(done.values()):.1f} to {max(done.values()):.1f} s"
    )
    print(
        f"  rows, and told once        {len(seen.rows)}, "
        f"{sum(len(seen.told[row.id]) == 1 for row in seen.rows)}"
    )


def measure(name: str, url: str, size: Size, directory: Path, processes: int) -> list[str]:
    """Flood one bot, or several on one database; return what was not as promised."""
    print(f"{name}\n{'-' * len(name)}")
    with ExitStack() as stack:
        flood = Flood(stack, directory, url, size, processes=processes)
        alone = flood.burst()
        print("all tenants answer")
        show(alone)
        flood.until_windows_are_empty()
        beside = flood.burst(hanging=[size.tenants - 1])
        print("one tenant never answers")
        show(beside)
        before, after = alone.done_after(), beside.done_after()
        ratios = [after[tenant] / before[tenant] for tenant in after]
        print(
            f"  last call, in that without {min(ratios):.2f} to {max(ratios):.2f} "
            "(tenant by tenant)"
        )
        memory = flood.memory
        for number, started in enumerate(memory.before):
            line = " -> ".join(
                f"peak {peak[number]:.0f}, then {rest[number]:.0f}"
                for peak, rest in zip(memory.peak, memory.after, strict=True)
            )
            ratio = memory.peak[1][number] / memory.peak[0][number]
            print(f"memory, MB: {started:.0f} before -> {line}; second peak in first {ratio:.2f}")
    print()
    problems = [problem for seen in (alone, beside) for problem in seen.problems()]
    problems += [
        f"{seen.used_of_possible():.1%} of the calls that could be made"
        for seen in (alone, beside)
        if seen.used_of_possible() < PROMISED_OF_POSSIBLE
    ]
    return [f"{name}: {problem}" for problem in problems]


def main() -> None:
    size = Size()
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="flood-") as name:
        directory = Path(name)
        with sqlite_file(directory) as url:
            problems += measure("One process, SQLite", url, size, directory, 1)
        try:
            for processes, words in ((1, "One process"), (2, "Two processes")):
                with postgresql_database() as url:
                    problems += measure(f"{words}, PostgreSQL", url, size, directory, processes)
        except NoPostgreSQLError as error:
            print(f"{error}\n")
        with sqlite_file(directory) as url:
            problems += measure(
                "One process, SQLite, no way back", url, replace(size, back=0.0), directory, 1
            )
    if problems:
        raise BenchmarkError("not as promised:\n" + "\n".join(problems))


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as failed:
        sys.exit(str(failed))
