"""The apps that are measured, each a process of its own: the bot, and stock Bolt apps."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import BOT_TOKEN, SIGNING_SECRET
from benchmarks.processes import ROOT, Server, free_port, start
from benchmarks.tenants import ENCRYPTION_KEY

_STOCK = ROOT / "benchmarks" / "stock"


@dataclass(frozen=True)
class App:
    """A column of the table; `ready` is a path that is answered once the app serves."""

    name: str
    command: tuple[str, ...]
    ready: str = "/"


BOT = App("ours", (sys.executable, "-m", "bot", "run"), "/readyz")
ACKNOWLEDGING = App("ack only", (sys.executable, "-m", "benchmarks.stock.acknowledging"))
PYTHON_ASYNC = App("async", (sys.executable, "-m", "benchmarks.stock.python_async"))
PYTHON_SYNC = App("sync", (sys.executable, "-m", "benchmarks.stock.python_sync"))
JAVASCRIPT = App("JavaScript", ("node", str(_STOCK / "javascript.mjs")))


def has_javascript() -> bool:
    return shutil.which("node") is not None and (_STOCK / "node_modules" / "@slack").is_dir()


@asynccontextmanager
async def running(
    app: App,
    vendors: int,
    directory: Path,
    **settings: str,
) -> AsyncIterator[Server]:
    """Run an app until the block ends; the vendors' stand-ins listen on that port."""
    port = free_port()
    shared = {
        "SLACK_BOT_TOKEN": BOT_TOKEN,
        "SLACK_SIGNING_SECRET": SIGNING_SECRET,
        "SLACK_API_URL": f"http://127.0.0.1:{vendors}/slack/",
        "LEADSQUARED_API_URL": f"http://127.0.0.1:{vendors}",
        "LEADSQUARED_ORG_ID": "22824",
        "LEADSQUARED_ACCESS_KEY": "access-key-of-the-benchmark",
        "LEADSQUARED_SECRET_KEY": "secret-key-of-the-benchmark",
        "PORT": str(port),
    }
    server = start(list(app.command), directory, port, **{**shared, **settings})
    try:
        yield server
    finally:
        # In a thread: the stand-ins, in this one, serve the app to its end.
        await asyncio.to_thread(server.stop)


async def ready(app: App, server: Server) -> float:
    """Return how many seconds after its start the app serves."""
    return await asyncio.to_thread(server.until_answering, app.ready)


def bot_settings(database: Path) -> dict[str, str]:
    """Return what the bot is told beside what all apps are: a SQLite file, and how to run."""
    return {
        "DATABASE_URL": f"sqlite:///{database}",
        "ENCRYPTION_KEYS": ENCRYPTION_KEY,
        "LOG_LEVEL": "WARNING",
        "SHUTDOWN_GRACE": "3",
    }
