"""The tables, each with its indexes, and the database's clock in SQL."""

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

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
# SQLite numbers rows automatically only in a column of exactly this type.
Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

accounts = sa.Table(
    "accounts",
    metadata,
    # A LeadSquared account: its rate limit is shared by every tenant that names it. Never deleted.
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    sa.Column("api_host", sa.Text, nullable=False),  # with its port, where the address has one
    sa.Column("org_id", sa.Text, nullable=False),
    sa.Column("resume_at", Moment),  # after LeadSquared's rate limit answered: no call before this
    sa.UniqueConstraint("api_host", "org_id"),
)

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
    sa.Column("account_id", Number, sa.ForeignKey("accounts.id"), nullable=False, index=True),
    # The ID of the workspace that made it in Slack; '' where the operator made it.
    sa.Column("owner", sa.Text, nullable=False, server_default=""),
    # Who recorded it, as the last line of what LeadSquared gets: none, name, name-and-link.
    sa.Column("attribution", sa.Text, nullable=False, server_default="none"),
    # Whether the bot reads a ticket's title before it records on it.
    sa.Column("show_ticket", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    # A new tenant with a removed tenant's number would inherit its deliveries.
    sqlite_autoincrement=True,
)

workspaces = sa.Table(
    "workspaces",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    # Empty where the mapping does not ask: '' and not NULL, so that the unique constraint sees it.
    sa.Column("enterprise_id", sa.Text, nullable=False, server_default=""),
    sa.Column("team_id", sa.Text, nullable=False, server_default=""),
    sa.Column("channel_id", sa.Text, nullable=False, server_default=""),
    sa.Column(
        "tenant_id",
        Number,
        sa.ForeignKey("tenants.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
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
    sa.Column(
        "key", sa.Text, nullable=False
    ),  # against doubles: what Slack gives once, such as a trigger_id
    sa.Column(
        "tenant_id", Number, nullable=False
    ),  # no foreign key: a tenant may go, its audit trail stays
    sa.Column("tenant_name", sa.Text, nullable=False),
    sa.Column(
        "account_id", Number, nullable=False
    ),  # the account that it was accepted for, and may go to
    sa.Column("ticket_id", sa.Text, nullable=False),
    sa.Column("text", sa.LargeBinary, nullable=False),  # encrypted
    # The tenant's at the acceptance; and the line itself, as it was first sent.
    sa.Column("attribution", sa.Text, nullable=False, server_default="none"),
    sa.Column("last_line", sa.LargeBinary),  # encrypted: it names a person
    sa.Column("title", sa.LargeBinary),  # encrypted: the ticket's, where it was read
    sa.Column("response_url", sa.LargeBinary),  # encrypted
    sa.Column("thread_ts", sa.Text),
    sa.Column("message_ts", sa.Text),  # the message that was recorded, where it came from one
    sa.Column(
        "through_ts", sa.Text
    ),  # where the whole thread was recorded: the last of its messages that is among it
    sa.Column(
        "fingerprint", sa.LargeBinary
    ),  # keyed: the same words by the same person on the same ticket
    sa.Column("retry_of", sa.Text),
    # What became of it.
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("accepted_at", Moment, nullable=False),
    sa.Column("due_at", Moment, nullable=False),
    sa.Column("lease_until", Moment),
    sa.Column("claimed_by", sa.Text),  # the claim under which it is, or was, on its way
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("first_attempt_at", Moment),
    sa.Column("waiting", sa.Text),
    sa.Column("settled_at", Moment),
    sa.Column("activity_id", sa.Text),
    sa.Column("problem", sa.Text),
    sa.Column("detail", sa.LargeBinary),  # encrypted: LeadSquared may quote the customer
    sa.Column("resolution", sa.Text),
    sa.Column("resolved_by", sa.Text),
    sa.Column("resolved_at", Moment),
    # Where nothing is known: whether its text was found on the ticket.
    sa.Column("verify_at", Moment),
    sa.Column("verifications", sa.Integer, nullable=False, server_default="0"),
    sa.Column("finding", sa.Text),
    # What was told in Slack.
    sa.Column("route", sa.Text, nullable=False),
    sa.Column("anchor_ts", sa.Text),
    sa.Column("anchor_mark", sa.Text),
    sa.Column("noted", sa.Text),
    sa.Column("note_ts", sa.Text),
    sa.Column("finding_told", sa.Text),
    sa.Column("replied_at", Moment),
    sa.Column("answer_ts", sa.Text),
    sa.Column("resolution_told", sa.Text),
    sa.Column("tell_at", Moment),
    sa.Column("tell_lease_until", Moment),
    sa.Column("tell_attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("erased_at", Moment),  # its words were deleted: `text` is empty
    sa.UniqueConstraint("team_id", "key"),
    sa.Index("ix_deliveries_fingerprint", "fingerprint"),
)
# Written out, not bound: SQLite takes a partial index only for a condition that it can read in the
# statement.
_ACCEPTED: sa.ColumnClause[str] = sa.literal_column("'accepted'")
_CLAIMED: sa.ColumnClause[str] = sa.literal_column("'claimed'")
_SENDING: sa.ColumnClause[str] = sa.literal_column("'sending'")


IS_OPEN = deliveries.c.state.in_((_ACCEPTED, _CLAIMED, _SENDING))
IS_LEASED = deliveries.c.state.in_((_CLAIMED, _SENDING))
IS_ACCEPTED = deliveries.c.state == _ACCEPTED
IS_SETTLED = deliveries.c.settled_at.is_not(None)
IS_UNERASED = sa.and_(deliveries.c.settled_at.is_not(None), deliveries.c.erased_at.is_(None))
IS_REJECTED = deliveries.c.state == sa.literal_column("'rejected'")
IS_NOT_RECORDED = deliveries.c.problem.is_not(None)
IS_UNDECIDED = sa.and_(
    deliveries.c.state == sa.literal_column("'unknown'"), deliveries.c.resolution.is_(None)
)
IS_RESOLVED = deliveries.c.resolution.is_not(None)
IS_UNTOLD = deliveries.c.tell_at.is_not(None)
IS_TO_VERIFY = deliveries.c.verify_at.is_not(None)
MAY_BE_ON_TICKET = sa.or_(
    deliveries.c.activity_id.is_not(None), deliveries.c.state == sa.literal_column("'unknown'")
)
IS_IN_THREAD = deliveries.c.thread_ts.is_not(None)
IS_ANCHORED = deliveries.c.anchor_ts.is_not(None)


def _partial_index(name: str, where: sa.ColumnElement[bool], *columns: sa.Column[Any]) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


_partial_index(
    "ix_deliveries_open", IS_OPEN, deliveries.c.tenant_id, deliveries.c.ticket_id, deliveries.c.seq
)
_partial_index("ix_deliveries_waiting", IS_ACCEPTED, deliveries.c.tenant_id, deliveries.c.seq)
_partial_index("ix_deliveries_due", IS_ACCEPTED, deliveries.c.due_at, deliveries.c.tenant_id)
_partial_index("ix_deliveries_leased", IS_LEASED, deliveries.c.lease_until)
_partial_index("ix_deliveries_untold", IS_UNTOLD, deliveries.c.tell_at)
_partial_index("ix_deliveries_settled", IS_SETTLED, deliveries.c.settled_at)
_partial_index(
    "ix_deliveries_unerased", IS_UNERASED, deliveries.c.erased_at, deliveries.c.settled_at
)
_partial_index("ix_deliveries_verify", IS_TO_VERIFY, deliveries.c.verify_at)
_partial_index(
    "ix_deliveries_on_ticket", MAY_BE_ON_TICKET, deliveries.c.account_id, deliveries.c.ticket_id
)
_partial_index("ix_deliveries_rejected", IS_REJECTED, deliveries.c.ticket_id)
# What App Home and `recent` show. Only of what is settled, so that an acceptance writes no more.
_partial_index(
    "ix_deliveries_person",
    IS_SETTLED,
    deliveries.c.team_id,
    deliveries.c.user_id,
    deliveries.c.seq,
)
_partial_index(
    "ix_deliveries_conversation",
    IS_SETTLED,
    deliveries.c.team_id,
    deliveries.c.channel_id,
    deliveries.c.seq,
)
_partial_index(
    "ix_deliveries_problem", IS_NOT_RECORDED, deliveries.c.team_id, deliveries.c.settled_at
)
_partial_index(
    "ix_deliveries_undecided", IS_UNDECIDED, deliveries.c.team_id, deliveries.c.tenant_id
)
_partial_index(
    "ix_deliveries_resolved",
    IS_RESOLVED,
    deliveries.c.team_id,
    deliveries.c.resolved_at,
    deliveries.c.seq,
)
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
    sa.Column("account_id", Number, nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("answered_at", Moment),
    sa.Column(
        "occupied_until", Moment, nullable=False
    ),  # the slot of the account's window that this attempt holds
    sa.Column("outcome", sa.Text),
    sa.Index("ix_attempts_window", "account_id", "occupied_until"),
)


installations = sa.Table(
    "installations",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    # The workspace's ID, T…, or of an organisation-wide installation the organisation's, E….
    sa.Column("installed_in", sa.Text, nullable=False, unique=True),
    sa.Column("enterprise_id", sa.Text),  # the organisation that the workspace belongs to
    sa.Column("name", sa.Text),
    sa.Column("app_id", sa.Text),
    sa.Column("bot_user_id", sa.Text),
    sa.Column("scopes", sa.Text, nullable=False),  # separated by commas
    sa.Column("installed_by", sa.Text),
    sa.Column("installed_at", Moment, nullable=False),
    sa.Column("bot_token", sa.LargeBinary),  # encrypted; none after the end
    # With token rotation: the token lasts 12 hours, and this one brings the next.
    sa.Column("refresh_token", sa.LargeBinary),  # encrypted
    sa.Column("expires_at", Moment),
    sa.Column("refresh_lease_until", Moment),
    sa.Column("ended_at", Moment),
    sa.Column("ended_because", sa.Text),
    sa.Column("changed_at", Moment, nullable=False, index=True),
    sa.Index(
        "ix_installations_expires_at",
        "expires_at",
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    ),
)

oauth_states = sa.Table(
    "oauth_states",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True),  # SHA-256: the state itself is a secret
    sa.Column("expires_at", Moment, nullable=False, index=True),
)

tenant_changes = sa.Table(
    "tenant_changes",
    metadata,
    # The audit trail of each workspace ('': of none), numbered from 1. Never a key.
    sa.Column("team_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("enterprise_id", sa.Text),
    sa.Column("user_id", sa.Text),  # NULL: the operator
    sa.Column("tenant_name", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)

setup_people = sa.Table(
    "setup_people",
    metadata,
    # Who may connect a workspace, beside its admins and owners.
    sa.Column("team_id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("named_by", sa.Text, nullable=False),
    sa.Column("named_at", Moment, nullable=False),
)

homes = sa.Table(
    "homes",
    metadata,
    # The App Home of a person who has opened it: nothing is published for anybody else.
    sa.Column("team_id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("opened_at", Moment, nullable=False),
    sa.Column("published_at", Moment),  # by any process
)

audit = sa.Table(
    "audit",
    metadata,
    # What administrators did with a workspace's records. What became of an activity stands in
    # `deliveries`.
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    sa.Column("at", Moment, nullable=False, index=True),
    sa.Column("team_id", sa.Text, nullable=False),  # or the organisation's ID, E…
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),  # no customer's words, and no person's ID
)


def now() -> sa.Function[float]:
    """Return the database's own clock, as seconds since the epoch.

    PostgreSQL has the function by the first migration; SQLite is given it with each connection.
    """
    return sa.func.bot_now(type_=sa.Double())


def insert(connection: Connection, table: sa.Table) -> "sqlite.Insert | postgresql.Insert":
    """INSERT with ON CONFLICT, which both dialects spell alike and SQLAlchemy keeps apart."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - loaded only where it is used

    return postgresql.insert(table)
