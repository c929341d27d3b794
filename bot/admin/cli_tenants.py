"""python -m bot tenants: LeadSquared accounts, and the parts of Slack mapped to them."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from bot.admin.shared import Yes, ask, confirm, fail, or_exit, settings_or_exit, with_database
from bot.leadsquared.tenant import Attribution
from bot.settings import Settings

T = TypeVar("T")

tenants_app = typer.Typer(
    help="LeadSquared tenants, and the parts of Slack mapped to them.", no_args_is_help=True
)

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
Signed = Annotated[
    Attribution | None,
    typer.Option(
        "--attribution",
        help="A last line on the ticket: who recorded it in Slack, and a link to the message.",
    ),
]
ShowTicket = Annotated[
    bool | None,
    typer.Option(
        "--show-ticket/--no-show-ticket",
        help="Read the ticket's title and status before recording, and show them.",
    ),
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
Move = Annotated[bool, typer.Option("--move", help="Move a mapping that leads to another tenant.")]


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
    attribution: Signed = None,
    show_ticket: ShowTicket = None,
) -> None:
    from bot.admin.tenants import add_tenant

    settings = settings_or_exit()
    api_url = api_url or ask("API URL")
    org_id = org_id or ask("Org ID")
    access_key, secret_key = _keys(keys_file)
    others = _administer(
        settings,
        lambda directory: add_tenant(
            directory,
            settings,
            name,
            api_url,
            org_id,
            access_key,
            secret_key,
            limit,
            attribution=attribution,
            show_ticket=show_ticket,
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
    attribution: Signed = None,
    show_ticket: ShowTicket = None,
) -> None:
    """Change the given parts of a tenant. Without any option, change its keys."""
    from bot.admin.tenants import update_tenant

    settings = settings_or_exit()
    given = (api_url, org_id, limit, attribution, show_ticket)
    wants_keys = keys or keys_file is not None or all(one is None for one in given)
    access_key, secret_key = _keys(keys_file) if wants_keys else (None, None)
    others = _administer(
        settings,
        lambda directory: update_tenant(
            directory,
            settings,
            name,
            api_url,
            org_id,
            access_key,
            secret_key,
            limit,
            attribution=attribution,
            show_ticket=show_ticket,
        ),
    )
    print(f"Updated {name}.")
    _say_same_account(name, others)


@tenants_app.command("list")
def list_() -> None:
    """List the tenants and their mappings."""
    from bot.admin.tenants import describe_all

    lines: list[str] = []
    _administer(settings_or_exit(), lambda directory: describe_all(directory, lines))
    print("\n".join(lines))


@tenants_app.command("show")
def show(name: Name) -> None:
    """Show a tenant, without its keys."""
    from bot.admin.tenants import describe

    lines: list[str] = []
    _administer(settings_or_exit(), lambda directory: describe(directory, name, lines))
    print("\n".join(lines))


@tenants_app.command("remove")
def remove(name: Name, yes: Yes = False) -> None:  # noqa: FBT002 - a flag
    """Remove a tenant and its mappings. Its waiting activities are answered as not recorded."""
    from bot.admin.tenants import remove_tenant, what_goes_with

    settings = settings_or_exit()
    if not yes:
        found = _administer(settings, lambda directory: what_goes_with(directory, name))
        confirm(f"{name} has {found}.", f"Remove {name}?", "--yes")
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

    scope = or_exit(lambda: scope_of(enterprise, team, channel))
    settings = settings_or_exit()
    before = _administer(settings, lambda directory: mapped_before(directory, name, scope))
    moves = before not in (None, name)
    if moves and not move:
        confirm(f"{scope} is mapped to {before}.", f"Move it to {name}?", "--move")
    _administer(settings, lambda directory: directory.map_from(before, name, scope))
    print(f"Moved {scope} from {before} to {name}." if moves else f"Mapped {scope} to {name}.")
    if warning := asyncio.run(token_misses(settings, scope)):
        print(f"Warning: {warning}.", file=sys.stderr)


@tenants_app.command("unmap")
def unmap(team: Team = "", enterprise: Enterprise = "", channel: Channel = "") -> None:
    """Remove the mapping of exactly this workspace, channel or organisation."""
    from bot.admin.tenants import scope_of

    scope = or_exit(lambda: scope_of(enterprise, team, channel))
    _administer(settings_or_exit(), lambda directory: directory.unmap(scope))
    print(f"Unmapped {scope}.")


@tenants_app.command("log")
def log(
    name: Annotated[
        str | None, typer.Argument(help="Only this tenant's changes, or a workspace's, T….")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, help="At most this many, the newest.")
    ] = 50,
) -> None:
    """Show who changed tenants and mappings, and when."""
    from bot.admin.tenants import changes_of

    lines = with_database(settings_or_exit(), lambda database, _: changes_of(database, name, limit))
    print("\n".join(lines))


def _administer(settings: Settings, do: Callable[..., Awaitable[T]]) -> T:
    """Run one administrator's task against the directory of tenants."""
    from bot.tenants.directory import Directory

    return with_database(settings, lambda database, keyring: do(Directory(database, keyring)))


def _keys(file: Path | None) -> tuple[str, str]:
    """Read the access key and the secret key, never from the command line.

    They come from a file, a hidden prompt, or standard input.
    """
    if file is not None:
        try:
            lines = file.read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            fail(
                f"--keys-file: {file} cannot be read as text; "
                "write the access key and the secret key into it, one per line"
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
        fail("Give exactly two lines: the access key, then the secret key.")
    return found[0], found[1]


def _say_same_account(name: str, others: list[str]) -> None:
    if others:
        print(f"{name} has the same LeadSquared account as: {', '.join(others)}.")
