"""What a person asked for, and the grammar of a ticket reference."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from bot.leadsquared.hosts import host_allowed, is_loopback

_NUMBER = re.compile(r"#?([1-9][0-9]{0,18})")
_GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
# Searched for in texts of any length: nothing in these is repeated without a bound where it could be tried at each place.
_ADDRESS = re.compile(r"\bhttps?://[^\s<>|()]+", re.IGNORECASE)
_KEY = re.compile(r"(?<![\w#&/])#([1-9][0-9]{0,18})(?![\w#]|[.,][0-9])")
_NAMED = re.compile(
    r"\btickets?(?:\s{0,3}(?:number|no\.?|id|key|nr\.?))?\s{0,3}[:=\u2013-]?\s{0,3}[(\[\"'\u2018\u201c]?"
    r"(?:#?([1-9][0-9]{0,18})(?![\w#-]|[.,:][0-9])|\{?([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\}?(?![\w-]))",
    re.IGNORECASE,
)
_LINK_WORDS = "Slack message: "
_LINK_AT_END = re.compile(rf"\n\n{_LINK_WORDS}https?://\S+\Z")
_ID_PARAMETERS = ("ticketid", "ticket_id", "ticket")
_ID_FOLDERS = ("ticket", "tickets")


class MalformedTicketError(ValueError):
    """The word is no ticket reference; the message says what was wrong with it."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A portal activity that somebody asks to be recorded, from whichever surface.

    `key` is what names this very request once and for all (a trigger_id, say): the same key twice is one activity.
    `thread_ts` is where the answer goes; without one the bot posts an anchor message and answers in its thread.
    `message_ts` is the message that is recorded, where it is one; `through_ts` the last one, where it is its whole thread.
    """

    enterprise_id: str | None
    team_id: str
    channel_id: str
    user_id: str
    key: str
    ticket_id: str
    text: str = field(repr=False)
    response_url: str | None = field(default=None, repr=False)
    thread_ts: str | None = None
    message_ts: str | None = None
    through_ts: str | None = None


def with_link(text: str, link: str) -> str:
    """Return a text with a link to the message it comes from."""
    return f"{text}\n\n{_LINK_WORDS}{link}"


def without_link(text: str) -> str:
    """Return a text's own words: the same, whether a link was added to them or not."""
    return _LINK_AT_END.sub("", text)


def parse_ticket(word: str, link_hosts: tuple[str, ...] = ("*.leadsquared.com",)) -> str:
    """Return the ticket's id from `143`, `#143`, a GUID, or a LeadSquared ticket link; raise MalformedTicketError.

    The result is a number without leading zeros, or a GUID in lower case: nothing that could climb a path.
    """
    if "://" in word:
        return _from_link(word, link_hosts)
    ticket = _identifier(word)
    if ticket is None:
        raise MalformedTicketError("a ticket is a number such as 143, its key #143, its GUID, or a link to it")
    return ticket


def find_ticket(text: str, link_hosts: tuple[str, ...] = ("*.leadsquared.com",)) -> str | None:
    """Return the first ticket that a text names: `#143`, "ticket 143", or a LeadSquared ticket link; None without one.

    A suggestion for a person to look at, not a reading to act on.
    """
    found: list[tuple[int, str]] = []
    for address in _ADDRESS.finditer(text):
        with contextlib.suppress(MalformedTicketError):
            found.append((address.start(), parse_ticket(address[0].rstrip(".,;:!?'\"”*_~`"), link_hosts)))
    # An address is read as one, or not at all: its #143 is a place on a page.
    words = _ADDRESS.sub(lambda address: " " * len(address[0]), text)
    found += [(key.start(), key[1]) for key in _KEY.finditer(words)]
    found += [(named.start(), named[1] or named[2].lower()) for named in _NAMED.finditer(words)]
    return min(found)[1] if found else None


def _identifier(word: str) -> str | None:
    if number := _NUMBER.fullmatch(word):
        return number[1]
    bare = word[1:-1] if word.startswith("{") and word.endswith("}") else word
    return bare.lower() if _GUID.fullmatch(bare) else None


def _from_link(link: str, link_hosts: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(link)
        host = (parts.hostname or "").lower()
        # A single-page application keeps its route, and that route's query, behind the #.
        places = [parts, urlsplit(parts.fragment.removeprefix("!"))]
    except ValueError:
        raise MalformedTicketError("that link cannot be read; give the ticket's number instead") from None
    if not (is_loopback(host) or host_allowed(host, (*link_hosts, "leadsquared.com", "*.leadsquared.com"))):
        raise MalformedTicketError("that link does not lead to LeadSquared; give the ticket's number instead")
    segments = [[unquote(segment) for segment in place.path.split("/") if segment] for place in places]
    if any(segment in (".", "..") for path in segments for segment in path):
        raise MalformedTicketError("that link climbs out of its own path; give the ticket's number instead")
    named = {*chain.from_iterable(map(_in_query, places)), *chain.from_iterable(map(_after_folder, segments))}
    found = named or _last_resort(places, segments)
    if len(found) > 1:
        raise MalformedTicketError("that link names more than one ticket; give the ticket's number instead")
    if not found:
        raise MalformedTicketError(
            "that link names no ticket; open the ticket and copy its page's address, or give its number"
        )
    return found.pop()


def _in_query(place: SplitResult, names: tuple[str, ...] = _ID_PARAMETERS) -> Iterator[str]:
    for name, value in parse_qsl(place.query):
        if name.lower() in names and (ticket := _identifier(value)):
            yield ticket


def _after_folder(segments: list[str]) -> Iterator[str]:
    for before, after in pairwise(segments):
        if before.lower() in _ID_FOLDERS and (ticket := _identifier(after)):
            yield ticket


def _last_resort(places: list[SplitResult], segments: list[list[str]]) -> set[str]:
    """Take `?id=`, or a path's last segment, of a page that is about tickets by its name; on another page it is a lead's."""
    if not any("ticket" in segment.lower() for path in segments for segment in path):
        return set()
    by_id = {ticket for place in places for ticket in _in_query(place, ("id",))}
    return by_id or {ticket for path in segments if path and (ticket := _identifier(path[-1]))}
