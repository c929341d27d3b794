"""The window of calls that LeadSquared allows an account: each attempt holds a slot of it."""

from dataclasses import dataclass

from sqlalchemy.engine import Connection

from bot.activities.policy import WINDOW
from bot.database.statement import Statement
from bot.encryption import Keyring, UndecipherableError
from bot.leadsquared.outcome import Problem
from bot.leadsquared.tenant import Tenant
from bot.tenants.directory import read_tenant

KEPT_FOR_ACTIVITIES = 5
"""A read leaves a fifth of a window free: 5 of 25 calls."""

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


_FORGET_READS = Statement(
    "An account's reads that hold no slot any more.",
    "DELETE FROM attempts WHERE delivery_seq = :seq AND occupied_until < bot_now()",
    index=("pk_attempts",),
)
_BEGIN_READ = Statement(
    "A read of an account holds a slot for `seconds`, and a window longer.",
    f"""
    INSERT INTO attempts (delivery_seq, number, account_id, started_at, occupied_until)
    SELECT :seq, COALESCE(max(number), 0) + 1, :account_id, bot_now(),
        bot_now() + :seconds + {WINDOW}
    FROM attempts WHERE delivery_seq = :seq
    """,
    index=("pk_attempts",),
)


def begin_read(connection: Connection, window: Window, *, lasts: float) -> bool:
    """Take a slot for a call that only reads, and takes so many seconds at most.

    False where few are free: what is to be recorded goes first. A read belongs to no delivery; in
    its row the account's number, negative, stands for one.
    """
    if window.free <= window.tenant.calls_per_window // KEPT_FOR_ACTIVITIES:
        return False
    account_id = window.tenant.account_id or 0
    _FORGET_READS.run(connection, seq=-account_id)
    _BEGIN_READ.run(connection, seq=-account_id, account_id=account_id, seconds=lasts)
    return True


_HOLD = Statement(
    "No call of an account begins before a moment, or before a later one that was set already.",
    """
    UPDATE accounts SET resume_at = CASE WHEN resume_at > :until THEN resume_at ELSE :until END
    WHERE id = :account_id
    """,
    index=("pk_accounts",),
)


def hold(connection: Connection, account_id: int, until: float) -> None:
    """Let no call of an account begin before then."""
    _HOLD.run(connection, account_id=account_id, until=until)


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
