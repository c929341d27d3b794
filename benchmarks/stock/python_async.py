"""The bot's job in stock Bolt for Python, async: AsyncApp on aiohttp, LeadSquared by httpx."""

import os
from typing import Any

import httpx
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncSay
from slack_sdk.web.async_client import AsyncWebClient

app = AsyncApp(
    client=AsyncWebClient(os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"]),
    signing_secret=os.environ["SLACK_SIGNING_SECRET"],
)
leadsquared = httpx.AsyncClient(
    base_url=os.environ["LEADSQUARED_API_URL"],
    headers={
        "X-LSQ-ACCESS-KEY": os.environ["LEADSQUARED_ACCESS_KEY"],
        "X-LSQ-SECRET-KEY": os.environ["LEADSQUARED_SECRET_KEY"],
    },
    timeout=15,
)


@app.command("/portal-activity")
async def record(ack: AsyncAck, command: dict[str, Any], say: AsyncSay) -> None:
    await ack()
    ticket, _, text = command["text"].partition(" ")
    path = f"/api/tenants/{command['channel_id'][-3:]}/ticket/{ticket}/portal/activity"
    answer = await leadsquared.post(path, json={"Text": text, "Direction": "INBOUND"})
    if answer.status_code == 200:
        await say(f"✅ Recorded on ticket {ticket}, activity ID {answer.json()['Id']}")
    else:
        await say(f"❌ Not recorded on ticket {ticket}: {answer.status_code}")


if __name__ == "__main__":
    app.server(int(os.environ["PORT"]), host="127.0.0.1").start()
