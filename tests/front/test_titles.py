"""Which ticket that is: read before recording, shown in the form, named in the answer."""

import json
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.database.tables import attempts, deliveries
from bot.playground.leadsquared import Behaviour, ReadForm, Shown, guid_of
from bot.playground.workspace import Posted
from support.running import ACCOUNT, Bot, Start

ON = {"LEADSQUARED_SHOW_TICKET": "true"}
TITLE = "Cannot log in"


@pytest.fixture(autouse=True)
def _settings(environment: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment["DATABASE_URL"] = url
    monkeypatch.setattr("bot.slack.forms.TYPED_AFTER", 0.01)


@pytest.fixture(autouse=True)
def _tickets(leadsquared: Any) -> None:
    leadsquared.shown |= {
        "143": Shown(TITLE, "Open"),
        "144": Shown("Refund for order 7", "Closed"),
    }


async def said(bot: Bot, text: str) -> Posted:
    return await bot.slack.say(text, channel="C0SUPPORT", person="U0GUEST")


def last(bot: Bot) -> dict[str, Any]:
    return bot.slack.modals.open[-1]


def seen(modal: dict[str, Any]) -> str | None:
    """Return what stands under the ticket's field."""
    ids = [block.get("block_id") for block in modal["blocks"]]
    if "ticket_seen" not in ids:
        return None
    assert ids.index("ticket_seen") == ids.index("ticket") + 1
    (element,) = modal["blocks"][ids.index("ticket_seen")]["elements"]
    assert element["type"] == "plain_text"
    return str(element["text"])


async def fill_ticket(bot: Bot, ticket: str) -> None:
    await bot.slack.choose(last(bot), "ticket", ticket, person="U0ANNA")


async def test_nothing_is_read_unless_the_tenant_asks_for_it(bot: Bot) -> None:
    form = await bot.use(await said(bot, "It is about #143"))
    assert seen(form) is None
    assert "dispatch_action" not in form["blocks"][0]
    await bot.submit(form)
    answer = await bot.answered()
    assert TITLE not in answer.text
    assert bot.leadsquared.ledger.reads == []


@pytest.mark.parametrize("form_", [ReadForm.PATH, ReadForm.QUERY])
async def test_the_form_and_the_answer_name_the_ticket(
    start: Start, environment: dict[str, str], form_: ReadForm
) -> None:
    async with start(environment | ON) as bot:
        bot.leadsquared.read_form = form_
        form = await bot.use(await said(bot, "It is about #143"))
        assert seen(form) == f"Ticket 143: “{TITLE}”, Open"
        assert await bot.submit(form) == {}
        answer = await bot.answered()
        assert f"Recorded on ticket 143 · “{TITLE}” by <@U0ANNA>" in answer.text
        reads = len(bot.leadsquared.ledger.reads)
        assert reads == (1 if form_ is ReadForm.PATH else 2)
        await bot.use(await said(bot, "It is about #143, too"))
        assert len(bot.leadsquared.ledger.reads) == reads, "kept for a minute"
        await bot.use(await said(bot, "It is about #144"))
        assert len(bot.leadsquared.ledger.reads) == reads + 1, "asked in the form that is known"


async def test_a_command_is_answered_with_the_title(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | ON) as bot:
        await bot.type("143 Customer called")
        await bot.answered()
        await bot.slack.until(lambda: TITLE in bot.anchor().text)
        assert f"on ticket 143 · “{TITLE}” by <@U0ANNA>" in bot.anchor().text


async def test_a_form_by_command_shows_the_ticket_when_it_is_open(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | ON) as bot:
        await bot.ask_by_command("143")
        await bot.slack.until(lambda: seen(last(bot)))
        assert seen(last(bot)) == f"Ticket 143: “{TITLE}”, Open"


async def test_a_closed_ticket_is_said_when_it_is_typed_and_can_be_recorded_on(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | ON) as bot:
        form = await bot.use(await said(bot, "It is about #143"))
        bot.slack.modals.fill(form, "text", "What I typed")
        await fill_ticket(bot, "144")
        await bot.slack.until(lambda: "closed" in (seen(last(bot)) or ""))
        assert seen(last(bot)) == (
            "⚠️ Ticket 144 is closed: “Refund for order 7”. You can still record on it."
        )
        assert bot.slack.modals.value(last(bot), "text") == "What I typed"
        assert bot.slack.modals.value(last(bot), "ticket") == "144"
        assert await bot.submit(last(bot), link=[]) == {}
        await bot.answered()
        assert [one.text for one in bot.leadsquared.on("144")] == ["What I typed"]


async def test_a_closed_ticket_is_said_at_the_submission_once(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | ON) as bot:
        form = await bot.use(await said(bot, "It is about #143"))
        again = await bot.submit(form, ticket="144")
        assert "Nothing was recorded on ticket 144 yet" in json.dumps(again)
        assert "is closed" in (seen(last(bot)) or "")
        assert await bot.submit(last(bot)) == {}
        await bot.answered()
        assert len(bot.leadsquared.on("144")) == 1


async def test_a_missing_ticket_is_said_where_another_one_is_shown(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | ON) as bot:
        bot.leadsquared.tickets["1"] = Behaviour.FINE
        form = await bot.use(await said(bot, "It is about #999"))
        assert seen(form) == (
            "⚠️ LeadSquared shows no ticket 999. Check the number before you record."
        )
        assert bot.slack.modals.value(form, "ticket") == "999"


async def test_where_no_ticket_is_shown_a_missing_one_is_not_said(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | ON) as bot:
        bot.leadsquared.read_form = ReadForm.NONE
        form = await bot.use(await said(bot, "It is about #143"))
        assert seen(form) is None
        assert await bot.submit(form) == {}
        answer = await bot.answered()
        assert "Recorded on ticket 143 by" in answer.text


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour.HTML,
        Behaviour.SERVER_ERROR,
        Behaviour.UNAUTHORIZED,
        Behaviour.WITHOUT_ID,
        Behaviour.HUGE,
        Behaviour.REDIRECT,
        Behaviour.HANG,
        Behaviour.RATE_LIMITED_AS_200,
    ],
)
async def test_what_is_not_the_documented_shape_shows_nothing_and_blocks_nothing(
    start: Start, environment: dict[str, str], behaviour: Behaviour
) -> None:
    async with start(environment | ON) as bot:
        bot.leadsquared.read_is = behaviour
        form = await bot.use(await said(bot, "It is about #143"))
        assert seen(form) is None
        assert await bot.submit(form) == {}
        answer = await bot.answered(within=30)
        await bot.at_rest()
        assert bot.leadsquared.on("143")
        assert TITLE not in answer.text


