"""Where another organisation reads along, answers come to the agent alone."""

import asyncio
from dataclasses import replace

import pytest

from bot.playground.leadsquared import Behaviour
from bot.playground.slack import Fault, SlackStandIn
from bot.playground.workspace import Channel, Posted
from bot.tenants.directory import Scope
from bot.tenants.rules import Answers
from support.programs import PATIENCE
from support.running import TEAM, Bot, ticket_that

ANNA, BEN = "U0ANNA", "U0BEN"
SHARED, OWN = "C0SHARED", "C0SUPPORT"
LOST = ticket_that(Behaviour.DROP)
REFUSED = ticket_that(Behaviour.REFUSED)


@pytest.fixture
def slack(slack: SlackStandIn) -> SlackStandIn:
    """Slack with a channel of each kind."""
    for channel in (
        Channel(SHARED, "shared", is_ext_shared=True),
        Channel("C0INVITED", "invited", is_pending_ext_shared=True),
        Channel("C0SISTERS", "sisters", is_org_shared=True),
    ):
        slack.workspace.channels[channel.id] = channel
    return slack


def public(bot: Bot) -> list[Posted]:
    """Return what the bot said in channels for everybody to read."""
    return [
        one
        for one in bot.slack.workspace.messages
        if one.is_the_bots and not one.ephemeral and one.channel in bot.slack.workspace.channels
    ]


def calls(bot: Bot, method: str) -> int:
    return sum(name == method for name, _ in bot.slack.workspace.calls)


def change(bot: Bot, channel_id: str, *, is_ext_shared: bool) -> None:
    channels = bot.slack.workspace.channels
    channels[channel_id] = replace(channels[channel_id], is_ext_shared=is_ext_shared)


@pytest.mark.parametrize(
    ("channel", "is_private"),
    [(SHARED, True), ("C0INVITED", True), ("C0SISTERS", False), (OWN, False)],
)
@pytest.mark.parametrize("ticket", ["143", REFUSED, LOST])
async def test_a_shared_channel_is_answered_privately(
    bot: Bot, channel: str, ticket: str, *, is_private: bool
) -> None:
    assert await bot.type(f"{ticket} The invoice is missing", channel=channel) is None
    await bot.at_rest()

    if not is_private:
        assert [one.thread_ts is None for one in public(bot)] == [True, False]
        return
    assert public(bot) == []
    told = await bot.told_to(ANNA)
    assert "The invoice is missing" in told.text
    assert f"ticket {ticket}" in told.text
    assert told.channel == channel


async def test_the_buttons_of_a_private_answer_work(bot: Bot) -> None:
    await bot.type(f"{LOST} hello", channel=SHARED)
    asked = await bot.told_to(ANNA)
    await bot.slack.click(asked, "It's there", person=ANNA)
    await bot.slack.until(lambda: "confirmed" in asked.text)
    assert asked.buttons() == {}

    await bot.type(f"{REFUSED} hello", channel=SHARED)
    refused = await bot.told_to(ANNA, messages=2)
    bot.leadsquared.tickets[REFUSED] = Behaviour.FINE
    await bot.slack.click(refused, "Send again", person=ANNA)
    recorded = await bot.told_to(ANNA, messages=3)
    assert "✅ Recorded" in recorded.text
    assert "sent it again" in refused.text
    assert public(bot) == []


async def test_a_private_answer_stands_in_the_thread_where_slack_shows_it_there(bot: Bot) -> None:
    first = await bot.slack.say("hello", channel=SHARED, person=BEN)
    form = await bot.use(first)
    await bot.submit(form, ticket="143")
    alone = await bot.told_to(ANNA)
    assert alone.thread_ts is None, "a thread without a reply shows nothing to one person"

    reply = await bot.slack.say("more", channel=SHARED, person=BEN, thread_ts=first.ts)
    form = await bot.use(reply)
    await bot.submit(form, ticket="143")
    in_thread = await bot.told_to(ANNA, messages=2)
    assert in_thread.thread_ts == first.ts
    assert public(bot) == []


async def test_a_waiting_note_is_private_too(bot: Bot) -> None:
    bot.leadsquared.tickets["143"] = Behaviour.BUSY_AT_FIRST
    await bot.type("143 hello", channel=SHARED)
    recorded = await bot.told_to(ANNA, messages=2)
    noted = next(one for one in bot.slack.workspace.messages if one.ephemeral)
    assert "Waiting for LeadSquared's rate limit" in noted.text
    assert "✅ Recorded" in recorded.text
    assert public(bot) == []


@pytest.mark.parametrize("refusal", ["not_in_channel", "user_not_in_channel"])
async def test_where_slack_takes_no_private_message_the_response_url_does(
    bot: Bot, refusal: str
) -> None:
    bot.slack.faults["chat.postEphemeral"].append(Fault(refusal))
    await bot.type("143 hello", channel=SHARED)
    assert "✅ Recorded" in (await bot.told_to(ANNA)).text
    assert calls(bot, "response_url") == 1
    assert public(bot) == []


async def test_else_a_direct_message_does(bot: Bot) -> None:
    bot.slack.faults["chat.postEphemeral"].append(Fault("not_in_channel"))
    bot.slack.faults["response_url"].append(Fault("used_url", 404))
    await bot.type("143 hello", channel=SHARED)
    await bot.at_rest()
    direct = [one for one in bot.slack.workspace.messages if one.channel == ANNA]
    assert ["✅ Recorded" in one.text for one in direct] == [True]
    assert public(bot) == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault("missing_scope"),
        Fault("channel_not_found"),
        Fault("ratelimited", 429, retry_after=30),
        Fault("fatal_error", 500),
        Fault("internal_error"),
    ],
    ids=lambda fault: fault.error,
)
async def test_what_cannot_be_found_out_counts_as_shared(bot: Bot, fault: Fault) -> None:
    bot.slack.faults["conversations.info"].append(fault)
    await bot.type("143 hello", channel=OWN)
    assert "✅ Recorded" in (await bot.told_to(ANNA)).text
    assert public(bot) == []


