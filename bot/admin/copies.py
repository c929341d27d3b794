"""How each database is copied into a file, at one moment, while the bot goes on."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo
from sqlalchemy.engine import make_url

from bot.database.schema import revision_of

WAITS = 10.0
"""Seconds that the copy waits for a lock on a SQLite file; while the bot runs, it needs none."""

CONNECT_WITHIN = 10
"""Seconds that pg_dump tries to connect, unless DATABASE_URL says another number."""

CLIENTS = "install PostgreSQL's client programs, of the server's version or newer"


class BackupError(Exception):
    """No copy was made; the message says why, and what to do."""


def copy_sqlite(file: Path, draft: Path) -> None:
    """Copy a SQLite database as it is at one moment, while the bot goes on writing."""
    if not file.is_file():
        raise BackupError(f"DATABASE_URL: there is no database {file}; run: python -m bot migrate")
    address = f"{file.absolute().as_uri()}?mode=rw"  # not one that would make the file
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=WAITS)) as source:
            if not source.execute("SELECT count(*) FROM alembic_version").fetchone()[0]:
                raise BackupError(f"DATABASE_URL: {file} is empty; run: python -m bot migrate")
            with closing(sqlite3.connect(draft)) as copy:
                source.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
                found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise BackupError(
                    f"{file} is damaged ({found}), so it was not copied; restore an earlier backup"
                )
    except sqlite3.Error as error:
        raise BackupError(f"the copy of {file} failed ({error})") from None


def dump_postgresql(url: str, file: Path) -> None:
    """Dump a PostgreSQL database into a file for pg_restore, by pg_dump."""
    program = shutil.which("pg_dump")
    if program is None:
        raise BackupError(f"pg_dump is not installed here; {CLIENTS}")
    if revision_of(url) is None:
        raise BackupError("DATABASE_URL: the database is empty; run: python -m bot migrate")
    conninfo, secrets = _connection(url)  # no secret on a command line, which everybody can list
    arguments = ["--format=custom", "--no-password", f"--file={file}", f"--dbname={conninfo}"]
    done = subprocess.run(  # noqa: S603 - an installed program, with our own arguments
        [program, *arguments],
        env={**os.environ, **secrets, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise BackupError(_reason(done))


def _connection(url: str) -> tuple[str, dict[str, str]]:
    """Return how to connect: what may stand on a command line, and what only in the environment."""
    address = make_url(url)
    parameters = dict(address.get_dialect()().create_connect_args(address)[1])
    secrets = {}
    for option in Conninfo.get_defaults():
        name = option.keyword.decode()
        if option.dispchar != b"*" or name not in parameters:  # libpq marks what is not to be shown
            continue
        if option.envvar is None:
            raise BackupError(
                f"DATABASE_URL: {name} cannot be passed to pg_dump without showing it"
            )
        secrets[option.envvar.decode()] = str(parameters.pop(name))
    return make_conninfo(**{"connect_timeout": CONNECT_WITHIN, **parameters}), secrets


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    says = " ".join(done.stderr.replace("pg_dump: ", "").split()) or f"status {done.returncode}"
    if "server version mismatch" in says:
        return f"pg_dump is older than the server ({says}); {CLIENTS}"
    return f"pg_dump failed ({says})"
