"""The outbox's statements, each written once for both databases. `docs/design.md` says which index serves which."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine

from bot.activities.delivery import Resolution, Route, State
from bot.activities.policy import DOUBLE_WITHIN, WINDOW
from bot.activities.telling import ANCHOR_AFTER, OUTCOME_WITHIN, TELL_FOR
from bot.database.announcements import CHANNEL
from bot.database.tables import (
    IS_ACCEPTED,
    IS_CLAIMED,
    IS_LEASED,
    IS_OPEN,
    IS_TO_LOOK_FOR,
    MAY_BE_ON_TICKET,
    accounts,
    attempts,
    deliveries,
    is_leased,
    is_open,
    now,
    tenants,
)
from bot.database.writer import Prepared
from bot.leadsquared.outcome import Problem
from bot.tenants.directory import FIND_TENANT

COLUMNS = tuple(deliveries.c)
GIVEN = (
    "id", "enterprise_id", "team_id", "channel_id", "user_id", "key", "ticket_id", "text", "response_url", "thread_ts",
    "message_ts", "through_ts", "fingerprint", "retry_of", "state", "route", "anchor_ts", "anchor_mark",
)  # fmt: skip
"""What an acceptance writes itself; the tenant is found, and the moments are the database's."""

SOONEST = 100_000
"""Tickets that a look for tenants with something to send takes in at most."""

DESPITE_ALL = 2**62
"""For `despite`: whatever was recorded before, this is wanted."""

_d = deliveries.c


def _bind(column: sa.Column[Any], name: str | None = None) -> sa.BindParameter[Any]:
    return sa.bindparam(name or f"_{column.name}", type_=column.type)


def _now_once() -> sa.ScalarSelect[float]:
    """The database's clock, read once for a whole statement: only so does PostgreSQL search an index with it."""
    return sa.select(now()).scalar_subquery()


