"""What one test process makes and all of them use."""

import fcntl
import json
from collections.abc import Callable
from typing import Any

import pytest


def made_once(folders: pytest.TempPathFactory, name: str, make: Callable[[], Any]) -> Any:
    """Return what `make` returns, which JSON can hold: the first test process that asks makes it.

    The others wait until it is there.
    """
    folder = folders.getbasetemp()
    if folder.name.startswith("popen-"):  # a worker's, in that of the whole run
        folder = folder.parent
    with (folder / f"{name}.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if not (text := file.read()):
            text = json.dumps(make())
            file.write(text)
        return json.loads(text)
