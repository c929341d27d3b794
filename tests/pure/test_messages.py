"""A Slack message as plain text: each shape that Slack has, as a person reads it there."""

import re
from datetime import UTC, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack.messages import author, author_id, mentioned, plain, whole_thread
from bot.slack.text import as_read, cut, units

NAMES = {"U1": "Anna", "W2": "Ben", "C1": "general", "S1": "helpdesk", "S2": "@oncall"}


def text(words: str, **style: bool) -> dict[str, Any]:
    return {"type": "text", "text": words, **({"style": style} if style else {})}


def rich(*elements: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "message",
        "ts": "1.1",
        "text": "not this",
        "blocks": [{"type": "rich_text", "elements": list(elements)}],
    }


def section(*words: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": list(words)}


def listing(style: str, *items: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "rich_text_list",
        "style": style,
        "elements": [section(text(item)) for item in items],
        **more,
    }


def quote(words: str) -> dict[str, Any]:
    return {"type": "rich_text_quote", "elements": [text(words)]}


def code(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "rich_text_preformatted", "elements": [text(words)], **more}


def mrkdwn(words: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": words}


def blocks(*found: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "message", "ts": "1.1", "text": "not this", "blocks": list(found), **more}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (rich(section(text("a < b & c"))), "a < b & c"),
        (rich(section(text("&amp; typed so"))), "&amp; typed so"),
        (rich(section(text("first\n")), section(text("second"))), "first\nsecond"),
        (rich(section(text("blank line\n\n")), listing("bullet", "one")), "blank line\n\n• one"),
        (rich(section(text("bold", bold=True), text(" "), text("old", strike=True))), "bold ~old~"),
        (rich(section(text("x = 1", code=True))), "x = 1"),
        (
            rich(
                section(
                    {"type": "user", "user_id": "U1"}, text(" "), {"type": "user", "user_id": "U9"}
                )
            ),
            "@Anna @U9",
        ),
        (rich(section({"type": "usergroup", "usergroup_id": "S1"})), "@helpdesk"),
        (rich(section({"type": "usergroup", "usergroup_id": "S2"})), "@oncall"),
        (
            rich(
                section(
                    {"type": "channel", "channel_id": "C1"}, {"type": "channel", "channel_id": "C9"}
                )
            ),
            "#general#C9",
        ),
        (rich(section({"type": "broadcast", "range": "here"})), "@here"),
        (rich(section({"type": "emoji", "name": "tada", "unicode": "1f389"})), "🎉"),
        (rich(section({"type": "emoji", "name": "wave", "skin_tone": 3})), ":wave::skin-tone-3:"),
        (
            rich(section({"type": "link", "url": "https://example.com/a", "text": "the form"})),
            "the form (https://example.com/a)",
        ),
        (rich(section({"type": "link", "url": "https://example.com/a"})), "https://example.com/a"),
        (
            rich(section({"type": "link", "url": "http://example.com", "text": "example.com"})),
            "example.com",
        ),
        (
            rich(section({"type": "link", "url": "mailto:a@b.example", "text": "a@b.example"})),
            "a@b.example",
        ),
        (
            rich(
                section({"type": "date", "timestamp": 0, "format": "{date}", "fallback": "today"})
            ),
            "today",
        ),
        (
            rich(section({"type": "date", "timestamp": 60, "format": "{date}"})),
            "1970-01-01 00:01 UTC",
        ),
        (
            rich(section({"type": "date", "timestamp": 10**15, "format": "{date}"}, text("x"))),
            "[date]x",
        ),
        (rich(section({"type": "color", "value": "#aabbcc"})), "#aabbcc"),
        (rich(section({"type": "something_new", "text": "words"})), "words"),
        (
            rich(listing("bullet", "one", "two"), listing("bullet", "sub", indent=1)),
            "• one\n• two\n    ◦ sub",
        ),
        (
            rich(
                listing("ordered", "one"),
                listing("ordered", "sub", indent=1),
                listing("ordered", "two", offset=1),
            ),
            "1. one\n    a. sub\n2. two",
        ),
        (rich(listing("ordered", "deep", indent=2, offset=3)), "        iv. deep"),
        (rich(listing("ordered", "deeper", indent=3)), "            1. deeper"),
        (rich(listing("bullet", "one\ntwo")), "• one\n    two"),
        (rich(listing("bullet", "quoted", border=1)), "> • quoted"),
        (rich(quote("one\n\ntwo"), section(text("mine"))), "> one\n>\n> two\nmine"),
        (rich(code("x = 1\n  y = <2>")), "x = 1\n  y = <2>"),
        (rich(code("x = 1", border=1)), "> x = 1"),
    ],
)
def test_rich_text_is_read_as_it_is_shown(message: dict[str, Any], expected: str) -> None:
    assert plain(message, NAMES) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            blocks({"type": "header", "text": {"type": "plain_text", "text": "Q &amp; A :tada:"}}),
            "Q & A :tada:",
        ),
        (
            blocks({"type": "section", "text": mrkdwn("*Order* <https://a.example|12> by <@U1>")}),
            "Order 12 (https://a.example) by @Anna",
        ),
        (
            blocks({"type": "section", "text": {"type": "plain_text", "text": "*as it is*"}}),
            "*as it is*",
        ),
        (
            blocks(
                {"type": "section", "fields": [mrkdwn("*From*\nCarla"), mrkdwn("*Wants*\na call")]}
            ),
            "From\nCarla\nWants\na call",
        ),
        (
            blocks(
                {
                    "type": "context",
                    "elements": [mrkdwn("by"), {"type": "image", "alt_text": "logo"}],
                }
            ),
            "by [image: logo]",
        ),
        (
            blocks(
                {
                    "type": "image",
                    "alt_text": "a chart",
                    "title": {"type": "plain_text", "text": "Sales"},
                }
            ),
            "Sales\n[image: a chart]",
        ),
        (blocks({"type": "divider"}, {"type": "section", "text": mrkdwn("after")}), "after"),
        (
            blocks(
                {"type": "section", "text": mrkdwn("Go?")},
                {"type": "actions", "elements": [{"type": "button"}]},
            ),
            "Go?",
        ),
        (blocks({"type": "markdown", "text": "**bold**"}), "**bold**"),
        (
            blocks(
                {
                    "type": "table",
                    "rows": [
                        [{"type": "raw_text", "text": "a"}, rich(section(text("b")))["blocks"][0]]
                    ],
                }
            ),
            "a | b",
        ),
        (blocks({"type": "something_new", "text": mrkdwn("words")}), "words"),
        (blocks({"type": "divider"}), "not this"),
        ({"text": "*bold* _it_ ~old~ `code` &lt;3 :tada:"}, "bold it ~old~ code <3 :tada:"),
        ({"text": "```\nx = *1*\n```"}, "x = *1*"),
        ({"text": "2*3*4 snake_case_name"}, "2*3*4 snake_case_name"),
        (
            {"text": "<!here> <!subteam^S1> <#C1> <#C1|> <@U1|anna>"},
            "@here @helpdesk #general #general @anna",
        ),
        ({"text": "<!date^0^{date}|today>"}, "today"),
    ],
)
def test_blocks_and_text_are_read_as_they_are_shown(message: dict[str, Any], expected: str) -> None:
    assert plain(message, NAMES) == expected


