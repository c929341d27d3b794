"""python -m bot activities: lists them, and does for an admin what the buttons do in Slack."""

import asyncio
import getpass
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.activities.acceptance import Acceptance, Accepted, NotDone, Refused, Unmapped
from bot.activities.delivery import (
    OPERATOR,
    Delivery,
    Finding,
    Resolution,
    State,
    Submission,
    Waiting,
)
from bot.admin.snapshot import read
from bot.admin.words import WAITS, ago, shown, table
from bot.database.tables import IS_OPEN, IS_REJECTED, MAY_BE_ON_TICKET, accounts, deliveries, now
from bot.database.writer import CommitUnknownError, Database, DatabaseUnavailableError
from bot.encryption import Keyring
from bot.leadsquared.outcome import Problem
from bot.slack.explanations import PROBLEMS
from bot.tenants.directory import Scope
from bot.tenants.rules import BY_OPERATOR, AskGroup, NotAllowed

DAY = 24 * 3600.0
TRIES, PAUSE = 5, 0.2
"""How often, and after how many seconds, an operator's decision is tried on a busy database."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to list: what is on its way or was settled within so many days; of a ticket, all."""

    state: State | None = None
    ticket_id: str | None = None
    team_id: str | None = None
    days: int = 30
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of the list: nothing of it is a customer's."""

    id: str
    workspace: str
    tenant: str
    ticket: str
    state: State
    accepted_at: float
    age: float
    attempts: int
    activity_id: str | None
    waiting: Waiting | None
    problem: Problem | None
    resolution: Resolution | None
    resolved_by: str | None

    @property
    def says(self) -> str | None:
        """What is wrong with it, in words."""
        if self.problem is not None:
            return PROBLEMS[self.problem]
        return None if self.waiting is None else WAITS[self.waiting]


_d = deliveries.c
_COLUMNS = (
    _d.seq, _d.id, _d.team_id, _d.tenant_name, _d.ticket_id, _d.state, _d.accepted_at,
    _d.attempts, _d.activity_id, _d.waiting, _d.problem, _d.resolution, _d.resolved_by,
)  # fmt: skip


async def listed(database: Database, wanted: Wanted) -> list[Listed]:
    """Return the newest of what is wanted, the newest last."""
    return await read(database, lambda connection: _listed(connection, wanted))


def _listed(connection: Connection, wanted: Wanted) -> list[Listed]:
    moment: float = connection.execute(sa.select(now())).scalar_one()
    # Not the bare column: SQLite would put the value into the condition of a partial index,
    # and would not know the condition any more.
    state = _d.state.concat(sa.literal_column("''"))
    asked = ((state, wanted.state), (_d.team_id, wanted.team_id), (_d.ticket_id, wanted.ticket_id))
    also = [column == value for column, value in asked if value is not None]
    rows: dict[int, Any] = {}
    on_sqlite = connection.dialect.name == "sqlite"
    for where, order in _ways(wanted, moment, on_sqlite=on_sqlite):
        query = sa.select(*_COLUMNS).where(where, *also).order_by(order.desc()).limit(wanted.limit)
        rows |= {row.seq: row for row in connection.execute(query)}
    newest = sorted(rows)[-wanted.limit :]
    return [_from_row(rows[seq], moment) for seq in newest]


def _ways(
    wanted: Wanted, moment: float, *, on_sqlite: bool
) -> list[tuple[sa.ColumnElement[bool], sa.ColumnElement[Any]]]:
    """Return a query for each index that leads to a part of what is wanted."""
    # By the bare column, the order would lead along the whole table.
    order = _d.seq + sa.literal_column("0")
    if wanted.ticket_id is None:
        settled = _d.settled_at > moment - wanted.days * DAY
        return [(IS_OPEN, order), (settled, _d.settled_at)]
    known = sa.select(accounts.c.id)
    # As an array: PostgreSQL searches the index once for each. With a set it would join all rows.
    any_of = sa.any_(sa.func.array(known.scalar_subquery()))
    of_an_account = _d.account_id.in_(known) if on_sqlite else _d.account_id == any_of
    on_ticket = sa.and_(MAY_BE_ON_TICKET, of_an_account)
    return [(IS_OPEN, order), (IS_REJECTED, order), (on_ticket, order)]


