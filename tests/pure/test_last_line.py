"""The last line of what LeadSquared gets."""

import pytest

from bot.slack.attribution import LONGEST_NAME, last_line


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Maya Patel", "— Maya Patel via Slack"),
        ("  Maya\n Patel ", "— Maya Patel via Slack"),
        ("@channel", "— channel via Slack"),
        ("<!channel>", "— !channel via Slack"),
        ("Maya\u202e\u200b Patel", "— Maya Patel via Slack"),
        ("\u200b", "— a person via Slack"),
        ("M" * 200, f"— {'M' * LONGEST_NAME} via Slack"),
    ],
)
def test_a_name_stays_on_its_line_and_mentions_no_person(name: str, expected: str) -> None:
    assert last_line(name) == expected


def test_a_link_follows_the_name() -> None:
    assert last_line("Maya", "https://a.slack.com/p1") == (
        "— Maya via Slack: https://a.slack.com/p1"
    )
