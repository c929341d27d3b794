"""Every statement finds its rows by the indexes that it names, on both databases."""

import importlib
import pkgutil
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection

import bot
from bot.database.statement import Row, Statement
from support.plans import EXPLAIN, plan_nodes, prepared, quiet, used_on_sqlite, with_backlog
from support.programs import ROOT

DEAR = 200
"""In PostgreSQL's units; a history of this size costs 2,000 to go through."""

NOW = time.time()
VALUES: dict[str, Any] = {
    "account_id": 21, "activity_id": "1", "after": 5.0, "ago": 0.1,
    "anchor_ts": "1710000007.000200", "app_id": "A01", "at_most": 20, "attempts": 1,
    "because": "app_uninstalled", "beyond": 7000, "forgotten": "forgotten",
    "bot_token": b"token", "bot_user_id": "U0BOT",
    "channel_id": "C01", "claimed_by": "a claim", "despite": 0, "detail": None,
    "digest": b"a digest", "due_at": NOW, "enterprise_id": "E0FILLED10", "expires_in": 43200.0,
    "finding": None, "fingerprint": b"0123456789abcdef", "id": "abcdefghijkl",
    "installed_at": NOW, "installed_by": "U01", "installed_in": "T0FILLED7", "key": "6.6.trigger",
    "lease": 30.0, "lease_until": NOW, "leave": 6.0, "mark": "recorded",
    "message_ts": "1710000009.000100", "moment": NOW, "name": "Filled 7", "noted": "turn",
    "nothing": b"", "number": 1, "occupied_for": 5.0, "outcome": "recorded", "problem": None,
    "process": "a process",
    "refresh_token": b"token", "resolution": None, "resolved_by": "U01", "response_url": b"url",
    "retry_of": None, "room": 25, "route": "thread", "scopes": "commands", "seconds": 1.0,
    "seq": 7777, "settled_only": False, "since": NOW, "state": "accepted", "team_id": "T0FILLED7",
    "tell_at": NOW, "tenant_id": 21, "text": b"text", "thread_ts": "1710000001.000100",
    "through_ts": None, "ticket_id": "100003", "ts": "1710000007.000200", "until": NOW,
    "user_id": "U01", "waiting": None, "within": 5.0,
} | {
    "access_key": b"key", "attribution": "name", "show_ticket": True, "last_line": b"line",
    "title": b"title", "api_url": "https://a.leadsquared.com", "calls_per_window": 25,
    "named_by": "U02", "org_id": "1", "secret_key": b"key", "tenant_name": "filled-7",
    "up_to": 8000, "what": "changed", "who": "root",
}  # fmt: skip


def statements() -> dict[str, Statement]:
    """Return every statement by its module's name and its own: `outbox.claim_heads`."""
    found = {}
    for info in pkgutil.walk_packages(bot.__path__, "bot."):
        if info.name.startswith(("bot.database.migrations", "bot.__main__")):
            continue
        module = importlib.import_module(info.name)
        here = [
            one
            for one in vars(module).values()
            if isinstance(one, type) and one.__module__ == info.name
        ]
        for owner in (module, *here):
            for name, value in vars(owner).items():
                if isinstance(value, Statement):
                    found[f"{info.name.rpartition('.')[2]}.{name.strip('_').lower()}"] = value
    return found


STATEMENTS = statements()


def used(connection: Connection, statement: Statement) -> tuple[set[str], list[str]]:
    """Return the indexes that a statement uses, and the tables that it reads from end to end."""
    plan = explained(connection, statement)
    if connection.dialect.name == "sqlite":
        return used_on_sqlite(connection, [row["detail"] for row in plan])
    nodes = list(plan_nodes(plan[0]["QUERY PLAN"][0]["Plan"]))
    by = {node["Index Name"] for node in nodes if "Index Name" in node}
    return by, [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"]


def explained(connection: Connection, statement: Statement) -> list[Row]:
    values = {name: VALUES[name] for name in statement.parameters}
    return Statement(statement.purpose, f"{EXPLAIN[connection.dialect.name]} {statement.sql}").all(
        connection, **values
    )


def wrong(connection: Connection) -> list[str]:
    """Say which statements are not carried out by the indexes that they name."""
    problems = []
    for name, statement in STATEMENTS.items():
        by, through = used(connection, statement)
        if through:
            problems.append(f"{name} goes through all of {through}")
        if by != statement.index:
            problems.append(
                f"{name} is carried out by {sorted(by)}, and names {sorted(statement.index)}"
            )
    return problems


def test_every_statement_is_found() -> None:
    text = "".join(file.read_text() for file in (ROOT / "bot").rglob("*.py"))
    assert (
        len(STATEMENTS) == len(re.findall(r"^ *_?[A-Z_]+ = Statement\($", text, re.MULTILINE)) > 50
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connection]:
    """A connection to a database of each kind, with a history and a backlog."""
    with prepared(request.param, tmp_path, with_backlog) as connection:
        yield connection


def test_every_statement_is_carried_out_by_the_indexes_that_it_names(filled: Connection) -> None:
    assert wrong(filled) == []


def test_nothing_is_dear_when_nothing_is_under_way(tmp_path: Path) -> None:
    with prepared("postgresql", tmp_path, quiet) as connection:
        costs = {}
        for name, statement in STATEMENTS.items():
            (plan,) = explained(connection, statement)
            costs[name] = plan["QUERY PLAN"][0]["Plan"]["Total Cost"]
    # A search costs 8 and an update little more. PostgreSQL knows nothing of a column that is
    # empty throughout, and may take a third of all rows for found: with a million of them that is
    # a plan with workers, compiled first.
    assert {name: cost for name, cost in costs.items() if cost > DEAR} == {}


@pytest.mark.parametrize(
    ("index", "hit"),
    [
        ("ix_deliveries_waiting", "outbox.claim_heads"),
        ("ix_deliveries_fingerprint", "acceptance.accept"),
        ("ix_attempts_window", "window.used_slots"),
        ("ix_deliveries_untold", "tellings.due"),
    ],
)
def test_a_missing_index_is_noticed(filled: Connection, index: str, hit: str) -> None:
    filled.exec_driver_sql(f"DROP INDEX {index}")
    assert any(problem.startswith(f"{hit} ") for problem in wrong(filled))
