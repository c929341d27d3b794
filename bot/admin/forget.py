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
from bot.activities.retention import delete_activities
from bot.admin.audit import Action, record
from bot.admin.history import Whose, pages
from bot.admin.snapshot import read
from bot.admin.words import shown
from bot.database.announcements import CHANNEL, INSTALLATIONS
from bot.database.statement import Row, Statement
from bot.database.writer import Database, DatabaseUnavailableError

T = TypeVar("T")

BATCH = 100
"""Rows in one transaction, so that what people wait for is not held up."""

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
class Kind:
    """What is stored, in words."""

    one: str
    many: str

    def counted(self, number: int) -> str:
        return f"{number:,} {self.one if number == 1 else self.many}"


@dataclass(frozen=True, slots=True)
class Kept(Kind):
    """Rows of one kind: how many there are."""

    count: Statement

    def number(self, connection: Connection, values: dict[str, Any]) -> int:
        (row,) = self.count.all(connection, **_only(self.count, values))
        return int(row["number"])


@dataclass(frozen=True, slots=True)
class Few(Kept):
    """Rows that one statement removes or blanks."""

    remove: Statement

    def remove_all(self, connection: Connection, values: dict[str, Any]) -> int:
        return self.remove.run(connection, **_only(self.remove, values))


@dataclass(frozen=True, slots=True)
class Many(Kept):
    """Rows that go in batches: `some` finds the next ones, and `blank` is for one of them.

    Without `blank` they are activities that are deleted.
    """

    some: Statement
    blank: Statement | None = None

    def remove_some(self, connection: Connection, values: dict[str, Any]) -> list[Row]:
        rows = self.some.all(connection, **_only(self.some, values))
        if self.blank is None:
            delete_activities(connection, [row["seq"] for row in rows])
            return rows
        for row in rows:
            self.blank.run(connection, **_only(self.blank, values | {"seq": row["seq"]}))
        return rows


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


# -- a workspace

_COUNT_ACTIVITIES = Statement(
    "How many activities a workspace has.",
    "SELECT count(*) AS number FROM deliveries WHERE team_id = :team_id",
    index=("uq_deliveries_team_id_key",),
)
# An attempt that still holds a slot of the rate limit keeps its activity for these seconds.
_SOME_ACTIVITIES = Statement(
    "Settled activities of a workspace.",
    """
    SELECT seq FROM deliveries
    WHERE team_id = :team_id AND settled_at IS NOT NULL
    AND NOT EXISTS (
        SELECT 1 FROM attempts
        WHERE delivery_seq = deliveries.seq AND occupied_until > bot_now()
    )
    ORDER BY channel_id, seq LIMIT :at_most
    FOR UPDATE SKIP LOCKED
    """,
    index=("ix_deliveries_conversation", "pk_attempts"),
)
_ONLY_HERE = """
    SELECT workspaces.tenant_id FROM workspaces
    WHERE workspaces.team_id = :team_id
    AND NOT EXISTS (
        SELECT 1 FROM workspaces AS other
        WHERE other.tenant_id = workspaces.tenant_id AND other.team_id != :team_id
    )
"""
_BY_TEAM = "uq_workspaces_team_id_channel_id_enterprise_id"
_COUNT_TENANTS = Statement(
    "How many tenants serve this workspace and no other.",
    f"SELECT count(*) AS number FROM tenants WHERE id IN ({_ONLY_HERE})",
    index=(_BY_TEAM, "ix_workspaces_tenant_id", "pk_tenants"),
)
_REMOVE_TENANTS = Statement(
    "The tenants that serve this workspace and no other go, with their keys and mappings.",
    f"DELETE FROM tenants WHERE id IN ({_ONLY_HERE})",
    index=(_BY_TEAM, "ix_workspaces_tenant_id", "pk_tenants"),
)
_COUNT_MAPPINGS = Statement(
    "How many mappings a workspace has.",
    "SELECT count(*) AS number FROM workspaces WHERE team_id = :team_id",
    index=(_BY_TEAM,),
)
_REMOVE_MAPPINGS = Statement(
    "A workspace is mapped to nothing any more.",
    "DELETE FROM workspaces WHERE team_id = :team_id",
    index=(_BY_TEAM,),
)
_COUNT_INSTALLATIONS = Statement(
    "Whether a workspace has installed the bot.",
    """
    SELECT count(*) AS number FROM installations
    WHERE installed_in = :team_id AND (ended_because IS NULL OR ended_because != :forgotten)
    """,
    index=("uq_installations_installed_in",),
)
# The row stays, so that each process sees that the installation has ended.
_BLANK_INSTALLATION = Statement(
    "A workspace's installation has ended. Nothing of it is left but its end.",
    """
    UPDATE installations
    SET bot_token = NULL, refresh_token = NULL, expires_at = NULL, refresh_lease_until = NULL,
        enterprise_id = NULL, name = NULL, app_id = NULL, bot_user_id = NULL, installed_by = NULL,
        scopes = '', ended_at = bot_now(), ended_because = :forgotten, changed_at = bot_now()
    WHERE installed_in = :team_id
    """,
    index=("uq_installations_installed_in",),
)
_ANNOUNCE = Statement(
    "Each process reads the installations again.",
    f"SELECT pg_notify('{CHANNEL}', :process || ' {INSTALLATIONS}')",
)

