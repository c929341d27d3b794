"""python -m bot export, forget, audit: the records of a workspace, or of a person."""

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from bot.admin.shared import Yes, confirm, fail, quiet_settings, with_database
from bot.admin.words import printable
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.admin.forget import Forgetting, Forgotten, Plan
    from bot.database.writer import Database
    from bot.encryption import Keyring

REDRAWN = 0.1
"""Seconds between two states of the progress bar."""

BAR = 30
"""Characters of the progress bar."""

Team = Annotated[str, typer.Option("--team", help="The workspace's ID, T….")]
Since = Annotated[
    str,
    typer.Option(
        "--since", metavar="DATE", help="Only from this day or moment on, UTC: 2026-01-31."
    ),
]

Waiting = Annotated[
    bool,
    typer.Option("--waiting", help="Stop activities that wait: they are answered as not recorded."),
]
JsonLines = Annotated[
    bool, typer.Option("--json", help="A line of JSON for each event: docs/operating.md.")
]


def export_(
    team: Team = "",
    enterprise: Annotated[
        str, typer.Option("--enterprise", help="The Enterprise Grid organisation's ID, E….")
    ] = "",
    since: Since = "",
    format_: Annotated[
        str, typer.Option("--format", metavar="csv|jsonl", help="CSV, or a line of JSON for each.")
    ] = "csv",
) -> None:
    """Print a workspace's activities with their texts, for another program."""
    from bot.admin.activities import operator_name
    from bot.admin.export import Format, export
    from bot.admin.history import Whose

    _check_id("--team", team, "T")
    _check_id("--enterprise", enterprise, "E")
    if not (team or enterprise):
        fail("Give the workspace with --team T…, or the organisation with --enterprise E….")
    if format_ not in list(Format):
        fail(f"--format: csv or jsonl, not {format_!r}")
    moment = _moment(since)
    out = _Out()
    bar = _Bar(shown=sys.stderr.isatty() and not sys.stdout.isatty())

    async def do(database: "Database", keyring: "Keyring") -> int:
        return await export(
            database,
            keyring,
            Whose(team, enterprise),
            by=operator_name(),
            since=moment,
            format_=Format(format_),
            out=out,
            progress=lambda done, number: bar.show(done, f"{number:,} activities"),
        )

    with _quiet_when_closed():
        with_database(quiet_settings(), do)
        out.flush()
    bar.end()


def forget(
    team: Team = "",
    user: Annotated[
        str, typer.Option("--user", help="The person's ID, U…: in this workspace, or in all.")
    ] = "",
    ticket: Annotated[
        str, typer.Option("--ticket", help="Only the words on this ticket, in this workspace.")
    ] = "",
    waiting: Waiting = False,  # noqa: FBT002 - a flag
    yes: Yes = False,  # noqa: FBT002 - a flag
) -> None:
    """Delete what is stored of a workspace, or blank what is stored of a person or a ticket."""
    from bot.admin.forget import Target

    _check_id("--team", team, "T")
    _check_id("--user", user, "UW")
    if not (team or user):
        fail("Give the workspace with --team T…, the person with --user U…, or both.")
    if ticket and (user or not team):
        fail("Give --ticket with --team T…, and without --user.")
    settings = quiet_settings()
    target = Target(team, user, _ticket_id(ticket, settings) or "")
    bar = _Bar(shown=sys.stderr.isatty())
    plans = with_database(settings, lambda database, _: _forgetting(database, bar).plans(target))
    if not plans:
        print(f"Nothing is stored of {target}.")
        return
    for line in (line for plan in plans for line in _described(plan)):
        print(line)
    if any(plan.open for plan in plans) and not waiting:
        fail(
            "Nothing was changed. Wait until these activities have an outcome "
            "(python -m bot activities), or stop those that wait with --waiting."
        )
    if not yes:
        confirm("This cannot be undone.", "Delete all this?", "--yes")

    async def do(database: "Database", _: "Keyring") -> bool:
        forgetting = _forgetting(database, bar)
        all_done = True
        for plan in plans:
            if waiting and (still := await forgetting.stop_waiting(plan.target)):
                all_done = False
                _complain(plan, still, "Nothing was deleted there")
                continue
            done = await forgetting.forget(plan)
            bar.end()
            print(f"{'Blanked' if user else 'Deleted'}, {plan.target}: {done}.")
            all_done &= not done.left
            _warn(plan, done)
        return all_done

    if not with_database(settings, do):
        raise typer.Exit(1)
    if not (user or ticket) and settings.leadsquared_api_url is not None:
        print(
            "LEADSQUARED_API_URL and the three with it define a tenant: if it is this workspace's, "
            "the next start maps it again. Remove them first."
        )


