"""From a command to its answer in Slack, with LeadSquared at 100 ms and its limit enforced.

The bot and the stock apps take turns, so that all of them meet the same noise. Each has stand-ins
of its own, which share this process with the people who type. An app's next turn waits until its
accounts have all their calls again.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks import apps
from benchmarks.apps import App
from benchmarks.burst import Answers, Burst, channel, send
from benchmarks.processes import rows
from benchmarks.stand_ins import StandIns, standing_in
from benchmarks.tenants import add_tenants
from benchmarks.window import WINDOW

T = TypeVar("T")

LEADSQUARED = 0.1
ROUNDS = 3
TENANTS, FEW = 20, 4
TURNS = {1: 15, 16: 320}
"""Commands by how many people type at a time: at most 16 of an account's 25 calls in 5 s."""

AT_ONCE = 200
IN_TIME = 3.0
"""Seconds after which Slack tells a person that the app did not respond."""

LONGEST = 20.0


@dataclass
class AtOnce:
    """What became of `AT_ONCE` commands that were written at the same moment."""

    all_answered: float
    in_time: int
    recorded: int
    lost: int
    refused: int
    unanswered: int


@dataclass
class Seen:
    """What was seen of an app, by people at a time and by tenants, a value for each round."""

    answers: dict[int, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    at_once: dict[int, list[AtOnce]] = field(default_factory=lambda: defaultdict(list))
    accepted: int = 0
    doubled: int = 0
    rows: int = 0  # the bot's


class Journey:
    """An app between its stand-ins, and the people who use it."""

    def __init__(self, port: int, stand_ins: StandIns) -> None:
        self._port = port
        self._stand_ins = stand_ins
        self._sent = 0
        self.seen = Seen()

    async def people(self, at_a_time: int, count: int) -> list[float]:
        """Type commands, each person the next when the one before is answered.

        Return the seconds from writing each to its answer in Slack.
        """
        commands = iter(range(count))
        answers: list[float] = []

        async def person() -> None:
            for _ in commands:
                burst, said = await self._send(1, TENANTS)
                answers.extend(moment - said.began for moment in await self._answers(burst))

        async with asyncio.TaskGroup() as group:
            for _ in range(at_a_time):
                group.create_task(person())
        return answers

    async def at_once(self, tenants: int) -> AtOnce:
        """Type `AT_ONCE` commands at the same moment."""
        leadsquared = self._stand_ins.leadsquared
        refused = leadsquared.refused
        burst, said = await self._send(AT_ONCE, tenants)
        answered = await self._answers(burst)
        recorded = {one for one in burst.numbers() if leadsquared.recorded[burst.ticket(one)]}
        return AtOnce(
            all_answered=max(answered) - said.began,
            in_time=sum(seconds < IN_TIME for seconds in said.acknowledged.values()),
            recorded=len(recorded),
            lost=len(said.acknowledged.keys() - recorded),
            refused=leadsquared.refused - refused,
            unanswered=AT_ONCE - len(answered),
        )

    def count_doubled(self) -> None:
        """Count the commands that LeadSquared recorded more than once."""
        recorded = self._stand_ins.leadsquared.recorded
        self.seen.doubled = sum(count > 1 for count in recorded.values())

    async def until_rested(self) -> None:
        """Wait until every account has all its calls again, by the bot's count as well."""
        free_at = self._stand_ins.leadsquared.last_call + LEADSQUARED + WINDOW + 0.2
        await asyncio.sleep(max(0.0, free_at - time.monotonic()))

    async def _send(self, commands: int, tenants: int) -> tuple[Burst, Answers]:
        burst = Burst((self._port,), self._sent, commands, tenants, tickets=0)
        self._sent += commands
        said = await send(burst)
        self.seen.accepted += len(said.acknowledged)
        return burst, said

    async def _answers(self, burst: Burst) -> list[float]:
        """Return the moments of the answers in Slack."""
        slack = self._stand_ins.slack
        awaited = [slack.answer(burst.ticket(number)) for number in burst.numbers()]
        done, _ = await asyncio.wait(awaited, timeout=LONGEST)
        return [answer.result() for answer in done]


async def measure(directory: Path) -> dict[App, Seen]:
    """Run the bot and the stock apps side by side, and return what was seen of each."""
    columns = [apps.BOT, apps.PYTHON_ASYNC, apps.PYTHON_SYNC]
    columns += [apps.JAVASCRIPT] if apps.has_javascript() else []
    async with AsyncExitStack() as stack:
        journeys = {app: await _begin(stack, app, directory) for app in columns}
        await _in_turn(journeys, Journey.at_once, TENANTS)  # a warm-up
        for _ in range(ROUNDS):
            await _round(journeys)
        for journey in journeys.values():
            journey.count_doubled()
        journeys[apps.BOT].seen.rows = rows(directory / "journey.db")
    return {app: journey.seen for app, journey in journeys.items()}


async def _round(journeys: dict[App, Journey]) -> None:
    for at_a_time, count in TURNS.items():
        for seen, answers in await _in_turn(journeys, Journey.people, at_a_time, count):
            seen.answers[at_a_time].append(answers)
    for tenants in (TENANTS, FEW):
        for seen, outcome in await _in_turn(journeys, Journey.at_once, tenants):
            seen.at_once[tenants].append(outcome)


async def _in_turn(
    journeys: dict[App, Journey],
    do: Callable[..., Awaitable[T]],
    *arguments: int,
) -> list[tuple[Seen, T]]:
    found = []
    for journey in journeys.values():
        await journey.until_rested()
        found.append((journey.seen, await do(journey, *arguments)))
    return found


async def _begin(stack: AsyncExitStack, app: App, directory: Path) -> Journey:
    stand_ins = await stack.enter_async_context(standing_in(LEADSQUARED))
    settings = {}
    if app is apps.BOT:
        settings = apps.bot_settings(directory / "journey.db")
        url = f"http://127.0.0.1:{stand_ins.port}"
        org_ids = [channel(tenant)[-3:] for tenant in range(TENANTS)]
        await add_tenants(settings["DATABASE_URL"], url, org_ids, 25)
    running = apps.running(app, stand_ins.port, directory, **settings)
    server = await stack.enter_async_context(running)
    await apps.ready(app, server)
    return Journey(server.port, stand_ins)
