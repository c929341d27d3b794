"""The audit trail: when a person decided, and what administrators read and removed."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
RESOLVED = sa.text("resolution IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("team_id", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.add_column("deliveries", sa.Column("resolved_at", sa.Double(), nullable=True))
    # The moment was not kept before: it is after this one.
    op.execute(
        "UPDATE deliveries SET resolved_at = COALESCE(settled_at, accepted_at) "
        "WHERE resolution IS NOT NULL"
    )
    op.create_index(
        "ix_deliveries_resolved",
        "deliveries",
        ["team_id", "resolved_at", "seq"],
        unique=False,
        sqlite_where=RESOLVED,
        postgresql_where=RESOLVED,
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_resolved", table_name="deliveries")
    op.drop_column("deliveries", "resolved_at")
    op.drop_table("audit")
