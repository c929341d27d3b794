"""A Slack message as plain text, the way a person reads it in Slack. Pure.

Shapes: https://docs.slack.dev/legacy/legacy-messaging (attachments), and see `blocks.py`. A
message is JSON of Slack's that other apps had a hand in: what is not of the expected type is
passed over.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any
from unicodedata import normalize

from bot.activities.ticket import INVISIBLE
from bot.slack.blocks import INDENT, UNSHOWN, Json, Names, blocks_as_read, quoted
from bot.slack.payloads import objects
from bot.slack.text import (
    as_read,
    bare_mentions,
    first_seen,
    is_blank,
    legible,
    link,
    one_line,
    sound,
    string,
    unescape,
)

_MENTIONING = ("user_id", "channel_id", "usergroup_id")
_ID = re.compile(r"\A[CGSUW][A-Z0-9]{1,40}\Z")
_SLACKS_OWN = {"USLACKBOT": "Slackbot"}  # the author of "This message was deleted."
_LIKE_AN_ENTRY = re.compile(r"\d\d\W{1,3}\d\d\W{1,3}\d\d\W{1,3}\d\d")
"""Day and hour, as an entry's first line has them.

The bot looks for it in the visible text, however it is written.
"""

_UNSEEN = re.compile(f"[{INVISIBLE}]")
_MARK = "[a block that only Slack can show]"
_PLACEHOLDERS = (
    "[no preview available]",
    "This content can't be displayed.",
    "This message contains interactive elements.",
)
"""What Slack writes beside blocks that have no other words."""

DEEPEST = 64
"""Levels of JSON that are read: no message of Slack's has half as many, and Python's stack ends."""

_DEEPER = {"type": "plain_text", "text": _MARK}
_TAG = re.compile(r"<[^<>]*>")
_HTML_MODES = ("canvas", "email", "quip", "space")
"""Kinds of files whose preview is HTML."""


def plain(message: Json, names: Names) -> str:
    """Return a message's words: its blocks, or its text; its attachments; its files.

    What cannot be written is not lost in silence: the text beside the blocks is added, or a mark.
    """
    message = _shallow(message)
    names = {**_titles(message), **names}
    blocks = _without_files(message)
    attached = objects(message.get("attachments"))
    text = as_read(string(message.get("text")), names)
    body = _or_else(blocks_as_read(blocks, names), _content(text) if blocks or attached else text)
    if not is_blank(body):
        attached = [one for one in attached if not _is_preview(one, message)]
    parts = [body, *(_attachment(one, names) for one in attached), "\n".join(_files(message))]
    words = "\n\n".join(part.strip("\n") for part in parts if not is_blank(part))
    return legible(sound(words)) or (_MARK if blocks else "")


def _or_else(body: str, fall_back: str) -> str:
    """Return a body; with the fall-back, or a mark, where something in it could not be written."""
    if is_blank(body.replace(UNSHOWN, "")):
        return body.replace(UNSHOWN, _MARK) if is_blank(fall_back) else fall_back
    if UNSHOWN not in body:
        return body
    if " ".join(fall_back.split()) in " ".join(body.split()):
        return body.replace(UNSHOWN, _MARK)
    written = [line for line in body.split("\n") if line.strip() != UNSHOWN]
    return "\n".join([*written, fall_back]).replace(UNSHOWN, _MARK)


def _shallow(message: Json) -> Json:
    """Return a message with a mark in place of what is too deep inside it."""
    return {key: _down_to(value, DEEPEST) for key, value in message.items()}


def _down_to(value: Any, levels: int) -> Any:  # noqa: ANN401 - JSON
    match value:
        case dict() | list() if levels == 0:
            return _DEEPER
        case dict():
            return {key: _down_to(inner, levels - 1) for key, inner in value.items()}
        case list():
            return [_down_to(inner, levels - 1) for inner in value]
        case _:
            return value


def _content(text: str) -> str:
    """Return a text; nothing where it is Slack's own placeholder."""
    return "" if text.strip() in _PLACEHOLDERS else text


def _without_files(of: Json) -> Sequence[Json]:
    """Return the blocks, without those that stand for a file: the files themselves say more."""
    blocks = objects(of.get("blocks"))
    return [one for one in blocks if one.get("type") != "file"] if of.get("files") else blocks


def mentioned(message: Json) -> list[str]:
    """Return the ids of the people, channels and groups that a message names, each once."""
    read = [_down_to(message.get(name), DEEPEST) for name in ("blocks", "text", "attachments")]
    return list(dict.fromkeys(_mentioned(read)))


def author_id(message: Json) -> str | None:
    """Return the id of the author of a message, where the message does not say the name itself."""
    return None if _own_name(message) else string(message.get("user")) or None


@dataclass(frozen=True, slots=True)
class WholeThread:
    """A thread as one text.

    `left_out` messages at its end are missing; `cut`: not even all of the first has room. `unread`
    of these Slack did not give, and in `read_on_in` seconds it does, where it said so. `read_ago`:
    it was read so many seconds ago, and Slack does not give it now.

    `through` is the ts of the last message that is in it.
    """

    text: str
    left_out: int
    cut: bool
    through: str | None = None
    unread: int = 0
    read_on_in: float | None = None
    read_ago: float | None = None


