"""Retention: when the words of an activity were deleted."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

CONDITION = sa.text("settled_at IS NOT NULL AND erased_at IS NULL")


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("erased_at", sa.Double(), nullable=True))
    op.create_index(
        "ix_deliveries_unerased",
        "deliveries",
        ["erased_at", "settled_at"],
        unique=False,
        sqlite_where=CONDITION,
        postgresql_where=CONDITION,
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_unerased", table_name="deliveries")
    op.drop_column("deliveries", "erased_at")
