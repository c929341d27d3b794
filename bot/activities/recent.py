"""What people ask to see: the newest activities, a workspace's health, and who opened App Home."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from bot.activities.delivery import Delivery, Rows
from bot.database.statement import Row, Statement
from bot.database.writer import Database
from bot.encryption import Keyring
from bot.leadsquared.outcome import Problem

OF_A_PERSON, OF_A_CONVERSATION = 20, 10
"""Activities that are shown at most."""

PUBLISHED_EVERY = 1.0
"""Seconds between two publications of a person's App Home, over all processes."""

DAY = 24 * 3600.0
BEGIN_WITHIN, ANSWER_WITHIN = 1.5, 2.0
"""Seconds within which a command's look must begin, and end: Slack waits 3."""

_OPEN = "state IN ('accepted', 'claimed', 'sending') AND team_id || '' = :team_id"
"""What has no outcome yet in a workspace.

By the bare `team_id` both databases would go through the workspace's history.
"""


# What is open stands in no index by person, so that an acceptance writes none: there is little of
# it, all in one small index. Its order is no index's (`+ 0`): PostgreSQL would go through the
# history for it.
def _newest(column: str, at_most: int) -> str:
    """Return the SQL for a workspace's newest activities with one value of a column."""
    return f"""
        SELECT deliveries.*, bot_now() - accepted_at AS seconds_ago FROM deliveries
        WHERE seq IN (
            SELECT seq FROM (
                SELECT seq FROM deliveries
                WHERE {_OPEN} AND {column} = :{column}
                ORDER BY seq + 0 DESC LIMIT {at_most}
            ) AS open
            UNION ALL
            SELECT seq FROM (
                SELECT seq FROM deliveries
                WHERE settled_at IS NOT NULL AND team_id = :team_id AND {column} = :{column}
                ORDER BY seq DESC LIMIT {at_most}
            ) AS settled
        )
        ORDER BY seq + 0 DESC LIMIT {at_most}
    """


@dataclass(frozen=True, slots=True)
class Person:
    """A person in a workspace. `enterprise_id`: the organisation that it belongs to, if any."""

    team_id: str
    user_id: str
    enterprise_id: str | None = field(compare=False)


@dataclass(frozen=True, slots=True)
class Aged:
    """A delivery that was accepted `seconds_ago`."""

    delivery: Delivery
    seconds_ago: float


@dataclass(frozen=True, slots=True)
class Connected:
    """Which LeadSquared organisation a conversation belongs to. None: it is not connected.

    `org_id` is the whole workspace's; `channels` has the channels where it differs.
    """

    org_id: str | None
    channels: dict[str, str]

    def at(self, channel_id: str) -> str | None:
        """Return the organisation of one conversation."""
        return self.channels.get(channel_id, self.org_id)


@dataclass(frozen=True, slots=True)
class Health:
    """What waits and what failed in a workspace, `at` a moment. Ages are in seconds."""

    at: float
    waiting: int
    oldest: float  # of what waits
    undecided: int
    not_recorded: int  # within a day
    last_error: Problem | None  # within a day
    error_ago: float


@dataclass(frozen=True, slots=True)
class Page:
    """What a person's App Home shows. `health` is for admins."""

    connected: Connected
    newest: tuple[Aged, ...]
    health: Health | None


