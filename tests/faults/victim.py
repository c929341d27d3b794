"""Runs the bot as `python -m bot` does, with a fault built in: `python -m faults.victim run`.

The product has no hooks for this: its own public methods are wrapped, and the clock and SQLite are
changed from outside. What to do stands in the environment:

- FAULTS_POINT: the Point at which a command that is to meet it kills the process.
- FAULTS_CLOCK: a file of eight bytes, the seconds (a double) by which the process's clock is off;
  read at every call.
- FAULTS_READ_ONLY: a file. While it is there, SQLite refuses to write as it does on a read-only
  disk.
"""

import mmap
import os
import signal
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Arm what the environment asks for, then be the bot."""
    if clock := os.environ.get("FAULTS_CLOCK"):
        _step_clock(Path(clock))  # first: the bot and its libraries take `time` over by name
    if read_only := os.environ.get("FAULTS_READ_ONLY"):
        _refuse_writing(Path(read_only))
    if point := os.environ.get("FAULTS_POINT"):
        _die_at(point)
    from bot.admin.cli import main as be_the_bot  # noqa: PLC0415 - the clock comes first

    be_the_bot()


def _step_clock(file: Path) -> None:
    with file.open("rb") as opened:
        seconds = mmap.mmap(opened.fileno(), 8, prot=mmap.PROT_READ)
    real = time.time

    def stepped() -> float:
        offset: float = struct.unpack("d", seconds[:])[0]
        return real() + offset

    time.time = stepped
    time.time_ns = lambda: int(stepped() * 1e9)


def _refuse_writing(file: Path) -> None:
    from sqlalchemy import event  # noqa: PLC0415 - as above
    from sqlalchemy.engine import Connection, Engine  # noqa: PLC0415

    @event.listens_for(Engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if file.exists() else 'OFF'}")


def _die_at(point: str) -> None:
    from bot.activities.acceptance import Acceptance  # noqa: PLC0415 - as above
    from bot.activities.outbox import Outbox  # noqa: PLC0415
    from bot.activities.policy import Step  # noqa: PLC0415
    from bot.activities.tellings import Tellings  # noqa: PLC0415
    from bot.leadsquared.client import LeadSquared  # noqa: PLC0415
    from faults.points import WORDS, Point  # noqa: PLC0415

    words = WORDS + point

    def is_answer(_tellings: Tellings, due: Any, _ts: str | None) -> bool:
        return due.delivery.text == words and due.step is Step.ANSWER

    match Point(point):
        case Point.BEFORE_COMMIT:
            _die_before_commit(words)
        case Point.BEFORE_ACK:
            _wrap(
                Acceptance,
                "accept",
                after=lambda _result, _self, submission, **_: submission.text == words,
            )
        case Point.AFTER_CLAIM:
            _wrap(
                Outbox,
                "claim",
                after=lambda claim, *_, **__: any(
                    one.delivery.text == words for one in claim.claimed
                ),
            )
        case Point.AFTER_BEGINNING:
            _wrap(
                Outbox,
                "begin",
                after=lambda _result, _self, claimed, *_: claimed.delivery.text == words,
            )
        case Point.BEFORE_SETTLING:
            _wrap(
                LeadSquared, "add_portal_activity", after=lambda *arguments: arguments[-2] == words
            )
        case Point.AFTER_SETTLING:
            _wrap(
                Outbox,
                "settle",
                after=lambda _result, _self, claimed, *_: claimed.delivery.text == words,
            )
        case Point.BEFORE_NOTE:
            _wrap(Tellings, "told", before=is_answer)


def _wrap(
    owner: type,
    name: str,
    *,
    before: Callable[..., bool] | None = None,
    after: Callable[..., bool] | None = None,
) -> None:
    """Die before or after a method, when its arguments are those that count.

    `after` gets the method's result in front of the arguments.
    """
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def wrapped(*arguments: Any, **named: Any) -> Any:
        if before is not None and before(*arguments, **named):
            _die()
        result = await original(*arguments, **named)
        if after is not None and after(result, *arguments, **named):
            _die()
        return result

    setattr(owner, name, wrapped)


def _die_before_commit(words: str) -> None:
    """Die in the transaction that holds the new delivery, at its commit."""
    import sqlalchemy as sa  # noqa: PLC0415 - as above
    from sqlalchemy.engine import Connection, Engine  # noqa: PLC0415

    from bot.activities.acceptance import Acceptance  # noqa: PLC0415
    from bot.activities.delivery import reference  # noqa: PLC0415
    from bot.database.tables import deliveries  # noqa: PLC0415

    accepting: set[str] = set()

    def remember(_acceptance: Acceptance, submission: Any, **_: Any) -> bool:
        if submission.text == words:
            accepting.add(reference(submission.team_id, submission.key))
        return False

    _wrap(Acceptance, "accept", before=remember)

    @sa.event.listens_for(Engine, "commit")
    def commit(connection: Connection) -> None:
        if (
            accepting
            and connection.execute(
                sa.select(deliveries.c.id).where(deliveries.c.id.in_(accepting))
            ).first()
        ):
            _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
