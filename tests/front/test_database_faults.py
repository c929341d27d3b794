"""A database that is locked, read-only or full.

The person is told, and nothing is claimed to be recorded.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.database.engines import PATIENCE
from bot.database.schema import migrate_database
from bot.database.writer import SHARED_BY, Database, DatabaseUnavailableError
from support.running import Bot
from support.sqlite import locked


def pragma(words: str) -> Callable[[Connection], None]:
    def run(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA {words}")

    return run


async def test_a_locked_database_is_told_in_time_and_keeps_nothing(
    bot: Bot, tmp_path: Path
) -> None:
    with locked(tmp_path / "bot.db"):
        started = time.monotonic()
        answer = await bot.type("143 hello")
        assert time.monotonic() - started < 3, "Slack waits no longer"
    assert answer is not None
    assert "couldn't store this" in answer.text
    assert await bot.parts.outbox.unfinished() == 0

    assert await bot.type("143 hello") is None
    await bot.at_rest()
    assert len(bot.leadsquared.on("143")) == 1


async def test_many_commands_on_a_locked_database_are_all_told_in_time(
    bot: Bot, tmp_path: Path
) -> None:
    with locked(tmp_path / "bot.db"):
        answers = await asyncio.gather(*(bot.type(f"143 number {number}") for number in range(30)))
    assert all(answer is not None and "couldn't store this" in answer.text for answer in answers)
    assert await bot.parts.outbox.unfinished() == 0


@pytest.mark.parametrize("words", ["query_only=ON", "max_page_count=1"])
async def test_a_read_only_or_full_database_is_told(bot: Bot, words: str) -> None:
    await bot.at_rest()
    engine = bot.parts.database.engine

    def spoil(driver: Any, _record: Any) -> None:
        driver.execute(f"PRAGMA {words}")

    # A poll may fail first, and make a new connection.
    sa.event.listen(engine, "connect", spoil)
    await bot.parts.database.run(pragma(words))
    text = "x" * 30_000  # more than what fits into the pages that are there
    answer = await bot.type(f"143 {text}")
    sa.event.remove(engine, "connect", spoil)
    engine.dispose()  # a new connection is as it should be

    assert answer is not None
    assert "couldn't store this" in answer.text
    assert await bot.parts.outbox.unfinished() == 0
    assert bot.leadsquared.ledger.calls == []


async def test_an_outcome_is_written_down_when_the_database_comes_back(
    bot: Bot, tmp_path: Path
) -> None:
    bot.leadsquared.latency = 0.3
    await bot.type("143 hello")
    while not bot.leadsquared.ledger.calls and not bot.leadsquared._arrivals:
        await bot.parts.outbox.unfinished()
    with locked(tmp_path / "bot.db"):
        while not bot.leadsquared.on("143"):
            await _moment()
    answer = await bot.answered()
    await bot.at_rest()

    assert "Recorded" in answer.text
    assert len(bot.leadsquared.ledger.calls) == 1


async def test_a_button_on_a_locked_database_says_so_and_stays(bot: Bot, tmp_path: Path) -> None:
    await bot.type("404404 hello")
    answer = await bot.answered()
    await bot.at_rest()
    with locked(tmp_path / "bot.db"):
        await bot.slack.click(answer, "Edit and send again", person="U0ANNA")
        told = await bot.told_to("U0ANNA")
    assert "Try again" in told.text
    assert list(answer.buttons()) == ["Edit and send again"]


async def test_who_waits_behind_a_locked_database_does_not_wait_as_long_again(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'any.db'}"
    migrate_database(url)
    database = Database(url)
    try:
        await database.run(lambda _: None)
        with locked(tmp_path / "any.db"):
            started = time.monotonic()
            people = [
                database.run(lambda _: None, answer_within=20.0) for _ in range(4 * SHARED_BY)
            ]
            told = await asyncio.gather(*people, return_exceptions=True)
            assert time.monotonic() - started < 2 * PATIENCE.busy
        assert {type(one) for one in told} == {DatabaseUnavailableError}
        await database.run(lambda _: None, answer_within=20.0)
    finally:
        await database.close()


async def test_a_bot_that_many_people_use_is_ready(bot: Bot) -> None:
    done = False

    async def person() -> None:
        while not done:
            await bot.parts.database.run(lambda _: time.sleep(0.004), answer_within=20.0)

    people = [asyncio.create_task(person()) for _ in range(60)]
    try:
        assert (await bot.process.ready())["database"]
    finally:
        done = True
        await asyncio.gather(*people)


async def _moment() -> None:
    await asyncio.sleep(0.01)
