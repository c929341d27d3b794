"""Which files with secrets others can read, and whether the SQLite file is read-only."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from bot.keys import generated_secret
from bot.settings import ENV_FILE, Settings

READ_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH
WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def exposed(settings: Settings, env_file: Path = ENV_FILE) -> list[tuple[Path, str]]:
    """Return each file that others can read with its mode, as chmod writes it."""
    found = [(file, _mode(file)) for file in (env_file, *_stored(settings))]
    return [(file, f"{mode:04o}") for file, mode in found if mode & READ_BY_OTHERS]


def is_marked_read_only(settings: Settings) -> bool:
    """Say whether only root may write the SQLite file."""
    file = settings.sqlite_file
    return file is not None and file.exists() and not _mode(file) & WRITE


def _stored(settings: Settings) -> Iterator[Path]:
    file = settings.sqlite_file
    if file is not None:
        yield file
    secret = generated_secret(settings)
    if secret is not None:
        yield secret


def _mode(file: Path) -> int:
    """Return who may do what; 0 for a file that is not there, or where a mode says nothing."""
    try:
        return stat.S_IMODE(file.stat().st_mode) if os.name == "posix" else 0
    except OSError:
        return 0
