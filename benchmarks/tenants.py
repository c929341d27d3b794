"""LeadSquared accounts in the bot's database, each with a channel that leads to it."""

from collections.abc import Sequence

from benchmarks.burst import channel
from benchmarks.commands import TEAM
from benchmarks.leadsquared import account
from bot.database.schema import migrate_database
from bot.database.writer import Database
from bot.encryption import Keyring
from bot.leadsquared.tenant import Tenant
from bot.tenants.directory import Directory, Scope

ENCRYPTION_KEY = "an-encryption-secret-of-the-benchmark"


async def add_tenants(database_url: str, api_url: str, org_ids: Sequence[str], calls: int) -> None:
    """Create the tables and one tenant for each organisation; its channel is that of its place."""
    migrate_database(database_url)
    database = Database(database_url)
    directory = Directory(database, Keyring([ENCRYPTION_KEY]))
    for place, org_id in enumerate(org_ids):
        keys = account(org_id)
        tenant = Tenant(org_id, api_url, org_id, keys.access_key, keys.secret_key, calls)
        await directory.add(tenant)
        await directory.map(org_id, Scope(team_id=TEAM, channel_id=channel(place)))
    await database.close()
