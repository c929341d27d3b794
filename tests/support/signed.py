"""Signed requests, and what the bot logs of them."""

import io
import time
from typing import Any

import aiohttp
import pytest
from slack_sdk.signature import SignatureVerifier

from bot.playground.slack import SIGNING_SECRET
from support.running import TEAM, Bot

FORM = "application/x-www-form-urlencoded"


def command(**changes: str) -> dict[str, str]:
    return {
        "team_id": TEAM,
        "channel_id": "C0SUPPORT",
        "user_id": "U0ANNA",
        "command": "/portal-activity",
        "text": "143 hello",
        "trigger_id": f"1.{time.time_ns()}",
        "api_app_id": "A0",
    } | changes


async def send(
    bot: Bot,
    body: str | bytes,
    *,
    secret: str = SIGNING_SECRET,
    age: int = 0,
    content_type: str = FORM,
    **headers: str,
) -> tuple[int, str]:
    """POST a body with Slack's signature over it, or with what `headers` say instead."""
    raw = body.encode() if isinstance(body, str) else body
    timestamp = str(int(time.time()) - age)
    signed = raw.decode("utf-8", "replace")
    signature = SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=signed) or ""
    sent = {
        "Content-Type": content_type,
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": signature,
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{bot.url}/slack/events", data=io.BytesIO(raw), headers=sent | headers
        ) as response,
    ):
        return response.status, await response.text()


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the events of the bot's own log."""
    return [record.msg for record in caplog.records if isinstance(record.msg, dict)]
