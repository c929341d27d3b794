"""Which process answers whom: by its token, and what is said when Slack rejects that token."""

from contextlib import AsyncExitStack
from dataclasses import replace

import aiohttp
import pytest

from bot.playground.leadsquared import Account, LeadSquaredStandIn
from bot.playground.slack import Fault, SlackStandIn
from bot.tenants.directory import Scope
from support.programs import until
from support.running import ACCOUNT, TEAM, Bot, Start, running, workspace

OTHER = "T0OTHER"


async def readyz(bot: Bot) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(f"{bot.url}/readyz") as answer:
        return answer.status, await answer.json()


async def test_a_token_that_slack_rejects_at_the_start_is_named_as_such(
    start: Start,
    environment: dict[str, str],
    slack: SlackStandIn,
    capfd: pytest.CaptureFixture[str],
) -> None:
    slack.faults["auth.test"] += [Fault("invalid_auth")] * 50
    async with start(environment, ready=False) as bot:
        await until(lambda: bot.single.refusal)
        said = await bot.type("143 hello", team_id="T0STRANGER")
        assert said is not None
        assert "Slack rejects the bot's token" in said.text
        assert "invalid_auth" in said.text
        assert "just started" not in said.text
        status, checks = await readyz(bot)
    assert (status, checks["slack"], checks["slack_says"]) == (503, False, "invalid_auth")
    assert '"reason": "invalid_auth", "event": "slack_token_refused"' in capfd.readouterr().err


async def test_the_form_says_that_slack_rejects_the_token(
    start: Start, environment: dict[str, str], slack: SlackStandIn
) -> None:
    slack.faults["auth.test"] += [Fault("account_inactive")] * 50
    async with start(environment, ready=False) as bot:
        await until(lambda: bot.single.refusal)
        message = await slack.say("about #143", channel="C0SUPPORT", person="U0BEN")
        await slack.shortcut(message, person="U0ANNA")
        assert "account_inactive" in (await bot.told_to("U0ANNA")).text


async def test_a_token_revoked_while_running_is_not_ready_until_slack_accepts_it_again(
    bot: Bot, slack: SlackStandIn
) -> None:
    slack.faults["chat.postMessage"] += [Fault("token_revoked")]
    slack.faults["auth.test"] += [Fault("token_revoked")]
    assert await bot.type("143 hello") is None
    assert "Recorded" in (await bot.told_to("U0ANNA")).text, (
        "by the response_url, which needs no token"
    )
    status, checks = await readyz(bot)
    assert (status, checks["slack_says"]) == (503, "token_revoked")
    await until(lambda: bot.single.refusal is None)
    assert (await readyz(bot))[0] == 200
    assert await bot.type("144 hello") is None
    assert "Recorded" in (await bot.answered()).text


async def test_two_processes_with_different_tokens_answer_their_own_workspace_only(
    environment: dict[str, str], url: str, slack: SlackStandIn, leadsquared: LeadSquaredStandIn
) -> None:
    environment = environment | {"DATABASE_URL": url, "POLL_INTERVAL": "0.2"}
    there = workspace()
    there.team_id = OTHER
    there.people = {id_: replace(one, team_id=OTHER) for id_, one in there.people.items()}
    async with (
        SlackStandIn(there) as other_slack,
        running(environment, slack, leadsquared) as here,
        running(
            environment | {"SLACK_API_URL": other_slack.api_url}, other_slack, leadsquared
        ) as elsewhere,
    ):
        await elsewhere.parts.directory.map("environment", Scope(team_id=OTHER))
        await here.parts.directory.map("environment", Scope(team_id=TEAM))
        for number in range(6):
            assert (
                await (here, elsewhere)[number % 2].type(f"{143 + number % 3} hello {number}")
                is None
            )
        await here.answered(messages=3)
        await elsewhere.answered(messages=3)
        await here.at_rest()
        for bot in (here, elsewhere):
            anchors = [
                one
                for one in bot.slack.workspace.messages
                if one.is_the_bots and one.thread_ts is None
            ]
            assert len(anchors) == 3
            assert not [one for one in bot.slack.workspace.messages if one.ephemeral], (
                "nothing by another route"
            )


async def test_what_no_process_has_a_token_for_is_answered_by_its_response_url_after_a_while(
    start: Start, environment: dict[str, str], url: str
) -> None:
    environment = environment | {"DATABASE_URL": url, "POLL_INTERVAL": "0.2"}
    async with start(environment) as bot:
        await bot.parts.directory.map("environment", Scope(team_id=OTHER))
        assert await bot.type("143 hello", team_id=OTHER) is None
        await until(lambda: bot.leadsquared.ledger.activities)
        assert await bot.type("144 hello") is None
        await bot.answered()
        assert not [one for one in bot.slack.workspace.messages if one.ephemeral], (
            "left to others at first"
        )
        assert "Recorded" in (await bot.told_to("U0ANNA")).text
        await bot.at_rest()


