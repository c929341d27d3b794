"""`python -m bot export`, `forget` and `audit` on databases that were filled before."""

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks.filling import History, fill
from bot.activities.delivery import FORGOTTEN
from bot.database.engines import PATIENCE, engine_for
from bot.database.schema import migrate_database
from bot.database.tables import (
    attempts,
    audit,
    deliveries,
    installations,
    metadata,
    tenants,
    workspaces,
)
from bot.encryption import Keyring
from support.databases import database
from support.programs import BOT, Ended, run, serving, surroundings, until
from support.running import ENCRYPTION_KEY, spelt_for_sqlalchemy
from support.terminal import at_terminal

KEYRING = Keyring([ENCRYPTION_KEY])
WORDS = "=Kundennummer 4711,\nÄÖ 💬"
TEAM, OTHER = "T0FILLED1", "T0FILLED2"


class Filled:
    """A database with a history, looked at beside the commands."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.variables = {"DATABASE_URL": url, "ENCRYPTION_KEYS": ENCRYPTION_KEY}

    def fill(self, activities: int, teams: int = 2, words: str = WORDS) -> None:
        """Write so many activities over so many workspaces, each with a text of today's secret."""
        texts = {"text": KEYRING.encrypt(words), "response_url": KEYRING.encrypt("https://x")}
        engine = engine_for(spelt_for_sqlalchemy(self.url), PATIENCE)
        with engine.begin() as connection:
            fill(connection, KEYRING, History(activities, teams))
            connection.execute(deliveries.update().values(**texts, erased_at=None))
        engine.dispose()

    def change(self, *statements: sa.Executable) -> None:
        engine = engine_for(spelt_for_sqlalchemy(self.url), PATIENCE)
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)
        engine.dispose()

    def rows(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
        engine = engine_for(spelt_for_sqlalchemy(self.url), PATIENCE)
        with engine.begin() as connection:
            order = list(table.primary_key)
            found = connection.execute(sa.select(table).where(*where).order_by(*order)).mappings()
            rows = [dict(row) for row in found]
        engine.dispose()
        return rows

    def everything(self, table: sa.Table) -> str:
        return str(self.rows(table))

    def run(self, *arguments: str) -> Ended:
        return run(*arguments, cwd=self.folder, variables=self.variables, within=60)


@pytest.fixture
def filled(url: str, tmp_path: Path) -> Filled:
    found = Filled(url, tmp_path)
    found.fill(300)
    return found


def of_team(team_id: str) -> sa.ColumnElement[bool]:
    return deliveries.c.team_id == team_id


# -- export


def test_an_export_holds_a_workspaces_activities_with_their_texts_in_order(filled: Filled) -> None:
    ended = filled.run("export", "--team", TEAM)
    assert (ended.status, ended.err) == (0, "")
    exported = list(csv.DictReader(io.StringIO(ended.out, newline="")))
    stored = filled.rows(deliveries, of_team(TEAM))
    assert [one["reference"] for one in exported] == [row["id"] for row in stored]
    assert len(exported) == 150
    for one, row in zip(exported, stored, strict=True):
        assert one["text"] == f"'{WORDS}", "no formula"
        assert one["words"] == "readable"
        assert (one["user"], one["ticket"]) == (row["user_id"], row["ticket_id"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", one["accepted_at"])


def test_lines_of_json_hold_the_same_as_they_are(filled: Filled) -> None:
    ended = filled.run("export", "--team", TEAM, "--format", "jsonl")
    assert (ended.status, ended.err) == (0, "")
    exported = [json.loads(line) for line in ended.out.splitlines()]
    assert {one["text"] for one in exported} == {WORDS}
    assert [one["state"] for one in exported] == [
        row["state"] for row in filled.rows(deliveries, of_team(TEAM))
    ]


def test_a_text_that_was_deleted_or_cannot_be_decrypted_is_empty_and_named(filled: Filled) -> None:
    first, second, third = [row["seq"] for row in filled.rows(deliveries, of_team(TEAM))][:3]
    lost = Keyring(["a-secret-that-was-forgotten-long-ago-0123"]).encrypt("lost")
    by_seq = [deliveries.update().where(deliveries.c.seq == seq) for seq in (first, second, third)]
    filled.change(
        by_seq[0].values(text=b"", erased_at=1.0),
        by_seq[1].values(text=lost),
        by_seq[2].values(detail=lost),
    )
    ended = filled.run("export", "--team", TEAM, "--format", "jsonl")
    exported = [json.loads(line) for line in ended.out.splitlines()]
    assert [(one["text"], one["words"]) for one in exported[:4]] == [
        ("", "deleted"),
        ("", "undecipherable"),
        (WORDS, "undecipherable"),
        (WORDS, "readable"),
    ]


def test_an_export_begins_at_a_day_and_takes_an_organisation_for_its_workspaces(
    filled: Filled,
) -> None:
    filled.change(
        deliveries.update()
        .where(deliveries.c.seq.in_([290, 291, 2]))
        .values(enterprise_id="E0CORP"),
        deliveries.update().where(deliveries.c.seq == 2).values(accepted_at=86_400 * 365.0),
    )
    everything = filled.run("export", "--enterprise", "E0CORP", "--format", "jsonl")
    assert [json.loads(line)["workspace"] for line in everything.out.splitlines()] == [
        TEAM, TEAM, OTHER,
    ]  # fmt: skip
    since = ("--since", "1971-01-02", "--format", "jsonl")
    assert len(filled.run("export", "--enterprise", "E0CORP", *since).out.splitlines()) == 2
    own = filled.run("export", "--team", TEAM, "--enterprise", "E0CORP", *since)
    assert [json.loads(line)["workspace"] for line in own.out.splitlines()] == [TEAM]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("export",), "--team T…"),
        (("export", "--team", "C0SUPPORT"), "starts with T"),
        (("export", "--enterprise", "T1"), "starts with E"),
        (("export", "--team", TEAM, "--format", "xlsx"), "csv or jsonl"),
        (("export", "--team", TEAM, "--since", "yesterday"), "2026-01-31"),
        (("forget",), "--user U…"),
        (("forget", "--ticket", "143"), "--team T…"),
        (("forget", "--team", TEAM, "--user", "U1", "--ticket", "143"), "without --user"),
        (("forget", "--team", TEAM, "--ticket", "abc"), "--ticket"),
        (("forget", "--user", "anna"), "starts with U or W"),
        (("forget", "--team", "U0ANNA"), "starts with T"),
        (("audit", "--team", TEAM, "--ticket", "abc"), "--ticket"),
        (("audit", "--team", "x"), "starts with T"),
    ],
)
def test_what_is_wrong_ends_with_status_2_and_changes_nothing(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    migrate_database(f"sqlite:///{tmp_path / 'bot.db'}")
    variables = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'bot.db'}",
        "ENCRYPTION_KEYS": ENCRYPTION_KEY,
    }
    ended = run(*arguments, cwd=tmp_path, variables=variables)
    assert (ended.status, ended.out) == (2, "")
    (problem,) = ended.problems
    assert says in problem