_COUNT_CHANGES = Statement(
    "How many changes of its connections a workspace has in the audit trail.",
    "SELECT count(*) AS number FROM tenant_changes WHERE team_id = :team_id",
    index=("pk_tenant_changes",),
)
_REMOVE_CHANGES = Statement(
    "A workspace's changes leave the audit trail.",
    "DELETE FROM tenant_changes WHERE team_id = :team_id",
    index=("pk_tenant_changes",),
)
_COUNT_NAMED = Statement(
    "How many people may connect a workspace, beside its admins.",
    "SELECT count(*) AS number FROM setup_people WHERE team_id = :team_id",
    index=("pk_setup_people",),
)
_REMOVE_NAMED = Statement(
    "They may no more.",
    "DELETE FROM setup_people WHERE team_id = :team_id",
    index=("pk_setup_people",),
)
_COUNT_HOMES = Statement(
    "How many people of a workspace have opened App Home.",
    "SELECT count(*) AS number FROM homes WHERE team_id = :team_id",
    index=("pk_homes",),
)
_REMOVE_HOMES = Statement(
    "Nothing is published for them any more.",
    "DELETE FROM homes WHERE team_id = :team_id",
    index=("pk_homes",),
)

ACTIVITIES = Many(
    "activity with its attempts",
    "activities with their attempts",
    _COUNT_ACTIVITIES,
    _SOME_ACTIVITIES,
)
BELONGINGS = (
    Few("tenant with its keys", "tenants with their keys", _COUNT_TENANTS, _REMOVE_TENANTS),
    Few("mapping", "mappings", _COUNT_MAPPINGS, _REMOVE_MAPPINGS),
    Few("installation", "installations", _COUNT_INSTALLATIONS, _BLANK_INSTALLATION),
    Few("change of its connections", "changes of its connections", _COUNT_CHANGES, _REMOVE_CHANGES),
    Few("named person", "named people", _COUNT_NAMED, _REMOVE_NAMED),
    Few("App Home", "App Homes", _COUNT_HOMES, _REMOVE_HOMES),
)
"""All that a workspace has besides its activities, in the order in which it is removed.

A table that holds something of a workspace needs an entry here.
"""


# -- a person

_COUNT_RECORDED = Statement(
    "How many activities a person has recorded in a workspace.",
    """
    SELECT count(*) AS number FROM deliveries
    WHERE team_id = :team_id AND user_id = :user_id AND settled_at IS NOT NULL
    """,
    index=("ix_deliveries_person",),
)
# Each search goes on behind the last one's rows. From the beginning, it would go each time through
# all that it has blanked.
_SOME_RECORDED = Statement(
    "Settled activities of a person.",
    """
    SELECT seq FROM deliveries
    WHERE team_id = :team_id AND user_id = :user_id AND settled_at IS NOT NULL AND seq > :beyond
    ORDER BY seq LIMIT :at_most
    FOR UPDATE SKIP LOCKED
    """,
    index=("ix_deliveries_person",),
)
# A direct message's channel is the person's own, as good as a name.
_BLANK_RECORDED = Statement(
    "A settled activity keeps what the audit trail needs, and not whose it was.",
    """
    UPDATE deliveries
    SET user_id = :forgotten, text = :nothing, response_url = NULL, detail = NULL,
        fingerprint = NULL, erased_at = COALESCE(erased_at, bot_now()), tell_at = NULL,
        tell_lease_until = NULL, verify_at = NULL,
        channel_id = CASE WHEN substr(channel_id, 1, 1) = 'D' THEN :forgotten ELSE channel_id END
    WHERE seq = :seq
    """,
    index=("pk_deliveries",),
)
_COUNT_DECIDED = Statement(
    "About how many activities of a workspace a person has decided.",
    """
    SELECT count(*) AS number FROM deliveries
    WHERE team_id = :team_id AND resolution IS NOT NULL AND resolved_at > 0
    AND resolved_by = :user_id
    """,
    index=("ix_deliveries_resolved",),
)
_SOME_DECIDED = Statement(
    "Activities about which a person has decided.",
    """
    SELECT seq, resolved_at FROM deliveries
    WHERE team_id = :team_id AND resolution IS NOT NULL AND (resolved_at, seq) > (:since, :beyond)
    AND resolved_by = :user_id
    ORDER BY resolved_at, seq LIMIT :at_most
    FOR UPDATE SKIP LOCKED
    """,
    index=("ix_deliveries_resolved",),
)
_BLANK_DECIDED = Statement(
    "What a person decided stays decided.",
    "UPDATE deliveries SET resolved_by = :forgotten WHERE seq = :seq",
    index=("pk_deliveries",),
)
_COUNT_INSTALLED = Statement(
    "Whether a person has installed the bot in a workspace.",
    """
    SELECT count(*) AS number FROM installations
    WHERE installed_in = :team_id AND installed_by = :user_id
    """,
    index=("uq_installations_installed_in",),
)
_BLANK_INSTALLED = Statement(
    "An installation stays, and not whose it was.",
    """
    UPDATE installations SET installed_by = NULL, changed_at = bot_now()
    WHERE installed_in = :team_id AND installed_by = :user_id
    """,
    index=("uq_installations_installed_in",),
)

