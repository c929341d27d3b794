"""App Home: a person's own activities, published when opened and when one of them changes."""

import asyncio
import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.playground.leadsquared import Behaviour
from bot.playground.slack import APP_TOKEN, Fault
from bot.playground.workspace import Person
from bot.tenants.directory import Scope
from support.running import TEAM, Bot, Start, ticket_that

AGAIN, EDIT, THERE = "Send again", "Edit and send again", "It's there"
ANNA, BEN, ADA = "U0ANNA", "U0BEN", "U0ADA"


def text_of(view: dict[str, Any]) -> str:
    """Return what a person reads, without Slack's marks for moments."""
    texts = []
    for block in view["blocks"]:
        texts += [one["text"] for one in (block.get("text"), *block.get("elements", [])) if one]
    words = "\n".join(one if isinstance(one, str) else one["text"] for one in texts)
    return re.sub(r"<!date\^\d+\^[^|]*\|([^>]*)>", r"\1", words)


def publications(bot: Bot, person: str = ANNA) -> list[dict[str, Any]]:
    calls = bot.slack.workspace.calls
    return [
        call for method, call in calls if method == "views.publish" and call["user_id"] == person
    ]


async def home(
    bot: Bot, person: str = ANNA, shows: Callable[[str], object] = lambda _: True
) -> dict[str, Any]:
    """Wait until a person's page shows something; return it."""

    def shown() -> bool:
        view = bot.slack.homes.get(person)
        return view is not None and bool(shows(text_of(view)))

    await bot.slack.until(shown)
    return bot.slack.homes[person]


async def opened(bot: Bot, person: str = ANNA) -> str:
    """Open App Home; return what it then shows."""
    before = len(publications(bot, person))
    assert await bot.slack.open_home(person) == {}
    await bot.slack.until(lambda: len(publications(bot, person)) > before)
    return text_of(await home(bot, person))


async def recorded(bot: Bot, words: str, **where: str) -> None:
    await bot.type(words, **where)
    await bot.at_rest()


async def test_the_page_shows_the_connection_and_ones_own_activities(bot: Bot) -> None:
    await recorded(bot, "143 first <@U0BEN> & <!here>")
    await recorded(bot, "144 second", channel="C0OTHER")
    await recorded(bot, "145 another person's", person=BEN)
    text = await opened(bot)

    assert "This workspace is connected to LeadSquared org 22824." in text
    second, first = re.findall(r"✅ Ticket (\d+): recorded, activity ID (\d+)", text)
    assert (second[0], first[0]) == ("144", "143")
    assert {second[1], first[1]} == {
        str(activity.id) for on in ("143", "144") for activity in bot.leadsquared.on(on)
    }
    assert re.search(r"Sent (just now|\d+ seconds? ago)", text)
    assert "> second" in text
    assert "another person's" not in text
    assert "145" not in text
    assert "/portal-activity 143 Customer uploaded" in text


async def test_what_a_person_wrote_is_shortened_and_acts_on_nothing(bot: Bot) -> None:
    await recorded(bot, f"143 <!channel> *a* {'word ' * 40}")
    text = await opened(bot)

    (line,) = [one for one in text.split("\n") if one.startswith("> ")]
    assert len(line) < 90
    assert line.startswith("> &lt;!channel&gt;")
    assert all(
        block["text"].get("verbatim")
        for block in bot.slack.homes[ANNA]["blocks"]
        if block["type"] == "section"
    )


async def test_the_thread_can_be_opened(bot: Bot) -> None:
    await recorded(bot, "143 hello")
    answer = await bot.answered()
    text = await opened(bot)

    assert answer.thread_ts is not None
    assert (
        f"<https://slack.com/archives/C0SUPPORT/p{answer.ts.replace('.', '')}"
        f"?thread_ts={answer.thread_ts}&amp;cid=C0SUPPORT|Open the thread>"
    ) in text


async def test_where_the_bot_may_not_post_there_is_no_thread_to_open(bot: Bot) -> None:
    await recorded(bot, "143 hello", channel="C0PRIVATE")
    assert "Open the thread" not in await opened(bot)


async def test_the_page_of_a_person_without_activities_says_so(bot: Bot) -> None:
    assert "You have recorded no activity in this workspace yet." in await opened(bot)


