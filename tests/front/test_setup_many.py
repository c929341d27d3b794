"""Connecting LeadSquared inside Slack in several workspaces, alone and in an organisation."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from bot.database.tables import accounts, tenants, workspaces
from bot.playground.leadsquared import LeadSquaredStandIn
from bot.playground.slack import SlackStandIn
from support.many import CORP, GRID, SECOND, SISTER, Team, serving_many
from support.many import workspaces as four_workspaces
from support.running import ACCOUNT, Bot, Start


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandIn]:
    async with SlackStandIn(*four_workspaces()) as stand_in:
        yield stand_in


@pytest.fixture
def environment(environment: dict[str, str], url: str) -> dict[str, str]:
    return serving_many(environment, url) | {
        "LEADSQUARED_ALLOWED_HOSTS": "127.0.0.1",
        "LEADSQUARED_READ_TIMEOUT": "5",
    }


async def connect(team: Team, place: str = "workspace") -> str:
    """Connect a workspace as its admin, inside Slack; return all that the admin saw."""
    slack, person = team.bot.slack, team.person
    team.workspace.people[person] = replace(team.workspace.people[person], is_admin=True)
    open_before = len(slack.modals.open)
    assert await team.type("setup") is None
    await slack.until(
        lambda: len(slack.modals.open) > open_before and "Org ID" in str(slack.modals.open[-1])
    )
    form = slack.modals.open[-1]
    seen = json.dumps(form)
    entered = {
        "place": place,
        "other_api_host": team.bot.leadsquared.url,
        "org_id": ACCOUNT.org_id,
        "access_key": ACCOUNT.access_key,
        "secret_key": ACCOUNT.secret_key,
    }
    answer = await slack.submit(form, entered, person=person)
    return seen + json.dumps(answer, ensure_ascii=False)


async def count(bot: Bot, table: sa.Table) -> int:
    statement = sa.select(sa.func.count()).select_from(table)
    return await bot.parts.database.run(
        lambda connection: connection.execute(statement).scalar_one()
    )


async def test_workspaces_with_one_account_share_its_limit_and_see_nothing_of_each_other(
    start: Start, environment: dict[str, str], leadsquared: LeadSquaredStandIn
) -> None:
    async with start(environment) as bot, start(environment) as other:
        teams = [Team(bot, team_id) for team_id in (SECOND, GRID, SISTER)]
        for team in teams[:2]:
            assert (await team.install()).status == 200
        assert (await teams[2].install(of=CORP)).status == 200
        for team in teams:
            seen = await connect(team)
            assert "✅ The whole workspace is connected to LeadSquared org 22824" in seen
            assert not [one.team_id for one in teams if one is not team and one.team_id in seen]
        assert await count(bot, accounts) == 1
        assert await count(bot, tenants) == await count(bot, workspaces) == 3
        for team in teams:
            assert "Recorded" in (await team.records(f"of {team.team_id}")).text
        recorded = [(one.org_id, one.text) for one in leadsquared.ledger.activities]
        assert sorted(recorded) == sorted((ACCOUNT.org_id, f"of {one.team_id}") for one in teams)
        # What one process has connected, another one serves at once.
        bot.slack.request_url = f"{other.url}/slack/events"
        assert "Recorded" in (await teams[0].records("by the other process")).text


async def test_nothing_is_connected_in_a_workspace_that_removed_the_bot(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment) as bot:
        team = Team(bot, SECOND)
        assert (await team.install()).status == 200
        await connect(team)
        await bot.slack.uninstall(SECOND)
        said = await team.type("setup")
        assert said is not None
        assert "no longer installed in this workspace" in said.text
