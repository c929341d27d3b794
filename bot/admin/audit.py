"""What happened to a workspace's activities, when and by whom: python -m bot audit."""

import heapq
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any

from bot.activities.delivery import Resolution, State
from bot.admin.history import PAGE, Whose, pages
from bot.admin.snapshot import read
from bot.admin.words import shown
from bot.database.statement import Row, Statement
from bot.database.writer import Database
from bot.leadsquared.outcome import Problem
from bot.slack.explanations import PROBLEMS


class Action(StrEnum):
    """What an administrator does with records."""

    EXPORTED = "exported"
    FORGETTING = "forgetting"  # it has begun
    FORGOT = "forgot"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `reference` and `ticket` are those of an activity."""

    at: float
    what: str
    who: str
    reference: str | None = None
    ticket: str | None = None
    detail: str = ""


_RECORD = Statement(
    "An administrator did something with a workspace's records.",
    """
    INSERT INTO audit (at, team_id, who, what, detail)
    VALUES (bot_now(), :team_id, :who, :what, :detail)
    """,
)


async def record(database: Database, team_id: str, who: str, what: Action, detail: str) -> None:
    """Keep what an administrator did. `detail` holds no customer's words and no person's ID."""
    values = {"team_id": team_id, "who": who, "what": what, "detail": detail}
    await database.run(lambda connection: _RECORD.run(connection, **values))


async def events(
    database: Database, team_id: str, *, ticket: str | None = None, since: float = 0.0
) -> AsyncIterator[Event]:
    """Return what happened in a workspace, in the order of time. Of a ticket: its activities'."""
    streams = [
        _accepted(database, team_id, ticket, since),
        _decided(database, team_id, ticket, since),
    ]
    if ticket is None:
        streams.append(_administered(database, team_id, since))
    heads = []
    for number, stream in enumerate(streams):
        if (event := await anext(stream, None)) is not None:
            heads.append((event.at, number, event))
    heapq.heapify(heads)
    while heads:
        _, number, event = heads[0]
        yield event
        if (following := await anext(streams[number], None)) is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (following.at, number, following))


async def _accepted(
    database: Database, team_id: str, ticket: str | None, since: float
) -> AsyncIterator[Event]:
    async for page in pages(database, Whose(team_id), since=since):
        for row in page.rows:
            if ticket in (None, row["ticket_id"]):
                yield Event(
                    row["accepted_at"],
                    "accepted",
                    row["user_id"],
                    row["id"],
                    row["ticket_id"],
                    _became(row),
                )


def _became(row: Row) -> str:
    before = f"{row['retry_of']} again; " if row["retry_of"] else ""
    if row["state"] == State.RECORDED:
        return f"{before}recorded, activity ID {row['activity_id']}"
    why = PROBLEMS[Problem(row["problem"])] if row["problem"] else None
    if row["state"] == State.REJECTED:
        return f"{before}not recorded: {why}"
    if row["state"] == State.UNKNOWN:
        return f"{before}may have been recorded: {why}"
    return f"{before}no outcome yet"


_DECISIONS = Statement(
    "What was decided about a workspace's activities that were not surely recorded.",
    """
    SELECT resolved_at AS at, seq AS number, id, ticket_id, resolution, resolved_by
    FROM deliveries
    WHERE team_id = :team_id AND resolution IS NOT NULL
    AND (resolved_at, seq) > (:since, :beyond)
    ORDER BY resolved_at, seq LIMIT :at_most
    """,
    index=("ix_deliveries_resolved",),
)
_DECIDED = {Resolution.SENT_AGAIN: "sent again", Resolution.CONFIRMED: "confirmed"}


async def _decided(
    database: Database, team_id: str, ticket: str | None, since: float
) -> AsyncIterator[Event]:
    async for row in _in_time(database, _DECISIONS, team_id, since):
        if ticket in (None, row["ticket_id"]):
            what = _DECIDED[Resolution(row["resolution"])]
            yield Event(row["at"], what, row["resolved_by"], row["id"], row["ticket_id"])


_ADMINISTERED = Statement(
    "What administrators did with a workspace's records.",
    """
    SELECT at, id AS number, who, what, detail FROM audit
    WHERE at >= :since AND team_id = :team_id AND (at > :since OR id > :beyond)
    ORDER BY at, id LIMIT :at_most
    """,
    index=("ix_audit_at",),
)


async def _administered(database: Database, team_id: str, since: float) -> AsyncIterator[Event]:
    async for row in _in_time(database, _ADMINISTERED, team_id, since):
        yield Event(row["at"], row["what"], row["who"], detail=row["detail"])


async def _in_time(
    database: Database, statement: Statement, team_id: str, since: float
) -> AsyncIterator[Row]:
    """Return the rows of a statement that orders by `at` and `number`, a page at a time."""
    beyond = 0
    while True:
        asked: dict[str, Any] = {
            "team_id": team_id,
            "since": since,
            "beyond": beyond,
            "at_most": PAGE,
        }
        rows = await read(database, partial(statement.all, **asked))
        for row in rows:
            yield row
        if len(rows) < PAGE:
            return
        since, beyond = rows[-1]["at"], rows[-1]["number"]


def moment(at: float | None) -> str | None:
    """Return a moment as ISO 8601 writes it, in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


_WIDTHS = (20, 12, 20, 14, 12)
HEADS = ("AT (UTC)", "WHAT", "BY", "REFERENCE", "TICKET", "DETAIL")


def line(*cells: str) -> str:
    """Return a row of the table. Its widths are fixed: it is printed before its end is known."""
    safe = [shown(cell) or "-" for cell in cells]
    padded = [f"{cell:<{width}}" for cell, width in zip(safe, _WIDTHS, strict=False)]
    return "  ".join([*padded, *safe[len(_WIDTHS) :]]).rstrip()


def cells(event: Event) -> tuple[str, ...]:
    """Return what stands in an event's row."""
    at = f"{datetime.fromtimestamp(event.at, UTC):%Y-%m-%d %H:%M:%S}"
    return (at, event.what, event.who, event.reference or "", event.ticket or "", event.detail)


def as_json(event: Event) -> dict[str, Any]:
    """Return an event as docs/operating.md describes it for programs."""
    return {
        "at": moment(event.at),
        "what": event.what,
        "who": event.who,
        "reference": event.reference,
        "ticket": event.ticket,
        "detail": event.detail,
    }
