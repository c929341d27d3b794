"""Slack's text and plain text.

It reads what a person meant, and shows it again so that Slack acts on none of it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bot.activities.ticket import INVISIBLE

_TIMESTAMP = re.compile(r"-?[0-9]{1,15}(\.[0-9]*)?")
_TOKEN = re.compile(r"<([^<>]+)>")
_MENTION = re.compile(r"<(?:@([UW][A-Z0-9]+)|#([CG][A-Z0-9]+)\|?|!subteam\^(S[A-Z0-9]+))>")
_ENTITIES = (
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&amp;", "&"),
)  # &amp; last: "&amp;lt;" is the four characters "&lt;"
# In this order: bold within italics is only seen once these are gone, for "_" counts as part of a
# word.
_MARKS = (
    re.compile(r"(?<!\w)_(?=\S)([^_\n]+?)(?<=\S)_(?!\w)"),
    re.compile(r"(?<![\w*])\*(?=\S)([^*\n]+?)(?<=\S)\*(?![\w*])"),
)
_VERBATIM = re.compile(r"```(.+?)```|`([^`\n]+)`|<[^<>]+>", re.DOTALL)
_KEPT = re.compile("\0([0-9]+)\0")
_CUT_ENTITY = re.compile(r"&[a-z]*$")
_LINE_BREAK = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_CONTROL = re.compile("[\0-\x08\x0e-\x1f\x7f-\x9f]")
_UNSEEN = re.compile(f"[{INVISIBLE}]")
_AUTOLINK = ("mailto:", "tel:", "http://", "https://")


def bare_mentions(text: str) -> list[str]:
    """Return the ids of people, channels and groups that have no name beside them, each once."""
    found = (one[1] or one[2] or one[3] for one in _MENTION.finditer(text))
    return list(dict.fromkeys(found))


def to_plain(text: str, names: Mapping[str, str] | None = None) -> str:
    """Undo Slack's encoding: entities, mentions, channels and links become what the person saw.

    `names` are names by id of people, channels and groups, for mentions that carry none. Pure text
    passes unchanged but for `& < >`.
    """
    encoded = sound(text)
    pieces = []
    end = 0
    for token in _TOKEN.finditer(encoded):
        pieces += [unescape(encoded[end : token.start()]), _token(token[1], names or {})]
        end = token.end()
    return "".join([*pieces, unescape(encoded[end:])])


def as_read(text: str, names: Mapping[str, str] | None = None) -> str:
    """Undo Slack's encoding and leave out the marks that Slack shows as bold, italics and code.

    Struck words keep theirs (~so~): without them they would say the opposite.
    """
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[1].strip("\n") if found[1] else found[2] or found[0])
        return f"\0{len(kept) - 1}\0"

    bare = _VERBATIM.sub(keep, text.replace("\0", ""))
    for mark in _MARKS:
        bare = mark.sub(r"\1", bare)
    return to_plain(_KEPT.sub(lambda number: kept[int(number[1])], bare), names)


def unescape(text: str) -> str:
    """Undo Slack's three entities, and nothing else."""
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    return text


def link(target: str, label: str) -> str:
    """Write a link as its label and its address, or as one of them if that says it all."""
    address = target.removeprefix("mailto:").removeprefix("tel:")
    if not (label and address) or label == address or _bare(label) == _bare(target):
        return label or address
    if target.startswith("tel:") and _digits(label) == _digits(address) != "":
        return label
    return f"{label} ({address})"


def day_and_time(timestamp: Any) -> str:  # noqa: ANN401 - JSON
    """Write a timestamp, a number or a text: never a wrong date; `[date]` where there is none."""
    if isinstance(timestamp, str):
        timestamp = one_line(string(timestamp))
        if not _TIMESTAMP.fullmatch(timestamp):
            return timestamp or "[date]"
    if isinstance(timestamp, bool) or not isinstance(timestamp, str | int | float):
        return "[date]"
    try:
        return f"{datetime.fromtimestamp(float(timestamp), UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return "[date]"  # no calendar has it


def sound(text: str) -> str:
    """Leave out the characters in JSON that no person wrote.

    These are NUL characters, and lone surrogates (as `?`). Neither can be sent on or stored
    everywhere.
    """
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def legible(text: str) -> str:
    """Write every line break as a new line, and leave out control characters."""
    return _CONTROL.sub("", _LINE_BREAK.sub("\n", text))


def string(value: Any) -> str:  # noqa: ANN401 - JSON
    """Return a sound text, with new lines as its only line breaks; what is no text is empty."""
    return legible(sound(value)) if isinstance(value, str) else ""


def one_line(text: str) -> str:
    """Write a text that has no lines of its own, such as a name, on one line."""
    return " ".join(legible(text).split())


def is_blank(text: str) -> bool:
    """Say whether a text shows nothing.

    It has only white space and invisible characters.
    """
    seen = _UNSEEN.sub("", text)
    return not any(character.isprintable() and not character.isspace() for character in seen)


def first_seen(*names: Any) -> str:  # noqa: ANN401 - JSON
    """Return the first of these in which there is something to be seen, on one line."""
    written = (one_line(string(name)) for name in names)
    return next((name for name in written if not is_blank(name)), "")


def units(text: str) -> int:
    """Return a text's length as Slack's forms count it, in UTF-16 units: most emoji are two."""
    return len(text.encode("utf-16-le", "replace")) // 2


def cut(text: str, at_most: int) -> str:
    """Return the beginning of a text, so many UTF-16 units of it at most."""
    return text.encode("utf-16-le", "replace")[: 2 * at_most].decode("utf-16-le", "ignore")


def escape(text: str) -> str:
    """Make text safe to show in mrkdwn: Slack asks for exactly these three."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shorten(text: str, *, at_most: int) -> str:
    """Escape text and cut it to so many characters of mrkdwn, never inside an entity.

    This is for the eye, never for LeadSquared.
    """
    escaped = escape(text)
    if len(escaped) <= at_most:
        return escaped
    return f"{_CUT_ENTITY.sub('', escaped[: at_most - 1]).rstrip()}…"


def quote(text: str, *, at_most: int) -> str:
    """Show what a person wrote as a mrkdwn quotation: every line of it stands inside."""
    return "\n".join(f"> {line}" for line in shorten(legible(text), at_most=at_most).split("\n"))


def _token(inside: str, names: Mapping[str, str]) -> str:
    target, _, label = (unescape(part) for part in inside.partition("|"))
    if target.startswith("@"):
        return f"@{label or names.get(target[1:], target[1:])}"
    if target.startswith("#"):
        return f"#{label or names.get(target[1:], target[1:])}"
    return _special(target[1:], label, names) if target.startswith("!") else link(target, label)


def _special(command: str, label: str, names: Mapping[str, str]) -> str:
    kind, _, id_ = command.partition("^")
    if kind == "date":
        timestamp, _, shown = id_.partition("^")
        return link(shown.partition("^")[2], label or day_and_time(timestamp))
    name = label or names.get(id_) or id_ or kind
    return name if name.startswith("@") else f"@{name}"


def _digits(number: str) -> str:
    return "".join(character for character in number if character.isdecimal())


def _bare(address: str) -> str:
    """Drop what Slack adds to a typed link: the scheme and a closing slash."""
    for scheme in _AUTOLINK:
        address = address.removeprefix(scheme)
    return address.rstrip("/")
