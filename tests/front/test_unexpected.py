"""What is not expected.

The person reads words, the log gets the place, and neither gets a customer's text.
"""

import pytest

from bot.activities.acceptance import Acceptance
from bot.leadsquared.client import LeadSquared
from bot.playground.leadsquared import Behaviour
from bot.slack.conversations import SlackConversations
from bot.slack.replies import SlackReplies
from support.running import Bot, ticket_that

SECRET_WORDS = "the customer's own words"


async def boom(*_: object, **__: object) -> None:
    raise RuntimeError(SECRET_WORDS)


async def test_a_command_that_fails_inside_the_bot_is_answered(
    bot: Bot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Acceptance, "accept", boom)
    answer = await bot.type("143 hello")

    assert answer is not None
    assert "Something went wrong in the bot" in answer.text
    log = caplog.text
    assert "listener_failed" in log
    assert "RuntimeError" in log
    assert SECRET_WORDS not in log


async def test_a_click_and_a_form_that_fail_inside_the_bot_are_answered(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bot.type(f"{ticket_that(Behaviour.BAD_REQUEST)} hello")
    answer = await bot.answered()
    await bot.at_rest()
    await bot.slack.click(answer, "Edit and send again", person="U0ANNA")
    (modal,) = bot.slack.modals.open
    monkeypatch.setattr(Acceptance, "find", boom)

    await bot.slack.click(answer, "Edit and send again", person="U0BEN")
    assert "Something went wrong in the bot" in (await bot.told_to("U0BEN")).text
    shown = await bot.slack.submit(modal, {}, person="U0ANNA")
    assert "Something went wrong in the bot" in shown["errors"]["ticket"], (
        "by a field, and what was typed stays"
    )


async def test_a_form_that_fails_to_be_filled_in_says_so(
    bot: Bot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(SlackConversations, "thread", boom)
    modal = await bot.use(await bot.slack.say("hello", channel="C0SUPPORT", person="U0GUEST"))
    assert "Something went wrong in the bot" in str(modal["blocks"])
    assert "form_not_filled_in" in caplog.text
    assert SECRET_WORDS not in caplog.text


async def test_a_post_that_fails_inside_the_bot_is_unknown_and_told(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LeadSquared, "add_portal_activity", boom)
    await bot.type("143 hello")
    answer = await bot.answered()
    await bot.at_rest()

    assert "may or may not be on ticket" in answer.text
    assert list(answer.buttons()) == ["Send again", "It's there"]


async def test_an_answer_that_fails_inside_the_bot_is_given_later(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(SlackReplies, "tell", boom)
        await bot.type("143 hello")
        while not bot.leadsquared.on("143"):
            assert await bot.parts.outbox.unfinished() == 1
    answer = await bot.answered()
    await bot.at_rest()

    assert "Recorded" in answer.text
    assert len(bot.leadsquared.ledger.calls) == 1
