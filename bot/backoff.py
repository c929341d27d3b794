"""How long to wait before another try: longer each time, and never in step with others."""

import random


class Backoff:
    """Pauses in seconds that double from `first` to `longest`.

    Each is shortened at random by up to half.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def pause(self) -> float:
        """Return the next pause."""
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return jittered(pause)

    def reset(self) -> None:
        """Begin with the first pause again, for it has worked."""
        self._next = self._first


def jittered(pause: float) -> float:
    """Return a pause with up to half of it taken off at random."""
    return pause * (0.5 + random.random() / 2)  # noqa: S311 - jitter
