"""The first schema. Versions before the first release had 0001 to 0006."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def where(condition: str) -> dict[str, Any]:
    """Return the options of a partial index."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    # SQLite is given the function with each connection.
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION bot_now() RETURNS double precision LANGUAGE sql VOLATILE"
            " AS 'SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)'"
        )
    op.create_table(
        "accounts",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("api_host", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("resume_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("api_host", "org_id", name=op.f("uq_accounts_api_host_org_id")),
    )
    op.create_table(
        "attempts",
        sa.Column("delivery_seq", NUMBER, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("account_id", NUMBER, nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("answered_at", sa.Double(), nullable=True),
        sa.Column("occupied_until", sa.Double(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("delivery_seq", "number", name=op.f("pk_attempts")),
    )
    op.create_index(
        "ix_attempts_window", "attempts", ["account_id", "occupied_until"], unique=False
    )
    op.create_table(
        "deliveries",
        sa.Column("seq", NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("enterprise_id", sa.Text(), nullable=True),
        sa.Column("team_id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("tenant_id", NUMBER, nullable=False),
        sa.Column("tenant_name", sa.Text(), nullable=False),
        sa.Column("account_id", NUMBER, nullable=False),
        sa.Column("ticket_id", sa.Text(), nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=False),
        sa.Column("response_url", sa.LargeBinary(), nullable=True),
        sa.Column("thread_ts", sa.Text(), nullable=True),
        sa.Column("message_ts", sa.Text(), nullable=True),
        sa.Column("through_ts", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("retry_of", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_attempt_at", sa.Double(), nullable=True),
        sa.Column("waiting", sa.Text(), nullable=True),
        sa.Column("settled_at", sa.Double(), nullable=True),
        sa.Column("activity_id", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("detail", sa.LargeBinary(), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("verify_at", sa.Double(), nullable=True),
        sa.Column("verifications", sa.Integer(), server_default="0", nullable=False),
        sa.Column("finding", sa.Text(), nullable=True),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("anchor_ts", sa.Text(), nullable=True),
        sa.Column("anchor_mark", sa.Text(), nullable=True),
        sa.Column("noted", sa.Text(), nullable=True),
        sa.Column("note_ts", sa.Text(), nullable=True),
        sa.Column("finding_told", sa.Text(), nullable=True),
        sa.Column("replied_at", sa.Double(), nullable=True),
        sa.Column("answer_ts", sa.Text(), nullable=True),
        sa.Column("resolution_told", sa.Text(), nullable=True),
        sa.Column("tell_at", sa.Double(), nullable=True),
        sa.Column("tell_lease_until", sa.Double(), nullable=True),
        sa.Column("tell_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("id", name=op.f("uq_deliveries_id")),
        sa.UniqueConstraint("team_id", "key", name=op.f("uq_deliveries_team_id_key")),
    )
    op.create_index(
        "ix_deliveries_anchor",
        "deliveries",
        ["team_id", "channel_id", "anchor_ts"],
        unique=False,
        **where("anchor_ts IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["due_at", "tenant_id"],
        unique=False,
        **where("state = 'accepted'"),
    )
    op.create_index("ix_deliveries_fingerprint", "deliveries", ["fingerprint"], unique=False)
    op.create_index(
        "ix_deliveries_leased",
        "deliveries",
        ["lease_until"],
        unique=False,
        **where("state IN ('claimed', 'sending')"),
    )
    op.create_index(
        "ix_deliveries_on_ticket",
        "deliveries",
        ["account_id", "ticket_id"],
        unique=False,
        **where("activity_id IS NOT NULL OR state = 'unknown'"),
    )
    op.create_index(
        "ix_deliveries_open",
        "deliveries",
        ["tenant_id", "ticket_id", "seq"],
        unique=False,
        **where("state IN ('accepted', 'claimed', 'sending')"),
    )
    op.create_index(
        "ix_deliveries_rejected",
        "deliveries",
        ["ticket_id"],
        unique=False,
        **where("state = 'rejected'"),
    )
    op.create_index(
        "ix_deliveries_settled",
        "deliveries",
        ["settled_at"],
        unique=False,
        **where("settled_at IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_thread",
        "deliveries",
        ["team_id", "channel_id", "thread_ts", "seq"],
        unique=False,
        **where("thread_ts IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_undecided",
        "deliveries",
        ["team_id", "tenant_id"],
        unique=False,
        **where("state = 'unknown' AND resolution IS NULL"),
    )
    op.create_index(
        "ix_deliveries_untold",
        "deliveries",
        ["tell_at"],
        unique=False,
        **where("tell_at IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_verify",
        "deliveries",
        ["verify_at"],
        unique=False,
        **where("verify_at IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["tenant_id", "seq"],
        unique=False,
        **where("state = 'accepted'"),
    )
    op.create_table(
        "tenants",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("api_url", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("access_key", sa.LargeBinary(), nullable=False),
        sa.Column("secret_key", sa.LargeBinary(), nullable=False),
        sa.Column("calls_per_window", sa.Integer(), nullable=False),
        sa.Column("account_id", NUMBER, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_tenants_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenants")),
        sa.UniqueConstraint("name", name=op.f("uq_tenants_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_tenants_account_id"), "tenants", ["account_id"], unique=False)
    op.create_table(
        "workspaces",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("enterprise_id", sa.Text(), server_default="", nullable=False),
        sa.Column("team_id", sa.Text(), server_default="", nullable=False),
        sa.Column("channel_id", sa.Text(), server_default="", nullable=False),
        sa.Column("tenant_id", NUMBER, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_workspaces_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
        sa.UniqueConstraint(
            "team_id",
            "channel_id",
            "enterprise_id",
            name=op.f("uq_workspaces_team_id_channel_id_enterprise_id"),
        ),
    )
    op.create_index(op.f("ix_workspaces_tenant_id"), "workspaces", ["tenant_id"], unique=False)


def downgrade() -> None:
    for table in ("attempts", "deliveries", "workspaces", "tenants", "accounts"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION bot_now()")