def _from_row(row: Any, moment: float) -> Listed:  # noqa: ANN401 - SQLAlchemy's row
    return Listed(
        id=row.id,
        workspace=row.team_id,
        tenant=row.tenant_name,
        ticket=row.ticket_id,
        state=State(row.state),
        accepted_at=row.accepted_at,
        age=max(moment - row.accepted_at, 0.0),
        attempts=row.attempts,
        activity_id=row.activity_id,
        waiting=Waiting(row.waiting) if row.waiting and row.state == State.ACCEPTED else None,
        problem=Problem(row.problem) if row.problem else None,
        resolution=Resolution(row.resolution) if row.resolution else None,
        resolved_by=row.resolved_by,
    )


_HEADS = (
    "ID", "WORKSPACE", "TENANT", "TICKET", "STATE", "ACCEPTED", "ATTEMPTS", "ACTIVITY ID",
    "PROBLEM", "DECIDED",
)  # fmt: skip


def lines(found: Sequence[Listed]) -> list[str]:
    return table(_HEADS, [_line(one) for one in found]) if found else ["There is no such activity."]


def _line(one: Listed) -> Sequence[str]:
    decided = "" if one.resolution is None else f"{one.resolution} by {one.resolved_by}"
    place = (one.id, one.workspace, one.tenant, one.ticket)
    became = (str(one.state), ago(one.age), str(one.attempts), one.activity_id or "")
    return (*place, *became, one.says or "", decided)


def as_json(found: Sequence[Listed]) -> dict[str, Any]:
    """Return a list as docs/operating.md describes it for programs."""
    return {"activities": [_one_as_json(one) for one in found]}


def _one_as_json(one: Listed) -> dict[str, Any]:
    return {
        "id": one.id,
        "workspace": one.workspace,
        "tenant": one.tenant,
        "ticket": one.ticket,
        "state": str(one.state),
        "accepted_at": datetime.fromtimestamp(one.accepted_at, UTC).isoformat(timespec="seconds"),
        "age_seconds": round(one.age, 1),
        "attempts": one.attempts,
        "activity_id": one.activity_id,
        "waiting": None if one.waiting is None else str(one.waiting),
        "problem": None if one.problem is None else str(one.problem),
        "says": one.says,
        "resolution": None if one.resolution is None else str(one.resolution),
        "resolved_by": one.resolved_by,
    }


class Action(StrEnum):
    """What an operator can decide."""

    RETRY = "retry"
    SETTLE = "settle"


DONE = {Action.RETRY: "sent again as {new}", Action.SETTLE: "closed: it is on the ticket"}
QUESTIONS = {
    Action.RETRY: "Send {these} again, as a new activity?",
    Action.SETTLE: "Close {these} as recorded on the ticket, without sending?",
}


@dataclass(frozen=True, slots=True)
class Decided:
    """What was done and what could not be, a line for each ID. `asked`: the answer was not no."""

    done: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    asked: bool = True


Ask = Callable[[list[str], str], bool]
"""Shows what would be done, in lines, puts a question, and returns the answer."""


