"""Fills a database with a history: settled deliveries, told long ago, their tenants, installations.

Fast, by the database itself.
"""

import time
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.encryption import Keyring

YEAR = 365 * 24 * 3600.0
RETENTION = 90 * 24 * 3600.0
TEXT, RESPONSE_URL = 240, 280
"""Bytes of an encrypted text of two lines, and of an encrypted response_url."""


@dataclass(frozen=True)
class History:
    """So many tenants with a mapping and an installation each, and a year's deliveries over all."""

    deliveries: int
    tenants: int


@dataclass(frozen=True)
class _Words:
    """What the two databases say differently."""

    insert: str  # {table}, {columns}, {count}, {row}
    hash: str  # 12 letters and digits, unlike any other's
    fingerprint: str
    blob: str


_SQLITE = _Words(
    "INSERT INTO {table} ({columns}) WITH RECURSIVE numbers(n) AS "
    "(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) SELECT {row} FROM numbers",
    "lower(hex(randomblob(6)))",
    "randomblob(16)",
    "zeroblob({size})",
)
_POSTGRESQL = _Words(
    "INSERT INTO {table} ({columns}) SELECT {row} FROM generate_series(1, {count}) AS numbers(n)",
    "substr(md5('id' || n), 1, 12)",
    "decode(md5('fingerprint' || n), 'hex')",
    "decode(repeat('00', {size}), 'hex')",
)


def team(tenant: int) -> str:
    """Return the workspace that is mapped to a tenant, by its number from 1.

    Each tenth's is an organisation instead.
    """
    return f"T0FILLED{tenant}"


