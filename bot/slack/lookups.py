"""What Slack was asked: each question once at a time, and its answer kept for a while."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

KEPT = 10_000
"""Answers that are kept at most: the oldest goes."""


class Lookups(Generic[K, V]):
    """Answers by key. `lasts` says for how many seconds an answer counts."""

    def __init__(self, lasts: Callable[[V], float]) -> None:
        self._lasts = lasts
        self._known: OrderedDict[K, tuple[V, float]] = OrderedDict()  # until when, monotonic
        self._asking: dict[K, asyncio.Task[tuple[V, bool]]] = {}

    def known(self, key: K) -> V | None:
        """Return the answer that is there."""
        value, until = self._known.get(key, (None, 0.0))
        return value if until > time.monotonic() else None

    def begin(
        self, key: K, ask: Callable[[], Coroutine[Any, Any, V]]
    ) -> "asyncio.Task[tuple[V, bool]]":
        """Ask, unless that is under way."""
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._ask(key, ask))
        return self._asking[key]

    async def get(self, key: K, ask: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return an answer that nothing has made out of date since it was asked for.

        A caller that waits no longer does not end the question: the answer serves the next one.
        """
        while True:
            known = self.known(key)
            if known is not None:
                return known
            value, still_counts = await asyncio.shield(self.begin(key, ask))
            if still_counts:
                return value

    def forget(self, matches: Callable[[K], bool]) -> None:
        """Ask again where a key matches. What is being asked does not count either."""
        for key in [*self._known, *self._asking]:
            if matches(key):
                self._known.pop(key, None)
                self._asking.pop(key, None)

    async def close(self) -> None:
        """End what is being asked."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, key: K, ask: Callable[[], Coroutine[Any, Any, V]]) -> tuple[V, bool]:
        me = asyncio.current_task()
        try:
            value = await ask()
        finally:
            still_counts = self._asking.get(key) is me
            if still_counts:
                del self._asking[key]
        if still_counts:
            self._known.pop(key, None)
            self._known[key] = (value, time.monotonic() + self._lasts(value))
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return value, still_counts
