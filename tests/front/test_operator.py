"""`python -m bot activities …` beside a running bot: what an operator sees and decides."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.activities.acceptance import Acceptance
from bot.activities.delivery import Delivery, Resolution, State
from bot.admin.activities import Action, why_not
from bot.playground.leadsquared import Behaviour
from bot.playground.workspace import Posted
from support.programs import Ended, run_beside
from support.running import ENCRYPTION_KEY, TEAM, Bot, Start, ticket_that
from support.terminal import at_terminal

WORDS = "Kundennummer 4711"


class Desk:
    """A running bot, and an operator beside it."""

    def __init__(self, bot: Bot, variables: dict[str, str], folder: Path) -> None:
        self.bot = bot
        self.variables = variables
        self.folder = folder

    async def run(self, *arguments: str, **variables: str) -> Ended:
        return await run_beside(*arguments, cwd=self.folder, variables=self.variables | variables)

    async def listed(self, *options: str) -> list[dict[str, Any]]:
        ended = await self.run("activities", *options, "--json")
        assert (ended.status, ended.err) == (0, "")
        found: list[dict[str, Any]] = json.loads(ended.out)["activities"]
        return found

    async def failed(self, behaviour: Behaviour) -> tuple[str, Posted]:
        """Type a command that ends as this behaviour makes it end; return reference and answer."""
        ticket = ticket_that(behaviour)
        before = len([one for one in self.bot.slack.workspace.messages if one.thread_ts])
        await self.bot.type(f"{ticket} {WORDS}")
        answer = await self.bot.answered(messages=before + 1)
        await self.bot.at_rest()
        (found,) = await self.listed("--ticket", ticket)
        return found["id"], answer


@pytest.fixture
async def desk(
    start: Start, environment: dict[str, str], url: str, tmp_path: Path
) -> AsyncIterator[Desk]:
    variables = environment | {"DATABASE_URL": url, "POLL_INTERVAL": "0.2"}
    async with start(variables) as bot:
        yield Desk(bot, {"DATABASE_URL": url, "ENCRYPTION_KEYS": ENCRYPTION_KEY}, tmp_path)


async def test_retry_sends_again_in_the_same_thread_and_the_trail_says_who_decided(
    desk: Desk,
) -> None:
    reference, answer = await desk.failed(Behaviour.FAILED)
    seen_before = replace(answer)
    ticket = ticket_that(Behaviour.FAILED)
    desk.bot.leadsquared.tickets[ticket] = Behaviour.FINE
    ended = await desk.run("activities", "retry", reference, "--yes")
    assert (ended.status, ended.err) == (0, "")
    second = await desk.bot.answered(messages=2)
    await desk.bot.at_rest()

    assert [activity.text for activity in desk.bot.leadsquared.on(ticket)] == [WORDS]
    assert "Recorded" in second.text
    assert second.thread_ts == answer.thread_ts
    old = await desk.bot.delivery(reference)
    assert old.resolution is Resolution.SENT_AGAIN
    assert (old.resolved_by or "").startswith("operator:")
    first, new = await desk.listed("--ticket", ticket)
    assert (first["id"], first["resolution"], new["state"]) == (reference, "sent_again", "recorded")
    assert new["id"] in ended.out
    assert "Send again" not in answer.buttons()
    await desk.bot.slack.click(seen_before, "Send again", person="U0BEN")
    told = await desk.bot.told_to("U0BEN")
    assert "An admin already" in told.text
    assert "<@operator" not in str(desk.bot.slack.workspace.messages)


async def test_settle_closes_an_unknown_one_without_a_call(desk: Desk) -> None:
    reference, _ = await desk.failed(Behaviour.DROP)
    ended = await desk.run("activities", "settle", reference, "--yes")
    assert (ended.status, ended.err) == (0, "")
    await desk.bot.slack.until(lambda: "an admin" in desk.bot.anchor().text)

    assert len(desk.bot.leadsquared.ledger.calls) == 1
    assert (await desk.bot.delivery(reference)).resolution is Resolution.CONFIRMED


async def test_each_id_is_answered_for_itself_and_the_good_ones_are_done(desk: Desk) -> None:
    unknown, _ = await desk.failed(Behaviour.DROP)
    rejected, _ = await desk.failed(Behaviour.FAILED)
    recorded, _ = await desk.failed(Behaviour.FINE)
    ended = await desk.run(
        "activities", "settle", "nosuchnumber", rejected, unknown, unknown, recorded, "--yes"
    )

    assert ended.status == 1
    assert ended.out.splitlines() == [f"{unknown}: closed: it is on the ticket"]
    assert [problem.partition(":")[0] for problem in ended.problems] == [
        "nosuchnumber",
        rejected,
        recorded,
    ]
    again = await desk.run("activities", "retry", unknown, "--yes")
    assert (again.status, again.out) == (1, "")
    assert "already closed as recorded on the ticket, by operator:" in again.err


async def test_without_a_terminal_nothing_is_changed_unless_it_is_said_beforehand(
    desk: Desk,
) -> None:
    reference, _ = await desk.failed(Behaviour.DROP)
    for action in ("retry", "settle"):
        ended = await desk.run("activities", action, reference)
        assert (ended.status, ended.out) == (2, "")
        assert "--yes" in ended.err
    assert (await desk.bot.delivery(reference)).resolution is None


@pytest.mark.parametrize(
    ("answer", "status", "resolution"), [("n", 1, None), ("y", 0, Resolution.CONFIRMED)]
)
async def test_at_a_terminal_it_says_what_it_will_do_and_asks(
    desk: Desk, answer: str, status: int, resolution: Resolution | None
) -> None:
    reference, _ = await desk.failed(Behaviour.DROP)
    command = ("activities", "settle", reference)
    ended, screen = await asyncio.to_thread(
        at_terminal, command, [("[y/N]", answer)], desk.folder, desk.variables
    )
    assert ended == status
    assert f"ticket {ticket_that(Behaviour.DROP)}" in screen
    assert "the connection to LeadSquared broke" in screen
    assert WORDS not in screen
    assert (await desk.bot.delivery(reference)).resolution is resolution


async def test_two_at_once_are_one(desk: Desk) -> None:
    reference, _ = await desk.failed(Behaviour.FAILED)
    ticket = ticket_that(Behaviour.FAILED)
    desk.bot.leadsquared.tickets[ticket] = Behaviour.FINE
    both = await asyncio.gather(
        *(desk.run("activities", "retry", reference, "--yes") for _ in range(2))
    )
    await desk.bot.answered(messages=2)
    await desk.bot.at_rest()

    assert sorted(ended.status for ended in both) == [0, 1]
    assert len(desk.bot.leadsquared.on(ticket)) == 1


async def test_the_list_shows_no_text_and_can_be_narrowed(desk: Desk) -> None:
    await desk.failed(Behaviour.FAILED)
    await desk.failed(Behaviour.DROP)
    await desk.failed(Behaviour.FINE)

    plain = await desk.run("activities")
    assert plain.status == 0
    for told in (
        "LeadSquared could not record the activity",
        "rejected",
        "unknown",
        "recorded",
        TEAM,
    ):
        assert told in plain.out
    assert WORDS not in plain.out + (await desk.run("activities", "--json")).out
    assert [one["state"] for one in await desk.listed()] == ["rejected", "unknown", "recorded"]
    assert [one["state"] for one in await desk.listed("--limit", "2")] == ["unknown", "recorded"]
    assert [one["state"] for one in await desk.listed("--state", "unknown")] == ["unknown"]
    assert len(await desk.listed("--team", TEAM)) == 3
    assert await desk.listed("--team", "T0OTHER") == []
    assert (await desk.run("activities", "--ticket", "no ticket")).status == 2
    assert (await desk.run("activities", "--state", "odd")).status == 2


async def test_what_cannot_be_decrypted_is_listed_and_not_sent_again(desk: Desk) -> None:
    rejected, _ = await desk.failed(Behaviour.FAILED)
    unknown, _ = await desk.failed(Behaviour.DROP)
    other = {"ENCRYPTION_KEYS": "another-encryption-secret-of-the-tests-99"}
    assert rejected in (await desk.run("activities", **other)).out
    retried = await desk.run("activities", "retry", rejected, "--yes", **other)
    assert (retried.status, retried.out) == (1, "")
    assert "cannot be decrypted" in retried.err
    assert (await desk.run("activities", "settle", unknown, "--yes", **other)).status == 0


async def test_nothing_of_the_database_controls_the_terminal(
    bot: Bot, environment: dict[str, str], tmp_path: Path
) -> None:
    await bot.type(f"{ticket_that(Behaviour.DROP)} hello")
    await bot.answered()
    await bot.at_rest()
    with closing(sqlite3.connect(tmp_path / "bot.db")) as connection, connection:
        connection.execute(
            "UPDATE deliveries SET tenant_name = ?, channel_id = 'C'", ("\x1b[2J\r\x07evil\u202e",)
        )
    variables = {name: environment[name] for name in ("DATABASE_URL", "ENCRYPTION_KEYS")}
    for arguments in (("activities",), ("activities", "--json"), ("status",), ("status", "--json")):
        ended = await run_beside(*arguments, cwd=tmp_path, variables=variables)
        assert all(character.isprintable() or character == "\n" for character in ended.said), (
            arguments
        )


async def test_a_settled_delivery_is_refused_for_what_it_is(bot: Bot) -> None:
    """What happens between the question and the answer is decided in `Acceptance`."""
    await bot.type(f"{ticket_that(Behaviour.DROP)} hello")
    answer = await bot.answered()
    await bot.at_rest()
    acceptance: Acceptance = bot.parts.acceptance
    shown: Delivery = await bot.delivery(str(bot.anchor().blocks).partition("Reference ")[2][:12])
    assert why_not(Action.SETTLE, shown, asked=False) is None
    await bot.slack.click(answer, "It's there", person="U0BEN")
    await bot.at_rest()
    past = await acceptance.find(TEAM, shown.id)
    assert past is not None
    assert past.state is State.UNKNOWN
    assert "already closed as recorded on the ticket, by U0BEN" in str(
        why_not(Action.RETRY, past, asked=True)
    )
