"""Each shape that Slack's reference has, and an invented one: nothing is lost in silence.

https://docs.slack.dev/reference/block-kit
"""

import re
import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.slack.messages import author, author_id, mentioned, plain
from bot.slack.text import to_plain

NAMES = {"U1": "Anna", "C1": "general", "S1": "helpdesk"}
MARK = "[a block that only Slack can show]"
Json = dict[str, Any]


def mrkdwn(words: str) -> Json:
    return {"type": "mrkdwn", "text": words}


def plain_text(words: str) -> Json:
    return {"type": "plain_text", "text": words}


def raw(words: str) -> Json:
    return {"type": "raw_text", "text": words}


def section(*words: Json) -> Json:
    return {"type": "rich_text_section", "elements": list(words)}


def rich(*words: Json) -> Json:
    return {"type": "rich_text", "block_id": "Xy1", "elements": [section(*words)]}


def words(text: str) -> Json:
    return {"type": "text", "text": text}


def message(*blocks: Json, text: str = "the fall-back", **more: Any) -> Json:
    return {
        "type": "message",
        "ts": "1.1",
        "user": "U1",
        "text": text,
        "blocks": list(blocks),
        **more,
    }


BUTTON = {"type": "button", "action_id": "a", "text": plain_text("Press me"), "value": "v"}
PICTURE = {"type": "image", "image_url": "https://a.example/x.png", "alt_text": "a chart"}
TABLE = {
    "type": "table",
    "block_id": "t",
    "column_settings": [{"align": "right"}],
    "rows": [
        [raw("Name"), raw("Amount")],
        [rich(words("Item A")), raw("1,200")],
        [None, raw("x\ny")],
    ],
}

