"""Who may record: each surface, in each kind of channel, by each kind of person."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from bot.playground.leadsquared import Behaviour
from bot.playground.slack import Fault, SlackStandIn
from bot.playground.workspace import Channel, Person, Posted
from bot.tenants.rules import Answers, Rules
from support.running import ACCOUNT, TEAM, Bot, Start, ticket_that

MEMBER, GUEST, CUSTOMER, BEN = "U0ANNA", "U0VISITOR", "U0CARLA", "U0BEN"
OWN, SHARED, UNKNOWN = "C0SUPPORT", "C0SHARED", "C0PRIVATE"
REFUSED = ticket_that(Behaviour.REFUSED)
LOST = ticket_that(Behaviour.DROP)


@pytest.fixture
def slack(slack: SlackStandIn) -> SlackStandIn:
    """Slack with a shared channel, a guest and a customer of another organisation."""
    home = slack.workspace
    home.channels[SHARED] = Channel(SHARED, "shared", is_ext_shared=True)
    home.people[GUEST] = Person(GUEST, "Gus", TEAM, is_restricted=True)
    home.people[CUSTOMER] = Person(CUSTOMER, "Carla", "T0ACME")
    home.groups["S0AGENTS"] = "agents"
    home.members["S0AGENTS"] = [MEMBER]
    return slack


async def rule(bot: Bot, **fields: Any) -> None:
    await bot.parts.directory.set_rules("environment", lambda rules: replace(rules, **fields))


def seen(bot: Bot, person: str) -> str:
    """Return all that the bot showed to one person alone."""
    alone = [one.text for one in bot.slack.workspace.messages if one.ephemeral == person]
    return "\n".join([*alone, *(str(view["blocks"]) for view in bot.slack.modals.open)])


def open_to_all(bot: Bot) -> list[Posted]:
    return [one for one in bot.slack.workspace.messages if one.is_the_bots and not one.ephemeral]


def recorded(bot: Bot) -> int:
    return len(bot.leadsquared.ledger.activities)


Surface = Callable[[Bot, str, str], Awaitable[None]]


async def by_command(bot: Bot, channel: str, person: str) -> None:
    await bot.type("143 hello", channel=channel, person=person)


async def by_form(bot: Bot, channel: str, person: str) -> None:
    await bot.type("", channel=channel, person=person)
    if bot.slack.modals.open:
        await bot.submit(bot.slack.modals.open[-1], person=person, ticket="143", text="hello")


async def by_shortcut(bot: Bot, channel: str, person: str) -> None:
    said = await bot.slack.say("hello", channel=channel, person=BEN)
    opened = len(bot.slack.modals.open)
    await bot.slack.shortcut(said, person=person)
    await bot.slack.until(
        lambda: (len(bot.slack.modals.open) > opened
        and "Reading the message" not in str(bot.slack.modals.open[-1]["blocks"]))
        or any(one.ephemeral == person for one in bot.slack.workspace.messages)
    )  # fmt: skip
    if len(bot.slack.modals.open) > opened and "submit" in bot.slack.modals.open[-1]:
        await bot.submit(bot.slack.modals.open[-1], person=person, ticket="143")


async def by_button(bot: Bot, channel: str, person: str) -> None:
    """Press Send again under the answer to a colleague."""
    await bot.type(f"{REFUSED} hello", channel=channel, person=BEN)
    await bot.at_rest()
    bot.leadsquared.tickets[REFUSED] = Behaviour.FINE
    answer = next(one for one in bot.slack.workspace.messages if "Send again" in one.buttons())
    await bot.slack.click(answer, "Send again", person=person)


async def by_edit(bot: Bot, channel: str, person: str) -> None:
    await bot.type(f"{REFUSED} hello", channel=channel, person=BEN)
    await bot.at_rest()
    answer = next(one for one in bot.slack.workspace.messages if "Send again" in one.buttons())
    await bot.slack.click(answer, "Edit and send again", person=person)
    if bot.slack.modals.open:
        await bot.submit(bot.slack.modals.open[-1], person=person, ticket="143")


SURFACES: dict[str, Surface] = {
    "command": by_command,
    "form": by_form,
    "shortcut": by_shortcut,
    "button": by_button,
    "edit": by_edit,
}
PEOPLE = {MEMBER: True, GUEST: False, CUSTOMER: False}
"""Whether each kind of person may record, as it is at first."""

CASES = list(itertools.product(SURFACES, (OWN, SHARED, UNKNOWN), PEOPLE))


@pytest.mark.parametrize(("surface", "channel", "person"), CASES)
async def test_each_surface_in_each_channel_by_each_person(
    bot: Bot, surface: str, channel: str, person: str
) -> None:
    await SURFACES[surface](bot, channel, person)
    if PEOPLE[person]:
        async with asyncio.timeout(20):
            while not recorded(bot):
                await asyncio.sleep(0.01)
        await bot.at_rest()
        assert recorded(bot) == 1
    else:
        await bot.slack.until(lambda: "nothing was" in seen(bot, person))
        await bot.at_rest()
        assert recorded(bot) == 0
    said = " ".join(one.text for one in open_to_all(bot))
    assert f"<@{CUSTOMER}>" not in said
    assert f"<@{GUEST}>" not in said
    if channel != OWN:
        channels = bot.slack.workspace.channels
        assert [one for one in open_to_all(bot) if one.channel in channels] == []


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("channel", [OWN, SHARED])
async def test_a_setting_lets_guests_record_but_no_customer(
    bot: Bot, surface: str, channel: str
) -> None:
    await rule(bot, guests=True)
    await SURFACES[surface](bot, channel, GUEST)
    async with asyncio.timeout(20):
        while recorded(bot) != 1:
            await asyncio.sleep(0.01)
    await by_command(bot, channel, CUSTOMER)
    assert "Only people of the organisation" in seen(bot, CUSTOMER)
    await bot.at_rest()
    assert recorded(bot) == 1


@pytest.mark.parametrize("surface", SURFACES)
async def test_recording_can_be_limited_to_a_group(bot: Bot, surface: str) -> None:
    bot.slack.workspace.members["S0AGENTS"] = [BEN]
    await rule(bot, group_id="S0AGENTS")
    await SURFACES[surface](bot, OWN, MEMBER)
    await bot.slack.until(lambda: "one user group" in seen(bot, MEMBER))
    await bot.at_rest()
    assert recorded(bot) == 0
    await bot.type("143 by an agent", person=BEN)
    await bot.at_rest()
    assert recorded(bot) == 1


@pytest.mark.parametrize("surface", SURFACES)
async def test_recording_can_be_limited_to_channels(bot: Bot, surface: str) -> None:
    if surface in ("button", "edit"):
        await bot.type(f"{REFUSED} hello", channel="C0OTHER", person=BEN)
        await bot.at_rest()
    await rule(bot, channels=(OWN,))
    if surface in ("button", "edit"):
        label = "Send again" if surface == "button" else "Edit and send again"
        answer = next(one for one in bot.slack.workspace.messages if label in one.buttons())
        await bot.slack.click(answer, label, person=MEMBER)
    else:
        await SURFACES[surface](bot, "C0OTHER", MEMBER)
    await bot.slack.until(lambda: "can't be recorded in this conversation" in seen(bot, MEMBER))
    await bot.type("143 where it may be", channel=OWN)
    await bot.at_rest()
    assert recorded(bot) == 1


@pytest.mark.parametrize("person", [GUEST, CUSTOMER])
async def test_nobody_else_closes_what_may_be_on_the_ticket(bot: Bot, person: str) -> None:
    await bot.type(f"{LOST} hello", person=BEN)
    await bot.at_rest()
    answer = next(one for one in bot.slack.workspace.messages if "It's there" in one.buttons())
    await bot.slack.click(answer, "It's there", person=person)
    assert "nothing was" in (await bot.told_to(person)).text
    assert "It's there" in answer.buttons()
    await bot.slack.click(answer, "It's there", person=MEMBER)
    await bot.slack.until(lambda: "confirmed" in answer.text)


@pytest.mark.parametrize("subcommand", ["recent", "status"])
@pytest.mark.parametrize(("person", "may"), PEOPLE.items())
async def test_others_see_nothing_of_what_was_recorded(
    bot: Bot, subcommand: str, person: str, *, may: bool
) -> None:
    said = await bot.type(subcommand, person=person, channel=SHARED)
    assert said is not None
    assert ("nothing was recorded" not in said.text) is may


async def test_nothing_is_shown_to_a_person_of_whom_slack_says_nothing(bot: Bot) -> None:
    await bot.type("143 hello", person=BEN)
    await bot.at_rest()
    bot.slack.down = True
    said = await bot.type("recent", person=CUSTOMER)
    assert said is not None
    assert "nothing is shown" in said.text


async def test_without_the_scope_nobody_records_and_everybody_reads_why(bot: Bot) -> None:
    bot.slack.faults["users.info"].append(Fault("missing_scope"))
    said = await bot.type("143 hello")
    assert said is not None
    assert "Slack doesn't tell the bot" in said.text
    assert recorded(bot) == 0


@pytest.mark.parametrize("fault", [Fault("internal_error", 500), Fault("", delay=2.0)])
async def test_a_lookup_that_fails_or_hangs_costs_nobody_an_activity(
    bot: Bot, fault: Fault
) -> None:
    bot.slack.faults["users.info"].append(fault)
    began = asyncio.get_running_loop().time()
    assert await bot.type("143 hello") is None
    assert asyncio.get_running_loop().time() - began < 2
    await bot.at_rest()
    assert recorded(bot) == 1


async def test_people_record_while_slack_is_away(bot: Bot) -> None:
    bot.slack.down = True
    assert await bot.type("143 hello", person=BEN) is None
    bot.slack.down = False
    await bot.at_rest()
    assert recorded(bot) == 1


async def test_a_group_lets_in_who_recorded_before_while_slack_is_away(
    environment: dict[str, str], start: Start
) -> None:
    async with start(environment) as first:
        await first.type("143 first")
        await first.at_rest()
        await rule(first, group_id="S0AGENTS")
    async with start(environment) as bot:
        bot.slack.down = True
        assert await bot.type("143 second") is None
        said = await bot.type("143 by a new one", person=BEN)
        assert said is not None
        assert "Slack didn't say in time" in said.text
        bot.slack.down = False
        await bot.at_rest()
        assert recorded(bot) == 2


async def test_a_burst_asks_about_each_person_once(bot: Bot) -> None:
    bot.slack.faults["users.info"].append(Fault("", delay=0.2))
    await asyncio.gather(*(bot.type(f"143 number {n}") for n in range(50)))
    await bot.at_rest()
    assert sum(name == "users.info" for name, _ in bot.slack.workspace.calls) == 1
    assert recorded(bot) == 50


@pytest.mark.parametrize(
    ("answers", "channel", "is_private"),
    [
        (Answers.PRIVATE, OWN, True),
        (Answers.THREAD, SHARED, False),
        (Answers.AUTO, SHARED, True),
        (Answers.AUTO, OWN, False),
    ],
)
async def test_a_setting_decides_where_answers_go(
    bot: Bot, answers: Answers, channel: str, *, is_private: bool
) -> None:
    await rule(bot, answers=answers)
    await bot.type("143 hello", channel=channel)
    await bot.at_rest()
    assert (open_to_all(bot) == []) is is_private


def test_the_rules_are_open_to_members_only_at_first() -> None:
    assert Rules() == Rules(Answers.AUTO, guests=False, reaction=False, group_id="", channels=())


async def test_the_rules_hold_on_both_databases(
    environment: dict[str, str], start: Start, url: str
) -> None:
    async with start(environment | {"DATABASE_URL": url}) as bot:
        await bot.type("143 by a guest", person=GUEST)
        assert "Guests can't record" in seen(bot, GUEST)
        await rule(bot, guests=True, group_id="S0AGENTS", channels=(OWN,))
        await bot.type("143 by a guest again", person=GUEST)
        assert "one user group" in seen(bot, GUEST)
        await bot.type("143 elsewhere", channel="C0OTHER")
        assert "in this conversation" in seen(bot, MEMBER)
        assert await bot.type("143 by a member of the group") is None
        await bot.at_rest()
        assert recorded(bot) == 1


async def test_an_admin_says_it_in_the_set_up_form(
    environment: dict[str, str], start: Start, url: str
) -> None:
    allowed = {"LEADSQUARED_ALLOWED_HOSTS": "127.0.0.1"}
    async with start(environment | {"DATABASE_URL": url, **allowed}) as bot:
        bot.slack.workspace.people["U0ADA"] = Person("U0ADA", "Ada", TEAM, is_admin=True)
        await bot.type("setup", person="U0ADA")
        await bot.slack.until(lambda: "submit" in bot.slack.modals.open[-1])
        account = {
            "other_api_host": bot.leadsquared.url,
            "org_id": ACCOUNT.org_id,
            "access_key": ACCOUNT.access_key,
            "secret_key": ACCOUNT.secret_key,
        }
        wanted = {"answers": "private", "guests": ["allowed"]}
        await bot.submit(bot.slack.modals.open[-1], person="U0ADA", **account, **wanted)
        rules = await bot.parts.directory.rules(f"slack-{TEAM}")
        assert (rules.answers, rules.guests) == (Answers.PRIVATE, True)
        assert await bot.type("143 by a guest", person=GUEST) is None
        assert "✅ Recorded" in (await bot.told_to(GUEST)).text
        assert open_to_all(bot) == []
