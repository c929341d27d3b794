"""The window of calls that LeadSquared allows an account: each attempt holds a slot of it."""

from dataclasses import dataclass

from sqlalchemy.engine import Connection

from bot.database.statement import Statement
from bot.encryption import Keyring, UndecipherableError
from bot.leadsquared.outcome import Problem
from bot.leadsquared.tenant import Tenant
from bot.tenants.directory import read_tenant

_LOCK_ACCOUNT = Statement(
    "A tenant and its account. One process at a time counts an account's window: another one passes"
    " the locked row by and comes back.",
    """
    SELECT tenants.*, accounts.resume_at, bot_now() AS now
    FROM tenants JOIN accounts ON accounts.id = tenants.account_id
    WHERE tenants.id = :tenant_id
    FOR UPDATE OF accounts SKIP LOCKED
    """,
    index=("pk_tenants", "pk_accounts"),
)
_TENANT = Statement(
    "Whether there is a tenant, locked or not.",
    "SELECT id FROM tenants WHERE id = :tenant_id",
    index=("pk_tenants",),
)
_USED_SLOTS = Statement(
    "How many slots of an account's window are in use, and when the first of them is free again.",
    """
    SELECT count(*) AS number, min(occupied_until) AS first_free_at
    FROM attempts
    WHERE account_id = :account_id AND occupied_until > :moment
    """,
    index=("ix_attempts_window",),
)


@dataclass(frozen=True, slots=True)
class Window:
    """A tenant whose account this transaction has locked, at that moment.

    `free`: how many calls may begin; `free_at`: when the next slot is free. `has_keys`: the
    tenant's keys could be decrypted; they are empty otherwise.
    """

    tenant: Tenant
    has_keys: bool
    at: float
    free: int
    free_at: float | None


def lock_window(
    connection: Connection, tenant_id: int, keyring: Keyring
) -> Window | Problem | None:
    """Lock a tenant's account and count its slots.

    Returns None when another process holds it; a Problem when the tenant is gone.
    """
    row = _LOCK_ACCOUNT.one(connection, tenant_id=tenant_id)
    if row is None:
        gone = _TENANT.one(connection, tenant_id=tenant_id) is None
        return Problem.TENANT_REMOVED if gone else None
    try:
        tenant, has_keys = read_tenant(row, keyring), True
    except UndecipherableError:
        tenant, has_keys = read_tenant(row, None), False
    moment, resume_at = row["now"], row["resume_at"]
    if resume_at is not None and resume_at > moment:
        return Window(tenant, has_keys, moment, 0, resume_at)
    used = _USED_SLOTS.all(connection, account_id=tenant.account_id, moment=moment)[0]
    return Window(
        tenant,
        has_keys,
        moment,
        max(tenant.calls_per_window - used["number"], 0),
        used["first_free_at"],
    )


_END_ATTEMPT = Statement(
    "An attempt was answered `ago` seconds ago, and holds its slot for `occupied_for` after that.",
    """
    UPDATE attempts
    SET answered_at = bot_now() - :ago, occupied_until = bot_now() - :ago + :occupied_for,
        outcome = :outcome
    WHERE delivery_seq = :seq AND number = :number
    """,
    index=("pk_attempts",),
)


def end_attempt(
    connection: Connection,
    seq: int,
    number: int,
    outcome: str,
    *,
    ago: float = 0.0,
    occupied_for: float,
) -> None:
    """Write down how an attempt ended, and until when it still holds its slot."""
    _END_ATTEMPT.run(
        connection, seq=seq, number=number, outcome=outcome, ago=ago, occupied_for=occupied_for
    )