BLOCKS: dict[str, tuple[Json, str]] = {
    "actions": ({"type": "actions", "elements": [BUTTON]}, ""),
    "alert": (
        {"type": "alert", "level": "warning", "text": plain_text("Down till noon")},
        "Down till noon",
    ),
    "card": (
        {
            "type": "card",
            "block_id": "c",
            "icon": PICTURE,
            "title": mrkdwn("*Order* 12"),
            "subtitle": plain_text("paid"),
            "hero_image": PICTURE,
            "body": mrkdwn("for <@U1>"),
            "subtext": plain_text("today"),
            "actions": [BUTTON],
        },
        "Order 12\npaid\nfor @Anna\ntoday\n[image: a chart]",
    ),
    "card of plain strings": (
        {"type": "card", "title": "Order", "subtitle": "paid", "body": "b"},
        "Order\npaid\nb",
    ),
    "carousel": (
        {
            "type": "carousel",
            "elements": [{"type": "card", "title": "One"}, {"type": "card", "title": "Two"}],
        },
        "One\nTwo",
    ),
    "container": (
        {
            "type": "container",
            "title": plain_text("Two records"),
            "subtitle": mrkdwn("_Review_ them"),
            "child_blocks": [
                {"type": "section", "text": mrkdwn("the first")},
                {"type": "divider"},
                TABLE,
            ],
            "width": "narrow",
            "is_collapsible": True,
        },
        "Two records\nReview them\nthe first\nName | Amount\nItem A | 1,200\n | x y",
    ),
    "container with a rich title": (
        {
            "type": "container",
            "title": plain_text("no"),
            "rich_text_title": rich(words("yes")),
            "child_blocks": [],
        },
        "yes",
    ),
    "context": ({"type": "context", "elements": [mrkdwn("by"), PICTURE]}, "by [image: a chart]"),
    "context_actions": (
        {"type": "context_actions", "elements": [{"type": "feedback_buttons"}]},
        "",
    ),
    "data_table": (
        {
            "type": "data_table",
            "caption": "Sales",
            "page_size": 5,
            "rows": [
                [raw("Who"), raw("How many")],
                [rich(words("Ben")), {"type": "raw_number", "value": 42}],
                [raw("Carla"), {"type": "raw_number", "value": 7, "text": "7"}],
                [raw("Dan"), BUTTON],
                [raw("Eve"), {"type": "action", "element": BUTTON}],
                [raw("Fay"), {"type": "action", "element": BUTTON, "fallback": raw("none")}],
            ],
        },
        "Sales\nWho | How many\nBen | 42\nCarla | 7\nDan | Press me\nEve | Press me\nFay | none",
    ),
    "data_visualization": (
        {
            "type": "data_visualization",
            "title": "Pies",
            "chart": {
                "type": "pie",
                "segments": [{"label": "Apple", "value": 45}, {"label": "Plum", "value": 5.5}],
            },
        },
        "Pies\nApple: 45\nPlum: 5.5",
    ),
    "divider": ({"type": "divider"}, ""),
    "file": ({"type": "file", "external_id": "ABCD1", "source": "remote"}, "[file]"),
    "file with a title": (
        {"type": "file", "file_id": "F1", "source": "remote", "file": {"title": "Offer"}},
        "[file: Offer]",
    ),
    "header": ({"type": "header", "text": plain_text("Q &amp; A")}, "Q & A"),
    "image": (PICTURE | {"title": plain_text("Sales")}, "Sales\n[image: a chart]"),
    "image without words": ({"type": "image", "image_url": "https://a.example/x.png"}, "[image]"),
    "input": (
        {"type": "input", "label": plain_text("Name"), "element": {"type": "plain_text_input"}},
        "",
    ),
    "markdown": ({"type": "markdown", "text": "**bold**"}, "**bold**"),
    "plan": (
        {
            "type": "plan",
            "title": "Thinking",
            "tasks": [
                {"type": "task_card", "task_id": "t1", "title": "Look", "status": "complete"}
            ],
        },
        "Thinking\nLook",
    ),
    "rich_text": (rich(words("hello")), "hello"),
    "section": (
        {
            "type": "section",
            "text": mrkdwn("*a*"),
            "fields": [mrkdwn("b"), plain_text("c")],
            "accessory": BUTTON,
        },
        "a\nb\nc",
    ),
    "section with a picture": (
        {"type": "section", "text": mrkdwn("a"), "accessory": PICTURE},
        "a\n[image: a chart]",
    ),
    "table": (TABLE, "Name | Amount\nItem A | 1,200\n | x y"),
    "task_card": (
        {
            "type": "task_card",
            "task_id": "t1",
            "title": "Weather",
            "status": "complete",
            "details": rich(words("asked")),
            "output": rich(words("rain")),
            "sources": [{"type": "url", "url": "https://w.example", "text": "Weather"}],
        },
        "Weather\nasked\nrain\nWeather (https://w.example)",
    ),
    "video": (
        {
            "type": "video",
            "title": plain_text("How to"),
            "author_name": "Ben",
            "description": plain_text("in a minute"),
            "video_url": "https://v.example",
            "alt_text": "x",
        },
        "How to\nBen\nin a minute",
    ),
    "call": (
        {
            "type": "call",
            "call_id": "R1",
            "call": {"v1": {"name": "Weekly", "join_url": "https://z.example"}},
        },
        "Weekly",
    ),
    "an invented one": (
        {
            "type": "hologram",
            "block_id": "h1",
            "headline": "First &amp; <@U1>",
            "parts": [
                {"caption": mrkdwn("*second*")},
                "third",
                {"kind": {"label": "fourth", "image_url": "https://x"}},
            ],
            "alt_text": "fifth",
            "style": "primary",
        },
        "First & @Anna\nsecond\nthird\nfourth\nfifth",
    ),
    "an invented one that leads somewhere": (
        {"type": "portal", "url": "https://p.example"},
        "https://p.example",
    ),
    "an invented one that names somebody": ({"type": "wave", "user_id": "U1"}, "@Anna"),
    "an invented one of rich text": (
        {
            "type": "hologram",
            "elements": [
                section(words("a "), {"type": "user", "user_id": "U1"}),
                section(words("b")),
            ],
        },
        "a @Anna\nb",
    ),
    "an invented one of words": (
        {
            "type": "hologram",
            "words": [words("a "), {"type": "emoji", "name": "+1", "unicode": "1f44d"}],
        },
        "a 👍",
    ),
    "table with a cell that is unknown": (
        {
            "type": "table",
            "rows": [[raw("a"), {"type": "hologram", "say": "b"}], {"cells": [True, 7]}, "c"],
        },
        "a | b\n | 7\nc",
    ),
    "an invented one in a container": (
        {"type": "container", "title": "t", "child_blocks": [{"type": "hologram", "say": "hello"}]},
        "t\nhello",
    ),
}


