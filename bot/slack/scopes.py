"""The bot token's scopes. manifest.yml asks for the same, and says what each serves."""

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
)
"""A test holds the two lists together."""