async def test_not_more_than_twenty_are_shown_the_newest_first(bot: Bot) -> None:
    for number in range(22):
        await bot.type(f"{143 + number % 3} number {number}")
    await bot.at_rest(within=60)
    text = await opened(bot)
    assert re.findall(r"> number (\d+)", text) == [str(number) for number in range(21, 1, -1)]


async def test_a_workspace_that_is_not_connected_is_told_so(
    environment: dict[str, str], start: Start
) -> None:
    for name in list(environment):
        if name.startswith("LEADSQUARED_"):
            del environment[name]
    async with start(environment) as bot:
        assert "This workspace isn't connected to LeadSquared yet." in await opened(bot)


async def test_channels_with_another_organisation_are_named(bot: Bot) -> None:
    directory = bot.parts.directory
    tenant = await directory.get("environment", keys=True)
    await directory.add(replace(tenant, name="other", org_id="777"))
    await directory.map("other", Scope(team_id=TEAM, channel_id="C0OTHER"))
    await directory.map("environment", Scope(team_id=TEAM, channel_id="C0SUPPORT"))
    await directory.map("other", Scope(team_id="T0STRANGE", channel_id="C0STRANGE"))
    text = await opened(bot)

    assert "This workspace is connected to LeadSquared org 22824." in text
    assert "In <#C0OTHER>: LeadSquared org 777." in text
    assert "C0SUPPORT>" not in text
    assert "STRANGE" not in text


# -- published again


async def test_the_page_follows_what_is_recorded_afterwards(bot: Bot) -> None:
    await opened(bot)
    await bot.type("143 hello")
    view = await home(bot, shows=lambda text: "Ticket 143: recorded" in text)
    assert "Open the thread" in text_of(view)


async def test_nothing_is_published_for_people_who_never_opened_it(bot: Bot) -> None:
    await opened(bot, BEN)
    await bot.type("143 hello")
    await bot.type("144 hello", person=BEN)
    await home(bot, BEN, shows=lambda text: "Ticket 144: recorded" in text)
    assert publications(bot, ANNA) == []


async def test_the_tab_with_the_messages_publishes_nothing(bot: Bot) -> None:
    assert await bot.slack.open_home(ANNA, tab="messages") == {}
    await opened(bot, BEN)
    await recorded(bot, "143 hello")
    assert publications(bot, ANNA) == []


async def test_many_at_once_are_published_once_a_second_at_most(bot: Bot) -> None:
    await opened(bot)
    started = asyncio.get_running_loop().time()
    await asyncio.gather(*(bot.type(f"{143 + n % 3} number {n}") for n in range(12)))
    await home(bot, shows=lambda text: text.count(": recorded") == 12)
    seconds = asyncio.get_running_loop().time() - started
    assert len(publications(bot)) <= 2 + seconds


async def test_two_processes_publish_no_more_than_one(
    bot: Bot, environment: dict[str, str], start: Start
) -> None:
    async with start(environment) as second:
        await asyncio.gather(*(one.slack.open_home(ANNA) for one in (bot, second) for _ in "1234"))
        await home(bot)
        assert len(publications(bot)) <= 2


# -- its buttons


async def failed(bot: Bot, behaviour: Behaviour) -> str:
    ticket = ticket_that(behaviour)
    await recorded(bot, f"{ticket} hello")
    await opened(bot)
    return ticket


async def test_what_is_open_can_be_sent_again_there(bot: Bot) -> None:
    ticket = await failed(bot, Behaviour.FAILED)
    view = bot.slack.homes[ANNA]
    assert "couldn't record this" in text_of(view)
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    assert await bot.slack.press(view, AGAIN, person=ANNA) == {}
    view = await home(bot, shows=lambda text: "recorded, activity ID" in text)

    assert "not recorded, sent again" in text_of(view)
    assert [one.text for one in bot.leadsquared.on(ticket)] == ["hello"]
    assert AGAIN not in str(view["blocks"])


async def test_it_is_there_can_be_said_there(bot: Bot) -> None:
    await failed(bot, Behaviour.DROP)
    view = bot.slack.homes[ANNA]
    assert await bot.slack.press(view, THERE, person=ANNA) == {}
    await home(bot, shows=lambda text: "recorded, confirmed by <@U0ANNA>" in text)
    assert len(bot.leadsquared.ledger.calls) == 1


