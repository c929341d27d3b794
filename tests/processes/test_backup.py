"""`python -m bot backup FILE`: a running bot's database copied whole, or not at all.

And its restore.
"""

import asyncio
import os
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.database.engines import PATIENCE, engine_for
from bot.database.schema import HEAD, migrate_database, revision_of
from bot.database.tables import deliveries, tenants
from bot.encryption import Keyring
from bot.playground.leadsquared import LeadSquaredStandIn
from support.databases import database, missing
from support.programs import BOT, Ended, run, run_beside
from support.rights import AS_A_PERSON, ON_LINUX
from support.running import ENCRYPTION_KEY, Bot, Start, spelt_for_sqlalchemy

KEYS = {"ENCRYPTION_KEYS": ENCRYPTION_KEY}
PASSWORD = "gold%40fish%2F%23"


def program(name: str) -> str:
    """Return where one of PostgreSQL's programs is; without it the test is skipped."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed")
    return found


@pytest.fixture
def postgres() -> Iterator[str]:
    with database(migrate_database) as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where backups go."""
    made = tmp_path / "backups"
    made.mkdir()
    return made


# -- under load


@asynccontextmanager
async def typing(bot: Bot) -> AsyncIterator[Callable[[], set[str]]]:
    """Have people type until the block ends; lend what was acknowledged so far."""
    acknowledged: set[str] = set()
    stop = asyncio.Event()

    async def type_on(person: int) -> None:
        number = 0
        while not stop.is_set():
            text = f"{person} says {number}"
            if await bot.type(f"143 {text}") is None:
                acknowledged.add(text)
            number += 1

    people = [asyncio.create_task(type_on(person)) for person in range(3)]
    try:
        yield lambda: set(acknowledged)
    finally:
        stop.set()
        await asyncio.gather(*people)


def kept_in(url: str) -> dict[str, str]:
    """Return a database's activities by text, with their states; the tenants' keys can be read."""
    keyring = Keyring([ENCRYPTION_KEY])
    engine = engine_for(spelt_for_sqlalchemy(url), PATIENCE)
    try:
        with engine.connect() as connection:
            for key in connection.execute(sa.select(tenants.c.secret_key)).scalars():
                keyring.decrypt(key)
            rows = connection.execute(sa.select(deliveries.c.text, deliveries.c.state)).all()
            found = {keyring.decrypt(text): state for text, state in rows}
            assert len(found) == len(rows)
            return found
    finally:
        engine.dispose()


