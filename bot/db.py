"""Tables, and the one writer through which a process talks to its database."""

import asyncio
import contextlib
import math
import queue
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from bot.backoff import Backoff
from bot.clock import SteadyClock
from bot.engines import PATIENCE, Patience, engine_for

T = TypeVar("T")

CONFLICT_TRIES = 3
CONFLICT_PAUSE = 0.1
"""Seconds at most between tries that other transactions were in the way of."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds at most between tries to connect to a server that is away: whoever waits meanwhile is told so at once."""

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

LONG = 0.5
"""Seconds of trying in vain from which on whoever waits in the queue is told, instead of being tried for as long again."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

# Moments are seconds since the epoch, UTC, by the database's clock: one clock for all processes.
Moment = sa.Double
# SQLite numbers rows by itself only in a column of exactly this type.
Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("api_url", sa.Text, nullable=False),
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("access_key", sa.LargeBinary, nullable=False),  # encrypted
    sa.Column("secret_key", sa.LargeBinary, nullable=False),  # encrypted
    sa.Column("calls_per_window", sa.Integer, nullable=False),
    sa.Column("resume_at", Moment),  # after LeadSquared said "over the limit": no call before this
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sqlite_autoincrement=True,  # a removed tenant's number is never given to another, whose deliveries it would inherit
)

workspaces = sa.Table(
    "workspaces",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    # Empty where the mapping does not ask: '' and not NULL, so that the unique constraint sees it.
    sa.Column("enterprise_id", sa.Text, nullable=False, server_default=""),
    sa.Column("team_id", sa.Text, nullable=False, server_default=""),
    sa.Column("channel_id", sa.Text, nullable=False, server_default=""),
    sa.Column("tenant_id", Number, sa.ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.UniqueConstraint("team_id", "channel_id", "enterprise_id"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("seq", Number, primary_key=True, autoincrement=True),  # the order of acceptance
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("enterprise_id", sa.Text),
    sa.Column("team_id", sa.Text, nullable=False),
    sa.Column("channel_id", sa.Text, nullable=False),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),  # against doubles: what Slack gives once, such as a trigger_id
    sa.Column("tenant_id", Number, nullable=False),  # no foreign key: a tenant may go, its audit trail stays
    sa.Column("tenant_name", sa.Text, nullable=False),
    sa.Column("ticket_id", sa.Text, nullable=False),
    sa.Column("text", sa.LargeBinary, nullable=False),  # encrypted
    sa.Column("response_url", sa.LargeBinary),  # encrypted
    sa.Column("thread_ts", sa.Text),
    sa.Column("message_ts", sa.Text),  # the message that was recorded, where it came from one
    sa.Column("through_ts", sa.Text),  # where the whole thread was recorded: the last of its messages that is among it
    sa.Column("fingerprint", sa.LargeBinary),  # keyed: the same words by the same person on the same ticket
    sa.Column("retry_of", sa.Text),
    # What became of it.
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("accepted_at", Moment, nullable=False),
    sa.Column("due_at", Moment, nullable=False),
    sa.Column("lease_until", Moment),
    sa.Column("claimed_by", sa.Text),  # the claim under which it is, or was, being sent
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("first_attempt_at", Moment),
    sa.Column("waiting", sa.Text),
    sa.Column("settled_at", Moment),
    sa.Column("activity_id", sa.Text),
    sa.Column("problem", sa.Text),
    sa.Column("detail", sa.LargeBinary),  # encrypted: LeadSquared may quote the customer
    sa.Column("resolution", sa.Text),
    sa.Column("resolved_by", sa.Text),
    # Where nothing is known: whether its text was found on the ticket.
    sa.Column("look_at", Moment),
    sa.Column("looks", sa.Integer, nullable=False, server_default="0"),
    sa.Column("finding", sa.Text),
    # What was told in Slack.
    sa.Column("route", sa.Text, nullable=False),
    sa.Column("anchor_ts", sa.Text),
    sa.Column("anchor_mark", sa.Text),
    sa.Column("noted", sa.Text),
    sa.Column("finding_told", sa.Text),
    sa.Column("replied_at", Moment),
    sa.Column("tell_at", Moment),
    sa.Column("tell_lease_until", Moment),
    sa.Column("tell_attempts", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("team_id", "key"),
    sa.Index("ix_deliveries_fingerprint", "fingerprint"),
)
# Written out, not bound: SQLite takes a partial index only for a condition that it can read in the statement.
IS_OPEN = deliveries.c.state.in_((sa.literal_column("'accepted'"), sa.literal_column("'sending'")))
IS_ACCEPTED = deliveries.c.state == sa.literal_column("'accepted'")
IS_SENDING = deliveries.c.state == sa.literal_column("'sending'")
IS_UNTOLD = deliveries.c.tell_at.is_not(None)
IS_TO_LOOK_FOR = deliveries.c.look_at.is_not(None)
IS_ON_TICKET = deliveries.c.activity_id.is_not(None)
IS_IN_THREAD = deliveries.c.thread_ts.is_not(None)
IS_ANCHORED = deliveries.c.anchor_ts.is_not(None)


def _partial_index(name: str, where: sa.ColumnElement[bool], *columns: sa.Column[Any]) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


_partial_index("ix_deliveries_open", IS_OPEN, deliveries.c.tenant_id, deliveries.c.ticket_id, deliveries.c.seq)
_partial_index("ix_deliveries_waiting", IS_ACCEPTED, deliveries.c.tenant_id, deliveries.c.seq)
_partial_index("ix_deliveries_sending", IS_SENDING, deliveries.c.lease_until)
_partial_index("ix_deliveries_untold", IS_UNTOLD, deliveries.c.tell_at)
_partial_index("ix_deliveries_look", IS_TO_LOOK_FOR, deliveries.c.look_at)
_partial_index("ix_deliveries_on_ticket", IS_ON_TICKET, deliveries.c.tenant_id, deliveries.c.ticket_id)
_partial_index(
    "ix_deliveries_thread",
    IS_IN_THREAD,
    deliveries.c.team_id,
    deliveries.c.channel_id,
    deliveries.c.thread_ts,
    deliveries.c.seq,
)
_partial_index(
    "ix_deliveries_anchor",
    IS_ANCHORED,
    deliveries.c.team_id,
    deliveries.c.channel_id,
    deliveries.c.anchor_ts,
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("delivery_seq", Number, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("tenant_id", Number, nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("answered_at", Moment),
    sa.Column("occupied_until", Moment, nullable=False),  # the slot of the tenant's window that this attempt holds
    sa.Column("outcome", sa.Text),
    sa.Index("ix_attempts_window", "tenant_id", "occupied_until"),
)

clocks = sa.Table(
    "clocks",
    metadata,
    # SQLite's only: PostgreSQL has a clock of its own. One row, of the machine's last start.
    sa.Column("boot", sa.Text, primary_key=True),
    sa.Column("ahead", sa.Double, nullable=False),  # seconds by which the time is ahead of those since that start
)


class now(GenericFunction[float]):  # noqa: N801 - named like the SQL function that it stands for
    """The database's own clock, as seconds since the epoch."""

    type = sa.Double()
    inherit_cache = True
    name = "bot_now"


