"""What time it is in SQLite, which has no clock of its own."""

import time
from collections.abc import Callable


def steady_clock() -> Callable[[], float]:
    """Return a clock of seconds since the epoch that changes of the wall clock do not affect.

    By the wall clock, an hour back would keep every lease, slot and retry for an hour, and an hour
    ahead would end them all. So a process reads it once. Processes that start before and after
    such a change disagree by it.
    """
    ahead = time.time() - steady()
    return lambda: steady() + ahead


def steady() -> float:
    """Return seconds that no change of the clock affects.

    They pass while the machine sleeps, too: a laptop may be closed for hours.
    """
    # On Linux CLOCK_MONOTONIC stops then; on macOS it does not; Windows has neither, and
    # time.monotonic() goes on.
    clock: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
    return time.monotonic() if clock is None else time.clock_gettime(clock)
