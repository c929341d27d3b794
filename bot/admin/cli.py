"""python -m bot: run, serve, administer. `python -m bot --help` lists the commands."""

import asyncio
import errno
import gc
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from json import dumps
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from bot.activities.delivery import State
from bot.settings import (
    DEFAULT_PORT,
    ConfigurationError,
    Settings,
    load_settings,
    missing_for_slack,
)

T = TypeVar("T")

ADMINISTRATOR_WAITS = 10.0
"""Seconds that an administrator's command waits for SQLite's lock, which a busy bot holds again
and again.
"""

app = typer.Typer(
    name="portal-activity",
    help="Record a customer's portal activity on a LeadSquared ticket from Slack.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show values
    add_completion=False,
)
tenants_app = typer.Typer(
    help="LeadSquared tenants, and the parts of Slack mapped to them.", no_args_is_help=True
)
app.add_typer(tenants_app, name="tenants")
keys_app = typer.Typer(help="The secrets that encrypt what is stored.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
activities_app = typer.Typer(
    help="List activities, and decide about those that may not be recorded."
)
app.add_typer(activities_app, name="activities")

Name = Annotated[str, typer.Argument(help="A name of your choice for the tenant.")]
ApiUrl = Annotated[
    str | None, typer.Option("--api-url", "--url", help="https://… of the account's API host.")
]
OrgId = Annotated[
    str | None, typer.Option("--org-id", help="The account's org ID, shown after login.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", min=1, max=1000, help="Rate limit: calls in 5 seconds.")
]
KeysFile = Annotated[
    Path | None,
    typer.Option(
        "--keys-file",
        exists=True,
        dir_okay=False,
        help="A file with the access key and the secret key, one per line.",
    ),
]
Team = Annotated[str, typer.Option("--team", help="The workspace's ID, T….")]
Enterprise = Annotated[
    str, typer.Option("--enterprise", help="The Enterprise Grid organisation's ID, E….")
]
Channel = Annotated[
    str,
    typer.Option(
        "--channel", help="A channel's ID, C…. Its mapping has priority over its workspace's."
    ),
]
NewKeys = Annotated[
    bool, typer.Option("--keys", help="Ask for new keys too, beside other options.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]
Move = Annotated[bool, typer.Option("--move", help="Move a mapping that leads to another tenant.")]


def main() -> None:
    """Run a command. A wrong setting is reported in lines, not in a traceback."""
    app()


@app.command()
def run() -> None:
    """Serve Slack and send accepted activities, in one process."""
    _serve(surface=True)


@app.command(
    help="Send accepted activities and post their outcomes, without serving Slack. "
    "Use it to scale, beside `run`.",
)
def worker() -> None:
    _serve(surface=False)


@app.command()
def migrate() -> None:
    """Bring the database to this release's schema."""
    from bot.database.schema import HEAD

    changed = _migrate(_settings())
    print(f"The database is {'now' if changed else 'already'} at revision {HEAD}.")


@app.command(
    help='After a restore: settle activities without an outcome as "may have been recorded", '
    "so that none is sent twice.",
)
def restored() -> None:
    from bot.activities.at_start import settle_restored
    from bot.activities.verifier import VERIFY_AFTER

    settings = _settings()
    verify_after = VERIFY_AFTER[0] if settings.leadsquared_look_after_unknown else None
    settled = _with_database(
        settings, lambda database, _: settle_restored(database, verify_after=verify_after)
    )
    print(
        f"{settled:,} activities had no outcome in this backup. "
        "Each may have been recorded since, so none is sent again automatically. "
        "Start the bot: it asks the people who recorded them to check their tickets."
        if settled
        else "Every activity in this database has an outcome. There is nothing to do."
    )


@app.command()
def check() -> None:
    """Check the whole configuration, and say how to fix each fault."""
    from bot.admin.check import check_all

    findings = asyncio.run(check_all(_settings(log_doubts=False)))
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        print(f"{finding.mark} {finding.what:<{width}}  {finding.says}")
        if finding.fix:
            print(f"  {'':<{width}}  → {finding.fix}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The new file. It must not exist yet.")],
) -> None:
    """Copy the database into a new file, while the bot runs. README says how to restore it."""
    from bot.admin.backup import back_up, reminder
    from bot.admin.copies import BackupError
    from bot.database.schema import SchemaError

    settings = _settings()
    try:
        back_up(settings, file)
    except (BackupError, SchemaError) as error:
        _exit([str(error)])
    print(f"Copied the database to {file}.\n{reminder(settings)}")


@app.command()
def playground() -> None:
    """Try the bot without an account, between local stand-ins for Slack and LeadSquared."""
    from bot.playground.terminal import play

    try:
        status = asyncio.run(play())
    except KeyboardInterrupt:
        status = 0
    raise typer.Exit(status)


@tenants_app.command(
    "add",
    help="Add a tenant. "
    "The command asks for its keys, or reads them from standard input or --keys-file.",
)
def add(
    name: Name,
    api_url: ApiUrl = None,
    org_id: OrgId = None,
    limit: Limit = None,
    keys_file: KeysFile = None,
) -> None:
    from bot.admin.tenants import add_tenant

    settings = _settings()
    api_url = api_url or _ask("API URL")
    org_id = org_id or _ask("Org ID")
    access_key, secret_key = _keys(keys_file)
    others = _administer(
        settings,
        lambda directory: add_tenant(
            directory, settings, name, api_url, org_id, access_key, secret_key, limit
        ),
    )
    print(f"Added {name}. Next: python -m bot tenants map {name} --team T…")
    _say_same_account(name, others)


@tenants_app.command("update")
def update(
    name: Name,
    api_url: ApiUrl = None,
    org_id: OrgId = None,
    limit: Limit = None,
    keys_file: KeysFile = None,
    keys: NewKeys = False,  # noqa: FBT002 - a flag
) -> None:
    """Change the given parts of a tenant. Without any option, change its keys."""
    from bot.admin.tenants import update_tenant

    settings = _settings()
    wants_keys = (
        keys or keys_file is not None or (api_url is None and org_id is None and limit is None)
    )
    access_key, secret_key = _keys(keys_file) if wants_keys else (None, None)
    others = _administer(
        settings,
        lambda directory: update_tenant(
            directory, settings, name, api_url, org_id, access_key, secret_key, limit
        ),
    )
    print(f"Updated {name}.")
    _say_same_account(name, others)


@tenants_app.command("list")
def list_() -> None:
    """List the tenants and their mappings."""
    from bot.admin.tenants import describe_all

    lines: list[str] = []
    _administer(_settings(), lambda directory: describe_all(directory, lines))
    print("\n".join(lines))


@tenants_app.command("show")
def show(name: Name) -> None:
    """Show a tenant, without its keys."""
    from bot.admin.tenants import describe

    lines: list[str] = []
    _administer(_settings(), lambda directory: describe(directory, name, lines))
    print("\n".join(lines))


@tenants_app.command("remove")
def remove(name: Name, yes: Yes = False) -> None:  # noqa: FBT002 - a flag
    """Remove a tenant and its mappings. Its waiting activities are answered as not recorded."""
    from bot.admin.tenants import remove_tenant, what_goes_with

    settings = _settings()
    if not yes:
        found = _administer(settings, lambda directory: what_goes_with(directory, name))
        _confirm(f"{name} has {found}.", f"Remove {name}?", "--yes")
    gone = _administer(settings, lambda directory: remove_tenant(directory, name))
    print(f"Removed {name} with {gone}.")


@tenants_app.command("map")
def map_(
    name: Name,
    team: Team = "",
    enterprise: Enterprise = "",
    channel: Channel = "",
    move: Move = False,  # noqa: FBT002 - a flag
) -> None:
    """Map a workspace, a channel or an organisation to a tenant."""
    from bot.admin.tenants import mapped_before, scope_of
    from bot.admin.unserved import token_misses

    scope = _or_exit(lambda: scope_of(enterprise, team, channel))
    settings = _settings()
    before = _administer(settings, lambda directory: mapped_before(directory, name, scope))
    moves = before not in (None, name)
    if moves and not move:
        _confirm(f"{scope} is mapped to {before}.", f"Move it to {name}?", "--move")
    _administer(settings, lambda directory: directory.map_from(before, name, scope))
    print(f"Moved {scope} from {before} to {name}." if moves else f"Mapped {scope} to {name}.")
    if warning := asyncio.run(token_misses(settings, scope)):
        print(f"Warning: {warning}.", file=sys.stderr)


@tenants_app.command("unmap")
def unmap(team: Team = "", enterprise: Enterprise = "", channel: Channel = "") -> None:
    """Remove the mapping of exactly this workspace, channel or organisation."""
    from bot.admin.tenants import scope_of

    scope = _or_exit(lambda: scope_of(enterprise, team, channel))
    _administer(_settings(), lambda directory: directory.unmap(scope))
    print(f"Unmapped {scope}.")


app.command("map", hidden=True)(map_)


@keys_app.command(
    "rotate",
    help="Re-encrypt every stored value with the first of ENCRYPTION_KEYS, while the bot runs. "
    "You can repeat it.",
)
def rotate() -> None:
    from bot.admin.rotation import by_hand, problems_of, renew_all, summary
    from bot.keys import generated_secret

    settings = _settings()
    if not settings.encryption_keys:
        _exit([by_hand(generated_secret(settings))])
    rotation = _with_database(settings, renew_all)
    print("\n".join(summary(rotation, len(settings.encryption_keys))))
    problems = problems_of(rotation, generated_secret(settings))
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise typer.Exit(1)


def _settings(*, log_doubts: bool = True) -> Settings:
    import structlog

    from bot.admin.doubts import doubts, misspelt
    from bot.logs import configure_logging

    try:
        settings = load_settings()
        settings.make_data_dir()
    except ConfigurationError as error:
        _exit([*error.problems, *misspelt()])
    configure_logging(settings.log_level, settings.log_format)
    if log_doubts:
        _log = structlog.get_logger(__name__)
        for doubt in doubts(settings):
            _log.warning("settings_doubtful", says=doubt)
    return settings


def _serve(*, surface: bool) -> None:
    gc.disable()  # until everything is imported and wired: see `serve`
    # structlog would load it, for tracebacks that the bot never prints: 5 MB.
    sys.modules["rich"] = None  # type: ignore[assignment]
    from bot.encryption import UnusableSecretError
    from bot.process import CannotListenError, serve

    settings = _settings()
    if problems := missing_for_slack(settings, surface=surface):
        _exit(problems)
    if settings.on_sqlite:
        _migrate(settings)
    else:
        _require_migrated(settings)
    try:
        asyncio.run(serve(settings, surface=surface))
    except UnusableSecretError as error:
        _exit([str(error)])
    except CannotListenError as error:
        _exit([_cannot_listen(settings, error.cause)])


def _cannot_listen(settings: Settings, cause: OSError) -> str:
    port = DEFAULT_PORT if settings.port is None else settings.port
    if cause.errno in (errno.EADDRINUSE, errno.EACCES):
        reason = os.strerror(cause.errno)
        return (
            f"PORT: the bot cannot listen on {settings.bind_host}:{port} ({reason}); "
            "choose another PORT"
        )
    if isinstance(cause, socket.gaierror):
        reason = "the name is unknown"
    elif cause.errno == errno.EADDRNOTAVAIL:
        reason = "this machine has no such address"
    else:
        reason = os.strerror(cause.errno) if cause.errno else str(cause)
    return (
        f"HOST: the bot cannot listen on {settings.bind_host} ({reason}); "
        "set it to an address of this machine, such as 127.0.0.1"
    )


def _migrate(settings: Settings) -> bool:
    from bot.database.schema import migrate_database

    return _or_exit(lambda: migrate_database(settings.sqlalchemy_url))


def _require_migrated(settings: Settings) -> None:
    from bot.database.schema import require_head

    _or_exit(lambda: require_head(settings.sqlalchemy_url))


def _administer(settings: Settings, do: Callable[..., Awaitable[T]]) -> T:
    """Run one administrator's task against the directory of tenants."""
    from bot.tenants.directory import Directory

    return _with_database(settings, lambda database, keyring: do(Directory(database, keyring)))


def _with_database(settings: Settings, do: Callable[..., Awaitable[T]]) -> T:
    """Run one administrator's task against the database and return its result.

    On an error, print a line and end the command.
    """
    from bot.database.engines import Patience
    from bot.database.writer import Database, DatabaseUnavailableError
    from bot.encryption import UndecipherableError, UnusableSecretError
    from bot.keys import keyring
    from bot.tenants.directory import TenantError

    _migrate(settings) if settings.on_sqlite else _require_migrated(settings)

    async def administer() -> T:
        database = Database(settings.sqlalchemy_url, patience=Patience(busy=ADMINISTRATOR_WAITS))
        try:
            return await do(database, keyring(settings))
        finally:
            await database.close()

    try:
        return asyncio.run(administer())
    except TenantError as error:
        _exit([str(error)])
    except DatabaseUnavailableError as error:
        _exit(
            [
                (
                    f"DATABASE_URL: the database is not available ({error}); try again, "
                    "or run: python -m bot check"
                )
            ]
        )
    except UnusableSecretError as error:
        _exit([str(error)])
    except UndecipherableError as error:
        _exit(
            [
                (
                    f"ENCRYPTION_KEYS: the stored keys cannot be decrypted ({error}); "
                    "add the earlier secret at the end"
                )
            ]
        )


def _or_exit(do: Callable[[], T]) -> T:
    from bot.database.schema import SchemaError
    from bot.tenants.directory import TenantError

    try:
        return do()
    except (SchemaError, TenantError) as error:
        _exit([str(error)])


def _keys(file: Path | None) -> tuple[str, str]:
    """Read the access key and the secret key, never from the command line.

    They come from a file, a hidden prompt, or standard input.
    """
    if file is not None:
        try:
            lines = file.read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            _exit(
                [
                    (
                        f"--keys-file: {file} cannot be read as text; "
                        "write the access key and the secret key into it, one per line"
                    )
                ]
            )
    elif sys.stdin.isatty():
        lines = [
            typer.prompt("Access key", hide_input=True),
            typer.prompt("Secret key", hide_input=True),
        ]
    else:
        lines = sys.stdin.read().splitlines()
    found = [line.strip() for line in lines if line.strip()]
    if len(found) != 2:  # noqa: PLR2004 - two keys
        _exit(["Give exactly two lines: the access key, then the secret key."])
    return found[0], found[1]


def _ask(what: str) -> str:
    if not sys.stdin.isatty():
        _exit([f"Give the {what} as an option: --{what.lower().replace(' ', '-')}"])
    answer: str = typer.prompt(what)
    return answer


def _confirm(fact: str, question: str, option: str) -> None:
    """Ask at a terminal; without one, end and name the option for yes."""
    if not sys.stdin.isatty():
        _exit([f"{fact} Nothing was changed. {question} If yes, add {option}."])
    if not typer.confirm(f"{fact} {question}"):
        print("Nothing was changed.")
        raise typer.Exit(1)


def _say_same_account(name: str, others: list[str]) -> None:
    if others:
        print(f"{name} has the same LeadSquared account as: {', '.join(others)}.")


def _exit(problems: list[str]) -> NoReturn:
    for problem in problems:
        print(problem, file=sys.stderr)
    raise typer.Exit(2)


def _quiet() -> Settings:
    """Return the settings for a command that reads the bot's database.

    Its log prints only warnings and errors.
    """
    from bot.logs import configure_logging

    settings = _settings()
    if (file := settings.sqlite_file) is not None and not file.is_file():
        _exit(
            [
                (
                    f"DATABASE_URL: there is no database {file}; "
                    "run this where the bot runs, with its settings"
                )
            ]
        )
    if settings.log_level == "INFO":
        configure_logging("WARNING", settings.log_format)
    return settings


Watch = Annotated[bool, typer.Option("--watch", help="Look again every 2 s, until Ctrl-C.")]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object, for programs: docs/operating.md.")
]


