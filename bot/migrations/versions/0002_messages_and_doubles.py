"""Which message an activity came from, and a fingerprint by which a double made by hand is noticed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("message_ts", sa.Text(), nullable=True))
    op.add_column("deliveries", sa.Column("through_ts", sa.Text(), nullable=True))
    op.add_column("deliveries", sa.Column("fingerprint", sa.LargeBinary(), nullable=True))
    op.create_index("ix_deliveries_fingerprint", "deliveries", ["fingerprint"], unique=False)
    op.create_index(
        "ix_deliveries_thread",
        "deliveries",
        ["team_id", "channel_id", "thread_ts", "seq"],
        unique=False,
        sqlite_where=sa.text("thread_ts IS NOT NULL"),
        postgresql_where=sa.text("thread_ts IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_anchor",
        "deliveries",
        ["team_id", "channel_id", "anchor_ts"],
        unique=False,
        sqlite_where=sa.text("anchor_ts IS NOT NULL"),
        postgresql_where=sa.text("anchor_ts IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_anchor", "deliveries")
    op.drop_index("ix_deliveries_thread", "deliveries")
    op.drop_index("ix_deliveries_fingerprint", "deliveries")
    with op.batch_alter_table("deliveries") as deliveries:
        deliveries.drop_column("fingerprint")
        deliveries.drop_column("through_ts")
        deliveries.drop_column("message_ts")
