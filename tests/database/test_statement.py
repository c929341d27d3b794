"""A statement's text reads the same on both databases; its parameters and rows go by names."""

import asyncio
from typing import Any

import pytest

from bot.database.statement import Row, Statement
from bot.database.writer import Database
from support.running import spelt_for_sqlalchemy


def rows(url: str, sql: str, **values: Any) -> list[Row]:
    async def ask() -> list[Row]:
        database = Database(spelt_for_sqlalchemy(url))
        try:
            return await database.run(
                lambda connection: Statement("A test's.", sql).all(connection, **values)
            )
        finally:
            await database.close()

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("sql", "values", "found"),
    [
        ("SELECT 1 AS one, :word AS word", {"word": "a:b %s"}, [{"one": 1, "word": "a:b %s"}]),
        ("SELECT :n + 1 AS next, :n AS n", {"n": 2}, [{"next": 3, "n": 2}]),
        ("SELECT 7 % :n AS rest", {"n": 4}, [{"rest": 3}]),
        ("SELECT CAST('5' AS integer) AS number", {}, [{"number": 5}]),
        ("SELECT id FROM tenants WHERE id = :id FOR UPDATE OF tenants SKIP LOCKED", {"id": 1}, []),
        ("SELECT id FROM (SELECT id FROM tenants FOR UPDATE) AS locked LIMIT 1", {}, []),
        ("SELECT bot_now() > 1000000000.0 AS runs WHERE :a = 'a'", {"a": "a"}, [{"runs": True}]),
    ],
)
def test_one_text_reads_the_same_on_both_databases(
    url: str, sql: str, values: dict[str, Any], found: list[Row]
) -> None:
    assert rows(url, sql, **values) == found


@pytest.mark.parametrize("values", [{}, {"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "c": 2}])
def test_a_missing_or_an_unknown_parameter_is_an_error(url: str, values: dict[str, int]) -> None:
    with pytest.raises(TypeError, match=r"b|c"):
        rows(url, "SELECT :a AS a, :b AS b", **values)


def test_a_cast_is_no_parameter() -> None:
    assert Statement("A test's.", "SELECT :a::text AS a, b::double precision").parameters == {"a"}
