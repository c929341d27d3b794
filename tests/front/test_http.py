"""The HTTP surface: what is not Slack's is refused before anything reads it."""

import asyncio
import json
import re
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from yarl import URL

from bot.slack.front import why_out_of_time
from support.running import TEAM, Bot
from support.signed import FORM, command, logged, send


async def test_a_signed_command_is_taken(bot: Bot) -> None:
    assert await send(bot, urlencode(command())) == (200, "")
    await bot.at_rest()
    assert len(bot.leadsquared.on("143")) == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"secret": "another-secret"}, 401),
        ({"age": 600}, 401),
        ({"age": -600}, 401),
        ({"X-Slack-Signature": ""}, 401),
        ({"X-Slack-Signature": "v0=ünïcode"}, 401),
        ({"X-Slack-Request-Timestamp": "soon"}, 401),
        ({"X-Slack-Request-Timestamp": "9" * 400}, 401),
    ],
)
async def test_what_slack_did_not_sign_is_refused(
    bot: Bot, changes: dict[str, Any], status: int
) -> None:
    found, text = await send(bot, urlencode(command()), **changes)

    assert found == status
    assert "signature" in text
    assert await bot.parts.outbox.unfinished() == 0


@pytest.mark.parametrize(
    ("age", "clock"),
    [(600, "ahead"), (3600, "ahead"), (-600, "behind"), (-90_000, "behind")],
)
async def test_a_clock_that_is_off_is_named_with_how_much_and_which_way(
    bot: Bot, caplog: pytest.LogCaptureFixture, age: int, clock: str
) -> None:
    status, text = await send(bot, urlencode(command()), age=age)
    said = [event for event in logged(caplog) if event["event"] == "request_refused"]

    assert status == 401
    assert len(said) == 1
    named = re.search(rf"clock is (\d+) s {clock}", said[0]["reason"])
    assert named is not None, said
    assert abs(int(named[1]) - abs(age)) <= 5
    assert said[0]["reason"] == text
    assert "v0=" not in str(said)
    assert await bot.parts.outbox.unfinished() == 0


async def test_a_wrong_signature_says_nothing_of_the_clock(bot: Bot) -> None:
    status, text = await send(bot, urlencode(command()), age=600, secret="another-secret")
    assert (status, "clock" in text) == (401, False)


@pytest.mark.parametrize("age", [0, 300, -300])
def test_five_minutes_either_way_are_in_time(age: int) -> None:
    assert why_out_of_time(1_790_000_000 - age, 1_790_000_000.0) is None


CHECKS = ["ssl_check=1", "ssl_check=1&token=abc", "token=abc&ssl_check=1", "ssl_check=1&token="]


@pytest.mark.parametrize("fields", CHECKS)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_slacks_look_at_the_certificate_needs_no_signature(
    bot: Bot, caplog: pytest.LogCaptureFixture, method: str, fields: str
) -> None:
    assert await unsigned(bot, method, fields) == (200, "")
    assert await bot.parts.outbox.unfinished() == 0
    assert "request_refused" not in str(logged(caplog))


@pytest.mark.parametrize(
    "fields",
    [
        "ssl_check=0",
        "ssl_check=",
        "ssl_check",
        "ssl_check=11",
        "ssl_check=1&ssl_check=1",
        "ssl_check=1&token=a&token=b",
        "ssl_check=1&text=143",
        "ssl_check=1&" + urlencode(command()),
        urlencode(command(ssl_check="1")),
        urlencode(command(text="ssl_check=1")),
        "ssl_check=1&" + urlencode(command()).replace("command=", "%63ommand="),
        "ssl_check=1&payload={}",
        "payload=%7B%22ssl_check%22%3A1%7D",
        "ssl_check=1&token=" + "x" * 2000,
        "%7B%22ssl_check%22%3A+%221%22%7D",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_anything_beside_the_look_is_an_unsigned_request_like_any_other(
    bot: Bot, method: str, fields: str
) -> None:
    status, _ = await unsigned(bot, method, fields)

    assert status == 401
    assert await bot.parts.outbox.unfinished() == 0


async def test_a_command_cannot_hide_behind_the_look_in_the_address(bot: Bot) -> None:
    address = f"{bot.url}/slack/events?ssl_check=1"
    async with aiohttp.ClientSession() as session:
        async with session.post(address, data=command()) as response:
            assert response.status == 401
        async with session.post(address) as response:
            assert response.status == 200


async def test_a_signed_command_is_one_whatever_stands_beside_it(bot: Bot) -> None:
    assert await send(bot, urlencode(command(ssl_check="1"))) == (200, "")
    await bot.at_rest()
    assert len(bot.leadsquared.on("143")) == 1


async def unsigned(bot: Bot, method: str, fields: str) -> tuple[int, str]:
    """Send form fields without a signature: in the body, or with GET in the address."""
    address = f"{bot.url}/slack/events" + (f"?{fields}" if method == "GET" else "")
    body = None if method == "GET" else fields.encode()
    form = {"Content-Type": FORM}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, URL(address, encoded=True), data=body, headers=form) as response,
    ):
        return response.status, await response.text()


