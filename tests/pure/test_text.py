"""Slack's text to plain text and back.

Nothing is lost on the way in, and nothing does anything on the way out.
"""

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.slack.text import bare_mentions, escape, quote, shorten, sound, to_plain

PATIENT = settings(deadline=None)
WRITTEN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.text(
    "&<>;ampltg \n\re\u0301\U0001f469\u200d\U0001f467"
)
LENGTH = st.integers(min_value=1, max_value=60)
ENTITY = re.compile(r"&(?:amp|lt|gt);")


@pytest.mark.parametrize(
    ("encoded", "plain"),
    [
        ("", ""),
        ("hello", "hello"),
        ("a &lt; b &amp;&amp; c &gt; d", "a < b && c > d"),
        ("&amp;lt;", "&lt;"),
        ("&amp;amp;", "&amp;"),
        ("&quot;&nbsp;&#39;", "&quot;&nbsp;&#39;"),
        ("&lt;!channel&gt;", "<!channel>"),
        ("&lt;@U1&gt;", "<@U1>"),
        ("first\nsecond\n\nfourth", "first\nsecond\n\nfourth"),
        ("*bold* `code` ~gone~ _it_", "*bold* `code` ~gone~ _it_"),
        ("<@U1|anna>", "@anna"),
        ("<@U1>", "@U1"),
        ("<@U1|>", "@U1"),
        ("<@W1|R&amp;D>", "@R&D"),
        ("<#C1|support>", "#support"),
        ("<#C1>", "#C1"),
        ("<#C1|>", "#C1"),
        ("<!here>", "@here"),
        ("<!channel|channel>", "@channel"),
        ("<!subteam^S1|@helpers>", "@helpers"),
        ("<!date^1700000000^{time}|22:13>", "22:13"),
        ("<https://example.com>", "https://example.com"),
        ("<https://example.com/?a=1&amp;b=2>", "https://example.com/?a=1&b=2"),
        ("<http://example.com|example.com>", "example.com"),
        ("<https://example.com/|example.com>", "example.com"),
        ("<https://example.com|our page>", "our page (https://example.com)"),
        (
            "<https://evil.example|https://example.com>",
            "https://example.com (https://evil.example)",
        ),
        ("<mailto:anna@example.com|anna@example.com>", "anna@example.com"),
        ("<mailto:anna@example.com|Anna>", "Anna (anna@example.com)"),
        ("<tel:+4930123|+4930123>", "+4930123"),
        (
            "ask <@U1|anna> in <#C1|support>, see <https://x.example>!",
            "ask @anna in #support, see https://x.example!",
        ),
        ("<>", "<>"),
        ("a < b", "a < b"),
    ],
)
def test_what_slack_encodes_becomes_what_the_person_saw(encoded: str, plain: str) -> None:
    assert to_plain(encoded) == plain


def test_a_mention_by_id_becomes_the_name_that_is_known_and_a_label_goes_first() -> None:
    names = {"U1": "Anna <Müller>"}
    assert to_plain("<@U1> <@U2> <@U1|annie>", names) == "@Anna <Müller> @U2 @annie"


@pytest.mark.parametrize(
    ("encoded", "ids"),
    [
        ("", []),
        ("<@U1>", ["U1"]),
        ("<@U2> <@W1> <@U2> <@U1>", ["U2", "W1", "U1"]),
        ("<@U1|anna>", []),
        ("&lt;@U1&gt;", []),
        ("<#C1> <#C2|> <#C3|c> <!channel> <!subteam^S1>", ["C1", "C2", "S1"]),
        ("<@u1> <@> <@U1 >", []),
    ],
)
def test_who_and_what_is_named_by_id_only_is_listed_in_order_each_once(
    encoded: str, ids: list[str]
) -> None:
    assert bare_mentions(encoded) == ids


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("a\ud83db", "a?b"),
        ("\udc00", "?"),
        ("\U0001f600", "\U0001f600"),
        ("e\u0301", "e\u0301"),
        ("a\0b\0", "ab"),
    ],
)
def test_half_a_character_is_replaced_a_nul_left_out_and_a_whole_one_kept(
    text: str, whole: str
) -> None:
    assert sound(text) == whole
    assert to_plain(text) == whole


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<!channel>", "&lt;!channel&gt;"),
        ("<@U1>", "&lt;@U1&gt;"),
        ("R&D", "R&amp;D"),
        ("&lt;", "&amp;lt;"),
        ('"it\'s"', '"it\'s"'),
        ("`*_~", "`*_~"),
    ],
)
def test_exactly_what_slack_asks_for_is_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@PATIENT
@given(WRITTEN)
def test_what_a_person_typed_comes_through_slacks_encoding_unchanged(text: str) -> None:
    assert to_plain(html.escape(text, quote=False)) == text


@PATIENT
@given(WRITTEN)
def test_what_is_shown_again_holds_no_markup_of_slacks_and_reads_as_it_was(text: str) -> None:
    escaped = escape(text)
    assert not re.search(r"[<>]", escaped)
    assert "&" not in ENTITY.sub("", escaped)
    assert to_plain(escaped) == text


@pytest.mark.parametrize(
    ("text", "at_most", "shown"),
    [
        ("hello", 5, "hello"),
        ("<>", 8, "&lt;&gt;"),
        ("", 5, ""),
    ],
)
def test_what_fits_is_shown_whole(text: str, at_most: int, shown: str) -> None:
    assert shorten(text, at_most=at_most) == shown


@pytest.mark.parametrize("at_most", range(4, 12))
def test_a_cut_never_goes_through_an_entity(at_most: int) -> None:
    shown = shorten("a&b<c>" * 5, at_most=at_most)
    assert shown.endswith("…")
    assert "&" not in ENTITY.sub("", shown)


@PATIENT
@given(WRITTEN.map(lambda text: text * 3), LENGTH)
def test_what_is_cut_is_the_beginning_of_what_was_written(text: str, at_most: int) -> None:
    shown = shorten(text, at_most=at_most)
    if len(escape(text)) <= at_most:
        assert to_plain(shown) == text
    else:
        assert shown.endswith("…")
        assert "&" not in ENTITY.sub("", shown)
        assert text.startswith(to_plain(shown[:-1]))


@PATIENT
@given(WRITTEN.map(lambda text: text * 3), LENGTH)
def test_no_more_is_shown_than_there_is_room_for(text: str, at_most: int) -> None:
    assert len(shorten(text, at_most=at_most)) <= at_most


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("hello", "> hello"),
        ("first\n\nthird", "> first\n> \n> third"),
        ("> mine", "> &gt; mine"),
        ("<!channel>\n<@U1>", "> &lt;!channel&gt;\n> &lt;@U1&gt;"),
        ("a\u2028b\x0bc", "> a\n> b\n> c"),
        ("a\rb\r\nc\n\rd", "> a\n> b\n> c\n> \n> d"),
        ("a\x0cb\x1cc\x1dd\x1ee\x85f\u2029g", "> a\n> b\n> c\n> d\n> e\n> f\n> g"),
        ("a\0b\x07c\x1bd\x7fe\x9bf\tg", "> abcdef\tg"),
        ("a\n", "> a\n> "),
    ],
)
def test_a_quotation_marks_every_line(text: str, quoted: str) -> None:
    assert quote(text, at_most=500) == quoted


@PATIENT
@given(WRITTEN, LENGTH)
def test_no_line_of_a_quotation_stands_outside_it(text: str, at_most: int) -> None:
    lines = quote(text, at_most=at_most).splitlines()
    assert all(line.startswith("> ") for line in lines)
    assert not any(re.search(r"[<>]", line.removeprefix("> ")) for line in lines)