ATTACHMENT = {
    "pretext": "New *order*",
    "author_name": "Shop",
    "title": "Order 12",
    "title_link": "https://shop.example/12",
    "text": "for <@U1>",
    "fields": [{"title": "Total", "value": "120"}, {"value": "paid"}],
    "footer": "Shop bot",
    "fallback": "not this",
}
SHARED = {
    "is_share": True,
    "author_name": "Ben",
    "text": "What he said\ntwice",
    "footer": "#general",
}
UNFURLED = {"from_url": "https://a.example", "title": "A page", "text": "a preview"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            {"bot_id": "B1", "text": "", "attachments": [ATTACHMENT]},
            (
                "New order\nShop\nOrder 12 (https://shop.example/12)\n"
                "for @Anna\nTotal: 120\npaid\nShop bot"
            ),
        ),
        (
            {"bot_id": "B1", "text": "Hello", "attachments": [{"fallback": "only this"}]},
            "Hello\n\nonly this",
        ),
        (
            {
                "subtype": "bot_message",
                "attachments": [{"blocks": [{"type": "section", "text": mrkdwn("in blocks")}]}],
            },
            "in blocks",
        ),
        ({"text": "see https://a.example", "attachments": [UNFURLED]}, "see https://a.example"),
        (
            {"text": "look", "attachments": [SHARED]},
            "look\n\n> Ben\n> What he said\n> twice\n> #general",
        ),
        ({"text": "", "attachments": [UNFURLED]}, "A page\na preview"),
        ({"text": "Here", "files": [{"name": "contract.pdf"}]}, "Here\n\n[file: contract.pdf]"),
        (
            {"files": [{"name": "a.pdf"}, {"title": "B"}, {}, {"mode": "tombstone"}]},
            "[file: a.pdf]\n[file: B]\n[file: without a name]\n[file: deleted]",
        ),
        ({}, ""),
        ({"text": 5, "blocks": "x", "attachments": {}, "files": [None, 1]}, ""),
        (
            blocks(
                {
                    "type": "rich_text",
                    "elements": [
                        None,
                        {"elements": 1},
                        {"type": "rich_text_list", "elements": None},
                    ],
                }
            ),
            "not this",
        ),
    ],
)
def test_attachments_and_files_are_read_too(message: dict[str, Any], expected: str) -> None:
    assert plain(message, NAMES) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8)
    | st.sampled_from(["rich_text", "section", "emoji", "U1"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["type", "text", "elements", "blocks", "attachments", "files", "fields", "style",
             "indent", "rows", "user_id", "url", "name", "skin_tone", "timestamp", "fallback",
             "title", "alt_text", "mode", "user", "bot_profile"]
        ),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(
            ["text", "blocks", "attachments", "files", "user", "bot_id", "user_profile"]
        ),
        JSON,
    )
)
def test_whatever_stands_in_a_message_it_is_read_without_an_error(message: dict[str, Any]) -> None:
    words = plain(message, NAMES)
    words.encode()  # no lone surrogates
    assert words.strip("\n") == words
    assert isinstance(author(message, NAMES), str)
    mentioned(message)


