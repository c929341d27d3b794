"""App Home in several workspaces: each shows its own, by its own token, while it is installed."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bot.installations.access import Access, Ended, Granted
from bot.playground.slack import SlackStandIn
from bot.playground.workspace import Person
from support.many import CORP, GRID, SECOND, Team, serving_many, workspaces
from support.running import Bot


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandIn]:
    async with SlackStandIn(*workspaces()) as stand_in:
        yield stand_in


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return serving_many(environment)


@pytest.fixture
async def second(bot: Bot) -> Team:
    team = Team(bot, SECOND)
    await team.joins()
    return team


@pytest.fixture
async def grid(bot: Bot) -> Team:
    """A workspace that an organisation-wide installation serves."""
    team = Team(bot, GRID)
    assert (await team.install(of=CORP)).status == 200
    await team.connect()
    return team


async def open_home(team: Team, person: str) -> None:
    answer = await team.bot.slack.event(
        "app_home_opened",
        team_id=team.team_id,
        enterprise_id=team.workspace.enterprise_id,
        user=person,
        tab="home",
    )
    assert answer == {}


async def opened(team: Team, person: str | None = None) -> str:
    """Open App Home in a workspace; return what it shows."""
    homes, person = team.bot.slack.homes, person or team.person
    homes.pop(person, None)
    await open_home(team, person)
    await team.bot.slack.until(lambda: person in homes)
    return str(homes[person]["blocks"])


def published(team: Team) -> int:
    return team.calls().count("views.publish")


async def test_each_workspaces_page_shows_its_own(bot: Bot, second: Team, grid: Team) -> None:
    await grid.records("of the organisation")
    await second.records("of the other")
    first, other = await opened(grid), await opened(second)

    assert "of the organisation" in first
    assert "of the other" not in first
    assert "of the other" in other
    assert "of the organisation" not in other
    assert "org 702" in first
    assert "org 701" in other


async def test_a_person_of_two_workspaces_reads_what_is_of_the_opened_one(
    bot: Bot, second: Team, grid: Team
) -> None:
    await grid.records("secret of the organisation")
    person = grid.person
    second.workspace.people[person] = Person(person, "Grid", SECOND)
    assert "secret" not in await opened(second, person)
    assert "secret" in await opened(grid)


async def test_it_is_published_again_by_an_organisations_token(bot: Bot, grid: Team) -> None:
    await opened(grid)
    await grid.records("hello")
    await bot.slack.until(lambda: "Ticket 143: recorded" in str(bot.slack.homes[grid.person]))


async def test_nothing_is_published_after_the_end_of_an_installation(
    bot: Bot, second: Team
) -> None:
    await opened(second)
    before = published(second)
    await bot.slack.uninstall(SECOND)
    await until(second, Ended)
    await open_home(second, second.person)
    answer = await second.type("recent")
    assert answer is not None
    assert "no longer installed" in answer.text

    assert (await second.install()).status == 200
    await until(second, Granted)
    await opened(second)
    assert published(second) == before + 1


async def until(team: Team, access: type[Access]) -> None:
    async with asyncio.timeout(20):
        while not isinstance(team.bot.parts.installations.access(None, team.team_id), access):
            await asyncio.sleep(0.01)