REFERENCE = """
    actions alert card carousel container context context_actions data_table data_visualization
    divider file header image input markdown plan rich_text section table task_card video
"""
OF_RICH_TEXT = """
    attachment_mention broadcast canvas canvas_user_mention canvas_message_unfurl channel citation
    color date emoji file link list_record message_mention salesforce_data_field tag team text user
    usergroup work_object_mention workflow_mention
"""


def test_each_type_of_slacks_reference_has_a_row() -> None:
    assert set(REFERENCE.split()) <= BLOCKS.keys()
    assert set(OF_RICH_TEXT.split()) <= WORDS.keys()


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_gives_all_that_a_person_sees(kind: str) -> None:
    block, expected = BLOCKS[kind]
    before = {"type": "section", "text": mrkdwn("before")}
    assert plain(message(before, block), NAMES) == f"before\n{expected}".rstrip()
    assert plain(message(block), NAMES) == (expected or "the fall-back")


WORDS: dict[str, tuple[Json, str]] = {
    "text": (words("hello"), "hello"),
    "attachment_mention": (
        {
            "type": "attachment_mention",
            "url": "https://c.example/7",
            "text": "Case 7",
            "app_id": "A1",
        },
        "Case 7 (https://c.example/7)",
    ),
    "broadcast": ({"type": "broadcast", "range": "here"}, "@here"),
    "canvas with a label": ({"type": "canvas", "file_id": "F1", "label": "Plan"}, "Plan"),
    "canvas": ({"type": "canvas", "file_id": "F1"}, "[canvas]"),
    "canvas_user_mention": (
        {"type": "canvas_user_mention", "user_id": "U1", "thread_id": "T1"},
        "@Anna",
    ),
    "canvas_message_unfurl": (
        {
            "type": "canvas_message_unfurl",
            "root_message_ts": "1783613573",
            "root_message_channel": "CABC",
        },
        "[message]",
    ),
    "channel": ({"type": "channel", "channel_id": "C1"}, "#general"),
    "citation": (
        {"type": "citation", "text": "page 2", "url": "https://b.example"},
        "page 2 (https://b.example)",
    ),
    "color": ({"type": "color", "value": "#aabbcc"}, "#aabbcc"),
    "date": ({"type": "date", "timestamp": 1790000000, "format": "{date}"}, "2026-09-21 14:13 UTC"),
    "date as a text": (
        {"type": "date", "timestamp": "1790000000", "format": "{date}"},
        "2026-09-21 14:13 UTC",
    ),
    "date with a fall-back": (
        {"type": "date", "timestamp": "soon", "fallback": "tomorrow"},
        "tomorrow",
    ),
    "date that is none": ({"type": "date", "timestamp": "soon"}, "soon"),
    "date with a space for a fall-back": (
        {"type": "date", "timestamp": 1790000000, "fallback": " "},
        "2026-09-21 14:13 UTC",
    ),
    "date with a link": (
        {"type": "date", "timestamp": 1790000000, "url": "https://a.example"},
        "2026-09-21 14:13 UTC (https://a.example)",
    ),
    "date that no calendar has": ({"type": "date", "timestamp": "1790000000000"}, "[date]"),
    "date without a time": ({"type": "date", "format": "{date}"}, "[date]"),
    "emoji": ({"type": "emoji", "name": "+1", "unicode": "1f44d"}, "👍"),
    "emoji of several characters": (
        {"type": "emoji", "name": "flag-de", "unicode": "1f1e9-1f1ea"},
        "🇩🇪",
    ),
    "emoji with a tone": (
        {"type": "emoji", "name": "+1", "unicode": "1f44d-1f3fc", "skin_tone": 3},
        "👍🏼",
    ),
    "emoji whose tone is apart": (
        {"type": "emoji", "name": "+1", "unicode": "1f44d", "skin_tone": 3},
        "👍🏼",
    ),
    "emoji of the workspace": ({"type": "emoji", "name": "party-parrot"}, ":party-parrot:"),
    "emoji of no character": ({"type": "emoji", "name": "x", "unicode": "zz"}, ":x:"),
    "emoji of half a character": ({"type": "emoji", "name": "x", "unicode": "d83d"}, ":x:"),
    "emoji of a line break": ({"type": "emoji", "name": "x", "unicode": "a"}, ":x:"),
    "emoji of nothing to see": ({"type": "emoji", "name": "x", "unicode": "200b"}, ":x:"),
    "file with a name": ({"type": "file", "file_id": "F1", "name": "contract.pdf"}, "contract.pdf"),
    "file": ({"type": "file", "file_id": "F1"}, "[file]"),
    "link": (
        {"type": "link", "url": "https://a.example", "text": "here"},
        "here (https://a.example)",
    ),
    "link to a number": (
        {"type": "link", "url": "tel:+15551234567", "text": "+1 (555) 123-4567"},
        "+1 (555) 123-4567",
    ),
    "link to letters": ({"type": "link", "url": "tel:abc", "text": "def"}, "def (abc)"),
    "image": (PICTURE, "[image: a chart]"),
    "list_record": (
        {"type": "list_record", "list_id": "F1", "record_id": "R1", "title": "Ask Ben"},
        "Ask Ben",
    ),
    "message_mention": (
        {"type": "message_mention", "channel_id": "C1", "message_ts": "1.2"},
        "#general",
    ),
    "salesforce_data_field": (
        {"type": "salesforce_data_field", "label": "Stage", "value": "Won"},
        "Stage Won",
    ),
    "tag": ({"type": "tag", "name": "urgent"}, "urgent"),
    "team": ({"type": "team", "team_id": "T1"}, "@T1"),
    "user": ({"type": "user", "user_id": "U1"}, "@Anna"),
    "usergroup": ({"type": "usergroup", "usergroup_id": "S1"}, "@helpdesk"),
    "work_object_mention": (
        {"type": "work_object_mention", "entity_id": "E1", "text": "Order 7"},
        "Order 7",
    ),
    "workflow_mention": (
        {"type": "workflow_mention", "workflow_id": "W1", "name": "Onboarding"},
        "Onboarding",
    ),
    "an invented one": (
        {"type": "hologram", "id": "H1", "say": {"label": "hello"}, "more": ["you"]},
        "hello you",
    ),
}


