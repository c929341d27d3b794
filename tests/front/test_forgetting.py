"""`python -m bot export`, `forget` and `audit` beside a running bot."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.activities.retention import DAY
from bot.admin.activities import operator_name
from bot.database.tables import audit, deliveries
from bot.playground.leadsquared import Behaviour
from support.programs import Ended, run_beside
from support.running import ENCRYPTION_KEY, TEAM, Bot, Start, ticket_that

WORDS = "Kundennummer 4711"


class Desk:
    """A running bot, and an administrator beside it."""

    def __init__(self, bot: Bot, variables: dict[str, str], folder: Path) -> None:
        self.bot = bot
        self.variables = variables
        self.folder = folder

    async def run(self, *arguments: str) -> Ended:
        return await run_beside(*arguments, cwd=self.folder, variables=self.variables)

    async def done(self, *arguments: str) -> str:
        ended = await self.run(*arguments)
        assert (ended.status, ended.err) == (0, "")
        return ended.out

    async def record(self, ticket: str = "143", **more: Any) -> None:
        await self.bot.type(f"{ticket} {WORDS}", **more)
        await self.bot.at_rest()

    async def rows(self, table: sa.Table = deliveries) -> list[Any]:
        order = list(table.primary_key)
        return await self.bot.parts.database.run(
            lambda connection: list(
                connection.execute(sa.select(table).order_by(*order)).mappings()
            )
        )

    async def events(self, *options: str) -> list[dict[str, Any]]:
        out = await self.done("audit", "--team", TEAM, "--json", *options)
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
async def desk(
    start: Start, environment: dict[str, str], url: str, tmp_path: Path
) -> AsyncIterator[Desk]:
    variables = environment | {"DATABASE_URL": url, "POLL_INTERVAL": "0.2"}
    async with start(variables) as bot:
        yield Desk(bot, {"DATABASE_URL": url, "ENCRYPTION_KEYS": ENCRYPTION_KEY}, tmp_path)


async def test_an_export_gives_the_words_that_were_recorded(desk: Desk) -> None:
    await desk.record()
    refused = ticket_that(Behaviour.REFUSED)
    await desk.record(refused)
    out = await desk.done("export", "--team", TEAM)
    first, second = csv.DictReader(io.StringIO(out, newline=""))
    assert (first["text"], first["state"], first["activity_id"]) == (WORDS, "recorded", "1")
    assert (second["ticket"], second["state"], second["problem"]) == (
        refused,
        "rejected",
        "refused",
    )
    assert second["leadsquared_says"]


# -- audit


async def test_the_audit_trail_names_what_was_done_when_and_by_whom(desk: Desk) -> None:
    me = operator_name()
    failed, lost = ticket_that(Behaviour.FAILED), ticket_that(Behaviour.DROP)
    bot = desk.bot
    await bot.type(f"{failed} {WORDS}")
    answer = await bot.answered()
    await bot.at_rest()
    bot.leadsquared.tickets[failed] = Behaviour.FINE
    await bot.slack.click(answer, "Send again", person="U0BEN")
    await bot.answered(messages=2)
    await bot.type(f"{lost} {WORDS}")
    answer = await bot.answered(messages=3)
    await bot.at_rest()
    (first, again, unknown) = (row["id"] for row in await desk.rows())
    await desk.done("activities", "settle", unknown, "--yes")
    await desk.done("export", "--team", TEAM)
    await desk.done("forget", "--team", TEAM, "--user", "U0BEN", "--yes")

    found = await desk.events()
    assert [(one["what"], one["who"], one["reference"], one["ticket"]) for one in found] == [
        ("accepted", "U0ANNA", first, failed),
        ("accepted", "forgotten", again, failed),
        ("sent again", "forgotten", first, failed),
        ("accepted", "U0ANNA", unknown, lost),
        ("confirmed", f"operator:{me}", unknown, lost),
        ("exported", me, None, None),
        ("forgetting", me, None, None),
        ("forgot", me, None, None),
    ]
    assert [one["at"] for one in found] == sorted(one["at"] for one in found)
    assert found[1]["detail"] == f"{first} again; recorded, activity ID 1"
    assert found[-1]["detail"] == "a person: 1 activity and 1 decision"
    assert WORDS not in str(found)

    of_ticket = await desk.events("--ticket", f"#{failed}")
    assert [one["reference"] for one in of_ticket] == [first, again, first]
    assert await desk.events("--since", "2100-01-01") == []
    table = (await desk.done("audit", "--team", TEAM)).splitlines()
    assert table[0].split() == ["AT", "(UTC)", "WHAT", "BY", "REFERENCE", "TICKET", "DETAIL"]
    assert len(table) == 9


async def test_what_administrators_did_is_deleted_after_audit_days(desk: Desk) -> None:
    await desk.done("export", "--team", TEAM)
    database = desk.bot.parts.database
    for days, left in ((729, 1), (2, 0)):
        older = audit.update().values(at=audit.c.at - days * DAY)
        await database.run(partial(sa.Connection.execute, statement=older))
        await desk.bot.parts.retention.erase()
        assert len(await desk.rows(audit)) == left


# -- forget


async def test_a_forgotten_workspace_records_nothing_until_it_is_connected_again(
    desk: Desk,
) -> None:
    await desk.record()
    await desk.record("144")
    await desk.done("forget", "--team", TEAM, "--yes")
    assert await desk.rows() == []
    refused = await desk.bot.type("143 afterwards")
    assert refused is not None
    assert "isn't connected to LeadSquared" in refused.text


async def test_what_waits_is_stopped_and_its_person_reads_so(desk: Desk) -> None:
    bot = desk.bot
    await bot.leadsquared.stop()
    await bot.type(f"143 {WORDS}")
    await bot.answered()
    refused = await desk.run("forget", "--user", "U0ANNA", "--yes")
    assert refused.status == 2
    assert "ticket 143, accepted" in refused.out
    assert [row["user_id"] for row in await desk.rows()] == ["U0ANNA"]

    ended = await desk.run("forget", "--user", "U0ANNA", "--waiting", "--yes")
    assert (ended.status, ended.err) == (0, "")
    (answer,) = [one for one in bot.slack.workspace.messages if one.thread_ts]
    assert answer.text.startswith("❌ <@U0ANNA>: An admin stopped this before it was sent")
    assert answer.buttons() == {}
    (row,) = await desk.rows()
    assert (row["user_id"], row["state"], row["problem"]) == ("forgotten", "rejected", "stopped")


async def test_a_call_under_way_is_waited_for_and_its_outcome_is_posted(desk: Desk) -> None:
    bot = desk.bot
    slow = ticket_that(Behaviour.HANG)  # until the bot waits no longer
    await bot.type(f"{slow} {WORDS}")
    while not any(row["state"] == "sending" for row in await desk.rows()):
        await asyncio.sleep(0.01)
    await desk.done("forget", "--team", TEAM, "--waiting", "--yes")
    assert "LeadSquared didn't answer in time" in (await bot.answered()).text
    assert await desk.rows() == []


async def test_a_button_under_what_is_forgotten_sends_nothing(desk: Desk) -> None:
    bot = desk.bot
    await bot.type(f"{ticket_that(Behaviour.REFUSED)} {WORDS}")
    answer = await bot.answered()
    await bot.at_rest()
    calls = len(bot.leadsquared.ledger.calls)
    await desk.done("forget", "--user", "U0ANNA", "--yes")
    await bot.slack.click(answer, "Send again", person="U0BEN")
    assert "has been deleted" in (await bot.told_to("U0BEN")).text
    await desk.done("forget", "--team", TEAM, "--yes")
    await bot.slack.click(answer, "Send again", person="U0BEN")
    assert "has no such activity" in (await bot.told_to("U0BEN", messages=2)).text
    assert len(bot.leadsquared.ledger.calls) == calls


async def test_a_decision_about_what_is_forgotten_mentions_no_person(desk: Desk) -> None:
    bot = desk.bot
    await bot.type(f"{ticket_that(Behaviour.DROP)} {WORDS}")
    answer = await bot.answered()
    await bot.at_rest()
    await desk.done("forget", "--user", "U0ANNA", "--yes")
    await bot.slack.click(answer, "It's there", person="U0BEN")
    await bot.at_rest()
    assert answer.text.startswith("✅ <@U0BEN> confirmed")
    assert "by a former member is on ticket" in bot.anchor().text
    assert "forgotten" not in bot.anchor().text
    assert WORDS not in bot.anchor().text


async def test_a_message_that_a_forgotten_person_recorded_is_still_known(desk: Desk) -> None:
    bot = desk.bot
    message = await bot.slack.say(f"#143 {WORDS}", channel="C0SUPPORT", person="U0GUEST")
    await bot.submit(await bot.use(message))
    await bot.answered()
    await bot.at_rest()
    await desk.done("forget", "--user", "U0ANNA", "--yes")
    form = str(await bot.use(message, person="U0BEN"))
    assert "A former member already recorded this message" in form


async def test_people_record_while_a_person_is_forgotten(desk: Desk) -> None:
    await desk.record()
    (row,) = await desk.rows()
    copies = [
        dict(row)
        | {"seq": 1000 + number, "id": f"copy{number}", "key": f"copy.{number}", "user_id": "U0OLD"}
        for number in range(2000)
    ]
    database = desk.bot.parts.database
    await database.run(lambda connection: connection.execute(deliveries.insert(), copies))
    if database.engine.dialect.name == "postgresql":
        setval = sa.text("SELECT setval('deliveries_seq_seq', 5000)")
        await database.run(lambda connection: connection.execute(setval))
    forgetting = asyncio.create_task(desk.done("forget", "--user", "U0OLD", "--yes"))
    typed = 0
    while not forgetting.done():
        typed += 1
        assert await desk.bot.type(f"{143 + typed % 3} number {typed}") is None
        await asyncio.sleep(0.2)
    assert "Blanked, U0OLD in T0HOME: 2,000 activities." in await forgetting
    await desk.bot.at_rest(within=60)
    assert len(desk.bot.leadsquared.ledger.activities) == typed + 1
    assert not any(row["user_id"] == "U0OLD" for row in await desk.rows())
