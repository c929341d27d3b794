"""`python -m bot status`: what it counts, and what it says needs a person."""

import asyncio
import json
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.activities.acceptance import Acceptance, Accepted
from bot.activities.backlog import WAITS_LONG
from bot.activities.delivery import Submission, Waiting
from bot.admin.activities import Wanted, _listed, listed
from bot.admin.status import DAY, Group, _look, needs
from bot.admin.words import WAITS, ago, duration, shown, table
from bot.database.engines import PATIENCE, engine_for
from bot.database.writer import Database
from bot.encryption import Keyring
from bot.leadsquared.outcome import Problem
from bot.leadsquared.tenant import Tenant
from bot.playground.leadsquared import Behaviour, LeadSquaredStandIn
from bot.slack.explanations import PROBLEMS
from bot.tenants.directory import Directory, Scope
from support.databases import Prepare
from support.plans import (
    EXPLAIN,
    plan_nodes,
    prepared,
    under_way_without_statistics,
    used_on_sqlite,
    with_backlog,
)
from support.programs import Ended, run, run_beside, serving, until
from support.running import ACCOUNT, ENCRYPTION_KEY, TEAM, Start, spelt_for_sqlalchemy, ticket_that

KEYRING = Keyring([ENCRYPTION_KEY])
AT = 1_700_000_000.0


def status_of(ended: Ended) -> dict[str, Any]:
    assert ended.err == ""
    found: dict[str, Any] = json.loads(ended.out)
    return found


def wanted(status: dict[str, Any]) -> list[str]:
    return [need["what"] for need in status["needs_a_person"]]


async def test_it_counts_what_became_of_everything_while_the_bot_runs(
    start: Start, environment: dict[str, str], url: str, tmp_path: Path
) -> None:
    variables = {"DATABASE_URL": url, "ENCRYPTION_KEYS": ENCRYPTION_KEY}
    async with start(environment | {"DATABASE_URL": url}) as bot:
        first = await run_beside("status", "--json", cwd=tmp_path, variables=variables)
        assert (first.status, wanted(status_of(first))) == (0, [])
        (group,) = status_of(first)["workspaces"]
        assert (group["workspace"], group["tenant"], group["slots"]) == (TEAM, "environment", 25)
        for number, behaviour in enumerate(
            (Behaviour.FINE, Behaviour.UNAUTHORIZED, Behaviour.DROP), 1
        ):
            await bot.type(f"{ticket_that(behaviour)} hello")
            await bot.answered(messages=number)
        await bot.at_rest()
        second = await run_beside("status", "--json", cwd=tmp_path, variables=variables)
        plain = await run_beside("status", cwd=tmp_path, variables=variables)
        change(url, "UPDATE deliveries SET finding = 'present' WHERE state = 'unknown'")
        found = await run_beside("status", "--json", cwd=tmp_path, variables=variables)
    assert wanted(status_of(found)) == ["keys_refused"], (
        "what the bot found on the ticket needs no person"
    )

    status = status_of(second)
    assert (second.status, wanted(status)) == (1, ["undecided", "keys_refused"])
    (group,) = status["workspaces"]
    counted = {
        name: group[name]
        for name in ("waiting", "sending", "undecided", "recorded_24h", "not_recorded_24h")
    }
    nothing = {"waiting": 0, "sending": 0}
    assert counted == {
        **nothing,
        "undecided": 1,
        "recorded_24h": 1,
        "not_recorded_24h": {"unauthorized": 1},
    }
    assert group["last_success"] is not None
    assert group["last_error"]["problem"] == "dropped"
    assert group["slots_used"] >= 1
    assert plain.status == 1
    for told in (
        TEAM,
        "environment",
        "unauthorized 1",
        "/25",
        "the connection to LeadSquared broke",
    ):
        assert told in plain.out


def test_without_anything_it_says_how_to_begin(url: str, tmp_path: Path) -> None:
    ended = run(
        "status", cwd=tmp_path, variables={"DATABASE_URL": url, "ENCRYPTION_KEYS": ENCRYPTION_KEY}
    )
    assert (ended.status, ended.err) == (0, "")
    assert "tenants add" in ended.out


