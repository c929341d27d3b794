"""The load generator, as a process of its own.

`python -m benchmarks.load '<plan as JSON>'` prints a result as JSON.

Kept light, so that it takes little of the machine from what it measures: bytes are written to
plain streams, and of an answer only the status and the length are read.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from benchmarks.commands import body, request

LONGEST_ANSWER = 10.0
TICKETS = 1000


@dataclass(frozen=True)
class Plan:
    """What to send. It ends after `count` commands or `seconds`, whichever is first.

    `first` numbers the commands, so that no two of a benchmark are the same.
    """

    port: int
    first: int
    connections: int
    count: int
    seconds: float


@dataclass
class Result:
    """What came of it. `latencies` in seconds, from writing a command to having read its answer."""

    accepted: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return an answer's status and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return int(head[9:12]), await reader.readexactly(length) if length else b""


async def _converse(
    plan: Plan, number: int, commands: Iterator[int], until: float, result: Result
) -> None:
    """Send one command after the other on one connection, each when the one before is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", plan.port)
    failed: Counter[str] = Counter()
    channel = f"C0BENCH{number:02}"
    while time.monotonic() < until and (command := next(commands, None)) is not None:
        message = request(body(command, 100_000 + command % TICKETS, channel))
        started = time.monotonic()
        writer.write(message)
        async with asyncio.timeout(LONGEST_ANSWER):
            status, answer = await read_answer(reader)
        result.latencies.append(time.monotonic() - started)
        if status == 200 and not answer:  # a 200 with words in it says that nothing was recorded
            result.accepted += 1
        else:
            failed[f"{status} {answer[:120].decode(errors='replace')}"] += 1
    writer.close()
    result.failed = dict(Counter(result.failed) + failed)


async def send(plan: Plan) -> Result:
    """Carry out a plan."""
    result = Result()
    commands = iter(itertools.islice(itertools.count(plan.first), plan.count))
    began = time.monotonic()
    until = began + plan.seconds
    async with asyncio.TaskGroup() as group:
        for number in range(plan.connections):
            group.create_task(_converse(plan, number, commands, until, result))
    result.seconds = time.monotonic() - began
    return result


if __name__ == "__main__":
    json.dump(asdict(asyncio.run(send(Plan(**json.loads(sys.argv[1]))))), sys.stdout)