class Recent:
    """Reads what was recorded, each by an index. It changes nothing but `homes`."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._rows = Rows(keyring)

    # -- App Home

    _OPENED = Statement(
        "A person has opened App Home.",
        """
        INSERT INTO homes (team_id, user_id, opened_at) VALUES (:team_id, :user_id, bot_now())
        ON CONFLICT (team_id, user_id) DO UPDATE SET opened_at = excluded.opened_at
        """,
    )
    _PUBLISH = Statement(
        "This process publishes a person's App Home now, unless one did a moment ago.",
        f"""
        UPDATE homes SET published_at = bot_now()
        WHERE team_id = :team_id AND user_id = :user_id
        AND (published_at IS NULL OR published_at <= bot_now() - {PUBLISHED_EVERY})
        """,
        index=("pk_homes",),
    )
    _NEXT_PUBLICATION = Statement(
        "In how many seconds a person's App Home may be published again.",
        f"""
        SELECT published_at + {PUBLISHED_EVERY} - bot_now() AS next_in FROM homes
        WHERE team_id = :team_id AND user_id = :user_id
        """,
        index=("pk_homes",),
    )

    async def opened(self, person: Person) -> None:
        """Write down that a person has opened App Home. Raises DatabaseUnavailableError."""
        who = {"team_id": person.team_id, "user_id": person.user_id}

        def write(connection: Connection) -> None:
            self._OPENED.run(connection, **who)

        await self._database.run(
            write, repeatable=True, within=BEGIN_WITHIN, answer_within=ANSWER_WITHIN
        )

    async def may_publish(self, person: Person) -> float | None:
        """Return 0.0 when this process is to publish a person's App Home now.

        Else return in how many seconds to ask again; None for a person who never opened it.
        """
        who = {"team_id": person.team_id, "user_id": person.user_id}

        def write(connection: Connection) -> float | None:
            if self._PUBLISH.run(connection, **who) == 1:
                return 0.0
            row = self._NEXT_PUBLICATION.one(connection, **who)
            return None if row is None else max(row["next_in"], 0.01)

        return await self._database.run(write)

    async def page(self, person: Person, *, with_health: bool) -> Page:
        """Return what a person's App Home shows."""

        def read(connection: Connection) -> Page:
            newest = self._OF_PERSON.all(connection, team_id=person.team_id, user_id=person.user_id)
            return Page(
                self._connected(connection, person.enterprise_id, person.team_id),
                self._aged(connection, newest),
                self._health(connection, person.team_id) if with_health else None,
            )

        return await self._database.run(read)

    # -- the commands

    async def of_conversation(self, team_id: str, channel_id: str) -> tuple[Aged, ...]:
        """Return a conversation's newest activities, of this workspace only."""

        def read(connection: Connection) -> tuple[Aged, ...]:
            rows = self._OF_CONVERSATION.all(connection, team_id=team_id, channel_id=channel_id)
            return self._aged(connection, rows)

        return await self._database.run(read, within=BEGIN_WITHIN, answer_within=ANSWER_WITHIN)

    async def status(self, enterprise_id: str | None, team_id: str) -> tuple[Connected, Health]:
        """Return to which organisation a workspace is connected, and its health."""

        def read(connection: Connection) -> tuple[Connected, Health]:
            connected = self._connected(connection, enterprise_id, team_id)
            return connected, self._health(connection, team_id)

        return await self._database.run(read, within=BEGIN_WITHIN, answer_within=ANSWER_WITHIN)

    _OF_PERSON = Statement(
        "The newest activities of a person.",
        _newest("user_id", OF_A_PERSON),
        index=("ix_deliveries_open", "ix_deliveries_person", "pk_deliveries"),
    )
    _OF_CONVERSATION = Statement(
        "The newest activities of a conversation.",
        _newest("channel_id", OF_A_CONVERSATION),
        index=("ix_deliveries_open", "ix_deliveries_conversation", "pk_deliveries"),
    )

    def _aged(self, connection: Connection, rows: Iterable[Row]) -> tuple[Aged, ...]:
        return tuple(
            Aged(
                self._rows.with_successor(self._rows.delivery(row), connection),
                row["seconds_ago"],
            )
            for row in rows
        )

    # Two searches, as for a conversation's tenant. The first row of each channel counts.
    _CONNECTIONS = Statement(
        "The LeadSquared organisations of a workspace's conversations.",
        """
        SELECT workspaces.channel_id, tenants.org_id
        FROM workspaces JOIN tenants ON tenants.id = workspaces.tenant_id
        WHERE (
            workspaces.team_id = :team_id AND workspaces.enterprise_id IN (:enterprise_id, '')
        ) OR (
            workspaces.team_id = '' AND workspaces.enterprise_id = :enterprise_id
        )
        ORDER BY workspaces.channel_id, workspaces.team_id DESC, workspaces.enterprise_id DESC
        """,
        index=("uq_workspaces_team_id_channel_id_enterprise_id", "pk_tenants"),
    )

    def _connected(
        self, connection: Connection, enterprise_id: str | None, team_id: str
    ) -> Connected:
        asked = {"team_id": team_id, "enterprise_id": enterprise_id or None}
        found: dict[str, str] = {}
        for row in self._CONNECTIONS.all(connection, **asked):
            found.setdefault(row["channel_id"], row["org_id"])
        whole = found.pop("", None)
        return Connected(whole, {channel: org for channel, org in found.items() if org != whole})

    _WAITING_IN_TEAM = Statement(
        "How many activities of a workspace have no outcome yet, and the age of the oldest.",
        f"""
        SELECT bot_now() AS at, count(*) AS number, bot_now() - min(accepted_at) AS oldest
        FROM deliveries
        WHERE {_OPEN}
        """,
        index=("ix_deliveries_open",),
    )
    _UNDECIDED_IN_TEAM = Statement(
        "How many activities of a workspace may have been recorded, and no person has decided.",
        """
        SELECT count(*) AS number FROM deliveries
        WHERE state = 'unknown' AND resolution IS NULL AND team_id = :team_id
        """,
        index=("ix_deliveries_undecided",),
    )
    _NOT_RECORDED_IN_TEAM = Statement(
        "How many activities of a workspace were not recorded within a day.",
        f"""
        SELECT count(*) AS number FROM deliveries
        WHERE problem IS NOT NULL AND team_id = :team_id
        AND settled_at > (SELECT bot_now()) - {DAY} AND state = 'rejected'
        """,
        index=("ix_deliveries_problem",),
    )
    _LAST_ERROR_IN_TEAM = Statement(
        "What failed last in a workspace within a day.",
        f"""
        SELECT problem, bot_now() - settled_at AS seconds_ago FROM deliveries
        WHERE problem IS NOT NULL AND team_id = :team_id
        AND settled_at > (SELECT bot_now()) - {DAY}
        ORDER BY settled_at DESC LIMIT 1
        """,
        index=("ix_deliveries_problem",),
    )

    def _health(self, connection: Connection, team_id: str) -> Health:
        (waiting,) = self._WAITING_IN_TEAM.all(connection, team_id=team_id)
        (undecided,) = self._UNDECIDED_IN_TEAM.all(connection, team_id=team_id)
        (not_recorded,) = self._NOT_RECORDED_IN_TEAM.all(connection, team_id=team_id)
        error = self._LAST_ERROR_IN_TEAM.one(connection, team_id=team_id)
        return Health(
            at=waiting["at"],
            waiting=waiting["number"],
            oldest=waiting["oldest"] or 0.0,
            undecided=undecided["number"],
            not_recorded=not_recorded["number"],
            last_error=None if error is None else Problem(error["problem"]),
            error_ago=0.0 if error is None else error["seconds_ago"],
        )