async def test_a_guid_is_read_too(start: Start, environment: dict[str, str]) -> None:
    async with start(environment | ON) as bot:
        guid = guid_of("143")
        form = await bot.use(await said(bot, f"ticket {guid}"))
        assert seen(form) == f"Ticket {guid}: “{TITLE}”, Open"


async def test_a_read_counts_against_the_limit_and_leaves_a_part_of_it(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | ON) as bot:
        for number in range(30):
            bot.leadsquared.tickets[str(2000 + number)] = Behaviour.FINE
            await bot.use(await said(bot, f"It is about #{2000 + number}"))
        assert len(bot.leadsquared.ledger.reads) <= 40
        statuses = await bot.parts.database.run(_reads)
        assert 0 < statuses <= 20


def _reads(connection: Connection) -> int:
    rows = sa.select(sa.func.count()).where(
        attempts.c.delivery_seq < 0, attempts.c.occupied_until > sa.func.bot_now()
    )
    return int(connection.execute(rows).scalar_one())


async def test_titles_are_encrypted(start: Start, environment: dict[str, str]) -> None:
    async with start(environment | ON) as bot:
        await bot.submit(await bot.use(await said(bot, "It is about #143")))
        await bot.answered()
        rows = await bot.parts.database.run(
            lambda connection: connection.execute(sa.select(deliveries)).mappings().all()
        )
        assert TITLE not in str(rows)
        assert rows[0]["title"] is not None
        assert ACCOUNT.org_id


async def test_a_rate_limit_in_the_answer_holds_the_account_back(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | ON) as bot:
        bot.leadsquared.read_is = Behaviour.RATE_LIMITED
        form = await bot.use(await said(bot, "It is about #143"))
        assert seen(form) is None
        await bot.use(await said(bot, "It is about #145"))
        assert len(bot.leadsquared.ledger.reads) == 1, "the account is held back"