@pytest.mark.parametrize("kind", WORDS)
def test_an_element_of_rich_text_gives_what_a_person_sees(kind: str) -> None:
    element, expected = WORDS[kind]
    found = plain(message(rich(words("see "), element, words(" please"))), NAMES)
    assert found == f"see {expected} please"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        *(
            (message(rich(words("a "), word), text=""), f"a {MARK}")
            for word in (
                {"type": "canvas_user_mention"},
                {"type": "user", "user_id": ""},
                {"type": "broadcast"},
                {"type": "emoji"},
                {"type": "color"},
                {"type": "link"},
            )
        ),
        (
            message(
                {"type": "rich_text", "elements": [{"type": "rich_text_hologram", "elements": []}]}
            ),
            "the fall-back",
        ),
        (
            message(
                {
                    "type": "rich_text",
                    "elements": [section(words("a")), {"type": "rich_text_hologram", "data": 1}],
                },
            ),
            "a\nthe fall-back",
        ),
        (
            message({"type": "table", "rows": [[raw("a"), {"type": "hologram"}]]}, text=""),
            f"a | {MARK}",
        ),
        (message({"type": "hologram"}, text="This message contains interactive elements."), MARK),
        (message({"type": "hologram"}), "the fall-back"),
        (message({"type": "hologram"}, text=""), MARK),
        (
            message({"type": "hologram"}, {"type": "section", "text": mrkdwn("words")}),
            "words\nthe fall-back",
        ),
        (
            message({"type": "hologram"}, {"type": "section", "text": mrkdwn("words")}, text=""),
            f"{MARK}\nwords",
        ),
        (
            message(
                {"type": "section", "text": mrkdwn("my words")}, {"type": "hologram"}, text="words"
            ),
            f"my words\n{MARK}",
        ),
        (message(rich(words("a "), {"type": "hologram"}, words(" b")), text=""), f"a {MARK} b"),
        (message(rich({"type": "hologram"})), "the fall-back"),
        (message({"type": "hologram"}, text="This content can't be displayed."), MARK),
        (message({"type": "actions", "elements": [BUTTON]}, text=""), MARK),
        (
            message({"type": "actions", "elements": [BUTTON]}, text="", files=[{"title": "a.pdf"}]),
            "[file: a.pdf]",
        ),
        (
            message({"type": "file", "source": "remote"}, text="", files=[{"title": "a.pdf"}]),
            "[file: a.pdf]",
        ),
        (message(rich(), text="", files=[{"title": "a.pdf"}]), "[file: a.pdf]"),
    ],
)
def test_what_cannot_be_written_is_not_lost_in_silence(shown: Json, expected: str) -> None:
    assert plain(shown, NAMES) == expected


