"""How fast a command is accepted and sent, against stock Bolt in the same run: `python -m benchmarks.acceptance`.

Stock Bolt only acknowledges and stores nothing; the bot has committed the command to its database (SQLite in a file,
`synchronous=FULL`) before it answers. The two, the stand-ins and the load generator are processes of their own; all
traffic stays on 127.0.0.1. How fast the disk is decides much of it, so one bare INSERT and commit is measured too.
"""

import json
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from benchmarks.commands import BOT_TOKEN, SIGNING_SECRET
from benchmarks.load import Plan, Result
from benchmarks.processes import BenchmarkError, Server, free_port, load, percentile, serving

LONGEST = 175
"""Seconds after which everything is stopped, whatever it waits for."""

STARTS = 5
IDLE = 20.0
SPACED, SPACE, ROUNDS = 20, 0.25, 2
WINDOW = 5.5
"""LeadSquared takes 25 calls in 5 s: 20 spaced commands, then a pause, never meet a full window."""

SERIAL, WARM_UP = 500, 50
CONNECTIONS, LOAD = 64, 10.0
MOST = 1_000_000


@dataclass
class Figures:
    """What was measured of one of the two. Seconds, MB, commands per second, percent of a core."""

    fresh: float = 0.0
    ready: float = 0.0
    memory: float = 0.0
    memory_after: float = 0.0
    idle_cpu: float = 0.0
    idle_ack: list[float] = field(default_factory=list)
    ack: list[float] = field(default_factory=list)
    rate: float = 0.0
    rate_ack: list[float] = field(default_factory=list)
    busy: float = 0.0
    generator: float = 0.0
    to_post: list[float] = field(default_factory=list)
    accepted: int = 0
    rows: int = 0


class Measurement:
    """One of the two while it runs: commands are counted, and none is like another."""

    def __init__(self, name: str, server: Server, figures: Figures) -> None:
        self._name = name
        self._server = server
        self._sent = 0
        self.figures = figures

    def _load(self, *, connections: int, count: int, seconds: float, pause: float = 0.0, tickets: int = 1000) -> Result:
        result = load(Plan(self._server.port, self._sent, connections, count, seconds, pause, tickets))
        self._sent += len(result.latencies)
        self.figures.accepted += result.accepted
        if result.failed:
            print(f"{self._name} did not accept: {result.failed}", file=sys.stderr)
        return result

    def warm_up(self) -> None:
        self._load(connections=1, count=WARM_UP, seconds=10)

    def serial(self) -> None:
        """Measure the answer to a command when nobody else asks: one connection, one command after the other."""
        self.figures.ack = self._load(connections=1, count=SERIAL, seconds=20).latencies

    def parallel(self) -> None:
        """Measure how many commands are answered on many connections, each sending without a pause."""
        cpu = self._server.cpu()
        result = self._load(connections=CONNECTIONS, count=MOST, seconds=LOAD)
        self.figures.busy = (self._server.cpu() - cpu) / result.seconds
        self.figures.generator = result.cpu / result.seconds
        self.figures.rate = result.accepted / result.seconds
        self.figures.rate_ack = result.latencies
        self.figures.memory_after = self._server.memory()

    def spaced(self) -> Result:
        """Send commands that each find an idle process: claimed, sent and told before the next."""
        result = self._load(connections=1, count=SPACED, seconds=30, pause=SPACE, tickets=0)
        self.figures.idle_ack += result.latencies
        return result

    def sent_to_leadsquared(self, stand_ins: Server) -> None:
        """Measure from writing a command to the arrival of its POST at LeadSquared, when the process is idle."""
        for _ in range(ROUNDS):
            written = self.spaced().written
            time.sleep(WINDOW)
            arrived = _arrivals(stand_ins)
            if missing := written.keys() - arrived.keys():
                raise BenchmarkError(f"{len(missing)} of {len(written)} commands never reached LeadSquared")
            self.figures.to_post += [arrived[ticket] - at for ticket, at in written.items()]


