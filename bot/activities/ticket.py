"""The grammar of a ticket reference: as a word of its own, or found in what people write. Pure."""

import contextlib
import re
from collections.abc import Iterator
from itertools import chain, pairwise
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from bot.leadsquared.address import host_allowed, is_loopback

_MARKS = "*_~`\"'"  # bold, italic, struck, code, quoted
OPENING = f"{_MARKS}([<\u2018\u201a\u201c\u201e\u00ab\u2039\u3010\u300c\u300e\uff08"
_CJK_STOPS = "\u2026\u3001\u3002\uff0c\uff1a\uff1b\uff01\uff1f"
# German closes with \u201c and \u2018.
_CLOSING_QUOTES = "\u2018\u2019\u201c\u201d\u00bb\u203a\u3011\u300d\u300f\uff09"
CLOSING = f"{_MARKS})]>{_CLOSING_QUOTES}.,:;!?{_CJK_STOPS}"
"""What people write around a ticket is the sentence's, and neither the ticket's nor the text's."""

INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e01ef"
)
"""As in a character class of a regular expression: what comes along when one copies from a page.

Fillers of Hangul, an empty pattern of Braille and selectors are among them: they look like nothing.
"""

_WIDE = {0xFF00 + ord(plain) - ord(" "): plain for plain in "0123456789#"}
_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_NUMBER = re.compile(r"#?([1-9][0-9]{0,18})")
_LIKE_A_NUMBER = re.compile(r"[#+-]?[\d.,]*\d")
_LIKE_A_GUID = re.compile(r"\{?[0-9a-fA-F-]{25,60}\}?")
_LONGEST_NUMBER = 19  # digits of the highest number that LeadSquared's 64 bits hold
_GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
# Searched for in texts of any length: nothing in these is repeated without a bound where it could
# be tried at each place.
_ADDRESS = re.compile(
    rf"(?<![A-Za-z0-9])https?://[^\s<>|(){_CJK_STOPS}\u201c\u201d\u300d\u300f\u3011]+",
    re.IGNORECASE,
)
_KEY = re.compile(r"(?<![\w#&/])#([1-9][0-9]{0,18})(?![\w#]|[.,][0-9])")
_NAMED = re.compile(
    r"\bticket(s?)(?:\s{0,3}(?:number|no\.?|id|key|nr\.?|#))?"
    r"\*{0,2}\s{0,3}[:=\u2013-]?\*{0,2}\s{0,3}[(\[\"'*`\u2018\u201c]?"
    r"(?:(?:#\s{0,3})?([1-9][0-9]{0,18})(?![\w#-]|[.,:][0-9])"
    r"|\{?([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\}?(?![\w-]))",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"(?:[0-9]|\b(?:two|three|four|five|six|seven|eight|nine|ten|both|several|some|many|few))"
    r"\s{1,3}(?:[^\W\d]{1,20}\s{1,3})?$",  # a word may stand between, as in "2 open tickets"
    re.IGNORECASE,
)
_ONE = re.compile(r"\b(?:1|one)\s{1,3}$", re.IGNORECASE)
_LEADSQUARED = ("leadsquared.com", "*.leadsquared.com")
_ID_PARAMETERS = ("ticketid", "ticket_id", "ticket")
_ID_FOLDERS = ("ticket", "tickets")


class MalformedTicketError(ValueError):
    """The word is no ticket reference; the message says why.

    `number`: it is a number that no ticket has.
    """

    def __init__(self, why: str, *, number: bool = False) -> None:
        super().__init__(why)
        self.number = number


def visible(text: str) -> str:
    """Return a text without invisible characters, and with plain digits for full-width ones."""
    return _INVISIBLE.sub("", text).translate(_WIDE)


def parse_ticket(word: str, link_hosts: tuple[str, ...] = ("*.leadsquared.com",)) -> str:
    """Return the ticket's id from `143`, `#143`, a GUID, or a link; raise MalformedTicketError.

    The result is a number without leading zeros, or a GUID in lower case: nothing that could
    climb a path.
    """
    bare = _bare(visible(word))
    if "://" in bare:
        return _from_link(bare, link_hosts)
    ticket = _identifier(bare)
    if ticket is not None:
        return ticket
    if _LIKE_A_NUMBER.fullmatch(bare):
        raise MalformedTicketError(_why_no_number(bare), number=True)
    raise MalformedTicketError(_why_nothing(bare))


