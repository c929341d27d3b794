"""How a process talks to its database: units of work, each carried out in a transaction."""

import asyncio
import contextlib
import secrets
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from bot.backoff import Backoff
from bot.database.engines import PATIENCE, Patience, engine_for

T = TypeVar("T")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds at most between tries to connect to a server that is away.

A unit that comes in between fails at once.
"""

SHUTTING_DOWN = ("57P01", "57P02", "57P03")
"""PostgreSQL's codes for a session that its server ends.

The socket may still look open at that moment.
"""

CONFLICTS = ("40P01", "55P03", "40001", "57014")
"""PostgreSQL's codes for a deadlock, a lock timeout, a serialization failure, a statement timeout.
"""

SHARED_BY = 25
"""Units that share a commit at most: the first of them is done only when the last is."""

ACCEPTING, PER_LANE = 4, 2
"""Threads on PostgreSQL, each with a connection: of the lane for acceptances, and of each other.

10 in all; a small plan allows 20. With more, what queues up is spread over smaller transactions,
which take turns at the processor. With fewer, acceptances wait for the network.
"""

HEAD_START = 2.5
"""Seconds by which a unit that a person waits for goes before the others.

So a burst is accepted before it is sent.
"""


class DatabaseUnavailableError(Exception):
    """Nothing was written: the database is locked, read-only, full, or away."""


class CommitUnknownError(DatabaseUnavailableError):
    """The database went silent, or the connection was lost, during the transaction.

    The work may be committed, or may yet be.
    """


@dataclass(frozen=True, slots=True)
class _Unit:
    do: Callable[[Connection], Any]
    queued_at: float  # by time.monotonic()
    start_by: float
    is_a_persons: bool
    row: int
    repeatable: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]

    @property
    def goes_at(self) -> float:
        """Its place among all that waits."""
        return self.queued_at - HEAD_START if self.is_a_persons else self.queued_at


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of a unit of work; `error` wins."""

    unit: _Unit
    result: Any = None
    error: Exception | None = None


class Database:
    """Carries out units of work in threads of its own. What a person waits for goes first.

    What has queued up shares a commit: many small writes cost one write to the disk. When one of
    them fails, all are rolled back and carried out one by one: a unit may be called twice, and its
    last call counts. What a person waits for shares no commit with the rest.

    SQLite has one writer at a time. So one thread does all, and all may share. On PostgreSQL there
    are four lanes, for people and the rest, and for units that share and those that do not. Each
    has threads of its own: a unit may wait for a row (for `lock_timeout` at most), and those of
    another lane go on.

    `process` names this process to the others on the same database. `on_done` hears of each unit
    whether a person waits for it, and after how many seconds it was done. Threads call it.
    """

    def __init__(
        self,
        url: str,
        *,
        patience: Patience = PATIENCE,
        on_done: Callable[[bool, float], None] = lambda _person, _seconds: None,
    ) -> None:
        self._on_done = on_done
        self.process = secrets.token_hex(6)
        self.engine = engine_for(url, patience)
        self._connector = _Connector(self.engine)
        if self.engine.dialect.name == "sqlite":
            self._lanes = dict.fromkeys(_KINDS, _Lane(SHARED_BY))
            serving = [self._lanes[_KINDS[0]]]
        else:
            self._lanes = {kind: _Lane(SHARED_BY if kind[1] else 1) for kind in _KINDS}
            acceptances, *others = self._lanes.values()
            serving = [acceptances] * ACCEPTING + others * PER_LANE
        self._threads = [
            threading.Thread(target=self._serve, args=(lane,), name="database", daemon=True)
            for lane in serving
        ]
        for thread in self._threads:
            thread.start()

    async def run(
        self,
        do: Callable[[Connection], T],
        *,
        within: float = 20.0,
        answer_within: float | None = None,
        repeatable: bool = False,
        row: int | None = None,
    ) -> T:
        """Carry out a unit of work in a transaction and return its result once it is committed.

        A unit that could not be begun `within` that many seconds fails. `answer_within`: a person
        waits for it, and for so many seconds. `repeatable`: running it again after it was
        committed changes nothing more, so it is repeated when the connection was lost at the
        commit. `row` numbers the only row that it may wait for (0: it waits for none). Such units
        share a commit on PostgreSQL, too, in the order of these numbers: so two processes take
        rows in the same order, and cannot deadlock. A caller that is cancelled does not take its
        work back.

        Raises DatabaseUnavailableError; CommitUnknownError when the outcome is not known
        `answer_within` that many seconds, or was lost with the connection.
        """
        loop = asyncio.get_running_loop()
        moment = time.monotonic()
        is_a_persons = answer_within is not None
        unit = _Unit(
            do,
            moment,
            moment + within,
            is_a_persons,
            row or 0,
            repeatable,
            loop,
            loop.create_future(),
        )
        self._lanes[is_a_persons, row is not None].put(unit)
        try:
            async with asyncio.timeout(answer_within):
                result: T = await unit.done
        except TimeoutError:
            raise CommitUnknownError("the database does not answer") from None
        return result

    async def close(self) -> None:
        """Finish what is queued, then close the connections."""
        for lane in self._lanes.values():
            lane.close()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self.engine.dispose()

    def _serve(self, lane: "_Lane") -> None:
        session = _Session(self._connector)
        while batch := lane.take():
            moment = time.monotonic()
            done = [_Done(unit, error=_too_late()) for unit in batch if unit.start_by < moment]
            done += session.carry_out([unit for unit in batch if unit.start_by >= moment])
            if any(_is_locked(one.error) for one in done):
                # SQLite was locked for as long as a person can wait. No unit waits as long again.
                done += [_Done(unit, error=done[-1].error) for unit in lane.take_people()]
            _deliver(done)
            moment = time.monotonic()
            for one in done:
                self._on_done(one.unit.is_a_persons, moment - one.unit.queued_at)
        session.close()


