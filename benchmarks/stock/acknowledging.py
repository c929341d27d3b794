"""A listener that acknowledges a command and stores nothing, as in Bolt's own guide."""

import os

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

app = AsyncApp(
    client=AsyncWebClient(os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"]),
    signing_secret=os.environ["SLACK_SIGNING_SECRET"],
)


@app.command("/portal-activity")
async def acknowledge(ack: AsyncAck) -> None:
    await ack()


if __name__ == "__main__":
    app.server(int(os.environ["PORT"]), host="127.0.0.1").start()
