"""python -m bot: run, serve, administer. `python -m bot --help` lists the commands.

The groups `tenants`, `workspaces`, `activities` and `keys` have files of their own, and so have
`export`, `forget` and `audit`. What only one command needs is imported inside it, so that a start
stays quick.
"""

import asyncio
import errno
import gc
import os
import socket
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated

import typer

from bot import __version__
from bot.admin.cli_activities import activities_app
from bot.admin.cli_keys import keys_app
from bot.admin.cli_records import audit, export_, forget
from bot.admin.cli_tenants import map_, tenants_app
from bot.admin.cli_workspaces import workspaces_app
from bot.admin.shared import (
    Json,
    fail,
    migrate_or_exit,
    prepare_database,
    quiet_settings,
    settings_or_exit,
    with_database,
)
from bot.settings import DEFAULT_PORT, Settings, missing_for_slack

app = typer.Typer(
    name="portal-activity",
    help="Record a customer's portal activity on a LeadSquared ticket from Slack.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show values
    add_completion=False,
)
app.add_typer(tenants_app, name="tenants")
app.add_typer(workspaces_app, name="workspaces")
app.add_typer(keys_app, name="keys")
app.add_typer(activities_app, name="activities")


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's form
    if wanted:
        print(f"portal-activity {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
]
Watch = Annotated[bool, typer.Option("--watch", help="Look again every 2 s, until Ctrl-C.")]

AsPage = Annotated[bool, typer.Option("--page", help="Serve the page, whatever standard input is.")]
InTerminal = Annotated[bool, typer.Option("--terminal", help="Type at a prompt here instead.")]
Url = Annotated[
    str | None, typer.Option(help="The bot's address, for HTTP: https://bot.example.com")
]
Organisations = Annotated[
    bool, typer.Option("--organisations", help="An Enterprise Grid admin may install it for all.")
]


def main() -> None:
    """Run a command. A wrong setting is reported in lines, not in a traceback."""
    app()


@app.callback()
def _options(version: Version = False) -> None: ...  # noqa: FBT002 - a flag; `_version` acts on it


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

    changed = migrate_or_exit(settings_or_exit())
    print(f"The database is {'now' if changed else 'already'} at revision {HEAD}.")


@app.command(
    help='After a restore: settle activities without an outcome as "may have been recorded", '
    "so that none is sent twice.",
)
def restored() -> None:
    from bot.activities.at_start import settle_restored
    from bot.activities.verifier import VERIFY_AFTER

    settings = settings_or_exit()
    verify_after = VERIFY_AFTER[0] if settings.leadsquared_look_after_unknown else None
    settled = with_database(
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

    findings = asyncio.run(check_all(settings_or_exit(log_doubts=False)))
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

    settings = settings_or_exit()
    try:
        back_up(settings, file)
    except (BackupError, SchemaError) as error:
        fail(str(error))
    print(f"Copied the database to {file}.\n{reminder(settings)}")


@app.command()
def manifest(
    url: Url = None,
    organisations: Organisations = False,  # noqa: FBT002 - a flag
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,  # noqa: FBT002 - a flag
    source: Annotated[str | None, typer.Option(hidden=True)] = None,  # noqa: ARG001 - `slack` gives it
) -> None:
    """Print the Slack app's manifest: for Socket Mode, or with --url for HTTP."""
    from bot.admin.manifest import (
        NoAddressError,
        as_json,
        for_http,
        for_organisations,
        read_manifest,
    )

    text = read_manifest()
    if organisations:
        text = for_organisations(text)
    try:
        text = text if url is None else for_http(text, url)
    except NoAddressError as error:
        fail(f"--url: {error}")
    print(as_json(text) if json else text.rstrip())


@app.command()
def playground(
    page: AsPage = False,  # noqa: FBT002 - a flag
    terminal: InTerminal = False,  # noqa: FBT002 - a flag
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The page's port; 0: any that is free.")
    ] = 8300,
) -> None:
    """Try the bot without an account, between local stand-ins for Slack and LeadSquared.

    It serves a page for your browser. Lines from a pipe are typed as in Slack, without a page.
    """
    if page or (sys.stdin.isatty() and not terminal):
        _serve_page(port)
        return
    from bot.playground.terminal import play

    try:
        status = asyncio.run(play())
    except KeyboardInterrupt:
        status = 0
    raise typer.Exit(status)


def _serve_page(port: int) -> None:
    from bot.playground.page.server import PortTakenError, command, serve_page

    try:
        asyncio.run(serve_page(port))
    except PortTakenError as error:
        fail(f"{error}. Perhaps another playground runs there. Try: {command(error.free)}")


@app.command()
def status(
    watch: Watch = False,  # noqa: FBT002 - a flag
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Show waiting, failed and recorded activities. Exit status 1: something needs a person."""
    from bot.admin.live import show_status
    from bot.database.writer import Database
    from bot.encryption import Keyring

    settings = quiet_settings()

    def show(database: Database, keys: Keyring) -> Awaitable[bool]:
        return show_status(database, keys, watch=watch, json=json)

    if not with_database(settings, show):
        raise typer.Exit(1)


app.command("export")(export_)
app.command("forget")(forget)
app.command("audit")(audit)
app.command("map", hidden=True)(map_)


def _serve(*, surface: bool) -> None:
    gc.disable()  # until everything is imported and wired: see `serve`
    # structlog would load it, for tracebacks that the bot never prints: 5 MB.
    sys.modules["rich"] = None  # type: ignore[assignment]
    from bot.encryption import UnusableSecretError
    from bot.process import CannotListenError, serve

    settings = settings_or_exit()
    if problems := missing_for_slack(settings, surface=surface):
        fail(*problems)
    prepare_database(settings)
    try:
        asyncio.run(serve(settings, surface=surface))
    except UnusableSecretError as error:
        fail(str(error))
    except CannotListenError as error:
        fail(_cannot_listen(settings, error.cause))


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
