"""python -m bot status: what waits, failed and needs a person, per workspace and tenant."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.activities.backlog import WAITS_LONG
from bot.activities.delivery import Finding, State, Waiting
from bot.admin.snapshot import read
from bot.admin.words import ago, duration, table
from bot.database.tables import (
    IS_ACCEPTED,
    IS_OPEN,
    IS_UNDECIDED,
    attempts,
    deliveries,
    now,
    tenants,
    workspaces,
)
from bot.database.writer import Database
from bot.encryption import Keyring, UndecipherableError
from bot.leadsquared.outcome import Problem
from bot.slack.explanations import PROBLEMS
from bot.tenants.directory import read_tenant

DAY = 24 * 3600.0

LAST_WITHIN = 7 * DAY
"""Seconds within which the last success and the last error count."""

TEXTS_TRIED = 1000
"""Waiting texts that one status tries to decrypt at most: 1,000 take 0.1 s."""

KEYS_REFUSED = frozenset({Problem.UNAUTHORIZED, Problem.FORBIDDEN})
NOT_REACHED = frozenset({Problem.TLS, Problem.ADDRESS_REFUSED, Problem.UNREACHABLE})
DISCONNECTED = frozenset({Problem.TENANT_REMOVED, Problem.ACCOUNT_CHANGED})


@dataclass(slots=True)
class Group:
    """One workspace's activities for one tenant. Moments are by the database's clock."""

    workspace: str
    tenant: str
    waiting: int = 0
    waiting_for: dict[Waiting, int] = field(default_factory=dict)
    oldest: float | None = None  # when the first that has no outcome yet was accepted
    sending: int = 0
    undecided: int = 0
    untold: int = 0  # settled for long, and not told in Slack
    undecipherable: int = 0
    keys_readable: bool = True
    recorded: int = 0
    not_recorded: dict[Problem, int] = field(default_factory=dict)
    slots_used: int = 0
    slots: int = 0
    last_success: float | None = None
    last_errors: dict[Problem, float] = field(default_factory=dict)

    @property
    def last_error(self) -> tuple[Problem, float] | None:
        return max(self.last_errors.items(), key=lambda error: error[1], default=None)


@dataclass(frozen=True, slots=True)
class Need:
    """Something that stays as it is until a person acts."""

    workspace: str
    tenant: str
    what: str
    says: str
    do: str


@dataclass(frozen=True, slots=True)
class Status:
    at: float
    groups: tuple[Group, ...]
    needs: tuple[Need, ...]


GroupOf = Callable[[str, int, str], Group]
"""Returns the group of a workspace's id, a tenant's number and the tenant's name."""


async def look(database: Database, keyring: Keyring) -> Status:
    """Read the status once."""
    return await read(database, lambda connection: _look(connection, keyring))


def _look(connection: Connection, keyring: Keyring) -> Status:
    at: float = connection.execute(sa.select(now())).scalar_one()
    groups: dict[tuple[str, int], Group] = {}

    def group(team_id: str, tenant_id: int, tenant: str) -> Group:
        return groups.setdefault((team_id, tenant_id), Group(team_id, tenant))

    _read_open(connection, group)
    _try_texts(connection, keyring, group)
    _read_undecided(connection, group)
    _read_untold(connection, at, group)
    _read_settled(connection, at, group)
    _read_tenants(connection, keyring, at, groups)
    ordered = tuple(groups[key] for key in sorted(groups))
    return Status(at, ordered, tuple(needs(ordered, at)))


_d = deliveries.c
# By the bare column SQLite would group along an index that begins with it: the whole table.
_TEAM = _d.team_id.concat(sa.literal_column("''"))
_GROUP = (_TEAM, _d.tenant_id)
_OF_GROUP = (*_GROUP, sa.func.max(_d.tenant_name))


def _number(which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((which, 1), else_=0))


def _read_open(connection: Connection, group: GroupOf) -> None:
    accepted = _number(_d.state == State.ACCEPTED)
    counts = sa.select(
        *_OF_GROUP, _d.waiting, accepted, sa.func.count(), sa.func.min(_d.accepted_at)
    )
    for *of_group, reason, waiting, all_, oldest in connection.execute(
        counts.where(IS_OPEN).group_by(*_GROUP, _d.waiting)
    ):
        found = group(*of_group)
        found.waiting, found.sending = found.waiting + waiting, found.sending + all_ - waiting
        found.oldest = oldest if found.oldest is None else min(found.oldest, oldest)
        if reason and waiting:
            found.waiting_for[Waiting(reason)] = waiting
        if reason == Waiting.UNDECIPHERABLE:
            found.undecipherable = waiting


