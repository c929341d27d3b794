"""Deletes what is stored of a workspace, a person or a ticket: python -m bot forget."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy.engine import Connection

from bot.activities.delivery import FORGOTTEN
from bot.activities.retention import BATCH
from bot.admin import holdings
from bot.admin.audit import Action, record
from bot.admin.history import Whose, pages
from bot.admin.holdings import ACTIVITIES, BELONGINGS, OF_A_PERSON, TEXTS, Kind, Many, only
from bot.admin.snapshot import read
from bot.admin.words import shown
from bot.database.statement import Row, Statement
from bot.database.writer import Database, DatabaseUnavailableError

T = TypeVar("T")

PAUSE = 0.01
"""Seconds between two transactions."""

LOOK = 0.2
"""Seconds between two looks at what the bot still has to do."""

SETTLED_WITHIN = 60.0
"""Seconds in which a call that is under way has its outcome: a lease, and as long again."""

TOLD_WITHIN = 15.0
"""Seconds in which the bot posts an outcome, if it runs."""

SHOWN = 20
"""Activities without an outcome that are named."""

TRIES = 5
"""How often a batch is tried on a busy database."""


@dataclass(frozen=True, slots=True)
class Target:
    """A workspace, or a person or a ticket in it."""

    team_id: str
    user_id: str = ""
    ticket_id: str = ""

    @property
    def values(self) -> dict[str, Any]:
        return {
            "team_id": self.team_id,
            "user_id": self.user_id,
            "ticket_id": self.ticket_id,
            "forgotten": FORGOTTEN,
        }

    def __str__(self) -> str:
        ticket = f"ticket {self.ticket_id}" if self.ticket_id else ""
        return " in ".join(part for part in (self.user_id, ticket, self.team_id) if part)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be removed of a target.

    `open` are activities without an outcome, the first of them; `untold` counts outcomes that are
    not posted in Slack yet, and would not be.
    """

    target: Target
    kept: "Counted"
    open: tuple[str, ...]
    untold: int

    @property
    def is_empty(self) -> bool:
        return not self.open and not any(number for _, number in self.kept)

    def __str__(self) -> str:
        return enumerated(self.kept)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was removed.

    `left` are activities that had no outcome yet when it ended, `untold` outcomes that were never
    posted.
    """

    removed: "Counted" = ()
    left: tuple[str, ...] = ()
    untold: int = 0

    def __str__(self) -> str:
        return enumerated(self.removed)


Counted = tuple[tuple[Kind, int], ...]


def enumerated(found: Counted) -> str:
    """Return numbers in words, such as `3 activities and 1 mapping`."""
    counted = [kept.counted(number) for kept, number in found if number]
    if not counted:
        return "nothing"
    return " and ".join([", ".join(counted[:-1]), counted[-1]] if counted[1:] else counted)


# -- what has no outcome yet

# Not by the index that begins with the workspace: little is open, and much is settled.
_THEIRS = """
    (:team_id = '' OR team_id || '' = :team_id) AND (:user_id = '' OR user_id || '' = :user_id)
    AND (:ticket_id = '' OR ticket_id || '' = :ticket_id)
