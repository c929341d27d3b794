"""Socket Mode over a real websocket: the same listeners, the same promises."""

import secrets
from collections.abc import AsyncIterator

import pytest
from conftest import Bot, Start, ticket_that

from bot.playground.leadsquared import Behaviour
from bot.playground.slack import APP_TOKEN


@pytest.fixture
async def socket_bot(start: Start, environment: dict[str, str]) -> AsyncIterator[Bot]:
    without_port = {name: value for name, value in environment.items() if name != "PORT"}
    async with start(without_port | {"SLACK_APP_TOKEN": APP_TOKEN}) as bot:
        yield bot


async def test_a_command_is_recorded_and_answered(socket_bot: Bot) -> None:
    assert socket_bot.process.port is None, "nothing listens"
    assert await socket_bot.type("143 by websocket\nsecond line") is None
    answer = await socket_bot.answered()
    await socket_bot.at_rest()

    assert "Recorded" in answer.text
    assert [activity.text for activity in socket_bot.leadsquared.on("143")] == ["by websocket\nsecond line"]


async def test_an_immediate_answer_comes_back_through_the_socket(socket_bot: Bot) -> None:
    answer = await socket_bot.type("nonsense hello")
    assert answer is not None
    assert "is not a ticket" in answer.text


async def test_buttons_and_modals_work_through_the_socket(socket_bot: Bot) -> None:
    await socket_bot.type(f"{ticket_that(Behaviour.BAD_REQUEST)} hello")
    answer = await socket_bot.answered()
    await socket_bot.at_rest()
    await socket_bot.slack.click(answer, "Edit and send again", person="U0ANNA")
    (modal,) = socket_bot.slack.modals.open
    shown = await socket_bot.slack.submit(modal, {"ticket": "nonsense"}, person="U0ANNA")
    assert list(shown["errors"]) == ["ticket"]
    assert await socket_bot.slack.submit(modal, {"ticket": "143"}, person="U0ANNA") == {}
    await socket_bot.at_rest()

    assert len(socket_bot.leadsquared.on("143")) == 1


async def test_an_envelope_delivered_twice_is_one_activity(socket_bot: Bot) -> None:
    payload = {
        "team_id": "T0HOME",
        "channel_id": "C0SUPPORT",
        "user_id": "U0ANNA",
        "command": "/portal-activity",
        "text": "143 once",
        "trigger_id": f"1.{secrets.token_hex(8)}",
    }
    envelope = secrets.token_hex(16)
    for _ in range(2):
        await socket_bot.slack._send_socket("slash_commands", payload, envelope)
    await socket_bot.at_rest()

    assert len(socket_bot.leadsquared.on("143")) == 1


async def test_health_is_served_beside_the_socket_when_a_port_is_named(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | {"SLACK_APP_TOKEN": APP_TOKEN}) as bot:
        assert bot.process.port
        assert (await bot.process.ready())["socket_mode"] is True