def whole_thread(
    messages: Sequence[Json],
    total: int,
    names: Names,
    zone: tzinfo,
    *,
    at_most: int,
    length: Callable[[str], int],
) -> WholeThread:
    """Write a thread down, oldest first: author, time and words of each message.

    Nothing that a person wrote can pass for the line above a message (see `_entry`). What
    `at_most` (by `length`) has no room for is left out, message by message, and a line at the end
    says how many; `total` counts those too that could not be read.
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
        return WholeThread(
            text + _left_out(total - taken), total - taken, cut=False, through=through
        )
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
    seen = _UNSEEN.sub("", normalize("NFKC", first))
    first = f"{INDENT}{first}" if _LIKE_AN_ENTRY.search(seen) else first
    return "\n".join([head, first, *(f"{INDENT}{line}".rstrip() for line in further)]).rstrip()


def _offset(moment: datetime) -> str:
    return f"UTC{moment.isoformat()[-len('+00:00') :]}" if moment.utcoffset() else "UTC"


def author(message: Json, names: Names) -> str:
    """Return the name that Slack shows above a message, on one line."""
    user = string(message.get("user"))
    named = _own_name(message) or names.get(user) or _SLACKS_OWN.get(user, user)
    return one_line(named) or "Somebody"


def _own_name(message: Json) -> str:
    """Return the name that a message brings along; Slack leaves it empty where there is none."""
    of_app, of_person = (
        profile if isinstance(profile, dict) else {}
        for profile in (message.get("bot_profile"), message.get("user_profile"))
    )
    return first_seen(
        message.get("username"),
        of_app.get("name"),
        of_person.get("display_name"),
        of_person.get("real_name"),
    )


def _is_preview(attachment: Json, message: Json) -> bool:
    """Say whether an attachment is a link's preview.

    It is Slack's, or an app's under a person's message.
    """
    if _is_shared(attachment):
        return False
    if attachment.get("is_app_unfurl") or attachment.get("app_unfurl_url"):
        return not _is_from_bot(message)
    return bool(attachment.get("from_url") or attachment.get("original_url"))


def _is_from_bot(message: Json) -> bool:
    return bool(message.get("bot_id")) or message.get("subtype") == "bot_message"


def _is_shared(attachment: Json) -> bool:
    """Say whether an attachment is a message that was passed on."""
    return bool(attachment.get("is_share") or attachment.get("is_msg_unfurl"))


def _files(of: Json) -> list[str]:
    return [_file(file) for file in objects(of.get("files"))]


def _titles(message: Json) -> dict[str, str]:
    """Return by id what the files of a message are called, for words that point to one of them."""
    files = objects(message.get("files"))
    return {id_: _title(file) for file in files if (id_ := string(file.get("id")))}


def _title(file: Json) -> str:
    return first_seen(file.get("title"), file.get("name"))


def _file(file: Json) -> str:
    """Write the name that Slack shows for a file, and under it the words that Slack shows of it."""
    if file.get("mode") == "tombstone":
        return "[file: deleted]"
    name = f"[file: {_title(file) or 'without a name'}]"
    shown = _shown_of(file).strip("\n")
    return name if is_blank(shown) else f"{name}\n{shown}"


def _shown_of(file: Json) -> str:
    heard = file.get("transcription")
    spoken = heard.get("preview") if isinstance(heard, dict) else None
    if isinstance(spoken, dict):
        return _cut(string(spoken.get("content")), cut=spoken.get("has_more"))
    whole = string(file.get("plain_text"))
    preview = string(file.get("preview"))
    preview = unescape(_TAG.sub("", preview)) if file.get("mode") in _HTML_MODES else preview
    shown = string(file.get("preview_plain_text")) or preview
    cut = file.get("preview_is_truncated") or file.get("lines_more") or file.get("has_more")
    return whole or _cut(shown, cut=cut)


def _cut(text: str, *, cut: Any) -> str:  # noqa: ANN401 - JSON
    return f"{text}\n[Slack shows no more of it here]" if text and cut else text


def _attachment(attachment: Json, names: Names) -> str:
    names = {**_titles(attachment), **names}

    def words(name: str) -> str:
        return as_read(string(attachment.get(name)), names)

    title, address = words("title"), string(attachment.get("title_link"))
    titles = [
        [as_read(string(field.get(name)), names) for name in ("title", "value")]
        for field in objects(attachment.get("fields"))
    ]
    fields = [": ".join(filter(None, pair)) for pair in titles]
    parts = [
        link(address, title) if title and address else title,
        _forwarded(attachment, names, _content(words("text"))),
        *fields,
        blocks_as_read(_without_files(attachment), names),
        *(_attachment(one, names) for one in objects(attachment.get("attachments"))),
        *_files(attachment),
    ]
    picture = "[image]" if attachment.get("image_url") or attachment.get("thumb_url") else ""
    content = _or_else("\n".join(filter(None, parts)), _content(words("fallback")) or picture)
    author_name = words("author_name") or words("author_subname")
    body = "\n".join(filter(None, (author_name, content, words("footer"))))
    if _is_shared(attachment):
        body = quoted(body)
    return "\n".join(part for part in (words("pretext"), body) if part)


def _forwarded(attachment: Json, names: Names, text: str) -> str:
    """Return the words of a message that was passed on, if they are inside; else the text."""
    inside = [one.get("message") for one in objects(attachment.get("message_blocks"))]
    found = [
        _or_else(
            blocks_as_read(one.get("blocks"), names),
            as_read(string(one.get("text")), names) or text,
        )
        for one in inside
        if isinstance(one, dict)
    ]
    return "\n".join(dict.fromkeys(filter(None, found))) or text


def _mentioned(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        yield from bare_mentions(value)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in _MENTIONING and isinstance(inner, str):
                yield from _ID.findall(inner)
            else:
                yield from _mentioned(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _mentioned(inner)
