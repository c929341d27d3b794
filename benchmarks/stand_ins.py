"""Slack's Web API and LeadSquared, as little of them as the measurements need.

`python -m benchmarks.stand_ins <port>` serves both until it is stopped; `/told` returns the
replies in threads, each with the first message of its thread. A measurement that runs them inside
its own process reads their attributes instead. Moments are by time.monotonic().
"""

import asyncio
import re
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from benchmarks.commands import TEAM
from benchmarks.window import WINDOW

CALLS = 25
"""Calls that LeadSquared takes from an account in any `WINDOW`."""

_ANSWER = re.compile(r"[✅❌⚠]\ufe0f? (?!Portal activity).*?\bticket (\d+)")
"""A final answer, but not the bot's first message, in whose thread the answer follows."""


class LeadSquared:
    """Records after `latency` seconds, and refuses an account's 26th call in a window at once."""

    def __init__(self, latency: float = 0.0) -> None:
        self._latency = latency
        self._taken: dict[str, deque[float]] = defaultdict(deque)
        self.arrivals: dict[int, float] = {}  # a ticket's first call
        self.recorded: Counter[int] = Counter()  # activities on each ticket
        self.refused = 0
        self.last_call = 0.0

    async def portal_activity(self, request: web.Request) -> web.Response:
        # Before the body is read: the handler is called when the headers are there.
        arrived = self.last_call = time.monotonic()
        ticket = int(request.match_info["ticket_id"])
        self.arrivals.setdefault(ticket, arrived)
        await request.read()
        if not self._within_limit(request.match_info["org_id"], arrived):
            self.refused += 1
            problem = {"Status": "Error", "ExceptionType": "MXAPIRateLimitExceededException"}
            return web.json_response(problem, status=429)
        await asyncio.sleep(self._latency)
        self.recorded[ticket] += 1
        activity_id = str(self.recorded.total())
        return web.json_response({"Id": activity_id, "Status": "Success", "Message": None})

    def _within_limit(self, org_id: str, arrived: float) -> bool:
        taken = self._taken[org_id]
        while taken and taken[0] <= arrived - WINDOW:
            taken.popleft()
        if len(taken) == CALLS:
            return False
        taken.append(arrived)
        return True


class Slack:
    """Takes every message: how many a channel takes in a second is no part of a measurement."""

    def __init__(self) -> None:
        self._posted: dict[str, tuple[str | None, str]] = {}  # by ts: its thread, and its text
        self._answers: dict[int, asyncio.Future[float]] = defaultdict(asyncio.Future)

    def answer(self, ticket: int) -> asyncio.Future[float]:
        """Return the moment of a ticket's first final answer, once it is there."""
        return self._answers[ticket]

    def told(self) -> list[tuple[str, str]]:
        first = {ts: text for ts, (thread_ts, text) in self._posted.items() if thread_ts is None}
        threads = self._posted.values()
        return [(first.get(thread, ""), text) for thread, text in threads if thread is not None]

    def _note(self, text: str, arrived: float) -> None:
        if (answer := _ANSWER.match(text)) and not self.answer(int(answer[1])).done():
            self.answer(int(answer[1])).set_result(arrived)

    async def post_message(self, request: web.Request) -> web.Response:
        arrived = time.monotonic()
        message = await _message(request)
        thread_ts, text = message.get("thread_ts"), str(message["text"])
        ts = f"{int(time.time())}.{len(self._posted):06}"
        self._posted[ts] = (thread_ts, text)
        self._note(text, arrived)
        return web.json_response({"ok": True, "channel": message["channel"], "ts": ts})

    async def update(self, request: web.Request) -> web.Response:
        arrived = time.monotonic()
        message = await _message(request)
        thread_ts, _ = self._posted[message["ts"]]
        self._posted[message["ts"]] = (thread_ts, message["text"])
        self._note(message["text"], arrived)
        return web.json_response({"ok": True, "channel": message["channel"], "ts": message["ts"]})

    async def delete(self, request: web.Request) -> web.Response:
        message = await _message(request)
        self._posted[message["ts"]] = (None, "")
        return web.json_response({"ok": True, "channel": message["channel"], "ts": message["ts"]})

    async def own_channel(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "channel": {"id": "C0", "is_ext_shared": False}})

    async def member(self, request: web.Request) -> web.Response:
        user = {"id": request.query.get("user"), "team_id": TEAM}
        return web.json_response({"ok": True, "user": user})

    async def other(self, request: web.Request) -> web.Response:
        if request.match_info["method"] != "auth.test":
            return web.json_response({"ok": True})
        scopes = {"X-OAuth-Scopes": "commands,chat:write,chat:write.public,users:read"}
        people = {"team": "Benchmark", "user": "portal", "user_id": "U0BOT", "bot_id": "B0BOT"}
        answer = {"ok": True, "url": "https://benchmark.slack.com/", "team_id": TEAM, **people}
        return web.json_response(answer, headers=scopes)


async def _message(request: web.Request) -> dict[str, str]:
    if request.content_type == "application/json":
        message: dict[str, str] = await request.json()
        return message
    return {name: str(value) for name, value in (await request.post()).items()}


class StandIns:
    """Both on one port."""

    def __init__(self, latency: float = 0.0) -> None:
        self.leadsquared = LeadSquared(latency)
        self.slack = Slack()
        self.port = 0

    def application(self) -> web.Application:
        activity = "/api/tenants/{org_id}/ticket/{ticket_id}/portal/activity"
        application = web.Application()
        application.add_routes(
            [
                web.post(activity, self.leadsquared.portal_activity),
                web.post("/slack/chat.postMessage", self.slack.post_message),
                web.post("/slack/chat.update", self.slack.update),
                web.post("/slack/chat.delete", self.slack.delete),
                web.get("/slack/conversations.info", self.slack.own_channel),
                web.get("/slack/users.info", self.slack.member),
                web.post("/slack/{method}", self.slack.other),
                web.get("/told", self._told),
            ]
        )
        return application

    async def _told(self, _request: web.Request) -> web.Response:
        return web.json_response(self.slack.told())


@asynccontextmanager
async def standing_in(latency: float = 0.0) -> AsyncIterator[StandIns]:
    """Serve both on a free port, in this process."""
    stand_ins = StandIns(latency)
    runner = web.AppRunner(stand_ins.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stand_ins.port = runner.addresses[0][1]
        yield stand_ins
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    served = StandIns().application()
    web.run_app(served, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