RICH_TEXT: list[tuple[list[Json], str]] = [
    (
        [
            {
                "type": "rich_text_hologram",
                "title": "Head",
                "elements": [section(words("a")), section(words("b"))],
            }
        ],
        "Head\na\nb",
    ),
    (
        [
            {
                "type": "rich_text_hologram",
                "elements": [words("a "), {"type": "user", "user_id": "U1"}],
            }
        ],
        "a @Anna",
    ),
    (
        [{"type": "rich_text_quote", "elements": [section(words("a")), section(words("b"))]}],
        "> a\n> b",
    ),
    (
        [
            {
                "type": "rich_text_quote",
                "elements": [
                    words("a"),
                    {
                        "type": "rich_text_list",
                        "style": "bullet",
                        "elements": [section(words("b"))],
                    },
                ],
            },
        ],
        "> a\n> • b",
    ),
    (
        [
            {
                "type": "rich_text_list",
                "style": "bullet",
                "elements": [words("a"), section(words("b"))],
            }
        ],
        "• a\n• b",
    ),
    (
        [{"type": "rich_text_list", "indent": 10**10, "elements": [section(words("a"))]}],
        f"{' ' * 32}▪ a",
    ),
    (
        [
            {
                "type": "rich_text_list",
                "style": "ordered",
                "offset": 10**4000,
                "elements": [section(words("a"))],
            }
        ],
        "1000000001. a",
    ),
]


@pytest.mark.parametrize(("elements", "expected"), RICH_TEXT)
def test_rich_text_in_rich_text_has_lines_of_its_own(elements: list[Json], expected: str) -> None:
    assert plain(message({"type": "rich_text", "elements": elements}), NAMES) == expected


def test_a_file_in_the_text_has_the_name_of_the_messages_file() -> None:
    files = [{"id": "F1", "name": "scan.pdf", "title": "The contract"}]
    inside = rich(words("see "), {"type": "file", "file_id": "F1"})
    shown = message(inside, files=files)
    assert plain(shown, NAMES) == "see The contract\n\n[file: The contract]"


def said(text: str, *attachments: Json, **more: Any) -> Json:
    return {
        "type": "message",
        "ts": "1.1",
        "user": "U1",
        "text": text,
        "attachments": list(attachments),
        **more,
    }