_KINDS = [(True, True), (True, False), (False, True), (False, False)]
"""Whether a person waits for a unit, and whether it shares a commit on PostgreSQL."""


class _Lane:
    """Units that wait for the same threads: those of people, and the rest."""

    def __init__(self, shared_by: int) -> None:
        self._shared_by = shared_by
        self._changed = threading.Condition()
        self.people: deque[_Unit] = deque()
        self.others: deque[_Unit] = deque()
        self._closed = False

    def put(self, unit: _Unit) -> None:
        with self._changed:
            (self.people if unit.is_a_persons else self.others).append(unit)
            self._changed.notify()

    def take(self) -> list[_Unit]:
        """Wait for units that may share a transaction, and take them. None: no more will come."""
        with self._changed:
            while not (queues := [queue for queue in (self.people, self.others) if queue]):
                if self._closed:
                    return []
                self._changed.wait()
            queue = min(queues, key=lambda queue: queue[0].goes_at)
            batch = [queue.popleft() for _ in range(min(len(queue), self._shared_by))]
            return sorted(batch, key=lambda unit: unit.row)

    def take_people(self) -> list[_Unit]:
        with self._changed:
            waiting = list(self.people)
            self.people.clear()
            return waiting

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class _Connector:
    """Connects the threads, and leaves a server that is away alone for a while.

    Used by several threads.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._lock = threading.Lock()
        self._connect_at = 0.0  # by time.monotonic()
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)

    def connect(self) -> Connection:
        if time.monotonic() < self._connect_at:
            raise DatabaseUnavailableError("the database was away a moment ago")
        try:
            connection = self.engine.connect()
        except Exception:
            with self._lock:
                self._connect_at = time.monotonic() + self._backoff.pause()
            raise
        with self._lock:
            self._backoff.reset()
        return connection


class _Session:
    """One thread's connection, and the transactions on it."""

    def __init__(self, connector: _Connector) -> None:
        self._connector = connector
        self._connection: Connection | None = None
        self._used = (
            False  # it has carried a transaction: when it is lost, the server may well be there
        )

    def carry_out(self, batch: list[_Unit]) -> list[_Done]:
        """Carry units out in one transaction.

        What is unexpected goes to their callers and does not end the thread.
        """
        try:
            return self._carried_out(batch) if batch else []
        except Exception as error:  # noqa: BLE001 - see above
            self._connection, self._used = None, False
            return [_Done(unit, error=error) for unit in batch]

    def close(self) -> None:
        """Begin the next time with a new connection.

        SQLAlchemy has not seen what the driver raised.
        """
        connection, self._connection, self._used = self._connection, None, False
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _carried_out(self, batch: list[_Unit]) -> list[_Done]:
        used = self._used
        results, error = self._try(batch)
        if used and isinstance(error, _ConnectionLostError):
            # The server restarted, or closed what was idle, and nothing was committed: once more.
            results, error = self._try(batch)
        if error is None:
            return [_Done(unit, result) for unit, result in zip(batch, results, strict=True)]
        if isinstance(error, CommitUnknownError):
            return [self._repeated(unit, error) for unit in batch]
        if len(batch) > 1 and (
            _is_conflict(error) or not isinstance(error, DatabaseUnavailableError)
        ):
            return [done for unit in batch for done in self._carried_out([unit])]
        return [_Done(unit, error=error) for unit in batch]

    def _repeated(self, unit: _Unit, error: CommitUnknownError) -> _Done:
        results, second = self._try([unit]) if unit.repeatable else ([], error)
        return _Done(unit, error=error) if second is not None else _Done(unit, results[0])

    def _try(self, batch: list[_Unit]) -> tuple[list[Any], Exception | None]:
        committing = False
        try:
            if self._connection is None:
                self._connection = self._connector.connect()
            with self._connection.begin() as transaction:
                results = [unit.do(transaction.connection) for unit in batch]
                committing = True
                transaction.commit()
        except Exception as error:  # noqa: BLE001 - the callers' threads raise it
            translated = self._translate(error)
            if committing and isinstance(translated, DatabaseUnavailableError):
                translated = CommitUnknownError(str(translated))
                translated.__cause__ = error
            if isinstance(translated, DatabaseUnavailableError) and not _is_conflict(translated):
                self.close()
            return [], translated
        self._used = True
        return results, None

    def _is_lost(self, error: BaseException) -> bool:
        """Say whether it is the connection that is gone; a file has none to lose."""
        connection = self._connection
        if connection is not None and connection.invalidated:
            # SQLAlchemy has seen it; asked for the driver's connection now, it would connect anew,
            # and raise.
            return True
        driver: Any = None if connection is None else connection.connection.driver_connection
        return (
            bool(getattr(driver, "closed", False))
            or getattr(error, "sqlstate", None) in SHUTTING_DOWN
        )

    def _translate(self, error: Exception) -> Exception:
        """Tell the database's trouble from an error of one unit of work.

        The trouble is to be waited out.
        """
        cause = getattr(error, "orig", None) or error
        driver: Any = self._connector.engine.dialect.loaded_dbapi
        passing = (
            driver.OperationalError,
            driver.InterfaceError,
            driver.InternalError,
            sa.exc.TimeoutError,
        )
        if isinstance(cause, passing) or type(cause) is driver.DatabaseError:
            # The driver's words name a file or a host, never a value.
            kind = _ConnectionLostError if self._is_lost(cause) else DatabaseUnavailableError
            unavailable = kind(" ".join(str(cause).split()))
            unavailable.__cause__ = error
            return unavailable
        return error