async def test_it_can_be_edited_there(bot: Bot) -> None:
    await failed(bot, Behaviour.FAILED)
    assert await bot.slack.press(bot.slack.homes[ANNA], EDIT, person=ANNA) == {}
    (modal,) = bot.slack.modals.open
    await bot.submit(modal, ticket="143")
    await home(bot, shows=lambda text: "Ticket 143: recorded" in text)


async def test_an_answer_in_no_thread_comes_as_a_direct_message(bot: Bot) -> None:
    ticket = ticket_that(Behaviour.FAILED)
    await recorded(bot, f"{ticket} hello", channel="C0PRIVATE")
    await opened(bot)
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    assert await bot.slack.press(bot.slack.homes[ANNA], AGAIN, person=ANNA) == {}
    await home(bot, shows=lambda text: "recorded, activity ID" in text)
    await bot.at_rest()
    assert "✅ Recorded on" in bot.slack.workspace.messages[-1].text


async def test_a_button_that_is_past_its_time_is_answered_above_the_page(bot: Bot) -> None:
    await failed(bot, Behaviour.DROP)
    stale = bot.slack.homes[ANNA]
    await bot.slack.press(stale, THERE, person=ANNA)
    await home(bot, shows=lambda text: "confirmed by" in text)
    await bot.slack.press(stale, AGAIN, person=ANNA)
    text = text_of(await home(bot, shows=lambda text: "nothing was done" in text))
    assert text.startswith("<@U0ANNA> already confirmed that this is on ticket")
    assert "nothing was done" not in await opened(bot)


OTHER, CORP = {"id": "T0OTHER"}, {"id": "E0CORP"}
CLAIMS: dict[str, dict[str, Any]] = {
    "all the other's": {"team": OTHER, "user": {"team_id": "T0OTHER"}},
    "a member of the other, in the first": {"user": {"team_id": "T0OTHER"}},
    "a member of the first, in the other": {"team": OTHER, "user": {"team_id": TEAM}},
    "no team": {"team": None, "user": {"team_id": "T0OTHER"}},
    "an organisation's": {"team": OTHER, "user": {"team_id": "E0CORP"}, "enterprise": CORP},
    "no team, an organisation's": {
        "team": None,
        "user": {"team_id": "T0OTHER"},
        "enterprise": CORP,
    },
}