@app.command()
def status(
    watch: Watch = False,  # noqa: FBT002 - a flag
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Show waiting, failed and recorded activities. Exit status 1: something needs a person."""
    from bot.admin.live import show_status
    from bot.database.writer import Database
    from bot.encryption import Keyring

    settings = _quiet()

    def show(database: Database, keys: Keyring) -> Awaitable[bool]:
        return show_status(database, keys, watch=watch, json=json)

    if not _with_database(settings, show):
        raise typer.Exit(1)


@activities_app.callback(invoke_without_command=True)
def activities(
    context: typer.Context,
    state: Annotated[
        State | None, typer.Option("--state", help="Only activities in this state.")
    ] = None,
    ticket: Annotated[
        str | None, typer.Option("--ticket", help="Only this ticket's activities, of any age.")
    ] = None,
    team: Annotated[
        str | None, typer.Option("--team", help="Only this workspace's activities, T….")
    ] = None,
    days: Annotated[
        int,
        typer.Option(
            "--days", min=1, max=36_500, help="Only activities settled in this many days."
        ),
    ] = 30,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, help="At most this many, the newest.")
    ] = 50,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """List activities without their texts: open, or settled in the last 30 days."""
    if context.invoked_subcommand is not None:
        return
    from bot.activities.ticket import MalformedTicketError, parse_ticket
    from bot.admin.activities import Wanted, as_json, lines, listed

    settings = _quiet()
    try:
        ticket_id = (
            None if ticket is None else parse_ticket(ticket, settings.leadsquared_allowed_hosts)
        )
    except MalformedTicketError as error:
        _exit([f"--ticket: {error}"])
    wanted = Wanted(state, ticket_id, team, days, limit)
    found = _with_database(settings, lambda database, _: listed(database, wanted))
    print(dumps(as_json(found)) if json else "\n".join(lines(found)))


Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="The references of the activities.")]


@activities_app.command(
    "retry",
    help="Send activities again that were not recorded, or may not have been. "
    "Like *Send again* in Slack.",
)
def retry(ids: Ids, yes: Yes = False) -> None:  # noqa: FBT002 - a flag
    _decide("retry", ids, yes=yes)


@activities_app.command("settle")
def settle(ids: Ids, yes: Yes = False) -> None:  # noqa: FBT002 - a flag
    """Close activities that you saw on the ticket, without sending. Like *It's there* in Slack."""
    _decide("settle", ids, yes=yes)


def _decide(action: str, ids: list[str], *, yes: bool) -> None:
    from bot.admin.activities import Action, Operator, operator_name

    settings = _quiet()
    if not yes and not sys.stdin.isatty():
        _exit(
            [
                (
                    "Nothing was changed: the command asks first, and there is no terminal. "
                    "Add --yes to skip the question."
                )
            ]
        )

    def ask(plan: list[str], question: str) -> bool:
        print("\n".join(plan))
        return typer.confirm(question)

    decided = _with_database(
        settings,
        lambda database, keys: Operator(database, keys, operator_name()).decide(
            Action(action), ids, None if yes else ask
        ),
    )
    for line in decided.done:
        print(line)
    for line in decided.problems:
        print(line, file=sys.stderr)
    if not decided.asked:
        print("Nothing was changed.", file=sys.stderr)
    if decided.problems or not decided.asked:
        raise typer.Exit(1)
