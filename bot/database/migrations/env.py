"""Alembic's environment: one transaction over all revisions, one migration at a time."""

import sqlalchemy as sa
from alembic import context

from bot.database.tables import metadata

_LOCK = 7_316_021_143  # any number, the same in every release of this product


def _run() -> None:
    connection: sa.Connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            # Two releases at once: the second waits here, and then finds nothing to do.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        context.run_migrations()


_run()