class _ConnectionLostError(DatabaseUnavailableError):
    """Nothing was written, for the connection broke."""


def _too_late() -> DatabaseUnavailableError:
    return DatabaseUnavailableError("too busy to begin")


def _cause(error: Exception | None) -> BaseException | None:
    """Return what the driver raised."""
    cause = None if error is None else error.__cause__
    return getattr(cause, "orig", None) or cause


def _is_conflict(error: Exception) -> bool:
    """Say whether another transaction was in the way (PostgreSQL).

    The connection still works.
    """
    return getattr(_cause(error), "sqlstate", None) in CONFLICTS


def _is_locked(error: Exception | None) -> bool:
    """Say whether another process held SQLite's lock for longer than a transaction waits for it."""
    code = getattr(_cause(error), "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY


def _deliver(done: list[_Done]) -> None:
    """Hand results to the event loops that wait for them, with one wake-up for each."""
    for loop in {one.unit.loop for one in done}:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and no caller waits
            loop.call_soon_threadsafe(_resolve, [one for one in done if one.unit.loop is loop])


def _resolve(done: list[_Done]) -> None:
    for one in done:
        if one.unit.done.done():
            continue
        if one.error is None:
            one.unit.done.set_result(one.result)
        else:
            one.unit.done.set_exception(one.error)
