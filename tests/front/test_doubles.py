"""What would be recorded a second time by hand is asked about first, and stays possible."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.activities.acceptance import Double
from bot.activities.delivery import State, Submission
from bot.database.schema import migrate_database
from bot.database.tables import deliveries
from bot.playground.leadsquared import Behaviour
from bot.playground.slack import Fault
from bot.playground.workspace import Posted
from support.databases import database
from support.running import TEAM, Bot, Start, ticket_that
from support.sqlite import locked

AGAIN = "Record again"


@pytest.fixture(params=["sqlite", "postgresql"])
async def either(
    request: pytest.FixtureRequest, start: Start, environment: dict[str, str]
) -> AsyncIterator[Bot]:
    """A bot on either database."""
    if request.param == "sqlite":
        async with start(environment) as bot:
            yield bot
        return
    with database(migrate_database) as url:
        async with start(environment | {"DATABASE_URL": url}) as bot:
            yield bot


async def age(bot: Bot, seconds: float) -> None:
    """Let everything have been accepted so many seconds earlier."""
    earlier = sa.update(deliveries).values(accepted_at=deliveries.c.accepted_at - seconds)
    await bot.parts.database.run(lambda connection: connection.execute(earlier))


async def typed(bot: Bot, text: str, **who: str) -> Posted | None:
    answer = await bot.type(text, **who)
    await bot.at_rest()
    return answer


def notice(modal: dict[str, Any]) -> str:
    return json.dumps(
        [block for block in modal["blocks"] if block["type"] == "section"], ensure_ascii=False
    )


# -- by command


async def test_the_same_words_on_the_same_ticket_are_asked_about_and_recorded_again_by_a_button(
    either: Bot,
) -> None:
    bot = either
    assert await typed(bot, "143 the form is signed") is None
    await age(bot, 20)
    asked = await typed(bot, "#143 the form is signed")

    assert asked is not None
    assert asked.ephemeral == "U0ANNA"
    assert re.search(
        r"already recorded this text on ticket 143 2\d seconds ago \(activity ID 1\)", asked.text
    )
    assert asked.text.startswith("You already")
    assert list(asked.buttons()) == [AGAIN]
    assert len(bot.leadsquared.on("143")) == 1

    await bot.slack.click(asked, AGAIN, person="U0ANNA")
    await bot.answered(messages=2)
    await bot.at_rest()
    await bot.parts.background.finish(5)
    assert [activity.text for activity in bot.leadsquared.on("143")] == ["the form is signed"] * 2
    assert "on ticket 143 again" in asked.text
    assert asked.buttons() == {}, "the question is gone"


async def test_two_clicks_on_record_again_record_once(bot: Bot) -> None:
    await typed(bot, "143 hello")
    asked = await typed(bot, "143 hello")
    assert asked is not None
    clicked = Posted(asked.channel, asked.ts, asked.text, asked.blocks)
    await asyncio.gather(*(bot.slack.click(clicked, AGAIN, person="U0ANNA") for _ in range(4)))
    await bot.at_rest()
    assert len(bot.leadsquared.on("143")) == 2

    third = await typed(bot, "143 hello")
    assert third is not None
    assert "(activity ID 2)" in third.text, "and the next one is asked about the newest"
    await bot.slack.click(third, AGAIN, person="U0ANNA")
    await bot.at_rest()
    assert len(bot.leadsquared.on("143")) == 3


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("144 hello", {}),
        ("143 hello!", {}),
        ("143 Hello", {}),
        ("143 hello", {"person": "U0BEN"}),
    ],
)
async def test_another_ticket_text_or_person_is_no_double(
    either: Bot, text: str, who: dict[str, str]
) -> None:
    await typed(either, "143 hello")
    assert await typed(either, text, **who) is None
    assert len(either.leadsquared.ledger.activities) == 2


async def test_another_conversation_of_the_same_tenant_is_a_double_all_the_same(bot: Bot) -> None:
    await typed(bot, "143 hello")
    assert await typed(bot, "143 hello", channel="C0OTHER") is not None


async def test_after_two_minutes_nobody_is_asked(either: Bot) -> None:
    await typed(either, "143 hello")
    await age(either, 100)
    assert await typed(either, "143 hello") is not None
    await age(either, 20)
    assert await typed(either, "143 hello") is None
    assert len(either.leadsquared.on("143")) == 2


async def test_what_was_rejected_may_be_typed_again_without_a_question(either: Bot) -> None:
    ticket = ticket_that(Behaviour.FAILED)
    await typed(either, f"{ticket} hello")
    either.leadsquared.tickets[ticket] = Behaviour.FINE
    assert await typed(either, f"{ticket} hello") is None
    assert len(either.leadsquared.on(ticket)) == 1


async def test_what_is_still_on_its_way_is_a_double_too(bot: Bot) -> None:
    bot.parts.worker.stop()
    await bot.type("143 hello")
    asked = await bot.type("143 hello")
    assert asked is not None
    assert re.search(
        r"already sent this text to ticket 143 (just now|\d seconds? ago), "
        r"and it is still being recorded",
        asked.text,
    )


async def test_what_may_be_on_the_ticket_is_asked_about_with_the_advice_to_look(bot: Bot) -> None:
    ticket = ticket_that(Behaviour.DROP)
    await typed(bot, f"{ticket} hello")
    asked = await typed(bot, f"{ticket} hello")
    assert asked is not None
    assert "and it may be there" in asked.text


async def test_what_stood_in_the_way_and_is_rejected_meanwhile_does_not_stand_in_the_way(
    bot: Bot,
) -> None:
    """Another process may reject the earlier one between the two queries of an acceptance."""
    bot.parts.worker.stop()
    await bot.type("143 hello")
    acceptance = bot.parts.acceptance
    submission = Submission(None, TEAM, "C0SUPPORT", "U0ANNA", "another-key", "143", "hello")
    query = acceptance._double

    def rejected_first(connection: sa.Connection, *of: Any, **more: Any) -> Double | None:
        connection.execute(sa.update(deliveries).values(state=State.REJECTED, problem="failed"))
        return query(connection, *of, **more)

    acceptance._double = rejected_first  # type: ignore[method-assign]
    assert not isinstance(await acceptance.accept(submission), Double)


async def test_a_workspaces_own_send_again_is_not_asked_about(bot: Bot) -> None:
    ticket = ticket_that(Behaviour.DROP)
    await typed(bot, f"{ticket} hello")
    answer = await bot.answered()
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    await bot.slack.click(answer, "Send again", person="U0ANNA")
    await bot.at_rest()
    assert len(bot.leadsquared.on(ticket)) == 1


async def test_record_again_can_be_pressed_again_when_the_database_did_not_take_it(
    bot: Bot, tmp_path: Path
) -> None:
    await typed(bot, "143 hello")
    asked = await typed(bot, "143 hello")
    assert asked is not None
    with locked(tmp_path / "bot.db"):
        await bot.slack.click(asked, AGAIN, person="U0ANNA")
    assert "couldn't store this" in (await bot.told_to("U0ANNA", messages=2)).text
    await bot.slack.click(asked, AGAIN, person="U0ANNA")
    await bot.at_rest()
    assert len(bot.leadsquared.on("143")) == 2


async def test_another_message_with_the_same_words_is_not_called_this_message(bot: Bot) -> None:
    for _ in range(2):
        message = await bot.slack.say("done", channel="C0SUPPORT", person="U0GUEST")
        await bot.submit(await bot.use(message), ticket="143")
        await bot.at_rest()
    (modal,) = bot.slack.modals.open
    assert "already recorded this text on ticket 143" in notice(modal)


@pytest.mark.parametrize("who", [{"person": "U0BEN"}, {"person": "U0ANNA", "team_id": "T0OTHER"}])
async def test_record_again_pressed_by_another_does_nothing_but_say_so(
    bot: Bot, who: dict[str, str]
) -> None:
    await typed(bot, "143 hello")
    asked = await typed(bot, "143 hello")
    assert asked is not None
    await bot.slack.click(asked, AGAIN, **who)
    await bot.at_rest()
    await bot.parts.background.finish(5)
    assert len(bot.leadsquared.on("143")) == 1
    assert "no such activity" in asked.text


@pytest.mark.parametrize(
    "value", ["", "x", "{}", '{"delivery": 1, "key": 2}', '{"delivery": "a", "key": "b", "c": "d"}']
)
async def test_record_again_with_a_value_of_no_ones_does_nothing_but_say_so(
    bot: Bot, value: str
) -> None:
    await typed(bot, "143 hello")
    asked = await typed(bot, "143 hello")
    assert asked is not None
    asked.buttons()[AGAIN]["value"] = value
    await bot.slack.click(asked, AGAIN, person="U0ANNA")
    await bot.parts.background.finish(5)
    assert "no such activity" in asked.text
    assert len(bot.leadsquared.on("143")) == 1


async def test_the_text_is_found_by_a_fingerprint_that_does_not_tell_it(bot: Bot) -> None:
    await typed(bot, "143 hello")
    await typed(bot, "143 hello", person="U0BEN")
    select = sa.select(deliveries.c.fingerprint)
    rows = await bot.parts.database.run(
        lambda connection: connection.execute(select).scalars().all()
    )
    assert len(set(rows)) == 2
    assert all(len(row) == 16 for row in rows)


# -- by the form


async def test_the_form_asks_with_what_was_typed_still_in_it(either: Bot) -> None:
    bot = either
    await typed(bot, "143 the form is signed")
    modal = await bot.ask_by_command("143")
    answer = await bot.submit(modal, text="the form is signed")
    assert answer["response_action"] == "update"
    (modal,) = bot.slack.modals.open
    assert re.search(
        r"already recorded this (text|message) on ticket \d+ "
        r"(just now|\d seconds? ago) \(activity ID 1\)",
        notice(modal),
    )
    assert modal["submit"]["text"] == AGAIN
    assert bot.slack.modals.value(modal, "text") == "the form is signed"
    assert len(bot.leadsquared.on("143")) == 1

    answers = [*await asyncio.gather(bot.submit(modal), bot.submit(modal))]
    await bot.at_rest()
    assert answers == [{}, {}]
    assert len(bot.leadsquared.on("143")) == 2


async def test_two_forms_with_the_same_words_are_asked_about(bot: Bot) -> None:
    for _ in range(2):
        await bot.submit(await bot.ask_by_command("143"), text="hello")
        await bot.at_rest()
    assert len(bot.slack.modals.open) == 1
    assert await typed(bot, "143 hello") is not None, "and so is the command after them"


async def test_a_message_recorded_before_is_said_when_its_form_opens_whoever_did_it(
    either: Bot,
) -> None:
    bot = either
    message = await bot.slack.say("about #143", channel="C0SUPPORT", person="U0GUEST")
    await bot.submit(await bot.use(message, person="U0BEN"), "U0BEN")
    await bot.at_rest()
    await age(bot, 3600)
    modal = await bot.use(message)
    assert "already recorded this message on ticket 143 on <!date^" in notice(modal)
    assert "<@U0BEN> already recorded" in notice(modal)
    assert modal["submit"]["text"] == AGAIN

    assert await bot.submit(modal) == {}, "it stays possible"
    await bot.at_rest()
    assert len(bot.leadsquared.on("143")) == 2


async def test_what_the_form_says_stays_when_the_other_of_message_and_thread_is_chosen(
    bot: Bot,
) -> None:
    first = await bot.slack.say("about #143", channel="C0SUPPORT", person="U0GUEST")
    await bot.slack.say("more", channel="C0SUPPORT", person="U0GUEST", thread_ts=first.ts)
    await bot.submit(await bot.use(first))
    await bot.at_rest()
    bot.slack.faults["chat.getPermalink"].append(Fault("message_not_found"))
    modal = await bot.use(first)
    await bot.slack.choose(modal, "what_message", "thread", person="U0ANNA")
    await bot.slack.until(lambda: "thread_text" in str(bot.slack.modals.open[-1]))
    modal = bot.slack.modals.open[-1]
    assert "(activity ID 1)" in notice(modal)
    assert modal["submit"]["text"] == AGAIN
    assert "Slack didn't give one" in str(modal["blocks"][-1])


async def test_the_same_person_is_asked_once_and_not_twice(bot: Bot) -> None:
    message = await bot.slack.say("about #143", channel="C0SUPPORT", person="U0GUEST")
    await bot.submit(await bot.use(message))
    await bot.at_rest()
    modal = await bot.use(message)
    assert re.search(
        r"already recorded this (text|message) on ticket \d+ "
        r"(just now|\d seconds? ago) \(activity ID 1\)",
        notice(modal),
    )
    assert await bot.submit(modal) == {}
    await bot.at_rest()
    assert len(bot.leadsquared.on("143")) == 2


async def test_a_message_on_another_ticket_already_is_asked_about_when_that_ticket_is_typed(
    bot: Bot,
) -> None:
    message = await bot.slack.say("about #143", channel="C0SUPPORT", person="U0GUEST")
    for ticket in ("143", "144"):
        await bot.submit(await bot.use(message), ticket=ticket)
        await bot.at_rest()
    modal = await bot.use(message, person="U0BEN")
    assert bot.slack.modals.value(modal, "ticket") == "144"
    answer = await bot.submit(modal, "U0BEN", ticket="143", text="in other words")
    assert answer["response_action"] == "update"
    (modal,) = bot.slack.modals.open
    assert "(activity ID 1)" in notice(modal)
    assert (bot.slack.modals.value(modal, "ticket"), bot.slack.modals.value(modal, "text")) == (
        "143",
        "in other words",
    )
    assert await bot.submit(modal, "U0BEN") == {}
    await bot.at_rest()
    assert [activity.id for activity in bot.leadsquared.on("143")] == ["1", "3"]


async def test_a_message_that_a_colleague_records_meanwhile_is_asked_about_at_the_submission(
    bot: Bot,
) -> None:
    message = await bot.slack.say("about #143", channel="C0SUPPORT", person="U0GUEST")
    mine, colleagues = await bot.use(message), await bot.use(message, person="U0BEN")
    assert await bot.submit(colleagues, "U0BEN") == {}
    await bot.at_rest()
    answer = await bot.submit(mine)
    assert answer["response_action"] == "update"
    assert "<@U0BEN> already recorded" in notice(bot.slack.modals.open[-1])
    assert len(bot.leadsquared.on("143")) == 1


async def test_a_link_that_was_added_makes_the_same_words_no_others(either: Bot) -> None:
    bot = either
    one, two = [
        await bot.slack.say("customer said yes", channel="C0SUPPORT", person="U0GUEST")
        for _ in range(2)
    ]
    assert await bot.submit(await bot.use(one), ticket="143") == {}
    await bot.at_rest()
    asked = await typed(bot, "143 customer said yes")
    assert asked is not None
    assert re.search(
        r"already recorded this (text|message) on ticket \d+ "
        r"(just now|\d seconds? ago) \(activity ID 1\)",
        asked.text,
    )
    answer = await bot.submit(await bot.use(two), ticket="143")
    assert answer["response_action"] == "update"
    assert len(bot.leadsquared.on("143")) == 1

    await bot.slack.click(asked, AGAIN, person="U0ANNA")
    await bot.at_rest()
    assert bot.leadsquared.on("143")[-1].text == "customer said yes", "what was typed"


async def test_what_was_chosen_is_what_is_asked_about_and_recorded_again(bot: Bot) -> None:
    first = await bot.slack.say("about #143", channel="C0SUPPORT", person="U0GUEST")
    await bot.slack.say("more", channel="C0SUPPORT", person="U0GUEST", thread_ts=first.ts)
    for ticket in ("143", "144"):
        await bot.submit(await bot.use(first), ticket=ticket)
        await bot.at_rest()
    answer = await bot.submit(await bot.use(first), ticket="143", what_message="thread")
    assert answer["response_action"] == "update"
    (modal,) = bot.slack.modals.open
    assert "more" in bot.slack.modals.value(modal, "thread_text")
    assert bot.slack.modals.value(modal, "what_thread") == "thread"
    assert await bot.submit(modal) == {}
    await bot.at_rest()
    assert "Guest, " in bot.leadsquared.on("143")[-1].text


async def test_an_edited_activity_is_asked_about_like_any_other(either: Bot) -> None:
    bot = either
    await typed(bot, "143 hello")
    await typed(bot, f"{ticket_that(Behaviour.BAD_REQUEST)} hello")
    answer = await bot.answered(messages=2)
    await bot.slack.click(answer, "Edit and send again", person="U0ANNA")
    (modal,) = bot.slack.modals.open
    assert (await bot.submit(modal, ticket="143"))["response_action"] == "update"
    (modal,) = bot.slack.modals.open
    assert "(activity ID 1)" in notice(modal)
    assert len(bot.leadsquared.on("143")) == 1
    assert list(answer.buttons()) == ["Send again", "Edit and send again"], (
        "nothing was decided yet"
    )
    assert await bot.submit(modal) == {}
    await bot.at_rest()
    assert len(bot.leadsquared.on("143")) == 2


async def test_every_message_of_a_thread_that_was_recorded_whole_is_on_that_ticket(
    either: Bot,
) -> None:
    bot = either
    first, second, third = [
        await bot.slack.say(
            text,
            channel="C0SUPPORT",
            person="U0GUEST",
            thread_ts=thread_ts,
            ts=f"179000000{number}.000000",
        )
        for number, (text, thread_ts) in enumerate(
            [("about #143", None), ("more", "1790000000.000000"), ("and more", "1790000000.000000")]
        )
    ]
    assert await bot.submit(await bot.use(second), what_message="thread") == {}
    await bot.at_rest()
    later = await bot.slack.say(
        "later", channel="C0SUPPORT", person="U0GUEST", thread_ts=first.ts, ts="1790000009.000000"
    )
    for message in (first, second, third):
        assert "already recorded this message on ticket 143" in notice(
            await bot.use(message, person="U0BEN")
        )
    modal = await bot.use(later)
    assert notice(modal) == "[]", "it came after that"
    assert await bot.submit(modal) == {}
    await bot.at_rest()
    assert len(bot.leadsquared.on("143")) == 2


async def test_what_a_whole_thread_had_no_room_for_is_not_on_the_ticket(bot: Bot) -> None:
    first = await bot.slack.say(
        "about #143", channel="C0SUPPORT", person="U0GUEST", ts="1790000000.000000"
    )
    replies = [
        await bot.slack.say(
            "x" * 400,
            channel="C0SUPPORT",
            person="U0GUEST",
            thread_ts=first.ts,
            ts=f"17900000{number}.000000",
        )
        for number in range(10, 30)
    ]
    modal = await bot.use(first)
    await bot.slack.choose(modal, "what_message", "thread", person="U0ANNA")
    await bot.slack.until(lambda: "thread_text" in str(bot.slack.modals.open[-1]))
    assert await bot.submit(bot.slack.modals.open[-1]) == {}
    await bot.at_rest()
    assert "already recorded this" in notice(await bot.use(replies[0]))
    assert notice(await bot.use(replies[-1])) == "[]"


async def test_another_message_of_the_same_thread_is_no_double(bot: Bot) -> None:
    first = await bot.slack.say("about #143", channel="C0SUPPORT", person="U0GUEST")
    second = await bot.slack.say("more", channel="C0SUPPORT", person="U0GUEST", thread_ts=first.ts)
    for message in (first, second):
        assert await bot.submit(await bot.use(message)) == {}
        await bot.at_rest()
    assert len(bot.leadsquared.on("143")) == 2