PASTED = {"id": 1, "blocks": [TABLE], "fallback": "[no preview available]"}
FORWARD = {
    "is_share": True,
    "is_msg_unfurl": True,
    "author_name": "Ben",
    "footer": "Direct Message",
}
INSIDE = [
    {"team": "T1", "channel": "D1", "ts": "1.0", "message": {"blocks": [rich(words("his words"))]}},
]
PREVIEW = {
    "from_url": "https://a.example",
    "title": "A page",
    "text": "a preview",
    "service_name": "A",
}


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (said("look", PASTED), "look\n\nName | Amount\nItem A | 1,200\n | x y"),
        (said("", PASTED), "Name | Amount\nItem A | 1,200\n | x y"),
        (
            said(
                "",
                FORWARD
                | {
                    "text": "his words",
                    "files": [{"title": "contract.pdf"}, {"mode": "tombstone"}],
                },
            ),
            "> Ben\n> his words\n> [file: contract.pdf]\n> [file: deleted]\n> Direct Message",
        ),
        (
            said("", FORWARD | {"text": "", "message_blocks": INSIDE}),
            "> Ben\n> his words\n> Direct Message",
        ),
        (
            said(
                "",
                FORWARD
                | {
                    "text": "his",
                    "message_blocks": [{"message": {"blocks": [{"type": "hologram"}]}}],
                },
            ),
            "> Ben\n> his\n> Direct Message",
        ),
        (
            said(
                "",
                FORWARD
                | {"text": "", "attachments": [FORWARD | {"text": "hers", "author_name": "Carla"}]},
            ),
            "> Ben\n> > Carla\n> > hers\n> > Direct Message\n> Direct Message",
        ),
        (
            said("", FORWARD | {"text": "", "message_blocks": [{"message": {"text": "his"}}]}),
            "> Ben\n> his\n> Direct Message",
        ),
        (
            said(
                "",
                FORWARD
                | {
                    "text": "",
                    "files": [{"id": "F1", "title": "Offer"}],
                    "message_blocks": [
                        {
                            "message": {
                                "blocks": [rich(words("see "), {"type": "file", "file_id": "F1"})]
                            }
                        },
                    ],
                },
            ),
            "> Ben\n> see Offer\n> [file: Offer]\n> Direct Message",
        ),
        (
            said("", {"is_share": True, "author_name": "Ben", "text": "", "fallback": "his words"}),
            "> Ben\n> his words",
        ),
        (said("", {"is_share": True, "author_subname": "Ben", "text": "his"}), "> Ben\n> his"),
        (said("", {"image_url": "https://a.example/x.png"}), "[image]"),
        (said("", {"image_url": "https://a.example/x.png", "fallback": "a cat"}), "a cat"),
        (
            said(
                "This content can't be displayed.",
                {"text": "[no preview available]", "blocks": [{"type": "divider"}]},
                {"text": "words"},
                bot_id="B1",
            ),
            "words",
        ),
        (said("mine", PREVIEW), "mine"),
        (said("mine", PREVIEW | {"is_app_unfurl": True}), "mine"),
        (said("mine", {"text": "an app's, in my name"}), "mine\n\nan app's, in my name"),
        (said("app's", PREVIEW, bot_id="B1"), "app's"),
        (
            said("app's", PREVIEW | {"is_app_unfurl": True}, bot_id="B1"),
            "app's\n\nA page\na preview",
        ),
        *(
            (
                said("app's", {"blocks": [one], "fallback": "[no preview available]"}, bot_id="B1"),
                "app's",
            )
            for one in ({"type": "actions", "elements": [BUTTON]}, {"type": "divider"})
        ),
        (
            said(
                "",
                {"blocks": [{"type": "divider"}], "fallback": "[no preview available]"},
                bot_id="B1",
            ),
            "",
        ),
        (
            said("app's", {"blocks": [{"type": "hologram"}], "fallback": "in words"}, bot_id="B1"),
            "app's\n\nin words",
        ),
        (
            said(
                "app's",
                {"blocks": [{"type": "hologram"}], "fallback": "[no preview available]"},
                bot_id="B1",
            ),
            f"app's\n\n{MARK}",
        ),
    ],
)
def test_attachments_are_read_as_they_are_shown(shown: Json, expected: str) -> None:
    assert plain(shown, NAMES) == expected