async def test_a_body_too_large_is_refused(bot: Bot) -> None:
    status, text = await send(bot, urlencode(command(text="143 " + "x" * 2_000_000)))

    assert status == 413
    assert "larger than" in text


@pytest.mark.parametrize(
    "body",
    [
        b"text=\xff\xfe",
        b"",
        "payload=",
        "payload=null",
        "payload=[]",
        "payload=1",
        "payload=" + "[" * 100_000,
        "payload=" + '{"a":' * 50_000,
        "payload={",
        urlencode({"payload": json.dumps({"type": "block_actions"})}),
        urlencode(
            {
                "payload": json.dumps(
                    {"type": "block_actions", "team": "T", "user": 1, "actions": {}}
                )
            }
        ),
        urlencode(
            {
                "payload": json.dumps(
                    {"type": "view_submission", "team": {"id": TEAM}, "user": {"id": "U"}}
                )
            }
        ),
        urlencode({"payload": json.dumps({"type": ["block_actions"]})}),
        urlencode({"text": "143 hello"}),
        urlencode(command(team_id="")),
        urlencode(command(user_id="U 1")),
        urlencode(command(trigger_id="")),
        "command=%2Fportal-activity&text=%ff%fe&"
        + urlencode({k: v for k, v in command().items() if k != "text"}),
        "&".join(f"a{number}=1" for number in range(5000)),
        "{",
        "{}" * 3,
    ],
)
async def test_a_malformed_body_is_refused_and_the_bot_goes_on(bot: Bot, body: str | bytes) -> None:
    status, text = await send(bot, body)
    unsigned, _ = await send(bot, body, secret="wrong")

    assert status == 400
    assert "body" in text
    assert unsigned in (400, 401)
    assert await send(bot, urlencode(command())) == (200, "")


@pytest.mark.parametrize(
    "body", ["null", "[]", "1", '"x"', "[" * 100_000, '{"type": null}', '{"type":', "{}"]
)
async def test_malformed_json_is_refused(bot: Bot, body: str) -> None:
    status, _ = await send(bot, body, content_type="application/json")
    assert status == 400


async def test_slacks_url_verification_is_answered(bot: Bot) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "abc", "token": "t"})
    status, text = await send(bot, body, content_type="application/json")
    assert status == 200
    assert "abc" in text


async def test_health_and_readiness(bot: Bot) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{bot.url}/healthz") as response:
            assert (response.status, await response.json()) == (200, {"status": "alive"})
        async with session.get(f"{bot.url}/readyz") as response:
            assert response.status == 200
            assert (await response.json())["database"] is True


async def test_an_interaction_that_is_not_the_bots_is_no_error_of_the_server(bot: Bot) -> None:
    payload = {
        "type": "shortcut",
        "callback_id": "unknown",
        "team": {"id": TEAM},
        "user": {"id": "U0ANNA"},
    }
    status, _ = await send(bot, urlencode({"payload": json.dumps(payload)}))
    assert status < 500


async def test_many_commands_at_once_are_all_taken_once(bot: Bot) -> None:
    bodies = [
        urlencode(command(text=f"143 number {number}", trigger_id=f"many.{number}"))
        for number in range(64)
    ]
    answers = await asyncio.gather(*(send(bot, body) for body in bodies * 2))

    assert set(answers) == {(200, "")}
    rows = await bot.parts.database.run(
        lambda connection: connection.exec_driver_sql("SELECT count(*) FROM deliveries").scalar()
    )
    assert rows == 64
