"""What time it is in SQLite, which has no clock of its own: one time for all processes of a machine, whatever its clock is set to."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog

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
        steady: Callable[[], float] | None = None,
        boot: Callable[[], str | None] | None = None,
    ) -> None:
        self._wall = wall
        self._steady = steady or _including_sleep
        self.boot = (boot or _boot)()
        """The machine's start, from which all its processes count; None where the system has no name for it."""
        self._ahead = wall() - self._steady()

    def now(self) -> float:
        return self._steady() + self._ahead

    def ahead_of_steady(self, newest: float) -> float:
        """Return by how much the time of a machine that has just started is ahead of the steady one.

        It goes on from `newest`, the newest moment that is written down, if the machine's clock says an earlier one.
        """
        return max(self._wall(), newest) - self._steady()

    def go_on(self, ahead: float) -> None:
        """Go by what the processes of this machine have agreed on."""
        self._ahead = ahead
        differs = self.now() - self._wall()
        if abs(differs) > WORTH_A_WORD:
            _log.warning("clock_differs_from_the_machines", seconds=round(differs, 1))


def _including_sleep() -> float:
    """Return steady seconds that pass while the machine sleeps, too: a laptop's lid is closed for hours."""
    # On Linux CLOCK_MONOTONIC stops then; on macOS it does not; Windows has neither, and time.monotonic() goes on.
    clock: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
    return time.monotonic() if clock is None else time.clock_gettime(clock)


def _boot() -> str | None:
    try:
        if sys.platform == "darwin":
            asked = ("/usr/sbin/sysctl", "-n", "kern.bootsessionuuid")
            named = subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603 - all given here
            return named.stdout.strip() or None
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, subprocess.SubprocessError):
        return None