MAIL = {
    "mode": "email",
    "filetype": "email",
    "name": "mail",
    "title": "Your order",
    "plain_text": "It came.\n",
}
CLIP = {"subtype": "slack_audio", "name": "audio_message.m4a", "title": "audio_message.m4a"}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ({"name": "scan0001.pdf", "title": "The contract"}, "[file: The contract]"),
        ({"name": "scan0001.pdf", "title": ""}, "[file: scan0001.pdf]"),
        ({"name": "a\nb.pdf"}, "[file: a b.pdf]"),
        (MAIL, "[file: Your order]\nIt came."),
        (MAIL | {"preview": "<b>It</b>"}, "[file: Your order]\nIt came."),
        (
            MAIL | {"plain_text": "", "preview": "<b>It</b> &lt;came&gt;"},
            "[file: Your order]\nIt <came>",
        ),
        (MAIL | {"plain_text": " \n"}, "[file: Your order]"),
        ({"name": "scan0001.pdf", "title": "\u200b"}, "[file: scan0001.pdf]"),
        (
            {
                "mode": "snippet",
                "title": "x.py",
                "preview": "x = 1\ny = 2",
                "preview_highlight": "<b>x</b>",
            },
            "[file: x.py]\nx = 1\ny = 2",
        ),
        (
            {"mode": "snippet", "title": "x.py", "preview": "x = 1", "preview_is_truncated": True},
            "[file: x.py]\nx = 1\n[Slack shows no more of it here]",
        ),
        (
            CLIP
            | {
                "transcription": {
                    "status": "complete",
                    "preview": {"content": "Hello?", "has_more": False},
                }
            },
            "[file: audio_message.m4a]\nHello?",
        ),
        (CLIP | {"transcription": {"status": "processing"}}, "[file: audio_message.m4a]"),
    ],
)
def test_a_file_gives_its_title_and_the_words_that_slack_shows(file: Json, expected: str) -> None:
    assert plain({"text": "", "files": [file]}, NAMES) == expected


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        ("<tel:+15551234567|+1 (555) 123-4567>", "+1 (555) 123-4567"),
        ("<tel:+15551234567|call us>", "call us (+15551234567)"),
        ("<tel:abc|def>", "def (abc)"),
        ("<!date^1790000000^{date}^https://a.example|in autumn>", "in autumn (https://a.example)"),
        ("<tel:+15551234567|+1 (555) 123-4568>", "+1 (555) 123-4568 (+15551234567)"),
        (
            "<!subteam^S1> <!subteam^S9> <#C1> <#C0PRIV> <#C0PRIV|>",
            "@helpdesk @S9 #general #C0PRIV #C0PRIV",
        ),
        (
            "<!date^1790000000^{date}|in autumn> <!date^1790000000^{date}>",
            "in autumn 2026-09-21 14:13 UTC",
        ),
    ],
)
def test_slacks_text_is_read_as_it_is_shown(encoded: str, expected: str) -> None:
    assert to_plain(encoded, NAMES) == expected


@pytest.mark.parametrize(
    ("message", "asked", "name"),
    [
        ({"user": "U1", "user_profile": {"display_name": "", "real_name": ""}}, "U1", "Anna"),
        ({"user": "U1", "user_profile": {}}, "U1", "Anna"),
        ({"user": "U1", "username": ""}, "U1", "Anna"),
        ({"user": "U1", "username": "\u200b"}, "U1", "Anna"),
        ({"user": "U1", "user_profile": {"display_name": "\u3164", "real_name": 5}}, "U1", "Anna"),
        ({"user": "U1", "bot_profile": {"name": None}}, "U1", "Anna"),
        ({"user": "U1", "username": "", "user_profile": {"real_name": "Ann"}}, None, "Ann"),
    ],
)
def test_an_empty_profile_is_no_name(message: Json, asked: str | None, name: str) -> None:
    assert author_id(message) == asked
    assert author(message, NAMES) == name


def test_who_is_named_in_a_forwarded_message_is_asked_for() -> None:
    inside = [{"message": {"blocks": [rich({"type": "canvas_user_mention", "user_id": "U7"})]}}]
    assert mentioned(said("", FORWARD | {"message_blocks": inside})) == ["U7"]


KEYS = """
    type text elements rows cells child_blocks title body unicode skin_tone timestamp message_blocks
    message blocks files transcription preview content from_url is_share rich_text_title caption
    value label user_id
"""
KINDS = [*BLOCKS, *WORDS, "rich_text_list", "rich_text_section", "raw_number", "mrkdwn", ""]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(KINDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["text", "blocks", "attachments", "files", "bot_id"]), JSON))
def test_whatever_stands_in_a_message_it_is_read_without_an_error(message: Json) -> None:
    found = plain(message, NAMES)
    found.encode()
    assert "\0" not in found
    assert all(isinstance(id_, str) for id_ in mentioned(message))


