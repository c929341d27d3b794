"""The Procfile starts commands that there are."""

import shlex
from pathlib import Path

from support.programs import BOT, ROOT, Task, run_all


def test_the_procfile_starts_commands_that_there_are(tmp_path: Path) -> None:
    processes = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    assert processes == {
        "release": "python -m bot migrate",
        "web": "python -m bot run",
        "worker": "python -m bot worker",
    }
    tasks = [Task((*shlex.split(line)[len(BOT) :], "--help"), {}) for line in processes.values()]
    for ended, line in zip(run_all(tasks, tmp_path), processes.values(), strict=True):
        assert ended.status == 0
        assert line in ended.out
