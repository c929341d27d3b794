"""The Procfile under a Procfile runner, with the variables that Heroku gives and no others."""

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.playground.slack import BOT_TOKEN, SIGNING_SECRET
from faults.bench import Bench, chat, portal
from support.databases import database
from support.programs import ANEW, ROOT, Ended, Serving, run_beside, serving, until

HONCHO = (*ANEW, sys.executable, "-m", "honcho")
HEROKU_KILLS_AFTER = 30.0
SECRET = secrets.token_hex(32)
"""As `"generator": "secret"` in app.json makes it."""


@pytest.fixture
def empty() -> Iterator[str]:
    """An empty PostgreSQL database, spelt as Heroku spells it."""
    with database() as url:
        yield url.replace("postgresql://", "postgres://")


@pytest.fixture
async def bench(empty: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with chat() as slack, portal() as leadsquared:
        leadsquared.latency = 0.1
        with Bench(slack, leadsquared, empty, tmp_path, SECRET) as made:
            yield made


class Heroku:
    """Dynos on this machine: each is the runner with processes of the Procfile."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench = bench
        self._folder = folder
        shutil.copy(ROOT / "Procfile", folder)  # where no .env of a developer stands

    def variables(self, port: int) -> Mapping[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        config = {
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            "SLACK_SIGNING_SECRET": SIGNING_SECRET,
            "SLACK_API_URL": self._bench.slack.api_url,
            "ENCRYPTION_KEYS": SECRET,
        }
        own = {"PORT": str(port), "DATABASE_URL": self._bench.database.url, "DYNO": "web.1"}
        return {"PATH": path, **config, **own}

    async def release(self) -> Ended:
        return await run_beside(
            "start", "release", cwd=self._folder, variables=self.variables(0), command=HONCHO
        )

    async def start(self, stack: ExitStack, *processes: str) -> Serving:
        """Start a dyno, or several that stop together; commands go to its web process."""
        port = free_port()
        dyno = stack.enter_context(
            serving(
                "start",
                *processes,
                cwd=self._folder,
                variables=self.variables(port),
                command=HONCHO,
            )
        )
        await until(lambda: len(said(dyno, "started")) == len(processes) or dyno.status is not None)
        assert dyno.status is None, dyno.log
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url) as client:
            await until_ready(client)
        self._bench.route(dyno, url)
        return dyno

    async def stop(self, dyno: Serving) -> None:
        """Stop as Heroku does: nothing new is routed there, then SIGTERM."""
        self._bench.route_no_more(dyno)
        dyno.signal(signal.SIGTERM)
        assert await dyno.ended(within=HEROKU_KILLS_AFTER) == 128 + signal.SIGTERM, dyno.log
        assert len(said(dyno, "stopped")) == len(said(dyno, "started")), dyno.log


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def said(dyno: Serving, event: str) -> list[dict[str, Any]]:
    """Return the log's events of a name, behind the runner's prefixes."""
    lines = [line.partition(" | ")[2] for line in dyno.log.splitlines()]
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return [found for found in events if found["event"] == event]


async def until_ready(client: httpx.AsyncClient) -> None:
    while (await client.get("/readyz")).status_code != httpx.codes.OK:
        await asyncio.sleep(0.05)


def recorded(bench: Bench) -> Callable[[], int]:
    return lambda: len(bench.leadsquared.ledger.activities)


def test_the_procfile_names_the_commands() -> None:
    processes = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    assert processes == {
        "release": "python -m bot migrate",
        "web": "python -m bot run",
        "worker": "python -m bot worker",
    }


async def test_it_is_released_scaled_and_stopped_under_load_and_nothing_is_lost(
    bench: Bench, tmp_path: Path
) -> None:
    heroku = Heroku(bench, tmp_path)
    released = await heroku.release()
    assert released.status == 0, released.said
    assert "The database is now at revision" in released.out
    await bench.prepare()

    with ExitStack() as stack:
        first = await heroku.start(stack, "web", "worker")
        async with bench.people_typing():
            await until(lambda: recorded(bench)() >= 5)
            second = await heroku.start(stack, "web")
            await until(lambda: len(said(second, "accepted")) >= 5)
            await heroku.stop(first)  # a daily restart, while people type
            before = recorded(bench)()
            await until(lambda: recorded(bench)() >= before + 5)
            third = await heroku.start(stack, "web", "worker")
            await heroku.stop(second)
        await bench.rest()
        await heroku.stop(third)
    ledgers = bench.audit()
    assert len(ledgers.activities) >= 15