def _arrivals(stand_ins: Server) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{stand_ins.port}/arrivals", timeout=5) as answer:
        arrivals: dict[str, float] = json.load(answer)
        return arrivals


def floor(directory: Path) -> float:
    """Return the median of one INSERT and commit, as durable as the bot's: below this no acceptance can be."""
    seconds = []
    with closing(sqlite3.connect(directory / "floor.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE floor (id INTEGER PRIMARY KEY, text TEXT)")
        for _ in range(SERIAL):
            began = time.perf_counter()
            connection.execute("INSERT INTO floor (text) VALUES (?)", ("x" * 700,))
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def rows(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        return int(connection.execute("SELECT count(*) FROM deliveries").fetchone()[0])


class Bench:
    """Starts what is measured, measures it, and stops it."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._stack = stack
        self._directory = directory
        self._database = directory / "bot.db"
        self._stand_ins = self._begin(["benchmarks.stand_ins"], free_port())
        self._stand_ins.until_answering("/arrivals")
        self.stock, self.ours = Figures(), Figures()

    def run(self) -> None:
        """Measure the two one after the other; only idle they are together."""
        bot, stock = self._start_bot(), self._start_stock()
        self._idle({bot: self.ours, stock: self.stock})
        plain = Measurement("stock Bolt", stock, self.stock)
        plain.warm_up()
        plain.spaced()
        plain.serial()
        plain.parallel()
        stock.stop()
        durable = Measurement("the bot", bot, self.ours)
        durable.sent_to_leadsquared(self._stand_ins)
        durable.warm_up()
        durable.serial()
        durable.parallel()
        bot.stop()
        self.ours.rows = rows(self._database)

    def _start_bot(self) -> Server:
        """Measure from the start of the process to `ready`, on no database and then on one that is there; leave one on."""
        self.ours.fresh = self._once_ready()
        self.ours.ready = statistics.median(self._once_ready() for _ in range(STARTS))
        bot = self._bot(self._stack)
        bot.until_answering("/readyz")
        return bot

    def _once_ready(self) -> float:
        with ExitStack() as stack:
            return self._bot(stack).until_answering("/readyz")

    def _bot(self, stack: ExitStack) -> Server:
        port = free_port()
        address = f"http://127.0.0.1:{self._stand_ins.port}"
        settings = {
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            "SLACK_SIGNING_SECRET": SIGNING_SECRET,
            "SLACK_API_URL": f"{address}/slack/",
            "LEADSQUARED_API_URL": address,
            "LEADSQUARED_ORG_ID": "22824",
            "LEADSQUARED_ACCESS_KEY": "access-key-of-the-benchmark",
            "LEADSQUARED_SECRET_KEY": "secret-key-of-the-benchmark",
            "ENCRYPTION_KEYS": "an-encryption-secret-of-the-benchmark",
            "DATABASE_URL": f"sqlite:///{self._database}",
            "PORT": str(port),
            "LOG_LEVEL": "WARNING",
            "SHUTDOWN_GRACE": "3",
        }
        return stack.enter_context(serving(["bot", "run"], self._directory, port, **settings))

    def _start_stock(self) -> Server:
        def begin(stack: ExitStack) -> Server:
            port = free_port()
            arguments = ["benchmarks.stock", str(port), f"http://127.0.0.1:{self._stand_ins.port}/slack/"]
            return stack.enter_context(serving(arguments, self._directory, port))

        seconds = []
        for _ in range(STARTS):
            with ExitStack() as stack:
                seconds.append(begin(stack).until_answering("/"))
        self.stock.ready = statistics.median(seconds)
        stock = begin(self._stack)
        stock.until_answering("/")
        return stock

    def _begin(self, arguments: list[str], port: int) -> Server:
        return self._stack.enter_context(serving([*arguments, str(port)], self._directory, port))

    @staticmethod
    def _idle(servers: dict[Server, Figures]) -> None:
        """Measure what each takes of the machine when nothing happens."""
        time.sleep(2)
        before = {server: server.cpu() for server in servers}
        time.sleep(IDLE)
        for server, figures in servers.items():
            figures.idle_cpu = 100 * (server.cpu() - before[server]) / IDLE
            figures.memory = server.memory()


Row = tuple[str, str, str, str, str]


def table(stock: Figures, ours: Figures, commit: float) -> list[Row]:
    """Return the figures as lines of text; a ratio is the bot's figure in stock Bolt's, or in the bare commit's."""

    def milliseconds(seconds: float) -> str:
        return f"{1000 * seconds:.2f} ms"

    def acks(what: str, plain: list[float], durable: list[float], percent: int, target: str = "") -> Row:
        one, other = percentile(plain, percent), percentile(durable, percent)
        return f"{what} p{percent}", milliseconds(one), milliseconds(other), target, f"{other / one:.2f}"

    def to_post(percent: int, target: str = "") -> Row:
        seconds = percentile(ours.to_post, percent)
        what = f"command -> POST at LeadSquared, idle, p{percent}"
        return what, "", milliseconds(seconds), target, f"{seconds / commit:.1f} commits"

    def usage(what: str, plain: float | None, durable: float, unit: str, target: str = "") -> Row:
        ratio = f"{durable / plain:.2f}" if plain else ""
        return what, "" if plain is None else f"{plain:.2f} {unit}", f"{durable:.2f} {unit}", target, ratio

    ack_p50 = percentile(ours.ack, 50)
    many = f"{CONNECTIONS} connections"
    return [
        ("what", "stock Bolt", "ours", "target", "ratio"),
        ("one INSERT + commit, bare SQLite, p50", "", milliseconds(commit), "", f"ack {ack_p50 / commit:.1f} commits"),
        acks("ack, 1 connection,", stock.ack, ours.ack, 50, "<= 2 ms"),
        acks("ack, 1 connection,", stock.ack, ours.ack, 99),
        acks("ack, 1 connection, idle before,", stock.idle_ack, ours.idle_ack, 50),
        (
            f"accepted, {many}",
            f"{stock.rate:.0f} /s",
            f"{ours.rate:.0f} /s",
            ">= 1000 /s",
            f"{ours.rate / stock.rate:.2f}",
        ),
        acks(f"ack, {many},", stock.rate_ack, ours.rate_ack, 50),
        acks(f"ack, {many},", stock.rate_ack, ours.rate_ack, 99),
        to_post(50, "<= 10 ms"),
        to_post(95),
        usage("start -> ready", stock.ready, ours.ready, "s", "<= 1.5 s"),
        usage("start -> ready, no database yet", None, ours.fresh, "s"),
        usage("memory, idle after start", stock.memory, ours.memory, "MB", "<= 110 MB"),
        usage("memory, after the load", stock.memory_after, ours.memory_after, "MB"),
        usage("processor, idle", stock.idle_cpu, ours.idle_cpu, "%", "<= 0.5 %"),
        usage("processor, under load, in cores", stock.busy, ours.busy, ""),
        usage("the load generator's own, in cores", stock.generator, ours.generator, ""),
        ("accepted / rows in the database", "", f"{ours.accepted} / {ours.rows}", "equal", ""),
    ]


def show(lines: list[Row]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    for number, line in enumerate(lines):
        cells = [
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


def main() -> None:
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, _give_up)
    signal.alarm(LONGEST)
    with tempfile.TemporaryDirectory(prefix="acceptance-") as directory, ExitStack() as stack:
        commit = floor(Path(directory))
        bench = Bench(stack, Path(directory))
        bench.run()
    show(table(bench.stock, bench.ours, commit))
    if bench.ours.rows != bench.ours.accepted:
        raise BenchmarkError("the database holds another number of commands than was accepted")


def _give_up(number: int, _frame: FrameType | None) -> None:
    raise BenchmarkError(f"ended by {signal.Signals(number).name}")


if __name__ == "__main__":
    main()
