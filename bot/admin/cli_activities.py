"""python -m bot activities: list activities, and decide about those that may not be recorded."""

import sys
from json import dumps
from typing import Annotated

import typer

from bot.activities.delivery import State
from bot.admin.shared import Json, Yes, fail, quiet_settings, with_database

activities_app = typer.Typer(
    help="List activities, and decide about those that may not be recorded."
)

Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="The references of the activities.")]


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

    settings = quiet_settings()
    try:
        ticket_id = (
            None if ticket is None else parse_ticket(ticket, settings.leadsquared_allowed_hosts)
        )
    except MalformedTicketError as error:
        fail(f"--ticket: {error}")
    wanted = Wanted(state, ticket_id, team, days, limit)
    found = with_database(settings, lambda database, _: listed(database, wanted))
    print(dumps(as_json(found)) if json else "\n".join(lines(found)))


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

    settings = quiet_settings()
    if not yes and not sys.stdin.isatty():
        fail(
            "Nothing was changed: the command asks first, and there is no terminal. "
            "Add --yes to skip the question."
        )

    def ask(plan: list[str], question: str) -> bool:
        print("\n".join(plan))
        return typer.confirm(question)

    decided = with_database(
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
