"""Words of settled activities go after RETENTION_DAYS, and the rows after AUDIT_DAYS."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from bot.activities.retention import DAY, Erased
from bot.database.tables import attempts, deliveries
from bot.playground.leadsquared import Behaviour
from support.running import Bot, Start, ticket_that

WORDS = "Kundennummer 4711"


async def rows(bot: Bot, table: sa.Table = deliveries) -> list[Any]:
    return await bot.parts.database.run(
        lambda connection: list(connection.execute(sa.select(table)).mappings())
    )


async def make_older(bot: Bot, days: float) -> None:
    """Move what is settled into the past."""
    older = deliveries.update().values(settled_at=deliveries.c.settled_at - days * DAY)
    await bot.parts.database.run(lambda connection: connection.execute(older))


async def record(bot: Bot, ticket: str = "143") -> None:
    await bot.type(f"{ticket} {WORDS}")
    await bot.answered()
    await bot.at_rest()


async def test_the_words_go_when_their_time_is_over_and_the_row_stays(bot: Bot) -> None:
    await record(bot)
    await make_older(bot, 89)
    assert await bot.parts.retention.erase() == Erased(0, 0)
    await make_older(bot, 2)
    assert await bot.parts.retention.erase() == Erased(1, 0)
    (row,) = await rows(bot)
    assert (row["text"], row["response_url"], row["detail"]) == (b"", None, None)
    assert (row["ticket_id"], row["activity_id"], row["user_id"]) == ("143", "1", "U0ANNA")
    assert await bot.parts.retention.erase() == Erased(0, 0)


async def test_the_row_goes_when_the_audit_trails_time_is_over(bot: Bot) -> None:
    await record(bot)
    await make_older(bot, 729)
    assert await bot.parts.retention.erase() == Erased(1, 0)
    await make_older(bot, 2)
    assert await bot.parts.retention.erase() == Erased(0, 1)
    assert await rows(bot) == await rows(bot, attempts) == []


async def test_with_no_days_the_words_go_as_soon_as_nothing_can_be_sent_again(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | {"RETENTION_DAYS": "0"}) as bot:
        await record(bot)
        refused = ticket_that(Behaviour.REFUSED)
        await bot.type(f"{refused} {WORDS}")
        await bot.answered(messages=2)
        await bot.at_rest()
        assert await bot.parts.retention.erase() == Erased(1, 0)
        texts = {row["ticket_id"]: row["text"] for row in await rows(bot)}
        assert texts["143"] == b""
        assert texts[refused] != b""


async def test_send_again_says_that_the_text_is_gone(bot: Bot) -> None:
    await bot.type(f"{ticket_that(Behaviour.REFUSED)} {WORDS}")
    answer = await bot.answered()
    await bot.at_rest()
    await make_older(bot, 91)
    assert await bot.parts.retention.erase() == Erased(1, 0)
    await bot.slack.click(answer, "Send again", person="U0ANNA")
    assert "has been deleted" in (await bot.told_to("U0ANNA")).text
    assert len(await rows(bot)) == 1


async def test_a_message_that_was_recorded_is_still_known_without_its_words(bot: Bot) -> None:
    message = await bot.slack.say(f"#143 {WORDS}", channel="C0SUPPORT", person="U0GUEST")
    modal = await bot.use(message)
    await bot.submit(modal)
    await bot.answered()
    await bot.at_rest()
    await make_older(bot, 91)
    assert await bot.parts.retention.erase() == Erased(1, 0)
    assert "already recorded this message" in str(await bot.use(message))


async def test_what_is_still_to_be_told_keeps_its_words(bot: Bot) -> None:
    bot.slack.down = True
    await bot.type(f"143 {WORDS}")
    while any(row["settled_at"] is None for row in await rows(bot)):
        await asyncio.sleep(0.01)
    await make_older(bot, 91)
    assert await bot.parts.retention.erase() == Erased(0, 0)
    bot.slack.down = False
    answer = await bot.answered()
    assert "Recorded on ticket 143" in answer.text


@pytest.mark.parametrize("count", [250])
async def test_many_go_in_batches(bot: Bot, count: int) -> None:
    await record(bot)
    (row,) = await rows(bot)
    copies = [
        dict(row) | {"seq": 1000 + number, "id": f"copy{number}", "key": f"copy.{number}"}
        for number in range(count)
    ]
    await bot.parts.database.run(lambda connection: connection.execute(deliveries.insert(), copies))
    await make_older(bot, 800)
    assert await bot.parts.retention.erase() == Erased(count + 1, count + 1)