async def accepted(url: str, leadsquared: LeadSquaredStandIn) -> None:
    """Leave an activity waiting, with no bot to send it."""
    database = Database(spelt_for_sqlalchemy(url))
    try:
        directory = Directory(database, KEYRING)
        await directory.add(
            Tenant("acme", leadsquared.url, ACCOUNT.org_id, ACCOUNT.access_key, ACCOUNT.secret_key)
        )
        await directory.map("acme", Scope(team_id=TEAM))
        submission = Submission(
            None, TEAM, "C0SUPPORT", "U0ANNA", key="1", ticket_id="143", text="Kundennummer 4711"
        )
        assert isinstance(await Acceptance(database, KEYRING).accept(submission), Accepted)
    finally:
        await database.close()


def change(url: str, statement: str, **values: Any) -> None:
    engine = engine_for(spelt_for_sqlalchemy(url), PATIENCE)
    with closing(engine.connect()) as connection, connection.begin():
        connection.execute(sa.text(statement), values)
    engine.dispose()


async def test_what_waits_for_long_needs_a_person(
    url: str, leadsquared: LeadSquaredStandIn, tmp_path: Path
) -> None:
    variables = {"DATABASE_URL": url, "ENCRYPTION_KEYS": ENCRYPTION_KEY}
    await accepted(url, leadsquared)
    first = await run_beside("status", "--json", cwd=tmp_path, variables=variables)
    assert (first.status, status_of(first)["workspaces"][0]["waiting"]) == (0, 1)
    change(url, "UPDATE deliveries SET accepted_at = accepted_at - :by", by=WAITS_LONG + 60)
    second = await run_beside("status", "--json", cwd=tmp_path, variables=variables)
    assert (second.status, wanted(status_of(second))) == (1, ["waiting_long"])
    assert status_of(second)["workspaces"][0]["oldest_seconds"] > WAITS_LONG


async def test_what_cannot_be_decrypted_needs_a_person_and_everything_is_counted_all_the_same(
    url: str, leadsquared: LeadSquaredStandIn, tmp_path: Path
) -> None:
    await accepted(url, leadsquared)
    other = {"DATABASE_URL": url, "ENCRYPTION_KEYS": "another-encryption-secret-of-the-tests-99"}
    ended = await run_beside("status", "--json", cwd=tmp_path, variables=other)
    assert (ended.status, wanted(status_of(ended))) == (
        1,
        ["keys_undecipherable", "undecipherable"],
    )
    assert status_of(ended)["workspaces"][0]["waiting"] == 1
    assert ACCOUNT.access_key not in ended.said


