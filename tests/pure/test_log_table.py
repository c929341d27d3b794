"""Every event of the log is documented, and a failure has a reason that says what it was."""

import ast
import re
import socket
import ssl
from collections import defaultdict
from collections.abc import Iterator

import httpx
import pytest

from bot.activities.backlog import MANY, WAITS_LONG, WARN_EVERY, Backlog, Queued
from bot.leadsquared.client import failure_reason
from bot.leadsquared.reading import read_answer
from support.programs import ROOT

WORDS = "Kundennummer 4711"
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
}


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
    error.__cause__ = (
        causes[0] if len(causes) == 1 else ExceptionGroup("several addresses", list(causes))  # type: ignore[type-var]
    )
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


# -- a backlog


def warned(*seen: tuple[float, int, float]) -> list[float]:
    backlog = Backlog()
    return [
        at for at, number, oldest in seen if backlog.is_worth_a_warning(Queued(number, oldest), at)
    ]


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