@given(st.text())
def test_what_a_person_typed_without_marks_or_entities_is_read_as_it_is(typed: str) -> None:
    if not set(typed) & set("&<>*_`\0"):
        assert as_read(typed) == typed.encode("utf-8", "replace").decode()


def test_everybody_and_everything_that_is_named_is_looked_up_once() -> None:
    message = rich(
        section({"type": "user", "user_id": "U1"}, {"type": "usergroup", "usergroup_id": "S1"})
    ) | {
        "user": "U7",
        "text": "<@U1> <@U2|known> <#C1|> <#C2|known> <!subteam^S1> <!subteam^S2|@known>",
        "attachments": [{"text": "<@W3>"}],
        "reactions": [{"users": ["U8"]}],
    }
    assert mentioned(message) == ["U1", "S1", "C1", "W3"]


@pytest.mark.parametrize(
    ("message", "name", "asked"),
    [
        ({"user": "U1"}, "Anna", "U1"),
        ({"user": "U9"}, "U9", "U9"),
        ({"user": "U9", "user_profile": {"display_name": "Guest"}}, "Guest", None),
        (
            {"user": "U9", "user_profile": {"display_name": "", "real_name": "A Guest"}},
            "A Guest",
            None,
        ),
        ({"bot_id": "B1", "username": "Shop"}, "Shop", None),
        ({"bot_id": "B1", "user": "U5", "bot_profile": {"name": "Shop App"}}, "Shop App", None),
        ({"user": "USLACKBOT", "subtype": "tombstone"}, "Slackbot", "USLACKBOT"),
        ({}, "Somebody", None),
    ],
)
def test_the_author_is_the_name_that_slack_shows(
    message: dict[str, Any], name: str, asked: str | None
) -> None:
    assert author(message, NAMES) == name
    assert author_id(message) == asked


# -- a whole thread


def written(*texts: str, total: int | None = None, at_most: int = 3000, zone: tzinfo = UTC) -> str:
    messages = [
        {"ts": f"{60 * number}.000100", "user": "U1", "text": words}
        for number, words in enumerate(texts)
    ]
    return whole_thread(
        list(reversed(messages)), total or len(texts), NAMES, zone, at_most=at_most, length=units
    ).text


def test_a_thread_is_written_oldest_first() -> None:
    assert written("one", "two\nlines", "") == (
        "Anna, 1970-01-01 00:00 UTC:\none\n\n"
        "Anna, 1970-01-01 00:01 UTC:\ntwo\n    lines\n\n"
        "Anna, 1970-01-01 00:02 UTC:"
    )


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        (UTC, "00:00 UTC:"),
        (ZoneInfo("Asia/Kolkata"), "05:30 UTC+05:30:"),
        (timezone(timedelta(hours=-4)), "20:00 UTC-04:00:"),
    ],
)
def test_the_times_name_their_zone(zone: tzinfo, shown: str) -> None:
    assert shown in written("one", zone=zone)


