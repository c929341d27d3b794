"""One clock for all processes that have an SQLite file open, whatever the machine's is set to."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "clocks",
        sa.Column("boot", sa.Text(), nullable=False),
        sa.Column("ahead", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("boot", name="pk_clocks"),
    )


def downgrade() -> None:
    op.drop_table("clocks")
