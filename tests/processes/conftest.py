"""Fixtures of the tests that start programs."""

from collections.abc import AsyncIterator

import pytest

from bot.activities.acceptance import Acceptance
from bot.activities.outbox import Outbox
from bot.database.writer import Database
from bot.leadsquared.tenant import Tenant
from bot.playground.leadsquared import LeadSquaredStandIn
from bot.tenants.directory import Directory, Scope
from support.accepting import KEYRING, Web
from support.running import ACCOUNT, TEAM, spelt_for_sqlalchemy


@pytest.fixture
async def web(url: str, leadsquared: LeadSquaredStandIn) -> AsyncIterator[Web]:
    """The accepting side, with a tenant mapped: what another process would be."""
    accepting = Database(spelt_for_sqlalchemy(url))
    directory = Directory(accepting, KEYRING)
    await directory.add(
        Tenant("acme", leadsquared.url, ACCOUNT.org_id, ACCOUNT.access_key, ACCOUNT.secret_key)
    )
    await directory.map("acme", Scope(team_id=TEAM))
    yield Web(Acceptance(accepting, KEYRING), Outbox(accepting, KEYRING, lease=30))
    await accepting.close()


@pytest.fixture
def variables(environment: dict[str, str], url: str) -> dict[str, str]:
    own = {
        name: value
        for name, value in environment.items()
        if name.startswith(("SLACK_", "ENCRYPTION", "LOG"))
    }
    return own | {"DATABASE_URL": url, "POLL_INTERVAL": "0.2"}
