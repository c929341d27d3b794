"""The one writer through which a process talks to its database."""

import asyncio
import contextlib
import math
import queue
import random
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
from bot.database.clock import SteadyClock
from bot.database.engines import PATIENCE, Patience, engine_for

T = TypeVar("T")

CONFLICT_TRIES = 3
CONFLICT_PAUSE = 0.1
"""Seconds at most between tries that other transactions were in the way of."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds at most between tries to connect to a server that is away: whoever waits meanwhile is told so at once."""

LOCK_TIMEOUT = "55P03"
"""PostgreSQL's code for a row that another process held for too long."""

SHUTTING_DOWN = ("57P01", "57P02", "57P03")
"""PostgreSQL's codes for a session that its server ends; the socket may still look open at that moment."""

SHARING = 25
"""Units of work that share a commit at most: the first of them is done only when the last is."""

LAST = math.inf
"""The `order` of a unit of work that waits for no row: it passes locked ones by."""

HEAD_START = 2.5
"""Seconds by which a unit that a person waits for goes before the others: so a burst is taken before it is sent."""

TAKES = 0.5
"""Seconds kept, of those that a person waits, for what was begun, with all that shares its commit."""

APART_FOR = 5.0
"""Seconds for which people's units share no commit with others', after these waited in vain for another process's row."""

AT_ONCE = 0.01
"""Seconds that are no wait any more: SQLite's pauses are no finer."""

LONG = 0.5
"""Seconds of trying in vain from which on whoever waits in the queue is told, instead of being tried for as long again."""


class Prepared:
    """A Core statement, compiled once for a database, and handed to its driver as it is.

    SQLAlchemy looks a statement's parts up anew at each execution; for what runs at every command that costs several
    times the statement itself (docs/design.md has the figures). What the driver raises is translated by `Database`.
    """

    def __init__(self, statement: sa.Executable, engine: Engine) -> None:
        compiled = statement.compile(dialect=engine.dialect)  # type: ignore[attr-defined]
        self._sql = str(compiled)
        self._bound: dict[str, Any] = compiled.params
        self._order: list[str] | None = compiled.positiontup

    def __call__(self, connection: Connection, **values: Any) -> Any:  # noqa: ANN401 - the driver's cursor
        """Execute with these values for the statement's bind parameters; return the driver's cursor."""
        bound = self._bound | values
        parameters = bound if self._order is None else [bound[name] for name in self._order]
        driver: Any = connection.connection.driver_connection
        return driver.execute(self._sql, parameters)


class DatabaseUnavailableError(Exception):
    """Nothing was written: the database is locked, read-only, full, or away."""


class CommitUnknownError(DatabaseUnavailableError):
    """The database went silent, or was lost, in the middle of it: the work may be committed, or may yet be."""


