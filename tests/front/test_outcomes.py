"""Each way LeadSquared can answer, and the thread's answer: every row of the design's table."""

import re

import pytest

from bot.playground.leadsquared import Behaviour, LeadSquaredStandIn
from support.running import Bot, Start, ticket_that

AGAIN, EDIT, THERE = "Send again", "Edit and send again", "It's there"
UNKNOWN = "so this may or may not be on ticket"


@pytest.mark.parametrize(
    ("behaviour", "says", "buttons"),
    [
        (
            Behaviour.BAD_REQUEST,
            ['"Text is not valid for this ticket". Fix that, or edit'],
            [AGAIN, EDIT],
        ),
        (Behaviour.GARBLED, ["The text is not valid here"], [AGAIN, EDIT]),
        (Behaviour.REFUSED, ["The ticket is closed"], [AGAIN, EDIT]),
        (Behaviour.NOT_FOUND, ["LeadSquared has no ticket", "LEADSQUARED_ORG_ID"], [EDIT]),
        (
            Behaviour.UNAUTHORIZED,
            ["rejected the access keys", "LEADSQUARED_ACCESS_KEY", "keys rejected"],
            [AGAIN],
        ),
        (Behaviour.FORBIDDEN, ["denied access", "API switch", "IP allowlist"], [AGAIN]),
        (Behaviour.FAILED, ["The activity could not be saved"], [AGAIN, EDIT]),
        (Behaviour.SERVER_ERROR, ["answered with an error", UNKNOWN], [AGAIN, THERE]),
        (Behaviour.HTML, ["answer was unreadable", UNKNOWN], [AGAIN, THERE]),
        (Behaviour.WITHOUT_ID, ["answer was unreadable", UNKNOWN], [AGAIN, THERE]),
        (Behaviour.HUGE, ["answer was unreadable", UNKNOWN], [AGAIN, THERE]),
        (Behaviour.REDIRECT, ["redirect", UNKNOWN], [AGAIN, THERE]),
        (Behaviour.HANG, ["LeadSquared didn't answer in time", UNKNOWN], [AGAIN, THERE]),
        (Behaviour.DROP, ["connection to LeadSquared broke", UNKNOWN], [AGAIN, THERE]),
        (Behaviour.DROP_MID_ANSWER, ["connection to LeadSquared broke", UNKNOWN], [AGAIN, THERE]),
    ],
)
async def test_a_failure_says_what_happened_who_can_fix_it_and_offers_what_helps(
    bot: Bot, behaviour: Behaviour, says: list[str], buttons: list[str]
) -> None:
    ticket = ticket_that(behaviour)
    await bot.type(f"{ticket} hello")
    answer = await bot.answered()
    await bot.at_rest()

    for words in [*says, f"ticket {ticket}"]:
        assert words in answer.text
    assert list(answer.buttons()) == buttons
    assert answer.thread_ts == bot.anchor().ts
    assert not re.search(r"[{}]|Traceback|Exception|\b[45]\d\d\b", answer.text.replace(ticket, ""))
    assert "Reference" not in str(answer.blocks), "it stands on the anchor"
    assert "Reference" in bot.anchor().text
    assert len(bot.leadsquared.ledger.calls) == 1, "never repeated automatically"


async def test_the_anchor_shows_each_kind_of_end_in_words(bot: Bot) -> None:
    for behaviour, says in (
        (Behaviour.FAILED, "❌ Portal activity by <@U0ANNA> not recorded"),
        (Behaviour.HTML, "⚠️ Portal activity by"),
    ):
        await bot.type(f"{ticket_that(behaviour)} hello")
        await bot.at_rest()
        assert says in bot.anchor().text


