"""Where the answer goes when Slack says no.

The fall-backs, each for its exact cause, and never a second POST.
"""

import asyncio

import pytest

from bot.playground.leadsquared import Behaviour
from bot.playground.slack import Fault
from support.running import Bot, Start, ticket_that


def posts(bot: Bot) -> list[tuple[str, str | None]]:
    return [
        (str(arguments["channel"]), arguments.get("thread_ts"))
        for method, arguments in bot.slack.workspace.calls
        if method == "chat.postMessage"
    ]


@pytest.mark.parametrize("channel", ["C0PRIVATE", "C0ELSEWHERE", "C0ARCHIVED", "C0ADMINS"])
async def test_where_the_bot_may_not_post_the_person_is_answered_alone(
    bot: Bot, channel: str
) -> None:
    await bot.type("143 hello", channel=channel)
    told = await bot.told_to("U0ANNA")
    await bot.at_rest()

    assert "Recorded" in told.text
    assert "activity ID 1" in told.text
    assert "hello" in told.text, "nothing above it says what this is about"
    assert told.channel == channel
    assert len(bot.leadsquared.on("143")) == 1


async def test_after_the_response_url_the_answer_goes_to_the_person_as_a_direct_message(
    bot: Bot,
) -> None:
    bot.slack.faults["response_url"].append(Fault(status=404))
    await bot.type("143 hello", channel="C0PRIVATE")
    await bot.at_rest()

    (message,) = bot.slack.workspace.messages
    assert message.channel == "U0ANNA"
    assert "Recorded" in message.text
    assert "hello" in message.text
    assert len(bot.leadsquared.on("143")) == 1


@pytest.mark.parametrize(
    "fault", [Fault(status=302), Fault(status=404), Fault("used_url", status=200)]
)
async def test_a_response_url_that_takes_nothing_is_not_the_end(bot: Bot, fault: Fault) -> None:
    bot.slack.faults["response_url"].append(fault)
    await bot.type("143 hello", channel="C0PRIVATE")
    await bot.at_rest()

    assert [message.channel for message in bot.slack.workspace.messages] == ["U0ANNA"]


async def test_a_retry_after_of_nothing_is_no_reason_to_hammer(bot: Bot) -> None:
    bot.slack.faults["chat.postMessage"].extend(
        [Fault("ratelimited", status=429, retry_after=0)] * 2
    )
    await bot.type("143 hello")
    await bot.answered()
    await bot.at_rest()

    assert len(posts(bot)) == 4, "two refusals, a second apart, then anchor and answer"


@pytest.mark.parametrize("whole", [False, True])
async def test_an_answer_to_one_person_alone_stands_in_the_thread_that_the_activity_came_from(
    bot: Bot, *, whole: bool
) -> None:
    first = await bot.slack.say("hello", channel="C0ADMINS", person="U0GUEST")
    reply = await bot.slack.say(
        "ticket 143, please", channel="C0ADMINS", person="U0GUEST", thread_ts=first.ts
    )
    modal = await bot.use(first if whole else reply)
    if whole:
        await bot.slack.choose(modal, "what_message", "thread", person="U0ANNA")
        await bot.slack.until(lambda: "thread_text" in str(bot.slack.modals.open))
        modal = bot.slack.modals.open[-1]
    await bot.submit(modal, ticket="143")
    told = await bot.told_to("U0ANNA")
    await bot.at_rest()

    assert "Recorded on ticket 143" in told.text
    assert told.thread_ts == first.ts


async def test_an_answer_to_one_person_alone_begins_no_thread(bot: Bot) -> None:
    # Slack shows it only in a thread that is there already.
    message = await bot.slack.say("ticket 143, please", channel="C0ADMINS", person="U0GUEST")
    await bot.submit(await bot.use(message))
    told = await bot.told_to("U0ANNA")
    await bot.at_rest()

    assert "Recorded on ticket 143" in told.text
    assert told.thread_ts is None


async def test_buttons_work_in_an_answer_that_only_one_person_sees(bot: Bot) -> None:
    ticket = ticket_that(Behaviour.FAILED)
    await bot.type(f"{ticket} hello", channel="C0PRIVATE")
    told = await bot.told_to("U0ANNA")
    await bot.at_rest()
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    await bot.slack.click(told, "Send again", person="U0ANNA")
    await bot.slack.until(
        lambda: any("✅" in message.text for message in bot.slack.workspace.messages)
    )
    await bot.at_rest()
    await bot.parts.background.finish(5)

    assert told.buttons() == {}
    assert len(bot.leadsquared.on(ticket)) == 1


