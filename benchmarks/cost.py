"""What accepting a command costs, against stock Bolt: CPU, time, memory.

Stock Bolt here only acknowledges and stores nothing; the bot has committed the command to its
database (SQLite in a file, `synchronous=FULL`) before it answers. How fast the disk is decides
much of it, so one bare commit is measured too. The two take turns. In each round each is started
anew, the bot on a database whose tables are there and that is otherwise empty.
"""

import asyncio
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import apps
from benchmarks.apps import App
from benchmarks.burst import Burst, send
from benchmarks.load import Plan, Result
from benchmarks.processes import Server, load, rows
from benchmarks.stand_ins import StandIns, standing_in

ROUNDS = 5
IDLE = 5.0
"""Seconds. The bot looks for work at least once in these: the setting `POLL_INTERVAL`."""

SPACED, SPACE = 20, 0.05
"""Commands that each find an idle process. LeadSquared takes 25 in 5 s."""

WARM_UP, SERIAL = 50, 200
CONNECTIONS, LOAD = 64, 3.0
MOST = 1_000_000


@dataclass
class Costs:
    """What was measured of one of the two, a value for each round."""

    ready: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)  # MB
    memory_after: list[float] = field(default_factory=list)
    idle_cpu: list[float] = field(default_factory=list)  # part of a core
    to_post: list[float] = field(default_factory=list)  # from the acknowledgement, p50
    to_answer: list[float] = field(default_factory=list)  # from the command, p50
    ack: list[float] = field(default_factory=list)  # on one connection, p50
    rate: list[float] = field(default_factory=list)  # accepted in a second on `CONNECTIONS`
    cpu: list[float] = field(default_factory=list)  # seconds for one of these
    commit: list[float] = field(default_factory=list)  # a bare one, p50
    accepted: int = 0
    rows: int = 0


class Round:
    """One of the two from its start to its end. All commands are counted, none is like another."""

    def __init__(self, costs: Costs, server: Server, stand_ins: StandIns) -> None:
        self._costs = costs
        self._server = server
        self._stand_ins = stand_ins
        self._sent = 0

    async def idle(self) -> None:
        before = self._server.cpu()
        await asyncio.sleep(IDLE)
        self._costs.idle_cpu.append((self._server.cpu() - before) / IDLE)

    async def spaced(self) -> None:
        """Type commands that each find an idle process: the one before is answered in Slack."""
        to_post, to_answer = [], []
        for _ in range(SPACED):
            burst = Burst((self._server.port,), self._sent, 1, 1, tickets=0)
            self._sent += 1
            said = await send(burst)
            acknowledged = said.began + said.answered[burst.first]
            ticket = burst.ticket(burst.first)
            answered = await asyncio.wait_for(self._stand_ins.slack.answer(ticket), 10)
            posted = self._stand_ins.leadsquared.arrivals[ticket]
            to_post.append(posted - acknowledged)
            to_answer.append(answered - said.began)
            self._costs.accepted += len(said.acknowledged)
            await asyncio.sleep(SPACE)
        self._costs.to_post.append(median(to_post))
        self._costs.to_answer.append(median(to_answer))

    async def serial(self) -> None:
        """Measure the answer to a command on an idle bot."""
        await self._load(connections=1, count=WARM_UP)
        result = await self._load(connections=1, count=SERIAL)
        self._costs.ack.append(median(result.latencies))

    async def parallel(self) -> None:
        """Measure how many commands are accepted on many connections, and what one costs."""
        before = self._server.cpu()
        result = await self._load(connections=CONNECTIONS, count=MOST)
        accepted = max(1, result.accepted)
        self._costs.cpu.append((self._server.cpu() - before) / accepted)
        self._costs.rate.append(result.accepted / result.seconds)
        self._costs.memory_after.append(self._server.memory())

    async def _load(self, connections: int, count: int) -> Result:
        plan = Plan(self._server.port, self._sent, connections, count, LOAD)
        result = await asyncio.to_thread(load, plan)
        self._sent += len(result.latencies)
        self._costs.accepted += result.accepted
        if result.failed:
            print(f"not accepted: {result.failed}", file=sys.stderr)
        return result


async def measure(directory: Path) -> tuple[Costs, Costs]:
    """Return what the bot and stock Bolt cost."""
    ours, stock = Costs(), Costs()
    empty = directory / "empty.db"
    await _make_database(empty, directory)
    for number in range(ROUNDS):
        await _round(apps.ACKNOWLEDGING, stock, directory)
        database = directory / f"round-{number}.db"
        shutil.copy(empty, database)
        ours.commit.append(_commit(directory / f"bare-{number}.db"))
        await _round(apps.BOT, ours, directory, **apps.bot_settings(database))
        ours.rows += rows(database)
    return ours, stock


async def _round(app: App, costs: Costs, directory: Path, **settings: str) -> None:
    async with (
        standing_in() as stand_ins,
        apps.running(app, stand_ins.port, directory, **settings) as server,
    ):
        costs.ready.append(await apps.ready(app, server))
        measured = Round(costs, server, stand_ins)
        costs.memory.append(server.memory())
        if app is apps.BOT:
            await measured.idle()
            await measured.spaced()
        await measured.serial()
        await measured.parallel()


async def _make_database(database: Path, directory: Path) -> None:
    """Let the bot make its database, and stop it again."""
    settings = apps.bot_settings(database)
    async with (
        standing_in() as stand_ins,
        apps.running(apps.BOT, stand_ins.port, directory, **settings) as server,
    ):
        await apps.ready(apps.BOT, server)


def _commit(database: Path) -> float:
    """Return the median seconds of one INSERT and commit as durable as the bot's."""
    seconds = []
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, text TEXT)")
        for _ in range(SERIAL):
            began = time.perf_counter()
            connection.execute("INSERT INTO bare (text) VALUES (?)", ("x" * 700,))
            seconds.append(time.perf_counter() - began)
    return median(seconds)
