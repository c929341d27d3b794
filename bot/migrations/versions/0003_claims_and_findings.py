"""Under which claim a delivery is being sent, and what was found on the ticket where nothing is known."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = ("claimed_by", "look_at", "looks", "finding", "finding_told")


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("claimed_by", sa.Text(), nullable=True))
    op.add_column("deliveries", sa.Column("look_at", sa.Double(), nullable=True))
    op.add_column("deliveries", sa.Column("looks", sa.Integer(), server_default="0", nullable=False))
    op.add_column("deliveries", sa.Column("finding", sa.Text(), nullable=True))
    op.add_column("deliveries", sa.Column("finding_told", sa.Text(), nullable=True))
    op.create_index(
        "ix_deliveries_look",
        "deliveries",
        ["look_at"],
        unique=False,
        sqlite_where=sa.text("look_at IS NOT NULL"),
        postgresql_where=sa.text("look_at IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_on_ticket",
        "deliveries",
        ["tenant_id", "ticket_id"],
        unique=False,
        sqlite_where=sa.text("activity_id IS NOT NULL OR state = 'unknown'"),
        postgresql_where=sa.text("activity_id IS NOT NULL OR state = 'unknown'"),
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_on_ticket", "deliveries")
    op.drop_index("ix_deliveries_look", "deliveries")
    with op.batch_alter_table("deliveries") as deliveries:
        for name in reversed(COLUMNS):
            deliveries.drop_column(name)
