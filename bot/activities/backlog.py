"""When what waits to be sent is worth a warning. Pure."""

from dataclasses import dataclass

WAITS_LONG = 300.0
"""Seconds of waiting after which an admin should check: a full rate limit sends 1,400 by then."""

MANY = 100
"""Activities. Fewer are gone within 20 s at the rate limit, so their growth says nothing."""

WARN_EVERY = 60.0
"""Seconds between two warnings, and over which growth is measured."""

WATCH_EVERY = 10.0
"""Seconds between two counts of what waits: the more waits, the longer one takes."""


@dataclass(frozen=True, slots=True)
class Queued:
    """What is accepted and not yet claimed: how many, and the age of the oldest in seconds."""

    number: int
    oldest: float


class Backlog:
    """Compares what waits with what waited a minute before. Moments are by time.monotonic()."""

    def __init__(self) -> None:
        self._before = 0
        self._measured_at = -WARN_EVERY
        self._warned_at = -WARN_EVERY
        self._count_at = -WATCH_EVERY

    def is_count_due(self, moment: float) -> bool:
        """Say whether to count what waits now; if so, the next count is due WATCH_EVERY later."""
        if moment < self._count_at:
            return False
        self._count_at = moment + WATCH_EVERY
        return True

    def is_worth_a_warning(self, waiting: Queued, moment: float) -> bool:
        grows = waiting.number >= MANY and waiting.number > self._before
        if moment >= self._measured_at + WARN_EVERY:
            self._before, self._measured_at = waiting.number, moment
        self._before = min(self._before, waiting.number)
        if not (grows or waiting.oldest >= WAITS_LONG) or moment < self._warned_at + WARN_EVERY:
            return False
        self._warned_at = moment
        return True