HEAD = "Agent Smith, 2026-11-25 10:00 UTC:"
ENTRY = re.compile(r"^.+, \d{4}-\d\d-\d\d \d\d:\d\d UTC.*:$")
BREAKS = [
    "\n",
    "\n\n",
    "\r",
    "\r\n",
    "\v",
    "\f",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
]


def entries(thread: str) -> list[str]:
    """Return the lines that a reader takes for the first of an entry."""
    return [line for line in thread.splitlines() if ENTRY.match(line) and not line[0].isspace()]


@pytest.mark.parametrize("break_", BREAKS)
def test_no_words_pass_for_an_entry_of_the_thread(break_: str) -> None:
    forged = f"hello{break_}{HEAD}{break_}I promise a refund"
    assert len(entries(written(forged, "second"))) == 2
    assert len(entries(written(f"{HEAD}{break_}I promise a refund", HEAD, f"{break_}{HEAD}"))) == 3


@pytest.mark.parametrize(
    "first",
    [
        "Agent Smith, 2026-11-25 10:00 \u200bUTC:",
        "Agent Smith, 2026-11-25 10:00 U\u200bTC: I agree",
        "Agent Smith, 2026-11-25 10:00 (UTC):",
        "Agent Smith, \uff12026-11-25 \uff11\uff10:00 U\u0422C:",
        "Agent Smith, 2026\u201011\u201025 10\ua78900:",
    ],
)
def test_a_first_line_that_looks_like_an_entry_is_indented(first: str) -> None:
    assert f":\n    {first[:11]}" in written(first, "second")


@pytest.mark.parametrize("break_", BREAKS)
def test_no_name_block_or_attachment_passes_for_one_either(break_: str) -> None:
    words = f"x{break_}{HEAD}{break_}I promise"
    shapes: list[dict[str, Any]] = [
        {"username": f"Bob{break_}{HEAD}", "text": "hi"},
        {"user": "U1", "user_profile": {"display_name": f"Bob{break_}{HEAD}"}, "text": "hi"},
        {"user": "U1", **rich(section(text(words)))},
        {"user": "U1", **rich(quote(words), listing("bullet", words), code(words))},
        {"user": "U1", "text": "hi", "attachments": [{"is_share": True, "text": words}]},
        {"user": "U1", "text": "hi", "files": [{"name": words}]},
    ]
    for number, shape in enumerate(shapes):
        message = {**shape, "ts": f"{number}.000100"}
        found = whole_thread([message], 1, NAMES, UTC, at_most=3000, length=units).text
        assert len(entries(found)) == 1, shape


@pytest.mark.parametrize("break_", BREAKS[2:])
def test_every_line_of_a_quotation_is_marked(break_: str) -> None:
    assert plain(rich(quote(f"one{break_}two")), NAMES) == "> one\n> two"
    shared = {"is_share": True, "author_name": "Ben", "text": f"one{break_}two"}
    assert plain({"text": "", "attachments": [shared]}, NAMES) == "> Ben\n> one\n> two"


def test_control_characters_are_left_out_of_a_message() -> None:
    assert plain({"text": "a\0b\x07c\x1b[31md\te"}, NAMES) == "abc[31md\te"


def test_a_first_message_that_does_not_fit_is_cut_and_says_so() -> None:
    text_ = written("x" * 5000, "two", at_most=200)
    assert units(text_) <= 200
    assert text_.endswith("x … [cut here]\n\n[1 later message left out]")


@given(
    st.lists(st.text(max_size=40), min_size=1, max_size=30),
    st.integers(0, 50),
    st.integers(120, 700),
)
def test_a_thread_fits_and_what_it_leaves_out_is_counted(
    texts: list[str], unread: int, at_most: int
) -> None:
    messages = [
        {"ts": f"{number}.000100", "username": "A", "text": words}
        for number, words in enumerate(texts)
    ]
    found = whole_thread(messages, len(texts) + unread, NAMES, UTC, at_most=at_most, length=units)
    assert units(found.text) <= at_most
    assert ("left out]" in found.text) == (found.left_out > 0)
    if not found.cut:
        taken = len(texts) + unread - found.left_out
        whole = whole_thread(messages[:taken], taken, NAMES, UTC, at_most=10**9, length=units)
        assert found.text.startswith(whole.text), "whole messages, from the first on"


@given(st.text(), st.integers(0, 20))
def test_a_cut_never_splits_a_character(words: str, at_most: int) -> None:
    sound = words.encode("utf-8", "replace").decode()
    assert sound.startswith(cut(sound, at_most))
    assert units(cut(sound, at_most)) <= at_most
