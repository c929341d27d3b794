"""App Home: who has opened it, and the indexes that find what it shows."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_deliveries_person": ("settled_at IS NOT NULL", ["team_id", "user_id", "seq"]),
    "ix_deliveries_conversation": ("settled_at IS NOT NULL", ["team_id", "channel_id", "seq"]),
    "ix_deliveries_problem": ("problem IS NOT NULL", ["team_id", "settled_at"]),
}


def upgrade() -> None:
    op.create_table(
        "homes",
        sa.Column("team_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("published_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("team_id", "user_id", name=op.f("pk_homes")),
    )
    for name, (condition, columns) in INDEXES.items():
        where = sa.text(condition)
        op.create_index(
            name,
            "deliveries",
            columns,
            unique=False,
            sqlite_where=where,
            postgresql_where=where,
        )


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, table_name="deliveries")
    op.drop_table("homes")
