"""What a person asked for, and the grammar of a ticket reference."""

import re
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from bot.leadsquared.address import host_allowed, is_loopback

_NUMBER = re.compile(r"#?([1-9][0-9]{0,18})")
_GUID = re.compile(r"\{?([0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})\}?")
_ID_PARAMETERS = ("ticketid", "ticket_id", "ticket", "id")
_ID_FOLDERS = ("ticket", "tickets", "ticketdetails", "details")


class MalformedTicketError(ValueError):
    """The word is no ticket reference; the message says what was wrong with it."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A portal activity that somebody asks to be recorded, from whichever surface.

    `key` is what names this very request once and for all (a trigger_id, say): the same key twice is one activity.
    `thread_ts` is where the answer goes; without one the bot posts an anchor message and answers in its thread.
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


def _identifier(word: str) -> str | None:
    if number := _NUMBER.fullmatch(word):
        return number[1]
    if guid := _GUID.fullmatch(word):
        return guid[1].lower()
    return None


def _from_link(link: str, link_hosts: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(link)
        host = (parts.hostname or "").lower()
    except ValueError:
        raise MalformedTicketError("that link cannot be read; give the ticket's number instead") from None
    if not (is_loopback(host) or host_allowed(host, (*link_hosts, "leadsquared.com", "*.leadsquared.com"))):
        raise MalformedTicketError("that link does not lead to LeadSquared; give the ticket's number instead")
    # A single-page application keeps its route, and that route's query, behind the #.
    for place in (parts, urlsplit(parts.fragment.removeprefix("!"))):
        if ticket := _from_query(place) or _from_path(place):
            return ticket
    raise MalformedTicketError(
        "that link names no ticket; open the ticket and copy its page's address, or give its number"
    )


def _from_query(place: SplitResult) -> str | None:
    values = {name.lower(): value for name, value in parse_qsl(place.query)}
    return next((ticket for name in _ID_PARAMETERS if (ticket := _identifier(values.get(name, "")))), None)


def _from_path(place: SplitResult) -> str | None:
    segments = [unquote(segment) for segment in place.path.split("/") if segment]
    named = [after for before, after in pairwise(segments) if before.lower() in _ID_FOLDERS]
    return next((ticket for segment in [*named, *segments[-1:]] if (ticket := _identifier(segment))), None)
