"""Slack's blocks as plain text, the way a person reads them in Slack. Pure.

Shapes: https://docs.slack.dev/reference/block-kit. What has a known shape is written well. Of
what is unknown every text is written, in order; where there is none, `UNSHOWN` stands.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bot.slack.payloads import objects
from bot.slack.text import (
    as_read,
    day_and_time,
    first_seen,
    is_blank,
    link,
    string,
    to_plain,
    unescape,
)

Json = Mapping[str, Any]
Names = Mapping[str, str]
"""Names by id: people (U, W), channels (C, G), groups of people (S)."""

UNSHOWN = "\0"
"""Stands where nothing of a block can be written; no text of Slack's has this character left."""

INDENT = "    "
_DEEPEST_LIST = 8  # Slack indents by 8 levels at most
_HIGHEST = 10**9  # of a number in a list; an indent or an offset may be any number in JSON
_BULLETS = "•◦▪"
_TONES = "🏻🏼🏽🏾🏿"
_ROMAN = ((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))

_PARTS = {
    "alert": ("text",),
    "card": ("title", "subtitle", "body", "subtext", "hero_image"),
    "carousel": ("elements",),
    "container": ("title", "subtitle", "child_blocks"),
    "header": ("text",),
    "plan": ("title", "tasks"),
    "section": ("text", "fields", "accessory"),
    "task_card": ("title", "details", "output", "sources"),
    "video": ("title", "author_name", "description"),
}
"""What a person sees of a block, in the order in which Slack shows it."""

_READ = {
    **_PARTS,
    "context": ("elements",),
    "data_table": ("caption", "rows"),
    "rich_text": ("elements",),
    "table": ("caption", "rows"),
}
"""What was read as a known shape. To read it as unknown, too, doubles the work at each level."""

_PRESSED = frozenset({
    "actions", "button", "channels_select", "checkboxes", "context_actions",
    "conversations_select", "datepicker", "datetimepicker", "divider", "email_text_input",
    "external_select", "feedback_buttons", "file_input", "icon_button", "input",
    "multi_channels_select", "multi_conversations_select", "multi_external_select",
    "multi_static_select", "multi_users_select", "number_input", "overflow", "plain_text_input",
    "radio_buttons", "rich_text_input", "static_select", "timepicker", "url_text_input",
    "users_select", "workflow_button",
})  # fmt: skip
"""What one presses or fills in is not what was said."""

_WORDS_FOR_IDS = {
    "canvas_user_mention": "user_id",
    "channel": "channel_id",
    "team": "team_id",
    "user": "user_id",
    "usergroup": "usergroup_id",
}
_WORDS = frozenset({
    "broadcast", "canvas_message_unfurl", "date", "emoji", "link", "text", *_WORDS_FOR_IDS,
})  # fmt: skip
"""Of rich text, what stands in a line of words."""

_MENTIONS = {"user_id": "@", "usergroup_id": "@", "channel_id": "#", "team_id": "@"}
_NOT_WORDS = re.compile(
    r"type|style|color|format|icon\w*|size|width|height"
    r"|ts|id|url|\w*_(ids?|ts|urls?|type)"
)
"""Fields whose text is for Slack's programs."""


def blocks_as_read(blocks: Any, names: Names) -> str:  # noqa: ANN401 - JSON
    """Return the words of a list of blocks, a line for each."""
    return "\n".join(text for block in objects(blocks) if (text := _words(block, names)))


