"""What Slack sends for a typed command: a signed form over HTTP/1.1, as bytes to write."""

import hashlib
import hmac
import secrets
import time
from urllib.parse import urlencode

PATH = "/slack/events"
COMMAND = "/portal-activity"
TEAM = "T0BENCH"
BOT_TOKEN = "xoxb-benchmark"
SIGNING_SECRET = "the-signing-secret-of-the-benchmark"

_RUN = secrets.token_hex(8)


def body(number: int, ticket: int, channel: str) -> bytes:
    """Return the form of the command of that number; its trigger_id is unlike any other's."""
    fields = {
        "token": "deprecated",
        "team_id": TEAM,
        "team_domain": "benchmark",
        "channel_id": channel,
        "channel_name": "support",
        "user_id": "U0ANNA",
        "user_name": "anna",
        "command": COMMAND,
        "text": f"{ticket} The customer called: "
        f"the invoice of June is still not in the portal ({number})",
        "api_app_id": "A0BENCH",
        "is_enterprise_install": "false",
        "response_url": f"http://127.0.0.1:9/response/{number}",
        "trigger_id": f"{number}.{time.time_ns()}.{_RUN}",
    }
    return urlencode(fields).encode()


def request(form: bytes) -> bytes:
    """Return the whole HTTP request of a form, signed as of now."""
    timestamp = str(int(time.time())).encode()
    signature = hmac.digest(
        SIGNING_SECRET.encode(), b"v0:" + timestamp + b":" + form, hashlib.sha256
    ).hex()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(form)}\r\nX-Slack-Request-Timestamp: {timestamp.decode()}\r\n"
        f"X-Slack-Signature: v0={signature}\r\n\r\n"
    )
    return head.encode() + form
