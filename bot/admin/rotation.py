"""Re-encrypts every stored value with the first of ENCRYPTION_KEYS, while the bot runs."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bot.database.stored import BATCH, ENCRYPTED, Change, Encrypted
from bot.database.tables import deliveries, installations, tenants
from bot.database.writer import Database
from bot.encryption import Keyring, UndecipherableError, encrypted_at

PAUSE = 0.01
"""Seconds at least between two transactions; else as many as the last one took, so that half of
the time is the bot's.
"""


@dataclass(frozen=True, slots=True)
class Unopened:
    """Values that no secret decrypts.

    `since` and `until`: when they say they were encrypted, if they do.
    """

    tenants: int = 0
    installations: int = 0
    activities: int = 0
    since: float | None = None
    until: float | None = None

    @property
    def values(self) -> int:
        return self.tenants + self.installations + self.activities

    def and_(self, token: bytes, of: "Encrypted") -> "Unopened":
        """Count one more."""
        moments = [
            moment for moment in (self.since, self.until, encrypted_at(token)) if moment is not None
        ]
        return replace(
            self,
            tenants=self.tenants + (of.table is tenants),
            installations=self.installations + (of.table is installations),
            activities=self.activities + (of.table is deliveries),
            since=min(moments, default=None),
            until=max(moments, default=None),
        )


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass over everything found, in values: a tenant has two, an activity up to three.

    `outdated` were not encrypted with the first secret; `renewed` of these were re-encrypted; a
    process changed the others first.
    """

    values: int = 0
    outdated: int = 0
    renewed: int = 0
    unreadable: Unopened = field(default_factory=Unopened)


@dataclass(frozen=True, slots=True)
class Rotation:
    """The result.

    `late`: a process encrypted them with another secret than the first during the run.
    """

    values: int
    renewed: int
    late: int
    unreadable: Unopened


async def renew_all(database: Database, keyring: Keyring) -> Rotation:
    """Encrypt what is stored with the first secret, then check that nothing is left over.

    It can be stopped at any moment and begun anew: what is encrypted with the first secret already
    is left alone.
    """
    first = await _look(database, keyring)
    second = (
        await _look(database, keyring)
        if first.outdated
        else Pass(first.values, unreadable=first.unreadable)
    )
    return Rotation(
        second.values, first.renewed + second.renewed, second.outdated, second.unreadable
    )


async def _look(database: Database, keyring: Keyring) -> Pass:
    """Go through everything that is stored at this moment."""
    found = Pass()
    for encrypted in ENCRYPTED:
        after, last = 0, await database.run(encrypted.last)
        while after < last:
            started = time.monotonic()
            rows = await database.run(partial(encrypted.rows, after=after, last=last))
            found, changes = _outdated(found, rows, encrypted, keyring)
            if changes:
                renewed = await database.run(partial(encrypted.put, changes=changes))
                found = replace(found, renewed=found.renewed + renewed)
            after = rows[-1][0] if len(rows) == BATCH else last
            await asyncio.sleep(max(time.monotonic() - started, PAUSE))
    return found


def _outdated(
    found: Pass, rows: Sequence[Sequence[Any]], encrypted: Encrypted, keyring: Keyring
) -> tuple[Pass, list[Change]]:
    """Return what is to be changed in these rows; and count."""
    changes: list[Change] = []
    unreadable, values = found.unreadable, found.values
    for row in rows:
        number, tokens = row[0], row[1:]
        for column, token in zip(encrypted.columns, tokens, strict=True):
            if not token:
                continue
            values += 1
            try:
                new = keyring.renew(token)
            except UndecipherableError:
                unreadable = unreadable.and_(token, encrypted)
            else:
                changes += [] if new is None else [Change(number, column, token, new)]
    outdated = found.outdated + len(changes)
    return replace(found, values=values, outdated=outdated, unreadable=unreadable), changes


# -- in words


def by_hand(generated: Path | None) -> str:
    """Say how to leave the secret that was generated beside a SQLite file.

    A running bot knows no other secret.
    """
    old = f"the text of {generated}" if generated is not None else "the old one"
    return (
        "ENCRYPTION_KEYS: not set, so there is no new secret. Set it to a new secret, a comma, "
        f"and {old}; restart the bot; then run this again. With several bot processes, "
        "put the new secret last at first (README.md: Change the secret)"
    )


def summary(rotation: Rotation, secrets: int) -> list[str]:
    """Say what was done, and what to do next. `secrets`: how many ENCRYPTION_KEYS has."""
    if not rotation.values:
        return [
            (
                "The database has no encrypted value, "
                "so there was nothing to do and no secret was tested."
            )
        ]
    readable = rotation.values - rotation.unreadable.values
    done = (
        "Re-encrypted with the first of ENCRYPTION_KEYS: "
        f"{rotation.renewed:,} of {rotation.values:,} values."
    )
    if rotation.late:
        return [done]
    kept = f"All {readable:,} readable values are encrypted with the first of ENCRYPTION_KEYS"
    if readable < rotation.values:
        return [done, f"{kept}. Read the lines below before you remove a secret."]
    if secrets == 1:
        return [done, f"{kept}, which is the only one."]
    if rotation.renewed:
        return [done, f"{kept}. Remove the others now, in every process."]
    idle = f"{kept} already. The others are not in use."
    new = "If the first one is your new secret, remove the others in every process."
    old = (
        "If it is the old one, put the new one in front of it in every process, restart them, "
        "and run this again."
    )
    return [done, f"{idle} {new} {old}"]


def problems_of(rotation: Rotation, generated: Path | None) -> list[str]:
    """Say why the other secrets must stay, a line each; nothing when they may go."""
    problems = []
    if rotation.late:
        problems.append(
            f"ENCRYPTION_KEYS: during this run a bot process encrypted {rotation.late:,} values "
            "with a secret that is not the first; "
            "give every process the same ENCRYPTION_KEYS, restart it, and run this again"
        )
    unreadable = rotation.unreadable
    counts = {
        "keys of tenants": unreadable.tenants,
        "tokens of workspaces": unreadable.installations,
        "values of activities": unreadable.activities,
    }
    if named := ", ".join(f"{count:,} {what}" for what, count in counts.items() if count):
        problems.append(
            f"ENCRYPTION_KEYS: {named} cannot be decrypted and were not changed; "
            f"{_missing(unreadable, generated)}"
        )
    return problems


def _missing(unreadable: Unopened, generated: Path | None) -> str:
    if unreadable.since is None or unreadable.until is None:
        return "they are damaged, so no secret helps; restore them from a backup"
    since, until = (
        f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M}"
        for moment in (unreadable.since, unreadable.until)
    )
    when = f"at {since}" if since == until else f"between {since} and {until}"
    beside = "" if generated is None else f"; it may be the one in {generated}"
    return (
        f"they were encrypted {when} UTC; add the newest secret of that time at the end, "
        f"in every process{beside}; then run this again"
    )
