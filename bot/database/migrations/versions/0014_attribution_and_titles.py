"""Attribution: who recorded it, on the ticket. And the title of the ticket."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "tenants", sa.Column("attribution", sa.Text(), server_default="none", nullable=False)
    )
    op.add_column(
        "tenants", sa.Column("show_ticket", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column(
        "deliveries", sa.Column("attribution", sa.Text(), server_default="none", nullable=False)
    )
    op.add_column("deliveries", sa.Column("last_line", sa.LargeBinary(), nullable=True))
    op.add_column("deliveries", sa.Column("title", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    for column in ("title", "last_line", "attribution"):
        op.drop_column("deliveries", column)
    for column in ("show_ticket", "attribution"):
        op.drop_column("tenants", column)
