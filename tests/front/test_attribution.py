"""Who recorded it, as the last line on the ticket: per tenant, and counted as what is sent."""

from dataclasses import replace

import pytest

from bot.playground.leadsquared import Behaviour
from bot.playground.slack import Fault
from bot.playground.workspace import Posted
from support.running import Bot, Start, ticket_that

NAME = {"LEADSQUARED_ATTRIBUTION": "name"}
WITH_LINK = {"LEADSQUARED_ATTRIBUTION": "name-and-link"}
BY_ANNA = "— Anna via Slack"


@pytest.fixture(autouse=True)
def _databases(environment: dict[str, str], url: str) -> None:
    environment["DATABASE_URL"] = url


async def said(bot: Bot, text: str) -> Posted:
    return await bot.slack.say(text, channel="C0SUPPORT", person="U0GUEST")


def permalink(message: Posted) -> str:
    return f"https://playground.slack.com/archives/{message.channel}/p{message.ts.replace('.', '')}"


def on_ticket(bot: Bot, number: str) -> list[str]:
    return [one.text for one in bot.leadsquared.on(number)]


async def test_nothing_is_added_unless_the_tenant_asks_for_it(bot: Bot) -> None:
    await bot.type("143 Customer called")
    await bot.answered()
    assert on_ticket(bot, "143") == ["Customer called"]


async def test_a_command_ends_with_the_persons_name(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | WITH_LINK) as bot:
        await bot.type("143 Customer called")
        await bot.answered()
        assert on_ticket(bot, "143") == [f"Customer called\n\n{BY_ANNA}"]
        assert "via Slack" not in bot.anchor().text, "the anchor quotes the customer"


async def test_a_message_ends_with_the_name_and_its_permalink(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | WITH_LINK) as bot:
        message = await said(bot, "The form on #143 is signed")
        await bot.submit(await bot.use(message))
        await bot.answered()
        assert on_ticket(bot, "143") == [
            f"The form on #143 is signed\n\n{BY_ANNA}: {permalink(message)}"
        ]


async def test_the_same_words_of_two_people_are_still_asked_about(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | NAME) as bot:
        await bot.type("143 Customer called")
        await bot.answered()
        asked = await bot.type("143 Customer called")
        assert asked is not None
        assert "You already recorded this text" in asked.text


async def test_without_a_name_the_persons_id_stands_for_it(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | NAME) as bot:
        bot.slack.faults["users.info"] += [Fault("missing_scope")] * 9
        await bot.type("143 Customer called")
        await bot.answered()
        assert on_ticket(bot, "143") == ["Customer called\n\n— U0ANNA via Slack"]


async def test_a_retry_sends_the_same_line(start: Start, environment: dict[str, str]) -> None:
    busy = ticket_that(Behaviour.BUSY_AT_FIRST)
    async with start(environment | NAME) as bot:
        await bot.type(f"{busy} Customer called")
        await bot.slack.until(lambda: bot.leadsquared.ledger.calls)
        anna = bot.slack.workspace.people["U0ANNA"]
        bot.slack.workspace.people["U0ANNA"] = replace(anna, name="Anna Banerjee")
        await bot.at_rest(within=30)
        sent = [call.body["Text"] for call in bot.leadsquared.ledger.calls]
        assert sent == [f"Customer called\n\n{BY_ANNA}"] * 2


async def test_send_again_carries_the_line_of_who_sends_it_now(
    start: Start, environment: dict[str, str]
) -> None:
    refused = ticket_that(Behaviour.REFUSED)
    async with start(environment | NAME) as bot:
        await bot.type(f"{refused} Customer called")
        answer = await bot.answered()
        bot.leadsquared.tickets[refused] = Behaviour.FINE
        await bot.slack.click(answer, "Send again", person="U0BEN")
        await bot.answered(messages=2)
        assert on_ticket(bot, refused) == ["Customer called\n\n— Ben via Slack"]


async def test_edit_and_send_again_stacks_no_second_line(
    start: Start, environment: dict[str, str]
) -> None:
    refused = ticket_that(Behaviour.REFUSED)
    async with start(environment | NAME) as bot:
        await bot.type(f"{refused} Customer called")
        answer = await bot.answered()
        await bot.slack.click(answer, "Edit and send again", person="U0BEN")
        await bot.slack.until(lambda: bot.slack.modals.open)
        form = bot.slack.modals.open[-1]
        assert bot.slack.modals.value(form, "text") == "Customer called"
        await bot.submit(form, "U0BEN", ticket="144")
        await bot.answered(messages=2)
        assert on_ticket(bot, "144") == ["Customer called\n\n— Ben via Slack"]


async def test_what_is_unknown_is_found_with_its_line(
    start: Start, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.app.VERIFY_AFTER", (0.5, 60.0))
    hangs = ticket_that(Behaviour.HANG)
    looks = {"LEADSQUARED_LOOK_AFTER_UNKNOWN": "true", "POLL_INTERVAL": "0.2"}
    async with start(environment | NAME | looks) as bot:
        await bot.type(f"{hangs} Customer called")
        await bot.slack.until(
            lambda: [one for one in bot.slack.workspace.messages if "✅ Found on" in one.text]
        )
        assert on_ticket(bot, hangs) == [f"Customer called\n\n{BY_ANNA}"]


async def test_the_form_shows_the_line_and_counts_it(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | WITH_LINK) as bot:
        message = await said(bot, "The form on #143 is signed")
        form = await bot.use(message)
        line = f"{BY_ANNA}: {permalink(message)}"
        blocks = {block.get("block_id"): block for block in form["blocks"]}
        assert blocks["last_line"]["elements"][0]["text"] == (
            f"LeadSquared also gets this last line:\n{line}"
        )
        assert "link" not in blocks, "the line has the link"
        room = 3000 - len(f"\n\n{line}")
        assert blocks["text"]["element"]["max_length"] == room
        refused = await bot.submit(form, text="x" * (room + 1))
        assert f"holds {room:,} characters" in refused["errors"]["text"]
        assert await bot.submit(form, text="x" * room) == {}
        await bot.answered()
        (text,) = on_ticket(bot, "143")
        assert (len(text), text.endswith(line)) == (3000, True)


async def test_the_form_of_a_command_shows_the_line(
    start: Start, environment: dict[str, str]
) -> None:
    async with start(environment | NAME) as bot:
        form = await bot.ask_by_command("143")
        assert BY_ANNA in str(form["blocks"])