async def test_while_slack_is_away_nothing_is_decided(bot: Bot) -> None:
    await bot.type("143 before", channel=SHARED)  # so the bot knows her
    await bot.at_rest()
    asked = calls(bot, "conversations.info")
    bot.slack.down = True
    await bot.type("143 hello", channel=OWN)
    async with asyncio.timeout(PATIENCE):
        while calls(bot, "conversations.info") == asked:
            await asyncio.sleep(0.01)
    bot.slack.down = False
    await bot.answered()
    assert len(public(bot)) == 2, "the anchor and the answer, as ever"


async def test_one_lookup_does_for_many_and_is_kept(bot: Bot) -> None:
    bot.slack.faults["conversations.info"].append(Fault("", delay=0.3))
    await asyncio.gather(*(bot.type(f"143 number {n}", channel=SHARED) for n in range(20)))
    await bot.told_to(ANNA, messages=20)
    await bot.type("143 later", channel=SHARED)
    await bot.told_to(ANNA, messages=21)
    assert calls(bot, "conversations.info") == 1


@pytest.mark.parametrize("now_shared", [True, False])
async def test_the_events_end_what_is_remembered(bot: Bot, *, now_shared: bool) -> None:
    channel = OWN if now_shared else SHARED
    await bot.type("143 before", channel=channel)
    await bot.at_rest()
    before = len(public(bot))
    change(bot, channel, is_ext_shared=now_shared)
    event = "channel_shared" if now_shared else "channel_unshared"
    sent = await bot.slack.event(
        event, team_id=bot.slack.workspace.team_id, channel=channel, connected_team_id="T0ACME"
    )
    assert sent == {}
    await bot.type("143 after", channel=channel)
    await bot.at_rest()
    assert (len(public(bot)) == before) is now_shared


async def test_a_channel_that_is_shared_during_the_lookup_is_asked_about_again(bot: Bot) -> None:
    bot.slack.faults["conversations.info"].append(Fault("", delay=0.5))
    await bot.type("143 hello", channel=OWN)
    async with asyncio.timeout(PATIENCE):
        while not calls(bot, "conversations.info"):
            await asyncio.sleep(0.01)
    await bot.slack.event(
        "channel_shared", team_id=bot.slack.workspace.team_id, channel=OWN, connected_team_id="T1"
    )
    change(bot, OWN, is_ext_shared=True)
    await bot.told_to(ANNA)
    assert public(bot) == []


async def test_what_began_in_the_thread_ends_privately_once_the_channel_is_shared(bot: Bot) -> None:
    bot.leadsquared.tickets["143"] = Behaviour.BUSY_AT_FIRST
    await bot.type("143 hello", channel=OWN)
    await bot.slack.until(lambda: public(bot))
    change(bot, OWN, is_ext_shared=True)
    await bot.slack.event(
        "channel_shared", team_id=bot.slack.workspace.team_id, channel=OWN, connected_team_id="T1"
    )
    assert "✅ Recorded" in (await bot.told_to(ANNA, messages=2)).text
    await bot.at_rest()
    assert all("recorded" not in one.text.lower() for one in public(bot))


async def test_the_setting_of_a_channel_goes_before_its_tenants(bot: Bot) -> None:
    directory = bot.parts.directory
    await directory.set_rules("environment", lambda rules: replace(rules, answers=Answers.PRIVATE))
    own = Scope(team_id=TEAM, channel_id=OWN)
    await directory.map_from(None, "environment", own, Answers.THREAD)
    await bot.type("143 for all", channel=OWN)
    await bot.answered()
    await bot.type("143 for me alone", channel="C0OTHER")
    assert "for me alone" in (await bot.told_to(ANNA)).text
    assert {one.channel for one in public(bot)} == {OWN}


async def test_app_home_keeps_a_private_outcome_and_its_buttons(bot: Bot) -> None:
    await bot.type(f"{REFUSED} hello", channel=SHARED)
    await bot.told_to(ANNA)
    await bot.slack.open_home(ANNA)
    await bot.slack.until(lambda: ANNA in bot.slack.homes)
    bot.leadsquared.tickets[REFUSED] = Behaviour.FINE
    await bot.slack.press(bot.slack.homes[ANNA], "Send again", person=ANNA)
    assert "✅ Recorded" in (await bot.told_to(ANNA, messages=2)).text
    assert public(bot) == []


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("channel", [SHARED, OWN])
async def test_a_private_success_may_show_on_the_customers_message(
    bot: Bot, channel: str, *, is_on: bool
) -> None:
    change_rules = bot.parts.directory.set_rules
    await change_rules("environment", lambda rules: replace(rules, reaction=is_on))
    said = await bot.slack.say("hello", channel=channel, person=BEN)
    await bot.submit(await bot.use(said), ticket="143")
    await bot.at_rest()
    assert said.reactions == (["white_check_mark"] if is_on and channel == SHARED else [])


async def test_without_the_scope_for_reactions_the_answer_comes_all_the_same(bot: Bot) -> None:
    bot.slack.scopes = bot.slack.scopes.replace(",reactions:write", "")
    change_rules = bot.parts.directory.set_rules
    await change_rules("environment", lambda rules: replace(rules, reaction=True))
    said = await bot.slack.say("hello", channel=SHARED, person=BEN)
    await bot.submit(await bot.use(said), ticket="143")
    assert "✅ Recorded" in (await bot.told_to(ANNA)).text
    await bot.at_rest()
    assert said.reactions == []
