"""The form that the slash command opens for what it leaves out."""

import json
from pathlib import Path

import pytest

from bot.playground.slack import Fault
from support.running import Bot
from support.sqlite import locked


@pytest.mark.parametrize(
    ("text", "ticket"),
    [
        ("", None),
        ("   ", None),
        ("\u2800 \u3164", None),
        ("143", "143"),
        ("#143  ", "143"),
        ("143 \u200b\u200d", "143"),
    ],
)
async def test_what_is_left_out_is_asked_for_in_the_form(
    bot: Bot, text: str, ticket: str | None
) -> None:
    modal = await bot.ask_by_command(text)
    assert (bot.slack.modals.value(modal, "ticket"), bot.slack.modals.value(modal, "text")) == (
        ticket,
        None,
    )
    assert [block["block_id"] for block in modal["blocks"]] == ["ticket", "text"], (
        "there is no message to choose or link"
    )
    assert "/response/" not in json.dumps(modal)

    assert await bot.submit(modal, ticket="143", text="signed & <sent>") == {}
    answer = await bot.answered()
    await bot.at_rest()
    assert [activity.text for activity in bot.leadsquared.on("143")] == ["signed & <sent>"]
    assert answer.thread_ts == bot.anchor().ts, "like a command with everything in it"
    assert "The form will suggest ticket 143 for this thread" in answer.text


async def test_where_the_bot_may_not_post_the_forms_answer_comes_by_the_commands_response_url(
    bot: Bot,
) -> None:
    modal = await bot.ask_by_command("143", channel="C0PRIVATE")
    await bot.submit(modal, text="hello")
    told = await bot.told_to("U0ANNA")
    await bot.at_rest()
    assert "Recorded" in told.text
    assert told.channel == "C0PRIVATE"


async def test_a_workspace_without_a_tenant_gets_the_form_that_says_so(bot: Bot) -> None:
    await bot.parts.directory.remove("environment")
    modal = await bot.ask_by_command("143")
    assert "submit" not in modal
    assert "isn't connected to LeadSquared" in str(modal)


@pytest.mark.parametrize(
    ("text", "says"), [("", "Enter the ticket"), ("143", "Nothing was recorded on ticket 143")]
)
async def test_where_slack_does_not_open_the_form_it_is_said_in_words(
    bot: Bot, text: str, says: str
) -> None:
    bot.slack.faults["views.open"].append(Fault("expired_trigger_id"))
    answer = await bot.type(text)
    assert answer is not None
    assert says in answer.text
    assert "`/portal-activity 143 " in answer.text


async def test_a_database_that_is_away_is_told_above_what_was_typed_and_pressing_again_records_once(
    bot: Bot, tmp_path: Path
) -> None:
    modal = await bot.ask_by_command("143")
    with locked(tmp_path / "bot.db"):
        answer = await bot.submit(modal, text="typed with care")
    assert answer["response_action"] == "update"
    (modal,) = bot.slack.modals.open
    assert "couldn't store this" in str(modal["blocks"])
    assert bot.slack.modals.value(modal, "text") == "typed with care"

    assert await bot.submit(modal) == {}
    await bot.at_rest()
    assert [activity.text for activity in bot.leadsquared.on("143")] == ["typed with care"]