class Operator:
    """Decides about activities, as the buttons do, under the admin's own name."""

    def __init__(self, database: Database, keyring: Keyring, name: str) -> None:
        self._database = database
        self._acceptance = Acceptance(database, keyring)
        self._name = f"{OPERATOR}{name}"

    async def decide(self, action: Action, ids: Sequence[str], ask: Ask | None) -> Decided:
        """Decide about each ID that can be. Without `ask` the answer is yes."""
        found: list[Delivery] = []
        problems: list[str] = []
        for id_ in dict.fromkeys(id_.strip().lower() for id_ in ids):
            delivery = await self._find(id_)
            problem = why_not(action, delivery, asked=ask is not None)
            if delivery is None or problem is not None:
                problems.append(f"{shown(id_)}: {problem}")
            else:
                found.append(delivery)
        if found and ask is not None:
            these = "this one" if len(found) == 1 else f"these {len(found)}"
            if not ask([*problems, *map(plan, found)], QUESTIONS[action].format(these=these)):
                return Decided(problems=tuple(problems), asked=False)
        done: list[str] = []
        for delivery in found:
            try:
                done.append(f"{delivery.id}: {await self._carry_out(action, delivery)}")
            except _NotDoneError as error:
                problems.append(f"{delivery.id}: {error}")
        return Decided(tuple(done), tuple(problems))

    async def _find(self, id_: str) -> Delivery | None:
        team = sa.select(_d.team_id).where(_d.id == id_)
        team_id = await read(self._database, lambda connection: connection.execute(team).scalar())
        return None if team_id is None else await self._acceptance.find(team_id, id_)

    async def _carry_out(self, action: Action, delivery: Delivery) -> str:
        for tries in range(TRIES):
            try:
                do = self._retry if action is Action.RETRY else self._settle
                result = await do(delivery)
            except CommitUnknownError:
                raise _NotDoneError("this may or may not be done; list it to see") from None
            except DatabaseUnavailableError as error:
                if tries == TRIES - 1:
                    raise _NotDoneError(f"not done, try again: the database says {error}") from None
                await asyncio.sleep(PAUSE)
                continue
            break
        match result:
            case Accepted(new):
                return DONE[action].format(new=new)
            case Unmapped() | NotAllowed() | AskGroup():  # no rule holds for the operator
                scope = Scope(delivery.enterprise_id or "", delivery.team_id)
                raise _NotDoneError(f"nothing was sent: no tenant is mapped for {scope}")
            case Refused(current):
                raise _NotDoneError(why_not(action, current, asked=True) or "nothing was done")
            case Delivery():
                return DONE[action]

    async def _retry(self, old: Delivery) -> Accepted | NotDone | Refused:
        submission = Submission(
            enterprise_id=old.enterprise_id,
            team_id=old.team_id,
            channel_id=old.channel_id,
            user_id=old.user_id,  # who asked for it is told the outcome
            key=old.again_key,
            ticket_id=old.ticket_id,
            text=old.text or "",
            recorder=BY_OPERATOR,
        )
        return await self._acceptance.send_again(old, submission, by=self._name)

    async def _settle(self, old: Delivery) -> Delivery | NotDone | Refused:
        return await self._acceptance.confirm(old.team_id, old, self._name, BY_OPERATOR)


class _NotDoneError(Exception):
    """One activity was left as it is; the message says why."""


def plan(delivery: Delivery) -> str:
    """Describe in a line what an operator is about to decide on."""
    became = "may have been recorded" if delivery.state is State.UNKNOWN else "not recorded"
    why = "" if delivery.problem is None else f", {PROBLEMS[delivery.problem]}"
    there = f"; LeadSquared shows it there, activity ID {delivery.activity_id}"
    there = there if _is_found(delivery) else ""
    workspace = f"workspace {delivery.team_id}, tenant {delivery.tenant_name}"
    place = f"ticket {delivery.ticket_id}, {workspace}"
    return shown(f"{delivery.id}: {place}: {became}{why}{there}")


_DECIDED = {
    Resolution.SENT_AGAIN: "sent again",
    Resolution.CONFIRMED: "closed as recorded on the ticket",
}


def why_not(action: Action, delivery: Delivery | None, *, asked: bool) -> str | None:
    """Say why an operator cannot decide this; None: nothing is in the way.

    `asked`: a person reads `plan` first.
    """
    if delivery is None:
        return "there is no activity with this ID"
    if not delivery.settled:
        return f"it has no outcome yet ({delivery.state}); the bot still works on it"
    if delivery.state is State.RECORDED:
        return shown(f"it is already recorded (activity ID {delivery.activity_id})")
    if delivery.resolution is not None:
        return shown(f"it was already {_DECIDED[delivery.resolution]}, by {delivery.resolved_by}")
    if action is Action.SETTLE:
        cannot_be = "it was not recorded, so it cannot be on the ticket"
        return None if delivery.state is State.UNKNOWN else cannot_be
    if delivery.text is None:
        if delivery.is_erased:
            return "its text has been deleted (RETENTION_DAYS); write the activity again in Slack"
        return "its text cannot be decrypted; add the earlier secret to ENCRYPTION_KEYS"
    if _is_found(delivery) and not asked:
        return "LeadSquared shows it on the ticket; settle it, or retry it without --yes"
    return None


def _is_found(delivery: Delivery) -> bool:
    return delivery.finding is Finding.PRESENT


def operator_name() -> str:
    """Name the account that runs this command."""
    try:
        import pwd  # noqa: PLC0415 - not on Windows

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        pass
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in some containers
        return f"uid-{os.getuid()}"