async def test_slacks_retry_after_is_honoured_and_the_activity_posted_once(bot: Bot) -> None:
    bot.slack.faults["chat.postMessage"].append(Fault("ratelimited", status=429, retry_after=1))
    await bot.type("143 hello")
    answer = await bot.answered()
    await bot.at_rest()

    assert "Recorded" in answer.text
    assert len(bot.leadsquared.on("143")) == 1
    assert len(posts(bot)) == 3, "refused once, then anchor and answer"


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503),
        Fault("internal_error"),
        Fault("fatal_error"),
        Fault("ratelimited", 429),
    ],
)
async def test_an_answer_that_slack_cannot_take_now_is_given_later(bot: Bot, fault: Fault) -> None:
    bot.slack.faults["chat.postMessage"].extend([fault])
    await bot.type("143 hello")
    answer = await bot.answered()
    await bot.at_rest()

    assert "Recorded" in answer.text
    assert len(bot.leadsquared.on("143")) == 1
    assert len([message for message in bot.slack.workspace.messages if message.thread_ts]) == 1


@pytest.mark.parametrize(
    "error", ["invalid_auth", "account_inactive", "token_revoked", "missing_scope"]
)
async def test_a_token_that_slack_refuses_leaves_the_response_url(bot: Bot, error: str) -> None:
    bot.slack.faults["chat.postMessage"].append(Fault(error))
    await bot.type("143 hello")
    told = await bot.told_to("U0ANNA")
    await bot.at_rest()

    assert "Recorded" in told.text
    assert len(bot.leadsquared.on("143")) == 1


async def test_an_anchor_that_was_deleted_costs_only_its_mark(bot: Bot) -> None:
    bot.slack.faults["chat.update"].append(Fault("message_not_found"))
    ticket = ticket_that(Behaviour.HANG)
    await bot.type(f"{ticket} hello")
    answer = await bot.answered()
    await bot.at_rest()

    assert "may or may not be on ticket" in answer.text


async def test_slack_away_for_a_while_delays_the_answer_and_nothing_else(bot: Bot) -> None:
    bot.slack.down = True
    await bot.type("143 hello")
    while not bot.leadsquared.on("143"):
        await _moment()
    bot.slack.down = False
    answer = await bot.answered()
    await bot.at_rest()

    assert "Recorded" in answer.text
    assert len(bot.leadsquared.ledger.calls) == 1


async def test_an_answer_owed_at_a_stop_is_given_after_the_next_start(
    bot: Bot, start: Start, environment: dict[str, str]
) -> None:
    bot.parts.teller.stop()
    await bot.type("143 hello")
    while not bot.leadsquared.on("143"):
        await _moment()
    assert bot.slack.workspace.messages == []

    async with start(environment) as second:
        answer = await second.answered()
        await second.at_rest()
    assert "Recorded" in answer.text
    assert len(bot.leadsquared.ledger.calls) == 1


async def test_a_message_has_words_beside_its_blocks_and_links_nothing_by_itself(bot: Bot) -> None:
    for ticket in ("143", ticket_that(Behaviour.FAILED), ticket_that(Behaviour.DROP)):
        await bot.type(f"{ticket} see https://example.com")
        await bot.at_rest()

    for method, arguments in bot.slack.workspace.calls:
        if method == "chat.postMessage":
            assert arguments["text"].strip()
            assert arguments["unfurl_links"] is False
            assert arguments["blocks"]


# -- a calm channel


async def test_an_outcome_that_is_known_at_once_stands_in_the_anchor_from_the_start(
    bot: Bot,
) -> None:
    bot.leadsquared.latency = 0.1
    await bot.type("143 hello")
    await bot.answered()
    await bot.at_rest()

    assert [method for method, _ in bot.slack.workspace.calls if method.startswith("chat.")] == [
        "chat.postMessage"
    ] * 2
    assert bot.anchor().text.startswith("✅ Portal activity recorded on ticket 143 by <@U0ANNA>")
    assert bot.anchor().edits == 0


