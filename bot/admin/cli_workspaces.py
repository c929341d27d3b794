"""python -m bot workspaces: which workspaces have installed the bot by OAuth."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from bot.admin.shared import Yes, confirm, quiet_settings, with_database

T = TypeVar("T")

workspaces_app = typer.Typer(
    help="Slack workspaces that have installed the bot (SLACK_CLIENT_ID).", no_args_is_help=True
)

Where = Annotated[
    str, typer.Argument(metavar="ID", help="The workspace's ID, T…, or the organisation's, E….")
]


@workspaces_app.command("list")
def list_() -> None:
    """List the workspaces, and the organisations, that have installed the bot."""
    from bot.admin.workspaces import list_workspaces

    print("\n".join(_administer(list_workspaces)))


@workspaces_app.command("show")
def show(where: Where) -> None:
    """Show an installation, without its token."""
    from bot.admin.workspaces import describe_workspace

    print("\n".join(_administer(lambda store: describe_workspace(store, where))))


@workspaces_app.command("remove")
def remove(
    where: Where,
    yes: Yes = False,  # noqa: FBT002 - a flag
) -> None:
    """Delete an installation's token: the bot posts nothing more there."""
    from bot.admin.workspaces import describe_workspace, remove_workspace

    lines = _administer(lambda store: describe_workspace(store, where))
    if not yes:
        fact = f"{lines[0]}. Accepted activities are still recorded, but not answered in Slack."
        confirm(fact, "Remove it?", "--yes")
    removed = _administer(lambda store: remove_workspace(store, where))
    print(f"Removed {where}." if removed else f"{where} had ended before. Nothing was changed.")
    if removed:
        print("The app still stands in Slack until a Slack admin removes it there.")


def _administer(do: Callable[..., Awaitable[T]]) -> T:
    from bot.installations.store import InstallationStore

    return with_database(
        quiet_settings(), lambda database, keyring: do(InstallationStore(database, keyring))
    )
