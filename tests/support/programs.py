"""Processes of the product that run beside the tests."""

import asyncio
import functools
import json
import os
import re
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

ROOT = Path(__file__).parents[2]
BOT = (sys.executable, "-m", "bot")

PATIENCE = 60.0
"""Seconds that a test waits for what must come, on a machine that does much else as well."""

ANEW = ("env",)
"""In front of a command: it is started anew, and not forked."""


# -- processes that end by themselves


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err

    @property
    def problems(self) -> list[str]:
        """The lines of standard error."""
        return self.err.splitlines()


@dataclass(frozen=True, slots=True)
class Task:
    """A command line of the product, with its environment and its standard input."""

    arguments: Sequence[str]
    variables: Mapping[str, str]
    typed: bytes = b""
    folder: Path | None = None


def surroundings(variables: Mapping[str, str]) -> dict[str, str]:
    """Return a clean environment, with this repository to import from."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "PATH" or name.startswith("COVERAGE_")
    }
    return {**kept, "PYTHONPATH": str(ROOT), **variables}


def run(
    *arguments: str,
    cwd: Path,
    variables: Mapping[str, str] | None = None,
    typed: str | bytes = b"",
    command: Sequence[str] = BOT,
    umask: int = -1,
    within: float = PATIENCE,
) -> Ended:
    """Run `python -m bot …` to its end.

    One that does not end in time is killed, and its status says so: -9.
    """
    given = typed.encode() if isinstance(typed, str) else typed
    environment = surroundings(variables or {})
    if (module := _forked_as(command, environment)) is not None:
        return _run_forked(
            [module, *arguments], given, within, cwd=str(cwd), env=environment, umask=umask
        )
    with subprocess.Popen(
        [*command, *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        umask=umask,
    ) as process:
        try:
            out, err = process.communicate(given, timeout=within)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        except BaseException:
            process.kill()
            raise
    return Ended(process.returncode, out.decode(), err.decode())


def run_all(
    tasks: Iterable[Task],
    folder: Path | None = None,
    *,
    at_once: int | None = None,
    within: float = PATIENCE,
) -> list[Ended]:
    """Run processes beside each other, `at_once` of them, or as many as there are processors.

    `folder` is for those without one.
    """

    def run_one(task: Task) -> Ended:
        cwd = task.folder or folder
        assert cwd is not None
        return run(
            *task.arguments, cwd=cwd, variables=task.variables, typed=task.typed, within=within
        )

    with ThreadPoolExecutor(at_once or max(os.cpu_count() or 1, 2)) as pool:
        return list(pool.map(run_one, tasks))


async def run_beside(
    *arguments: str,
    cwd: Path,
    variables: Mapping[str, str],
    typed: str = "",
    command: Sequence[str] = BOT,
) -> Ended:
    """Run a process to its end while this event loop goes on serving the stand-ins."""
    return await asyncio.to_thread(
        run, *arguments, cwd=cwd, variables=variables, typed=typed, command=command
    )


# -- processes that are forked


def _forked_as(command: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Return the module that a fork runs for a command; None when it needs a start of its own."""
    at_a_start_only = (
        name.startswith(("COVERAGE_", "PYTHON"))
        for name, value in environment.items()
        if value and name != "PYTHONPATH"
    )
    if len(command) != len(BOT) or command[:2] != BOT[:2] or any(at_a_start_only):
        return None
    return command[2]


@functools.cache
def _forking() -> "tuple[socket.socket, subprocess.Popen[bytes]]":
    """Start the process that forks (`forking.py`), once for a test process; it ends with it."""
    ours, its = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", "support.forking", str(its.fileno())],
        cwd=ROOT / "tests",
        env=surroundings({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[its.fileno()],
    )
    its.close()
    return ours, process


_ONE_AT_A_TIME = threading.Lock()


def stop_forking() -> None:
    """End the process that forks, if a test has started it."""
    if _forking.cache_info().currsize:
        control, process = _forking()
        control.close()
        process.wait(10)
        _forking.cache_clear()


class Forked:
    """A fork that runs `python -m …`. It has what the tests use of `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], streams: Sequence[int], **surrounded: Any) -> None:
        self._ours, its = socket.socketpair()
        with its, _ONE_AT_A_TIME:
            socket.send_fds(_forking()[0], [b"."], [its.fileno(), *streams])
        asked = {"arguments": arguments, **surrounded}
        self._ours.sendall(json.dumps(asked).encode() + b"\n")
        self._told = self._ours.makefile()
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._ours], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._ours], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = int(self._told.readline())
            self._told.close()
            self._ours.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run_forked(
    arguments: Sequence[str], typed: bytes, within: float, **surrounded: object
) -> Ended:
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(typed)
        given.seek(0)
        streams = [given.fileno(), out.fileno(), err.fileno()]
        process = Forked(arguments, streams, **surrounded)
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
        except BaseException:
            process.kill()
            raise
        status = process.wait()
        out.seek(0)
        err.seek(0)
        return Ended(status, out.read().decode(), err.read().decode())


# -- processes that serve


class Serving:
    """A process that runs until it is told to stop; its standard error goes to a file."""

    def __init__(self, process: "subprocess.Popen[bytes] | Forked", log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def events(self) -> list[dict[str, Any]]:
        """Return the log's events, where it is JSON."""
        return [json.loads(line) for line in self.log.splitlines()]

    @property
    def status(self) -> int | None:
        return self._process.poll()

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)

    async def logged(self, words: str, *, within: float = PATIENCE) -> None:
        """Wait until the log has these words."""
        await until(lambda: words in self.log or self.status is not None, within=within)
        assert words in self.log, self.log

    async def url(self) -> str:
        """Wait until it listens, and return where."""
        await self.logged("started")
        found = re.search(r"""port"?[=:] ?(\d+)""", self.log)
        assert found is not None, self.log
        return f"http://127.0.0.1:{found[1]}"

    async def ended(self, *, within: float = PATIENCE) -> int:
        """Wait for the end; return the exit status."""
        await until(lambda: self.status is not None, within=within)
        assert self.status is not None
        return self.status


@contextmanager
def serving(
    *arguments: str, cwd: Path, variables: Mapping[str, str], command: Sequence[str] = BOT
) -> Iterator[Serving]:
    """Start `python -m bot …` and kill it at the end of the block, if it is still there."""
    log = cwd / f"{arguments[0]}-{secrets.token_hex(3)}.log"
    environment = surroundings({"LOG_FORMAT": "json", **variables})
    process: subprocess.Popen[bytes] | Forked
    with log.open("wb") as file, open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
        if (module := _forked_as(command, environment)) is not None:
            streams = [nothing.fileno(), file.fileno(), file.fileno()]
            process = Forked([module, *arguments], streams, cwd=str(cwd), env=environment, umask=-1)
        else:
            process = subprocess.Popen(
                [*command, *arguments],
                cwd=cwd,
                env=environment,
                stdin=nothing,
                stdout=file,
                stderr=file,
            )
    try:
        yield Serving(process, log)
    finally:
        process.kill()
        process.wait()


async def until(condition: Callable[[], object], *, within: float = PATIENCE) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within:g} s")
        await asyncio.sleep(0.02)


def free_port() -> int:
    """Return a port of this machine at which nothing listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
