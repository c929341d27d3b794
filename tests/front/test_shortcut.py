"""The message shortcut, through the front door.

A message in Slack, the form, the ticket, the thread.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from bot.installations.single import Identity
from bot.playground.leadsquared import Behaviour
from bot.playground.limits import problems_of_view
from bot.playground.slack import APP_TOKEN, Fault
from bot.playground.workspace import Person, Posted
from bot.tenants.directory import Scope
from support.running import TEAM, Bot, Start, ticket_that
from support.sqlite import locked

GUID = "0d9f1b6c-6a54-4b62-8e7e-9c9f5b0c1a2d"


def acting_in(team_id: str) -> dict[str, Any]:
    """What a payload says of a member of another workspace."""
    return {
        "team": {"id": team_id, "domain": "other"},
        "user": {"id": "U0ANNA", "team_id": team_id},
    }


async def said(
    bot: Bot, text: str, *, person: str | None = "U0GUEST", channel: str = "C0SUPPORT", **shape: Any
) -> Posted:
    return await bot.slack.say(text, channel=channel, person=person, **shape)


async def thread(bot: Bot, *texts: str, channel: str = "C0SUPPORT") -> list[Posted]:
    """Say so many messages in a thread of their own."""
    first = await said(bot, texts[0], channel=channel)
    return [
        first,
        *[await said(bot, text, channel=channel, thread_ts=first.ts) for text in texts[1:]],
    ]


def block_ids(modal: dict[str, Any]) -> list[str]:
    return [block["block_id"] for block in modal["blocks"] if block["type"] == "input"]


def words(modal: dict[str, Any]) -> str:
    """Return what stands in a form besides its fields."""
    return json.dumps(
        [block for block in modal["blocks"] if block["type"] != "input"], ensure_ascii=False
    )


def hint(modal: dict[str, Any], block_id: str = "text") -> str:
    (found,) = (
        block["hint"]["text"] for block in modal["blocks"] if block.get("block_id") == block_id
    )
    return str(found)


def permalink(message: Posted) -> str:
    cid = f"?thread_ts={message.thread_ts}&cid={message.channel}" if message.thread_ts else ""
    return (
        "https://playground.slack.com/archives/"
        f"{message.channel}/p{message.ts.replace('.', '')}{cid}"
    )


def methods(bot: Bot) -> list[str]:
    return [method for method, _ in bot.slack.workspace.calls]


async def recorded(bot: Bot, message: Posted, person: str = "U0ANNA", **values: Any) -> Posted:
    """Record a message by its shortcut, and return the answer."""
    before = len([one for one in bot.slack.workspace.messages if one.is_the_bots and one.thread_ts])
    assert await bot.submit(await bot.use(message, person=person), person, **values) == {}
    answer = await bot.answered(messages=before + 1)
    await bot.at_rest()
    return answer


# -- the way from a message to its ticket


async def test_a_message_is_recorded_with_its_link_and_answered_in_its_thread(bot: Bot) -> None:
    message = await said(bot, "The form on #143 is signed &amp; sent")
    answer = await recorded(bot, message)

    assert [
        (activity.ticket_id, activity.text) for activity in bot.leadsquared.ledger.activities
    ] == [("143", f"The form on #143 is signed & sent\n\nSlack message: {permalink(message)}")]
    assert answer.thread_ts == message.ts
    assert "Recorded on ticket 143 by <@U0ANNA>, activity ID 1" in answer.text
    assert [one for one in bot.slack.workspace.messages if one.is_the_bots] == [answer], (
        "no anchor is posted"
    )
    assert bot.slack.modals.open == [], "the form is closed"


async def test_a_reply_is_answered_in_the_thread_that_it_stands_in(bot: Bot) -> None:
    _, reply = await thread(bot, "Hello", "It is about ticket 144")
    answer = await recorded(bot, reply)

    assert answer.thread_ts == reply.thread_ts
    assert bot.leadsquared.on("144")[0].text.endswith(f"Slack message: {permalink(reply)}")


async def test_what_was_edited_in_the_form_is_what_is_recorded(bot: Bot) -> None:
    message = await said(bot, "The form on #143 is signed")
    await recorded(bot, message, ticket="#145", text="a < b & <@U0BEN>\n\nthird", link=[])

    assert [(one.ticket_id, one.text) for one in bot.leadsquared.ledger.activities] == [
        ("145", "a < b & <@U0BEN>\n\nthird")
    ]


async def test_it_works_through_the_socket(start: Start, environment: dict[str, str]) -> None:
    async with start(environment | {"SLACK_APP_TOKEN": APP_TOKEN}) as bot:
        _, reply = await thread(bot, "Ticket 143 is stuck", "Any news?")
        modal = await bot.use(reply)
        await bot.slack.choose(modal, "what_message", "thread", person="U0ANNA")
        await bot.slack.until(lambda: "thread_text" in str(bot.slack.modals.open[-1]))
        assert await bot.submit(bot.slack.modals.open[-1]) == {}
        assert "Recorded" in (await bot.answered()).text
        await bot.at_rest()
        assert "Ticket 143 is stuck" in bot.leadsquared.on("143")[0].text


# -- opening


async def test_the_form_opens_before_anything_is_looked_up(bot: Bot) -> None:
    _, reply = await thread(bot, "Ticket 143", "for <@U0BEN>")
    await bot.use(reply)

    calls = [method for method in methods(bot) if method != "auth.test"]
    assert calls[0] == "views.open"
    assert calls[-1] == "views.update"
    assert {"conversations.replies", "chat.getPermalink", "users.info"} == set(calls[1:-1])


async def test_the_form_opens_at_once_while_slack_is_slow_with_everything_else(bot: Bot) -> None:
    _, reply = await thread(bot, "Ticket 143", "for <@U0BEN>")
    for method in ("conversations.replies", "chat.getPermalink", "users.info", "users.info"):
        bot.slack.faults[method].append(Fault("", delay=60))
    started = time.monotonic()
    assert await bot.slack.shortcut(reply, person="U0ANNA") == {}
    assert time.monotonic() - started < 1.5, "the trigger_id is good for 3 s"
    (loading,) = bot.slack.modals.open
    assert "Reading the message" in words(loading)
    assert problems_of_view(loading) == []

    await bot.slack.until(lambda: "submit" in bot.slack.modals.open[-1], within=12)
    (modal,) = bot.slack.modals.open
    assert bot.slack.modals.value(modal, "text") == "for @U0BEN"
    assert "Slack didn't answer in time" in words(modal)
    assert await bot.submit(modal, ticket="143") == {}
    await bot.at_rest()
    assert [activity.text for activity in bot.leadsquared.on("143")] == ["for @U0BEN"]


@pytest.mark.parametrize("error", ["expired_trigger_id", "internal_error"])
async def test_a_form_that_slack_does_not_open_is_told_to_the_person_alone(
    bot: Bot, error: str
) -> None:
    bot.slack.faults["views.open"].append(Fault(error))
    assert await bot.slack.shortcut(await said(bot, "hello"), person="U0ANNA") == {}

    assert "Slack didn't open the form" in (await bot.told_to("U0ANNA")).text
    assert bot.slack.modals.open == []


async def test_a_form_that_slack_opens_late_is_filled_in_all_the_same(bot: Bot) -> None:
    bot.slack.faults["views.open"].append(Fault("", delay=2.1))
    modal = await bot.use(await said(bot, "about #143"))
    assert bot.slack.modals.value(modal, "ticket") == "143"
    await bot.parts.background.finish(5)
    assert [message for message in bot.slack.workspace.messages if message.ephemeral] == []


async def test_a_form_that_slack_refuses_to_fill_in_is_told_to_the_person_alone(bot: Bot) -> None:
    bot.slack.faults["views.update"].append(Fault("invalid_arguments"))
    await bot.slack.shortcut(await said(bot, "about #143"), person="U0ANNA")
    assert "Slack didn't open the form" in (await bot.told_to("U0ANNA")).text


@pytest.mark.parametrize(
    ("mapped", "says"),
    [(False, "tenants map NAME --team T0SECOND"), (True, "isn't installed in this workspace")],
)
async def test_a_workspace_that_the_token_is_not_for_is_told_so(
    bot: Bot,
    mapped: bool,  # noqa: FBT001 - a parameter
    says: str,
) -> None:
    if mapped:
        await bot.parts.directory.map("environment", Scope(team_id="T0SECOND"))
    message = await said(bot, "about #143")
    assert await bot.slack.shortcut(message, person="U0ANNA", **acting_in("T0SECOND")) == {}
    assert says in (await bot.told_to("U0ANNA")).text


async def test_before_slack_has_said_whose_the_token_is_the_form_asks_to_try_again(
    bot: Bot,
) -> None:
    bot.single.identity = None
    message = await said(bot, "about #143")
    assert await bot.slack.shortcut(message, person="U0ANNA", **acting_in("T0STRANGER")) == {}
    assert "just started" in (await bot.told_to("U0ANNA")).text
    assert bot.slack.modals.open == []


async def test_a_form_that_was_closed_before_it_was_filled_in_is_left_alone(bot: Bot) -> None:
    bot.slack.faults["chat.getPermalink"].append(Fault("", delay=0.3))
    await bot.slack.shortcut(await said(bot, "hello"), person="U0ANNA")
    bot.slack.modals.open.clear()
    await bot.parts.background.finish(5)

    assert methods(bot)[-1] == "views.update"
    assert bot.slack.modals.open == []


async def test_a_form_that_slack_does_not_fill_in_at_first_is_filled_in_by_another_try(
    bot: Bot,
) -> None:
    bot.slack.faults["views.update"] += [
        Fault(status=500),
        Fault("ratelimited", status=429, retry_after=1),
    ]
    modal = await bot.use(await said(bot, "about #143"))
    assert bot.slack.modals.value(modal, "ticket") == "143"


async def test_a_workspace_without_a_tenant_gets_the_form_that_says_so(bot: Bot) -> None:
    await bot.parts.directory.remove("environment")
    modal = await bot.use(await said(bot, "about #143"))

    assert "submit" not in modal
    assert "isn't connected to LeadSquared" in words(modal)
    assert f"python -m bot tenants map NAME --team {TEAM}" in words(modal)


async def test_a_tenant_that_goes_while_the_form_is_open_is_told_above_what_was_typed(
    bot: Bot,
) -> None:
    modal = await bot.use(await said(bot, "about #143"))
    await bot.parts.directory.remove("environment")
    answer = await bot.submit(modal, text="typed with care")

    assert answer["response_action"] == "update"
    (modal,) = bot.slack.modals.open
    assert "isn't connected to LeadSquared" in words(modal)
    assert bot.slack.modals.value(modal, "text") == "typed with care"


# -- the ticket


@pytest.mark.parametrize(
    ("text", "ticket"),
    [
        ("about #143, please", "143"),
        ("it is Ticket 144", "144"),
        (f"ticket {GUID}", GUID),
        ("see <https://acme.leadsquared.com/tickets/145>", "145"),
        ("see <https://example.com/tickets/145>", None),
        ("nothing of the kind", None),
    ],
)
async def test_the_ticket_is_found_in_the_message(bot: Bot, text: str, ticket: str | None) -> None:
    assert bot.slack.modals.value(await bot.use(await said(bot, text)), "ticket") == ticket


async def test_the_ticket_is_found_in_the_threads_first_message(bot: Bot) -> None:
    _, reply = await thread(bot, "It is about #144", "Any news?")
    assert bot.slack.modals.value(await bot.use(reply), "ticket") == "144"


async def test_the_message_goes_before_the_first_one_and_what_was_recorded_before_both(
    bot: Bot,
) -> None:
    first, second, third = await thread(bot, "It is about #143", "No, about #144", "Or #143?")
    assert bot.slack.modals.value(await bot.use(second), "ticket") == "144"
    answer = await recorded(bot, third, ticket="145")
    assert "The form will suggest ticket 145 for this thread" in answer.text
    assert "The form will suggest ticket 145 for this thread" in str(answer.blocks[-1]), (
        "in the small print"
    )

    for message in (first, second, third):
        assert bot.slack.modals.value(await bot.use(message), "ticket") == "145"


async def test_a_thread_that_a_command_began_is_remembered_too(bot: Bot) -> None:
    await bot.type("145 hello")
    answer = await bot.answered()
    await bot.at_rest()
    assert "The form will suggest ticket 145 for this thread" in answer.text
    reply = await said(bot, "And I called them", person="U0BEN", thread_ts=bot.anchor().ts)
    assert bot.slack.modals.value(await bot.use(reply), "ticket") == "145"


async def test_the_bots_own_first_message_names_the_ticket_of_what_was_not_recorded(
    bot: Bot,
) -> None:
    ticket = ticket_that(Behaviour.BAD_REQUEST)
    await bot.type(f"{ticket} hello")
    await bot.at_rest()
    reply = await said(bot, "And I called them", person="U0BEN", thread_ts=bot.anchor().ts)
    assert bot.slack.modals.value(await bot.use(reply), "ticket") == ticket


async def test_a_thread_of_which_only_the_bots_own_can_be_read_offers_no_choice(bot: Bot) -> None:
    await bot.type("145 hello")
    await bot.at_rest()
    reply = await said(bot, "deleted just now", person="U0BEN", thread_ts=bot.anchor().ts)
    payload = bot.slack.workspace.message(reply)
    bot.slack.workspace.delete(reply)
    modal = await bot.use(reply, message=payload)
    assert block_ids(modal) == ["ticket", "text"]
    assert bot.slack.modals.value(modal, "text") == "deleted just now"


async def test_a_thread_is_remembered_by_workspace_and_conversation(bot: Bot) -> None:
    message = await said(bot, "hello")
    await recorded(bot, message, ticket="143")
    same_ts = await said(bot, "hello", channel="C0OTHER", ts=message.ts)
    assert bot.slack.modals.value(await bot.use(same_ts), "ticket") is None

    await bot.parts.directory.map("environment", Scope(team_id="T0SECOND"))
    bot.single.identity = Identity(
        None, "E0CORP", is_enterprise_install=True
    )  # this token speaks for both
    bot.slack.workspace.people["U0ANNA"] = Person("U0ANNA", "Anna", "T0SECOND")
    there = acting_in("T0SECOND") | {"enterprise": {"id": "E0CORP", "name": "x"}}
    assert bot.slack.modals.value(await bot.use(message, **there), "ticket") is None


async def test_what_was_not_recorded_is_not_remembered(bot: Bot) -> None:
    message = await said(bot, "hello")
    answer = await recorded(bot, message, ticket=ticket_that(Behaviour.BAD_REQUEST))
    assert "will suggest" not in answer.text
    assert bot.slack.modals.value(await bot.use(message), "ticket") is None


async def test_what_somebody_saw_on_the_ticket_is_remembered(bot: Bot) -> None:
    message, ticket = await said(bot, "hello"), ticket_that(Behaviour.DROP)
    answer = await recorded(bot, message, ticket=ticket)
    await bot.slack.click(answer, "It's there", person="U0BEN")
    modal = await bot.use(message)

    assert bot.slack.modals.value(modal, "ticket") == ticket
    assert "confirmed by <@U0BEN>" in words(modal)


async def test_a_pasted_table_and_a_forwarded_message_are_recorded_with_their_words(
    bot: Bot,
) -> None:
    cells = [
        [{"type": "raw_text", "text": words} for words in row] for row in (("a", "b"), ("c", "d"))
    ]
    pasted = {"fallback": "[no preview available]", "blocks": [{"type": "table", "rows": cells}]}
    word = {"type": "rich_text_section", "elements": [{"type": "text", "text": "her words"}]}
    blocks = [{"type": "rich_text", "elements": [word]}]
    passed_on = {
        "is_share": True,
        "author_name": "Carla",
        "text": "",
        "message_blocks": [{"message": {"blocks": blocks}}],
        "files": [{"name": "contract.pdf"}],
    }
    message = await said(bot, "look", attachments=[pasted, passed_on])
    await recorded(bot, message, ticket="143", link=[])
    text = "look\n\na | b\nc | d\n\n> Carla\n> her words\n> [file: contract.pdf]"
    assert bot.leadsquared.on("143")[-1].text == text


async def test_an_author_whose_profile_came_empty_is_asked_for(bot: Bot) -> None:
    empty: dict[str, Any] = {"user_profile": {"display_name": "", "real_name": ""}}
    first = await said(bot, "hello", person="U0BEN", **empty)
    last = await said(bot, "there", thread_ts=first.ts)
    modal = await chosen(bot, await bot.use(last), "thread")
    assert bot.slack.modals.value(modal, "thread_text").startswith("Ben, ")


# -- the whole thread


async def chosen(bot: Bot, modal: dict[str, Any], value: str) -> dict[str, Any]:
    """Choose what to record, and return the form when it has followed."""
    shown = modal["hash"]
    (block_id,) = [block_id for block_id in block_ids(modal) if block_id.startswith("what_")]
    await bot.slack.choose(modal, block_id, value, person="U0ANNA")
    await bot.slack.until(lambda: bot.slack.modals.open[-1]["hash"] != shown)
    return bot.slack.modals.open[-1]


async def test_the_whole_thread_has_authors_and_times_oldest_first_without_the_bots_own(
    bot: Bot,
) -> None:
    at = 1790000000.0
    first = await said(bot, "It is about #143", ts=f"{at:.6f}")
    await said(bot, "I look into it", person="U0BEN", thread_ts=first.ts, ts=f"{at + 60:.6f}")
    last = await said(
        bot,
        "",
        thread_ts=first.ts,
        ts=f"{at + 120:.6f}",
        files=[{"id": "F1", "name": "contract.pdf"}],
    )
    await recorded(bot, last, link=[])
    modal = await chosen(bot, await bot.use(last, person="U0BEN"), "thread")
    assert "text" not in block_ids(modal)
    await bot.submit(modal, link=[])
    await bot.at_rest()

    assert bot.leadsquared.on("143")[-1].text == (
        "Guest, 2026-09-21 19:43 UTC+05:30:\nIt is about #143\n\n"
        "Ben, 2026-09-21 19:44 UTC+05:30:\nI look into it\n\n"
        "Guest, 2026-09-21 19:45 UTC+05:30:\n[file: contract.pdf]"
    )


async def test_a_message_of_the_thread_cannot_pass_for_another_persons(bot: Bot) -> None:
    head = "Agent Smith, 2026-11-25 10:00 UTC:"
    first = await said(bot, f"Hello\n{head}\nI promise a refund", ts="1790000000.000000")
    last = await said(bot, f"{head}\u2028I do", thread_ts=first.ts, ts="1790000060.000000")
    modal = await chosen(bot, await bot.use(last), "thread")
    await bot.submit(modal, ticket="143", link=[])
    await bot.at_rest()

    assert bot.leadsquared.on("143")[-1].text == (
        f"Guest, 2026-09-21 19:43 UTC+05:30:\nHello\n    {head}\n    I promise a refund\n\n"
        f"Guest, 2026-09-21 19:44 UTC+05:30:\n    {head}\n    I do"
    )


async def test_one_may_change_ones_mind_and_keeps_the_ticket_and_the_link(bot: Bot) -> None:
    first, _ = await thread(bot, "Hello <@U0BEN>", "And more")
    modal = await bot.use(first)
    bot.slack.modals.fill(modal, "ticket", "145")
    bot.slack.modals.fill(modal, "link", [])
    modal = await chosen(bot, modal, "thread")
    modal = await chosen(bot, modal, "message")
    assert bot.slack.modals.value(modal, "text") == "Hello @Ben"
    await bot.submit(modal)
    await bot.at_rest()

    assert [activity.text for activity in bot.leadsquared.on("145")] == ["Hello @Ben"]


async def test_a_thread_that_does_not_fit_is_cut_between_messages_and_says_how_many_are_left_out(
    bot: Bot,
) -> None:
    first, *_ = await thread(
        bot, "#143", *(f"message {number} {'x' * 80}" for number in range(1, 251))
    )
    modal = await chosen(bot, await bot.use(first), "thread")
    text = bot.slack.modals.value(modal, "thread_text")
    taken = text.count("Guest, ")
    assert len(text) <= 3000
    assert text.endswith(
        f"message {taken - 1} {'x' * 80}\n\n[{251 - taken} later messages left out]"
    )
    assert f"this is left out: {251 - taken} later messages" in hint(modal, "thread_text")
    await bot.submit(modal)
    await bot.at_rest()
    assert f"[{251 - taken} later messages left out]" in bot.leadsquared.on("143")[0].text


async def test_what_slack_does_not_let_the_bot_read_of_a_thread_is_counted(bot: Bot) -> None:
    first, *_ = await thread(bot, "#143", *(f"message {number}" for number in range(1, 21)))
    bot.slack.page = 15
    modal = await bot.use(first)
    bot.slack.faults["conversations.replies"] += [
        Fault(""),
        Fault("ratelimited", status=429, retry_after=30),
    ]
    modal = await chosen(bot, modal, "thread")

    assert "[6 later messages left out]" in bot.slack.modals.value(modal, "thread_text")


async def test_where_even_a_message_alone_cannot_be_read_the_reason_is_there(bot: Bot) -> None:
    modal = await bot.use(await said(bot, "hello", channel="C0ELSEWHERE"))
    assert "Only this message can be recorded" in words(modal)


async def test_a_mind_that_is_changed_before_the_form_has_followed_leaves_choice_and_text_agreeing(
    bot: Bot,
) -> None:
    first, _ = await thread(bot, "#143 hello", "more")
    modal = await bot.use(first)
    bot.slack.faults["conversations.replies"].append(Fault("", delay=0.5))
    await bot.slack.choose(modal, "what_message", "thread", person="U0ANNA")
    await bot.slack.choose(modal, "what_message", "message", person="U0ANNA")
    await bot.parts.background.finish(5)
    (modal,) = bot.slack.modals.open
    (what,) = [block_id for block_id in block_ids(modal) if block_id.startswith("what_")]
    whole = "thread_text" in block_ids(modal)
    assert bot.slack.modals.value(modal, what) == ("thread" if whole else "message")
    await bot.submit(modal)
    await bot.at_rest()
    assert ("more" in bot.leadsquared.on("143")[0].text) == whole


async def test_a_form_that_has_changed_meanwhile_is_not_overwritten_by_a_late_choice(
    bot: Bot,
) -> None:
    first, _ = await thread(bot, "#143 hello", "more")
    await recorded(bot, first)
    modal = await bot.use(first, person="U0BEN")
    bot.slack.faults["conversations.replies"].append(Fault("", delay=0.5))
    await bot.slack.choose(modal, "what_message", "thread", person="U0BEN")
    answer = await bot.submit(modal, "U0BEN", what_message="message", ticket="nonsense")
    assert "errors" in answer
    await bot.parts.directory.remove("environment")
    await bot.submit(modal, "U0BEN", what_message="message", ticket="143")
    await bot.parts.background.finish(5)
    (modal,) = bot.slack.modals.open
    assert "isn't connected" in words(modal)
    assert bot.slack.modals.value(modal, "text") == "#143 hello"


async def test_the_way_back_to_the_message_stays_open_when_slack_does_not_show_it(bot: Bot) -> None:
    first, _ = await thread(bot, "#143 hello", "more")
    modal = await chosen(bot, await bot.use(first), "thread")
    limit_reading(bot)
    modal = await chosen(bot, modal, "message")
    assert bot.slack.modals.value(modal, "text") == "#143 hello"


def limit_reading(bot: Bot, *, after: int = 60) -> None:
    """Let Slack refuse the next page of a thread."""
    bot.slack.faults["conversations.replies"].append(
        Fault("ratelimited", status=429, retry_after=after)
    )


async def test_a_thread_that_slack_gives_in_parts_is_read_on_and_never_called_whole(
    bot: Bot,
) -> None:
    first, *_ = await thread(bot, "#143", *(f"message {number}" for number in range(1, 21)))
    bot.slack.page = 15
    bot.slack.faults["conversations.replies"].append(Fault(""))  # the first page comes
    limit_reading(bot)
    modal = await bot.use(first)
    assert "read 15 of this thread's 21 messages" in words(modal)
    assert "read on in 60 seconds" in words(modal)

    limit_reading(bot, after=42)
    modal = await chosen(bot, modal, "thread")
    assert "could not read 6 later messages yet" in hint(modal, "thread_text")
    assert "read on in 42 seconds" in hint(modal, "thread_text")
    assert "[6 later messages left out]" in bot.slack.modals.value(modal, "thread_text")

    modal = await chosen(bot, await chosen(bot, modal, "message"), "thread")
    assert "message 20" in bot.slack.modals.value(modal, "thread_text")
    assert "left out" not in bot.slack.modals.value(modal, "thread_text")


async def test_a_thread_that_was_read_before_says_when(bot: Bot) -> None:
    first, _ = await thread(bot, "#143 hello", "more")
    modal = await bot.use(first)
    limit_reading(bot)
    modal = await chosen(bot, modal, "thread")
    assert "more" in bot.slack.modals.value(modal, "thread_text")
    assert "newer messages are not in it" in hint(modal, "thread_text")


async def test_the_form_opens_without_what_the_database_knows_when_that_is_away(
    bot: Bot, tmp_path: Path
) -> None:
    message = await said(bot, "about #143")
    with locked(tmp_path / "bot.db"):
        modal = await bot.use(message)
    assert bot.slack.modals.value(modal, "ticket") == "143"
    assert await bot.submit(modal) == {}


async def test_a_message_alone_has_no_choice(bot: Bot) -> None:
    modal = await bot.use(await said(bot, "hello"))
    assert block_ids(modal) == ["ticket", "text", "link"]
    assert words(modal) == "[]"


@pytest.mark.parametrize(
    ("channel", "fault", "why"),
    [
        ("C0ELSEWHERE", None, "invite it with `/invite @Portal Activity`"),
        ("C0PRIVATE", None, "invite it with `/invite @Portal Activity`"),
        ("D0DIRECT", None, "can't see this direct message"),
        ("C0SUPPORT", Fault("missing_scope"), "reinstall the Slack app"),
        ("C0SUPPORT", Fault("ratelimited", status=429, retry_after=30), "try again in a minute"),
        ("C0SUPPORT", Fault(status=500), "didn't answer in time"),
        ("C0SUPPORT", Fault("some_new_error"), "some_new_error"),
    ],
)
async def test_where_the_thread_cannot_be_read_the_choice_is_absent_and_the_reason_there(
    bot: Bot, channel: str, fault: Fault | None, why: str
) -> None:
    _, reply = await thread(bot, "Ticket 143", "Any news?", channel=channel)
    if fault is not None:
        bot.slack.faults["conversations.replies"].append(fault)
    modal = await bot.use(reply)

    assert not any(block_id.startswith("what") for block_id in block_ids(modal))
    assert "Only this message can be recorded" in words(modal)
    assert why in words(modal)
    assert bot.slack.modals.value(modal, "ticket") is None, (
        "the first message cannot be read either"
    )


async def test_a_choice_that_cannot_be_followed_leaves_the_text_and_says_why(bot: Bot) -> None:
    first, _ = await thread(bot, "#143 hello", "more")
    modal = await bot.use(first)
    bot.slack.modals.fill(modal, "text", "edited with care")
    bot.slack.faults["conversations.replies"].append(Fault("not_in_channel"))
    modal = await chosen(bot, modal, "thread")

    assert bot.slack.modals.value(modal, "text") == "edited with care"
    assert not any(block_id.startswith("what") for block_id in block_ids(modal))
    assert "/invite @Portal Activity" in words(modal)
    assert await bot.submit(modal) == {}


async def test_a_form_submitted_before_its_text_followed_the_choice_records_what_was_chosen(
    bot: Bot,
) -> None:
    first, _ = await thread(bot, "#143 hello", "more")
    modal = await bot.use(first)
    assert await bot.submit(modal, what_message="thread") == {}
    await bot.at_rest()

    assert "more" in bot.leadsquared.on("143")[0].text
    assert "Guest, " in bot.leadsquared.on("143")[0].text


async def test_a_choice_that_cannot_be_followed_at_the_submission_says_why(bot: Bot) -> None:
    first, _ = await thread(bot, "#143 hello", "more")
    modal = await bot.use(first)
    bot.slack.faults["conversations.replies"].append(Fault("not_in_channel"))
    answer = await bot.submit(modal, what_message="thread")
    assert "/invite @Portal Activity" in answer["errors"]["what_message"]
    assert bot.leadsquared.ledger.calls == []


async def test_words_of_the_persons_own_are_not_replaced_by_a_choice_that_was_not_followed(
    bot: Bot,
) -> None:
    first, _ = await thread(bot, "#143 hello", "more")
    modal = await bot.use(first)
    answer = await bot.submit(modal, what_message="thread", text="edited with care")

    assert list(answer["errors"]) == ["what_message"]
    assert bot.leadsquared.ledger.calls == []
    assert await bot.submit(modal, what_message="message") == {}


# -- shapes


RICH = [
    {
        "type": "rich_text",
        "elements": [
            {
                "type": "rich_text_section",
                "elements": [
                    {"type": "text", "text": "For "},
                    {"type": "user", "user_id": "U0BEN"},
                    {"type": "text", "text": " and "},
                    {"type": "usergroup", "usergroup_id": "S0HELP"},
                    {"type": "text", "text": " in "},
                    {"type": "channel", "channel_id": "C0OTHER"},
                    {"type": "text", "text": " on ticket 143 "},
                    {"type": "emoji", "name": "tada", "unicode": "1f389"},
                ],
            }
        ],
    }
]


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ({"text": "plain", "client_msg_id": "x"}, "plain"),
        (
            {"text": "was changed", "edited": {"user": "U0GUEST", "ts": "1790000001.000000"}},
            "was changed",
        ),
        ({"text": "", "blocks": RICH}, "For @Ben and @helpdesk in #other on ticket 143 🎉"),
        (
            {"text": "Here", "files": [{"name": "contract.pdf"}, {"title": "Photo"}]},
            "Here\n\n[file: contract.pdf]\n[file: Photo]",
        ),
        ({"text": "", "files": [{"id": "F1", "mode": "tombstone"}]}, "[file: deleted]"),
        (
            {
                "person": None,
                "text": "",
                "bot_id": "B1",
                "subtype": "bot_message",
                "attachments": [{"text": "Order *12*"}],
            },
            "Order 12",
        ),
        ({"text": "<@U0BEN> &lt;3 *you*"}, "@Ben <3 you"),
        ({"text": None, "blocks": None, "files": None, "attachments": None}, None),
    ],
)
async def test_a_message_of_each_shape_is_read_as_a_person_reads_it(
    bot: Bot, shape: dict[str, Any], text: str | None
) -> None:
    modal = await bot.use(await said(bot, **shape))
    assert bot.slack.modals.value(modal, "text") == text


async def test_a_name_that_slack_does_not_tell_is_left_to_the_id(bot: Bot) -> None:
    await bot.type("144 first")  # so that Slack was asked about Anna herself
    bot.slack.faults["users.info"] += [Fault(status=500)] * 2
    modal = await bot.use(await said(bot, "for <@U0BEN>"))
    assert bot.slack.modals.value(modal, "text") == "for @U0BEN"


async def test_a_text_longer_than_a_field_goes_on_in_others_with_its_count_by_the_first(
    bot: Bot,
) -> None:
    text = "\n".join(f"line {number} of what the customer wrote" for number in range(220))
    modal = await bot.use(await said(bot, text))
    assert [block_id for block_id in block_ids(modal) if block_id.startswith("text")] == [
        "text",
        "text_2",
        "text_3",
    ]
    assert f"{len(text):,} characters" in hint(modal)
    assert await bot.submit(modal, ticket="143", link=[]) == {}
    await bot.at_rest()

    assert bot.leadsquared.on("143")[0].text == text


async def test_what_no_field_has_room_for_is_said_with_its_count(bot: Bot) -> None:
    modal = await bot.use(await said(bot, "x" * 40_000))
    assert "40,000 characters" in hint(modal)
    assert "The last 25,000 characters are left out" in hint(modal)


async def test_a_text_typed_too_long_is_told_by_its_field_with_the_count(bot: Bot) -> None:
    modal = await bot.use(await said(bot, "hello"))
    answer = await bot.submit(modal, ticket="143", text="x" * 3001)

    assert "you entered 3,001" in answer["errors"]["text"]
    assert bot.leadsquared.ledger.calls == []


# -- submitting


async def test_errors_stand_by_their_fields_and_record_nothing(bot: Bot) -> None:
    modal = await bot.use(await said(bot, "hello"))
    for values, field in (
        ({"ticket": ""}, "ticket"),
        ({"ticket": "../143"}, "ticket"),
        ({"ticket": "https://example.com/tickets/143"}, "ticket"),
        ({"ticket": "143", "text": " \n\u200b"}, "text"),
    ):
        assert list((await bot.submit(modal, **values))["errors"]) == [field]
    assert bot.leadsquared.ledger.calls == []
    assert await bot.submit(modal, ticket="143", text="hello") == {}


async def test_a_form_without_its_text_field_is_no_empty_text_with_a_link(bot: Bot) -> None:
    modal = await bot.use(await said(bot, "about #143"))
    bare = {**modal, "blocks": [block for block in modal["blocks"] if block["block_id"] != "text"]}
    assert list((await bot.submit(bare))["errors"]) == ["text"]
    assert bot.leadsquared.ledger.calls == []


async def test_the_same_form_submitted_twice_records_once(bot: Bot) -> None:
    modal = await bot.use(await said(bot, "about #143"))
    first, second = await asyncio.gather(bot.submit(modal), bot.submit(modal))
    await bot.at_rest()
    assert first == second == await bot.submit(modal) == {}

    changed = await bot.submit(modal, text="and changed")
    await bot.at_rest()
    assert "your later changes were not recorded" in str(changed["view"])
    assert len(bot.leadsquared.on("143")) == 1
    assert len([one for one in bot.slack.workspace.messages if one.is_the_bots]) == 1


async def test_forms_of_two_messages_are_two_activities(bot: Bot) -> None:
    forms = [
        await bot.use(await said(bot, "about #143")),
        await bot.use(await said(bot, "more about #143")),
    ]
    assert await asyncio.gather(*(bot.submit(form) for form in forms)) == [{}, {}]
    await bot.at_rest()
    assert len(bot.leadsquared.on("143")) == 2


@pytest.mark.parametrize(
    "metadata",
    ["", "{", "[]", '{"channel": 1}', '{"channel": "C1", "more": 1}', '{"delivery": "x"}'],
)
async def test_a_form_with_metadata_of_no_ones_does_nothing(bot: Bot, metadata: str) -> None:
    modal = await bot.use(await said(bot, "about #143"))
    answer = await bot.submit({**modal, "private_metadata": metadata})

    assert "nothing was done" in str(answer["view"])
    assert bot.leadsquared.ledger.calls == []


async def test_another_workspaces_submission_goes_to_no_tenant_of_this_one(bot: Bot) -> None:
    modal = await bot.use(await said(bot, "about #143"))
    answer = await bot.slack.submit(modal, {}, person="U0MALLORY", team_id="T0OTHER")
    assert "belongs to another workspace" in str(answer["view"])
    assert bot.leadsquared.ledger.calls == []


async def test_in_a_shared_channel_the_tenant_is_that_of_the_workspace_the_agent_acts_in(
    bot: Bot,
) -> None:
    message = await said(bot, "about #143", user_team="T0PARTNER", source_team="T0PARTNER")
    assert bot.slack.workspace.message(message)["team"] == "T0PARTNER"
    await recorded(bot, message)
    assert [call.org_id for call in bot.leadsquared.ledger.calls] == ["22824"]


async def test_a_channels_own_tenant_is_the_forms(bot: Bot) -> None:
    await bot.parts.directory.remove("environment")
    modal = await bot.use(await said(bot, "about #143", channel="C0OTHER"))
    assert "isn't connected" in words(modal)


# -- where the answer goes


@pytest.mark.parametrize(
    "channel", ["C0ELSEWHERE", "C0PRIVATE", "D0DIRECT", "C0ARCHIVED", "C0ADMINS"]
)
async def test_where_the_bot_may_not_post_the_person_alone_is_answered(
    bot: Bot, channel: str
) -> None:
    message = await said(bot, "about #143", channel=channel)
    assert await bot.submit(await bot.use(message)) == {}
    told = await bot.told_to("U0ANNA")
    await bot.at_rest()

    assert "Recorded" in told.text
    assert "about #143" in told.text, "it says what it is about, for it stands elsewhere"
    assert told.channel == channel


async def test_when_the_response_url_is_used_up_the_answer_comes_as_a_direct_message(
    bot: Bot,
) -> None:
    modal = await bot.use(await said(bot, "about #143", channel="D0DIRECT"))
    bot.slack.faults["response_url"].append(Fault(status=404))
    await bot.submit(modal)
    await bot.at_rest()

    (direct,) = [one for one in bot.slack.workspace.messages if one.is_the_bots]
    assert direct.channel == "U0ANNA"
    assert "Recorded" in direct.text


async def test_the_answer_stands_in_a_thread_whose_first_message_was_deleted(bot: Bot) -> None:
    first, reply = await thread(bot, "never mind", "about #143")
    bot.slack.workspace.delete(first)
    answer = await recorded(bot, reply)
    assert answer.thread_ts == first.ts


async def test_when_the_message_is_deleted_meanwhile_the_person_alone_is_answered(bot: Bot) -> None:
    message = await said(bot, "about #143")
    modal = await bot.use(message)
    bot.slack.workspace.delete(message)
    await bot.submit(modal)
    told = await bot.told_to("U0ANNA")
    await bot.at_rest()

    assert "Recorded" in told.text
    assert len(bot.leadsquared.on("143")) == 1


async def test_edit_and_send_again_in_a_customers_thread_stays_there_and_keeps_the_message(
    bot: Bot,
) -> None:
    message = await said(bot, "hello")
    answer = await recorded(bot, message, ticket=ticket_that(Behaviour.BAD_REQUEST))
    await bot.slack.click(answer, "Edit and send again", person="U0BEN")
    (modal,) = bot.slack.modals.open
    assert bot.slack.modals.value(modal, "text") == f"hello\n\nSlack message: {permalink(message)}"
    assert await bot.submit(modal, "U0BEN", ticket="143") == {}
    second = await bot.answered(messages=2)
    await bot.at_rest()

    assert second.thread_ts == message.ts
    assert "The form will suggest ticket 143 for this thread" in second.text
    assert "(activity ID 1)" in words(await bot.use(message))


# -- nothing of it leaks


async def test_the_response_url_is_not_to_be_read_in_the_form(bot: Bot) -> None:
    modal = await bot.use(await said(bot, "about #143"))
    assert "/response/" not in json.dumps(modal)
    assert len(modal["private_metadata"]) <= 3000


async def test_no_log_has_a_customers_words(bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    first, _ = await thread(bot, "secret words on #143", "secret too")
    modal = await chosen(bot, await bot.use(first), "thread")
    await bot.submit(modal)
    await bot.at_rest()
    assert "secret" not in caplog.text.replace("secret-key", "")
    assert "/response/" not in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"message": None},
        {"message": {}, "message_ts": None},
        {"message": {"ts": "soon"}, "message_ts": "soon"},
        {"channel": None},
        {"channel": {"id": ""}},
        {"user": None},
        {"team": {"id": "T/../x"}},
    ],
)
async def test_a_shortcut_that_slack_never_sends_is_refused(
    bot: Bot, changes: dict[str, Any]
) -> None:
    answer = await bot.slack.shortcut(await said(bot, "hello"), person="U0ANNA", **changes)
    assert answer == {"failed": "http_400"}
    assert bot.slack.modals.open == []


# -- what other apps put into a message


async def test_blocks_in_blocks_open_the_form_at_once(bot: Bot) -> None:
    block: dict[str, Any] = {"type": "divider"}
    for _ in range(40):
        block = {"type": "container", "child_blocks": [block]}
    before = {"type": "section", "text": {"type": "mrkdwn", "text": "Deep, about ticket 144"}}
    modal = await bot.use(await said(bot, "Deep", blocks=[before, block]))
    assert bot.slack.modals.value(modal, "ticket") == "144"
    assert str(bot.slack.modals.value(modal, "text")).startswith("Deep, about ticket 144")


async def test_a_message_of_which_slack_shows_only_a_block_is_recorded_with_a_mark(
    bot: Bot,
) -> None:
    modal = await bot.use(await said(bot, "", blocks=[{"type": "hologram", "data": [1, 2]}]))
    assert bot.slack.modals.value(modal, "text") == "[a block that only Slack can show]"
