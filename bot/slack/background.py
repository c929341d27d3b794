"""What goes on after a request was acknowledged."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class Background:
    """Tasks that only the end of the process waits for."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, within: float) -> None:
        """Wait for what was started, `within` so many seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within)

    async def cancel(self) -> None:
        """End what was started, wherever it is."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:  # noqa: BLE001 - unexpected, and there is no caller to raise it to
        _log.exception("background_failed")
