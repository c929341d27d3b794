"""Where a tenant's answers go, and who may record: per tenant, and answers also per mapping."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenants", sa.Column("answers", sa.Text(), server_default="auto", nullable=False))
    for flag in ("guests", "reaction"):
        op.add_column(
            "tenants", sa.Column(flag, sa.Boolean(), server_default=sa.false(), nullable=False)
        )
    for limit in ("record_group", "record_channels"):
        op.add_column("tenants", sa.Column(limit, sa.Text(), server_default="", nullable=False))
    op.add_column("workspaces", sa.Column("answers", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("workspaces", "answers")
    for name in ("record_channels", "record_group", "reaction", "guests", "answers"):
        op.drop_column("tenants", name)
