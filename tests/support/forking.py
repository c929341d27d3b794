"""A process that has loaded the product, and forks for each process that a test starts.

`python -m bot …` spends 1.2 s of CPU on imports. A fork of this process has them: it gets the
arguments, the environment, the folder and the standard streams of a process of its own.
`make coverage` starts each process anew (`programs.py`).
"""

import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import signal
import socket
import sys
import time
from typing import Any

import bot

ALSO = (
    "alembic.command",
    "alembic.config",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
)
"""What some commands load when they need it."""


def serve(control: socket.socket) -> None:
    """Fork for each request, until the test process is gone.

    Only a fork that runs a module raises.
    """
    modules = [one.name for one in pkgutil.walk_packages(bot.__path__, "bot.")]
    for name in (*modules, *ALSO):
        if not name.endswith("__main__") and ".migrations" not in name:
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would copy the pages of all that is loaded
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, streams, _, _ = socket.recv_fds(control, 1, 4)
        if not request:
            return
        if os.fork() == 0:
            control.close()
            _watch(*streams)
        for stream in streams:
            os.close(stream)


def _watch(reply: int, *streams: int) -> None:
    """Run a module in a fork; tell its process ID, and its exit status when it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    teller = socket.socket(fileno=reply)
    asked = json.loads(teller.makefile().readline())
    pid = os.fork()
    if pid == 0:
        teller.close()
        _become(asked, streams)
        runpy.run_module(asked["arguments"][0], run_name="__main__", alter_sys=True)
        sys.exit()
    teller.send(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    teller.send(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(asked: dict[str, Any], streams: tuple[int, ...]) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    if asked["umask"] >= 0:
        os.umask(asked["umask"])
    time.tzset()
    random.seed()
    sys.path[:2] = [asked["cwd"], *asked["env"]["PYTHONPATH"].split(os.pathsep)]
    sys.argv = asked["arguments"]


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
