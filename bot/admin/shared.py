"""What the administrator's commands share: settings, the database, questions, how they end."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, NoReturn, TypeVar

import typer

from bot.settings import ConfigurationError, Settings, load_settings

T = TypeVar("T")

ADMINISTRATOR_WAITS = 10.0
"""Seconds that an administrator's command waits for SQLite's lock, which a busy bot holds again
and again.
"""

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object, for programs: docs/operating.md.")
]


def settings_or_exit(*, log_doubts: bool = True) -> Settings:
    """Return the settings, and begin logging as they say."""
    import structlog

    from bot.admin.doubts import doubts, misspelt
    from bot.logs import configure_logging

    try:
        settings = load_settings()
        settings.make_data_dir()
    except ConfigurationError as error:
        fail(*error.problems, *misspelt())
    configure_logging(settings.log_level, settings.log_format)
    if log_doubts:
        _log = structlog.get_logger(__name__)
        for doubt in doubts(settings):
            _log.warning("settings_doubtful", says=doubt)
    return settings


def quiet_settings() -> Settings:
    """Return the settings for a command that reads the bot's database.

    Its log prints only warnings and errors.
    """
    from bot.logs import configure_logging

    settings = settings_or_exit()
    if (file := settings.sqlite_file) is not None and not file.is_file():
        fail(
            f"DATABASE_URL: there is no database {file}; "
            "run this where the bot runs, with its settings"
        )
    if settings.log_level == "INFO":
        configure_logging("WARNING", settings.log_format)
    return settings


def migrate_or_exit(settings: Settings) -> bool:
    from bot.database.schema import migrate_database

    return or_exit(lambda: migrate_database(settings.sqlalchemy_url))


def prepare_database(settings: Settings) -> None:
    """Migrate SQLite; require that an admin has migrated PostgreSQL."""
    from bot.database.schema import require_head

    if settings.on_sqlite:
        migrate_or_exit(settings)
    else:
        or_exit(lambda: require_head(settings.sqlalchemy_url))


def with_database(settings: Settings, do: Callable[..., Awaitable[T]]) -> T:
    """Run one administrator's task against the database and return its result.

    On an error, print a line and end the command.
    """
    from bot.database.engines import Patience
    from bot.database.writer import Database, DatabaseUnavailableError
    from bot.encryption import UndecipherableError, UnusableSecretError
    from bot.keys import keyring
    from bot.tenants.changes import ChangedSinceError
    from bot.tenants.directory import TenantError

    prepare_database(settings)

    async def administer() -> T:
        database = Database(settings.sqlalchemy_url, patience=Patience(busy=ADMINISTRATOR_WAITS))
        try:
            return await do(database, keyring(settings))
        finally:
            await database.close()

    try:
        return asyncio.run(administer())
    except (TenantError, ChangedSinceError) as error:
        fail(str(error))
    except DatabaseUnavailableError as error:
        fail(
            f"DATABASE_URL: the database is not available ({error}); try again, "
            "or run: python -m bot check"
        )
    except UnusableSecretError as error:
        fail(str(error))
    except UndecipherableError as error:
        fail(
            f"ENCRYPTION_KEYS: the stored keys cannot be decrypted ({error}); "
            "add the earlier secret at the end"
        )


def or_exit(do: Callable[[], T]) -> T:
    """Do it, or end the command with what is wrong."""
    from bot.database.schema import SchemaError
    from bot.tenants.directory import TenantError

    try:
        return do()
    except (SchemaError, TenantError) as error:
        fail(str(error))


def ask(what: str) -> str:
    if not sys.stdin.isatty():
        fail(f"Give the {what} as an option: --{what.lower().replace(' ', '-')}")
    answer: str = typer.prompt(what)
    return answer


def confirm(fact: str, question: str, option: str) -> None:
    """Ask at a terminal; without one, end and name the option for yes."""
    if not sys.stdin.isatty():
        fail(f"{fact} Nothing was changed. {question} If yes, add {option}.")
    if not typer.confirm(f"{fact} {question}"):
        print("Nothing was changed.")
        raise typer.Exit(1)


def fail(*problems: str) -> NoReturn:
    """Print each problem in a line, and end the command with status 2."""
    for problem in problems:
        print(problem, file=sys.stderr)
    raise typer.Exit(2)
