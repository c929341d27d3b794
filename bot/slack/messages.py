"""A Slack message as plain text, the way a person reads it in Slack. Pure.

Shapes: https://docs.slack.dev/reference/block-kit/blocks, https://docs.slack.dev/legacy/legacy-messaging (attachments).
A message is JSON of Slack's that other apps had a hand in: what is not of the expected type is passed over.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from bot.slack.payloads import objects
from bot.slack.text import as_read, is_blank, legible, link, one_line, sound, unescape

Json = Mapping[str, Any]
Names = Mapping[str, str]
"""Names by id: people (U, W), channels (C, G), groups of people (S)."""

_MENTION = re.compile(r"<(?:@([UW][A-Z0-9]+)|#([CG][A-Z0-9]+)\|?|!subteam\^(S[A-Z0-9]+))>")
_MENTIONING = ("user_id", "channel_id", "usergroup_id")
_BULLETS = "•◦▪"
_INDENT = "    "
_SLACKS_OWN = {"USLACKBOT": "Slackbot"}  # the author of "This message was deleted."
_LIKE_AN_ENTRY = re.compile(r"\d\d\W\d\d\s+UTC")
_LAST_TIMESTAMP = 10_000_000_000
_ROMAN = ((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))


def plain(message: Json, names: Names) -> str:
    """Return a message's words: its blocks, or its text; a bot's attachments; a line for each file."""
    body = _blocks(message.get("blocks"), names)
    if is_blank(body):
        body = as_read(_string(message.get("text")), names)
    attached = [] if not is_blank(body) and not _is_from_bot(message) else objects(message.get("attachments"))
    shared = [one for one in objects(message.get("attachments")) if one not in attached and _is_shared(one)]
    parts = [body, *(_attachment(one, names) for one in [*attached, *shared]), "\n".join(_files(message))]
    return legible(sound("\n\n".join(part.strip("\n") for part in parts if not is_blank(part))))


def mentioned(message: Json) -> list[str]:
    """Return the ids of the people, channels and groups that a message names, each once."""
    return list(dict.fromkeys(_mentioned([message.get(name) for name in ("blocks", "text", "attachments")])))


def author_id(message: Json) -> str | None:
    """Return the id of whoever wrote a message, where the message does not say the name itself."""
    named = any(name in message for name in ("username", "user_profile", "bot_profile"))
    return None if named else _string(message.get("user")) or None


@dataclass(frozen=True, slots=True)
class WholeThread:
    """A thread as one text. `left_out` messages at its end did not fit; `cut`: not even all of the first did.

    `through` is the ts of the last message that is in it.
    """

    text: str
    left_out: int
    cut: bool
    through: str | None = None


def whole_thread(
    messages: Sequence[Json], total: int, names: Names, zone: tzinfo, *, at_most: int, length: Callable[[str], int]
) -> WholeThread:
    """Write a thread down, oldest first: author, time and words of each message.

    Nothing that a person wrote can pass for the line above a message (see `_entry`).
    What `at_most` (by `length`) has no room for is left out, message by message, and a line at the end says how many;
    `total` counts those too that could not be read.
    """
    in_order = sorted(messages, key=lambda one: float(one["ts"]))
    text, taken = "", 0
    for message in in_order:
        entry = _entry(message, names, zone)
        longer = f"{text}\n\n{entry}" if text else entry
        if length(longer + _left_out(total - taken - 1)) > at_most:
            break
        text, taken = longer, taken + 1
    if taken or not in_order:
        through = in_order[taken - 1]["ts"] if taken else None
        return WholeThread(text + _left_out(total - taken), total - taken, cut=False, through=through)
    ending = f" … [cut here]{_left_out(total - 1)}"
    first = _entry(in_order[0], names, zone)
    while length(first + ending) > at_most:
        first = first[: len(first) - max(1, (length(first + ending) - at_most) // 2)]
    return WholeThread(first + ending, total - 1, cut=True, through=in_order[0]["ts"])


def _left_out(count: int) -> str:
    return f"\n\n[{count} later message{'' if count == 1 else 's'} left out]" if count > 0 else ""


def _entry(message: Json, names: Names, zone: tzinfo) -> str:
    """Write who wrote a message and when, and under that its words.

    Continuation lines are indented: only an entry's first line and the one below it stand at the
    left. A line that looks like an entry's first one is indented in that place, too.
    """
    moment = datetime.fromtimestamp(float(message["ts"]), zone)
    head = f"{author(message, names)}, {moment:%Y-%m-%d %H:%M} {_offset(moment)}:"
    first, *further = plain(message, names).split("\n")
    first = f"{_INDENT}{first}" if _LIKE_AN_ENTRY.search(first) else first
    return "\n".join([head, first, *(f"{_INDENT}{line}".rstrip() for line in further)]).rstrip()


def _offset(moment: datetime) -> str:
    return f"UTC{moment.isoformat()[-len('+00:00') :]}" if moment.utcoffset() else "UTC"


def author(message: Json, names: Names) -> str:
    """Return the name that Slack shows above a message, on one line."""
    profile = message.get("user_profile")
    profile = profile if isinstance(profile, dict) else {}
    user = _string(message.get("user"))
    bot = message.get("bot_profile")
    return one_line(
        _string(message.get("username"))
        or (_string(bot.get("name")) if isinstance(bot, dict) else "")
        or _string(profile.get("display_name"))
        or _string(profile.get("real_name"))
        or names.get(user)
        or _SLACKS_OWN.get(user, user)
        or "Somebody"
    )


def _is_from_bot(message: Json) -> bool:
    return "bot_id" in message or message.get("subtype") == "bot_message"


def _is_shared(attachment: Json) -> bool:
    """Say whether an attachment is a message that somebody passed on; a preview that Slack made of a link is not."""
    return bool(attachment.get("is_share") or attachment.get("is_msg_unfurl"))


def _files(message: Json) -> Iterator[str]:
    for file in objects(message.get("files")):
        name = _string(file.get("name")) or _string(file.get("title")) or "without a name"
        yield f"[file: {'deleted' if file.get('mode') == 'tombstone' else name}]"


def _attachment(attachment: Json, names: Names) -> str:
    def words(name: str) -> str:
        return as_read(_string(attachment.get(name)), names)

    title, address = words("title"), _string(attachment.get("title_link"))
    title = link(address, title) if title and address else title
    fields = [
        ": ".join(filter(None, (as_read(_string(field.get(name)), names) for name in ("title", "value"))))
        for field in objects(attachment.get("fields"))
    ]
    blocks = _blocks(attachment.get("blocks"), names)
    parts = [words("author_name"), title, words("text"), *fields, blocks, words("footer")]
    body = "\n".join(part for part in parts if part) or words("fallback")
    if _is_shared(attachment):
        body = _quoted(body)
    return "\n".join(part for part in (words("pretext"), body) if part)


def _blocks(blocks: Any, names: Names) -> str:  # noqa: ANN401 - JSON
    return "\n".join(text for block in objects(blocks) if (text := _block(block, names)))


def _block(block: Json, names: Names) -> str:
    match block.get("type"):
        case "rich_text":
            parts = [_rich(element, names) for element in objects(block.get("elements"))]
            return "\n".join(part.removesuffix("\n") for part in parts)
        case "context":
            return " ".join(filter(None, (_piece(element, names) for element in objects(block.get("elements")))))
        case "table":
            return "\n".join(
                " | ".join(_piece(cell, names) for cell in objects(row)) for row in _lists(block.get("rows"))
            )
        case "actions" | "input" | "divider":
            return ""  # what one presses or fills in is not what was said
        case "markdown":
            return _string(block.get("text"))
        case _:
            pieces = [block.get("text"), *objects(block.get("fields")), block.get("title"), block.get("description")]
            words = [_piece(piece, names) for piece in pieces if isinstance(piece, dict)]
            return "\n".join(filter(None, [*words, _image(block)]))


def _piece(piece: Json, names: Names) -> str:
    """Return the words of a text object, an image, or a cell of a table."""
    match piece.get("type"):
        case "mrkdwn":
            return as_read(_string(piece.get("text")), names)
        case "image":
            return _image(piece)
        case "rich_text":
            return _block(piece, names)
        case _:
            return unescape(_string(piece.get("text")))


def _image(block: Json) -> str:
    alt = _string(block.get("alt_text"))
    return f"[image: {unescape(alt)}]" if block.get("type") == "image" and alt else ""


def _rich(element: Json, names: Names) -> str:
    match element.get("type"):
        case "rich_text_list":
            text = _list(element, names)
        case "rich_text_quote":
            return _quoted(_inline(element, names).removesuffix("\n"))
        case _:
            text = _inline(element, names)
    return _quoted(text) if element.get("border") else text


def _list(element: Json, names: Names) -> str:
    level, offset = _count(element.get("indent")), _count(element.get("offset"))
    ordered = element.get("style") == "ordered"
    lines = []
    for number, item in enumerate(objects(element.get("elements")), offset + 1):
        mark = f"{_numeral(number, level)}." if ordered else _BULLETS[min(level, len(_BULLETS) - 1)]
        words = _inline(item, names).removesuffix("\n").replace("\n", f"\n{_INDENT * (level + 1)}")
        lines.append(f"{_INDENT * level}{mark} {words}")
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


def _inline(element: Json, names: Names) -> str:
    return "".join(_word(word, names) for word in objects(element.get("elements")))


def _word(word: Json, names: Names) -> str:
    def name(key: str) -> str:
        id_ = _string(word.get(key))
        return names.get(id_, id_)

    text = _string(word.get("text"))
    match word.get("type"):
        case "link":
            text = link(_string(word.get("url")), text)
        case "emoji":
            tone = _count(word.get("skin_tone"))
            text = f":{_string(word.get('name'))}:" + (f":skin-tone-{tone}:" if tone else "")
        case "user":
            text = f"@{name('user_id')}"
        case "usergroup":
            text = f"@{name('usergroup_id').removeprefix('@')}"
        case "channel":
            text = f"#{name('channel_id')}"
        case "broadcast":
            text = f"@{_string(word.get('range'))}"
        case "team":
            text = f"@{_string(word.get('team_id'))}"
        case "color":
            text = _string(word.get("value"))
        case "date":
            text = _string(word.get("fallback")) or _date(_count(word.get("timestamp")))
    style = word.get("style")
    struck = isinstance(style, dict) and style.get("strike") and not is_blank(text)
    return f"~{text}~" if struck else text


def _date(timestamp: int) -> str:
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M} UTC" if timestamp < _LAST_TIMESTAMP else ""


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def _mentioned(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        for found in _MENTION.finditer(value):
            yield found[1] or found[2] or found[3]
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in _MENTIONING and isinstance(inner, str):
                yield inner
            else:
                yield from _mentioned(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _mentioned(inner)


def _string(value: Any) -> str:  # noqa: ANN401 - JSON
    return legible(value) if isinstance(value, str) else ""


def _count(value: Any) -> int:  # noqa: ANN401 - JSON
    return value if isinstance(value, int) and value > 0 else 0


def _lists(value: Any) -> list[Any]:  # noqa: ANN401 - JSON
    return [one for one in value if isinstance(one, list)] if isinstance(value, list) else []
