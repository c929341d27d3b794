"""`/portal-activity recent` and `status`: read at once, by the person who asks alone."""

import re
import sqlite3
from dataclasses import replace
from pathlib import Path

from bot.playground.leadsquared import Behaviour
from bot.tenants.directory import Scope
from support.running import TEAM, Bot, ticket_that


async def asked(bot: Bot, words: str, **where: str) -> str:
    """Ask by a subcommand; return the answer, without Slack's marks for moments."""
    answer = await bot.type(words, **where)
    assert answer is not None
    assert answer.ephemeral == where.get("person", "U0ANNA")
    return re.sub(r"<!date\^\d+\^[^|]*\|([^>]*)>", r"\1", answer.text)


async def test_recent_shows_the_conversations_newest_without_their_texts(bot: Bot) -> None:
    await bot.type("143 a customer's words")
    await bot.at_rest()
    await bot.type(f"{ticket_that(Behaviour.FAILED)} more words", person="U0BEN")
    await bot.at_rest()
    await bot.type("145 elsewhere", channel="C0OTHER")
    await bot.at_rest()
    text = await asked(bot, "recent")

    (activity,) = bot.leadsquared.on("143")
    _, failed, recorded = text.split("\n")
    assert f"✅ Ticket 143: recorded, activity ID {activity.id} · Sent by <@U0ANNA> " in recorded
    assert "|Open the thread>" in recorded
    assert f"❌ Ticket {ticket_that(Behaviour.FAILED)}: not recorded · Sent by <@U0BEN> " in failed
    assert "words" not in text
    assert "145" not in text


async def test_recent_shows_what_has_no_outcome_yet(bot: Bot) -> None:
    bot.leadsquared.latency = 0.9
    await bot.type("143 hello")
    assert "⏳ Ticket 143: being recorded" in await asked(bot, "recent")
    await bot.at_rest()


async def test_recent_shows_ten_at_most(bot: Bot) -> None:
    for number in range(12):
        await bot.type(f"{143 + number % 3} number {number}")
    await bot.at_rest(within=60)
    assert (await asked(bot, "Recent")).count("Ticket ") == 10


async def test_recent_shows_nothing_of_another_workspace(bot: Bot) -> None:
    await bot.type("143 hello")
    await bot.at_rest()
    text = await asked(bot, "recent", team_id="T0OTHER")
    assert text == "No activity was recorded in this conversation yet."


async def test_nothing_of_a_subcommand_is_recorded(bot: Bot) -> None:
    await asked(bot, "recent")
    await asked(bot, "status")
    await bot.at_rest()
    assert bot.leadsquared.ledger.calls == []


async def test_status_says_that_all_is_well(bot: Bot) -> None:
    assert await asked(bot, "status") == (
        "This conversation is connected to LeadSquared org 22824.\n"
        "✅ Nothing waits, and nothing failed in the last 24 hours."
    )


async def test_status_says_what_waits_and_what_failed_in_this_workspace(bot: Bot) -> None:
    for behaviour in (Behaviour.DROP, Behaviour.UNAUTHORIZED):
        await bot.type(f"{ticket_that(behaviour)} hello")
        await bot.at_rest()
    bot.leadsquared.latency = 0.9
    await bot.type("143 hello")
    text = await asked(bot, "status")
    await bot.at_rest()

    assert re.search(r"⏳ Waiting: 1, the oldest for \d seconds?\.", text)
    assert "⚠️ May or may not be recorded: 1." in text
    assert "❌ Not recorded in the last 24 hours: 1." in text
    assert re.search(r"Last error .*: LeadSquared rejected the access keys\.", text)
    elsewhere = await asked(bot, "status", team_id="T0OTHER")
    assert elsewhere == (
        "This conversation isn't connected to LeadSquared yet. Ask an admin to connect it.\n"
        "✅ Nothing waits, and nothing failed in the last 24 hours."
    )


async def test_status_names_the_organisation_of_the_channel(bot: Bot) -> None:
    tenant = await bot.parts.directory.get("environment", keys=True)
    await bot.parts.directory.add(replace(tenant, name="other", org_id="777"))
    await bot.parts.directory.map("other", Scope(team_id=TEAM, channel_id="C0OTHER"))
    assert "org 777." in await asked(bot, "status", channel="C0OTHER")
    assert "org 22824." in await asked(bot, "status")


async def test_help_lists_every_subcommand(bot: Bot) -> None:
    text = await asked(bot, "help")
    for word in ("recent", "status", "setup", "help"):
        assert f"`/portal-activity {word}`" in text or f"`{word}`" in text


async def test_a_database_that_is_away_is_said_in_time(bot: Bot, tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "bot.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        for word in ("recent", "status"):
            assert (await asked(bot, word)).startswith("The bot can't read its database")
    finally:
        holder.execute("ROLLBACK")
        holder.close()
