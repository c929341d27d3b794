"""A PostgreSQL server of a test's own, which may be stopped."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.databases import missing

HOST = "127.0.0.1"
SOMEBODY = "postgres"
"""Whom the server runs as when the tests are root: PostgreSQL refuses to be root."""


class Server:
    """A server that listens on this machine only, with an empty database."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs = programs
        self._folder = folder
        self._port = port
        self.url = f"postgresql://postgres@{HOST}:{port}/postgres"

    def make(self) -> None:
        self._run(
            "initdb",
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "-D",
            str(self._folder / "data"),
        )

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        options = f"-p {self._port} -h {HOST} -k {self._folder}"
        log = str(self._folder / "log")
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), "-w", "-l", log, "-o", options, "start"
        )

    def stop(self, mode: str) -> None:
        """Stop: `fast` breaks connections off, `immediate` is a crash."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", mode, "stop")

    def freeze(self) -> None:
        """Have all its processes stand still: it listens, and says nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        parent = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        for pid in (parent, *_children(parent)):
            os.kill(pid, number)

    def _run(self, program: str, *arguments: str) -> None:
        user = SOMEBODY if os.geteuid() == 0 else None
        subprocess.run(
            [str(self._programs / program), *arguments],
            user=user,
            group=user,
            extra_groups=[] if user else None,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # not a pipe: the server would keep it open
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )


@contextmanager
def own_server() -> Iterator[Server]:
    """Make and start a server, and throw it away at the end.

    Without PostgreSQL's programs the test is skipped; in CI it fails.
    """
    programs = _programs()
    if programs is None:
        missing(
            "no PostgreSQL to start: neither initdb in PATH, nor pg_config, "
            "nor /usr/lib/postgresql/*/bin"
        )
    # Not in the tests' own folder, which no other user may read.
    folder = Path(tempfile.mkdtemp(prefix="portal-activity-"))
    if os.geteuid() == 0:
        shutil.chown(folder, SOMEBODY, SOMEBODY)
    server = Server(programs, folder, _free_port())
    try:
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).parent
    if config := shutil.which("pg_config"):
        folder = Path(
            subprocess.run(
                [config, "--bindir"], capture_output=True, text=True, check=True
            ).stdout.strip()
        )
        if (folder / "initdb").exists():
            return folder
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


def _children(parent: int) -> Iterator[int]:
    for status in Path("/proc").glob("[0-9]*/stat"):
        # pid (name) state ppid …; the name may hold spaces.
        if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
            yield int(status.parent.name)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