"""
_OPEN = Statement(
    "Activities without an outcome.",
    f"""
    SELECT id, ticket_id, state FROM deliveries
    WHERE state IN ('accepted', 'claimed', 'sending') AND {_THEIRS}
    ORDER BY seq + 0 LIMIT :at_most
    """,
    index=("ix_deliveries_open",),
)
_STOP = Statement(
    "What waits is rejected without a call, and its person is told.",
    f"""
    UPDATE deliveries
    SET state = 'rejected', problem = 'stopped', settled_at = bot_now(), tell_at = bot_now()
    WHERE state = 'accepted' AND seq IN (
        SELECT seq FROM deliveries
        WHERE state = 'accepted' AND due_at > 0 AND {_THEIRS}
        ORDER BY due_at LIMIT :at_most
        FOR UPDATE SKIP LOCKED
    )
    """,
    index=("ix_deliveries_due", "pk_deliveries"),
)
_COUNT_UNTOLD = Statement(
    "How many outcomes are not posted yet.",
    f"""
    SELECT count(*) AS number FROM deliveries
    WHERE tell_at IS NOT NULL AND settled_at IS NOT NULL AND {_THEIRS}
    """,
    index=("ix_deliveries_untold",),
)


class Forgetting:
    """Removes a workspace, or blanks a person or a ticket, under an administrator's name.

    `progress` is told how many rows are done.
    """

    def __init__(self, database: Database, who: str, progress: Callable[[int], None]) -> None:
        self._database = database
        self._who = who
        self._progress = progress
        self._done = 0

    async def plans(self, target: Target) -> list[Plan]:
        """Return what there is of a workspace, or of a person or a ticket in it.

        Of a person without a workspace: in each one that has recorded something.
        """
        if target.ticket_id:
            found = [await self._plan_ticket(target)]
        else:
            targets = [target] if target.team_id else await self._everywhere(target.user_id)
            found = [await read(self._database, partial(self._plan, one)) for one in targets]
        return [plan for plan in found if not plan.is_empty]

    async def _everywhere(self, user_id: str) -> list[Target]:
        targets: list[Target] = []
        team_id = ""
        while row := await read(self._database, partial(holdings.NEXT_TEAM.one, team_id=team_id)):
            team_id = row["team_id"]
            targets.append(Target(team_id, user_id))
        return targets

    def _plan(self, target: Target, connection: Connection) -> Plan:
        every = OF_A_PERSON if target.user_id else (ACTIVITIES, *BELONGINGS)
        kept = tuple((one, one.number(connection, target.values)) for one in every)
        return Plan(target, kept, self._open(connection, target), self._untold(connection, target))

    async def _plan_ticket(self, target: Target) -> Plan:
        number = len(await self._with_text(target))
        open_ = await read(self._database, partial(self._open, target=target))
        return Plan(target, ((TEXTS, number),), open_, 0)

    async def _with_text(self, target: Target) -> list[int]:
        """Return the numbers of a ticket's activities whose words are still there."""
        return [
            row["seq"]
            async for page in pages(self._database, Whose(target.team_id))
            for row in page.rows
            if row["ticket_id"] == target.ticket_id and row["erased_at"] is None
            if row["settled_at"] is not None
        ]

    def _open(self, connection: Connection, target: Target) -> tuple[str, ...]:
        values = target.values | {"at_most": SHOWN + 1}
        return tuple(map(_named, _OPEN.all(connection, **only(_OPEN, values))))

    def _untold(self, connection: Connection, target: Target) -> int:
        (row,) = _COUNT_UNTOLD.all(connection, **only(_COUNT_UNTOLD, target.values))
        return int(row["number"])

    async def stop_waiting(self, target: Target) -> tuple[str, ...]:
        """Reject what waits, and let the bot say so in Slack. Return what has no outcome even then.

        A call that is under way is waited for.
        """
        values = target.values | {"at_most": BATCH}
        started = time.monotonic()
        while True:
            while await self._run(partial(_STOP.run, **only(_STOP, values))):
                await asyncio.sleep(PAUSE)
            open_, untold = await read(self._database, partial(self._unfinished, target))
            spent = time.monotonic() - started
            if not open_ and (not untold or spent > TOLD_WITHIN):
                return ()
            if spent > SETTLED_WITHIN:
                return open_
            await asyncio.sleep(LOOK)

    def _unfinished(self, target: Target, connection: Connection) -> tuple[tuple[str, ...], int]:
        return self._open(connection, target), self._untold(connection, target)

    async def forget(self, plan: Plan) -> Forgotten:
        """Remove what there is of a target. Killed in the middle, it can be begun again."""
        target = plan.target
        what = "a person: " if target.user_id else ""
        what = f"ticket {target.ticket_id}: " if target.ticket_id else what
        await record(self._database, target.team_id, self._who, Action.FORGETTING, f"{what}{plan}")
        untold = 0
        if target.ticket_id:  # its outcomes are still posted
            removed = await self._ticket(target)
        else:
            untold = await read(self._database, partial(self._untold, target=target))
            removed = await (self._person(target) if target.user_id else self._team(target))
        left = await read(self._database, partial(self._open, target=target))
        done = Forgotten(removed, left, untold)
        await record(self._database, target.team_id, self._who, Action.FORGOT, f"{what}{done}")
        return done

    async def _ticket(self, target: Target) -> Counted:
        found = iter(await self._with_text(target))

        def blank(connection: Connection) -> int:
            return sum(holdings.BLANK_TEXT.run(connection, seq=seq, nothing=b"") for seq in some)

        number = 0
        while some := list(islice(found, BATCH)):
            number += await self._run(blank)
            await asyncio.sleep(PAUSE)
        return ((TEXTS, number),)

    async def _person(self, target: Target) -> Counted:
        removed: list[tuple[Kind, int]] = []
        for kept in OF_A_PERSON:
            if isinstance(kept, Many):
                number = await self._until_gone(kept, target)
            else:
                number = await self._run(partial(kept.remove_all, values=target.values))
            removed.append((kept, number))
        return tuple(removed)

    async def _team(self, target: Target) -> Counted:
        """Remove first what new activities need, then the activities."""

        def belongings(connection: Connection) -> Counted:
            counted = tuple((kept, kept.number(connection, target.values)) for kept in BELONGINGS)
            for kept in BELONGINGS:
                kept.remove_all(connection, target.values)
            holdings.ANNOUNCE.one(connection, process=self._database.process)
            return counted

        removed = await self._run(belongings)
        return (
            (ACTIVITIES, await self._until_gone(ACTIVITIES, target)),
            *removed,
        )

    async def _until_gone(self, kept: Many, target: Target) -> int:
        """Remove in batches; return how many rows.

        A row may be busy for seconds: another process has locked it, or its last call still counts
        for the rate limit. What has no outcome stays.
        """

        def left(connection: Connection) -> int:
            number = kept.number(connection, target.values)
            return number - len(self._open(connection, target)) if number else 0

        total = 0
        started = time.monotonic()
        while True:
            values = target.values | {"nothing": b"", "at_most": BATCH, "beyond": 0, "since": 0.0}
            while rows := await self._run(partial(kept.remove_some, values=values)):
                last = rows[-1]
                values |= {"beyond": last["seq"], "since": last.get("resolved_at")}
                total += len(rows)
                self._done += len(rows)
                self._progress(self._done)
                await asyncio.sleep(PAUSE)
            spent = time.monotonic() - started
            if await read(self._database, left) <= 0 or spent > SETTLED_WITHIN:
                return total
            await asyncio.sleep(LOOK)

    async def _run(self, do: Callable[[Connection], T]) -> T:
        """Carry out a short transaction; try again where the bot was in the way."""
        for _ in range(TRIES - 1):
            try:
                return await self._database.run(do)
            except DatabaseUnavailableError:
                await asyncio.sleep(LOOK)
        return await self._database.run(do)


def _named(row: Row) -> str:
    return shown(f"{row['id']}: ticket {row['ticket_id']}, {row['state']}")
