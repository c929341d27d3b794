"""A LeadSquared tenant, as the bot needs it to make a call."""

from dataclasses import dataclass, field

ENVIRONMENT = "environment"
"""The name of the tenant that LEADSQUARED_* in the environment describe."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One LeadSquared account. `calls_per_window` calls may be made in any 5 seconds."""

    name: str
    api_url: str
    org_id: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    calls_per_window: int = 25
    id: int | None = None