async def test_an_answer_that_trickles_in_ends_as_unknown_within_the_lease(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(
        environment | {"LEADSQUARED_READ_TIMEOUT": "0.2", "LEADSQUARED_CONNECT_TIMEOUT": "0.2"}
    ) as bot:
        await bot.type(f"{ticket_that(Behaviour.TRICKLE)} hello")
        answer = await bot.answered()
        await bot.at_rest()
    assert "didn't answer in time" in answer.text


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour.RATE_LIMITED, Behaviour.RATE_LIMITED_AS_403, Behaviour.RATE_LIMITED_AS_200],
)
async def test_over_the_limit_waits_says_so_after_5_seconds_and_records_by_itself(
    bot: Bot, behaviour: Behaviour
) -> None:
    ticket = ticket_that(behaviour)
    await bot.type(f"{ticket} hello")
    note = await bot.answered()
    assert "Waiting for LeadSquared's rate limit" in note.text
    assert "automatically" in note.text
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    await bot.slack.until(lambda: "Recorded" in note.text)
    await bot.at_rest()

    assert bot.slack.workspace.thread(bot.anchor().ts) == [note], "the answer took its place"
    assert len(bot.leadsquared.on(ticket)) == 1
    first, *_, last = bot.leadsquared.ledger.calls
    assert last.at - first.at >= 5


async def test_over_the_limit_to_the_end_is_told(start: Start, environment: dict[str, str]) -> None:
    async with start(environment | {"RETRY_FOR": "3"}) as bot:
        await bot.type(f"{ticket_that(Behaviour.RATE_LIMITED)} hello")
        answer = await bot.answered()
        await bot.at_rest()
    assert "rate limit was used up, so nothing was recorded on ticket" in answer.text
    assert list(answer.buttons()) == [AGAIN]


async def test_a_host_that_comes_back_gets_the_activity_by_itself(bot: Bot) -> None:
    await bot.leadsquared.stop()
    await bot.type("143 patient")
    await bot.slack.until(
        lambda: any("Recording" in message.text for message in bot.slack.workspace.messages)
    )
    await bot.leadsquared.start()
    answer = await bot.answered()
    await bot.at_rest()

    assert "Recorded" in answer.text
    assert len(bot.leadsquared.on("143")) == 1


async def test_an_unreachable_host_is_told_after_10_seconds_and_given_up_at_the_end(
    start: Start, environment: dict[str, str], leadsquared: LeadSquaredStandIn
) -> None:
    await leadsquared.stop()
    async with start(environment | {"RETRY_FOR": "12"}) as bot:
        await bot.type("143 hello")
        note = await bot.answered(within=15)
        await bot.slack.until(lambda: note not in bot.slack.workspace.messages, within=25)
        answer = await bot.answered()
        await bot.at_rest()

    assert "can't be reached" in note.text
    assert re.search(r"until <!date\^\d+\^\{time\}\|\d\d:\d\d UTC>", note.text), (
        "in the person's own time zone"
    )
    assert "couldn't be reached, so nothing was recorded on ticket 143" in answer.text
    assert "no connection to 127.0.0.1" in answer.text
    assert list(answer.buttons()) == [AGAIN]


async def test_a_certificate_that_is_not_trusted_is_told_and_not_retried(
    start: Start, environment: dict[str, str], tls_server: str
) -> None:
    async with start(environment | {"LEADSQUARED_API_URL": tls_server}) as bot:
        await bot.type("143 hello")
        answer = await bot.answered()
        await bot.at_rest()
        delivery = await bot.delivery(reference_of(bot.anchor().blocks))

    assert "securely, so nothing was recorded on ticket 143" in answer.text
    assert "certificate" in answer.text
    assert delivery.attempts == 1


async def test_no_request_ever_follows_a_redirect(bot: Bot) -> None:
    await bot.type(f"{ticket_that(Behaviour.REDIRECT)} hello")
    await bot.at_rest()

    assert len(bot.leadsquared.ledger.calls) == 1
    assert bot.leadsquared.ledger.strays == []


async def test_a_tenant_removed_between_acceptance_and_delivery_is_told(
    start: Start, environment: dict[str, str], leadsquared: LeadSquaredStandIn
) -> None:
    await leadsquared.stop()
    async with start(environment) as bot:
        await bot.type("143 hello")
        await bot.slack.until(lambda: bool(bot.slack.workspace.messages))
        await bot.parts.directory.remove("environment")
        answer = await bot.answered()
        await bot.at_rest()

    assert "was disconnected from LeadSquared, so nothing was recorded on ticket 143" in answer.text
    assert "python -m bot tenants map NAME --team T0HOME" in answer.text


def reference_of(blocks: list[dict[str, object]]) -> str:
    found = re.search(r"Reference ([a-z2-7]{12})", str(blocks))
    assert found is not None
    return found[1]
