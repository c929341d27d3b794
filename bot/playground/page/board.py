"""What every open page shows: a value for each key, and which have changed since when."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changes:
    """What a page must do to stand at `number`."""

    number: int
    set: dict[str, Any]
    gone: list[str]


class Board:
    """Values by key, with the number of the change that brought each.

    `run` tells one start of the playground from another.
    """

    def __init__(self) -> None:
        self.run = secrets.token_hex(8)
        self._values: dict[str, Any] = {}
        self._numbers: dict[str, int] = {}  # of what is gone, too
        self._number = 0
        self._changed = asyncio.Condition()

    async def show(self, values: Values) -> None:
        """Show these and nothing else; wake the pages if that is a change."""
        changed = [key for key, value in values.items() if self._values.get(key) != value]
        gone = self._values.keys() - values.keys()
        if not changed and not gone:
            return
        self._number += 1
        for key in (*changed, *gone):
            self._numbers[key] = self._number
        self._values = dict(values)
        async with self._changed:
            self._changed.notify_all()

    async def changes(self, since: int) -> Changes:
        """Return what has changed since a number, once there is anything."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._number > since)
        new = [key for key, number in self._numbers.items() if number > since]
        return Changes(
            self._number,
            {key: self._values[key] for key in new if key in self._values},
            [key for key in new if key not in self._values],
        )
