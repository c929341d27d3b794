"""The stand-ins of the playground, with what the bench needs.

They keep what arrived, and something can be done right then.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from aiohttp import web

from bot.playground.leadsquared import Account, Behaviour, Hang, LeadSquaredStandIn
from bot.playground.slack import Kind, Reach, SlackStandIn
from bot.playground.workspace import Workspace
from faults.audit import Post

Hook = Callable[[str, str], Awaitable[None]]
"""Something to do at a moment of an exchange, given the ticket and the text, or the thread and the
text.
"""


async def _nothing(_where: str, _text: str) -> None:
    pass


class Portal(LeadSquaredStandIn):
    """LeadSquared.

    `jitter` is how long an answer takes at most, `late` how long one takes after it was carried
    out.
    """

    def __init__(self, accounts: list[Account], tickets: dict[str, Behaviour]) -> None:
        super().__init__(accounts, tickets)
        self.posts: list[Post] = []
        self.outages: list[float] = []
        self.jitter = self.late = 0.0
        self._going_on: Counter[str] = Counter()  # by ticket
        self.disarm()

    def disarm(self) -> None:
        """Do nothing any more at these moments."""
        self.when_arrived: Hook = _nothing
        self.when_carried_out: Hook = _nothing

    async def _answer(
        self, request: web.Request, org_id: str, ticket_id: str, raw: bytes, arrived: float
    ) -> web.Response:
        text = str((await request.json())["Text"])
        number = len(self.posts)
        crowded = self._going_on[ticket_id] > 0
        self.posts.append(
            Post(ticket_id, text, None, spoilt=True, crowded=crowded)
        )  # until it is answered
        self._going_on[ticket_id] += 1
        try:
            response = await self._take_time(request, org_id, ticket_id, raw, arrived, text)
        finally:
            self._going_on[ticket_id] -= 1
        spoilt = (
            isinstance(response, Hang) or response.status >= web.HTTPInternalServerError.status_code
        )
        self.posts[number] = replace(self.posts[number], status=response.status, spoilt=spoilt)
        return response

    async def _take_time(
        self,
        request: web.Request,
        org_id: str,
        ticket_id: str,
        raw: bytes,
        arrived: float,
        text: str,
    ) -> web.Response:
        await self.when_arrived(ticket_id, text)
        await asyncio.sleep(random.random() * self.jitter)
        response = await super()._answer(request, org_id, ticket_id, raw, arrived)
        await self.when_carried_out(ticket_id, text)
        if self.late:
            await asyncio.sleep(self.late)
        return response

    async def stop(self) -> None:
        self.outages.append(time.time())
        await super().stop()
        self.outages.append(time.time())


class Chat(SlackStandIn):
    """Slack. `jitter` is how long one of the bot's calls takes at most."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.jitter = 0.0
        self.disarm()

    def disarm(self) -> None:
        """Do nothing any more at these moments."""
        self.when_arrived: Hook = _nothing
        self.when_taken: Hook = _nothing

    def is_connected(self) -> bool:
        """Say whether a websocket of the bot's is there."""
        return bool(self.sockets.open)

    async def _send(self, kind: Kind, payload: dict[str, Any], body: str) -> dict[str, Any]:
        if not self.request_url and not self.is_connected():
            return {"failed": "dispatch_failed"}
        return await super()._send(kind, payload, body)

    async def _chat_postmessage(self, reach: Reach, arguments: dict[str, Any]) -> dict[str, Any]:
        thread, text = str(arguments.get("thread_ts") or ""), str(arguments.get("text"))
        await self.when_arrived(thread, text)
        await asyncio.sleep(random.random() * self.jitter)
        answer = await super()._chat_postmessage(reach, arguments)
        await self.when_taken(thread, text)
        return answer