async def test_a_process_whose_token_is_rejected_leaves_the_answers_to_the_others(
    environment: dict[str, str], url: str, slack: SlackStandIn, leadsquared: LeadSquaredStandIn
) -> None:
    environment = environment | {"DATABASE_URL": url, "POLL_INTERVAL": "1"}
    async with SlackStandIn(workspace()) as broken:
        broken.faults["auth.test"] += [Fault("invalid_auth")] * 50
        without = environment | {"SLACK_API_URL": broken.api_url}
        async with (
            running(without, broken, leadsquared, ready=False) as rejected,
            running(environment, slack, leadsquared) as bot,
        ):
            await until(lambda: rejected.single.refusal)
            for number in range(4):
                assert await bot.type(f"{143 + number % 3} hello {number}") is None
            await bot.answered(messages=4)
            await bot.at_rest()
    assert not [one for one in slack.workspace.messages if one.ephemeral], (
        "each stands in its thread"
    )
    assert not [one for one in broken.workspace.messages if one.is_the_bots]


async def elsewhere(
    environment: dict[str, str], stack: AsyncExitStack
) -> tuple[SlackStandIn, dict[str, str]]:
    """Return another workspace's Slack, and the environment of a bot in it."""
    there = workspace()
    there.team_id = OTHER
    there.people = {id_: replace(one, team_id=OTHER) for id_, one in there.people.items()}
    other_slack = await stack.enter_async_context(SlackStandIn(there))
    return other_slack, environment | {"SLACK_API_URL": other_slack.api_url}


def sent_to(leadsquared: LeadSquaredStandIn) -> set[str]:
    return {call.org_id for call in leadsquared.ledger.calls}


@pytest.mark.parametrize("refused", [True, False])
async def test_a_bot_of_another_workspace_does_not_change_where_the_first_ones_words_go(
    environment: dict[str, str],
    url: str,
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
    refused: bool,  # noqa: FBT001 - a parameter
) -> None:
    environment = environment | {"DATABASE_URL": url, "POLL_INTERVAL": "0.2"}
    leadsquared.accounts["222"] = Account("222", "another-access-key", "another-secret-key")
    of_222 = {
        "LEADSQUARED_ORG_ID": "222",
        "LEADSQUARED_ACCESS_KEY": "another-access-key",
        "LEADSQUARED_SECRET_KEY": "another-secret-key",
    }
    async with AsyncExitStack() as stack:
        other_slack, theirs = await elsewhere(environment | of_222, stack)
        if refused:
            other_slack.faults["auth.test"] += [Fault("invalid_auth")] * 50
        here = await stack.enter_async_context(running(environment, slack, leadsquared))
        there = await stack.enter_async_context(
            running(theirs, other_slack, leadsquared, ready=not refused)
        )
        await until(lambda: there.single.refusal or there.single.identity)
        for number in range(4):
            assert await here.type(f"{143 + number % 3} hello {number}") is None
        await here.answered(messages=4)
        await here.at_rest()
        assert sent_to(leadsquared) == {ACCOUNT.org_id}
        if not refused:
            assert await there.type("143 from there") is None
            await there.answered()
            assert sent_to(leadsquared) == {ACCOUNT.org_id, "222"}


async def test_a_bot_without_the_variables_leaves_another_ones_tenant_alone(
    environment: dict[str, str], url: str, slack: SlackStandIn, leadsquared: LeadSquaredStandIn
) -> None:
    environment = environment | {"DATABASE_URL": url, "POLL_INTERVAL": "0.2"}
    without = {
        name: value for name, value in environment.items() if not name.startswith("LEADSQUARED_")
    }
    async with AsyncExitStack() as stack:
        other_slack, theirs = await elsewhere(without, stack)
        here = await stack.enter_async_context(running(environment, slack, leadsquared))
        await stack.enter_async_context(running(theirs, other_slack, leadsquared))
        assert await here.type("143 hello") is None
        assert "ecorded on ticket 143" in (await here.answered()).text
        await here.at_rest()


async def test_a_start_keeps_an_admins_mapping_to_the_environments_tenant(
    start: Start, environment: dict[str, str]
) -> None:
    channel = Scope(team_id=TEAM, channel_id="C0OTHER")
    async with start(environment) as bot:
        await bot.parts.directory.map("environment", channel)
    async with start(environment) as bot:
        assert channel in await bot.parts.directory.mappings("environment")