def _why_no_number(bare: str) -> str:
    digits = bare.removeprefix("#")
    if not (digits.isascii() and digits.isdigit()):
        return "enter only the digits 0 to 9"
    if not digits.strip("0"):
        return "ticket numbers start at 1"
    if digits.startswith("0"):
        return "ticket numbers don't start with 0"
    return f"ticket numbers have at most {_LONGEST_NUMBER} digits"


def _why_nothing(bare: str) -> str:
    if _LIKE_A_GUID.fullmatch(bare):
        return (
            "a GUID has 8, 4, 4, 4 and 12 characters with hyphens between, and both braces or none"
        )
    if any(character.isdecimal() for character in bare):
        return "it has more in it than a number"
    return "it is not a number, a GUID or a link"


def find_ticket(text: str, link_hosts: tuple[str, ...] = ("*.leadsquared.com",)) -> str | None:
    """Return the ticket that a text names: the first link or "ticket 143", else the first `#143`.

    A suggestion for a person to look at, not a reading to act on.
    """
    seen = visible(text)
    found: list[tuple[int, str]] = []
    for address in _ADDRESS.finditer(seen):
        with contextlib.suppress(MalformedTicketError):
            found.append((address.start(), parse_ticket(address[0], link_hosts)))
    # An address is read as one, or not at all: its #143 is a place on a page.
    words = _ADDRESS.sub(lambda address: " " * len(address[0]), seen)
    called = [named for named in _NAMED.finditer(words) if not _counts(named)]
    found += [(named.start(), named[2] or named[3].lower()) for named in called]
    found = found or [(key.start(), key[1]) for key in _KEY.finditer(words)]
    return min(found)[1] if found else None


def _counts(named: re.Match[str]) -> bool:
    """Say whether "2 tickets 3 people" is meant: how many, and not which."""
    before = named.string[max(0, named.start() - 40) : named.start()]
    return bool((_COUNTED if named[1] else _ONE).search(before))


def _bare(word: str) -> str:
    """Return a word without what people write around it; the dots of a path are its own."""
    opened = word.lstrip(OPENING)
    bare = opened.rstrip(CLOSING)
    return opened if bare.endswith("/") and opened[len(bare) :].startswith(".") else bare


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
        raise _refused("cannot be read") from None
    if not (is_loopback(host) or host_allowed(host, (*link_hosts, *_LEADSQUARED))):
        raise _refused("does not lead to LeadSquared")
    paths = ([segment for segment in place.path.split("/") if segment] for place in places)
    segments = [[visible(unquote(segment)) for segment in path] for path in paths]
    dots = [segment for path in segments for segment in path if segment in (".", "..")]
    if dots:
        raise _refused(f"has “{dots[0]}” in its path")
    named = {
        *chain.from_iterable(map(_in_query, places)),
        *chain.from_iterable(map(_after_folder, segments)),
    }
    found = named or _last_resort(places, segments)
    if len(found) > 1:
        raise _refused("names more than one ticket")
    if not found:
        raise MalformedTicketError(
            "that link has no ticket in it; open the ticket and copy its page's address, "
            "or give its number",
        )
    return found.pop()


def _refused(why: str) -> MalformedTicketError:
    return MalformedTicketError(f"that link {why}; give the ticket's number instead")


def _in_query(place: SplitResult, names: tuple[str, ...] = _ID_PARAMETERS) -> Iterator[str]:
    for name, value in parse_qsl(place.query):
        if name.lower() in names and (ticket := _identifier(visible(value))):
            yield ticket


def _after_folder(segments: list[str]) -> Iterator[str]:
    for before, after in pairwise(segments):
        if before.lower() in _ID_FOLDERS and (ticket := _identifier(after)):
            yield ticket


def _last_resort(places: list[SplitResult], segments: list[list[str]]) -> set[str]:
    """Take `?id=`, or a path's last segment, of a page that is about tickets by its name.

    On another page it is a lead's.
    """
    if not any("ticket" in segment.lower() for path in segments for segment in path):
        return set()
    by_id = {ticket for place in places for ticket in _in_query(place, ("id",))}
    return by_id or {ticket for path in segments if path and (ticket := _identifier(path[-1]))}
