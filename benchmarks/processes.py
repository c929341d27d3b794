"""Processes that a measurement starts, what they use, and how they end."""

import http.client
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.load import Plan, Result

ROOT = Path(__file__).parent.parent
START_WITHIN = 20.0
STOP_WITHIN = 8.0


class BenchmarkError(Exception):
    """The measurement cannot be made, or its figures would not mean anything."""


class Server:
    """A running server of this machine."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self._process = process
        self._log = log
        self._started = time.monotonic()
        self.port = port

    def until_answering(self, path: str) -> float:
        """Ask until `path` is answered without an error of the server's.

        Return the seconds since the start.
        """
        while time.monotonic() < self._started + START_WITHIN and self._process.poll() is None:
            if _answers(self.port, path):
                return time.monotonic() - self._started
            time.sleep(0.005)
        raise BenchmarkError(f"a server did not start:\n{self._log.read_text()[-2000:]}")

    def memory(self) -> float:
        """Return what is resident in memory, in MB."""
        return self._status("VmRSS") / 1024

    def peak_memory(self) -> float:
        """Return the peak of resident memory in MB since the start, or since `forget_peak`."""
        return self._status("VmHWM") / 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(
            next(line.split()[1] for line in status.splitlines() if line.startswith(f"{name}:"))
        )

    def cpu(self) -> float:
        """Return the processor time used so far by the process, in seconds."""
        # Linux names each process's CPU clock by its id (man 3 clock_getcpuclockid).
        return time.clock_gettime(~self._process.pid << 3 | 2)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    # None of this machine's settings, and the repository's code from wherever the process works.
    return {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), **settings}


def start(command: list[str], directory: Path, port: int, **settings: str) -> Server:
    """Start a server in `directory`, to be stopped by the caller."""
    log = directory / f"{port}.log"
    with log.open("wb") as output:
        environ = environment(settings)
        process = subprocess.Popen(
            command, cwd=directory, env=environ, stdout=output, stderr=output
        )
    return Server(process, port, log)


@contextmanager
def serving(arguments: list[str], directory: Path, port: int, **settings: str) -> Iterator[Server]:
    """Run `python -m <arguments>` as a server in `directory` until the block ends in any way."""
    server = start([sys.executable, "-m", *arguments], directory, port, **settings)
    try:
        yield server
    finally:
        server.stop()


def load(plan: Plan) -> Result:
    """Carry out a plan in a process of its own."""
    arguments = [sys.executable, "-m", "benchmarks.load", json.dumps(asdict(plan))]
    done = subprocess.run(
        arguments, cwd=ROOT, env=environment({}), capture_output=True, timeout=120, check=False
    )
    if done.returncode:
        raise BenchmarkError(f"the load generator failed:\n{done.stderr.decode()[-2000:]}")
    return Result(**json.loads(done.stdout))


def rows(database: Path) -> int:
    """Return how many commands the bot stored in a SQLite file."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        return int(connection.execute("SELECT count(*) FROM deliveries").fetchone()[0])


def percentile(values: list[float], percent: int) -> float:
    """Return the value below which that many percent of the values are."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
