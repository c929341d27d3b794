"""Slack's Web API and LeadSquared, as little of them as the measurements need: `python -m benchmarks.stand_ins <port>`.

A process of their own, so that their work is not counted as the bot's. Both say yes at once; Slack, as the real one
does, takes only so many messages per channel (or, with a second argument, that many at once). `/arrivals` tells when
each ticket's POST came in, `/told` what stands in threads: each message with the one that its thread begins with.
"""

import sys
import time
from collections import defaultdict

from aiohttp import web

from benchmarks.commands import TEAM

BURST = 30
"""Messages that a channel takes at once; after that one in a second. The burst is this file's own guess at Slack's."""


class StandIns:
    def __init__(self, burst: int = BURST) -> None:
        self._burst = float(burst)
        self._arrivals: dict[str, float] = {}
        self._posted: dict[str, tuple[str | None, str]] = {}  # by ts: the thread it stands in, and its text
        self._budget: dict[str, float] = defaultdict(lambda: self._burst)
        self._counted_at: dict[str, float] = {}
        self._messages = 0

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes(
            [
                web.post("/api/tenants/{org_id}/ticket/{ticket_id}/portal/activity", self._portal_activity),
                web.post("/slack/chat.postMessage", self._post_message),
                web.post("/slack/chat.update", self._update),
                web.post("/slack/chat.delete", self._delete),
                web.post("/slack/{method}", self._slack),
                web.get("/arrivals", self._tell_arrivals),
                web.get("/told", self._tell_told),
            ]
        )
        return application

    async def _portal_activity(self, request: web.Request) -> web.Response:
        # Before the body is read: the handler is called when the headers are there.
        self._arrivals[request.match_info["ticket_id"]] = time.monotonic()
        await request.read()
        return web.json_response({"Id": str(len(self._arrivals)), "Status": "Success", "Message": None})

    async def _tell_arrivals(self, _request: web.Request) -> web.Response:
        return web.json_response(self._arrivals)

    async def _tell_told(self, _request: web.Request) -> web.Response:
        first = {ts: text for ts, (thread_ts, text) in self._posted.items() if thread_ts is None}
        told = [(first.get(thread_ts, ""), text) for thread_ts, text in self._posted.values() if thread_ts is not None]
        return web.json_response(told)

    async def _post_message(self, request: web.Request) -> web.Response:
        message = await request.json() if request.content_type == "application/json" else await request.post()
        channel = str(message["channel"])
        moment = time.monotonic()
        earned = moment - self._counted_at.get(channel, moment)
        self._counted_at[channel] = moment
        self._budget[channel] = min(self._budget[channel] + earned, self._burst)
        if self._budget[channel] < 1:
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "1"})
        self._budget[channel] -= 1
        self._messages += 1
        ts = f"{int(time.time())}.{self._messages:06}"
        thread_ts = message.get("thread_ts")
        self._posted[ts] = (str(thread_ts) if thread_ts else None, str(message["text"]))
        return web.json_response({"ok": True, "channel": channel, "ts": ts})

    async def _update(self, request: web.Request) -> web.Response:
        message = await request.json()
        thread_ts, _ = self._posted[str(message["ts"])]
        self._posted[str(message["ts"])] = (thread_ts, str(message["text"]))
        return web.json_response({"ok": True, "channel": message["channel"], "ts": message["ts"]})

    async def _delete(self, request: web.Request) -> web.Response:
        message = await request.json()
        del self._posted[str(message["ts"])]
        return web.json_response({"ok": True, "channel": message["channel"], "ts": message["ts"]})

    async def _slack(self, request: web.Request) -> web.Response:
        if request.match_info["method"] != "auth.test":
            return web.json_response({"ok": True})
        scopes = {"X-OAuth-Scopes": "commands,chat:write,chat:write.public,users:read"}
        identity = {"team": "Benchmark", "user": "portal", "team_id": TEAM, "user_id": "U0BOT", "bot_id": "B0BOT"}
        return web.json_response({"ok": True, "url": "https://benchmark.slack.com/", **identity}, headers=scopes)


if __name__ == "__main__":
    port, burst = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else BURST
    web.run_app(StandIns(burst).application(), host="127.0.0.1", port=port, access_log=None, print=None)
