"""The page's server: on this machine only, for pages that it served itself.

A page hears of changes by server-sent events, and acts by JSON that carries the run's token.
"""

import asyncio
import contextlib
import errno
import json
import os
import secrets
import signal
import socket
import sys
from dataclasses import asdict
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bot.playground.page.actions import Actions, RefusedError
from bot.playground.page.board import Board
from bot.playground.page.stage import FAULTS, Stage, begin, open_stage
from bot.playground.page.view import values
from bot.playground.server import HOST
from bot.slack.answers import COMMAND

TOKEN_HEADER = "X-Playground-Token"
HINT = {
    "command": COMMAND,
    "usage": "143 Customer uploaded the signed form",
    "says": "Record what a customer did on a LeadSquared ticket",
    "shortcut": "Record in LeadSquared",
}
"""Of the manifest, what the page shows."""

_STATIC = Path(__file__).parent / "static"
_FILES = {"/style.css": "text/css", "/app.js": "text/javascript", "/icon.svg": "image/svg+xml"}
_TOGETHER = 0.04
"""Seconds: changes that belong together are shown together."""

_AGAIN_AFTER = 500
"""Milliseconds after which a page that has lost the connection tries again."""

_ALIVE_EVERY = 15.0
"""Seconds between two signs of life, by which a page that has gone away is noticed."""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class PortTakenError(Exception):
    """The port cannot be listened on; `free` is one that can."""

    def __init__(self, port: int, reason: str, free: int) -> None:
        super().__init__(f"Port {port} cannot be used ({reason})")
        self.port, self.free = port, free


class PageServer:
    """Serves the page of a stage."""

    def __init__(self, stage: Stage, board: Board) -> None:
        self._stage = stage
        self._board = board
        self._actions = Actions(stage)
        self._token = secrets.token_urlsafe(24)
        self._changed = asyncio.Event()
        stage.traffic.on_change = self._changed.set

    def application(self, port: int) -> web.Application:
        application = web.Application(middlewares=[_guarded(port)], client_max_size=1024 * 1024)
        application.router.add_get("/", self._index)
        for path in _FILES:
            application.router.add_get(path, _file)
        application.router.add_get("/events", self._events)
        application.router.add_post("/act", self._act)
        return application

    async def keep_showing(self) -> None:
        """Bring the board up to date after each change."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(_TOGETHER)
            self._changed.clear()
            await self._board.show(values(self._stage))

    async def _index(self, _request: web.Request) -> web.Response:
        text = (_STATIC / "index.html").read_text()
        return web.Response(text=text.replace("{token}", self._token), content_type="text/html")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"retry: {_AGAIN_AFTER}\n\n".encode())
        faults = {name: says for name, (says, _) in FAULTS.items()}
        await _send(response, "hello", {"run": self._board.run, "hint": HINT, "faults": faults})
        shown = 0
        with contextlib.suppress(ConnectionError):
            while True:
                try:
                    async with asyncio.timeout(_ALIVE_EVERY):
                        changes = await self._board.changes(shown)
                except TimeoutError:
                    await response.write(b": still here\n\n")
                    continue
                await _send(response, "changes", asdict(changes))
                shown = changes.number
        return response

    async def _act(self, request: web.Request) -> web.Response:
        token = request.headers.get(TOKEN_HEADER, "")
        if not secrets.compare_digest(token.encode(errors="replace"), self._token.encode()):
            return _refuse(403, "This page is of an earlier playground. Reload it.")
        if request.content_type != "application/json":
            return _refuse(415, "Send JSON.")
        try:
            asked = await request.json()
            if not isinstance(asked, dict):
                return _refuse(400, "Send a JSON object.")
            answer = await self._actions.do(asked)
        except ValueError as error:
            return _refuse(400, f"That can't be done: {error}")
        except RefusedError as error:
            return _refuse(409, str(error))
        finally:
            self._changed.set()
        return web.json_response(answer)


def _guarded(port: int) -> Middleware:
    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if (why := _why_not(request, hosts)) is not None:
            response: web.StreamResponse = _refuse(403, why)
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = _refuse(error.status, error.reason)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    return guard


def _why_not(request: web.Request, hosts: set[str]) -> str | None:
    """Say why a request is not from a page of this server; None where it is.

    A name that was made to lead to this machine (DNS rebinding) stands in Host. Another site's
    page stands in Origin, and a browser says of it in Sec-Fetch-Site.
    """
    headers = request.headers
    if headers.get("Host") not in hosts:
        return "The playground answers only under its own address."
    origin = headers.get("Origin")
    if origin is not None and origin != f"http://{headers['Host']}":
        return "The playground answers only its own page."
    if request.method not in ("GET", "HEAD") and origin is None:
        return "The playground answers only its own page."
    opens = headers.get("Sec-Fetch-Mode") == "navigate" and request.path == "/"
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not opens:
        return "The playground answers only its own page."
    return None


def _refuse(status: int, why: str) -> web.Response:
    return web.json_response({"error": why}, status=status)


async def _file(request: web.Request) -> web.Response:
    body = (_STATIC / request.path.removeprefix("/")).read_text()
    return web.Response(text=body, content_type=_FILES[request.path])


async def _send(response: web.StreamResponse, event: str, data: object) -> None:
    await response.write(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())


# -- from the first line to the last


async def serve_page(port: int) -> None:
    """Serve the page until SIGINT, SIGTERM or SIGHUP. Raise PortTakenError where that can't be."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listening = _listen(port)  # first: a second playground must not start a bot
    port = listening.getsockname()[1]
    async with open_stage() as stage:
        board = Board()
        server = PageServer(stage, board)
        await board.show(values(stage))
        runner = web.AppRunner(
            server.application(port), access_log=None, shutdown_timeout=0.1,
            handler_cancellation=True,
        )  # fmt: skip
        await runner.setup()
        await web.SockSite(runner, listening).start()
        tasks = [asyncio.create_task(server.keep_showing()), asyncio.create_task(begin(stage))]
        print(f"The playground: http://{HOST}:{port}", flush=True)
        print("Ctrl-C ends it, and everything in it is thrown away.", flush=True)
        try:
            await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await runner.cleanup()


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    # Without it a port is refused for a minute after its last playground; with it a second one at
    # the same time is refused all the same.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise PortTakenError(port, os.strerror(error.errno), _free_port(port)) from None
    return listening


def _free_port(taken: int) -> int:
    """Return the next port that is free, else any."""
    for port in (*range(max(taken, 1024) + 1, max(taken, 1024) + 20), 0):
        with socket.socket() as tried, contextlib.suppress(OSError, OverflowError):
            tried.bind((HOST, port))
            found: int = tried.getsockname()[1]
            return found
    return 0


def command(port: int) -> str:
    """Return the command that serves the page on a port, with this Python as it was named."""
    python = Path(sys.executable)
    with contextlib.suppress(ValueError):
        python = python.relative_to(Path.cwd())
    return f"{python} -m bot playground --page --port {port}"
