"""Only Slack's hosts are called to answer, even if a signed payload names another address."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from bot.playground.leadsquared import Behaviour
from bot.slack.response_urls import slacks_url
from support.running import TEAM, Bot, ticket_that
from support.signed import command, logged, send

Caught = pytest.LogCaptureFixture
SLACK = "https://slack.com/api/"
ODD = r"[a-z0-9\[\]@:.\\#%]"
ADDRESS = rf"https?://{ODD}{{0,20}}(hooks\.slack\.com)?{ODD}{{0,9}}/?"


@dataclass
class Foreign:
    """A server on this machine that is not Slack's stand-in, and what it was asked."""

    port: int = 0
    calls: list[str] = field(default_factory=list)


@pytest.fixture
async def foreign() -> AsyncIterator[Foreign]:
    found = Foreign()

    async def called(request: web.Request) -> web.Response:
        found.calls.append(request.path)
        return web.Response(text="ok")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", called)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/commands/T0/1/x",
        "https://hooks.slack.com:443/actions/T0/1/x",
        "HTTPS://HOOKS.SLACK.COM/app/T0/1/x",
        "https://hooks.slack-gov.com/commands/T0/1/x",
    ],
)
def test_slacks_hosts_are_called(url: str) -> None:
    assert slacks_url(url, "http://127.0.0.1:9/api/") is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.slack.com/commands/x",
        "https://hooks.slack.com:8443/x",
        "https://hooks.slack.com.example.com/x",
        "https://hooks.slack.com./x",
        "https://example.com/hooks.slack.com",
        "https://hooks.slack.com@example.com/x",
        "https://user:pass@hooks.slack.com/x",
        "https://user@hooks.slack.com/x",
        "https://:@hooks.slack.com/x",
        "https://example.com\\@hooks.slack.com/x",
        "https://example.com#@hooks.slack.com/x",
        "https://example.com\\.hooks.slack.com/x",
        "https://evilhooks.slack.com.example.com",
        "https://slack.com.example.com/x",
        "https://127.0.0.1/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost:9/response/x",
        "http://127.0.0.1:10/response/x",
        "https://127.0.0.1:9/response/x",
        "//hooks.slack.com/x",
        "/response/x",
        "hooks.slack.com/x",
        "file:///etc/passwd",
        "ftp://hooks.slack.com/x",
        "http://[",
        "https://[::1",
        "https://hooks.slack.com:99999/x",
        "https://hooks.slack.com:port/x",
        "https://hooks.slack.com:0/x",
        "https://",
        "https:///x",
        "",
        " ",
        "\udc00",
        "https://" + "a" * 300 + ".example.com/x",
        "https://xn--.example.com/x",
    ],
)
def test_nothing_else_is_called(url: str) -> None:
    assert slacks_url(url, "http://127.0.0.1:9/api/") is None


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("http://127.0.0.1:9/response/x", "http://127.0.0.1:9/api/"),
        ("https://slack.example.com/x", "https://slack.example.com:443/api/"),
        ("https://SLACK.example.com/x", "https://slack.example.com/api/"),
    ],
)
def test_where_the_web_api_is_is_called_too(url: str, api: str) -> None:
    assert slacks_url(url, api) is not None


@given(st.text(max_size=60) | st.from_regex(ADDRESS))
def test_no_address_raises_or_leads_elsewhere(url: str) -> None:
    for api in (SLACK, "http://["):
        found = slacks_url(url, api)
        assert found is None or found.raw_host in ("slack.com", "hooks.slack.com")


BAD = [
    "http://[",
    "file:///etc/passwd",
    "https://hooks.slack.com:x/",
    "not an address",
    "http://127.0.0.1:1/x",
]


def addresses(foreign: Foreign) -> list[str]:
    here = f":{foreign.port}/steal"
    return [f"http://127.0.0.1{here}", f"http://localhost{here}", *BAD]


async def test_a_command_is_answered_directly(bot: Bot, foreign: Foreign, caplog: Caught) -> None:
    given_ = addresses(foreign)
    for number, url in enumerate(given_):
        await bot.type(f"143 number {number}", channel="C0PRIVATE", response_url=url)
    await bot.at_rest()

    assert [message.channel for message in bot.slack.workspace.messages] == ["U0ANNA"] * len(given_)
    assert_skipped(bot, foreign, logged(caplog), len(given_))


async def test_clicks_are_answered_nowhere_else(bot: Bot, foreign: Foreign, caplog: Caught) -> None:
    ticket = ticket_that(Behaviour.FAILED)
    await bot.type(f"{ticket} hello")
    answer = await bot.answered()
    await bot.at_rest()
    stranger = {"user": {"id": "U0EVE", "team_id": "T0PARTNER"}}
    for url in addresses(foreign):
        action = {"action_id": "send_again", "value": "unknown", "block_id": "b"}
        more = {"actions": [action], "channel": {"id": "C0SUPPORT"}} | stranger
        click = interaction("block_actions", url, **more)
        assert (await send(bot, urlencode({"payload": json.dumps(click)})))[0] == 200
        used = interaction(
            "message_action",
            url,
            callback_id="record_portal_activity",
            channel={"id": "C0SUPPORT"},
            message={"ts": answer.ts, "text": "words"},
        )
        assert (await send(bot, urlencode({"payload": json.dumps(used | stranger)})))[0] < 500
    await bot.parts.background.finish(20)

    assert_skipped(bot, foreign, logged(caplog), len(addresses(foreign)))


async def test_a_form_carries_no_other_address(bot: Bot, foreign: Foreign, caplog: Caught) -> None:
    url = addresses(foreign)[0]
    modal = await bot.ask_by_command("143", channel="C0PRIVATE", response_url=url)
    assert await bot.submit(modal, text="hello") == {}
    await bot.at_rest()

    assert [message.channel for message in bot.slack.workspace.messages] == ["U0ANNA"]
    assert_skipped(bot, foreign, logged(caplog), 1)


async def test_a_signed_command_with_an_unusable_address_is_recorded(bot: Bot) -> None:
    for number, url in enumerate(BAD):
        fields = command(text=f"143 number {number}", response_url=url)
        assert await send(bot, urlencode(fields)) == (200, "")
    await bot.at_rest()
    assert len(bot.leadsquared.on("143")) == len(BAD)


def interaction(kind: str, url: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "team": {"id": TEAM}, "trigger_id": "1.2.3", "response_url": url, **more}


def assert_skipped(bot: Bot, foreign: Foreign, events: list[dict[str, Any]], least: int) -> None:
    assert foreign.calls == []
    assert [method for method, _ in bot.slack.workspace.calls if method == "response_url"] == []
    skipped = [event for event in events if event["event"] == "response_url_skipped"]
    assert len(skipped) >= least
    assert "steal" not in str(events)
    assert "background_failed" not in str(events)
