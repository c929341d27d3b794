"""The bot token's scopes. manifest.yml asks for the same, and says what each serves."""

from collections.abc import Collection

SCOPES = (
    "commands",
    "chat:write",
    "chat:write.public",
    "users:read",
    "usergroups:read",
    "channels:read",
    "groups:read",
    "channels:history",
    "groups:history",
    "im:history",
    "mpim:history",
    "reactions:write",
)
"""A test holds the two lists together."""

OPTIONAL = frozenset({"reactions:write"})
"""What only a setting needs that is off at first: its absence is no fault."""


def missing(granted: Collection[str]) -> list[str]:
    """Return the scopes that the bot needs and a token has not."""
    return [scope for scope in SCOPES if scope not in granted and scope not in OPTIONAL]
