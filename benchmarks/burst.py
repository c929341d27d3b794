"""A burst of commands, as a process of its own.

`python -m benchmarks.burst '<burst as JSON>'` prints the outcome as JSON.

Every command has a connection of its own, opened before, so that all are written at the same
moment and none waits for another's answer here.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field

from benchmarks.commands import body, request
from benchmarks.load import read_answer

LONGEST_ANSWER = 30.0
OPENED_AT_ONCE = 50
"""Fewer than a listening socket's queue holds."""


@dataclass(frozen=True)
class Burst:
    """`commands` over the tenants, each tenant's tickets, and the ports.

    A ticket's own come in by all of them.

    `first` numbers the commands. Where `tickets` is 0, each command has a ticket of its own.
    """

    ports: tuple[int, ...]
    first: int
    commands: int
    tenants: int
    tickets: int  # per tenant

    def numbers(self) -> range:
        return range(self.first, self.first + self.commands)

    def tenant(self, number: int) -> int:
        return number % self.tenants

    def ticket(self, number: int) -> int:
        if not self.tickets:
            return 100_000 + number
        return ticket(self.tenant(number), number // self.tenants % self.tickets)

    def port(self, number: int) -> int:
        return self.ports[
            (number + number // self.tenants // max(1, self.tickets)) % len(self.ports)
        ]


@dataclass
class Answers:
    """What came of it, by a command's number.

    `answered` in seconds, from writing it to having read its answer.
    """

    began: float = 0.0  # by time.monotonic(), which is one clock for all processes of a machine
    answered: dict[int, float] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    @property
    def acknowledged(self) -> dict[int, float]:
        """Those that were accepted."""
        return {
            number: seconds
            for number, seconds in self.answered.items()
            if number not in self.refused
        }


def ticket(tenant: int, number: int) -> int:
    """Return a ticket of a tenant; no two tenants have the same."""
    return 100_000 + 1000 * tenant + number


def channel(tenant: int) -> str:
    """Return the channel that is mapped to a tenant."""
    return f"C0FLOOD{tenant:03}"


async def _ask(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    number: int,
    message: bytes,
    answers: Answers,
) -> None:
    reader, writer = connection
    started = time.monotonic()
    writer.write(message)
    try:
        async with asyncio.timeout(LONGEST_ANSWER):
            status, answer = await read_answer(reader)
    except (OSError, EOFError, TimeoutError) as error:
        answers.refused[number] = type(error).__name__
        return
    finally:
        writer.close()
    answers.answered[number] = time.monotonic() - started
    if status != 200 or answer:  # a 200 with words in it says that nothing was recorded
        answers.refused[number] = f"{status} {answer[:120].decode(errors='replace')}"


async def send(burst: Burst) -> Answers:
    """Carry out a burst."""
    answers = Answers()
    numbers = burst.numbers()
    # First the messages: the bot closes connections that are silent for 5 s.
    messages = [
        request(body(number, burst.ticket(number), channel(burst.tenant(number))))
        for number in numbers
    ]
    connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    for start in range(0, len(numbers), OPENED_AT_ONCE):
        ports = [burst.port(number) for number in numbers[start : start + OPENED_AT_ONCE]]
        connections += await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", port) for port in ports)
        )
    answers.began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for connection, number, message in zip(connections, numbers, messages, strict=True):
            group.create_task(_ask(connection, number, message, answers))
    return answers


if __name__ == "__main__":
    json.dump(asdict(asyncio.run(send(Burst(**json.loads(sys.argv[1]))))), sys.stdout)
