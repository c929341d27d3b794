"""Where a tenant's API may be: https on an allowed host, or this machine."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import httpx

from bot.leadsquared.outcome import TicketForm

DOCUMENTED_HOST = "apigw.service-in.leadsquared.com"
"""The one API host in LeadSquared's documentation. An account may have another."""

_PORTS = range(1, 65536)
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")


class InvalidAddressError(ValueError):
    """The address cannot be used; the message says why and what would do."""


class HostNotAllowedError(InvalidAddressError):
    """The host is none of the allowed ones."""

    def __init__(self, host: str, allowed_hosts: tuple[str, ...]) -> None:
        super().__init__(
            f"the host {host} is not among LEADSQUARED_ALLOWED_HOSTS "
            f"({', '.join(allowed_hosts)}); "
            "check the host with your LeadSquared account manager, or add it there"
        )
        self.host = host


@dataclass(frozen=True, slots=True)
class Address:
    """A checked base address: scheme, host and port, without a trailing slash."""

    url: str
    host: str

    def portal_activity(self, org_id: str, ticket_id: str) -> str:
        """Return the percent-encoded address of "Add Portal Activities to Tickets"."""
        tenant, ticket = _segment(org_id), _segment(ticket_id)
        return f"{self.url}/api/tenants/{tenant}/ticket/{ticket}/portal/activity"

    def conversations(self, org_id: str) -> str:
        """Return the address of the filter over tickets' conversations."""
        return f"{self.url}/api/tenants/{_segment(org_id)}/conversation/filter"

    def ticket(self, org_id: str, ticket_id: str, form: TicketForm) -> str:
        """Return the address of a ticket, in one of the forms that it may have."""
        tickets = f"{self.url}/api/tenants/{_segment(org_id)}/tickets"
        if form is TicketForm.PATH:
            return f"{tickets}/{_segment(ticket_id)}"
        return f"{tickets}?{urlencode({'ticketId': ticket_id})}"


def _segment(text: str) -> str:
    """Percent-encode one segment of a path.

    A segment of dots only would climb the path, encoded or not. So its dots are encoded too.
    """
    encoded = quote(text, safe="")
    return encoded if encoded.strip(".") else encoded.replace(".", "%2E")


def api_host(api_url: str) -> str:
    """Return the host that an API address names, with its port where that is not the scheme's own.

    With the org ID it names an account, so it never raises: an address that cannot be read names
    itself.
    """
    try:
        url = httpx.URL(api_url.strip())
        host = url.host.lower().removesuffix(".")
    except (httpx.InvalidURL, ValueError):
        return api_url
    return host if url.port is None else f"{host}:{url.port}"


def parse_address(text: str, allowed_hosts: tuple[str, ...]) -> Address:
    """Check a tenant's API address, or raise InvalidAddressError.

    The host is taken from the very parser that later sends the request, so no second reading of it
    can differ.
    """
    try:
        url = httpx.URL(text.strip())
        host = url.host.lower().removesuffix(".")
    except (httpx.InvalidURL, ValueError):
        raise InvalidAddressError(
            "is not an address; write it like https://apigw.service-in.leadsquared.com"
        ) from None
    if url.scheme not in ("https", "http") or not host:
        raise InvalidAddressError(
            "must start with https://, like https://apigw.service-in.leadsquared.com"
        )
    if url.userinfo or url.query or url.fragment:
        raise InvalidAddressError(
            "must hold a host only, without a user name, a query or a fragment"
        )
    if url.path.rstrip("/") not in ("", "/api", "/api/tenants"):
        raise InvalidAddressError("must end after the host: the bot adds /api/tenants/… itself")
    if url.port is not None and url.port not in _PORTS:
        raise InvalidAddressError("has a port that does not exist")
    if not is_loopback(host):
        if url.scheme != "https":
            raise InvalidAddressError("must be https (plain http is for this machine only)")
        if not host_allowed(host, allowed_hosts):
            raise HostNotAllowedError(host, allowed_hosts)
    return Address(str(url.copy_with(raw_path=b"/", fragment=None)).rstrip("/"), host)


def parse_typed_address(text: str, allowed_hosts: tuple[str, ...]) -> Address:
    """Check an address that a person in Slack typed, where https:// may be left out.

    Unlike the operator, such a person reaches this machine only where the operator allows it by
    name: there may be servers on it that trust it.
    """
    typed = text.strip()
    address = parse_address(typed if "://" in typed else f"https://{typed}", allowed_hosts)
    if not host_allowed(address.host, allowed_hosts):
        raise HostNotAllowedError(address.host, allowed_hosts)
    return address


def parse_host_pattern(text: str) -> str:
    """Return an exact host name or `*.domain` in lower case, or raise ValueError."""
    pattern = text.strip().lower().rstrip(".")
    if not (
        _NAME.fullmatch(pattern.removeprefix("*.")) or _is_address(pattern.strip("[]"))
    ) or pattern.count("[") != pattern.count("]"):
        raise ValueError(
            f"{text.strip()!r} is not a host name or a pattern such as *.leadsquared.com"
        )
    return pattern


def host_allowed(host: str, allowed_hosts: tuple[str, ...]) -> bool:
    """Say whether a host is one of the patterns.

    `*.x.com` means any host below x.com, not x.com itself.
    """
    host = host.lower().removesuffix(".")
    if not (_NAME.fullmatch(host) or _is_address(host)):
        return False  # no name that DNS could resolve
    return any(
        host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
        for pattern in allowed_hosts
    )


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine by its name alone, without a lookup."""
    host = host.strip("[]")
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