def fill(connection: Connection, keyring: Keyring, history: History) -> None:
    """Write a history into the tables of an empty database, and gather PostgreSQL's statistics."""
    on_sqlite = connection.dialect.name == "sqlite"
    words = _SQLITE if on_sqlite else _POSTGRESQL
    values = {
        "now": time.time(),
        "keys": keyring.encrypt("a-key-of-the-measurement"),
    }

    def insert(table: str, count: int, row: dict[str, str]) -> None:
        if not count:
            return
        statement = words.insert.format(
            table=table, columns=", ".join(row), count=count, row=", ".join(row.values())
        )
        used = {name: value for name, value in values.items() if f":{name}" in statement}
        connection.execute(sa.text(statement), used)

    insert("accounts", history.tenants, {"api_host": "'127.0.0.1:9'", "org_id": "'1' || n"})
    insert("tenants", history.tenants, _tenant())
    insert("workspaces", history.tenants, _workspace())
    insert("installations", history.tenants, _installation())
    insert("oauth_states", history.tenants, {"digest": words.fingerprint, "expires_at": ":now + n"})
    insert("tenant_changes", history.tenants * 3, _tenant_change())
    insert("setup_people", history.tenants, _setup_person())
    insert("homes", history.tenants, _home())
    insert(
        "audit",
        history.tenants,
        {
            "at": f":now - {YEAR} * n / {history.tenants}",
            "team_id": "'T0FILLED' || n",
            "who": "'root'",
            "what": "'exported'",
            "detail": "''",
        },
    )
    insert("deliveries", history.deliveries, _delivery(words, history))
    insert("attempts", history.deliveries, _attempt(history))
    if not on_sqlite:
        # The server's own ANALYZE of so many new rows may hold the same lock for a while.
        connection.execute(sa.text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(sa.text("ANALYZE"))


def _tenant() -> dict[str, str]:
    return {
        "name": "'filled-' || n",
        "api_url": "'http://127.0.0.1:9'",
        "org_id": "'1' || n",
        "account_id": "n",
        "access_key": ":keys",
        "secret_key": ":keys",
        "calls_per_window": "25",
        "created_at": ":now",
        "updated_at": ":now",
    }


def _workspace() -> dict[str, str]:
    return {
        "team_id": "CASE WHEN n % 10 > 0 THEN 'T0FILLED' || n ELSE '' END",
        "enterprise_id": "CASE WHEN n % 10 > 0 THEN '' ELSE 'E0FILLED' || n END",
        "tenant_id": "n",
    }


def _installation() -> dict[str, str]:
    return {
        "installed_in": "CASE WHEN n % 10 > 0 THEN 'T0FILLED' || n ELSE 'E0FILLED' || n END",
        "name": "'Filled ' || n",
        "scopes": "'commands,chat:write'",
        "installed_at": ":now - 3600",
        "bot_token": ":keys",
        "changed_at": ":now - 3600 - n",
        # A fiftieth rotates its token.
        "refresh_token": "CASE WHEN n % 50 = 1 THEN :keys END",
        "expires_at": "CASE WHEN n % 50 = 1 THEN :now + 36000 + n END",
    }


def _tenant_change() -> dict[str, str]:
    # Three changes of each workspace.
    return {
        "team_id": "'T0FILLED' || ((n - 1) / 3 + 1)",
        "number": "(n - 1) % 3 + 1",
        "at": ":now - n",
        "user_id": "'U01'",
        "tenant_name": "'filled-' || ((n - 1) / 3 + 1)",
        "what": "'changed'",
        "detail": "'access key'",
    }


def _setup_person() -> dict[str, str]:
    return {
        "team_id": "'T0FILLED' || n",
        "user_id": "'U01'",
        "named_by": "'U02'",
        "named_at": ":now",
    }


def _home() -> dict[str, str]:
    return {
        "team_id": "'T0FILLED' || n",
        "user_id": "'U01'",
        "opened_at": ":now",
        "published_at": ":now",
    }


def _accepted_at(history: History) -> str:
    # The last one an hour ago.
    return (
        "CAST(:now AS DOUBLE PRECISION) - 3600 - "
        f"{YEAR} * ({history.deliveries} - n) / {history.deliveries}"
    )


def _delivery(words: _Words, history: History) -> dict[str, str]:
    accepted_at = _accepted_at(history)
    # A third came from messages, in threads of three.
    thread_ts = "CASE WHEN n % 3 = 0 THEN '17' || (10000000 + n / 9) || '.000100' END"
    return {
        "id": words.hash,
        "team_id": f"'T0FILLED' || (1 + n % {history.tenants})",
        "channel_id": "'C0' || (n % 5)",
        "user_id": "'U0' || (n % 7)",
        "key": "n || '.' || n || '.trigger'",
        "tenant_id": f"1 + n % {history.tenants}",
        "tenant_name": f"'filled-' || (1 + n % {history.tenants})",
        "account_id": f"1 + n % {history.tenants}",
        "ticket_id": f"'' || (100000 + n / {history.tenants} % 20)",
        "text": words.blob.format(size=TEXT),
        "response_url": words.blob.format(size=RESPONSE_URL),
        "thread_ts": thread_ts,
        "message_ts": "CASE WHEN n % 3 = 0 THEN '17' || (10000000 + n) || '.000100' END",
        "fingerprint": words.fingerprint,
        "state": "CASE WHEN n % 50 = 0 THEN 'rejected' WHEN n % 51 = 0 THEN 'unknown' "
        "ELSE 'recorded' END",
        "accepted_at": accepted_at,
        "due_at": accepted_at,
        "attempts": "1",
        "first_attempt_at": f"{accepted_at} + 0.01",
        "settled_at": f"{accepted_at} + 0.3",
        "activity_id": "CASE WHEN n % 50 > 0 AND n % 51 > 0 THEN '' || n END",
        "problem": "CASE WHEN n % 50 = 0 THEN 'refused' WHEN n % 51 = 0 THEN 'no_answer' END",
        # Half of what was rejected was sent again.
        "resolution": "CASE WHEN n % 100 = 0 THEN 'sent_again' END",
        "resolved_by": "CASE WHEN n % 100 = 0 THEN 'U0' || (n % 7) END",
        "resolved_at": f"CASE WHEN n % 100 = 0 THEN {accepted_at} + 60 END",
        "route": "'thread'",
        "anchor_ts": "CASE WHEN n % 3 > 0 THEN '17' || (10000000 + n) || '.000200' END",
        "anchor_mark": "CASE WHEN n % 3 > 0 THEN 'recorded' END",
        "replied_at": f"{accepted_at} + 0.5",
        "tell_attempts": "0",
        "erased_at": f"CASE WHEN {accepted_at} < CAST(:now AS DOUBLE PRECISION) - {RETENTION} "
        f"THEN {accepted_at} + {RETENTION} END",
    }


def _attempt(history: History) -> dict[str, str]:
    accepted_at = _accepted_at(history)
    return {
        "delivery_seq": "n",
        "number": "1",
        "account_id": f"1 + n % {history.tenants}",
        "started_at": f"{accepted_at} + 0.01",
        "answered_at": f"{accepted_at} + 0.3",
        "occupied_until": f"{accepted_at} + 5.3",
        "outcome": "'recorded'",
    }
