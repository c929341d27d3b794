"""What time it is in SQLite, which has no clock of its own: one time for all processes of a machine, whatever its clock is set to."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from bot.database.tables import attempts, clocks, deliveries

_log = structlog.get_logger(__name__)

WORTH_A_WORD = 60.0
"""Seconds by which the machine's clock may differ before the log says so."""


class SteadyClock:
    """Seconds since the epoch that go on evenly when somebody sets the machine's clock.

    By the machine's clock, an hour back would keep every lease, slot and retry for an hour, and an hour ahead would end
    them all at once. So it is read once after the machine's start, and counted on from there; what was read is kept in
    the database, for the processes that come later.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        by: Callable[[], float] | None = None,
        boot: Callable[[], str | None] | None = None,
    ) -> None:
        self._wall = wall
        self._steady = by or steady
        self._boot = boot or _name_of_boot
        self._ahead = wall() - self._steady()

    def now(self) -> float:
        return self._steady() + self._ahead

    def agreed_ahead(self, connection: Connection) -> float:
        """Return by how much time is ahead of the steady clock, as the first process since the machine's start has found.

        The first reads the machine's clock, and goes on from the newest moment in the database if that one is behind it.
        """
        boot = self._boot()
        kept: float | None = connection.scalar(sa.select(clocks.c.ahead).where(clocks.c.boot == boot))
        if kept is not None:
            return kept
        # By SQLite's order of rows: there is no index by time.
        accepted = sa.select(deliveries.c.accepted_at).order_by(deliveries.c.seq.desc()).limit(1)
        started = sa.select(attempts.c.started_at).order_by(sa.text("rowid DESC")).limit(1)
        newest = max(connection.scalar(moment) or 0.0 for moment in (accepted, started))
        ahead = max(self._wall(), newest) - self._steady()
        if boot is not None:
            connection.execute(sa.delete(clocks))
            connection.execute(sa.insert(clocks).values(boot=boot, ahead=ahead))
        return ahead

    def go_on(self, ahead: float) -> None:
        """Go by what the processes of this machine have agreed on."""
        self._ahead = ahead
        differs = self.now() - self._wall()
        if abs(differs) > WORTH_A_WORD:
            _log.warning("clock_differs_from_the_machines", seconds=round(differs, 1))


def steady() -> float:
    """Return seconds that nobody can set, and that pass while the machine sleeps, too: a laptop's lid is closed for hours."""
    # On Linux CLOCK_MONOTONIC stops then; on macOS it does not; Windows has neither, and time.monotonic() goes on.
    clock: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def _name_of_boot() -> str | None:
    try:
        if sys.platform == "darwin":
            asked = ("/usr/sbin/sysctl", "-n", "kern.bootsessionuuid")
            named = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603 - all given here
            return named.stdout.strip() or None
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, subprocess.SubprocessError):
        return None