@pytest.fixture
def restored(url: str, tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """Restore a backup as README says; lend a function from the file to the new database's URL."""
    if url.startswith("sqlite"):

        def copy(file: Path) -> str:
            shutil.copy(file, tmp_path / "restored.db")
            return f"sqlite:///{tmp_path / 'restored.db'}"

        yield copy
        return
    with database() as new:

        def restore(file: Path) -> str:
            options = ("--no-owner", "--exit-on-error", f"--dbname={new}")
            ended = run(*options, str(file), cwd=tmp_path, command=[program("pg_restore")])
            assert (ended.status, ended.said) == (0, "")
            return new

        yield restore


async def test_a_backup_under_load_is_whole_and_restored_it_records_nothing_twice(
    start: Start,
    environment: dict[str, str],
    url: str,
    leadsquared: LeadSquaredStandIn,
    restored: Callable[[Path], str],
    folder: Path,
    tmp_path: Path,
) -> None:
    if not url.startswith("sqlite"):
        program("pg_dump")
    variables = environment | {"DATABASE_URL": url}
    async with start(variables) as bot, typing(bot) as acknowledged:
        await bot.slack.until(lambda: len(acknowledged()) > 20)
        before = acknowledged()
        ended = await run_beside("backup", "backups/bot.backup", cwd=tmp_path, variables=variables)
        recorded = len(leadsquared.ledger.activities)
        # What the copy has waiting is recorded after it was made.
        await bot.slack.until(lambda: len(leadsquared.ledger.activities) > recorded + 10)

    assert (ended.status, ended.err) == (0, "")
    assert "ENCRYPTION_KEYS" in ended.out
    file = folder / "bot.backup"
    assert os.listdir(folder) == [file.name]  # noqa: PTH208 - nothing else is left behind
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    copy = restored(file)
    assert revision_of(spelt_for_sqlalchemy(copy)) == HEAD
    kept = kept_in(copy)
    assert before <= kept.keys()
    recorded_since = {
        text
        for text in (activity.text for activity in leadsquared.ledger.activities)
        if kept.get(text) in ("accepted", "sending")
    }
    assert recorded_since, "without `restored` they would be recorded again"

    variables |= {"DATABASE_URL": copy}
    ended = await run_beside("restored", cwd=tmp_path, variables=variables)
    assert (ended.status, ended.err) == (0, "")
    states = kept_in(copy)
    assert {states[text] for text in recorded_since} == {"unknown"}
    assert not {"accepted", "sending"} & set(states.values()), "there is nothing left to send"
    async with start(variables) as bot:
        assert await bot.type("144 after the restore") is None
        await bot.slack.until(lambda: len(leadsquared.on("144")) == 1)
        messages = bot.slack.workspace.messages
        await bot.slack.until(lambda: any("restored from a backup" in one.text for one in messages))
    texts = [activity.text for activity in leadsquared.ledger.activities]
    assert len(texts) == len(set(texts)), "nothing doubled"


def test_a_sqlite_copy_is_sound_and_one_file(tmp_path: Path) -> None:
    variables = {"DATABASE_URL": "sqlite:///a b%20#.db"}
    assert run("migrate", cwd=tmp_path, variables=variables).status == 0
    ended = run("backup", "copy.db", cwd=tmp_path, variables=variables, umask=0)
    assert ended.status == 0
    with closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("delete",)]


