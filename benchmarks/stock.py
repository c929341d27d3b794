"""The smallest stock Bolt app, a process of its own: `python -m benchmarks.stock <port> <Slack API's address>`.

What a person who follows Bolt's own guide would have: a listener that acknowledges and stores nothing.
"""

import sys

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from benchmarks.commands import BOT_TOKEN, COMMAND, PATH, SIGNING_SECRET


async def acknowledge(ack: AsyncAck) -> None:
    await ack()


def main() -> None:
    port, slack_api_url = int(sys.argv[1]), sys.argv[2]
    bolt = AsyncApp(client=AsyncWebClient(BOT_TOKEN, base_url=slack_api_url), signing_secret=SIGNING_SECRET)
    bolt.command(COMMAND)(acknowledge)
    bolt.server(port, PATH, "127.0.0.1").start()


if __name__ == "__main__":
    main()
