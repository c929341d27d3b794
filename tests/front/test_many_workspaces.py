"""Several workspaces on one bot at the same time: nothing of theirs is mixed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from bot.installations.access import Ended, Granted
from bot.playground.leadsquared import LeadSquaredStandIn
from bot.playground.slack import BOT_TOKEN, SlackStandIn
from bot.playground.workspace import Channel, Person, Workspace
from support.many import CORP, GRID, HOME, SECOND, SISTER, Team, account, serving_many, workspaces
from support.running import Bot, running

CROWD = 60


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandIn]:
    async with SlackStandIn(*workspaces()) as stand_in:
        yield stand_in


@pytest.fixture
def environment(environment: dict[str, str], url: str) -> dict[str, str]:
    return serving_many(environment, url)


async def busy(team: Team, number: int = 8) -> None:
    """Record some things, all at once."""
    texts = [f"{143 + each % 3} of {team.team_id}, number {each}" for each in range(number)]
    answers = await asyncio.gather(*(team.type(text) for text in texts))
    assert answers == [None] * number


def assert_unmixed(bot: Bot, teams: list[Team], number: int = 8) -> None:
    """Hold what was said, called and recorded against where it belongs."""
    for team in teams:
        others = [other.team_id for other in teams if other is not team]
        seen = json.dumps([[one.text, one.blocks] for one in team.workspace.messages])
        seen += json.dumps(team.workspace.calls)
        assert len(team.answers()) == number
        assert not [other for other in others if other in seen]
        mine = [
            one.text
            for one in bot.leadsquared.ledger.activities
            if one.org_id == account(team.team_id).org_id
        ]
        assert sorted(mine) == [f"of {team.team_id}, number {each}" for each in range(number)]


async def test_each_workspace_is_answered_with_its_own_token_and_recorded_in_its_own_account(
    environment: dict[str, str], slack: SlackStandIn, leadsquared: LeadSquaredStandIn
) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running(environment, slack, leadsquared))
        other = await stack.enter_async_context(running(environment, slack, leadsquared))
        teams = [Team(other, team_id) for team_id in (HOME, SECOND, GRID)]
        for team in teams:
            await team.joins()
        sister = Team(other, SISTER)
        await sister.install(of=CORP)
        await sister.connect()
        teams.append(sister)
        assert len({team.token for team in teams}) == 4
        for team in teams:
            await _until(lambda team=team: _knows(one, team))
        await asyncio.gather(*(busy(team) for team in teams))
        await slack.until(lambda: all(len(team.answers()) == 8 for team in teams))
        await one.at_rest()
        assert_unmixed(one, teams)
        assert not [one for team in teams for one in team.posted() if one.ephemeral]


def _knows(bot: Bot, team: Team) -> bool:
    found = bot.parts.installations.access(team.workspace.enterprise_id, team.team_id)
    return found == Granted(team.token)


async def test_one_workspaces_end_is_no_other_ones(bot: Bot, slack: SlackStandIn) -> None:
    home, second = Team(bot, HOME), Team(bot, SECOND)
    for team in (home, second):
        await team.joins()
    await slack.uninstall(HOME)
    assert "Recorded" in (await second.records("still here")).text
    answer = await home.type("143 gone")
    assert answer is not None
    assert "removed" in answer.text


async def test_where_the_bot_was_never_installed_it_says_where_to_install_it(
    bot: Bot, slack: SlackStandIn
) -> None:
    second = Team(bot, SECOND)
    for text in ("143 hello", "143", "setup"):
        said = await second.type(text)
        assert said is not None
        assert "isn't installed in this workspace, so nothing was recorded" in said.text
        assert "/slack/install" in said.text
        assert "SLACK_BOT_TOKEN" not in said.text
    message = await slack.say("ticket 143", channel=second.channel, person=second.person)
    assert await slack.shortcut(message, person=second.person) == {}
    said = await second.told("isn't installed in this workspace")
    assert "/slack/install" in said.text


async def test_a_token_opens_nothing_in_another_workspace(bot: Bot, slack: SlackStandIn) -> None:
    """The stand-in refuses it, as Slack does: the tests here would prove nothing otherwise."""
    home, second = Team(bot, HOME), Team(bot, SECOND)
    await home.joins()
    await second.joins()
    web = bot.parts.web
    theirs = await second.workspace_message()
    for token, error in (
        (home.token, "channel_not_found"),
        (BOT_TOKEN, "channel_not_found"),
        ("xoxb-invented", "invalid_auth"),
    ):
        posted = await web.call(token, "chat.postMessage", channel=second.channel, text="hello")
        assert getattr(posted, "error", None) == error
        read = await web.read(token, "conversations.replies", channel=second.channel, ts=theirs)
        assert getattr(read, "error", None) == error
        person = await web.read(token, "users.info", user=second.person)
        assert getattr(person, "error", None) in ("user_not_found", "invalid_auth")


async def test_a_thread_is_read_within_each_workspaces_own_limit(
    bot: Bot, slack: SlackStandIn
) -> None:
    slack.reads_little = True
    home, second = Team(bot, HOME), Team(bot, SECOND)
    for team in (home, second):
        await team.joins()
        first = await slack.say("ticket 143", channel=team.channel, person=team.person)
        for number in range(20):
            await slack.say(
                f"reply {number}", channel=team.channel, person=team.person, thread_ts=first.ts
            )
        form = await bot.use(first, person=team.person)
        await slack.choose(form, "what_message", "thread", person=team.person)
        await slack.until(lambda: "what_thread" in str(slack.modals.open[-1]))
        shown = str(slack.modals.open[-1])
        assert "reply 13" in shown
        assert "reply 15" not in shown
        slack.modals.close(form["id"])


async def test_a_crowd_installs_and_uninstalls_at_once(bot: Bot, slack: SlackStandIn) -> None:
    slack.workspaces += [
        Workspace(
            f"T{number}CROWD",
            {f"C{number}CROWD": Channel(f"C{number}CROWD", "general")},
            {f"U{number}CROWD": Person(f"U{number}CROWD", "One", f"T{number}CROWD")},
            name=f"Crowd {number}!",
            bot_user=f"UBOT{number}",
        )
        for number in range(CROWD)
    ]
    teams = [Team(bot, f"T{number}CROWD") for number in range(CROWD)]

    async def live(number: int) -> None:
        assert (await teams[number].install()).status == 200
        if number % 3:
            await slack.uninstall(teams[number].team_id)
        if number % 3 == 2:
            assert (await teams[number].install()).status == 200

    await asyncio.gather(*(live(number) for number in range(CROWD)))
    for number, team in enumerate(teams):
        found = bot.parts.installations.access(None, team.team_id)
        if number % 3 == 1:
            assert isinstance(found, Ended)
        else:
            assert found == Granted(team.token)


async def _until(condition: object) -> None:
    async with asyncio.timeout(20):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)
