"""The bot of the page: `python -m bot run`, a process of its own between the stand-ins."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import aiohttp

import bot
from bot.playground.server import HOST
from bot.playground.slack import APP_TOKEN, CLIENT_ID, CLIENT_SECRET, SIGNING_SECRET, SlackStandIn
from bot.settings import Settings

Transport = Literal["http", "socket"]
State = Literal["starting", "ready", "stopping", "stopped", "failed"]

STARTS_WITHIN = 30.0
"""Seconds. A start takes about two."""

STOPS_WITHIN = 8.0
"""Seconds. SHUTDOWN_GRACE is 3."""

_ASK_AGAIN = 0.05
_LOG_LINES = 300
_REPOSITORY = Path(bot.__file__).parents[1]


class Program:
    """Starts, stops and kills the bot. Its database stays where it is, so it loses nothing."""

    def __init__(self, slack: SlackStandIn, folder: Path, on_change: Callable[[], None]) -> None:
        self._slack = slack
        self._folder = folder
        self._on_change = on_change
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self.state: State = "stopped"
        self.transport: Transport = "http"
        self.port = 0
        self.log: deque[tuple[int, str]] = deque(maxlen=_LOG_LINES)
        self._lines = 0

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def start(self, transport: Transport | None = None) -> None:
        """Start the bot and wait until it is ready; do nothing if it runs."""
        async with self._one_at_a_time:
            if self._process is None:
                self.transport = transport or self.transport
                await self._start()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the bot: SIGTERM as a deployment does, SIGKILL as a crash does."""
        async with self._one_at_a_time:
            process = self._process
            if process is None:
                return
            self._become("stopping")
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            try:
                await asyncio.wait_for(process.wait(), STOPS_WITHIN)
            except TimeoutError:
                process.kill()
                await process.wait()
            if self._reading is not None:
                await self._reading

    async def kill(self) -> None:
        """Kill the bot, as a crash would."""
        await self.stop(signal.SIGKILL)

    async def restart(self, transport: Transport | None = None) -> None:
        await self.stop()
        await self.start(transport)

    async def _start(self) -> None:
        self._become("starting")
        self.port = _free_port()
        self._slack.request_url = f"{self.url}/slack/events" if self.transport == "http" else None
        self._slack.oauth.redirect_url = f"{self.url}/slack/oauth_redirect"
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "run",
            cwd=self._folder,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._follow(self._process))
        try:
            async with asyncio.timeout(STARTS_WITHIN):
                await self._until_ready()
        except TimeoutError:
            self._become("failed")
        else:
            self._become("failed" if self._process is None else "ready")

    async def _until_ready(self) -> None:
        async with aiohttp.ClientSession(trust_env=False) as session:
            while self._process is not None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/readyz") as response:
                        if response.ok:
                            return
                await asyncio.sleep(_ASK_AGAIN)

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Keep what the bot logs, and notice its end."""
        assert process.stdout is not None  # noqa: S101 - for the type checker
        async for line in process.stdout:
            self._lines += 1
            self.log.append((self._lines, line.decode(errors="replace").rstrip()))
            self._on_change()
        await process.wait()
        expected = self.state == "stopping"
        self._process = None
        self._become("stopped" if expected else "failed")

    def _become(self, state: State) -> None:
        self.state = state
        self._on_change()

    def _environment(self) -> dict[str, str]:
        """Return the variables of the bot: none of the developer's own settings is among them."""
        ours = {name.upper() for name in Settings.model_fields}
        kept = {name: value for name, value in os.environ.items() if name.upper() not in ours}
        slack = (
            {"SLACK_SIGNING_SECRET": SIGNING_SECRET}
            if self.transport == "http"
            else {"SLACK_APP_TOKEN": APP_TOKEN}
        )
        return kept | slack | settings(self._slack, self._folder) | {
            "PORT": str(self.port),
            "PYTHONPATH": str(_REPOSITORY),
            "PYTHONUNBUFFERED": "1",
        }  # fmt: skip


def settings(slack: SlackStandIn, folder: Path) -> dict[str, str]:
    """Return what the bot is told in the playground; its times are short enough to wait for."""
    return {
        "SLACK_CLIENT_ID": CLIENT_ID,
        "SLACK_CLIENT_SECRET": CLIENT_SECRET,
        "SLACK_API_URL": slack.api_url,
        "LEADSQUARED_ALLOWED_HOSTS": HOST,
        "LEADSQUARED_CONNECT_TIMEOUT": "2",
        "LEADSQUARED_READ_TIMEOUT": "2",
        "LEADSQUARED_LOOK_AFTER_UNKNOWN": "true",
        "DATA_DIR": str(folder),
        "HOST": HOST,
        "RETRY_FOR": "60",
        "SHUTDOWN_GRACE": "3",
        "LOG_LEVEL": "INFO",
        "LOG_FORMAT": "console",
    }


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        port: int = found.getsockname()[1]
        return port