async def test_what_waits_is_shown_with_its_reason(
    start: Start,
    environment: dict[str, str],
    url: str,
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> None:
    await leadsquared.stop()
    variables = {"DATABASE_URL": url, "ENCRYPTION_KEYS": ENCRYPTION_KEY}
    async with start(environment | {"DATABASE_URL": url}) as bot:
        await bot.type("143 hello")
        async with asyncio.timeout(20):
            while not (found := await listed(bot.parts.database, Wanted()))[0].says:
                await asyncio.sleep(0.02)
        assert found[0].says == WAITS[Waiting.UNREACHABLE]
        ended = await run_beside("status", "--json", cwd=tmp_path, variables=variables)
    (group,) = status_of(ended)["workspaces"]
    assert (ended.status, group["waiting"] + group["sending"]) == (0, 1)
    assert group["waiting_for"] in ({"unreachable": 1}, {}), "empty while it is being tried"


async def test_watching_goes_on_until_ctrl_c(
    url: str, leadsquared: LeadSquaredStandIn, tmp_path: Path
) -> None:
    variables = {"DATABASE_URL": url, "ENCRYPTION_KEYS": ENCRYPTION_KEY}
    await accepted(url, leadsquared)
    with serving("status", "--watch", "--json", cwd=tmp_path, variables=variables) as process:
        await until(lambda: process.log.count("\n") == 2)
        process.signal(signal.SIGINT)
        assert await process.ended() == 0
    assert [look["workspaces"][0]["waiting"] for look in process.events()] == [1, 1]


def group(**changed: Any) -> Group:
    return Group(TEAM, "acme", **changed)


@pytest.mark.parametrize(
    ("groups", "what"),
    [
        ([group()], []),
        ([group(waiting=1, oldest=AT - WAITS_LONG + 1)], []),
        ([group(waiting=1, oldest=AT - WAITS_LONG - 1)], ["waiting_long"]),
        ([group(sending=1, oldest=AT - WAITS_LONG - 1)], ["waiting_long"]),
        ([group(undecided=1)], ["undecided"]),
        ([group(untold=1)], ["untold"]),
        ([group(undecipherable=1)], ["undecipherable"]),
        ([group(keys_readable=False)], ["keys_undecipherable"]),
        ([group(last_errors={Problem.UNAUTHORIZED: AT - 60})], ["keys_refused"]),
        ([group(last_errors={Problem.FORBIDDEN: AT - 60})], ["keys_refused"]),
        ([group(last_errors={Problem.TLS: AT - 60})], ["not_reached"]),
        ([group(last_errors={Problem.UNREACHABLE: AT - 60})], ["not_reached"]),
        ([group(last_errors={Problem.UNAUTHORIZED: AT - DAY - 1})], []),
        ([group(last_errors={Problem.UNAUTHORIZED: AT - 60}, last_success=AT - 30)], []),
        (
            [
                group(last_errors={Problem.UNAUTHORIZED: AT - 60}),
                Group("T0OTHER", "acme", last_success=AT - 30),
            ],
            [],
        ),
        (
            [group(last_errors={Problem.UNAUTHORIZED: AT - 60}), Group(TEAM, "b", last_success=AT)],
            ["keys_refused"],
        ),
        (
            [
                group(
                    last_errors={Problem.NOT_FOUND: AT - 60, Problem.BAD_REQUEST: AT},
                    not_recorded={},
                )
            ],
            [],
        ),
    ],
)
def test_what_needs_a_person(groups: list[Group], what: list[str]) -> None:
    assert [need.what for need in needs(groups, AT)] == what


def test_every_problem_has_its_words() -> None:
    assert PROBLEMS.keys() == set(Problem)


def test_words_for_a_terminal() -> None:
    assert [duration(seconds) for seconds in (-1, 0, 59.9, 60, 3599, 3600, 86_400 * 2.5)] == [
        "0 s", "0 s", "59 s", "1 min", "59 min", "1 h", "2 d",
    ]  # fmt: skip
    assert (ago(None), ago(61)) == ("-", "1 min ago")
    assert shown("a\x1b[2Jb\r\u202e\u0085ä") == "a?[2Jb???ä"
    assert table(["A", "LONG"], [["1\n", ""]]) == ["A   LONG", "1?  -"]


def through(connection: Connection, asked: list[tuple[str, Any]]) -> list[str]:
    """Name the tables of the outbox that one of these statements goes through from end to end."""
    found = []
    for statement, parameters in asked:
        driver: Any = connection.connection.driver_connection
        plan = driver.execute(
            f"{EXPLAIN[connection.dialect.name]} {statement}", parameters
        ).fetchall()
        if connection.dialect.name == "sqlite":
            found += [
                f"{table}: {statement}"
                for table in used_on_sqlite(connection, [row[3] for row in plan])[1]
            ]
        else:
            nodes = [
                node
                for node in plan_nodes(plan[0][0][0]["Plan"])
                if node["Node Type"] == "Seq Scan"
            ]
            found += [f"{node['Relation Name']}: {statement}" for node in nodes]
    return [one for one in found if one.startswith(("deliveries", "attempts"))]


WAYS = [
    Wanted(), Wanted(ticket_id="100003"), Wanted(team_id="T0FILLED7"), Wanted(limit=10_000),
    *(Wanted(state=state) for state in ("accepted", "sending", "recorded", "rejected", "unknown")),  # type: ignore[arg-type]
    Wanted(ticket_id="100003", team_id="T0FILLED7"),
]  # fmt: skip


@pytest.mark.parametrize("prepare", [with_backlog, under_way_without_statistics])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_look_goes_through_the_history(kind: str, prepare: Prepare, tmp_path: Path) -> None:
    with prepared(kind, tmp_path, prepare) as connection:
        asked: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            asked.append((statement, parameters))

        sa.event.listen(connection, "before_cursor_execute", note)
        _look(connection, KEYRING)
        for one in WAYS:
            _listed(connection, one)
        sa.event.remove(connection, "before_cursor_execute", note)
        assert len(asked) > 10
        assert through(connection, asked) == []