def _try_texts(connection: Connection, keyring: Keyring, group: GroupOf) -> None:
    """Count what no process has tried to decrypt yet: maybe none runs."""
    untried = sa.or_(_d.waiting.is_(None), _d.waiting != Waiting.UNDECIPHERABLE)
    texts = (
        sa.select(*_GROUP, _d.tenant_name, _d.text).where(IS_ACCEPTED, untried).limit(TEXTS_TRIED)
    )
    for team_id, tenant_id, tenant, text in connection.execute(texts):
        try:
            keyring.decrypt(text)
        except UndecipherableError:
            group(team_id, tenant_id, tenant).undecipherable += 1


def _read_undecided(connection: Connection, group: GroupOf) -> None:
    place = (_d.team_id, _d.tenant_id)  # bare: the index that begins with these holds no more
    not_found = sa.or_(_d.finding.is_(None), _d.finding != Finding.PRESENT)
    undecided = sa.select(*place, sa.func.max(_d.tenant_name), sa.func.count())
    wanted = undecided.where(IS_UNDECIDED, not_found).group_by(*place)
    for *of_group, number in connection.execute(wanted):
        group(*of_group).undecided = number


def _read_untold(connection: Connection, at: float, group: GroupOf) -> None:
    # With 0.0 added, so that SQLite goes by what is to be told and not by what is settled.
    long_settled = _d.settled_at + sa.literal_column("0.0") < at - WAITS_LONG
    untold = sa.select(*_OF_GROUP, sa.func.count()).where(
        _d.tell_at > 0.0, _d.replied_at.is_(None), long_settled
    )
    for *of_group, number in connection.execute(untold.group_by(*_GROUP)):
        group(*of_group).untold = number


def _read_settled(connection: Connection, at: float, group: GroupOf) -> None:
    today = _number(_d.settled_at > at - DAY)
    by = (*_GROUP, _d.state, _d.problem)
    settled = sa.select(*_OF_GROUP, _d.state, _d.problem, today, sa.func.max(_d.settled_at))
    for *of_group, state, problem, number, last in connection.execute(
        settled.where(_d.settled_at > at - LAST_WITHIN).group_by(*by)
    ):
        found = group(*of_group)
        if state == State.RECORDED:
            found.recorded, found.last_success = number, last
            continue
        found.last_errors[Problem(problem)] = last
        if state == State.REJECTED and number:
            found.not_recorded[Problem(problem)] = number


def _read_tenants(
    connection: Connection, keyring: Keyring, at: float, groups: dict[tuple[str, int], Group]
) -> None:
    """Add each tenant's slots, whether its keys can be read, and places that did nothing yet."""
    held = (attempts.c.account_id == tenants.c.account_id, attempts.c.occupied_until > at)
    used = sa.select(sa.func.count()).where(*held).correlate(tenants).scalar_subquery()
    places = defaultdict(set)
    for tenant_id, team_id, enterprise_id in connection.execute(
        sa.select(workspaces.c.tenant_id, workspaces.c.team_id, workspaces.c.enterprise_id)
    ):
        places[tenant_id].add(team_id or enterprise_id)
    for team_id, tenant_id in groups:
        places[tenant_id].add(team_id)
    for row in connection.execute(sa.select(*tenants.c, used.label("slots_used"))).mappings():
        tenant = read_tenant(row, None)
        readable = _are_readable(row, keyring)
        for place in places[tenant.id] or {""}:
            found = groups.setdefault((place, tenant.id or 0), Group(place, tenant.name))
            found.tenant, found.keys_readable = tenant.name, readable
            found.slots_used, found.slots = row["slots_used"], tenant.calls_per_window


def _are_readable(row: Mapping[Any, Any], keyring: Keyring) -> bool:
    try:
        read_tenant(row, keyring)
    except UndecipherableError:
        return False
    return True


def needs(groups: Iterable[Group], at: float) -> Iterable[Need]:
    """Say what stays as it is until a person acts. docs/operating.md has the list."""
    groups = tuple(groups)
    successes: dict[str, float] = {}
    for group in groups:
        successes[group.tenant] = max(successes.get(group.tenant, 0.0), group.last_success or 0.0)
    for group in groups:
        for what, says, do in _needs_of(group, at, successes[group.tenant]):
            yield Need(group.workspace, group.tenant, what, says, do)


_COMMAND = "python -m bot"
_LOOK = f"check the tickets, then run: {_COMMAND} activities settle ID, or retry ID"
_DECRYPT = "add the earlier secret to ENCRYPTION_KEYS, at the end, and restart the bot"
_KEYS = "update the tenant's keys, then retry the activities"
_MAPPING = f"run: {_COMMAND} tenants list; map a tenant, then retry the activities"
_CHECK = f"read the log, and run: {_COMMAND} check"