def test_a_reader_that_goes_away_ends_the_export_quietly(tmp_path: Path) -> None:
    filled = Filled(f"sqlite:///{tmp_path / 'bot.db'}", tmp_path)
    migrate_database(filled.url)
    filled.fill(3000, 1)
    ours, its = os.pipe()
    with subprocess.Popen(
        [*BOT, "export", "--team", TEAM],
        cwd=tmp_path,
        env=surroundings(filled.variables),
        stdout=its,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(its)
        os.read(ours, 10)
        os.close(ours)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (1, b"")


def test_a_terminal_shows_how_far_an_export_is(tmp_path: Path) -> None:
    filled = Filled(f"sqlite:///{tmp_path / 'bot.db'}", tmp_path)
    migrate_database(filled.url)
    filled.fill(1500, 1)
    ours, its = pty.openpty()
    with (tmp_path / "out.csv").open("wb") as out:
        process = subprocess.Popen(
            [*BOT, "export", "--team", TEAM],
            cwd=tmp_path,
            env=surroundings(filled.variables),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=its,
        )
    os.close(its)
    screen = b""
    while True:
        try:
            screen += os.read(ours, 4096)
        except OSError:  # Linux's word for: the other end is closed
            break
    os.close(ours)
    assert process.wait(30) == 0
    assert b"\r[" in screen
    assert b"100%  1,500 activities" in screen
    assert b"Kundennummer" not in screen


# -- forget a workspace

NOTHING_OF_A_WORKSPACE = {"duties", "accounts", "oauth_states"}
"""Tables that name no workspace and no person."""

REMOVED_WITH_A_WORKSPACE = {
    "attempts", "audit", "deliveries", "homes", "installations", "setup_people", "tenant_changes",
    "tenants", "workspaces",
}  # fmt: skip


def test_each_table_is_thought_of() -> None:
    """A table that holds something of a workspace or a person needs its entry in holdings.py."""
    assert metadata.tables.keys() == NOTHING_OF_A_WORKSPACE | REMOVED_WITH_A_WORKSPACE


def test_a_workspace_is_deleted_and_another_one_stays(filled: Filled) -> None:
    others = {
        table: filled.rows(table, where)
        for table, where in (
            (deliveries, of_team(OTHER)),
            (tenants, tenants.c.name == "filled-2"),
            (workspaces, workspaces.c.team_id == OTHER),
            (installations, installations.c.installed_in == OTHER),
        )
    }
    ended = filled.run("forget", "--team", TEAM, "--yes")
    assert (ended.status, ended.err) == (0, "")
    what = (
        "150 activities with their attempts, 1 tenant with its keys, 1 mapping, 1 installation, "
        "3 changes of its connections, 1 named person and 1 App Home."
    )
    assert ended.out == f"{TEAM}: {what}\nDeleted, {TEAM}: {what}\n"

    for table in metadata.sorted_tables:
        if table not in (audit, installations):
            assert TEAM not in filled.everything(table), table.name
    assert [filled.rows(table) for table in others] == [
        others[deliveries],
        others[tenants],
        others[workspaces],
        [row for row in filled.rows(installations) if row["installed_in"] == TEAM]
        + others[installations],
    ]
    assert len(filled.rows(attempts)) == 150
    (gone,) = filled.rows(installations, installations.c.installed_in == TEAM)
    kept = {name: value for name, value in gone.items() if value not in (None, "")}
    assert kept.keys() == {
        "id",
        "installed_in",
        "installed_at",
        "ended_at",
        "ended_because",
        "changed_at",
    }
    assert "forgotten" in filled.run("workspaces", "show", TEAM).out

    trail = filled.rows(audit, audit.c.team_id == TEAM, audit.c.at > time.time() - 60)
    assert [row["what"] for row in trail] == ["forgetting", "forgot"]
    assert filled.run("forget", "--team", TEAM, "--yes").out.startswith(
        f"Nothing is stored of {TEAM}"
    )


def test_a_tenant_that_serves_another_workspace_too_stays(filled: Filled) -> None:
    (tenant,) = filled.rows(tenants, tenants.c.name == "filled-1")
    filled.change(
        workspaces.insert().values(team_id=OTHER, channel_id="C9", tenant_id=tenant["id"])
    )
    ended = filled.run("forget", "--team", TEAM, "--yes")
    assert "150 activities with their attempts, 1 mapping, 1 installation, " in ended.out
    assert [row["name"] for row in filled.rows(tenants)] == ["filled-1", "filled-2"]
    assert {row["team_id"] for row in filled.rows(workspaces)} == {OTHER}


def test_without_a_terminal_and_without_a_yes_nothing_is_deleted(filled: Filled) -> None:
    before = [filled.everything(table) for table in metadata.sorted_tables]
    ended = filled.run("forget", "--team", TEAM)
    assert ended.status == 2
    assert "150 activities" in ended.out
    assert "--yes" in ended.err
    assert [filled.everything(table) for table in metadata.sorted_tables] == before


@pytest.mark.parametrize(("answer", "left"), [("n", 300), ("y", 150)])
def test_at_a_terminal_it_asks_and_shows_how_far_it_is(
    tmp_path: Path, answer: str, left: int
) -> None:
    filled = Filled(f"sqlite:///{tmp_path / 'bot.db'}", tmp_path)
    migrate_database(filled.url)
    filled.fill(300)
    asked = [("This cannot be undone. Delete all this? [y/N]", answer)]
    status, screen = at_terminal(("forget", "--team", TEAM), asked, tmp_path, filled.variables)
    assert status == (0 if answer == "y" else 1), screen
    assert ("\r100 done" in screen) is (answer == "y")
    assert len(filled.rows(deliveries)) == left


def test_what_has_no_outcome_is_named_and_nothing_is_deleted(filled: Filled) -> None:
    seqs = [row["seq"] for row in filled.rows(deliveries, of_team(TEAM))][:25]
    state = {"state": "accepted", "settled_at": None}
    filled.change(deliveries.update().where(deliveries.c.seq.in_(seqs)).values(**state))
    ended = filled.run("forget", "--team", TEAM, "--yes")
    assert ended.status == 2
    named = [line for line in ended.out.splitlines() if line.startswith("    ")]
    (first,) = filled.rows(deliveries, deliveries.c.seq == seqs[0])
    assert named[0] == f"    {first['id']}: ticket {first['ticket_id']}, accepted"
    assert named[20:] == ["    and more"]
    assert "Nothing was changed" in ended.err
    assert "--waiting" in ended.err
    assert len(filled.rows(deliveries)) == 300
    assert len(filled.rows(tenants)) == 2


async def test_killed_in_the_middle_it_can_be_begun_again(url: str, tmp_path: Path) -> None:
    filled = Filled(url, tmp_path)
    filled.fill(4000)
    command = ("forget", "--team", TEAM, "--yes")
    with serving(*command, cwd=tmp_path, variables=filled.variables) as process:
        await until(lambda: len(filled.rows(deliveries, of_team(TEAM))) < 1900)
        process.signal(signal.SIGKILL)
        assert await process.ended() == -signal.SIGKILL
    left = len(filled.rows(deliveries, of_team(TEAM)))
    assert 0 < left < 2000
    ended = filled.run(*command)
    assert (ended.status, ended.err) == (0, "")
    assert f"Deleted, {TEAM}: {left:,} activities with their attempts.\n" in ended.out
    assert filled.rows(deliveries, of_team(TEAM)) == []
    assert len(filled.rows(attempts)) == len(filled.rows(deliveries)) == 2000


def test_an_attempt_that_counts_for_the_rate_limit_stays_until_then(filled: Filled) -> None:
    newest = filled.rows(deliveries, of_team(TEAM))[-1]["seq"]
    until_then = time.time() + 3
    filled.change(
        attempts.update().where(attempts.c.delivery_seq == newest).values(occupied_until=until_then)
    )
    ended = filled.run("forget", "--team", TEAM, "--yes")
    assert "Deleted, T0FILLED1: 150 activities" in ended.out
    assert time.time() >= until_then
    assert filled.rows(deliveries, of_team(TEAM)) == []


# -- forget a person


def blank(row: dict[str, Any]) -> bool:
    values = (row["user_id"], row["text"], row["response_url"], row["detail"], row["fingerprint"])
    return values == (FORGOTTEN, b"", None, None, None) and row["erased_at"] is not None


def test_a_person_is_blanked_and_the_rows_stay_for_the_audit_trail(filled: Filled) -> None:
    decided = deliveries.update().where(deliveries.c.seq.in_([100, 200]))
    filled.change(
        decided.values(resolved_by="U03"),
        deliveries.update().where(deliveries.c.seq == 10).values(channel_id="D0DIRECT"),
        installations.update().values(installed_by="U03"),
    )
    before = filled.rows(deliveries)
    ended = filled.run("forget", "--user", "U03", "--team", OTHER, "--yes")
    assert (ended.status, ended.err) == (0, "")
    mine = [row for row in before if (row["user_id"], row["team_id"]) == ("U03", OTHER)]
    theirs = [
        row["seq"] for row in before if row["resolved_by"] == "U03" and row["team_id"] == OTHER
    ]
    says = f"{len(mine)} activities"
    assert f"Blanked, U03 in {OTHER}: {says}" in ended.out

    after = {row["seq"]: row for row in filled.rows(deliveries)}
    same = ("id", "key", "ticket_id", "state", "accepted_at", "settled_at", "activity_id")
    for row in before:
        now = after[row["seq"]]
        assert [now[name] for name in same] == [row[name] for name in same]
        assert blank(now) is (row in mine)
        assert (now["resolved_by"] == FORGOTTEN) is (row["seq"] in theirs)
    for table in metadata.sorted_tables:
        left = [row for row in filled.rows(table) if "U03" in row.values()]
        assert all(TEAM in row.values() for row in left), "only of the other workspace"
    assert "U03" not in str(filled.rows(audit, audit.c.at > time.time() - 60))


def test_a_person_is_blanked_in_every_workspace(filled: Filled) -> None:
    filled.change(
        deliveries.update().where(deliveries.c.seq == 1).values(resolved_by="operator:U03")
    )
    ended = filled.run("forget", "--user", "U03", "--yes")
    assert (ended.status, ended.err) == (0, "")
    assert [line.split(":")[0] for line in ended.out.splitlines()] == [
        f"U03 in {TEAM}", f"U03 in {OTHER}", f"Blanked, U03 in {TEAM}", f"Blanked, U03 in {OTHER}",
    ]  # fmt: skip
    for table in metadata.sorted_tables:
        assert not any("U03" in row.values() for row in filled.rows(table)), table.name
    assert len(filled.rows(deliveries)) == 300
    again = filled.run("forget", "--user", "U03", "--yes")
    assert (again.status, again.out) == (0, "Nothing is stored of U03.\n")


def test_what_was_not_posted_yet_is_not_posted_any_more_and_named(filled: Filled) -> None:
    waits = deliveries.update().where(deliveries.c.seq == 1)
    filled.change(waits.values(tell_at=time.time() - 60, user_id="U0LATE"))
    ended = filled.run("forget", "--user", "U0LATE", "--yes")
    assert ended.status == 0
    assert "not posted in Slack: 1" in ended.err
    (row,) = filled.rows(deliveries, deliveries.c.seq == 1)
    assert row["tell_at"] is None


# -- forget a ticket


def test_the_words_on_a_ticket_are_deleted_and_nothing_else(filled: Filled) -> None:
    before = filled.rows(deliveries)
    mine = [row for row in before if (row["ticket_id"], row["team_id"]) == ("100003", TEAM)]
    ended = filled.run("forget", "--team", TEAM, "--ticket", "#100003", "--yes")
    assert (ended.status, ended.err) == (0, "")
    assert f"Deleted, ticket 100003 in {TEAM}: {len(mine)} texts." in ended.out
    words = ("text", "response_url", "detail", "fingerprint")
    deleted = dict(zip(words, (b"", None, None, None), strict=True))
    after = {row["seq"]: dict(row) for row in filled.rows(deliveries)}
    assert len(mine) > 3
    for row in before:
        now = after[row["seq"]]
        assert (now.pop("erased_at") is not None) is (row in mine)
        changed = deleted if row in mine else {}
        assert now == {name: value for name, value in row.items() if name != "erased_at"} | changed
    again = filled.run("forget", "--team", TEAM, "--ticket", "100003", "--yes")
    assert again.out == f"Nothing is stored of ticket 100003 in {TEAM}.\n"


# -- bounded memory

PEAK = """
import atexit, pathlib, re, runpy, sys
status = pathlib.Path("/proc/self/status")
peak = lambda: print(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1], file=sys.stderr)
atexit.register(peak)
sys.argv[0] = "bot"
runpy.run_module("bot", run_name="__main__", alter_sys=True)
"""

LONG = WORDS * 400
"""A text of 14 kB: 3,000 of them are half of what a command holds otherwise."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says it there")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_memory_does_not_grow_with_the_history(kind: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        few, many = (new(kind, tmp_path / f"{size}.db", stack) for size in ("few", "many"))
        few.fill(200, 1, LONG)
        many.fill(3_000, 1, LONG)
        for command in (("export",), ("audit",), ("forget", "--yes")):
            small, large = (peak(one, *command, "--team", TEAM) for one in (few, many))
            assert large < 1.3 * small, command


def new(kind: str, file: Path, stack: ExitStack) -> Filled:
    url = f"sqlite:///{file}" if kind == "sqlite" else stack.enter_context(database())
    migrate_database(spelt_for_sqlalchemy(url))
    return Filled(url, file.parent)


def peak(filled: Filled, *arguments: str) -> int:
    """Return the most memory that a command held, in KiB."""
    ended = run(
        *arguments,
        cwd=filled.folder,
        variables=filled.variables,
        command=(sys.executable, "-c", PEAK),
        within=120,
    )
    assert ended.status == 0, ended.err
    return int(ended.err.splitlines()[-1])