def audit(
    team: Annotated[str, typer.Option("--team", help="The workspace's ID, T….")],
    ticket: Annotated[
        str, typer.Option("--ticket", help="Only what was done with this ticket's activities.")
    ] = "",
    since: Since = "",
    json: JsonLines = False,  # noqa: FBT002 - a flag
) -> None:
    """List what was done in a workspace, when and by whom."""
    from json import dumps

    from bot.admin.audit import HEADS, as_json, cells, events, line

    _check_id("--team", team, "T")
    moment = _moment(since)
    settings = quiet_settings()
    ticket_id = _ticket_id(ticket, settings)
    out = _Out()

    async def do(database: "Database", _: "Keyring") -> None:
        if not json:
            out.write(line(*HEADS) + "\n")
        async for event in events(database, team, ticket=ticket_id, since=moment):
            row = dumps(as_json(event), ensure_ascii=False) if json else line(*cells(event))
            out.write(row + "\n")

    with _quiet_when_closed():
        with_database(settings, do)
        out.flush()


def _forgetting(database: "Database", bar: "_Bar") -> "Forgetting":
    from bot.admin.activities import operator_name
    from bot.admin.forget import Forgetting

    return Forgetting(database, operator_name(), lambda number: bar.show(None, f"{number:,} done"))


def _described(plan: "Plan") -> list[str]:
    """Say what there is of a target, and what is in the way."""
    lines = [f"{plan.target}: {plan}."]
    if plan.untold:
        lines.append(f"  Not posted in Slack yet, and not posted any more: {plan.untold:,}.")
    if plan.open:
        lines += ["  Without an outcome:", *_listed(plan.open)]
    return lines


def _listed(open_: tuple[str, ...]) -> list[str]:
    from bot.admin.forget import SHOWN

    return [f"    {one}" for one in open_[:SHOWN]] + (["    and more"] if open_[SHOWN:] else [])


def _complain(plan: "Plan", still: tuple[str, ...], what: str) -> None:
    print(f"{plan.target.team_id}: {what}. Without an outcome:", file=sys.stderr)
    print("\n".join(_listed(still)), file=sys.stderr)
    print("Run this again when the bot has settled them.", file=sys.stderr)


def _warn(plan: "Plan", done: "Forgotten") -> None:
    if done.untold:
        print(f"Outcomes that were not posted in Slack: {done.untold:,}.", file=sys.stderr)
    if done.left:
        _complain(plan, done.left, "New activities came in meanwhile")


def _check_id(option: str, value: str, initials: str) -> None:
    if value and not (value.isascii() and value.isalnum() and value[0] in initials):
        starts = " or ".join(initials)
        fail(f"{option} takes Slack's ID, which starts with {starts}, not {value!r}.")


def _ticket_id(ticket: str, settings: Settings) -> str | None:
    from bot.activities.ticket import MalformedTicketError, parse_ticket

    try:
        return parse_ticket(ticket, settings.leadsquared_allowed_hosts) if ticket else None
    except MalformedTicketError as error:
        fail(f"--ticket: {error}")


def _moment(since: str) -> float:
    """Return a day or a moment as seconds since the epoch; 0 without one."""
    if not since:
        return 0.0
    try:
        read = datetime.fromisoformat(since)
    except ValueError:
        fail(f"--since: a day such as 2026-01-31, not {since!r}")
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


class _Out:
    """Standard output in UTF-8, with line ends as they are written.

    A text does not control a terminal.
    """

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._file = io.TextIOWrapper(
            sys.stdout.buffer, encoding="utf-8", newline="", write_through=False
        )

    def write(self, text: str, /) -> int:
        return self._file.write(printable(text) if self._is_terminal else text)

    def flush(self) -> None:
        self._file.flush()


class _Bar:
    """A line on standard error that says how far a command is. Only a terminal shows it."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._at = 0.0
        self._width = 0

    def show(self, done: float | None, words: str) -> None:
        """Show which part is done (None: unknown), from 0 to 1."""
        if not self._shown or (time.monotonic() - self._at < REDRAWN and done != 1):
            return
        self._at = time.monotonic()
        line = words
        if done is not None:
            line = f"[{'#' * int(done * BAR):<{BAR}}] {done:4.0%}  {words}"
        self._width = max(self._width, len(line))
        print(f"\r{line:<{self._width}}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._width:
            print(file=sys.stderr)
            self._width = 0


@contextlib.contextmanager
def _quiet_when_closed() -> Iterator[None]:
    """End the command without a traceback when who reads its output has gone, such as `head`."""
    try:
        yield
    except BrokenPipeError:
        # What the interpreter flushes at its end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
