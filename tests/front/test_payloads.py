"""Any payload, by each way in, is accepted or refused in words.

Nothing in the bot breaks.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest

from bot.playground.slack import APP_TOKEN
from support.payloads import EVENT, WHOLE, Payload, broken_parts, click, kept, shortcut, submission
from support.running import TEAM, Bot, Start
from support.signed import command, send

NUL = "\0"


@pytest.fixture
async def stored(start: Start, environment: dict[str, str], url: str) -> AsyncIterator[Bot]:
    """A bot on each kind of database."""
    async with start(environment | {"DATABASE_URL": url}) as bot:
        yield bot


@pytest.fixture
async def socket_bot(start: Start, environment: dict[str, str]) -> AsyncIterator[Bot]:
    async with start(environment | {"SLACK_APP_TOKEN": APP_TOKEN}) as bot:
        yield bot


def as_form(payload: Payload) -> str:
    return urlencode(payload if "command" in payload else {"payload": json.dumps(payload)})


WITH_NUL: dict[str, Payload] = {
    "command, trigger_id": command(trigger_id=f"1.{NUL}2"),
    "command, text": command(text=f"143 one{NUL}two"),
    "command, ticket": command(text=f"14{NUL}3 hello"),
    "command, team_id": command(team_id=f"{TEAM}{NUL}"),
    "command, channel_id": command(channel_id=f"C0{NUL}"),
    "command, user_id": command(user_id=f"U0{NUL}"),
    "command, enterprise_id": command(enterprise_id=f"E0{NUL}"),
    "command, response_url": command(response_url=f"http://127.0.0.1:9/{NUL}"),
    "click, Send again": click("send_again", f"b2z2{NUL}"),
    "click, It's there": click("confirm_recorded", f"b2z2{NUL}"),
    "click, Edit and send again": click("edit_and_send_again", f"b2z2{NUL}"),
    "click, Record again": click("record_again", json.dumps({"delivery": f"b{NUL}", "key": "k"})),
    "click, Record again, its key": click(
        "record_again", json.dumps({"delivery": "b", "key": f"k{NUL}"})
    ),
    "form, shown": submission(private_metadata=kept(shown=f"b2{NUL}")),
    "form, retry_of": submission(private_metadata=kept(retry_of=f"b2{NUL}")),
    "form, thread": submission(private_metadata=kept(thread=f"1790000000.0001{NUL}")),
    "form, message": submission(
        private_metadata=kept(message=f"1790000000.0001{NUL}", thread="1790000000.0001")
    ),
    "form, through": submission(private_metadata=kept(through=f"1790000000.0001{NUL}")),
    "form, channel": submission(private_metadata=kept(channel=f"C0{NUL}")),
    "form, link": submission(private_metadata=kept(link=f"https://x.slack.com/{NUL}")),
    "form, view id": submission(id=f"V{NUL}"),
    "form, metadata": submission(private_metadata=NUL),
    "shortcut, message_ts": shortcut() | {"message_ts": f"1790000000.0001{NUL}"},
    "shortcut, channel": shortcut() | {"channel": {"id": f"C{NUL}"}},
    "shortcut, text": shortcut() | {"message": {"ts": "1790000000.000100", "text": f"he{NUL}llo"}},
    "shortcut, its thread": shortcut()
    | {"message": {"ts": "1790000000.000100", "thread_ts": f"1790000000.0001{NUL}", "text": "x"}},
    "shortcut, author": shortcut()
    | {"message": {"ts": "1790000000.000100", "user": f"U{NUL}", "text": f"<@U{NUL}>"}},
}


@pytest.mark.parametrize("name", WITH_NUL)
async def test_a_nul_character_is_left_out_of_words_and_refused_elsewhere(
    stored: Bot, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, answer = await send(stored, as_form(WITH_NUL[name]))
    await stored.parts.background.finish(5)
    await stored.at_rest()

    assert status in (200, 400), (status, answer)
    assert "Something went wrong" not in answer + str(stored.slack.workspace.calls)
    assert broken_parts(caplog.text) == []
    assert await send(stored, urlencode(command(text="144 afterwards"))) == (200, "")
    await stored.at_rest()
    assert [one.text for one in stored.leadsquared.on("144")] == ["afterwards"]


async def test_a_nul_character_in_what_a_person_typed_keeps_nothing_from_being_recorded(
    stored: Bot,
) -> None:
    assert await send(stored, as_form(command(text=f"143 one{NUL}two"))) == (200, "")
    typed = {
        "ticket": {"input": {"value": f"14{NUL}4"}},
        "text": {"input": {"value": f"three{NUL}four"}},
    }
    assert await send(stored, as_form(submission(state={"values": typed}))) == (200, "")
    await stored.at_rest()

    assert [one.text for one in stored.leadsquared.on("143")] == ["onetwo"]
    assert [one.text for one in stored.leadsquared.on("144")] == ["threefour"]


# What Bolt reads of a payload and the bot does not, and what both read, in unexpected types.
ODD: tuple[Any, ...] = (
    None,
    5,
    1.5,
    True,
    "x",
    "",
    [],
    [[]],
    [5],
    ["x"],
    {},
    {"id": 5},
    {"id": []},
    [{}],
    [{"id": 7, "team_id": []}],
)
READ_BY_BOLT = (
    "actions", "actor_team", "api_app_id", "app_installed_team_id", "assistant_thread",
    "authorizations", "bot_access_token", "callback_id", "channel", "channel_id", "container",
    "enterprise", "enterprise_id", "event", "function_data", "function_execution_id",
    "is_enterprise_install", "is_ext_shared_channel", "item", "message", "message_ts",
    "previous_message", "response_url", "response_urls", "ssl_check", "state", "team", "team_id",
    "thread_ts", "token", "trigger_id", "type", "user", "user_id", "view", "workflow_step",
)  # fmt: skip


@pytest.mark.parametrize("kind", WHOLE)
async def test_odd_values_of_an_interaction_break_nothing(
    bot: Bot, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in READ_BY_BOLT:
        for odd in ODD:
            status, answer = await send(bot, as_form(WHOLE[kind] | {name: odd}))
            assert status in (200, 400, 404), (name, odd, status)
            assert "Something went wrong" not in answer, (name, odd)
    await bot.parts.background.finish(5)
    assert broken_parts(caplog.text) == []


async def test_odd_values_of_an_event_break_nothing(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    for name in READ_BY_BOLT:
        for odd in ODD:
            for body in (EVENT | {name: odd}, EVENT | {"event": EVENT["event"] | {name: odd}}):
                status, _ = await send(bot, json.dumps(body), content_type="application/json")
                assert status in (200, 400, 404), (name, odd, status)
    assert broken_parts(caplog.text) == []


async def test_odd_values_by_websocket_break_nothing_either(
    socket_bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    sockets = socket_bot.slack.sockets
    odd: list[tuple[str, Any]] = [
        *(("interactive", WHOLE[kind] | {name: 5}) for kind in WHOLE for name in READ_BY_BOLT),
        *(("events_api", EVENT | {name: 5}) for name in READ_BY_BOLT),
        *(("interactive", payload) for payload in WITH_NUL.values() if "command" not in payload),
        *(("slash_commands", payload) for payload in WITH_NUL.values() if "command" in payload),
        ("slash_commands", command(user_id="\ud800")),
        ("slash_commands", {"command": "/portal-activity"}),
        ("interactive", {}),
        ("interactive", "text"),
    ]
    sending = [asyncio.create_task(sockets.send(kind, payload)) for kind, payload in odd]
    assert (
        await asyncio.wait_for(sockets.send("slash_commands", command(text="144 afterwards")), 20)
        == {}
    )
    for task in sending:
        task.cancel()
    await asyncio.gather(*sending, return_exceptions=True)
    await socket_bot.parts.background.finish(5)
    await socket_bot.at_rest()

    assert [one.text for one in socket_bot.leadsquared.on("144")] == ["afterwards"]
    assert "request_refused" in caplog.text
    assert broken_parts(caplog.text) == []