_COUNT_CHANGED = Statement(
    "How many changes of a workspace's connections a person has made.",
    "SELECT count(*) AS number FROM tenant_changes WHERE team_id = :team_id AND user_id = :user_id",
    index=("pk_tenant_changes",),
)
_BLANK_CHANGED = Statement(
    "A change stays, and not whose it was.",
    """
    UPDATE tenant_changes SET user_id = :forgotten
    WHERE team_id = :team_id AND user_id = :user_id
    """,
    index=("pk_tenant_changes",),
)
_COUNT_PERSON_NAMED = Statement(
    "Whether a person may connect a workspace, or has named another one.",
    """
    SELECT count(*) AS number FROM setup_people
    WHERE team_id = :team_id AND (user_id = :user_id OR named_by = :user_id)
    """,
    index=("pk_setup_people",),
)
_REMOVE_PERSON_NAMED = Statement(
    "The person may no more, and neither may those whom the person named.",
    """
    DELETE FROM setup_people
    WHERE team_id = :team_id AND (user_id = :user_id OR named_by = :user_id)
    """,
    index=("pk_setup_people",),
)
_COUNT_HOME = Statement(
    "Whether a person has opened App Home.",
    "SELECT count(*) AS number FROM homes WHERE team_id = :team_id AND user_id = :user_id",
    index=("pk_homes",),
)
_REMOVE_HOME = Statement(
    "Nothing is published for a person any more.",
    "DELETE FROM homes WHERE team_id = :team_id AND user_id = :user_id",
    index=("pk_homes",),
)

OF_A_PERSON: tuple[Few | Many, ...] = (
    Many("activity", "activities", _COUNT_RECORDED, _SOME_RECORDED, _BLANK_RECORDED),
    Many("decision", "decisions", _COUNT_DECIDED, _SOME_DECIDED, _BLANK_DECIDED),
    Few("installation", "installations", _COUNT_INSTALLED, _BLANK_INSTALLED),
    Few("change of a connection", "changes of connections", _COUNT_CHANGED, _BLANK_CHANGED),
    Few("naming", "namings", _COUNT_PERSON_NAMED, _REMOVE_PERSON_NAMED),
    Few("App Home", "App Homes", _COUNT_HOME, _REMOVE_HOME),
)
"""All that names a person. A table that does needs an entry here."""

_NEXT_TEAM = Statement(
    "The next workspace that has recorded something.",
    "SELECT team_id FROM deliveries WHERE team_id > :team_id ORDER BY team_id, key LIMIT 1",
    index=("uq_deliveries_team_id_key",),
)


# -- a ticket

TEXTS = Kind("text", "texts")

_BLANK_TEXT = Statement(
    "A customer's words are deleted.",
    """
    UPDATE deliveries
    SET text = :nothing, response_url = NULL, detail = NULL, fingerprint = NULL,
        erased_at = bot_now()
    WHERE seq = :seq AND settled_at IS NOT NULL AND erased_at IS NULL
    """,
    index=("pk_deliveries",),
)


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


def _only(statement: Statement, values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in statement.parameters}


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
        while row := await read(self._database, partial(_NEXT_TEAM.one, team_id=team_id)):
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
        return tuple(map(_named, _OPEN.all(connection, **_only(_OPEN, values))))

    def _untold(self, connection: Connection, target: Target) -> int:
        (row,) = _COUNT_UNTOLD.all(connection, **_only(_COUNT_UNTOLD, target.values))
        return int(row["number"])

    async def stop_waiting(self, target: Target) -> tuple[str, ...]:
        """Reject what waits, and let the bot say so in Slack. Return what has no outcome even then.

        A call that is under way is waited for.
        """
        values = target.values | {"at_most": BATCH}
        started = time.monotonic()
        while True:
            while await self._run(partial(_STOP.run, **_only(_STOP, values))):
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
            return sum(_BLANK_TEXT.run(connection, seq=seq, nothing=b"") for seq in some)

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
            _ANNOUNCE.one(connection, process=self._database.process)
            return counted

        removed = await self._run(belongings)
        return ((ACTIVITIES, await self._until_gone(ACTIVITIES, target)), *removed)

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