def _seconds_until_first(moment: sa.Column[float], which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Ask in how many seconds the first of these moments is; NULL if there is none.

    By order, and not by min(): of a million rows PostgreSQL takes a third for likely to be counted, and makes a great
    plan for it (two workers, compiled: 50 ms) when the index holds next to nothing.
    """
    return sa.select(sa.select(moment).where(which).order_by(moment).limit(1).scalar_subquery() - now())


class _Compiler:
    """Compiles for one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.on_sqlite = engine.dialect.name == "sqlite"

    def __call__(self, statement: sa.Executable) -> Prepared:
        return Prepared(statement, self._engine)

    def locking(self, statement: sa.Select[Any], *, skip_locked: bool = False, of: sa.Table | None = None) -> Prepared:
        # SQLite has one writer at a time anyway, and no such words.
        return self(statement if self.on_sqlite else statement.with_for_update(skip_locked=skip_locked, of=of))


_THIS = _d.seq == _bind(_d.seq)
_WAITS = (_d.tenant_id == _bind(_d.tenant_id), IS_ACCEPTED)


class AcceptanceStatements:
    """What acceptance and the buttons need. Bind parameters are named after columns, with a leading underscore.

    `process` is announced as the one that accepted.
    """

    def __init__(self, engine: Engine, process: str) -> None:
        prepare = _Compiler(engine)
        self.accept = prepare(
            _accept(sqlite.insert) if prepare.on_sqlite else _announced(_accept(postgresql.insert), process)
        )
        self.accepted_before = prepare(_accepted_by_key())
        self.find_tenant = prepare(FIND_TENANT)
        self.double = prepare(_double())
        self.last_ticket = prepare(_last_ticket())
        of_team = _d.team_id == _bind(_d.team_id)
        this = sa.select(*COLUMNS).where(_d.id == _bind(_d.id))
        self.lock = prepare.locking(this.where(of_team))
        self.find = prepare(this.where(of_team | (_d.enterprise_id == _bind(_d.enterprise_id))))
        resolution = {"resolution": _bind(_d.resolution), "resolved_by": _bind(_d.resolved_by), "tell_at": now()}
        self.resolve = prepare(deliveries.update().where(_THIS).values(**resolution))
        self.renew = prepare(deliveries.update().where(_THIS).values(response_url=_bind(_d.response_url)))


class SendingStatements:
    """What claiming and settling need."""

    def __init__(self, engine: Engine) -> None:
        prepare = _Compiler(engine)
        self.waiting_tenants = prepare(_waiting_tenants())
        # One process at a time counts an account's window; another one passes the locked row by and comes back.
        this_tenant = tenants.c.id == _bind(tenants.c.id)
        of_account = sa.select(*tenants.c, accounts.c.resume_at, now().label("now")).join(accounts)
        self.lock_account = prepare.locking(of_account.where(this_tenant), skip_locked=True, of=accounts)
        self.tenant_exists = prepare(sa.select(tenants.c.id).where(this_tenant))
        self.taken_slots = prepare(
            sa.select(sa.func.count(), sa.func.min(attempts.c.occupied_until)).where(
                attempts.c.account_id == _bind(attempts.c.account_id),
                attempts.c.occupied_until > sa.bindparam("moment"),
            )
        )
        # The moment leads to the index of what is due, and excludes nothing.
        all_waiting = (IS_ACCEPTED, _d.due_at > sa.literal_column("0"))
        oldest = now() - sa.func.min(_d.accepted_at)
        self.waiting = prepare(sa.select(sa.func.count(), oldest).where(*all_waiting))
        untold = (_d.tell_at.is_not(None), _d.settled_at.is_not(None))
        self.untold = prepare(sa.select(sa.func.count()).where(*untold))
        self.any_waiting = prepare(sa.select(_d.seq).where(*_WAITS).limit(1))
        passed_by = sa.false() if prepare.on_sqlite else _heads().exists()
        # Not the bare column: PostgreSQL would look for it along all tenants' moments.
        due_at = _d.due_at + sa.literal_column("0.0")
        self.next_due = prepare(
            sa.select(sa.func.min(due_at), passed_by).where(*_WAITS, due_at > sa.bindparam("moment", type_=sa.Double))
        )
        self.take = prepare(_take(skip_locked=not prepare.on_sqlite))
        lease_and_window = now() + sa.bindparam("lease", type_=sa.Double) + WINDOW
        self.begin_attempt = prepare(
            attempts.insert().values(
                delivery_seq=_bind(attempts.c.delivery_seq),
                number=_bind(attempts.c.number),
                account_id=_bind(attempts.c.account_id),
                started_at=now(),
                occupied_until=lease_and_window,
            )
        )
        # That it is open goes without saying, but leads to the index that begins with the tenant.
        taken = (_d.tenant_id == _bind(_d.tenant_id), IS_CLAIMED, IS_OPEN, _d.claimed_by == _bind(_d.claimed_by))
        self.begin_attempts = prepare(
            attempts.insert().from_select(
                ["delivery_seq", "number", "account_id", "started_at", "occupied_until"],
                sa.select(_d.seq, _d.attempts, _d.account_id, now(), lease_and_window).where(*taken),
            )
        )
        answered = now() - sa.bindparam("ago", type_=sa.Double)
        self.end_attempt = prepare(
            attempts.update()
            .where(attempts.c.delivery_seq == _bind(_d.seq), attempts.c.number == _bind(attempts.c.number))
            .values(
                answered_at=answered,
                occupied_until=answered + sa.bindparam("occupied_for", type_=sa.Double),
                outcome=_bind(attempts.c.outcome),
            )
        )
        until = _bind(accounts.c.resume_at)
        longest = sa.case((accounts.c.resume_at > until, accounts.c.resume_at), else_=until)
        this_account = accounts.c.id == _bind(accounts.c.id)
        self.hold_account = prepare(accounts.update().where(this_account).values(resume_at=longest))
        # By its id: a database that was made anew, or restored, gives the same numbers to others.
        claim = (_d.id == _bind(_d.id), _d.attempts == _bind(_d.attempts))
        self.begin = prepare(
            deliveries.update().where(*claim, IS_CLAIMED, _d.lease_until > now()).values(state=State.SENDING)
        )
        mine = (*claim, IS_LEASED)
        freed = {"lease_until": None, "tell_at": now()}
        self.repeat = prepare(
            deliveries.update()
            .where(*mine)
            .values(state=State.ACCEPTED, due_at=_bind(_d.due_at), waiting=_bind(_d.waiting), **freed)
        )
        outcome = {column.name: _bind(column) for column in (_d.state, _d.activity_id, _d.problem, _d.detail)}
        self.settle = prepare(deliveries.update().where(*mine).values(**outcome, settled_at=now(), **freed))
        self.give_back = prepare(
            deliveries.update().where(*claim, IS_CLAIMED).values(state=State.ACCEPTED, due_at=now(), **freed)
        )
        ended = {"settled_at": now(), "tell_at": now()}
        self.end_waiting = prepare(
            deliveries.update()
            .where(*_WAITS)
            .values(state=State.REJECTED, problem=_bind(_d.problem), **ended)
            .returning(_d.id)
        )
        dead = (IS_LEASED, _d.lease_until < _now_once())
        of_dead = sa.select(_d.seq, _d.id, _d.attempts, _d.state).where(*dead)
        self.dead = prepare.locking(of_dead, skip_locked=True)
        interrupted = {"state": State.UNKNOWN, "problem": Problem.INTERRUPTED, "lease_until": None, **ended}
        self.expire = prepare(deliveries.update().where(_THIS, *dead).values(**interrupted))


class LookingStatements:
    """What looking for an unknown outcome on its ticket needs."""

    def __init__(self, engine: Engine) -> None:
        prepare = _Compiler(engine)
        unresolved = (_d.state == State.UNKNOWN, _d.resolution.is_(None), _d.problem != Problem.UNDECIPHERABLE)
        after = sa.bindparam("after", type_=sa.Double)
        self.plan_first = prepare(
            deliveries.update()
            .where(_THIS, *unresolved, _d.looks == 0, _d.look_at.is_(None))
            .values(look_at=now() + after)
        )
        look = sa.select(*COLUMNS).where(IS_TO_LOOK_FOR, _d.look_at <= _now_once()).order_by(_d.look_at)
        self.due = prepare.locking(look.limit(sa.bindparam("at_most", type_=sa.Integer)), skip_locked=True)
        self.next_due = prepare(_seconds_until_first(_d.look_at, IS_TO_LOOK_FOR))
        self.postpone = prepare(deliveries.update().where(_THIS).values(look_at=now() + after))
        self.begin = prepare(deliveries.update().where(_THIS).values(look_at=now() + after, looks=_d.looks + 1))
        self.end = prepare(deliveries.update().where(_THIS).values(look_at=None))
        same_ticket = (_d.account_id == _bind(_d.account_id), _d.ticket_id == _bind(_d.ticket_id))
        self.on_ticket = prepare(
            sa.select(_d.seq, _d.activity_id, _d.resolution, _d.text).where(MAY_BE_ON_TICKET, *same_ticket)
        )
        found = {"finding": _bind(_d.finding), "activity_id": _bind(_d.activity_id), "tell_at": now()}
        self.found = prepare(deliveries.update().where(_THIS, *unresolved).values(**found))


class TellingStatements:
    """What telling needs."""

    def __init__(self, engine: Engine) -> None:
        prepare = _Compiler(engine)
        is_answered = _d.replied_at.is_not(None)
        untold = (
            sa.select(_d.seq, _d.team_id, _d.channel_id, is_answered)
            .where(_d.tell_at <= _now_once())
            .order_by(_d.tell_at)
        )
        unleased = sa.or_(_d.tell_lease_until.is_(None), _d.tell_lease_until < now())
        due = untold.where(unleased, _may_be_told()).limit(sa.bindparam("at_most", type_=sa.Integer))
        self.untold = prepare(due)
        self.unanswered = prepare(due.where(_d.settled_at.is_not(None)))
        self.next_untold = prepare(_seconds_until_first(_d.tell_at, _d.tell_at > _now_once()))
        look = sa.select(*COLUMNS, now().label("now"), unleased, _d.tell_lease_until).where(_THIS)
        self.look = prepare.locking(look, skip_locked=True)
        self.accepted_after = prepare(_accepted_by_key())
        until = now() + sa.bindparam("lease", type_=sa.Double)
        self.lease_telling = prepare(
            deliveries.update().where(_THIS).values(tell_lease_until=until).returning(_d.tell_lease_until)
        )
        self.plan_telling = prepare(
            deliveries.update().where(_THIS).values(tell_at=_bind(_d.tell_at), tell_lease_until=None)
        )
        # Whoever comes when the lease has ended, and is another's by now, plans nothing.
        mine = (_THIS, _d.tell_lease_until == _bind(_d.tell_lease_until))
        self.tell_later = prepare(
            deliveries.update()
            .where(*mine)
            .values(
                tell_at=now() + sa.bindparam("seconds", type_=sa.Double),
                tell_attempts=_d.tell_attempts + 1,
                tell_lease_until=None,
            )
        )
        # What changed since the step was claimed is still to be told; its change said when.
        changing = (_d.state, _d.resolution, _d.finding)
        unchanged = sa.and_(*(column.is_not_distinct_from(_bind(column)) for column in changing))
        given_up = {"tell_at": sa.case((unchanged, sa.null()), else_=_d.tell_at), "tell_lease_until": None}
        self.give_up_telling = prepare(deliveries.update().where(*mine).values(**given_up))
        anchored = {"anchor_ts": _bind(_d.anchor_ts), "anchor_mark": _bind(_d.anchor_mark)}
        again = {"tell_attempts": 0}
        self.anchored = prepare(deliveries.update().where(_THIS).values(**anchored, **again))
        told = {"finding_told": _bind(_d.finding_told), **again}
        self.finding_told = prepare(deliveries.update().where(_THIS).values(**told))
        noted = {"noted": _bind(_d.noted), "note_ts": _bind(_d.note_ts)}
        self.noted = prepare(deliveries.update().where(_THIS).values(**noted, **again))
        # An answer that took the note's place is no note to be deleted.
        answer = {
            "note_ts": sa.case((_d.note_ts == _bind(_d.answer_ts), sa.null()), else_=_d.note_ts),
            "answer_ts": _bind(_d.answer_ts),
            "resolution_told": _bind(_d.resolution_told),
        }
        self.answered = prepare(deliveries.update().where(_THIS).values(replied_at=now(), **answer, **again))
        decided = {"resolution_told": _bind(_d.resolution_told)}
        self.decision_told = prepare(deliveries.update().where(_THIS).values(**decided, **again))
        self.note_deleted = prepare(deliveries.update().where(_THIS).values(note_ts=None, **again))
        self.marked = prepare(deliveries.update().where(_THIS).values(anchor_mark=_bind(_d.anchor_mark), **again))
        self.unfinished = prepare(_unfinished())
        self.rerouted = prepare(deliveries.update().where(_THIS).values(route=_bind(_d.route), **again))


def _accepted_by_key() -> sa.Select[Any]:
    same_key = (_d.team_id == _bind(_d.team_id), _d.key == _bind(_d.key))
    return sa.select(_d.id, _d.tenant_id, _d.ticket_id).where(*same_key)


def _may_be_told() -> sa.ColumnElement[bool]:
    """What a process may tell: what it has a token for, what needs none, and what no other process has told in time.

    After a day any process may give it up.
    """
    team, enterprise = (sa.bindparam(name, type_=sa.Text) for name in ("team", "enterprise"))
    everybody = sa.and_(team == sa.literal_column("''"), enterprise == sa.literal_column("''"))
    by_url = sa.and_(_d.response_url.is_not(None), _d.route != sa.literal_column(f"'{Route.DIRECT_MESSAGE}'"))
    left_alone = sa.and_(
        by_url, _d.replied_at.is_(None), _d.tell_at < _now_once() - sa.bindparam("leave", type_=sa.Double)
    )
    too_old = _d.accepted_at < _now_once() - TELL_FOR
    needs_none = _d.route == sa.literal_column(f"'{Route.RESPONSE_URL}'")
    mine = (_d.team_id == team, _d.enterprise_id == enterprise)
    return sa.or_(everybody, *mine, needs_none, left_alone, too_old)


def _accept(insert: Any) -> Any:  # noqa: ANN401 - either dialect's insert()
    """One statement finds the tenant and stores the delivery.

    It returns nothing when there is no tenant, the key is known, or the activity would be a double of one after `despite`.
    """
    tenant = FIND_TENANT.subquery()
    given = [_bind(_d[name]) for name in GIVEN]
    moments = [now(), now(), now() + ANCHOR_AFTER]
    doubles = (~sa.exists().where(*of) for of in _doubles(deliveries.alias("earlier"), tenant.c.account_id))
    row = sa.select(*given, tenant.c.id, tenant.c.name, tenant.c.account_id, *moments).where(*doubles)
    columns = [*GIVEN, "tenant_id", "tenant_name", "account_id", "accepted_at", "due_at", "tell_at"]
    return (
        insert(deliveries)
        .from_select(columns, row, include_defaults=False)
        .on_conflict_do_nothing(index_elements=["team_id", "key"])
        .returning(_d.tenant_id)
    )


def _announced(accept: Any, process: str) -> sa.Select[Any]:  # noqa: ANN401 - an INSERT of either dialect
    """The same statement, which at its commit tells the other processes for which tenant something was accepted."""
    stored = accept.cte("stored")
    words = sa.func.concat(f"{process} ", stored.c.tenant_id)
    return sa.select(stored.c.tenant_id, sa.func.pg_notify(sa.literal_column(f"'{CHANNEL}'"), words))


def _doubles(of: sa.FromClause, account_id: sa.ColumnElement[Any]) -> tuple[tuple[sa.ColumnElement[bool], ...], ...]:
    """Return what makes an earlier delivery one that this would double: the same words just now, or the same message.

    What was rejected is surely not on the ticket, and is no reason to ask.
    """
    same_ticket = (
        of.c.account_id == account_id,
        of.c.ticket_id == _bind(_d.ticket_id),
        of.c.state != sa.literal_column("'rejected'"),
        of.c.seq > sa.bindparam("despite", type_=_d.seq.type),
    )
    same_words = (of.c.fingerprint == _bind(_d.fingerprint), of.c.accepted_at > now() - DOUBLE_WITHIN)
    message = _bind(_d.message_ts)
    same_message = (*_in_thread(of, of.c.thread_ts), sa.or_(of.c.message_ts == message, of.c.through_ts >= message))
    return (*same_words, *same_ticket), (*same_message, *same_ticket)


def _in_thread(of: sa.FromClause, thread: sa.ColumnElement[Any]) -> tuple[sa.ColumnElement[bool], ...]:
    return of.c.team_id == _bind(_d.team_id), of.c.channel_id == _bind(_d.channel_id), thread == _bind(_d.thread_ts)


def _double() -> sa.Select[Any]:
    """The newest delivery that this one would double, and how many seconds ago it was accepted."""
    earlier = deliveries.alias("earlier")
    newest = _newest(earlier, _doubles(earlier, _account_id()))
    return sa.select(*COLUMNS, now() - _d.accepted_at).where(_d.seq == newest)


def _last_ticket() -> sa.Select[Any]:
    """The ticket that a thread was last recorded on: a message's, or one that the bot's own anchor began."""
    earlier = deliveries.alias("earlier")
    on_ticket = sa.or_(earlier.c.state == State.RECORDED, earlier.c.resolution == Resolution.CONFIRMED)
    mine = (earlier.c.account_id == _account_id(), on_ticket)
    threads = [(*_in_thread(earlier, ts), *mine) for ts in (earlier.c.thread_ts, earlier.c.anchor_ts)]
    return sa.select(_d.ticket_id).where(_d.seq == _newest(earlier, threads))


def _account_id() -> sa.ScalarSelect[Any]:
    return FIND_TENANT.with_only_columns(tenants.c.account_id).scalar_subquery()


def _newest(of: sa.FromClause, ways: Iterable[Iterable[sa.ColumnElement[bool]]]) -> sa.ScalarSelect[Any]:
    """The last accepted of those found in any of these ways: a query for each, so that each has its index."""
    found = sa.union_all(*(sa.select(of.c.seq).where(*way) for way in ways)).subquery()
    return sa.select(sa.func.max(found.c.seq)).scalar_subquery()


def _heads() -> sa.Select[Any]:
    """The first open delivery of each ticket, if it is due: an earlier one of the same ticket goes first.

    So does a later one that is claimed: another process had committed and claimed it before the earlier one was
    committed.
    """
    earlier = deliveries.alias("earlier")
    return (
        sa.select(_d.seq)
        .where(
            _d.tenant_id == _bind(_d.tenant_id),
            IS_ACCEPTED,
            _d.due_at <= sa.bindparam("moment", type_=sa.Double),
            ~sa.exists().where(*_open_on_its_ticket(earlier), sa.or_(earlier.c.seq < _d.seq, is_leased(earlier))),
        )
        .order_by(_d.seq)
    )


def _open_on_its_ticket(of: sa.FromClause) -> tuple[sa.ColumnElement[bool], ...]:
    """Return what makes another delivery an open one on the same ticket."""
    return of.c.tenant_id == _d.tenant_id, of.c.ticket_id == _d.ticket_id, is_open(of)


def _waiting_tenants() -> sa.Select[Any]:
    """In how many seconds each tenant has something to send that is the first open one of its ticket, if it is soon.

    The limit keeps both databases to the index: what is due first, first. Without it SQLite takes an order that suits the
    grouping and PostgreSQL joins all that is open with itself.
    """
    earlier = deliveries.alias("earlier")
    on_its_ticket = sa.select(earlier.c.seq).where(*_open_on_its_ticket(earlier))
    first = on_its_ticket.order_by(earlier.c.seq).limit(1).scalar_subquery()
    soon = (
        sa.select(_d.tenant_id, _d.due_at)
        .where(IS_ACCEPTED, _d.due_at <= _now_once() + sa.bindparam("within", type_=sa.Double), _d.seq == first)
        .order_by(_d.due_at)
        .limit(sa.literal_column(str(SOONEST)))
        .subquery()
    )
    return sa.select(soon.c.tenant_id, sa.func.min(soon.c.due_at) - _now_once()).group_by(soon.c.tenant_id)


def _unfinished() -> sa.Select[Any]:
    """How many are not settled, or not told: a query for each, so that each has its index."""
    found = sa.union(sa.select(_d.seq).where(IS_OPEN), sa.select(_d.seq).where(_d.tell_at.is_not(None))).subquery()
    return sa.select(sa.func.count()).select_from(found)


def _take(*, skip_locked: bool) -> sa.Executable:
    """Take the heads of a tenant's tickets, as many as there is room for; in no order."""
    heads = _heads().limit(sa.bindparam("room", type_=sa.Integer))
    if skip_locked:
        # A head that another process is telling about just now is passed by: who waits may be waited for.
        heads = heads.with_for_update(skip_locked=True)
    found = heads.cte("heads")
    return (
        deliveries.update()
        .where(_d.seq == found.c.seq, IS_ACCEPTED)
        .values(
            state=State.CLAIMED,
            lease_until=now() + sa.bindparam("lease", type_=sa.Double),
            attempts=_d.attempts + 1,
            first_attempt_at=sa.func.coalesce(_d.first_attempt_at, now()),
            claimed_by=_bind(_d.claimed_by),
            tell_at=now() + OUTCOME_WITHIN,
        )
        .returning(*COLUMNS)
    )
