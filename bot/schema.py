"""Whether the database has the schema that this code expects, and how it gets it."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

HEAD = "0001"
"""The newest revision in migrations/versions. Kept here so that a start need not load Alembic to see that all is well."""


def revision(engine: Engine) -> str | None:
    """Return the database's revision; None when it is empty."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        return found


def migrate(engine: Engine) -> bool:
    """Bring the database to HEAD; say whether there was anything to do."""
    if revision(engine) == HEAD:
        return False
    from alembic import command  # noqa: PLC0415 - heavy, and needed only when there is something to do
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "bot:migrations")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    return True
