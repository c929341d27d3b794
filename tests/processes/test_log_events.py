"""What a process logs: why a call failed, and how often the same was left out."""

import json
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from bot.activities.backlog import WAITS_LONG
from bot.leadsquared.client import LeadSquared
from bot.leadsquared.outcome import NotSent, Rejected
from bot.leadsquared.tenant import Tenant
from bot.playground.leadsquared import Behaviour, LeadSquaredStandIn
from bot.playground.slack import SlackStandIn
from support.programs import Serving, run_beside, serving, surroundings
from support.running import ACCOUNT, Start, ticket_that

WORDS = "Kundennummer 4711"


# -- the reasons


async def test_reasons_of_real_connections(tls_server: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    async with LeadSquared((), connect_timeout=1, read_timeout=1, deadline=2) as client:
        refused = await client.reach(Tenant("a", f"http://127.0.0.1:{port}", "1", "a", "b"))
        tls = await client.reach(Tenant("a", tls_server, "1", "a", "b"))
    assert isinstance(refused, NotSent)
    assert refused.reason == "refused"
    assert isinstance(tls, Rejected)
    assert tls.reason.startswith("tls: self")


# -- what is printed


def events(process: Serving, name: str) -> list[dict[str, Any]]:
    return [event for event in process.events() if event["event"] == name]


async def ready(process: Serving, slack: SlackStandIn) -> None:
    slack.request_url = f"{await process.url()}/slack/events"
    await process.logged("slack_identified")


async def test_a_leadsquared_that_is_away_is_a_counted_warning_and_what_waits_is_left(
    environment: dict[str, str],
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> None:
    host = leadsquared.url.removeprefix("http://")
    await leadsquared.stop()
    with serving("run", cwd=tmp_path, variables=environment | {"LOG_LEVEL": "INFO"}) as process:
        await ready(process, slack)
        tickets = [str(200 + number) for number in range(20)]
        for ticket in tickets:
            assert (
                await slack.command(f"{ticket} {WORDS}", channel="C0SUPPORT", person="U0ANNA")
                is None
            )
        await process.logged("call_failed")
        process.signal()
        assert await process.ended() == 0

    assert [event["ticket"] for event in events(process, "accepted")] == tickets
    (failed,) = events(process, "call_failed")
    assert (failed["level"], failed["reason"], failed["host"]) == ("warning", "refused", host)
    assert failed["ticket"] in tickets
    counted = sum(
        event["left_out"] for event in events(process, "repeated") if event["what"] == "call_failed"
    )
    assert counted >= 1, "nothing is lost at the end"
    assert events(process, "attempt_ended") == []
    (left,) = events(process, "left_for_the_next_start")
    assert (left["waiting"], left["in_flight"], left["unsent"]) == (20, 0, 20)
    assert WORDS not in process.log


async def test_refused_keys_are_a_warning_and_a_wrong_ticket_is_its_agents_matter(
    environment: dict[str, str],
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> None:
    with serving("run", cwd=tmp_path, variables=environment) as process:
        await ready(process, slack)
        for behaviour in (Behaviour.UNAUTHORIZED, Behaviour.NOT_FOUND, Behaviour.HANG):
            await slack.command(
                f"{ticket_that(behaviour)} {WORDS}", channel="C0SUPPORT", person="U0ANNA"
            )
        await slack.until(
            lambda: sum(bool(message.thread_ts) for message in slack.workspace.messages) == 3
        )
        process.signal()
        assert await process.ended() == 0

    warned = {(event["reason"], event["ticket"]) for event in events(process, "call_failed")}
    assert warned == {
        ("status 401", ticket_that(Behaviour.UNAUTHORIZED)),
        ("read timeout", ticket_that(Behaviour.HANG)),
    }
    ended = {
        event["ticket"]: (event["level"], event["reason"])
        for event in events(process, "attempt_ended")
    }
    assert ended[ticket_that(Behaviour.NOT_FOUND)] == ("info", "status 404")
    assert ACCOUNT.access_key not in process.log


async def test_what_was_never_sent_has_an_event_of_its_own(
    start: Start,
    environment: dict[str, str],
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> None:
    await leadsquared.stop()
    with serving("run", cwd=tmp_path, variables=environment) as process:
        await ready(process, slack)
        await slack.command(f"143 {WORDS}", channel="C0SUPPORT", person="U0ANNA")
        await process.logged("call_failed")
        process.signal()
        assert await process.ended() == 0
    without = {
        name: value for name, value in environment.items() if not name.startswith("LEADSQUARED_")
    }
    with serving("run", cwd=tmp_path, variables=without) as process:
        await process.logged("ended_unsent")
        process.signal()
        assert await process.ended() == 0
    assert "ended_without_an_answer" not in process.log


SAYS = """
import structlog
from bot.logs import configure_logging

configure_logging("INFO", "json")
log = structlog.get_logger("a.part")
for number in range(5):
    log.warning("call_failed", reason="dns", host="a.example", number=number)
    log.warning("telling_given_up", reason="not_in_channel", number=number)
    log.info("told", reason="dns")
log.warning("call_failed", reason="refused", host="a.example")
log.warning("call_failed", reason="dns", host="b.example")
structlog.get_logger("another.part").warning("call_failed", reason="dns", host="a.example")
for _ in range(3):
    try:
        raise ValueError
    except ValueError:
        log.exception("loop_failed", loop="worker")
"""


async def test_the_same_is_printed_once_and_counted_to_the_end_of_the_process(
    tmp_path: Path,
) -> None:
    ended = await run_beside("-c", SAYS, cwd=tmp_path, variables={}, command=(sys.executable,))
    said = [json.loads(line) for line in ended.err.splitlines()]
    names = [event["event"] for event in said]
    assert (names.count("call_failed"), names.count("telling_given_up"), names.count("told")) == (
        4,
        5,
        5,
    )
    assert names.count("loop_failed") == 1
    counted = {(event["what"], event["left_out"]) for event in said if event["event"] == "repeated"}
    assert counted == {("call_failed", 4), ("loop_failed", 2)}


LATER = """
import structlog
import bot.logs
from bot.logs import configure_logging

configure_logging("INFO", "json")
log = structlog.get_logger("a.part")
moment = 1000.0
bot.logs.time.monotonic = lambda: moment
for moment in (1000.0, 1010.0, 1029.0, 1031.0, 1040.0, 1070.0):
    if moment < 1070:
        log.warning("call_failed", reason="dns", at=moment)
    else:
        log.info("told")
"""


def test_the_next_one_that_is_printed_says_how_many_were_left_out(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LATER],
        capture_output=True,
        text=True,
        env=surroundings({}),
        cwd=tmp_path,
        check=True,
    )
    said = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [(event["event"], event.get("at"), event.get("left_out")) for event in said] == [
        ("call_failed", 1000.0, None),
        ("call_failed", 1031.0, 2),
        ("repeated", 1040.0, 1),
        ("told", None, None),
    ]


# -- the backlog


async def test_what_waits_for_long_is_a_warning(
    environment: dict[str, str],
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> None:
    await leadsquared.stop()
    with serving("run", cwd=tmp_path, variables=environment | {"POLL_INTERVAL": "0.2"}) as process:
        await ready(process, slack)
        await slack.command(f"143 {WORDS}", channel="C0SUPPORT", person="U0ANNA")
        with closing(sqlite3.connect(tmp_path / "bot.db")) as connection, connection:
            connection.execute("UPDATE deliveries SET accepted_at = accepted_at - ?", (WAITS_LONG,))
        await process.logged('"backlog"')
        process.signal()
        assert await process.ended() == 0
    (event,) = events(process, "backlog")
    assert (event["level"], event["waiting"]) == ("warning", 1)
    assert event["oldest_seconds"] >= WAITS_LONG
