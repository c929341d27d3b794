"""Every statement of the store finds its rows by the index that docs/design.md names, on both databases."""

import re
import time
from typing import Any

import pytest
from sqlalchemy.engine import Connection, Engine

from bot.activities.statements import AcceptanceStatements, LookingStatements, SendingStatements, TellingStatements
from bot.database.engines import PATIENCE, engine_for
from bot.database.schema import migrate_database
from bot.database.tables import deliveries
from bot.database.writer import Prepared
from support.databases import database
from support.plans import Explaining, filled, plan_nodes, used_on_sqlite
from support.programs import ROOT
from support.running import spelt_for_sqlalchemy

DESIGN = ROOT / "docs" / "design.md"


DEAR = 200
"""In PostgreSQL's units; a history of this size costs 2,000 to go through."""

NOW = time.time()
VALUES: dict[str, Any] = {
    **{f"_{column.name}": None for column in deliveries.c},
    "_id": "abcdefghijkl", "_team_id": "T0FILLED7", "_channel_id": "C01", "_user_id": "U01", "_key": "6.6.trigger",
    "_ticket_id": "100003", "_text": b"text", "_response_url": b"url", "_thread_ts": "1710000001.000100",
    "_message_ts": "1710000009.000100", "_anchor_ts": "1710000007.000200", "_fingerprint": b"0123456789abcdef",
    "_state": "accepted", "_route": "thread", "_seq": 7777, "_tenant_id": 21, "_attempts": 1, "_number": 1,
    "_account_id": 21, "_delivery_seq": 30_000, "_claimed_by": "a claim", "_outcome": "recorded", "_due_at": NOW, "_tell_at": NOW,
    "_resume_at": NOW, "enterprise": "E0FILLED10", "team": "T0FILLED7", "channel": "C01", "despite": 0, "moment": NOW,
    "room": 25, "at_most": 20, "lease": 30.0, "ago": 0.1, "occupied_for": 5.0, "after": 5.0, "seconds": 1.0,
    "_tell_lease_until": NOW, "within": 5.0, "leave": 6.0,
}  # fmt: skip
OF_TENANTS = {"_id": 21}


def statements(engine: Engine) -> dict[str, Prepared]:
    """Return every statement of the store, named as in docs/design.md."""
    groups = {
        "acceptance": AcceptanceStatements(engine, "a process"),
        "sending": SendingStatements(engine),
        "looking": LookingStatements(engine),
        "telling": TellingStatements(engine),
    }
    return {
        f"{group}.{name}": statement
        for group, of_group in groups.items()
        for name, statement in vars(of_group).items()
        if isinstance(statement, Prepared)
    }


def documented(dialect: str) -> dict[str, set[str]]:
    """Return the indexes that docs/design.md names for each statement; what stands after "PostgreSQL:" is for that alone."""
    _, _, section = DESIGN.read_text().partition("### Which index serves which query\n")
    table = section.partition("\n### ")[0]
    found: dict[str, set[str]] = {}
    for line in table.splitlines():
        if line.startswith("| `"):
            names, (indexes, _, further) = line.split("|")[1], line.split("|")[3].partition("PostgreSQL:")
            indexes += further if dialect == "postgresql" else ""
            for name in re.findall(r"`([a-z_.]+)`", names):
                assert name not in found, f"{name} has two rows"
                found[name] = set(re.findall(r"`([a-z_]+)`", indexes))
    return found


def used(connection: Connection, name: str, statement: Prepared) -> tuple[set[str], list[str]]:
    """Return the indexes that a statement is carried out by, and the tables that it goes through from end to end."""
    plan = _explained(connection, name, statement)
    if connection.dialect.name == "sqlite":
        return used_on_sqlite(connection, [row[3] for row in plan])
    nodes = list(plan_nodes(plan[0][0][0]["Plan"]))
    by = {node["Index Name"] for node in nodes if "Index Name" in node}
    return by, [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"]


def _explained(connection: Connection, name: str, statement: Prepared) -> list[Any]:
    values = VALUES | (OF_TENANTS if name.endswith(("_account", "tenant_exists")) and "find" not in name else {})
    return list(statement(Explaining(connection), **values).fetchall())  # type: ignore[arg-type]


def wrong(connection: Connection) -> list[str]:
    """Say which statements are not carried out as docs/design.md says."""
    said = documented(connection.dialect.name)
    problems = []
    for name, statement in statements(connection.engine).items():
        by, through = used(connection, name, statement)
        if through:
            problems.append(f"{name} goes through all of {through}")
        if name not in said:
            problems.append(f"{name} has no row in docs/design.md; it is carried out by {sorted(by)}")
        elif by != said[name]:
            problems.append(f"{name} is carried out by {sorted(by)}, and docs/design.md says {sorted(said[name])}")
    return problems


def test_every_statement_is_carried_out_by_the_index_that_is_documented(url: str) -> None:
    with filled(url) as connection:
        assert wrong(connection) == []


def test_nothing_is_dear_when_nothing_is_under_way() -> None:
    with database() as url:
        migrate_database(spelt_for_sqlalchemy(url))
        with filled(url, quiet=True) as connection:
            costs = {}
            for name, statement in statements(connection.engine).items():
                (plan,) = _explained(connection, name, statement)
                costs[name] = plan[0][0]["Plan"]["Total Cost"]
    # A search costs 8 and an update little more. PostgreSQL knows nothing of a column that is empty throughout, and may take
    # a third of all rows for found: with a million of them that is a plan with workers, compiled first.
    assert {name: cost for name, cost in costs.items() if cost > DEAR} == {}


def test_the_table_names_only_what_there_is(url: str) -> None:
    engine = engine_for(spelt_for_sqlalchemy(url), PATIENCE)
    try:
        there = set(statements(engine)) | {"sending.newest"}  # SQLite's alone
    finally:
        engine.dispose()
    assert documented("sqlite").keys() == there


@pytest.mark.parametrize(
    ("index", "hit"),
    [
        ("ix_deliveries_waiting", "sending.take"),
        ("ix_deliveries_fingerprint", "acceptance.accept"),
        ("ix_attempts_window", "sending.taken_slots"),
        ("ix_deliveries_untold", "telling.untold"),
    ],
)
def test_a_missing_index_is_noticed(url: str, index: str, hit: str) -> None:
    with filled(url) as connection:
        connection.exec_driver_sql(f"DROP INDEX {index}")
        assert any(problem.startswith(f"{hit} ") for problem in wrong(connection))
