"""Reads the ledgers of an audit: the database's rows, and what the bot said in Slack."""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import psycopg

from bot.activities.delivery import State
from bot.encryption import Keyring
from bot.leadsquared.outcome import Problem
from bot.playground.workspace import Posted
from faults.audit import AtOnce, Crash, Kind, Row, Said

_DELIVERIES = (
    "\n    SELECT d.seq, d.id, d.ticket_id, d.text, d.state, d.activity_id, d.problem, d.retry_of, "
    "d.tell_at IS NOT NULL,"
    "\n           a.started_at, a.answered_at"
    "\n    FROM deliveries d LEFT JOIN attempts a"
    " ON a.delivery_seq = d.seq AND a.number = d.attempts"
    "\n    ORDER BY d.seq\n"
)
_UNFINISHED = (
    "SELECT count(*) FROM deliveries "
    "WHERE state IN ('accepted', 'claimed', 'sending') OR tell_at IS NOT NULL"
)
_IN_HAND = (
    "SELECT id, state = 'sending', tell_lease_until IS NOT NULL FROM deliveries "
    "WHERE state = 'sending' OR tell_lease_until IS NOT NULL"
)
_END_LEASES = (
    "UPDATE deliveries SET lease_until = 0 WHERE state IN ('claimed', 'sending')",
    "UPDATE deliveries SET tell_lease_until = 0 WHERE tell_lease_until IS NOT NULL",
)
_REFERENCE = re.compile(r"Reference ([a-z2-7]{12})")
_ID = re.compile(r"activity ID (\S+)")
_STATES = {"⏳": State.ACCEPTED, "✅": State.RECORDED, "❌": State.REJECTED, "⚠️": State.UNKNOWN}
_ANCHOR = "ortal activity"


class DatabaseLedger:
    """What the bot's database holds, read beside the bot. `url` as in DATABASE_URL."""

    def __init__(self, url: str, secret: str) -> None:
        self.url = url
        self._keyring = Keyring([secret])
        self._texts: dict[bytes, str] = {}  # decrypted already

    def rows(self) -> list[Row]:
        """Return every delivery, in the order of acceptance."""
        return [
            Row(
                seq=seq,
                reference=id_,
                ticket=ticket,
                text=self._text(text),
                state=State(state),
                activity_id=activity_id,
                problem=Problem(problem) if problem else None,
                retry_of=retry_of,
                to_tell=bool(to_tell),
                sent_at=sent_at,
                answered_at=answered_at,
            )
            for (
                seq,
                id_,
                ticket,
                text,
                state,
                activity_id,
                problem,
                retry_of,
                to_tell,
                sent_at,
                answered_at,
            ) in self._read(_DELIVERIES)
        ]

    def unfinished(self) -> int:
        """Count what is not settled, or not told."""
        return int(self._read(_UNFINISHED)[0][0])

    def in_hand(self) -> Crash:
        """Say what live and dead processes are sending and telling."""
        found = self._read(_IN_HAND)
        return Crash(
            sending=frozenset(id_ for id_, sending, _ in found if sending),
            telling=frozenset(id_ for id_, _, telling in found if telling),
        )

    def end_leases(self) -> None:
        """End all leases, so that each process that holds a delivery counts as dead."""
        with self._connected("rw") as connection:
            for statement in _END_LEASES:
                connection.execute(statement)
            connection.commit()

    def _read(self, query: str) -> list[Any]:
        # Read-only: closing the last connection that may write tidies up what a crash left
        # behind.
        with self._connected("ro") as connection:
            return list(connection.execute(query).fetchall())

    @contextmanager
    def _connected(self, mode: str) -> Iterator[Any]:
        connection: Any
        if self.url.startswith("sqlite"):
            file = self.url.removeprefix("sqlite:///")
            connection = sqlite3.connect(f"file:{file}?mode={mode}", uri=True, timeout=5)
        else:
            connection = psycopg.connect(self.url, connect_timeout=2)
        with closing(connection):
            yield connection

    def _text(self, token: bytes) -> str:
        if token not in self._texts:
            self._texts[token] = self._keyring.decrypt(token)
        return self._texts[token]


def said(posted: Posted, recorded: Mapping[str, str]) -> Said | None:
    """Return what a message says of a delivery, as it stands now; None when it is about none.

    `recorded` are the references by activity ID: under an anchor, an answer has no reference of
    its own.
    """
    state = next((state for icon, state in _STATES.items() if posted.text.startswith(icon)), None)
    if state is None:
        return None
    first = posted.text.splitlines()[0]
    id_ = _ID.search(first) if state is State.RECORDED else None
    reference = _reference(posted) or (id_ and recorded.get(id_[1], f"activity ID {id_[1]}"))
    if reference is None:
        return None  # a note under an anchor
    if _ANCHOR in first:
        return Said(reference, Kind.ANCHOR, state)
    kind = Kind.NOTE if state is State.ACCEPTED else Kind.ANSWER
    return Said(reference, kind, state, activity_id=id_[1] if id_ else None)


def _reference(posted: Posted) -> str | None:
    """Return the reference that stands in a message, or that its buttons carry."""
    found = _REFERENCE.search(posted.text)
    if found is not None:
        return found[1]
    return next((str(button["value"]) for button in posted.buttons().values()), None)


def at_once(shown: Posted | None) -> AtOnce:
    """Return what it means that a command was answered so."""
    if shown is None:
        return AtOnce.ACKNOWLEDGED
    if "couldn't store this" in shown.text:
        return AtOnce.REFUSED
    if "may or may not have stored this" in shown.text or "failed with the error" in shown.text:
        return AtOnce.UNSURE
    return AtOnce.OTHER
