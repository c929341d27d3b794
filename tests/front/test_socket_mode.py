"""Socket Mode over a real websocket: the same listeners, the same promises."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.playground.leadsquared import Behaviour
from bot.playground.slack import APP_TOKEN
from support.programs import serving, until
from support.running import Bot, Start, ticket_that


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
    assert [activity.text for activity in socket_bot.leadsquared.on("143")] == [
        "by websocket\nsecond line"
    ]


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
        await socket_bot.slack.sockets.send("slash_commands", payload, envelope)
    await socket_bot.at_rest()

    assert len(socket_bot.leadsquared.on("143")) == 1


async def test_health_is_served_beside_the_socket_when_a_port_is_named(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | {"SLACK_APP_TOKEN": APP_TOKEN}) as bot:
        assert bot.process.port
        assert (await bot.process.ready())["socket_mode"] is True


SECONDS = 12.0
"""Within which a websocket is noticed to be gone, and replaced."""


async def all_open(bot: Bot, *, opened: int) -> None:
    """Wait until both websockets stand, the last of them being the so-many-th that was opened."""
    sockets = bot.slack.sockets
    await until(
        lambda: (
            sockets.opened >= opened
            and [connection.alive for connection in sockets.open].count(True) == 2
        ),
        within=SECONDS,
    )


async def type_all(bot: Bot, texts: list[str]) -> None:
    """Type commands one after the other: none may be refused, nor come too late."""
    for text in texts:
        assert await bot.type(f"143 {text}") is None


def recorded(bot: Bot) -> list[str]:
    return [activity.text for activity in bot.leadsquared.on("143")]


async def test_two_websockets_are_open_by_default(socket_bot: Bot) -> None:
    await all_open(socket_bot, opened=2)


async def test_the_number_of_websockets_can_be_chosen(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(
        environment | {"SLACK_APP_TOKEN": APP_TOKEN, "SLACK_SOCKET_CONNECTIONS": "1"}
    ) as bot:
        assert await bot.type("143 hello") is None
        await bot.at_rest()
        assert bot.slack.sockets.opened == 1


@pytest.mark.parametrize("what", ["drop", "freeze"])
async def test_a_websocket_that_is_gone_or_silent_is_replaced(socket_bot: Bot, what: str) -> None:
    await all_open(socket_bot, opened=2)
    getattr(socket_bot.slack.sockets.open[0], what)()
    texts = [f"number {number}" for number in range(4)]
    await type_all(socket_bot, texts)
    await all_open(socket_bot, opened=3)
    await type_all(socket_bot, ["after"])
    await socket_bot.at_rest()

    assert recorded(socket_bot) == [*texts, "after"]


async def test_both_silent_at_once_are_replaced(socket_bot: Bot) -> None:
    await all_open(socket_bot, opened=2)
    for connection in list(socket_bot.slack.sockets.open):
        connection.freeze()
    await all_open(socket_bot, opened=4)
    await type_all(socket_bot, ["after"])
    await socket_bot.at_rest()

    assert recorded(socket_bot) == ["after"]


async def test_a_refresh_is_not_felt(socket_bot: Bot) -> None:
    await all_open(socket_bot, opened=2)
    texts = [f"number {number}" for number in range(20)]
    typing = asyncio.create_task(type_all(socket_bot, texts))
    for opened, connection in enumerate(list(socket_bot.slack.sockets.open), 3):
        await connection.refresh()
        await all_open(socket_bot, opened=opened)
    await typing
    await socket_bot.at_rest(within=40)

    assert recorded(socket_bot) == texts


async def test_slack_that_was_away_is_connected_to_again(socket_bot: Bot) -> None:
    await all_open(socket_bot, opened=2)
    slack = socket_bot.slack
    await slack.stop()
    assert await until_not_ready(socket_bot)
    await slack.start()
    await until(lambda: len(slack.sockets.open) == 2, within=40)
    await type_all(socket_bot, ["after"])
    await socket_bot.at_rest()

    assert recorded(socket_bot) == ["after"]


async def until_not_ready(bot: Bot) -> bool:
    async with asyncio.timeout(SECONDS):
        while (await bot.process.ready())["socket_mode"]:
            await asyncio.sleep(0.05)
    return True


async def test_an_envelope_on_both_websockets_at_once_is_one_activity(socket_bot: Bot) -> None:
    await all_open(socket_bot, opened=2)
    payload = {
        "team_id": "T0HOME",
        "channel_id": "C0SUPPORT",
        "user_id": "U0ANNA",
        "command": "/portal-activity",
    }
    envelope = {
        "type": "slash_commands",
        "envelope_id": secrets.token_hex(16),
        "accepts_response_payload": True,
        "payload": payload | {"text": "143 once", "trigger_id": f"1.{secrets.token_hex(8)}"},
    }
    for connection in socket_bot.slack.sockets.open:
        await connection.send(envelope)
    await socket_bot.answered()
    await socket_bot.at_rest()

    assert recorded(socket_bot) == ["once"]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://no.such.host.invalid/api/", "the name no.such.host.invalid is not known"),
        ("http://127.0.0.1:9/api/", "no connection to 127.0.0.1:9 ("),
    ],
)
async def test_without_network_the_reason_is_one_line_in_words(
    environment: dict[str, str], tmp_path: Path, address: str, reason: str
) -> None:
    variables = environment | {
        "SLACK_APP_TOKEN": APP_TOKEN,
        "SLACK_API_URL": address,
        "SLACK_SOCKET_CONNECTIONS": "1",
    }
    with serving("run", cwd=tmp_path, variables=variables) as process:
        await process.logged('"socket_mode_not_connected"')
        process.signal()
        assert await process.ended() == 0

    (first,) = [
        event for event in process.events() if event["event"] == "socket_mode_not_connected"
    ]
    assert reason in first["reason"], "the tries that follow are counted"
    assert "fix" in first
    assert "library_warning" not in process.log
