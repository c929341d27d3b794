"""A LeadSquared tenant, as the bot needs it to make a call."""

from dataclasses import dataclass, field
from enum import StrEnum

ENVIRONMENT = "environment"
"""The name of the tenant that LEADSQUARED_* in the environment describe."""

DEFAULT_LIMIT = 25
"""Calls in 5 seconds: LeadSquared's documented rate limit."""


class Attribution(StrEnum):
    """Who recorded an activity, as the last line of what LeadSquared gets."""

    NONE = "none"
    NAME = "name"
    NAME_AND_LINK = "name-and-link"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A name for a LeadSquared account, and the keys to it.

    `calls_per_window`: calls in any 5 seconds.

    `account_id` numbers the account: the API host and the org ID. Several tenants may name one
    account.

    `owner`: the ID of the workspace that made it in Slack; empty where the operator made it.

    `show_ticket`: the bot reads a ticket's title before it records on it.
    """

    name: str
    api_url: str
    org_id: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    calls_per_window: int = DEFAULT_LIMIT
    id: int | None = None
    account_id: int | None = None
    owner: str = ""
    attribution: Attribution = Attribution.NONE
    show_ticket: bool = False


def check_org_id(text: str) -> str:
    """Return an org ID, or raise ValueError: it becomes a part of a path."""
    if not (text.isascii() and text.isalnum()):
        raise ValueError(
            f"{text!r} is not an org ID; it is the number shown after login, such as 22824"
        )
    return text


def check_key(text: str) -> str:
    """Return a key, or raise ValueError without repeating it: it becomes a header."""
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("contains characters that no key has; copy it again")
    return text
