"""What the page shows of the traffic has no secret in it."""

import json
from urllib.parse import urlencode

import pytest

from bot.playground.traffic import MASK, Traffic, masked_headers, read

SECRET = "s3cret-of-the-tests"


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"token": SECRET}),
        json.dumps({"a": [{"access_token": SECRET, "refresh_token": SECRET}]}),
        json.dumps({"ok": True, "url": f"ws://127.0.0.1:1/socket/{SECRET}"}),
        json.dumps({"response_url": f"http://127.0.0.1:1/response/{SECRET}"}),
        json.dumps({"text": f"see http://127.0.0.1:1/response/{SECRET}"}),
        json.dumps({"view": {"private_metadata": SECRET}}),
        json.dumps({"state": {"values": {"secret_key": {"input": {"value": SECRET}}}}}),
        json.dumps({"state": {"values": {"access_key": {"input": {"value": SECRET}}}}}),
        urlencode({"client_secret": SECRET, "code": SECRET, "text": "hello"}),
        urlencode({"payload": json.dumps({"trigger_id": SECRET})}),
        json.dumps({"text": f"xoxb-{SECRET} xapp-{SECRET} xoxe.xoxb-1-{SECRET}"}),
        f"plain xoxb-1-{SECRET}",
    ],
)
def test_a_body_is_masked(body: str) -> None:
    for given in (body, body.encode()):
        assert SECRET not in json.dumps(read(given))
        assert MASK in json.dumps(read(given), ensure_ascii=False)


def test_headers_are_masked_and_dull_ones_left_out() -> None:
    headers = {
        "Authorization": f"Bearer {SECRET}",
        "X-LSQ-ACCESS-KEY": SECRET,
        "X-LSQ-SECRET-KEY": SECRET,
        "X-Slack-Signature": f"v0={SECRET}",
        "Cookie": SECRET,
        "Content-Type": "application/json",
        "Host": "127.0.0.1",
    }
    found = masked_headers(headers)
    assert SECRET not in str(found)
    assert found["Content-Type"] == "application/json"
    assert found["Authorization"].startswith("Bearer ")
    assert "Host" not in found


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", None),
        ('{"Text": "hello"}', {"Text": "hello"}),
        ("channel=C1&ts=1.2", {"channel": "C1", "ts": "1.2"}),
        ("<html>Please sign in</html>", "<html>Please sign in</html>"),
        (b"\xff", "\ufffd"),
        ('{"ticket": "143", "url": "https://a.example"}',
         {"ticket": "143", "url": "https://a.example"}),
    ],
)  # fmt: skip
def test_a_body_is_read_as_what_it_is(body: str | bytes, expected: object) -> None:
    assert read(body) == expected


def test_an_exchange_is_told_when_it_begins_and_when_it_ends() -> None:
    told: list[object] = []
    traffic = Traffic(lambda: told.append([one.status for one in traffic.exchanges]))
    exchange = traffic.begin("bot → Slack", "POST /api/auth.test", "")
    traffic.end(exchange, 200, '{"ok": true}')
    assert told == [[None], [200]]
    assert exchange.answer == {"ok": True}