def quoted(text: str) -> str:
    """Mark each line as quoted."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def _words(thing: Json, names: Names) -> str:
    """Return the words of a block, a text object, an image, or a cell of a table."""
    kind = string(thing.get("type"))
    if kind in _PRESSED:
        return ""
    if kind.startswith("rich_text_"):
        return _rich(thing, names)
    if kind in _WORDS:
        return _word(thing, names)
    known = _known(kind, thing, names)
    if known:
        return known
    read = () if known is None else _READ.get(kind, ())
    rest = {key: value for key, value in thing.items() if key not in read}
    return _unknown(rest, names) or (UNSHOWN if known is None else "")


def _known(kind: str, thing: Json, names: Names) -> str | None:
    """Return the words of what has a known shape; None for what has none."""
    match kind:
        case "mrkdwn":
            return as_read(string(thing.get("text")), names)
        case "plain_text" | "raw_text":
            return unescape(string(thing.get("text")))
        case "raw_number":
            return string(thing.get("text")) or _number(thing.get("value"))
        case "markdown":
            return string(thing.get("text"))
        case "image":
            return "\n".join(filter(None, (_value(thing.get("title"), names), _image(thing))))
        case "context":
            elements = (_words(element, names) for element in objects(thing.get("elements")))
            return " ".join(filter(None, elements))
        case "rich_text":
            parts = [_rich(element, names) for element in objects(thing.get("elements"))]
            return "\n".join(part.removesuffix("\n") for part in parts)
        case "table" | "data_table":
            return _table(thing, names)
        case "url":
            return link(string(thing.get("url")), string(thing.get("text")))
        case "file":
            return _file(thing, names)
        case _ if kind in _PARTS:
            return _parts(thing, _PARTS[kind], names)
        case _:
            return None


def _parts(block: Json, parts: tuple[str, ...], names: Names) -> str:
    shown = {**block, "title": block.get("rich_text_title") or block.get("title")}
    return "\n".join(text for part in parts if (text := _value(shown.get(part), names)))


def _value(value: Any, names: Names) -> str:  # noqa: ANN401 - JSON
    match value:
        case str():
            return to_plain(string(value), names)
        case dict():
            return _words(value, names)
        case list():
            return "\n".join(text for one in value if (text := _value(one, names)))
        case _:
            return ""


def _unknown(thing: Json, names: Names) -> str:
    """Return every text of what has no known shape; else where it leads, or whom it names."""
    found = "\n".join(text for text in _texts(thing, names) if not is_blank(text))
    if figure := _number(thing.get("value")):  # as in a chart
        return f"{found}: {figure}" if found else figure
    keys = (key for key in _MENTIONS if key in thing)
    return found or string(thing.get("url")) or next((_name(thing, key, names) for key in keys), "")


def _number(value: Any) -> str:  # noqa: ANN401 - JSON
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        return str(value)
    except ValueError:  # more digits than Python writes
        return ""


def _texts(thing: Json, names: Names) -> Iterator[str]:
    for key, value in thing.items():
        if _NOT_WORDS.fullmatch(key):
            continue
        match value:
            case str():
                yield to_plain(string(value), names)
            case dict():
                yield _words(value, names).replace(UNSHOWN, "")
            case list() if any(one.get("type") in ("text", "link") for one in objects(value)):
                yield _inline(value, names).replace(UNSHOWN, "").removesuffix("\n")
            case list():
                yield from (_value(one, names).replace(UNSHOWN, "") for one in value)


def _file(block: Json, names: Names) -> str:
    file = block.get("file")
    of_file = first_seen(file.get("title"), file.get("name")) if isinstance(file, dict) else ""
    name = names.get(string(block.get("file_id"))) or of_file
    return f"[file: {name}]" if name else "[file]"


def _image(block: Json) -> str:
    alt = string(block.get("alt_text"))
    return f"[image: {unescape(alt)}]" if alt else "[image]"


def _table(block: Json, names: Names) -> str:
    rows = block.get("rows")
    lines = [_row(row, names) for row in rows] if isinstance(rows, list) else []
    return "\n".join(filter(None, (_value(block.get("caption"), names), *lines)))


def _row(row: Any, names: Names) -> str:  # noqa: ANN401 - JSON
    cells = row.get("cells") if isinstance(row, dict) else row
    if isinstance(cells, list):
        return " | ".join(_cell(cell, names) for cell in cells)
    return _on_one_line(_value(row, names))


def _cell(cell: Any, names: Names) -> str:  # noqa: ANN401 - JSON
    words = _number(cell)
    if isinstance(cell, dict):
        # A cell may hold a button, and other words for a client that shows none.
        button = cell.get("element", cell)
        pressed = isinstance(button, dict) and string(button.get("type")) in _PRESSED
        instead = "" if button is cell else _value(cell.get("fallback"), names)
        words = instead or _value(button.get("text"), names) if pressed else _words(cell, names)
    elif isinstance(cell, str | list):
        words = _value(cell, names)
    return _on_one_line(words)


def _on_one_line(words: str) -> str:
    """Do as `one_line`, and keep `UNSHOWN`."""
    return " ".join(words.split())


# -- rich text


def _rich(element: Json, names: Names) -> str:
    match element.get("type"):
        case "rich_text_list":
            text = _list(element, names)
        case "rich_text_quote":
            return quoted(_inline(element.get("elements"), names).removesuffix("\n"))
        case "rich_text_divider":
            return ""
        case "rich_text_section" | "rich_text_preformatted":
            text = _inline(element.get("elements"), names)
        case _:
            text = _unknown(element, names) or UNSHOWN
    return quoted(text) if element.get("border") else text


def _list(element: Json, names: Names) -> str:
    level = min(_count(element.get("indent")), _DEEPEST_LIST)
    offset = _count(element.get("offset"))
    ordered = element.get("style") == "ordered"
    lines = []
    for number, item in enumerate(objects(element.get("elements")), offset + 1):
        mark = f"{_numeral(number, level)}." if ordered else _BULLETS[min(level, len(_BULLETS) - 1)]
        words = _inline([item], names).rstrip("\n").replace("\n", f"\n{INDENT * (level + 1)}")
        lines.append(f"{INDENT * level}{mark} {words}")
    return "\n".join(lines)


def _numeral(number: int, level: int) -> str:
    """Number as Slack does: 1, 2, 3; below that a, b, c; below that i, ii, iii; and round again."""
    match level % 3:
        case 1 if number <= 26:  # noqa: PLR2004 - the alphabet
            return chr(ord("a") + number - 1)
        case 2 if number < 40:  # noqa: PLR2004 - where the numerals below end
            text = ""
            for value, numeral in _ROMAN:
                text += numeral * (number // value)
                number %= value
            return text
        case _:
            return str(number)


def _inline(elements: Any, names: Names) -> str:  # noqa: ANN401 - JSON
    """Write words in a line; what is a paragraph among them has lines of its own."""
    pieces = [""]
    for element in objects(elements):
        apart = string(element.get("type")).startswith("rich_text_")
        text = _styled(element, names)
        if apart and pieces[-1] and not pieces[-1].endswith("\n"):
            pieces.append("\n")
        pieces.append(text.removesuffix("\n") + "\n" if apart else text)
    return "".join(pieces)


def _styled(word: Json, names: Names) -> str:
    text = _word(word, names)
    style = word.get("style")
    struck = isinstance(style, dict) and style.get("strike") and not is_blank(text)
    return f"~{text}~" if struck else text


def _word(word: Json, names: Names) -> str:
    kind, text, url = (string(word.get(key)) for key in ("type", "text", "url"))
    match kind:
        case "text":
            return text
        case "link":
            found = link(url, text)
        case "attachment_mention" | "citation" | "work_object_mention" if text:
            found = link(url, text)
        case "emoji":
            found = _emoji(word)
        case _ if kind in _WORDS_FOR_IDS:
            found = _name(word, _WORDS_FOR_IDS[kind], names)
        case "broadcast":
            range_ = string(word.get("range"))
            found = f"@{range_}" if range_ else ""
        case "date":
            fall_back = string(word.get("fallback"))
            moment = day_and_time(word.get("timestamp")) if is_blank(fall_back) else fall_back
            found = link(url, moment)
        case "canvas" | "file":
            name = names.get(string(word.get("file_id")))
            found = _unknown(word, names) or name or f"[{kind}]"
        case "canvas_message_unfurl":
            found = "[message]"
        case _:
            found = _words(word, names)
            return found if kind.startswith("rich_text_") else found.replace("\n", " ")
    return (found or _unknown(word, names)).replace("\n", " ") or UNSHOWN


def _emoji(word: Json) -> str:
    """Return the character that an emoji is; a workspace's own has none, and keeps its name."""
    tone = _count(word.get("skin_tone"))
    try:
        text = "".join(chr(int(code, 16)) for code in string(word.get("unicode")).split("-"))
    except (ValueError, OverflowError):
        text = ""
    if not is_blank(text) and string(text) == text:
        toned = set(_TONES) & set(text) or tone <= 1
        return text if toned else text + _TONES[tone - 2 : tone - 1]  # Slack numbers them from 2
    name = string(word.get("name"))
    if not name:
        return ""
    return f":{name}::skin-tone-{tone}:" if tone else f":{name}:"


def _name(word: Json, key: str, names: Names) -> str:
    """Return whom or what an id names, with its sign; nothing where there is no id."""
    id_ = string(word.get(key))
    return f"{_MENTIONS[key]}{names.get(id_, id_).removeprefix('@')}" if id_ else ""


def _count(value: Any) -> int:  # noqa: ANN401 - JSON
    return min(value, _HIGHEST) if isinstance(value, int) and value > 0 else 0
