"""What is stored of a workspace, a person or a ticket, and the statements that delete it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from bot.activities.retention import delete_activities
from bot.database.announcements import CHANNEL, INSTALLATIONS
from bot.database.statement import Row, Statement


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
        (row,) = self.count.all(connection, **only(self.count, values))
        return int(row["number"])


@dataclass(frozen=True, slots=True)
class Few(Kept):
    """Rows that one statement removes or blanks."""

    remove: Statement

    def remove_all(self, connection: Connection, values: dict[str, Any]) -> int:
        return self.remove.run(connection, **only(self.remove, values))


@dataclass(frozen=True, slots=True)
class Many(Kept):
    """Rows that go in batches: `some` finds the next ones, and `blank` is for one of them.

    Without `blank` they are activities that are deleted.
    """

    some: Statement
    blank: Statement | None = None

    def remove_some(self, connection: Connection, values: dict[str, Any]) -> list[Row]:
        rows = self.some.all(connection, **only(self.some, values))
        if self.blank is None:
            delete_activities(connection, [row["seq"] for row in rows])
            return rows
        for row in rows:
            self.blank.run(connection, **only(self.blank, values | {"seq": row["seq"]}))
        return rows


def only(statement: Statement, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that a statement asks for."""
    return {name: values[name] for name in statement.parameters}


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
ANNOUNCE = Statement(
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
        last_line = NULL, title = NULL, fingerprint = NULL,
        erased_at = COALESCE(erased_at, bot_now()), tell_at = NULL,
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

NEXT_TEAM = Statement(
    "The next workspace that has recorded something.",
    "SELECT team_id FROM deliveries WHERE team_id > :team_id ORDER BY team_id, key LIMIT 1",
    index=("uq_deliveries_team_id_key",),
)


# -- a ticket

TEXTS = Kind("text", "texts")

BLANK_TEXT = Statement(
    "A customer's words are deleted.",
    """
    UPDATE deliveries
    SET text = :nothing, response_url = NULL, detail = NULL, last_line = NULL,
        title = NULL, fingerprint = NULL, erased_at = bot_now()
    WHERE seq = :seq AND settled_at IS NOT NULL AND erased_at IS NULL
    """,
    index=("pk_deliveries",),
)
