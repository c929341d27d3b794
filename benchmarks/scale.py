"""How accepting and claiming slow down as the history or the backlog grows.

Start it with `python -m benchmarks.scale [--rows N]`.

A database with a million settled deliveries of 10,000 tenants and workspaces is held against an
empty one of the same kind: the same work is done on both in turn, so that other load on the
machine meets both alike. Then the same with a backlog instead of the history: each of the 10,000
tenants has a delivery that waits for its next try, as when LeadSquared is away. Each unit of work
is the product's own, commit included. Only the ratios say anything; the benchmark fails when one
is above 1.5.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

import sqlalchemy as sa

from benchmarks.databases import NoPostgreSQLError, postgresql_database, sqlite_file
from benchmarks.filling import History, fill, team
from benchmarks.processes import BenchmarkError, percentile
from bot.activities.acceptance import Acceptance, Accepted
from bot.activities.delivery import Submission
from bot.activities.outbox import Outbox
from bot.activities.policy import decide
from bot.activities.tellings import Tellings
from bot.database.engines import MIGRATING, engine_for
from bot.database.schema import migrate_database
from bot.database.writer import Database
from bot.encryption import Keyring
from bot.installations.access import Granted
from bot.installations.known import KnownInstallations
from bot.installations.store import InstallationStore
from bot.leadsquared.outcome import Recorded

ROWS = 1_000_000
TENANTS = 10_000
EMPTY_TENANTS = 100
ROUNDS = 600
WARM_UP = 50
PROMISED_RATIO = 1.5
ENCRYPTION_KEY = "an-encryption-secret-of-the-benchmark"
STEP = 37
"""From one round's tenant to the next one's: neighbours in the table are no neighbours in time."""

WAITS_FOR_LATER = (
    "\n    UPDATE deliveries SET state = 'accepted', waiting = 'unreachable', settled_at = NULL, "
    "activity_id = NULL,"
    "\n    ticket_id = '143', due_at = due_at + 1000000000\n"
)

T = TypeVar("T")


@dataclass(frozen=True)
class Work:
    """What is measured: the time of one unit of each kind, in ms."""

    times: dict[str, list[float]]

    async def timed(self, what: str, work: Awaitable[T]) -> T:
        started = time.perf_counter()
        result = await work
        self.times[what].append((time.perf_counter() - started) * 1000)
        return result


class Subject:
    """One database, and the store on it."""

    def __init__(self, url: str, tenants: int) -> None:
        keyring = Keyring([ENCRYPTION_KEY])
        self._database = Database(url)
        self._acceptance = Acceptance(self._database, keyring)
        self._outbox = Outbox(self._database, keyring, lease=30.0)
        self._tellings = Tellings(self._database, keyring, lease=30.0)
        self._known = KnownInstallations(
            InstallationStore(self._database, keyring), keyring, poll_interval=5.0
        )
        self._tenants = tenants
        self.work = Work(defaultdict(list))

    async def round(self, number: int) -> None:
        """Find its workspace's token, accept one, claim it, and settle it."""
        tenant = 1 + number * STEP % self._tenants
        tenant -= tenant % 10 == 0  # each tenth's is an organisation
        await self.work.timed("look for installs", self._known.read())
        if not isinstance(self._known.access(None, team(tenant)), Granted):
            raise BenchmarkError(f"no token for {team(tenant)}")
        accepted = await self.work.timed(
            "accept", self._acceptance.accept(_submission(number, tenant))
        )
        if not isinstance(accepted, Accepted):
            raise BenchmarkError(f"not accepted: {accepted}")
        claim = await self.work.timed("claim", self._outbox.claim([accepted.tenant_id]))
        if len(claim.claimed) != 1:
            raise BenchmarkError(f"claimed {len(claim.claimed)} instead of one")
        await self.work.timed("look for work", self._outbox.waiting_tenants(within=5.0))
        outcome = Recorded(str(number))
        decision = decide(outcome, attempts=1, give_up=0.0, now=0.0, random=lambda: 0.0)
        await self.work.timed("settle", self._outbox.settle(claim.claimed[0], outcome, decision))
        dues, _ = await self.work.timed("look for tellings", self._tellings.claim(at_most=20))
        for due in dues:
            await self._tellings.tell_later(due, None)

    async def close(self) -> None:
        await self._database.close()


