"""What became of one call: a value for each thing that can be known.

`reason` is a few technical words for the log, such as "dns" or "status 401". It never quotes
LeadSquared, whose message may hold a customer's words.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Problem(StrEnum):
    """Why an activity is not known to be on its ticket. Each has its own words and its own fix."""

    # Surely not recorded: LeadSquared said no.
    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    FAILED = "failed"
    # Surely not recorded: it never got there.
    TLS = "tls"
    ADDRESS_REFUSED = "address_refused"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate_limited"
    TENANT_REMOVED = "tenant_removed"
    ACCOUNT_CHANGED = "account_changed"
    UNDECIPHERABLE = "undecipherable"
    STOPPED = "stopped"
    # It may or may not be there.
    NO_ANSWER = "no_answer"
    DROPPED = "dropped"
    SERVER_ERROR = "server_error"
    UNREADABLE = "unreadable"
    REDIRECTED = "redirected"
    INTERRUPTED = "interrupted"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class Recorded:
    """LeadSquared said Success and gave the activity's Id."""

    activity_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """Surely not recorded, and repeating the same call would not help.

    `message` is what LeadSquared says, if anything.
    """

    problem: Problem
    message: str | None = None
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Surely not recorded: over the tenant's limit.

    `retry_after` in seconds, when the answer named one.
    """

    retry_after: float | None = None
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class NotSent:
    """Surely not recorded: the connection to `host` was never made."""

    host: str
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class NotBegun:
    """Surely not recorded: its beginning was not committed in time, or the claim had ended.

    Nothing was sent.
    """


@dataclass(frozen=True, slots=True)
class Undecipherable:
    """Surely not recorded: no secret of today's decrypts the text, or the tenant's keys."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request went out and no answer that can be relied on came back."""

    problem: Problem
    message: str | None = None
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One entry of a ticket's conversations."""

    id: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CannotRead:
    """LeadSquared did not show a ticket's conversations, or not all of them."""

    reason: str


class TicketForm(StrEnum):
    """Where a ticket's number stands in its address.

    The documentation prints no place for it: both are guesses.
    """

    PATH = "path"
    QUERY = "query"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What LeadSquared shows of a ticket. A title is a customer's words."""

    id: str
    title: str = field(repr=False)
    status: str | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the status is the very word that names it."""
        return (self.status or "").casefold() == "closed"


@dataclass(frozen=True, slots=True)
class NoTicket:
    """LeadSquared shows nothing under a ticket's address: a 404.

    Its documentation says that the address is wrong then. So it says something of the ticket only
    where the same address has shown another ticket.
    """

    id: str


Outcome = Recorded | Rejected | RateLimited | NotSent | NotBegun | Undecipherable | Unknown
