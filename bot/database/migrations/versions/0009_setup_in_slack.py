"""Tenants made in Slack: whose they are, who may make them, and who changed what."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenants", sa.Column("owner", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "tenant_changes",
        sa.Column("team_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("enterprise_id", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("tenant_name", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "number", name=op.f("pk_tenant_changes")),
    )
    op.create_table(
        "setup_people",
        sa.Column("team_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("named_by", sa.Text(), nullable=False),
        sa.Column("named_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "user_id", name=op.f("pk_setup_people")),
    )


def downgrade() -> None:
    op.drop_table("setup_people")
    op.drop_table("tenant_changes")
    op.drop_column("tenants", "owner")
