"""The main job, through the front door."""

from conftest import Bot


async def test_recorded_and_answered_in_the_thread(bot: Bot) -> None:
    at_once = await bot.type("143 Customer uploaded the signed form")
    answer = await bot.answered()
    await bot.at_rest()

    assert at_once is None
    assert [(activity.ticket_id, activity.text) for activity in bot.leadsquared.ledger.activities] == [
        ("143", "Customer uploaded the signed form")
    ]
    assert "Recorded" in answer.text
    assert "activity Id 1" in answer.text
    anchor = await bot.anchor()
    assert answer.thread_ts == anchor.ts
    assert "✅ Recorded" in anchor.text
    assert "Customer uploaded the signed form" in anchor.text
