"""A terminal, and a person at it."""

import os
import pty
import select
import subprocess
import time
from pathlib import Path

from support.programs import BOT, surroundings


def at_terminal(
    arguments: tuple[str, ...], answers: list[tuple[str, str]], cwd: Path, variables: dict[str, str]
) -> tuple[int, str]:
    """Run a command at a terminal, give each answer at its prompt.

    Return the exit status and what the screen showed.

    A prompt ends with a colon and a blank: only then the terminal has stopped showing what is
    typed.
    """
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [*BOT, *arguments],
        cwd=cwd,
        env=surroundings(variables),
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    try:
        screen, deadline = "", time.monotonic() + 30
        for prompt, answer in answers:
            seen = len(screen)
            while f"{prompt}: " not in screen[seen:]:
                screen += _read(ours, deadline)
            os.write(ours, f"{answer}\n".encode())
        while more := _read(ours, deadline):
            screen += more
        return process.wait(10), screen
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(terminal: int, deadline: float) -> str:
    """Return what was written next; nothing once the process has ended."""
    readable, _, _ = select.select([terminal], [], [], max(deadline - time.monotonic(), 0))
    assert readable, "the process neither asked nor ended in time"
    try:
        return os.read(terminal, 4096).decode()
    except OSError:  # Linux's word for: the other end is closed
        return ""
