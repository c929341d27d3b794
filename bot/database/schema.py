"""Whether the database has the schema that this code expects, and how it gets it."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bot.database.engines import MIGRATING, PATIENCE, Patience, engine_for
from bot.database.tables import metadata

HEAD, FIRST = "0014", "0007"
"""The newest and the oldest revision in migrations/versions.

They stand here so that a start need not load Alembic.
"""


_STAMP = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Alembic's own table."""

READ_ONLY = "25006"
"""PostgreSQL's code for a write where none is allowed, such as on a standby server."""


class SchemaError(Exception):
    """The database cannot be used as it is; the message says how to fix it."""


class ReadOnlyError(SchemaError):
    """The database can be read, but not written."""


def revision(engine: Engine) -> str | None:
    """Return the database's revision; None when it is empty."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(
            sa.text("SELECT version_num FROM alembic_version")
        ).scalar()
        return found


def migrate(engine: Engine) -> bool:
    """Bring the database to HEAD; say whether there was anything to do."""
    found = revision(engine)
    if found == HEAD:
        return False
    if found is not None:
        _require_known(found)
    elif engine.dialect.name == "sqlite":
        return _create(engine)
    upgrade(engine)
    return True


def upgrade(engine: Engine) -> None:
    """Run the migrations that the database does not have yet."""
    from alembic import command  # noqa: PLC0415 - heavy, and rarely needed
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "bot.database:migrations")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def _create(engine: Engine) -> bool:
    """Make the tables of a new SQLite file as the migrations would, without loading Alembic.

    Returns False when another process has made them.
    """
    with engine.begin() as connection:  # it holds SQLite's lock from here on
        if sa.inspect(connection).has_table(_STAMP.name):
            return False
        metadata.create_all(connection, checkfirst=False)
        _STAMP.create(connection)
        connection.execute(sa.insert(_STAMP).values(version_num=HEAD))
    return True


def migrate_database(url: str) -> bool:
    """Migrate the database at a URL.

    Raise SchemaError with the fix when it cannot be reached or written.
    """
    with _engine(url, MIGRATING) as engine:
        return migrate(engine)


def revision_of(url: str) -> str | None:
    """Return the revision of the database at a URL; raise SchemaError when it cannot be reached."""
    with _engine(url, PATIENCE) as engine:
        return revision(engine)


def require_writable(url: str) -> None:
    """Raise ReadOnlyError when a migrated database cannot be written; nothing in it changes."""
    nothing = sa.text("UPDATE alembic_version SET version_num = version_num WHERE 1 = 0")
    with _engine(url, PATIENCE) as engine, engine.connect() as connection:
        connection.execute(nothing)


def require_head(url: str) -> None:
    """Raise SchemaError unless the database has this release's schema."""
    found = revision_of(url)
    if found is not None:
        _require_known(found)
    if found != HEAD:
        raise SchemaError(
            f"DATABASE_URL: the database is {f'at revision {found}' if found else 'empty'}, "
            f"this release needs {HEAD}; run: python -m bot migrate"
        )


@contextmanager
def _engine(url: str, patience: Patience) -> Iterator[Engine]:
    """Lend an engine; what its driver raises becomes a SchemaError."""
    engine = engine_for(url, patience)
    try:
        yield engine
    except sa.exc.DBAPIError as error:
        raise _unusable(engine, error.orig) from None
    except UnicodeError as error:  # a host such as a..b, which no resolver takes
        raise _unusable(engine, error) from None
    finally:
        engine.dispose()


def _require_known(found: str) -> None:
    """Raise SchemaError unless this release can bring a revision to HEAD.

    The order of their names is their order.
    """
    if found < FIRST:
        raise SchemaError(
            "DATABASE_URL: a version before the first release made the database (revision "
            f"{found}); start with a new database"
        )
    if found > HEAD:
        raise _newer(found)


def _newer(found: str) -> SchemaError:
    return SchemaError(
        f"DATABASE_URL: the database is at revision {found}, newer than this release knows "
        f"({HEAD}); start the newer release, or restore the backup that belongs to this one"
    )


def _unusable(engine: Engine, cause: BaseException | None) -> SchemaError:
    reason = " ".join(str(cause).split())
    # As an admin writes it, not as SQLAlchemy does; without the query, which may hold a password.
    place = engine.url.set(query={}).render_as_string(hide_password=True)
    place = place.replace("postgresql+psycopg://", "postgres://", 1)
    kind = ReadOnlyError if _is_read_only(cause) else SchemaError
    return kind(f"DATABASE_URL: {place} cannot be used ({reason}); {_fix_for(engine.url, reason)}")


def _is_read_only(cause: BaseException | None) -> bool:
    code: int = getattr(cause, "sqlite_errorcode", 0)  # its upper part says more closely why
    return code & 0xFF == sqlite3.SQLITE_READONLY or getattr(cause, "sqlstate", None) == READ_ONLY


def _fix_for(url: sa.URL, reason: str) -> str:
    """Say what to do about a driver's reason.

    It has no code while a connection is being made. So this function searches its words.
    """
    if url.get_backend_name() == "sqlite":
        if "readonly" in reason:
            return "it is read-only: check the file, its folder, the disk, and who may write there"
        return "check the path, and who may write there"
    if "read-only transaction" in reason:
        return "it is read-only: name the primary server"
    if re.search(r'database "[^"]*" does not exist', reason):
        return (
            "make the database: "
            f"createdb -h {url.host or 'HOST'} -U ADMIN -O {url.username or 'USER'} {url.database}"
        )
    if "permission denied" in reason:
        return f"let {url.username or 'the user'} make tables there, best as the database's owner"
    if re.search(
        r'role "[^"]*" does not exist|authentication failed|no password supplied|pg_hba', reason
    ):
        return (
            "check the user and the password in it (percent-encode: @ is %40, / is %2F, # is %23), "
            "and whom the server lets in"
        )
    return "check the address, and that the server runs there"
