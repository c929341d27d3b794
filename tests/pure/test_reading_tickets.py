"""What an answer says of a ticket: only the documented shape says anything."""

import json
from typing import Any

import pytest

from bot.leadsquared.outcome import CannotRead, NoTicket, RateLimited, Ticket
from bot.leadsquared.reading import read_ticket

GUID = "0d9f1b6c-6a54-4b62-8e7e-9c9f5b0c1a2d"
FIELDS = [
    {"SchemaName": "Title", "Value": " Cannot log in "},
    {"SchemaName": "TicketKey", "Value": "#143"},
    {"SchemaName": "Status", "Value": "Open"},
    {"SchemaName": "Priority", "Value": 2},
]
SHOWN: dict[str, Any] = {"Id": "143", "TicketId": GUID.upper(), "LeadId": "5", "Fields": FIELDS}


def read(status: int, body: Any, ticket: str = "143") -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_ticket(status, {}, raw, ticket)


@pytest.mark.parametrize(
    ("ticket", "changes", "expected"),
    [
        ("143", {}, Ticket("143", "Cannot log in", "Open")),
        ("143", {"Id": 143}, Ticket("143", "Cannot log in", "Open")),
        (GUID, {}, Ticket(GUID, "Cannot log in", "Open")),
        ("143", {"Fields": FIELDS[:1]}, Ticket("143", "Cannot log in", None)),
    ],
)
def test_the_documented_shape_of_that_ticket_is_shown(
    ticket: str, changes: dict[str, Any], expected: Ticket
) -> None:
    assert read(200, SHOWN | changes, ticket) == expected


@pytest.mark.parametrize(
    "body",
    [
        SHOWN | {"Id": "144"},
        SHOWN | {"Id": None},
        SHOWN | {"Fields": None},
        SHOWN | {"Fields": {"Title": "Cannot log in"}},
        SHOWN | {"Fields": FIELDS[1:]},
        SHOWN | {"Fields": [{"SchemaName": "Title", "Value": 5}]},
        SHOWN | {"Fields": [{"SchemaName": "Title", "Value": " "}]},
        SHOWN | {"Fields": [FIELDS[0], {"SchemaName": "Title", "Value": "Another"}]},
        SHOWN | {"Status": "Error"},
        SHOWN | {"ExceptionType": "MXException"},
        [SHOWN],
        {"Ticket": SHOWN},
        {},
        None,
        b"",
        b"<html>Please sign in</html>",
    ],
)
def test_another_shape_shows_nothing(body: Any) -> None:
    assert isinstance(read(200, body), CannotRead)


@pytest.mark.parametrize("status", [201, 204, 301, 400, 401, 403, 500, 502])
def test_another_status_shows_nothing(status: int) -> None:
    assert isinstance(read(status, SHOWN), CannotRead)


def test_a_404_is_told_apart_and_so_is_a_rate_limit() -> None:
    assert read(404, {"Status": "Error"}) == NoTicket("143")
    assert isinstance(read(429, {}), RateLimited)
    limit = {"Status": "Error", "ExceptionType": "MXAPIRateLimitExceededException"}
    assert isinstance(read(200, limit), RateLimited)


@pytest.mark.parametrize(
    ("status", "is_closed"), [("Closed", True), ("closed", True), ("Open", False), (None, False)]
)
def test_closed_is_that_word_only(status: str | None, is_closed: bool) -> None:  # noqa: FBT001
    assert Ticket("143", "Cannot log in", status).is_closed is is_closed
