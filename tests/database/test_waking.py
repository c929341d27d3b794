"""Acceptance wakes who must act: the worker for a new delivery, the teller for a decision."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from bot.activities.acceptance import Acceptance, Accepted, Double, NotDone, Refused, Unmapped
from bot.activities.delivery import Delivery, State, Submission
from bot.database.tables import deliveries
from bot.database.writer import Database
from bot.encryption import Keyring
from bot.leadsquared.tenant import Tenant
from bot.tenants.directory import Directory, Scope
from support.running import ENCRYPTION_KEY, TEAM, spelt_for_sqlalchemy


@dataclass
class Office:
    """An acceptance, and whom it has woken: tenants' numbers, and "decided"."""

    acceptance: Acceptance
    database: Database
    tenant_id: int
    woken: list[int | str] = field(default_factory=list)

    async def accept(
        self, key: str, ticket: str = "143", team: str = TEAM
    ) -> Accepted | NotDone | Double:
        return await self.acceptance.accept(submission(key, ticket, team))

    async def settled(self, key: str, state: State) -> Delivery:
        """Accept one and settle it; forget who was woken for that."""
        accepted = await self.accept(key, ticket=str(len(key)))
        assert isinstance(accepted, Accepted)
        settle = sa.update(deliveries).where(deliveries.c.id == accepted.id).values(state=state)
        await self.database.run(lambda connection: connection.execute(settle))
        found = await self.acceptance.find(TEAM, accepted.id)
        assert found is not None
        self.woken.clear()
        return found


def submission(key: str, ticket: str = "143", team: str = TEAM) -> Submission:
    return Submission(None, team, "C0SUPPORT", "U0ANNA", key=key, ticket_id=ticket, text="hello")


@pytest.fixture
async def office(url: str) -> AsyncIterator[Office]:
    database, keyring = Database(spelt_for_sqlalchemy(url)), Keyring([ENCRYPTION_KEY])
    directory = Directory(database, keyring)
    await directory.add(Tenant("acme", "https://api.leadsquared.com", "22824", "access", "secret"))
    await directory.map("acme", Scope(team_id=TEAM))
    tenant_id = (await directory.get("acme", keys=False)).id
    assert tenant_id is not None
    woken: list[int | str] = []
    acceptance = Acceptance(
        database, keyring, on_accepted=woken.append, on_decided=lambda _: woken.append("decided")
    )
    yield Office(acceptance, database, tenant_id, woken)
    await database.close()


async def test_an_acceptance_wakes_the_worker_for_its_tenant(office: Office) -> None:
    assert isinstance(await office.accept("first"), Accepted)
    assert office.woken == [office.tenant_id]


async def test_an_acceptance_that_the_database_repeated_wakes_as_well(office: Office) -> None:
    await office.accept("first")
    office.woken.clear()
    again = await office.accept("first")
    assert isinstance(again, Accepted)
    assert again.again
    assert office.woken == [office.tenant_id], "it may be the first that anybody hears of it"


async def test_what_was_not_stored_wakes_nobody(office: Office) -> None:
    await office.accept("first")
    office.woken.clear()
    assert isinstance(await office.accept("second"), Double)
    assert isinstance(await office.accept("third", team="T0NOBODY"), Unmapped)
    assert office.woken == []


async def test_sending_again_wakes_both_and_only_once(office: Office) -> None:
    old = await office.settled("first", State.REJECTED)
    assert isinstance(await office.acceptance.send_again(old, submission("again")), Accepted)
    assert office.woken == [office.tenant_id, "decided"]
    edited = await office.acceptance.send_edited(old, submission("edited", "144"))
    assert isinstance(edited, Refused)
    assert office.woken == [office.tenant_id, "decided"]


async def test_sending_edited_wakes_both(office: Office) -> None:
    old = await office.settled("first", State.REJECTED)
    assert isinstance(
        await office.acceptance.send_edited(old, submission("edited", "144")), Accepted
    )
    assert office.woken == [office.tenant_id, "decided"]


async def test_confirming_wakes_the_teller_once(office: Office) -> None:
    old = await office.settled("first", State.UNKNOWN)
    assert isinstance(await office.acceptance.confirm(TEAM, old, "U0ANNA"), Delivery)
    assert isinstance(await office.acceptance.confirm(TEAM, old, "U0ANNA"), Refused)
    assert office.woken == ["decided"]