MESSAGES: list[Json] = [
    *(message(block) for block, _ in BLOCKS.values()),
    *(message(rich(word)) for word, _ in WORDS.values()),
    *(message({"type": "rich_text", "elements": elements}) for elements, _ in RICH_TEXT),
    said("", PASTED, PREVIEW, FORWARD | {"message_blocks": INSIDE, "files": [MAIL]}),
    {"user": "U1", "files": [MAIL, CLIP | {"transcription": {"preview": {"content": "Hello?"}}}]},
    {"user": "U1", "user_profile": {"display_name": "Anna"}, "bot_profile": {"name": "Shop"}},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each field of some JSON."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, below in inner:
        yield (*path, key)
        yield from places(below, (*path, key))


@pytest.mark.parametrize(
    "instead",
    [
        None,
        True,
        0,
        -1,
        10**30,
        1.5,
        float("inf"),
        "",
        "\0\ud83d",
        [],
        [[]],
        [None],
        ["x"],
        {},
        {"": {}},
        {"type": {}},
    ],
)
def test_each_field_may_be_of_any_type(instead: Any) -> None:
    for whole in MESSAGES:
        changed = deepcopy(whole)
        for *path, last in list(places(whole)):
            at: Any = changed
            for key in path:
                at = at[key]
            right, at[last] = at[last], instead
            plain(changed, NAMES).encode()
            author(changed, NAMES).encode()
            mentioned(changed)
            author_id(changed)
            at[last] = right
        assert changed == whole


LABEL = st.text("abcdefgh", min_size=1, max_size=8).map("«{}»".format)
UNKNOWN = st.recursive(
    LABEL | st.none() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["label", "body", "parts", "title", "elements", "rows"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


def labels(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [label for one in inner for label in labels(one)]


@settings(deadline=None)
@given(UNKNOWN, st.sampled_from(["hologram", "rich_text_hologram", ""]))
def test_each_text_of_what_is_unknown_is_written_in_order(inside: Any, kind: str) -> None:
    unknown = {"type": kind, "inside": inside}
    expected = labels(inside)
    for shown in (
        message(unknown, text=""),
        message({"type": "rich_text", "elements": [unknown]}, text=""),
    ):
        found = plain(shown, NAMES)
        assert re.findall("«[a-h]+»", found) == expected
        assert expected or found == MARK
    in_a_line = plain(message(rich(words("a "), unknown), text=""), NAMES)
    assert re.findall("«[a-h]+»", in_a_line) == expected


def nested(depth: int, inside: Json, key: str, **more: Any) -> Json:
    for _ in range(depth):
        inside = {**more, key: [inside]}
    return inside


@pytest.mark.parametrize("depth", [30, 1000, 50_000])
@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("container", "child_blocks"),
        ("section", "fields"),
        ("context", "elements"),
        ("carousel", "elements"),
        ("rich_text", "elements"),
        ("rich_text_section", "elements"),
        ("rich_text_quote", "elements"),
        ("rich_text_list", "elements"),
        ("table", "rows"),
        ("hologram", "parts"),
        ("rich_text_hologram", "parts"),
    ],
)
@pytest.mark.parametrize("inside", [{"type": "divider"}, {"type": "hologram"}, words("a")])
def test_blocks_in_blocks_are_read_at_once(kind: str, key: str, depth: int, inside: Json) -> None:
    deep = nested(depth, inside, key, type=kind)
    started = time.process_time()
    for shown in (message(deep), message(rich(deep)), said("", {"blocks": [deep]})):
        plain(shown, NAMES)
        mentioned(shown)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("depth", [30, 1000, 50_000])
def test_attachments_in_attachments_are_read_at_once(depth: int) -> None:
    deep = nested(depth, {"text": "a"}, "attachments", is_share=True, text="b")
    assert plain(said("", deep), NAMES).startswith("> b\n> > b")
