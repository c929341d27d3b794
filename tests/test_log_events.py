"""What the log says: every event is documented, failures have reasons, repeats are counted."""

import ast
import json
import re
import socket
import sqlite3
import ssl
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ACCOUNT, Start, ticket_that
from postgres import ROOT, Serving, run_beside, serving, surroundings

from bot.activities.backlog import MANY, WAITS_LONG, WARN_EVERY, Backlog, Queued
from bot.leadsquared.client import LeadSquared, failure_reason
from bot.leadsquared.outcome import NotSent, Rejected
from bot.leadsquared.reading import read_answer
from bot.leadsquared.tenant import Tenant
from bot.playground.leadsquared import Behaviour, LeadSquaredStandIn
from bot.playground.slack import SlackStandIn

WORDS = "Kundennummer 4711"
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
}


# -- the table in docs/errors.md


def logged() -> Iterator[tuple[str, str | None]]:
    """Return each event of the code with its level; None where that is decided at run time."""
    for file in sorted((ROOT / "bot").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "_log"):
                continue
            event = node.args[1 if node.func.attr == "log" else 0]
            assert isinstance(event, ast.Constant), f"{file}:{node.lineno} names no event"
            yield str(event.value), LEVELS.get(node.func.attr)


def documented() -> dict[str, set[str]]:
    table = (ROOT / "docs" / "errors.md").read_text().partition("## In the log\n")[2]
    found: dict[str, set[str]] = {}
    for line in table.splitlines():
        if line.startswith("| `"):
            names, levels, meaning, action = (cell.strip() for cell in line.strip("|").split("|"))
            assert meaning, line
            assert action, line
            for name in re.findall(r"`([a-z_]+)`", names):
                assert name not in found, f"{name} has two rows"
                found[name] = set(levels.split(", "))
    return found


def test_every_event_of_the_code_is_in_the_table_with_its_level_and_no_other() -> None:
    levels: dict[str, set[str]] = defaultdict(set)
    for event, level in logged():
        levels[event] |= set() if level is None else {level}
    said = documented()
    assert said.keys() == levels.keys() | {"repeated", "library_warning"}
    assert {event: found for event, found in levels.items() if not found <= said[event]} == {}


# -- the reasons


def caused(error: httpx.RequestError, *causes: BaseException) -> httpx.RequestError:
    """Raise an error from others, as httpx does."""
    error.__cause__ = causes[0] if len(causes) == 1 else ExceptionGroup("several addresses", list(causes))  # type: ignore[type-var]
    return error


def expired() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "certificate has expired"
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (caused(httpx.ConnectError("x"), socket.gaierror(-2, "Name or service not known")), "dns"),
        (
            caused(httpx.ConnectError("x"), ConnectionRefusedError(111, "Connection refused")),
            "refused",
        ),
        (
            caused(httpx.ConnectError("x"), ConnectionRefusedError(), ConnectionRefusedError()),
            "refused",
        ),
        (caused(httpx.ConnectError("x"), OSError(101, "x")), "network is unreachable"),
        (caused(httpx.ConnectError("x"), expired()), "tls: certificate has expired"),
        (caused(httpx.ConnectError("x"), ssl.SSLError(1, "wrong version number")), "tls"),
        (httpx.ConnectError(WORDS), "not connected"),
        (httpx.ConnectTimeout(WORDS), "connect timeout"),
        (httpx.PoolTimeout(WORDS), "no connection free"),
        (httpx.ReadTimeout(WORDS), "read timeout"),
        (httpx.WriteTimeout(WORDS), "write timeout"),
        (httpx.ReadError(WORDS), "dropped"),
        (httpx.RemoteProtocolError(WORDS), "dropped"),
        (TimeoutError(), "call timeout"),
    ],
)
def test_why_no_answer_came(error: Exception, reason: str) -> None:
    assert failure_reason(error) == reason


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, f'{{"Message": "{WORDS}"}}', "status 401"),
        (429, "", "status 429"),
        (500, f'{{"ExceptionType": "MXException", "ExceptionMessage": "{WORDS}"}}', "status 500"),
        (502, f"<html>{WORDS}", "status 502"),
        (200, f'{{"Status": "Error", "Message": "{WORDS}"}}', "status 200, an error in the body"),
        (
            200,
            '{"ExceptionType": "MXAPIRateLimitExceededException"}',
            "status 200, a rate limit in the body",
        ),
        (200, f"<html>{WORDS}", "status 200, an unreadable body"),
        (302, "", "status 302"),
    ],
)
def test_why_an_answer_is_no_success(status: int, body: str, reason: str) -> None:
    assert getattr(read_answer(status, {}, body.encode()), "reason", None) == reason


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
            assert await slack.command(f"{ticket} {WORDS}", channel="C0SUPPORT", person="U0ANNA") is None
        await process.logged("call_failed")
        process.signal()
        assert await process.ended() == 0

    assert [event["ticket"] for event in events(process, "accepted")] == tickets
    (failed,) = events(process, "call_failed")
    assert (failed["level"], failed["reason"], failed["host"]) == ("warning", "refused", host)
    assert failed["ticket"] in tickets
    counted = sum(event["left_out"] for event in events(process, "repeated") if event["what"] == "call_failed")
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
            await slack.command(f"{ticket_that(behaviour)} {WORDS}", channel="C0SUPPORT", person="U0ANNA")
        await slack.until(lambda: sum(bool(message.thread_ts) for message in slack.workspace.messages) == 3)
        process.signal()
        assert await process.ended() == 0

    warned = {(event["reason"], event["ticket"]) for event in events(process, "call_failed")}
    assert warned == {
        ("status 401", ticket_that(Behaviour.UNAUTHORIZED)),
        ("read timeout", ticket_that(Behaviour.HANG)),
    }
    ended = {event["ticket"]: (event["level"], event["reason"]) for event in events(process, "attempt_ended")}
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
    without = {name: value for name, value in environment.items() if not name.startswith("LEADSQUARED_")}
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


def warned(*seen: tuple[float, int, float]) -> list[float]:
    backlog = Backlog()
    return [at for at, number, oldest in seen if backlog.is_worth_a_warning(Queued(number, oldest), at)]


@pytest.mark.parametrize(
    ("seen", "at"),
    [
        ([(0.0, 0, 0.0)], []),
        ([(0.0, 1, WAITS_LONG - 1), (5.0, 1, WAITS_LONG)], [5.0]),
        (
            [(0.0, 1, WAITS_LONG), (5.0, 1, WAITS_LONG + 5), (WARN_EVERY, 1, WAITS_LONG + 60)],
            [0.0, WARN_EVERY],
        ),
        ([(0.0, MANY - 1, 9.0)], []),
        ([(0.0, MANY, 9.0)], [0.0]),
        ([(0.0, MANY, 9.0), (WARN_EVERY, MANY, 69.0), (2 * WARN_EVERY, MANY - 5, 129.0)], [0.0]),
        ([(0.0, MANY, 9.0), (WARN_EVERY, MANY + 1, 69.0)], [0.0, WARN_EVERY]),
        ([(0.0, 500, 9.0), (30.0, 200, 9.0), (WARN_EVERY, 300, 9.0)], [0.0, WARN_EVERY]),
    ],
)
def test_a_backlog_is_worth_a_warning_when_it_is_old_or_grows(
    seen: list[tuple[float, int, float]], at: list[float]
) -> None:
    assert warned(*seen) == at


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
