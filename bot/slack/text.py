"""Slack's text and plain text: what a person meant, and how it is shown again without doing anything."""

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"<([^<>]+)>")
_USER = re.compile(r"<@([UW][A-Z0-9]+)>")
_ENTITIES = (
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&amp;", "&"),
)  # &amp; last: "&amp;lt;" is the four characters "&lt;"
_CUT_ENTITY = re.compile(r"&[a-z]*$")
_AUTOLINK = ("mailto:", "tel:", "http://", "https://")


def bare_mentions(text: str) -> list[str]:
    """Return the ids of people whom Slack names by id only, in order, each once."""
    return list(dict.fromkeys(_USER.findall(text)))


def to_plain(text: str, names: Mapping[str, str] | None = None) -> str:
    """Undo Slack's encoding: entities, mentions, channels and links become what the person saw.

    `names` are people's names by user id, for mentions that carry none. Pure text passes unchanged but for `& < >`.
    """
    encoded = sound(text)
    pieces = []
    end = 0
    for token in _TOKEN.finditer(encoded):
        pieces += [_unescape(encoded[end : token.start()]), _token(token[1], names or {})]
        end = token.end()
    return "".join([*pieces, _unescape(encoded[end:])])


def sound(text: str) -> str:
    """Replace lone surrogates, which can come out of JSON: they stand for nothing a person wrote and cannot be sent on."""
    return text.encode("utf-8", "replace").decode()


def is_blank(text: str) -> bool:
    """Say whether there is nothing to be seen in a text: white space and invisible characters only."""
    return not any(character.isprintable() and not character.isspace() for character in text)


def escape(text: str) -> str:
    """Make text safe to show in mrkdwn: Slack asks for exactly these three."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shorten(text: str, *, at_most: int) -> str:
    """Escape text and cut it for the eye (never for LeadSquared) to so many characters of mrkdwn, never inside an entity."""
    escaped = escape(text)
    if len(escaped) <= at_most:
        return escaped
    return f"{_CUT_ENTITY.sub('', escaped[: at_most - 1]).rstrip()}…"


def quote(text: str, *, at_most: int) -> str:
    """Show what a person wrote as a mrkdwn quotation."""
    # Not splitlines(): it would also break at characters that Slack shows within a line.
    return "\n".join(f"> {line}" for line in shorten(text, at_most=at_most).split("\n"))


def _unescape(text: str) -> str:
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    return text


def _token(inside: str, names: Mapping[str, str]) -> str:
    target, _, label = (_unescape(part) for part in inside.partition("|"))
    if target.startswith("@"):
        return f"@{label or names.get(target[1:], target[1:])}"
    if target.startswith("#"):
        return f"#{label or target[1:]}"
    if target.startswith("!"):
        return _special(target[1:], label)
    address = target.removeprefix("mailto:").removeprefix("tel:")
    if not label or label == address or _bare(label) == _bare(target):
        return label or address
    return f"{label} ({address})"


def _special(command: str, label: str) -> str:
    if command.startswith("date^"):
        return label
    if label:
        return label if label.startswith("@") else f"@{label}"
    return f"@{command.partition('^')[0]}"


def _bare(address: str) -> str:
    """Drop what Slack adds when it makes a link of what was typed: the scheme and a closing slash."""
    for scheme in _AUTOLINK:
        address = address.removeprefix(scheme)
    return address.rstrip("/")
