"""An account is an API host and an org ID.

Customers' words stay in theirs, and its rate limit is the account's.
"""

import asyncio

import pytest

from bot.leadsquared.address import api_host
from bot.leadsquared.tenant import Tenant
from bot.playground.leadsquared import Account, Behaviour, LeadSquaredStandIn
from bot.tenants.directory import Scope
from support.running import ACCOUNT, TEAM, Bot, Start

OTHER = Account("33333", "access-key-of-the-other", "secret-key-of-the-other")
OF_OTHER = {
    "LEADSQUARED_ORG_ID": OTHER.org_id,
    "LEADSQUARED_ACCESS_KEY": OTHER.access_key,
    "LEADSQUARED_SECRET_KEY": OTHER.secret_key,
}


@pytest.fixture
def on_database(
    environment: dict[str, str], url: str, leadsquared: LeadSquaredStandIn
) -> dict[str, str]:
    leadsquared.accounts[OTHER.org_id] = OTHER
    return environment | {"DATABASE_URL": url}


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://apigw.service-in.leadsquared.com", "apigw.service-in.leadsquared.com"),
        ("https://APIGW.service-in.leadsquared.com.:443/api/", "apigw.service-in.leadsquared.com"),
        (" http://127.0.0.1:8300 ", "127.0.0.1:8300"),
        ("http://[::1]:80", "::1"),
        ("http://host:port", "http://host:port"),
    ],
)
def test_an_account_is_named_by_its_host(address: str, host: str) -> None:
    assert api_host(address) == host


async def test_what_waits_for_an_account_is_not_sent_to_another_one_after_a_start(
    start: Start, on_database: dict[str, str], leadsquared: LeadSquaredStandIn
) -> None:
    async with start(on_database) as bot:
        bot.parts.worker.stop()
        for number in range(4):
            await bot.type(f"143 secret words {number}")

    async with start(on_database | OF_OTHER) as bot:
        await bot.answered(messages=4)
        await bot.at_rest()
        assert leadsquared.ledger.calls == []
        last = await bot.answered()
        assert "nothing was recorded on ticket 143" in last.text
        assert "another LeadSquared account" in last.text

        await bot.slack.click(last, "Send again", person="U0ANNA")
        await bot.answered(messages=5)
        await bot.at_rest()
    assert [call.org_id for call in leadsquared.ledger.calls] == [OTHER.org_id], (
        "after a person's decision only"
    )


async def test_what_waits_while_its_tenant_is_changed_is_not_sent_to_the_new_account(
    start: Start, on_database: dict[str, str], leadsquared: LeadSquaredStandIn
) -> None:
    leadsquared.tickets["143"] = Behaviour.RATE_LIMITED
    async with start(on_database) as bot:
        tenant = await own_tenant(bot, "acme", leadsquared, ACCOUNT)
        await bot.parts.directory.map("acme", Scope(team_id=TEAM))
        await bot.type("143 secret words")
        await bot.slack.until(lambda: len(leadsquared.ledger.calls) == 1)
        leadsquared.tickets["143"] = Behaviour.FINE
        await bot.parts.directory.replace(of(tenant, OTHER))
        await bot.at_rest()
        answer = await bot.answered()
    assert "another LeadSquared account" in answer.text
    assert [call.org_id for call in leadsquared.ledger.calls] == [ACCOUNT.org_id]


async def test_new_keys_for_the_same_account_send_what_waits(
    start: Start, on_database: dict[str, str], leadsquared: LeadSquaredStandIn
) -> None:
    async with start(on_database) as bot:
        bot.parts.worker.stop()
        await bot.type("143 hello")
    renewed = Account(ACCOUNT.org_id, "a-renewed-access-key", "a-renewed-secret-key")
    leadsquared.accounts[ACCOUNT.org_id] = renewed
    keys = {
        "LEADSQUARED_ACCESS_KEY": renewed.access_key,
        "LEADSQUARED_SECRET_KEY": renewed.secret_key,
    }
    async with start(on_database | keys) as bot:
        assert "Recorded" in (await bot.answered()).text
        await bot.at_rest()


async def test_the_same_words_for_another_account_are_no_double(
    start: Start, on_database: dict[str, str], leadsquared: LeadSquaredStandIn
) -> None:
    async with start(on_database) as bot:
        assert await bot.type("143 hello") is None
        await bot.answered()
        await bot.at_rest()
    async with start(on_database | OF_OTHER) as bot:
        assert await bot.type("143 hello") is None, "it is not asked about"
        await bot.answered(messages=2)
        await bot.at_rest()
    assert [call.org_id for call in leadsquared.ledger.calls] == [ACCOUNT.org_id, OTHER.org_id]


async def test_two_tenants_of_one_account_share_its_rate_limit(
    start: Start, on_database: dict[str, str], leadsquared: LeadSquaredStandIn
) -> None:
    async with start(on_database) as bot:
        for name, channel in (("one", "C0SUPPORT"), ("two", "C0OTHER")):
            await own_tenant(bot, name, leadsquared, ACCOUNT)
            await bot.parts.directory.map(name, Scope(team_id=TEAM, channel_id=channel))
        leadsquared.tickets |= {str(2000 + number): Behaviour.FINE for number in range(60)}
        await asyncio.gather(
            *(
                bot.type(f"{2000 + number} hello", channel=("C0SUPPORT", "C0OTHER")[number % 2])
                for number in range(60)
            )
        )
        await bot.slack.until(lambda: len(leadsquared.ledger.activities) == 60, within=40)
    assert {call.status for call in leadsquared.ledger.calls} == {200}, "none was over the limit"


async def own_tenant(
    bot: Bot, name: str, leadsquared: LeadSquaredStandIn, account: Account
) -> Tenant:
    tenant = of(Tenant(name, leadsquared.url, "", "", ""), account)
    await bot.parts.directory.add(tenant)
    return tenant


def of(tenant: Tenant, account: Account) -> Tenant:
    return Tenant(
        tenant.name, tenant.api_url, account.org_id, account.access_key, account.secret_key
    )
