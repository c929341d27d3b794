"""What Slack tells of people and channels, read without trusting it."""

from datetime import UTC, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from conftest import TEAM, Bot

from bot.slack.names import SlackNames, _known


@pytest.mark.parametrize(
    ("user", "zone"),
    [
        ({"tz": "Asia/Kolkata", "tz_offset": 0}, ZoneInfo("Asia/Kolkata")),
        ({"tz": "Mars/Olympus", "tz_offset": -14400}, timezone(timedelta(hours=-4))),
        ({"tz": None, "tz_offset": 3600}, timezone(timedelta(hours=1))),
        ({"tz": "../../etc/passwd"}, UTC),
        ({"tz_offset": 10**9}, UTC),
        ({}, UTC),
    ],
)
def test_a_persons_zone_is_read_or_done_without(user: dict[str, Any], zone: tzinfo) -> None:
    known = _known({"user": {"name": "anna", **user}})
    assert known is not None
    assert known.zone == zone


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"user": {"profile": {"display_name": "Anna"}, "real_name": "Anna A"}}, "Anna"),
        ({"user": {"profile": {"display_name": "", "real_name": "Anna A"}}}, "Anna A"),
        ({"user": {"name": "anna"}}, "anna"),
        ({"channel": {"name": "general"}}, "general"),
        ({"user": {"profile": {"display_name": "\u200b", "real_name": "\u3164"}, "name": "anna"}}, "anna"),
        ({"user": {"profile": "none", "real_name": ["x"], "name": "anna"}}, "anna"),
    ],
)
def test_the_name_is_the_one_that_slack_shows(data: dict[str, Any], name: str) -> None:
    known = _known(data)
    assert known is not None
    assert known.name == name


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"user": None},
        {"user": {}},
        {"channel": {}},
        {"channel": {"name": ""}},
        {"user": ["U1"]},
        {"user": {"name": 5}},
        {"channel": {"name": {}}, "user": "U1"},
    ],
)
def test_no_name_is_none(data: dict[str, Any]) -> None:
    assert _known(data) is None


async def test_a_name_is_asked_for_once(bot: Bot) -> None:
    names = SlackNames(bot.parts.web, bot.parts.installation)
    for _ in range(2):
        assert await names.names(None, TEAM, ["U0BEN", "S0HELP", "C0OTHER", "U0NOBODY", "S0NONE"]) == {
            "U0BEN": "Ben",
            "S0HELP": "helpdesk",
            "C0OTHER": "other",
        }
    asked = [str(arguments.get("user") or arguments.get("channel")) for _, arguments in bot.slack.workspace.calls]
    assert asked.count("U0BEN") == asked.count("C0OTHER") == 1