def test_the_generated_secret_is_named_with_its_place(tmp_path: Path) -> None:
    add = ("tenants", "add", "acme", "--api-url", "https://a.leadsquared.com", "--org-id", "1")
    assert run(*add, cwd=tmp_path, typed="access\nsecret\n").status == 0
    ended = run("backup", "copy.db", cwd=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    assert "data/encryption.key" in ended.out


# -- what is refused


def refused(*arguments: str, cwd: Path, **how: object) -> str:
    """Run a backup that must be refused; return its one line."""
    ended: Ended = run("backup", *arguments, cwd=cwd, **how)  # type: ignore[arg-type]
    assert (ended.status, ended.out) == (2, ""), ended.said
    (line,) = ended.problems
    assert not list(cwd.rglob("*.part*")), "nothing half is left behind"
    return line


@pytest.fixture
def migrated(tmp_path: Path) -> Path:
    """A folder with a database in data/."""
    assert run("migrate", cwd=tmp_path).status == 0
    return tmp_path


def test_no_file_is_overwritten(migrated: Path) -> None:
    (migrated / "old").write_text("of yesterday")
    (migrated / "link").symlink_to("nowhere")
    for name in ("old", "link", "data/portal-activity.db"):
        assert f"{name} already exists" in refused(name, cwd=migrated)
    assert (migrated / "old").read_text() == "of yesterday"
    assert not (migrated / "nowhere").exists()


def test_a_folder_or_a_place_that_is_not_there_is_reported(migrated: Path) -> None:
    assert "data is a folder" in refused("data", cwd=migrated)
    assert "No such file or directory" in refused("no/copy.db", cwd=migrated)
    (migrated / "file").touch()
    assert "Not a directory" in refused("file/copy.db", cwd=migrated)
    assert "File name too long" in refused("x" * 300, cwd=migrated)


@ON_LINUX
def test_a_place_that_may_not_be_written_is_reported(migrated: Path, folder: Path) -> None:
    folder.chmod(0o500)
    line = refused("backups/copy.db", cwd=migrated, command=(*AS_A_PERSON, *BOT))
    assert "Permission denied" in line


def test_a_full_disk_leaves_no_backup(migrated: Path) -> None:
    # No file may grow beyond that: what a write meets on a full disk, as near as a test can come.
    # The limit would also cut off what coverage writes, so this process is not measured.
    unmeasured = "unset ${!COVERAGE_PROCESS_@}"
    full = ("bash", "-c", f'{unmeasured}; ulimit -f 16; exec "$@"', "bash", *BOT)
    assert "failed (" in refused("copy.db", cwd=migrated, command=full)
    assert not (migrated / "copy.db").exists()


def test_a_database_that_is_not_there_or_is_none_is_reported(tmp_path: Path) -> None:
    assert "python -m bot migrate" in refused("copy.db", cwd=tmp_path)
    (tmp_path / "none.db").write_text("These are not the bytes of a database. " * 100)
    variables = {"DATABASE_URL": "sqlite:///none.db"}
    assert "file is not a database" in refused("copy.db", cwd=tmp_path, variables=variables)
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE others (id INTEGER)")
    variables = {"DATABASE_URL": "sqlite:///other.db"}
    assert "no such table" in refused("copy.db", cwd=tmp_path, variables=variables)
    assert not (tmp_path / "copy.db").exists()


# -- pg_dump


def pg_dump(folder: Path, script: str) -> dict[str, str]:
    """Put a pg_dump of a test's own before the real one."""
    file = folder / "pg_dump"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def with_password(url: str) -> dict[str, str]:
    who = url.replace("postgresql://postgres@", f"postgres://postgres:{PASSWORD}@")
    return KEYS | {"DATABASE_URL": f"{who}?sslmode=prefer"}


def test_pg_dump_gets_the_configured_database_and_no_password_on_its_command_line(
    postgres: str, folder: Path, tmp_path: Path
) -> None:
    real = program("pg_dump")
    record = 'printf "%s\\n" "$@" > arguments; printf %s "$PGPASSWORD" > password'
    elsewhere = {"PGDATABASE": "another", "PGPASSWORD": "of-another"}
    variables = with_password(postgres) | pg_dump(folder, f'{record}; exec {real} "$@"') | elsewhere
    ended = run("backup", "bot.dump", cwd=tmp_path, variables=variables)

    assert (ended.status, ended.err) == (0, "")
    assert (tmp_path / "bot.dump").read_bytes().startswith(b"PGDMP")
    arguments = (tmp_path / "arguments").read_text()
    assert f"dbname={postgres.rpartition('/')[2]}" in arguments
    assert "sslmode=prefer" in arguments
    assert "gold" not in arguments
    assert (tmp_path / "password").read_text() == "gold@fish/#"


MISMATCH = """
echo 'pg_dump: error: aborting because of server version mismatch' >&2
echo 'pg_dump: detail: server version: 99.1; pg_dump version: 15.0' >&2
exit 1
"""
BROKEN = """
for one; do case $one in --file=*) echo half > "${one#--file=}";; esac; done
echo 'pg_dump: error: query failed: server closed the connection' >&2
exit 1
"""


@pytest.mark.parametrize(
    ("script", "says"),
    [(MISMATCH, "older than the server"), (BROKEN, "pg_dump failed (error: query failed")],
)
def test_a_pg_dump_that_fails_leaves_no_backup(
    script: str, says: str, postgres: str, folder: Path, tmp_path: Path
) -> None:
    variables = with_password(postgres) | pg_dump(folder, script)
    line = refused("bot.dump", cwd=tmp_path, variables=variables)
    assert says in line
    assert "gold" not in line
    assert not (tmp_path / "bot.dump").exists()


def test_a_missing_pg_dump_is_reported(postgres: str, folder: Path, tmp_path: Path) -> None:
    variables = with_password(postgres) | {"PATH": str(folder)}
    assert "pg_dump is not installed" in refused("bot.dump", cwd=tmp_path, variables=variables)


def test_a_postgresql_that_is_away_or_empty_is_reported(tmp_path: Path) -> None:
    program("pg_dump")
    away = KEYS | {"DATABASE_URL": f"postgres://bot:{PASSWORD}@127.0.0.1:9/bot"}
    line = refused("bot.dump", cwd=tmp_path, variables=away)
    assert "check the address" in line
    assert "gold" not in line
    with database() as empty:
        line = refused("bot.dump", cwd=tmp_path, variables=KEYS | {"DATABASE_URL": empty})
    assert "the database is empty" in line
