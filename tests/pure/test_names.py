"""What Slack tells of people and channels, read without trusting it."""

from datetime import UTC, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.slack.names import _known


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
        (
            {
                "user": {
                    "profile": {"display_name": "\u200b", "real_name": "\u3164"},
                    "name": "anna",
                }
            },
            "anna",
        ),
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