@dataclass(frozen=True, slots=True)
class _Work:
    do: Callable[[Connection], Any]
    first: Callable[[Connection], Any] | None
    queued_at: float  # by time.monotonic(), as is:
    start_by: float
    answer_by: float  # infinite: no person waits for it
    order: float
    repeatable: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]

    @property
    def hurried(self) -> bool:
        return self.answer_by < math.inf

    @property
    def since(self) -> float:
        """The moment by which it has its place among what waits."""
        return self.queued_at - HEAD_START if self.hurried else self.queued_at


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of a unit of work; `error` wins."""

    work: _Work
    result: Any = None
    error: Exception | None = None


class Database:
    """One connection, one thread, one commit for all that waits.

    Transactions of one process follow each other in a thread of their own; whatever has queued up meanwhile shares the
    next commit, so many small writes cost one synchronous write to disk. When one of them fails, all are rolled back and
    run again one by one: a unit of work may therefore be called twice, and only its last call counts.

    `process` names this process to the others on the same database.
    """

    def __init__(self, url: str, *, patience: Patience = PATIENCE, clock: SteadyClock | None = None) -> None:
        self.process = secrets.token_hex(6)
        self._clock = clock or SteadyClock()  # for SQLite
        self.engine = engine_for(url, patience, self._clock)
        on_sqlite = self.engine.dialect.name == "sqlite"
        self._agreed = not on_sqlite  # on what time it is: PostgreSQL says it
        self._busy = patience.busy if on_sqlite else 0.0
        self._connection: Connection | None = None
        self._used = False  # it has carried a transaction: when it is lost, the server may well be there
        self._connect_at, self._backoff = 0.0, Backoff(FIRST_PAUSE, LONGEST_PAUSE)  # by time.monotonic()
        self._away_at = 0.0  # by time.monotonic(): when the database was last tried in vain for long
        self._apart_until = 0.0  # by time.monotonic()
        self._hurried: deque[_Work] = deque()
        self._passing: deque[_Work] = deque()  # it passes locked rows by
        self._others: deque[_Work] = deque()
        # Rings once for each unit; False: there will be no more.
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="database", daemon=True)
        self._thread.start()

    async def run(
        self,
        do: Callable[..., T],
        *,
        first: Callable[[Connection], Any] | None = None,
        within: float = 20.0,
        answer_within: float | None = None,
        repeatable: bool = False,
        order: float = 0.0,
    ) -> T:
        """Run a unit of work in a transaction and return its result once it is committed.

        Units that share a commit run in their `order`, which is the number of the row that they may wait for. So two
        processes take rows in the same order, and never wait for each other. What comes LAST takes its time, and shares
        no commit with what a person waits for.

        `first` executes a unit's first statement, whose cursor `do` then gets beside the connection. To PostgreSQL those of
        all units that share a commit are sent before the first answer is read, so they cost one round trip together.

        A unit that could not be begun `within` that many seconds is given up. `repeatable`: running it again after it was
        committed changes nothing more, so it is when the connection was lost at the commit. A caller that is cancelled
        does not take its work back.

        Raises DatabaseUnavailableError; CommitUnknownError when the outcome is not known `answer_within` that many
        seconds, or was lost with the connection.
        """
        loop = asyncio.get_running_loop()
        moment = time.monotonic()
        answer_by = math.inf if answer_within is None else moment + answer_within
        work = _Work(do, first, moment, moment + within, answer_by, order, repeatable, loop, loop.create_future())
        (self._hurried if work.hurried else self._passing if order == LAST else self._others).append(work)
        self._bell.put(item=True)
        try:
            async with asyncio.timeout(answer_within):
                result: T = await work.done
        except TimeoutError:
            raise CommitUnknownError("the database does not answer") from None
        return result

    async def close(self) -> None:
        """Finish what is queued, then close the connection."""
        self._bell.put(item=False)
        await asyncio.to_thread(self._thread.join)
        self.engine.dispose()

    def _queues(self, batch: list[_Work]) -> list[deque[_Work]]:
        """Return the queues in which a unit waits that may share these ones' commit."""
        may = [self._hurried, self._others, self._passing]
        if any(work.hurried for work in batch):
            may = [self._hurried] if self._is_apart else [self._hurried, self._others]
        elif batch and (self._is_apart or any(work.order == LAST for work in batch)):
            may = [self._others, self._passing]
        return [queue for queue in may if queue]

    @property
    def _is_apart(self) -> bool:
        """Whether somebody held a row for long just now: then people do not share what may wait for it."""
        return time.monotonic() < self._apart_until

    def _next(self, batch: list[_Work]) -> _Work:
        return min(self._queues(batch), key=lambda queue: queue[0].since).popleft()

    def _serve(self) -> None:
        more = self._bell.get()
        while more:
            batch = [self._next([])]
            while more and len(batch) < SHARING and not self._bell.empty() and self._queues(batch):
                more = self._bell.get()
                batch += [self._next(batch)] if more else []
            batch.sort(key=lambda work: work.order)
            moment = time.monotonic()
            late = [work for work in batch if self._is_late(work, moment)]
            _deliver([_Done(work, error=DatabaseUnavailableError("too busy to begin")) for work in late])
            done = self._survive([work for work in batch if not self._is_late(work, moment)])
            if (
                time.monotonic() > moment + LONG
                and done
                and all(isinstance(one.error, DatabaseUnavailableError) and not _is_conflict(one.error) for one in done)
            ):
                self._away_at = time.monotonic()
            _deliver(done)
            more = more and self._bell.get()
        self._disconnect()

    def _is_late(self, work: _Work, moment: float) -> bool:
        """Say whether to give a unit up. A person who has waited for a long try in vain does not wait for another."""
        return work.start_by < moment or (work.hurried and work.queued_at < self._away_at)

    def _survive(self, batch: list[_Work]) -> list[_Done]:
        """Run units; whatever nobody expected goes to their callers, and does not end the thread that all wait for."""
        try:
            return self._run_batch(batch)
        except Exception as error:  # noqa: BLE001 - see above
            self._connection, self._used = None, False
            return [_Done(work, error=error) for work in batch]

    def _run_batch(self, batch: list[_Work]) -> list[_Done]:
        """Run units in one transaction; when one of them spoils it, each in a transaction of its own."""
        if not batch:
            return []
        used, begun = self._used, time.monotonic()
        results, error = self._try(batch)
        if used and isinstance(error, _ConnectionLostError):
            # The server restarted, or closed what was idle, and nothing was committed: once more, on a new connection.
            results, error = self._try(batch)
        given_up: list[_Done] = []
        while batch and error is not None and _is_busy(error):
            # The first of the waiting people waits no longer. That does not end the others' try.
            over = max(time.monotonic() + AT_ONCE, min(self._waits_until(work, begun) for work in batch))
            given_up += [_Done(work, error=error) for work in batch if self._waits_until(work, begun) <= over]
            _deliver(given_up)  # now: who waits for it does not wait for the others
            batch = [work for work in batch if self._waits_until(work, begun) > over]
            results, error = self._try(batch, begun) if batch else ([], None)
        return given_up + self._done(batch, results, error)

    def _done(self, batch: list[_Work], results: list[Any], error: Exception | None) -> list[_Done]:
        if error is None:
            return [_Done(work, result) for work, result in zip(batch, results, strict=True)]
        if isinstance(error, CommitUnknownError) or _is_conflict(error):
            if getattr(_cause(error), "sqlstate", None) == LOCK_TIMEOUT:
                self._apart_until = time.monotonic() + APART_FOR
            return [self._again(work, error) for work in sorted(batch, key=lambda work: not work.hurried)]
        if len(batch) > 1 and not isinstance(error, DatabaseUnavailableError):
            return [done for work in batch for done in self._run_batch([work])]
        return [_Done(work, error=error) for work in batch]

    def _again(self, work: _Work, error: Exception) -> _Done:
        """Try anew what another transaction was in the way of, or once more what may be repeated after a lost commit.

        It is told at once: whoever waits for it does not wait for the others.
        """
        done = self._tried_again(work, error)
        _deliver([done])
        return done

    def _tried_again(self, work: _Work, error: Exception) -> _Done:
        if isinstance(error, CommitUnknownError):
            results, second = self._try([work]) if work.repeatable else ([], error)
            return _Done(work, results[0]) if second is None else _Done(work, error=error)
        for tries in range(CONFLICT_TRIES):
            if self._hurried and not work.hurried:
                break  # whoever asked comes again; people wait 3 s
            if tries:  # apart from the other side, which may be trying again at this very moment too
                time.sleep(random.random() * CONFLICT_PAUSE)  # noqa: S311 - jitter
            results, second = self._try([work])
            if second is None:
                return _Done(work, results[0])
            error = second
            if not _is_conflict(error):
                break
        return _Done(work, error=error)

    def _try(self, batch: list[_Work], begun: float | None = None) -> tuple[list[Any], Exception | None]:
        committing = False
        waiting_since = time.monotonic() if begun is None else begun
        try:
            connection = self._connected()
            self._wait_for_lock_until(min(self._waits_until(work, waiting_since) for work in batch), connection)
            with connection.begin() as transaction:
                results = self._run_all(batch, transaction.connection)
                committing = True
                transaction.commit()
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the callers, who wait in another thread
            translated = self._translate(error)
            if committing and isinstance(translated, DatabaseUnavailableError):
                translated = CommitUnknownError(str(translated))
                translated.__cause__ = error
            if isinstance(translated, DatabaseUnavailableError) and not _is_conflict(translated):
                self._disconnect()
            return [], translated
        self._used = True
        return results, None

    def _waits_until(self, work: _Work, begun: float) -> float:
        return min(begun + self._busy, work.answer_by - TAKES)

    def _wait_for_lock_until(self, until: float, connection: Connection) -> None:
        """Let SQLite wait for another process's lock no longer than the first of the waiting people does."""
        if self._busy:
            seconds = max(until - time.monotonic(), 0.0)
            driver: Any = connection.connection.driver_connection
            driver.execute(f"PRAGMA busy_timeout={round(seconds * 1000)}")

    def _run_all(self, batch: list[_Work], connection: Connection) -> list[Any]:
        driver: Any = connection.connection.driver_connection
        several = len(batch) > 1 and self.engine.dialect.name == "postgresql"
        with driver.pipeline() if several else contextlib.nullcontext():
            begun = [() if work.first is None else (work.first(connection),) for work in batch]
        return [work.do(connection, *cursor) for work, cursor in zip(batch, begun, strict=True)]

    def _connected(self) -> Connection:
        if self._connection is None:
            if time.monotonic() < self._connect_at:
                raise DatabaseUnavailableError("the database was away a moment ago")
            try:
                self._connection = self.engine.connect()
            except Exception:
                self._connect_at = time.monotonic() + self._backoff.pause()
                raise
            self._backoff.reset()
        self._agree_on_time(self._connection)
        return self._connection

    def _agree_on_time(self, connection: Connection) -> None:
        """Go by the time of the processes that had this file before."""
        if self._agreed:
            return
        with connection.begin():
            ahead = self._clock.agreed_ahead(connection)
        self._clock.go_on(ahead)
        self._agreed = True

    def _disconnect(self) -> None:
        """Begin the next time with a new connection: what the driver raised, SQLAlchemy has not seen."""
        connection, self._connection, self._used = self._connection, None, False
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _is_lost(self, error: BaseException) -> bool:
        """Say whether it is the connection that is gone; a file has none to lose."""
        connection = self._connection
        if connection is not None and connection.invalidated:
            # SQLAlchemy has seen it; asked for the driver's connection now, it would connect anew, and raise.
            return True
        driver: Any = None if connection is None else connection.connection.driver_connection
        return bool(getattr(driver, "closed", False)) or getattr(error, "sqlstate", None) in SHUTTING_DOWN

    def _translate(self, error: Exception) -> Exception:
        """Tell apart what is the database's trouble, to be waited out, from what is wrong with one unit of work."""
        cause = getattr(error, "orig", None) or error
        driver: Any = self.engine.dialect.loaded_dbapi
        passing = (driver.OperationalError, driver.InterfaceError, driver.InternalError, sa.exc.TimeoutError)
        if isinstance(cause, passing) or type(cause) is driver.DatabaseError:
            # The driver's words name a file or a host, never a value.
            kind = _ConnectionLostError if self._is_lost(cause) else DatabaseUnavailableError
            unavailable = kind(" ".join(str(cause).split()))
            unavailable.__cause__ = error
            return unavailable
        return error