def _needs_of(group: Group, at: float, last_success: float) -> Iterable[tuple[str, str, str]]:
    if group.undecided:
        yield "undecided", f"{group.undecided} may have been recorded: undecided", _LOOK
    if group.oldest is not None and at - group.oldest > WAITS_LONG:
        yield "waiting_long", f"the oldest has waited for {duration(at - group.oldest)}", _CHECK
    if group.untold:
        yield "untold", f"{group.untold} outcomes could not be posted in Slack", _CHECK
    if not group.keys_readable:
        yield "keys_undecipherable", "the tenant's keys cannot be decrypted", _DECRYPT
    if group.undecipherable:
        yield (
            "undecipherable",
            f"{group.undecipherable} waiting activities cannot be decrypted",
            _DECRYPT,
        )
    since = max(at - DAY, last_success)
    problems = {problem for problem, moment in group.last_errors.items() if moment > since}
    for problem in sorted(problems & KEYS_REFUSED):
        yield "keys_refused", PROBLEMS[problem], _KEYS
    for problem in sorted(problems & NOT_REACHED):
        yield "not_reached", PROBLEMS[problem], _CHECK
    for problem in sorted(problems & DISCONNECTED):
        yield "disconnected", PROBLEMS[problem], _MAPPING


_HEADS = (
    "WORKSPACE", "TENANT", "WAITING (OLDEST)", "SENDING", "UNDECIDED", "NOT RECORDED, 24 H",
    "RECORDED, 24 H", "SLOTS", "LAST SUCCESS", "LAST ERROR",
)  # fmt: skip


def lines(status: Status) -> list[str]:
    """Return a status as a table, and under it what needs a person."""
    if not status.groups:
        return [f"There is no tenant yet. Add one: {_COMMAND} tenants add NAME"]
    rows = [_row(group, status.at) for group in status.groups]
    if not status.needs:
        return [*table(_HEADS, rows), "", "Nothing needs a person."]
    heads = ("WORKSPACE", "TENANT", "WHAT", "WHAT TO DO")
    needed = [(_place(need.workspace), need.tenant, need.says, need.do) for need in status.needs]
    return [*table(_HEADS, rows), "", "Needs a person:", *table(heads, needed)]


def _row(group: Group, at: float) -> Sequence[str]:
    waiting = str(group.waiting)
    if group.waiting and group.oldest is not None:
        waiting += f" ({duration(at - group.oldest)})"
    if group.waiting_for:
        waiting += ": " + _counted(group.waiting_for)
    error = group.last_error
    return (
        _place(group.workspace),
        group.tenant,
        waiting,
        str(group.sending),
        str(group.undecided),
        _counted(group.not_recorded),
        str(group.recorded),
        f"{group.slots_used}/{group.slots}",
        ago(None if group.last_success is None else at - group.last_success),
        "" if error is None else f"{ago(at - error[1])}: {PROBLEMS[error[0]]}",
    )


def _place(workspace: str) -> str:
    return workspace or "not mapped"


def _counted(numbers: Mapping[Any, int]) -> str:
    return ", ".join(f"{what} {number}" for what, number in sorted(numbers.items()))


def as_json(status: Status) -> dict[str, Any]:
    """Return a status as docs/operating.md describes it for programs."""
    return {
        "at": _iso(status.at),
        "needs_a_person": [asdict(need) for need in status.needs],
        "workspaces": [_group_as_json(group, status.at) for group in status.groups],
    }


def _group_as_json(group: Group, at: float) -> dict[str, Any]:
    error = group.last_error
    return {
        "workspace": group.workspace,
        "tenant": group.tenant,
        "waiting": group.waiting,
        "waiting_for": _by_name(group.waiting_for),
        "oldest_seconds": None if group.oldest is None else round(at - group.oldest, 1),
        "sending": group.sending,
        "undecided": group.undecided,
        "untold": group.untold,
        "undecipherable": group.undecipherable,
        "keys_readable": group.keys_readable,
        "not_recorded_24h": _by_name(group.not_recorded),
        "recorded_24h": group.recorded,
        "slots_used": group.slots_used,
        "slots": group.slots,
        "last_success": None if group.last_success is None else _iso(group.last_success),
        "last_error": None
        if error is None
        else {"at": _iso(error[1]), "problem": str(error[0]), "says": PROBLEMS[error[0]]},
    }


def _by_name(numbers: Mapping[Any, int]) -> dict[str, int]:
    return {str(what): number for what, number in sorted(numbers.items())}


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
