"""After a restore.

What the backup holds without an outcome is not sent again, and people are asked to check.
"""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.database.tables import deliveries
from bot.playground.leadsquared import LeadSquaredStandIn
from support.programs import run_beside
from support.running import Start


@pytest.fixture
def on_database(environment: dict[str, str], url: str) -> dict[str, str]:
    return environment | {"DATABASE_URL": url, "POLL_INTERVAL": "0.2"}


async def test_what_had_no_outcome_in_the_backup_is_told_as_unknown_and_not_sent(
    start: Start, on_database: dict[str, str], tmp_path: Path, leadsquared: LeadSquaredStandIn
) -> None:
    async with start(on_database) as bot:
        assert await bot.type("143 recorded before") is None
        await bot.answered()
        await bot.at_rest()
        bot.parts.worker.stop()
        for number in range(3):
            assert await bot.type(f"{143 + number} waiting {number}") is None

    first = await run_beside("restored", cwd=tmp_path, variables=on_database)
    assert (first.status, first.out[:36]) == (0, "3 activities had no outcome in this ")
    second = await run_beside("restored", cwd=tmp_path, variables=on_database)
    assert (second.status, second.out) == (
        0,
        "Every activity in this database has an outcome. There is nothing to do.\n",
    )

    async with start(on_database) as bot:
        answer = await bot.answered(messages=4)
        await bot.at_rest()
        assert "restored from a backup" in answer.text
        assert set(answer.buttons()) == {"Send again", "It's there"}
        await bot.slack.click(answer, "Send again", person="U0ANNA")
        assert "Recorded" in (await bot.answered(messages=5)).text
    assert len(leadsquared.ledger.calls) == 2, (
        "the one before, and the one that a person sent again"
    )


@pytest.mark.parametrize(("age", "pointed_out"), [(4000.0, True), (1000.0, False)])
async def test_an_old_database_with_something_waiting_is_pointed_out_at_the_start(
    start: Start,
    on_database: dict[str, str],
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    age: float,
    pointed_out: bool,  # noqa: FBT001 - a parameter
) -> None:
    async with start(on_database) as bot:
        bot.parts.worker.stop()
        await bot.type("143 hello")
        earlier = deliveries.update().values(accepted_at=time.time() - age)
        await bot.parts.database.run(lambda connection: connection.execute(earlier))
    checked = await run_beside("check", cwd=tmp_path, variables=on_database)
    assert ("python -m bot restored" in checked.out) is pointed_out
    capfd.readouterr()
    async with start(on_database):
        pass
    assert ("database_looks_restored" in capfd.readouterr().err) is pointed_out


async def test_an_old_database_in_which_nothing_waits_is_not_pointed_out(
    start: Start, on_database: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    async with start(on_database) as bot:
        await bot.type("143 hello")
        await bot.answered()
        await bot.at_rest()
        earlier = deliveries.update().values(accepted_at=sa.literal(1.0))
        await bot.parts.database.run(lambda connection: connection.execute(earlier))
    async with start(on_database):
        pass
    assert "database_looks_restored" not in capfd.readouterr().err
