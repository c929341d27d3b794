"""Which hosts are allowed, by their names alone."""

import ipaddress
import re

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")


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
        return False  # no name that could be looked up, whatever it ends with
    return any(
        host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern
        for pattern in allowed_hosts
    )


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine by its very name (no look-up is made)."""
    host = host.strip("[]")
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