async def test_an_outcome_that_takes_longer_is_waited_for_in_the_anchor(bot: Bot) -> None:
    bot.leadsquared.latency = 0.9
    await bot.type("143 hello")
    await bot.slack.until(lambda: bool(bot.slack.workspace.messages))
    assert bot.anchor().text.startswith("⏳ Recording")
    assert bot.leadsquared.on("143") == []
    await bot.at_rest()

    chats = [method for method, _ in bot.slack.workspace.calls if method.startswith("chat.")]
    assert chats == ["chat.postMessage", "chat.postMessage", "chat.update"], (
        "the mark after the answer"
    )
    assert bot.anchor().text.startswith("✅ Portal activity recorded")


async def test_a_success_takes_the_notes_place(bot: Bot) -> None:
    ticket = ticket_that(Behaviour.RATE_LIMITED)
    await bot.type(f"{ticket} hello")
    note = await bot.answered()
    assert note.text.startswith("⏳ Waiting for LeadSquared's rate limit.")
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    await bot.slack.until(lambda: "Recorded" in note.text)
    await bot.at_rest()

    assert bot.slack.workspace.thread(bot.anchor().ts) == [note], "one message in the thread"
    assert f"✅ Recorded on ticket {ticket}, activity ID 1" in note.text


async def test_a_failure_is_a_new_message_that_mentions_the_person_and_the_note_goes(
    bot: Bot,
) -> None:
    ticket = ticket_that(Behaviour.RATE_LIMITED)
    await bot.type(f"{ticket} hello")
    note = await bot.answered()
    bot.leadsquared.tickets[ticket] = Behaviour.FAILED
    await bot.slack.until(lambda: note not in bot.slack.workspace.messages)
    await bot.at_rest()

    (answer,) = bot.slack.workspace.thread(bot.anchor().ts)
    assert answer.text.startswith(
        f"❌ <@U0ANNA>: LeadSquared couldn't record this on ticket {ticket}"
    )
    assert answer.edits == 0


@pytest.mark.parametrize("behaviour", [Behaviour.FINE, Behaviour.FAILED])
async def test_a_note_that_somebody_deleted_costs_no_answer(bot: Bot, behaviour: Behaviour) -> None:
    ticket = ticket_that(Behaviour.RATE_LIMITED)
    await bot.type(f"{ticket} hello")
    bot.slack.workspace.delete(await bot.answered())
    bot.leadsquared.tickets[ticket] = behaviour
    answer = await bot.answered()
    await bot.at_rest()

    assert bot.slack.workspace.thread(bot.anchor().ts) == [answer]


async def test_an_answer_after_a_stop_still_takes_the_notes_place(
    bot: Bot, start: Start, environment: dict[str, str]
) -> None:
    ticket = ticket_that(Behaviour.RATE_LIMITED)
    await bot.type(f"{ticket} hello")
    note = await bot.answered()
    bot.parts.worker.stop()
    bot.parts.teller.stop()
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    async with start(environment) as second:
        await second.slack.until(lambda: "Recorded" in note.text)
        await second.at_rest()

    assert bot.slack.workspace.thread(bot.anchor().ts) == [note]


async def test_a_burst_costs_an_anchor_and_an_answer_each_and_answers_come_before_marks(
    bot: Bot,
) -> None:
    bot.slack.posts_per_second = 5
    bot.leadsquared.latency = 0.5
    tickets = [str(5000 + number) for number in range(20)]
    bot.leadsquared.tickets |= dict.fromkeys(tickets, Behaviour.FINE)
    await asyncio.gather(*(bot.type(f"{ticket} hello") for ticket in tickets))
    await bot.at_rest(within=60)

    messages = [one for one in bot.slack.workspace.messages if one.is_the_bots]
    assert len(messages) == 40
    chats = [method for method, _ in bot.slack.workspace.calls if method.startswith("chat.")]
    last_post = max(number for number, method in enumerate(chats) if method == "chat.postMessage")
    assert "chat.update" not in chats[:last_post]
    assert chats.count("chat.postMessage") <= 40 + 10, (
        "one refusal a second, and not one for each that waits"
    )
    assert all("recorded" in one.text.lower() for one in messages), "and each shows how it ended"


async def _moment() -> None:
    await asyncio.sleep(0.01)