@compiles(now, "postgresql")
def _now_on_postgresql(_element: now, _compiler: Any, **_: Any) -> str:  # noqa: ANN401 - SQLAlchemy's compiler
    return "extract(epoch from clock_timestamp())::double precision"


def insert(connection: Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """INSERT with ON CONFLICT, which both dialects spell alike and SQLAlchemy keeps apart."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


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
        self._agreed = False
        self.engine = engine_for(url, patience, self._clock)
        self._busy = patience.busy if self.engine.dialect.name == "sqlite" else 0.0
        self._connection: Connection | None = None
        self._used = False  # it has carried a transaction: when it is lost, the server may well be there
        self._connect_at, self._backoff = 0.0, Backoff(FIRST_PAUSE, LONGEST_PAUSE)  # by time.monotonic()
        self._away_at = 0.0  # by time.monotonic(): when the database was last tried in vain for long
        self._hurried: deque[_Work] = deque()
        self._others: deque[_Work] = deque()
        self._bell: queue.SimpleQueue[bool] = (
            queue.SimpleQueue()
        )  # rings once for each unit; False: there will be no more
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
        processes take rows in the same order, and never wait for each other.

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
        (self._hurried if work.hurried else self._others).append(work)
        self._bell.put(True)  # noqa: FBT003 - see there
        try:
            async with asyncio.timeout(answer_within):
                result: T = await work.done
        except TimeoutError:
            raise CommitUnknownError("the database does not answer") from None
        return result

    async def close(self) -> None:
        """Finish what is queued, then close the connection."""
        self._bell.put(False)  # noqa: FBT003 - see there
        await asyncio.to_thread(self._thread.join)
        self.engine.dispose()

    def _next(self) -> _Work:
        hurried, others = self._hurried, self._others
        if hurried and (not others or hurried[0].queued_at - HEAD_START < others[0].queued_at):
            return hurried.popleft()
        return others.popleft()

    def _serve(self) -> None:
        more = self._bell.get()
        while more:
            batch = [self._next()]
            while more and len(batch) < SHARING and not self._bell.empty():
                more = self._bell.get()
                batch += [self._next()] if more else []
            batch.sort(key=lambda work: work.order)
            moment = time.monotonic()
            late = [work for work in batch if self._is_late(work, moment)]
            _deliver([_Done(work, error=DatabaseUnavailableError("too busy to begin")) for work in late])
            done = self._survive([work for work in batch if not self._is_late(work, moment)])
            if time.monotonic() > moment + LONG and any(
                isinstance(one.error, DatabaseUnavailableError) for one in done
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
        used = self._used
        results, error = self._try(batch)
        if used and isinstance(error, _ConnectionLostError):
            # The server restarted, or closed what was idle, and nothing was committed: once more, on a new connection.
            results, error = self._try(batch)
        if error is None:
            return [_Done(work, result) for work, result in zip(batch, results, strict=True)]
        if isinstance(error, CommitUnknownError) or _is_conflict(error):
            return [self._again(work, error) for work in batch]
        if len(batch) > 1 and not isinstance(error, DatabaseUnavailableError):
            return [done for work in batch for done in self._run_batch([work])]
        return [_Done(work, error=error) for work in batch]

    def _again(self, work: _Work, error: Exception) -> _Done:
        """Try anew what another transaction was in the way of, or once more what may be repeated after a lost commit."""
        if isinstance(error, CommitUnknownError):
            results, second = self._try([work]) if work.repeatable else ([], error)
            return _Done(work, results[0]) if second is None else _Done(work, error=error)
        for tries in range(CONFLICT_TRIES):
            if tries:  # apart from the other side, which may be trying again at this very moment too
                time.sleep(random.random() * CONFLICT_PAUSE)  # noqa: S311 - jitter
            results, second = self._try([work])
            if second is None:
                return _Done(work, results[0])
            error = second
            if not _is_conflict(error):
                break
        return _Done(work, error=error)

    def _try(self, batch: list[_Work]) -> tuple[list[Any], Exception | None]:
        committing = False
        try:
            connection = self._connected()
            self._wait_for_lock_until(min(work.answer_by for work in batch), connection)
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

    def _wait_for_lock_until(self, answer_by: float, connection: Connection) -> None:
        """Let SQLite wait for another process's lock no longer than the first of the waiting people does."""
        if self._busy:
            seconds = min(self._busy, max(answer_by - TAKES - time.monotonic(), 0.0))
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
        if self._agreed or self.engine.dialect.name != "sqlite":
            return
        with connection.begin():
            ahead = _agreed_ahead(connection, self._clock)
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
            return (
                True  # SQLAlchemy has seen it; asked for the driver's connection now, it would connect anew, and raise
            )
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


def _agreed_ahead(connection: Connection, clock: SteadyClock) -> float:
    """Return by how much time is ahead of the machine's steady clock, as its first process since its start has found."""
    kept: float | None = connection.scalar(sa.select(clocks.c.ahead).where(clocks.c.boot == clock.boot))
    if kept is not None:
        return kept
    # By SQLite's order of rows: there is no index by time.
    accepted = sa.select(deliveries.c.accepted_at).order_by(deliveries.c.seq.desc()).limit(1)
    started = sa.select(attempts.c.started_at).order_by(sa.text("rowid DESC")).limit(1)
    ahead = clock.ahead_of_steady(newest=max(connection.scalar(moment) or 0.0 for moment in (accepted, started)))
    if clock.boot is not None:
        connection.execute(sa.delete(clocks))
        connection.execute(sa.insert(clocks).values(boot=clock.boot, ahead=ahead))
    return ahead


class _ConnectionLostError(DatabaseUnavailableError):
    """Nothing was written, for the connection broke."""


def _is_conflict(error: Exception) -> bool:
    """Say whether another transaction was in the way: deadlock, lock or statement time-out, serialization (PostgreSQL)."""
    cause = getattr(error.__cause__, "orig", None) or error.__cause__
    return getattr(cause, "sqlstate", None) in ("40P01", "55P03", "40001", "57014")


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