async def test_another_workspaces_click_reaches_nothing(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await failed(bot, Behaviour.DROP)
    kept: list[dict[str, Any]] = []

    async def keep(payload: dict[str, Any]) -> dict[str, Any]:
        kept.append(payload)
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(bot.slack, "_interact", keep)
        for label in (AGAIN, THERE):
            await bot.slack.press(bot.slack.homes[ANNA], label, person=ANNA)
    before = len(publications(bot))
    for claim in CLAIMS.values():
        for payload in kept:
            changes = claim | {"user": {"id": "U0MALLORY", **claim["user"]}}
            if "enterprise" in claim:  # a view of the first would name its workspace
                changes["view"] = payload["view"] | {"team_id": "T0OTHER"}
            assert await bot.slack._interact(payload | changes) == {}
    await bot.at_rest()

    assert "may or may not be recorded" in await opened(bot)
    assert len(bot.leadsquared.ledger.calls) == 1
    assert len(publications(bot)) == before + 1
    assert publications(bot, "U0MALLORY") == []


async def test_what_breaks_at_a_click_is_said_above_the_page(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    await failed(bot, Behaviour.DROP)

    async def break_down(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(bot.parts.acceptance, "find", break_down)
    await bot.slack.press(bot.slack.homes[ANNA], THERE, person=ANNA)
    await home(bot, shows=lambda text: text.startswith("Something went wrong in the bot"))


# -- admins


def admin(bot: Bot) -> None:
    bot.slack.workspace.people[ADA] = Person(ADA, "Ada", TEAM, is_admin=True)


async def test_admins_read_what_waits_and_what_failed(bot: Bot) -> None:
    admin(bot)
    for behaviour in (Behaviour.FAILED, Behaviour.DROP, Behaviour.UNAUTHORIZED):
        await recorded(bot, f"{ticket_that(behaviour)} hello")
    bot.leadsquared.latency = 0.5
    text = await opened(bot, ADA)

    assert "⚠️ May or may not be recorded: 1." in text
    assert "❌ Not recorded in the last 24 hours: 2." in text
    assert re.search(r"Last error .*: LeadSquared rejected the access keys\.", text)
    assert "hello" not in text
    assert "Connect LeadSquared" in text
    assert "the last 24 hours" not in await opened(bot, ANNA)
    assert "Connect LeadSquared" not in text_of(bot.slack.homes[ANNA])


async def test_an_admin_reads_that_all_is_well(bot: Bot) -> None:
    admin(bot)
    assert "✅ Nothing waits, and nothing failed in the last 24 hours." in await opened(bot, ADA)


async def test_an_admin_can_open_the_set_up_there(bot: Bot) -> None:
    admin(bot)
    await opened(bot, ADA)
    view = bot.slack.homes[ADA]
    assert await bot.slack.press(view, "Connect LeadSquared", person=ADA) == {}
    await bot.slack.until(lambda: "Org ID" in str(bot.slack.modals.open))


async def test_a_person_whose_role_slack_does_not_tell_is_no_admin(bot: Bot) -> None:
    admin(bot)
    bot.slack.faults["users.info"].append(Fault("internal_error"))
    assert "Connect LeadSquared" not in await opened(bot, ADA)
    assert "Connect LeadSquared" in await opened(bot, ADA), "the next opening asks again"


# -- trouble


async def test_what_slack_does_not_take_is_shown_at_the_next_opening(bot: Bot) -> None:
    bot.slack.faults["views.publish"].append(Fault("internal_error"))
    await bot.slack.open_home(ANNA)
    while not publications(bot):
        await asyncio.sleep(0.01)
    assert bot.slack.homes == {}
    assert "How to record" in await opened(bot)


@pytest.mark.parametrize("event", ["app_uninstalled", "tokens_revoked", "message"])
async def test_an_event_that_the_bot_does_not_need_is_taken(bot: Bot, event: str) -> None:
    assert await bot.slack.event(event, team_id=TEAM) == {}, "else Slack sends it again"


async def test_a_locked_database_is_said_in_the_page(bot: Bot, tmp_path: Path) -> None:
    await failed(bot, Behaviour.DROP)
    view = bot.slack.homes[ANNA]
    holder = sqlite3.connect(tmp_path / "bot.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert "The bot can't read its database" in await opened(bot)
        await bot.slack.press(view, THERE, person=ANNA)
        await home(bot, shows=lambda text: text.startswith("The bot couldn't store this"))
    finally:
        holder.execute("ROLLBACK")
        holder.close()
    text = await opened(bot)
    assert "may or may not be recorded" in text
    assert "couldn't store" not in text


async def test_a_token_that_slack_rejects_publishes_nothing(bot: Bot) -> None:
    await opened(bot)
    await bot.type("143 before")
    await home(bot, shows=lambda text: "Ticket 143: recorded" in text)
    bot.slack.faults["chat.postMessage"].append(Fault("invalid_auth"))
    await bot.type("144 hello")
    await bot.told_to(ANNA)
    before = len(publications(bot))
    await bot.at_rest()
    await bot.slack.open_home(ANNA)
    assert len(publications(bot)) == before


async def test_the_page_is_published_by_the_process_that_sends(
    bot: Bot, environment: dict[str, str], start: Start
) -> None:
    await opened(bot)
    bot.parts.worker.stop()
    bot.parts.teller.stop()
    async with start(environment, surface=False):
        bot.slack.request_url = f"{bot.url}/slack/events"
        await bot.type("143 hello")
        await home(bot, shows=lambda text: "Ticket 143: recorded" in text)


async def test_a_stop_waits_for_no_publication(environment: dict[str, str], start: Start) -> None:
    async with start(environment) as bot:
        await opened(bot)
        bot.slack.faults["views.publish"].append(Fault("", delay=60.0))
        await bot.slack.open_home(ANNA)
        started = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - started < 10


async def test_the_page_is_shown_by_websocket_too(
    environment: dict[str, str], start: Start
) -> None:
    del environment["SLACK_SIGNING_SECRET"], environment["PORT"]
    async with start(environment | {"SLACK_APP_TOKEN": APP_TOKEN}) as bot:
        await recorded(bot, "143 hello")
        assert "Ticket 143: recorded" in await opened(bot)