class _ConnectionLostError(DatabaseUnavailableError):
    """Nothing was written, for the connection broke."""


def _cause(error: Exception) -> BaseException | None:
    """Return what the driver raised."""
    return getattr(error.__cause__, "orig", None) or error.__cause__


def _is_conflict(error: Exception) -> bool:
    """Say whether another transaction was in the way: deadlock, lock or statement time-out, serialization (PostgreSQL)."""
    return getattr(_cause(error), "sqlstate", None) in ("40P01", LOCK_TIMEOUT, "40001", "57014")


def _is_busy(error: Exception) -> bool:
    """Say whether another process held SQLite's lock for as long as the first of those who wait may wait for it."""
    code = getattr(_cause(error), "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY and not isinstance(error, CommitUnknownError)


def _deliver(done: list[_Done]) -> None:
    """Hand results to the event loops that wait for them, with one wake-up for each."""
    for loop in {one.work.loop for one in done}:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile, and nobody waits any more
            loop.call_soon_threadsafe(_resolve, [one for one in done if one.work.loop is loop])


def _resolve(done: list[_Done]) -> None:
    for one in done:
        if one.work.done.done():
            continue
        if one.error is None:
            one.work.done.set_result(one.result)
        else:
            one.work.done.set_exception(one.error)