def _submission(number: int, tenant: int) -> Submission:
    return Submission(
        enterprise_id=None,
        team_id=team(tenant),
        channel_id="C01",
        user_id="U01",
        key=f"scale.{number}",
        ticket_id=str(100_000 + number % 20),
        text=f"The customer called: the invoice of June is still not in the portal ({number})",
        response_url="http://127.0.0.1:9/response",
        thread_ts=f"18{number:08}.000100",
        message_ts=f"18{number:08}.000200",
    )


def _filled(url: str, history: History, *, waiting: bool = False) -> str:
    migrate_database(url)
    engine = engine_for(url, MIGRATING)
    started = time.monotonic()
    with engine.begin() as connection:
        fill(connection, Keyring([ENCRYPTION_KEY]), history)
        if waiting:
            connection.execute(sa.text(WAITS_FOR_LATER))
            connection.execute(sa.text("ANALYZE"))
    engine.dispose()
    if history.deliveries:
        print(
            f"  filled with {history.deliveries:,} deliveries of {history.tenants:,} tenants "
            f"in {time.monotonic() - started:.0f} s"
        )
    return url


async def _alternate(full: Subject, empty: Subject, rounds: int) -> None:
    for number in range(rounds + WARM_UP):
        for subject in (full, empty) if number % 2 else (empty, full):
            await subject.round(number)
        if number == WARM_UP - 1:
            full.work.times.clear()
            empty.work.times.clear()
    await full.close()
    await empty.close()


def compare(
    name: str,
    full_url: str,
    empty_url: str,
    history: History,
    rounds: int,
    *,
    waiting: bool = False,
) -> list[str]:
    """Print the table of one kind of database; return what was not as promised.

    `waiting`: the deliveries are a backlog.
    """
    print(f"{name}\n{'-' * len(name)}")
    full = Subject(_filled(full_url, history, waiting=waiting), history.tenants)
    empty = Subject(_filled(empty_url, History(0, EMPTY_TENANTS)), EMPTY_TENANTS)
    asyncio.run(_alternate(full, empty, rounds))
    problems = []
    print(
        f"  {'':18} {'empty p50':>10} {'full p50':>10} {'ratio':>6} "
        f"{'empty p95':>11} {'full p95':>10} {'ratio':>6}"
    )
    for what, of_full in full.work.times.items():
        of_empty = empty.work.times[what]
        halves, tails = (
            (median(of_empty), median(of_full)),
            (percentile(of_empty, 95), percentile(of_full, 95)),
        )
        ratios = halves[1] / halves[0], tails[1] / tails[0]
        medians = f"{halves[0]:7.2f} ms {halves[1]:7.2f} ms {ratios[0]:6.2f}"
        print(f"  {what:18} {medians} {tails[0]:8.2f} ms {tails[1]:7.2f} ms {ratios[1]:6.2f}")
        problems += [
            f"{name}: {what}: {ratio:.2f} times the empty one's"
            for ratio in ratios
            if ratio > PROMISED_RATIO
        ]
    print()
    return problems


def _pair(stack: ExitStack, *opened: AbstractContextManager[str]) -> list[str]:
    return [stack.enter_context(one) for one in opened]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compare a database that has grown with an empty one."
    )
    parser.add_argument("--rows", type=int, default=ROWS, help="settled deliveries (%(default)s)")
    parser.add_argument("--tenants", type=int, default=TENANTS, help="tenants (%(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help="measurements of each kind (%(default)s)"
    )
    asked = parser.parse_args()
    history = History(asked.rows, asked.tenants)
    problems: list[str] = []
    backlog = History(asked.tenants, asked.tenants)
    for of, what, waiting in ((history, "a history", False), (backlog, "a backlog", True)):
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scale-")))
            full, empty = _pair(stack, sqlite_file(directory), sqlite_file(directory))
            problems += compare(f"SQLite, {what}", full, empty, of, asked.rounds, waiting=waiting)
        with ExitStack() as stack:
            try:
                full, empty = _pair(stack, postgresql_database(), postgresql_database())
            except NoPostgreSQLError as error:
                print(error)
            else:
                problems += compare(
                    f"PostgreSQL, {what}", full, empty, of, asked.rounds, waiting=waiting
                )
    if problems:
        print("more than promised:", *problems, sep="\n", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as error:
        sys.exit(str(error))
