"""After an unknown outcome, with the setting on.

Is the text on the ticket? The bot says so, and never posts it automatically.
"""

import asyncio

import pytest

from bot.activities.verifier import VERIFY_AFTER, same_words
from bot.database.clock import steady
from bot.leadsquared.outcome import CannotRead, Conversation
from bot.leadsquared.reading import read_conversations
from bot.playground.leadsquared import Behaviour
from support.running import ACCOUNT, Bot, Start, ticket_that

ON = {"LEADSQUARED_LOOK_AFTER_UNKNOWN": "true", "POLL_INTERVAL": "0.2"}
HANGS, DROPS = ticket_that(Behaviour.HANG), ticket_that(Behaviour.DROP)
THERE, NOT_SO_FAR = "✅ Found on ticket", "🔎 Not found on ticket"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look comes sooner than after 5 s."""
    monkeypatch.setattr("bot.app.VERIFY_AFTER", (0.5, *VERIFY_AFTER[1:]))


def said(bot: Bot, words: str) -> list[str]:
    return [message.text for message in bot.slack.workspace.messages if words in message.text]


async def test_what_is_there_and_what_is_not_found_is_said(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | ON) as bot:
        await bot.type(f"{HANGS} the  very\nwords")
        await bot.type(f"{DROPS} lost on its way")
        await bot.slack.until(lambda: said(bot, THERE) and said(bot, NOT_SO_FAR))
        await bot.at_rest()

        assert len(bot.leadsquared.ledger.calls) == 2, "it only looked"
        (activity,) = bot.leadsquared.on(HANGS)
        assert f"activity ID {activity.id}" in said(bot, THERE)[0]
        assert f"ticket {HANGS}" in said(bot, THERE)[0]
        assert f"ticket {DROPS}" in said(bot, NOT_SO_FAR)[0]
        for told in (THERE, NOT_SO_FAR):
            (message,) = [one for one in bot.slack.workspace.messages if told in one.text]
            assert message.thread_ts is not None
        asked = {"OrgId": int(ACCOUNT.org_id), "ActivityType": ["PortalInbound"]}
        assert {"TicketId": int(HANGS)} | asked in bot.leadsquared.ledger.lookups
        (anchor,) = [
            one.text
            for one in bot.slack.workspace.messages
            if "✅ Portal activity by <@U0ANNA> found on" in one.text
        ]
        assert HANGS in anchor


async def test_what_was_found_is_sent_again_only_by_who_says_so_twice(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | ON) as bot:
        await bot.type(f"{HANGS} there after all")
        await bot.slack.until(lambda: said(bot, THERE))
        await bot.at_rest()
        (answer,) = [one for one in bot.slack.workspace.messages if "Send again" in one.buttons()]
        bot.leadsquared.tickets[HANGS] = Behaviour.FINE

        await bot.slack.click(answer, "Send again", person="U0ANNA")
        await bot.slack.until(lambda: said(bot, "already has a portal activity"))
        await bot.at_rest()
        (activity,) = bot.leadsquared.on(HANGS)
        (question,) = [
            one
            for one in bot.slack.workspace.messages
            if "already has a portal activity" in one.text
        ]
        assert f"ID {activity.id})" in question.text

        await bot.slack.click(question, "Send again", person="U0ANNA")
        await bot.slack.until(lambda: len(bot.leadsquared.on(HANGS)) == 2)
        await bot.at_rest()


async def test_what_shows_later_is_told_later(
    start: Start, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.app.VERIFY_AFTER", (0.1, 0.1, 0.1))
    short = {"LEASE": "12", "LEADSQUARED_READ_TIMEOUT": "0.5", "LEADSQUARED_CONNECT_TIMEOUT": "0.5"}
    async with start(environment | ON | short) as bot:
        bot.leadsquared.hides = True
        await bot.type(f"{HANGS} slow to show")
        await bot.slack.until(lambda: said(bot, NOT_SO_FAR))
        bot.leadsquared.hides = False
        await bot.slack.until(lambda: said(bot, THERE))
        await bot.at_rest()
        assert len(said(bot, NOT_SO_FAR)) == 1


async def test_a_process_that_stood_still_does_not_look_under_an_old_slot(
    start: Start, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.app.VERIFY_AFTER", (0.1, 600.0))
    monkeypatch.setattr("bot.activities.verifier.steady", lambda: steady() + 3600)
    async with start(environment | ON) as bot:
        await bot.type(f"{HANGS} hello")
        answer = await bot.answered()
        id_ = answer.buttons()["It's there"]["value"]
        async with asyncio.timeout(20):
            while not (await bot.delivery(id_)).verifications:
                await asyncio.sleep(0.05)
        await bot.at_rest()
        assert bot.leadsquared.ledger.lookups == []


async def test_the_same_words_recorded_before_are_not_taken_for_it(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | ON) as bot:
        await bot.type("143 called again")
        await bot.answered()
        bot.leadsquared.tickets["143"] = Behaviour.DROP
        await bot.type("143 called again", person="U0BEN")
        await bot.slack.until(lambda: said(bot, THERE) or said(bot, NOT_SO_FAR))
        await bot.at_rest()
        assert not said(bot, THERE)


@pytest.mark.parametrize("decides", [True, False])
async def test_what_another_of_the_same_words_may_have_brought_is_not_taken_for_it(
    start: Start, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, decides: bool
) -> None:
    monkeypatch.setattr("bot.app.VERIFY_AFTER", (0.1, 600.0) if decides else (2.0, 600.0))
    async with start(environment | ON) as bot:
        bot.leadsquared.hides = decides
        await bot.type(f"{HANGS} called again")  # is on the ticket, and the bot cannot know
        answer = await bot.answered()
        if decides:
            await bot.slack.until(lambda: said(bot, NOT_SO_FAR))
            await bot.slack.click(answer, "It's there", person="U0ANNA")
            await bot.at_rest()
        bot.leadsquared.hides = False
        bot.leadsquared.tickets[HANGS] = Behaviour.DROP
        await bot.type(f"{HANGS} called again", person="U0BEN")  # never arrives
        await bot.slack.until(lambda: len(said(bot, NOT_SO_FAR)) == 1 + decides)
        await bot.at_rest()
        assert len(said(bot, THERE)) == (0 if decides else 1)
        assert len(bot.leadsquared.on(HANGS)) == 1


async def test_it_is_off_by_default(bot: Bot) -> None:
    await bot.type(f"{HANGS} hello")
    answer = await bot.answered()
    await bot.at_rest()
    delivery = await bot.delivery(answer.buttons()["It's there"]["value"])

    assert bot.parts.verifier is None
    assert delivery.verifications == 0
    assert bot.leadsquared.ledger.lookups == []


LISTED = b'{"Total":1,"ConversationList":[{"Id":131,"Text":"hello","Html":null}]}'


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (200, LISTED, [Conversation("131", "hello")]),
        (200, b'{"Total":0,"ConversationList":[]}', []),
        (200, b'{"Total":1,"ConversationList":[{"Text":"hello"}]}', []),
        (200, b'{"Total":1,"ConversationList":[{"Id":1,"Text":null}]}', []),
        (
            200,
            b'{"Total":2,"ConversationList":[{"Id":1,"Text":"hello"}]}',
            CannotRead("not all were shown"),
        ),
        (200, b"<html>", CannotRead("unreadable answer")),
        (200, b'{"Status":"Error","ExceptionType":"MXException"}', CannotRead("unreadable answer")),
        (200, None, CannotRead("unreadable answer")),
        (404, LISTED, CannotRead("status 404")),
        (429, b"", CannotRead("status 429")),
    ],
)
def test_only_the_documented_answer_says_what_is_there(
    status: int, body: bytes | None, shown: list[Conversation] | CannotRead
) -> None:
    assert read_conversations(status, body) == shown


def test_words_are_the_same_however_they_are_spaced_and_the_newest_is_last() -> None:
    shown = [
        Conversation("9", "a  b\nc"),
        Conversation("10", "a b c "),
        Conversation("3", "a b"),
        Conversation("8", "A b c"),
    ]
    assert same_words("a b\n\nc", shown) == ["9", "10"]
    assert same_words("nothing", shown) == []
    assert same_words("x", [Conversation("q", "x"), Conversation("b", "x")]) == ["q", "b"]
