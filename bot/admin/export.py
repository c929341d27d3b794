"""A workspace's activities with their texts, for another program: python -m bot export."""

import csv
import json
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Protocol

from bot.admin.audit import Action, moment, record
from bot.admin.history import Whose, pages
from bot.database.statement import Row
from bot.database.writer import Database
from bot.encryption import Keyring, UndecipherableError

COLUMNS = (
    "reference", "organisation", "workspace", "channel", "user", "tenant", "ticket", "text",
    "words", "state", "activity_id", "problem", "leadsquared_says", "accepted_at", "settled_at",
    "attempts", "sent_again_from", "resolution", "resolved_by", "resolved_at", "thread_ts",
    "message_ts", "ticket_title", "last_line",
)  # fmt: skip
"""What an export says of an activity. `words` says whether its texts could be given."""

BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula, or skips before one; in full width too.

See https://owasp.org/www-community/attacks/CSV_Injection.
"""


class Format(StrEnum):
    """How an export is written."""

    CSV = "csv"
    JSONL = "jsonl"


class Words(StrEnum):
    """Whether an activity's texts could be given."""

    READABLE = "readable"
    DELETED = "deleted"
    UNDECIPHERABLE = "undecipherable"


class Out(Protocol):
    """Where an export goes, such as standard output."""

    def write(self, text: str, /) -> object: ...


async def export(
    database: Database,
    keyring: Keyring,
    whose: Whose,
    *,
    by: str,
    since: float,
    format_: Format,
    out: Out,
    progress: Callable[[float, int], None],
) -> int:
    """Write a workspace's activities and return their number. The audit trail says so first.

    `progress` is told which part is done, and how many activities that is.
    """
    asked = f"{format_}, since {moment(since)}" if since else str(format_)
    await record(database, whose.team_id or whose.enterprise_id, by, Action.EXPORTED, asked)
    write = _csv(out) if format_ is Format.CSV else _json_lines(out)
    number = 0
    async for page in pages(database, whose, since=since):
        write(_activity(row, keyring) for row in page.rows)
        number += len(page.rows)
        progress(page.done, number)
    return number


def _csv(out: Out) -> Callable[[Iterable[dict[str, Any]]], None]:
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()

    def write(activities: Iterable[dict[str, Any]]) -> None:
        for activity in activities:
            writer.writerow({name: safe_cell(value) for name, value in activity.items()})

    return write


def _json_lines(out: Out) -> Callable[[Iterable[dict[str, Any]]], None]:
    def write(activities: Iterable[dict[str, Any]]) -> None:
        for activity in activities:
            out.write(json.dumps(activity, ensure_ascii=False) + "\n")

    return write


def safe_cell(value: object) -> object:
    """Return a value that a spreadsheet does not carry out as a formula."""
    if isinstance(value, str) and value.startswith(BEGINS_FORMULA):
        return f"'{value}"
    return value


def _activity(row: Row, keyring: Keyring) -> dict[str, Any]:
    """Return what an export says of an activity, by column."""
    text, says = _read(row["text"], keyring), _read(row["detail"], keyring)
    words = Words.READABLE if text is not None and says is not None else Words.UNDECIPHERABLE
    return {
        "reference": row["id"],
        "organisation": row["enterprise_id"],
        "workspace": row["team_id"],
        "channel": row["channel_id"],
        "user": row["user_id"],
        "tenant": row["tenant_name"],
        "ticket": row["ticket_id"],
        "text": text or "",
        "words": words if row["erased_at"] is None else Words.DELETED,
        "state": row["state"],
        "activity_id": row["activity_id"],
        "problem": row["problem"],
        "leadsquared_says": says or "",
        "accepted_at": moment(row["accepted_at"]),
        "settled_at": moment(row["settled_at"]),
        "attempts": row["attempts"],
        "sent_again_from": row["retry_of"],
        "resolution": row["resolution"],
        "resolved_by": row["resolved_by"],
        "resolved_at": moment(row["resolved_at"]),
        "thread_ts": row["thread_ts"],
        "message_ts": row["message_ts"],
        "ticket_title": _read(row["title"], keyring) or "",
        "last_line": _read(row["last_line"], keyring) or "",
    }


def _read(token: bytes | None, keyring: Keyring) -> str | None:
    """Return a text; None when no secret of today decrypts it."""
    try:
        return keyring.decrypt(token) if token else ""
    except UndecipherableError:
        return None
