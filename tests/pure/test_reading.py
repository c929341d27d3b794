"""How an answer of LeadSquared's is read.

Everything that leadsquared.md lists, and everything that it does not.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.leadsquared.outcome import (
    Conversation,
    Outcome,
    Problem,
    RateLimited,
    Recorded,
    Rejected,
    Unknown,
)
from bot.leadsquared.pages import server_page
from bot.leadsquared.reading import read_answer, read_conversations

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
SUCCESS = b'{"Id": "1", "Status": "Success", "Message": null}'
HTML = b"<!doctype html><html><body><h1>Something broke</h1></body></html>"
PATIENT = settings(deadline=None)


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def read(status: int, content: bytes = b"", **headers: str) -> Outcome:
    return read_answer(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, content, NOW
    )


@pytest.mark.parametrize(
    ("status", "content", "activity_id"),
    [
        (200, SUCCESS, "1"),
        (201, SUCCESS, "1"),
        (202, SUCCESS, "1"),
        (200, body(Id=17, Status="Success"), "17"),
        (200, body(Id=" 17 ", Status="Success", Message="Activity added"), "17"),
        (200, body(Id="a1-b2", Status="Success", Extra={"deep": [1, 2]}), "a1-b2"),
        (200, b' \r\n{"Status":"Success","Id":"1"}\n', "1"),
        (200, body(Id="1", Status="Success", ExceptionType=None, ExceptionMessage=None), "1"),
        (200, body(Id="1", Status="Success", ExceptionType=""), "1"),
    ],
)
def test_success_is_the_documented_answer(status: int, content: bytes, activity_id: str) -> None:
    assert read(status, content) == Recorded(activity_id)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"true",
        b"1",
        b'"Success"',
        b"[]",
        b"[" + SUCCESS + b"]",
        b"{}",
        HTML,
        b"OK",
        SUCCESS[:-1],
        SUCCESS[: len(SUCCESS) // 2],
        SUCCESS + SUCCESS,
        SUCCESS + b"]",
        b"\xff\xfe" + SUCCESS,
        SUCCESS.decode().encode("utf-16"),
        b'{"Id": "\xff", "Status": "Success"}',
        b'{"Id": "\\ud800", "Status": "Success"}',
        b"{'Id': '1', 'Status': 'Success'}",
        body(Status="Success"),
        body(Id=None, Status="Success"),
        body(Id="", Status="Success"),
        body(Id="  \n", Status="Success"),
        body(Id=True, Status="Success"),
        body(Id=False, Status="Success"),
        body(Id=1.5, Status="Success"),
        body(Id=["1"], Status="Success"),
        body(Id={"Value": "1"}, Status="Success"),
        b'{"Id": 1' + b"0" * 5000 + b', "Status": "Success"}',
        body(Id="1"),
        body(Id="1", Status=None),
        body(Id="1", Status=""),
        body(Id="1", Status=True),
        body(Id="1", Status=200),
        body(Id="1", Status=["Success"]),
        body(Id="1", Status="success"),
        body(Id="1", Status="SUCCESS"),
        body(Id="1", Status="Successful"),
        body(Id="1", Status="Pending"),
        body(id="1", status="Success"),
        body(id="1", Status="Success"),
        body(Id="1", status="Success"),
        body(activity_id="1", Status="Success"),
        body(Result={"Id": "1", "Status": "Success"}),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"Id": "1", "Status": "Success", "x": ' + b"[" * 100_000,
        b'{"Id": "1", "Status": "Success", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda content: content[:50].decode("latin-1"),
)
def test_a_200_of_any_other_shape_is_unknown(content: bytes) -> None:
    assert read(200, content) == Unknown(Problem.UNREADABLE)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (199, Unknown(Problem.SERVER_ERROR)),
        (204, Unknown(Problem.UNREADABLE)),
        (301, Unknown(Problem.REDIRECTED)),
        (302, Unknown(Problem.REDIRECTED)),
        (304, Unknown(Problem.REDIRECTED)),
        (307, Unknown(Problem.REDIRECTED)),
        (308, Unknown(Problem.REDIRECTED)),
        (400, Rejected(Problem.BAD_REQUEST)),
        (401, Rejected(Problem.UNAUTHORIZED)),
        (403, Rejected(Problem.FORBIDDEN)),
        (404, Rejected(Problem.NOT_FOUND)),
        (405, Rejected(Problem.REFUSED, "Method Not Allowed")),
        (408, Unknown(Problem.SERVER_ERROR)),
        (413, Rejected(Problem.REFUSED, "Request Entity Too Large")),
        (425, Unknown(Problem.SERVER_ERROR)),
        (429, RateLimited()),
        (499, Unknown(Problem.SERVER_ERROR)),
        (500, Unknown(Problem.SERVER_ERROR)),
        (502, Unknown(Problem.SERVER_ERROR)),
        (503, Unknown(Problem.SERVER_ERROR)),
        (504, Unknown(Problem.SERVER_ERROR)),
        (599, Unknown(Problem.SERVER_ERROR)),
    ],
)
@pytest.mark.parametrize("content", [b"", HTML, b'{"Status": "Err', b"[" * 100_000, b"[]", b"{}"])
def test_without_words_of_leadsquareds_the_status_decides(
    status: int, outcome: Outcome, content: bytes
) -> None:
    assert read(status, content) == outcome


@pytest.mark.parametrize(
    "status", [199, 301, 302, 307, 400, 401, 403, 404, 408, 422, 429, 500, 502, 503, 599]
)
def test_a_body_of_success_counts_for_nothing_with_another_status(status: int) -> None:
    assert not isinstance(read(status, SUCCESS), Recorded)


MX = {
    "Status": "Error",
    "ExceptionType": "MXInvalidDataException",
    "ExceptionMessage": "The ticket is closed",
}


@pytest.mark.parametrize(
    ("status", "content", "outcome"),
    [
        (500, body(**MX), Rejected(Problem.FAILED, "The ticket is closed")),
        (502, body(**MX), Rejected(Problem.FAILED, "The ticket is closed")),
        (200, body(**MX), Rejected(Problem.FAILED, "The ticket is closed")),
        (400, body(**MX), Rejected(Problem.BAD_REQUEST, "The ticket is closed")),
        (401, body(**MX), Rejected(Problem.UNAUTHORIZED, "The ticket is closed")),
        (403, body(**MX), Rejected(Problem.FORBIDDEN, "The ticket is closed")),
        (404, body(**MX), Rejected(Problem.NOT_FOUND, "The ticket is closed")),
        (500, body(ExceptionType="MXSomeException"), Rejected(Problem.FAILED)),
        (
            200,
            body(ExceptionType="MXSomeException", Id="1", Status="Success"),
            Rejected(Problem.FAILED),
        ),
        (200, body(Status="Error"), Rejected(Problem.REFUSED)),
        (200, body(Status="Failed", Message="No"), Rejected(Problem.REFUSED, "No")),
        (200, body(Status="ERROR", Message="No"), Rejected(Problem.REFUSED, "No")),
        (200, body(Status="failed", Id="1"), Rejected(Problem.REFUSED)),
        (500, body(Status="Error", Message="No"), Rejected(Problem.FAILED, "No")),
        (
            400,
            body(Status="Error", Message="  Text is missing \n"),
            Rejected(Problem.BAD_REQUEST, "Text is missing"),
        ),
        (400, body(Message="Text is missing"), Rejected(Problem.BAD_REQUEST, "Text is missing")),
        (422, body(Message="Too old"), Rejected(Problem.REFUSED, "Too old")),
        (404, body(Message=""), Rejected(Problem.NOT_FOUND)),
        (400, body(Message={"en": "No"}), Rejected(Problem.BAD_REQUEST)),
        (
            401,
            body(Status="Error", ExceptionMessage="Use https://api-us.example", Message="x"),
            Rejected(Problem.UNAUTHORIZED, "Use https://api-us.example"),
        ),
        (
            500,
            body(Message="Object reference not set"),
            Unknown(Problem.SERVER_ERROR, "Object reference not set"),
        ),
        (503, body(ExceptionType="TimeoutException"), Unknown(Problem.SERVER_ERROR)),
        (500, body(Status="Success", Id="1"), Unknown(Problem.SERVER_ERROR)),
        (302, body(Message="Moved"), Unknown(Problem.REDIRECTED)),
    ],
)
def test_an_error_is_read_by_its_body_and_says_what_leadsquared_says(
    status: int, content: bytes, outcome: Outcome
) -> None:
    assert read(status, content) == outcome


def test_an_error_of_a_gateway_is_not_mistaken_for_leadsquareds_no() -> None:
    # It may well have passed the call on: LeadSquared itself writes Status, never status.
    outcome = read(502, body(status="error", message="upstream timed out"))
    assert isinstance(outcome, Unknown)


LIMIT = "API calls exceeded the limit of 25 in 5 second(s)"


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (429, b""),
        (429, HTML),
        (429, body(Status="Error", ExceptionType="MXInvalidDataException", ExceptionMessage="x")),
        (
            403,
            body(
                Status="Error",
                ExceptionType="MXAPIRateLimitExceededException",
                ExceptionMessage=LIMIT,
            ),
        ),
        (403, body(Status="Error", Message=LIMIT)),
        (403, body(Message="Rate limit exceeded")),
        (403, body(Message="Too many requests")),
        (
            200,
            body(
                Status="Error",
                ExceptionType="MXAPIRateLimitExceededException",
                ExceptionMessage=LIMIT,
            ),
        ),
        (500, body(Status="Error", ExceptionType="MXAPIRateLimitExceededException")),
    ],
)
def test_each_shape_of_the_rate_limit_is_known(status: int, content: bytes) -> None:
    assert read(status, content) == RateLimited()


@pytest.mark.parametrize(
    "words",
    [
        "Access denied",
        "Your corporate limits forbid it",
        "This key may not call the API",
        "Limited account",
    ],
)
def test_a_403_about_anything_else_is_no_rate_limit(words: str) -> None:
    assert read(403, body(Status="Error", Message=words)) == Rejected(Problem.FORBIDDEN, words)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("3600", 3600.0),
        ("86400", 3600.0),
        ("9" * 400, 3600.0),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0.0),
        ("Wed, 25 Nov 2026 12:00:00 GMT", 3600.0),
        ("", None),
        ("soon", None),
        ("-7", None),
        ("inf", None),
        ("nan", None),
        ("\u00b2", None),
        ("7, 8", None),
        ("Tue, 99 Nov 2026 12:00:30 GMT", None),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
@pytest.mark.parametrize(
    ("status", "content"),
    [
        (429, b""),
        (403, body(Message="Rate limit exceeded")),
        (200, body(ExceptionType="MXAPIRateLimitExceededException")),
    ],
)
def test_retry_after_is_honoured_when_it_makes_sense(
    value: str, seconds: float | None, status: int, content: bytes
) -> None:
    assert read(status, content, retry_after=value) == RateLimited(seconds)


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 01 Jan 2026 99999999999999999999:00:00 GMT",
        "Mon, 99999999999999999999 Jan 2026 00:00:00 GMT",
        "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
    ],
)
def test_a_date_of_absurd_figures_in_retry_after_is_nonsense_and_no_crash(value: str) -> None:
    assert read(429, retry_after=value) == RateLimited(None)


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = JUNK | st.sampled_from(
    ["Success", "success", "Error", "Failed", "1", "", " ", "MXError", "MXRateLimit"]
)
NAMES = ["Id", "Status", "Message", "ExceptionType", "ExceptionMessage"]
OBJECTS = st.dictionaries(
    st.sampled_from([*NAMES, *(name.lower() for name in NAMES), "exception_type"]),
    VALUES | st.lists(JUNK, max_size=2) | st.dictionaries(st.text(max_size=3), JUNK, max_size=2),
)
ALMOST = st.fixed_dictionaries({"Id": VALUES, "Status": st.just("Success")})
JSON = (OBJECTS | ALMOST | st.lists(OBJECTS, max_size=2) | VALUES).map(
    lambda value: json.dumps(value).encode()
)
CUT = st.builds(
    lambda content, keep: content[: max(len(content) - keep, 0)], JSON, st.integers(1, 20)
)
STATUSES = st.sampled_from([200, 201, 204]) | st.integers(100, 599)


def _as_documented(status: int, content: bytes) -> bool:
    answer = json.loads(content)
    return (
        200 <= status < 300
        and isinstance(answer, dict)
        and answer.get("Status") == "Success"
        and isinstance(answer.get("Id"), str | int)
        and not isinstance(answer["Id"], bool)
        and str(answer["Id"]).strip() != ""
    )


@PATIENT
@given(STATUSES, JSON | CUT | st.binary(), st.none() | st.text(max_size=40))
def test_no_answer_is_taken_for_success_but_the_documented_one(
    status: int, content: bytes, retry_after: str | None
) -> None:
    outcome = (
        read(status, content)
        if retry_after is None
        else read(status, content, retry_after=retry_after)
    )
    if isinstance(outcome, Recorded):
        assert _as_documented(status, content)
        assert outcome.activity_id.strip()


@PATIENT
@given(
    STATUSES.filter(lambda status: status < 400 or status >= 500),
    st.binary() | CUT.filter(lambda cut: b"}" not in cut),
)
def test_what_is_not_json_leaves_open_whether_it_was_recorded_unless_the_status_refuses(
    status: int, content: bytes
) -> None:
    assert isinstance(read(status, content), Unknown)


UNSOUND = {
    "a NUL": rb'{"Status": "Error", "Message": "Ticket \u0000is closed"}',
    "a NUL as it is": b'{"Status": "Error", "Message": "Ticket \0is closed"}',
    "half a pair": rb'{"Status": "Error", "Message": "Ticket \ud83dis closed"}',
    "the other half": rb'{"Status": "Error", "Message": "Ticket \udc00is closed"}',
    "half a pair in three bytes": b'{"Status": "Error", "Message": "Ticket \xed\xa0\x80is closed"}',
    "a byte that is no UTF-8": b'{"Status": "Error", "Message": "Ticket \xffis closed"}',
    "in an exception": rb'{"ExceptionType": "MXTicket", '
    rb'"ExceptionMessage": "Ticket \ud83dis closed"}',
    "elsewhere": rb'{"Status": "Error", "Message": "Ticket is closed", "Extra": "\ud83d"}',
}


@pytest.mark.parametrize("name", UNSOUND)
def test_a_message_is_read_without_the_characters_that_are_none(name: str) -> None:
    outcome = read(400, UNSOUND[name])
    assert outcome == Rejected(Problem.BAD_REQUEST, "Ticket is closed")


def test_such_a_character_in_a_message_does_not_hide_that_it_was_recorded() -> None:
    assert read(200, rb'{"Id": "1", "Status": "Success", "Message": "\ud83d"}') == Recorded("1")
    assert read(200, rb'{"Id": "1\ud83d", "Status": "Success"}') == Unknown(Problem.UNREADABLE)
    assert read(200, b"[" * 100_000) == Unknown(Problem.UNREADABLE)


def test_such_a_character_in_one_conversation_does_not_hide_the_others() -> None:
    listed = (
        rb'{"Total": 2, "ConversationList": '
        rb'[{"Id": "1", "Text": "a\ud83d"}, {"Id": "2", "Text": "b"}]}'
    )
    assert read_conversations(200, listed) == [Conversation("1", "a"), Conversation("2", "b")]


@pytest.mark.parametrize(
    ("status", "content", "says"),
    [
        (
            400,
            body(Message=["Text is missing", "Text is too short"]),
            "Text is missing; Text is too short",
        ),
        (400, body(Message=[]), None),
        (
            400,
            body(ModelState={"Text": ["Text is missing"]}, Message="The request is invalid."),
            "Text is missing",
        ),
        (400, body(ModelState={"a": ["One", "Two"], "b": "Three", "c": [4]}), "One; Two; Three"),
        (400, body(ModelState={}, Message="Text is missing"), "Text is missing"),
        (400, b"[" + body(Message="One") + b"," + body(Message="Two") + b"]", "One; Two"),
        (400, b'["One", "Two", 3]', "One; Two"),
        (400, b'"Text is missing"', "Text is missing"),
        (400, b"Text is missing\n", "Text is missing"),
        (422, "\ufeffEl ticket está cerrado".encode(), "El ticket está cerrado"),
        (400, "El ticket está cerrado".encode("latin-1"), "El ticket está cerrado"),
        (400, '{"Message": "El ticket está cerrado"}'.encode("latin-1"), "El ticket está cerrado"),
        (500, '{"Status": "Error", "Message": "No se guardó"}'.encode("latin-1"), "No se guardó"),
        (500, b"Text is missing", "Text is missing"),
        (502, b"upstream connect error", None),
        (400, b"<html>Text is missing</html>", None),
        (400, b"{'Message': 'Text is missing'}", None),
        (400, b"x" * 3000, None),
        (400, b"true", None),
        (400, b"3", None),
    ],
)
def test_what_leadsquared_says_is_read_in_each_of_its_shapes(
    status: int, content: bytes, says: str | None
) -> None:
    outcome = read(status, content)
    assert isinstance(outcome, Rejected | Unknown)
    assert outcome.message == (says or ("Unprocessable Content" if status == 422 else None))


@pytest.mark.parametrize(
    ("words", "page"),
    [
        (
            "No HTTP resource was found that matches the request URI 'https://a/api'.",
            "no_http_resource",
        ),
        ("<!DOCTYPE html><title>404</title>", "html_page"),
        ("An error has occurred.", "generic_error"),
        ("Object reference not set to an instance of an object.", "null_reference"),
        ("Not Found", "status_phrase"),
        ("503 Service Temporarily Unavailable", "server_error_page"),
        ("The ticket is closed", None),
        ("The customer wrote: an error has occurred", None),
        ("", None),
    ],
)
def test_a_servers_own_page_is_known_by_a_fixed_pattern(words: str, page: str | None) -> None:
    assert server_page(words) == page
