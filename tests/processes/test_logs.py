"""What a real process writes to its log, at its most talkative.

Everything that helps, nothing that is secret.
"""

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.playground.leadsquared import Behaviour, LeadSquaredStandIn
from bot.playground.slack import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, Fault, SlackStandIn
from bot.playground.workspace import Posted
from support.programs import Serving, serving
from support.running import ACCOUNT, ENCRYPTION_KEY, TEAM, ticket_that

WORDS = "Kundennummer 4711"
"""Stands in every text of an activity."""
WRONG_SIGNATURE = "v0=" + "5ec2e7" * 10
SLOW = {Behaviour.TRICKLE, Behaviour.BUSY_AT_FIRST}


class Journey:
    """What people and servers do to one bot until it is told to stop."""

    def __init__(
        self, process: Serving, slack: SlackStandIn, leadsquared: LeadSquaredStandIn, file: Path
    ) -> None:
        self.process = process
        self.slack = slack
        self.leadsquared = leadsquared
        self._file = file
        self._number = 0

    async def type(self, ticket: str, *, channel: str = "C0SUPPORT") -> Posted | None:
        self._number += 1
        text = f"{ticket} {WORDS}, number {self._number}"
        return await self.slack.command(text, channel=channel, person="U0ANNA")

    async def answer_on(self, ticket: str) -> Posted:
        """Wait for the last word on a ticket."""

        def found() -> list[Posted]:
            return [
                message
                for message in self.slack.workspace.messages
                if (message.thread_ts or message.ephemeral)
                and f"ticket {ticket}" in message.text
                and not message.text.startswith("⏳")
            ]

        await self.slack.until(found)
        return found()[-1]

    async def every_outcome(self) -> None:
        tickets = [ticket_that(behaviour) for behaviour in Behaviour if behaviour not in SLOW]
        for ticket in tickets:
            assert await self.type(ticket) is None
        for ticket in tickets:
            await self.answer_on(ticket)

    async def buttons(self) -> None:
        failed = await self.answer_on(ticket_that(Behaviour.FAILED))
        twice = [
            self.slack.click(failed, "Send again", person=person) for person in ("U0ANNA", "U0BEN")
        ]
        await asyncio.gather(*twice)  # one of them is told that it is too late
        unknown = await self.answer_on(ticket_that(Behaviour.HTML))
        await self.slack.click(unknown, "It's there", person="U0GUEST")
        await self.slack.click(unknown, "It's there", person="U0ANNA")
        wrong = await self.answer_on(ticket_that(Behaviour.BAD_REQUEST))
        self.slack.faults["views.open"].append(Fault("expired_trigger_id"))
        for _ in range(2):  # the first finds Slack unwilling
            await self.slack.click(wrong, "Edit and send again", person="U0ANNA")
        (modal,) = self.slack.modals.open
        assert "errors" in await self.slack.submit(
            modal, {"ticket": f"no ticket, {WORDS}"}, person="U0ANNA"
        )
        await self.slack.submit(
            modal, {"ticket": "145", "text": f"{WORDS}, corrected"}, person="U0ANNA"
        )
        await self.answer_on("145")

    async def slack_failures(self) -> None:
        self.slack.faults["chat.postMessage"] += [
            Fault("ratelimited", 429, 1),
            Fault("internal_error", 500),
        ]
        self.slack.faults["chat.update"].append(Fault("message_not_found"))
        self.slack.faults["users.info"].append(Fault("fatal_error", 500))
        self.slack.faults["response_url"].append(Fault(status=500))
        await self.type("143", channel="C0PRIVATE")
        await self.slack.command(f"144 <@U0BEN> {WORDS}", channel="C0SUPPORT", person="U0ANNA")
        await self.answer_on("143")
        await self.answer_on("144")

    async def database_trouble(self) -> None:
        with closing(sqlite3.connect(self._file, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            refused = await self.type("143")
            assert refused is not None
            assert "couldn't store this" in refused.text
            await self.process.logged("database_unavailable")

    async def bad_requests(self) -> None:
        url = f"{await self.process.url()}/slack/events"
        signed = {"X-Slack-Request-Timestamp": "1", "X-Slack-Signature": WRONG_SIGNATURE}
        async with aiohttp.ClientSession() as session:
            for body, headers in (
                (f"text=143+{WORDS}".encode(), signed),
                (b"\xff\xfe" + WORDS.encode(), signed),
                (b"payload=null", {}),
            ):
                async with session.post(url, data=body, headers=headers) as response:
                    assert response.status in (400, 401, 404, 405), (
                        "refused, or in Socket Mode not there at all"
                    )

    async def broken_payloads(self) -> None:
        forms = [
            {"user_id": ""},
            {"team_id": ""},
            {"channel_id": "", "trigger_id": ""},
            {"command": "/unknown"},
        ]
        typed = [
            self.slack.command(
                f"143 {WORDS}", **{"channel": "C0SUPPORT", "person": "U0ANNA"} | form
            )
            for form in forms
        ]
        await asyncio.gather(*typed)


@pytest.mark.parametrize(("format_", "mode"), [("json", "http"), ("console", "socket mode")])
async def test_a_log_of_everything_that_can_happen_holds_no_secret_and_no_customers_words(
    format_: str,
    mode: str,
    environment: dict[str, str],
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> None:
    variables = environment | {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": format_, "RETRY_FOR": "2"}
    variables |= {"LEADSQUARED_READ_TIMEOUT": "0.5"}
    if mode == "socket mode":
        variables["SLACK_APP_TOKEN"] = APP_TOKEN
    with serving("run", cwd=tmp_path, variables=variables) as process:
        url = await process.url()
        await process.logged("slack_identified")
        if mode == "socket mode":
            await asyncio.wait_for(slack.sockets.connected.wait(), 10)
        else:
            slack.request_url = f"{url}/slack/events"
        journey = Journey(process, slack, leadsquared, tmp_path / "bot.db")
        await journey.type("143")
        await journey.answer_on("143")
        await journey.every_outcome()
        await journey.buttons()
        await journey.slack_failures()
        await journey.database_trouble()
        await journey.bad_requests()
        await journey.broken_payloads()
        await leadsquared.stop()
        await journey.type("145")
        await process.logged("unreachable")
        process.signal()
        assert await process.ended() == 0
        log = process.log

    expected = {
        "started",
        "slack_identified",
        "attempt_ended",
        "told",
        "told_elsewhere",
        "telling_failed",
        "stopped",
    }
    expected |= {
        "database_unavailable",
        "request_refused",
        "accepted",
        "call_failed",
        "not_carried_out",
    }
    assert {event for event in expected if event in log} == expected
    assert not [needle for needle in needles(slack) if needle in log]
    assert not re.search(r"v0=[0-9a-f]{10}", log), "a signature"
    assert "gAAAAA" not in log, "something encrypted"
    assert "Traceback" not in log
    if format_ == "json":
        bound = [event for event in process.events() if event["event"] in ("attempt_ended", "told")]
        assert all(re.fullmatch(r"[a-z2-7]{12}", event["delivery"]) for event in bound)


def needles(slack: SlackStandIn) -> list[str]:
    """Return everything that must not be found."""
    secrets = [
        BOT_TOKEN,
        APP_TOKEN,
        SIGNING_SECRET,
        ACCOUNT.access_key,
        ACCOUNT.secret_key,
        ENCRYPTION_KEY,
    ]
    response_urls = ["/response/", *slack._response_urls]
    return [*secrets, *response_urls, WRONG_SIGNATURE, WORDS, "Kundennummer", "/socket/"]


async def test_what_went_wrong_can_be_found_by_the_reference_that_the_person_sees(
    environment: dict[str, str], slack: SlackStandIn, tmp_path: Path
) -> None:
    with serving("run", cwd=tmp_path, variables=environment) as process:
        slack.request_url = f"{await process.url()}/slack/events"
        await process.logged("slack_identified")
        await slack.command(
            f"{ticket_that(Behaviour.FAILED)} {WORDS}", channel="C0SUPPORT", person="U0ANNA"
        )
        await slack.until(lambda: any(message.thread_ts for message in slack.workspace.messages))
        process.signal()
        assert await process.ended() == 0

    (answer,) = [message for message in slack.workspace.messages if message.thread_ts]
    assert "Reference" not in answer.text, "the message above it has it"
    reference = re.search(r"Reference ([a-z2-7]{12})", slack.workspace.messages[0].text)
    assert reference is not None
    about: list[dict[str, Any]] = [
        event for event in process.events() if event.get("delivery") == reference[1]
    ]
    (attempt,) = [event for event in about if event["event"] == "attempt_ended"]
    assert (attempt["outcome"], attempt["problem"], attempt["tenant"]) == (
        "rejected",
        "failed",
        "environment",
    )
    assert "told" in [event["event"] for event in about]
    assert TEAM in process.log, "whose bot it is"


async def test_a_database_that_stays_away_is_logged_once_by_each_loop_and_not_at_each_try(
    environment: dict[str, str], slack: SlackStandIn, tmp_path: Path
) -> None:
    with serving("run", cwd=tmp_path, variables=environment | {"POLL_INTERVAL": "0.1"}) as process:
        slack.request_url = f"{await process.url()}/slack/events"
        await process.logged("slack_identified")
        with closing(sqlite3.connect(tmp_path / "bot.db", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for _ in range(
                7
            ):  # each waits for the lock about as long as a loop does between two tries
                refused = await slack.command(f"143 {WORDS}", channel="C0SUPPORT", person="U0ANNA")
                assert refused is not None
            await process.logged("database_unavailable")
        process.signal()
        assert await process.ended() == 0

    said = [
        event["reason"] for event in process.events() if event["event"] == "database_unavailable"
    ]
    assert 1 <= len(said) <= 2 * len(set(said)), "the worker and the teller, once for each reason"
