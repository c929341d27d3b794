"""A stand-in for Slack.

It has the Web API calls that the bot makes, response_urls and Socket Mode, and does what a person
does.
"""

import asyncio
import itertools
import json
import re
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from bot.playground.limits import problems_of_message, problems_of_view
from bot.playground.open_modals import Modals, inputs
from bot.playground.server import StandIn
from bot.playground.socket_mode import Sockets
from bot.playground.workspace import APP_ID, BOT_ID, BOT_USER, Posted, Workspace

BOT_TOKEN = "xoxb-playground"
APP_TOKEN = "xapp-playground"
SIGNING_SECRET = "70617967726f756e647369676e696e67"
SCOPES = (
    "commands,chat:write,chat:write.public,users:read,usergroups:read,channels:read,groups:read,"
    "channels:history,groups:history,im:history,mpim:history"
)
ACK_WITHIN = TRIGGER_LASTS = 3.0
READS = frozenset(
    {
        "auth.test",
        "chat.getPermalink",
        "conversations.info",
        "conversations.replies",
        "usergroups.list",
        "users.info",
    }
)
"""Methods that, as with Slack, do not read their arguments from JSON."""
_LINK = re.compile(r"https?://[^\s<>|]+")


@dataclass(frozen=True, slots=True)
class Fault:
    """How a call is answered instead: an HTTP status, or Slack's error word.

    Without an `error`, the call is only answered later.
    """

    error: str = "internal_error"
    status: int = 200
    retry_after: int | None = None
    delay: float = 0.0


class SlackStandIn(StandIn):
    """Speaks to the bot as Slack does.

    It sends signed HTTP to `request_url`, or uses the websocket that the bot opened.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.request_url: str | None = None
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.down = False  # every call of the bot's is answered with an error
        self.scopes = SCOPES
        self.posts_per_second: int | None = None  # in each channel; None: no limit
        self._posts: dict[str, deque[float]] = defaultdict(deque)
        self.page = 100  # messages of a thread that one call brings at most
        self.sockets = Sockets()
        self._clock = itertools.count(1)
        self._triggers: dict[str, float] = {}  # issued and not used, by time.monotonic()
        self.modals = Modals()
        self._response_urls: dict[
            str, tuple[str, str, str | None, int]
        ] = {}  # path -> channel, person, message ts, uses
        self._changed = asyncio.Condition()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/{method}", self._web_api),
            web.get("/api/{method}", self._web_api),
            web.post("/response/{id}", self._response_url),
            web.get("/socket/{id}", self.sockets.serve),
            web.get("/_state", self._state),
            web.post("/_faults/{method}", self._add_faults),
        ]

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    # -- what a person does

    async def command(
        self,
        text: str,
        *,
        channel: str,
        person: str,
        command: str = "/portal-activity",
        trigger_id: str | None = None,
        **form: str,
    ) -> Posted | None:
        """Type a slash command; return the ephemeral answer, if there is one at once."""
        fields = {
            "token": "deprecated",
            "team_id": self.workspace.team_id,
            "team_domain": "playground",
            "channel_id": channel,
            "channel_name": getattr(self.workspace.channels.get(channel), "name", "unknown"),
            "user_id": person,
            "user_name": getattr(self.workspace.people.get(person), "name", "unknown"),
            "command": command,
            "text": text,
            "api_app_id": APP_ID,
            "is_enterprise_install": "false",
            "response_url": self.response_url(channel, person),
            "trigger_id": trigger_id or self.trigger_id(),
            **form,
        }
        if self.workspace.enterprise_id:
            fields.setdefault("enterprise_id", self.workspace.enterprise_id)
        answer = await self._send("slash_commands", fields, urlencode(fields))
        return await self._shown_at_once(answer, channel, person)

    async def click(
        self,
        message: Posted,
        label: str,
        *,
        person: str,
        team_id: str | None = None,
        user_team_id: str | None = None,
        **changes: Any,  # noqa: ANN401 - JSON
    ) -> dict[str, Any]:
        """Press a message's button by its label; return what the bot answered."""
        button = message.buttons()[label]
        payload = {
            "type": "block_actions",
            "user": {
                "id": person,
                "username": person.lower(),
                "team_id": user_team_id or self._team_of(person),
            },
            "api_app_id": APP_ID,
            "container": {
                "type": "message",
                "message_ts": message.ts,
                "channel_id": message.channel,
                "is_ephemeral": message.ephemeral is not None,
                **({"thread_ts": message.thread_ts} if message.thread_ts else {}),
            },
            "trigger_id": self.trigger_id(),
            "team": {"id": team_id or self.workspace.team_id, "domain": "playground"},
            "enterprise": None,
            "is_enterprise_install": False,
            "channel": {"id": message.channel, "name": "channel"},
            "response_url": self.response_url(message.channel, person, message.ts),
            "actions": [{**button, "block_id": "b1", "action_ts": self._ts()}],
        }
        return await self._interact(payload | changes)

    async def say(
        self,
        text: str,
        *,
        channel: str,
        person: str | None = None,
        thread_ts: str | None = None,
        ts: str | None = None,
        blocks: list[dict[str, Any]] | None = None,
        **shape: Any,  # noqa: ANN401 - JSON
    ) -> Posted:
        """Say something in a conversation; `shape` is what else the message has, such as files."""
        author = {"user": person, "team": self._team_of(person)} if person else {}
        message = Posted(
            channel, ts or self._ts(), text, blocks or [], thread_ts, shape={**author, **shape}
        )
        return await self._show(message)

    async def shortcut(
        self,
        message: Posted,
        /,
        *,
        person: str,
        callback_id: str = "record_portal_activity",
        **changes: Any,  # noqa: ANN401 - JSON
    ) -> dict[str, Any]:
        """Use the message shortcut; return what the bot answered."""
        channel = self.workspace.channels.get(message.channel)
        payload = {
            "type": "message_action",
            "token": "deprecated",
            "action_ts": self._ts(),
            "callback_id": callback_id,
            "team": {"id": self.workspace.team_id, "domain": "playground"},
            "user": {
                "id": person,
                "username": person.lower(),
                "team_id": self._team_of(person),
                "name": person.lower(),
            },
            "channel": {
                "id": message.channel,
                "name": channel.name if channel else "directmessage",
            },
            "is_enterprise_install": False,
            "enterprise": None,
            "trigger_id": self.trigger_id(),
            "response_url": self.response_url(message.channel, person),
            "message_ts": message.ts,
            "message": self.workspace.message(message),
            "api_app_id": APP_ID,
        }
        return await self._interact(payload | changes)

    async def choose(
        self, modal: dict[str, Any], block_id: str, value: str, *, person: str
    ) -> None:
        """Choose an option in a modal; the bot hears of it where the block says so."""
        block = inputs(modal)[block_id]
        self.modals.fill(modal, block_id, value)
        if not block.get("dispatch_action"):
            return
        option = self.modals.state(modal)[block_id][block["element"]["action_id"]].get(
            "selected_option"
        )
        action = {
            "type": block["element"]["type"],
            "action_id": block["element"]["action_id"],
            "block_id": block_id,
        }
        payload = {
            "type": "block_actions",
            "user": {"id": person, "username": person.lower(), "team_id": self._team_of(person)},
            "api_app_id": APP_ID,
            "container": {"type": "view", "view_id": modal["id"]},
            "trigger_id": self.trigger_id(),
            "team": {"id": self.workspace.team_id, "domain": "playground"},
            "enterprise": None,
            "is_enterprise_install": False,
            "view": self._sent_back(modal),
            "actions": [{**action, "selected_option": option, "action_ts": self._ts()}],
        }
        await self._interact(payload)

    async def submit(
        self,
        modal: dict[str, Any],
        values: dict[str, Any],
        *,
        person: str,
        team_id: str | None = None,
        **changes: Any,  # noqa: ANN401 - JSON
    ) -> dict[str, Any]:
        """Submit a modal. Inputs that are not in `values` (by block_id) keep their value."""
        for block_id, value in values.items():
            self.modals.fill(modal, block_id, value)
        payload = {
            "type": "view_submission",
            "team": {"id": team_id or self.workspace.team_id, "domain": "playground"},
            "user": {
                "id": person,
                "username": person.lower(),
                "team_id": team_id or self._team_of(person),
            },
            "api_app_id": APP_ID,
            "trigger_id": self.trigger_id(),
            "view": self._sent_back(modal),
            "response_urls": [],
            "is_enterprise_install": False,
            "enterprise": None,
        }
        answer = await self._interact(payload | changes)
        if answer.get("response_action") == "update":
            if problems := problems_of_view(answer["view"]):
                raise ValueError(f"Slack would not show this view: {problems}")
            self.modals.replace(modal["id"], answer["view"], hash_=self._ts())
        elif answer.get("response_action") != "errors" and "failed" not in answer:
            self.modals.close(modal["id"])
        await self._announce()
        return answer

    def _sent_back(self, modal: dict[str, Any]) -> dict[str, Any]:
        return {
            **modal,
            "team_id": self.workspace.team_id,
            "state": {"values": self.modals.state(modal)},
        }

    def encode(self, typed: str) -> str:
        """Encode what a person typed, as Slack does with should_escape.

        That concerns entities, links, mentions and channels.
        """
        escaped = typed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        escaped = _LINK.sub(lambda link: f"<{link[0]}>", escaped)
        for person in self.workspace.people.values():
            escaped = escaped.replace(f"@{person.name}", f"<@{person.id}|{person.name}>")
        for channel in self.workspace.channels.values():
            escaped = re.sub(
                rf"#{re.escape(channel.name)}\b", f"<#{channel.id}|{channel.name}>", escaped
            )
        return escaped

    def response_url(self, channel: str, person: str, ts: str | None = None) -> str:
        id_ = secrets.token_urlsafe(12)
        self._response_urls[id_] = (channel, person, ts, 0)
        return f"{self.url}/response/{id_}"

    def trigger_id(self) -> str:
        issued = f"{next(self._clock)}.{time.time_ns()}.{secrets.token_hex(16)}"
        self._triggers[issued] = time.monotonic()
        return issued

    async def until(self, condition: Callable[[], object], *, within: float = 20.0) -> None:
        """Wait until something holds of the workspace."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(condition)

    # -- how it reaches the bot

    async def _interact(self, payload: dict[str, Any]) -> dict[str, Any]:
        return await self._send("interactive", payload, urlencode({"payload": json.dumps(payload)}))

    async def _send(
        self, kind: Literal["slash_commands", "interactive"], payload: dict[str, Any], body: str
    ) -> dict[str, Any]:
        try:
            async with asyncio.timeout(ACK_WITHIN):
                return await (
                    self._send_http(body) if self.request_url else self.sockets.send(kind, payload)
                )
        except TimeoutError:
            return {"failed": "operation_timeout"}
        except aiohttp.ClientError:
            return {"failed": "dispatch_failed"}

    async def _send_http(self, body: str) -> dict[str, Any]:
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": SignatureVerifier(SIGNING_SECRET).generate_signature(
                timestamp=timestamp, body=body
            )
            or "",
        }
        async with (
            aiohttp.ClientSession(trust_env=False) as session,
            session.post(str(self.request_url), data=body, headers=headers) as response,
        ):
            text = await response.text()
            if response.status != web.HTTPOk.status_code:
                return {"failed": f"http_{response.status}"}
            if not text:
                return {}
            answer: dict[str, Any] = (
                json.loads(text) if response.content_type == "application/json" else {"text": text}
            )
            return answer

    async def _shown_at_once(
        self, answer: dict[str, Any], channel: str, person: str
    ) -> Posted | None:
        failed = (
            f"/portal-activity failed with the error {answer['failed']}"
            if "failed" in answer
            else ""
        )
        text = failed or str(answer.get("text") or "")
        if not text and not answer.get("blocks"):
            return None
        if problems := problems_of_message(text, answer.get("blocks", [])):
            raise ValueError(f"Slack would not show this answer: {problems}")
        return await self._show(
            Posted(channel, self._ts(), text, answer.get("blocks", []), ephemeral=person)
        )

    # -- what the bot asks of it

    async def _web_api(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        arguments = await _arguments(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or str(
            arguments.get("token", "")
        )
        self.workspace.calls.append((method, arguments))
        if self.down:
            return web.json_response({"ok": False, "error": "service_unavailable"}, status=503)
        if self.faults[method]:
            fault = self.faults[method].popleft()
            await asyncio.sleep(fault.delay)
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            if fault.error:
                return web.json_response(
                    {"ok": False, "error": fault.error}, status=fault.status, headers=headers
                )
        if token != (APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN):
            return web.json_response({"ok": False, "error": "invalid_auth"})
        handler = getattr(self, f"_{method.replace('.', '_').lower()}", None)
        answer = await handler(arguments) if handler else {"ok": False, "error": "unknown_method"}
        if answer.get("error") == "ratelimited":
            return web.json_response(answer, status=429, headers={"Retry-After": "1"})
        return web.json_response(answer, headers={"X-OAuth-Scopes": self.scopes})

    async def _auth_test(self, _arguments: dict[str, Any]) -> dict[str, Any]:
        return {
            "ok": True,
            "url": "https://playground.slack.com/",
            "team": "Playground",
            "user": "portal",
            "team_id": self.workspace.team_id,
            "user_id": BOT_USER,
            "bot_id": BOT_ID,
            "enterprise_id": self.workspace.enterprise_id,
            "is_enterprise_install": False,
        }

    async def _apps_connections_open(self, _arguments: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "url": f"ws://127.0.0.1:{self.port}/socket/{self.sockets.ticket()}"}

    async def _users_info(self, arguments: dict[str, Any]) -> dict[str, Any]:
        person = self.workspace.people.get(str(arguments.get("user")))
        if person is None:
            return {"ok": False, "error": "user_not_found"}
        profile = {"display_name": person.name, "real_name": person.name}
        user = {"id": person.id, "name": person.name.lower(), "profile": profile, "tz": person.zone}
        return {"ok": True, "user": user}

    async def _conversations_info(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self.workspace.channels.get(str(arguments.get("channel")))
        if channel is None or channel.hides == "channel_not_found":
            return {"ok": False, "error": "channel_not_found"}
        return {"ok": True, "channel": {"id": channel.id, "name": channel.name, "is_channel": True}}

    async def _usergroups_list(self, _arguments: dict[str, Any]) -> dict[str, Any]:
        groups = [{"id": id_, "handle": handle} for id_, handle in self.workspace.groups.items()]
        return {"ok": True, "usergroups": groups}

    async def _conversations_replies(self, arguments: dict[str, Any]) -> dict[str, Any]:
        id_, ts = str(arguments.get("channel")), str(arguments.get("ts"))
        channel = self.workspace.channels.get(id_)
        if channel is None or channel.hides:
            return {"ok": False, "error": "channel_not_found" if channel is None else channel.hides}
        first = self.workspace.find(id_, ts)
        if first is None:
            return {"ok": False, "error": "thread_not_found"}
        thread = [first, *(reply for reply in self.workspace.thread(ts) if not reply.ephemeral)]
        start = int(arguments.get("cursor") or 0)
        end = start + min(int(arguments.get("limit") or self.page), self.page)
        more = end < len(thread)
        return {
            "ok": True,
            "messages": [self.workspace.message(message) for message in thread[start:end]],
            "has_more": more,
            "response_metadata": {"next_cursor": str(end) if more else ""},
        }

    async def _chat_getpermalink(self, arguments: dict[str, Any]) -> dict[str, Any]:
        id_, ts = str(arguments.get("channel")), str(arguments.get("message_ts"))
        channel = self.workspace.channels.get(id_)
        if channel is None or channel.hides == "channel_not_found":
            return {"ok": False, "error": "channel_not_found"}
        message = self.workspace.find(id_, ts)
        if message is None:
            return {"ok": False, "error": "message_not_found"}
        thread = f"?thread_ts={message.thread_ts}&cid={id_}" if message.thread_ts else ""
        permalink = f"https://playground.slack.com/archives/{id_}/p{ts.replace('.', '')}{thread}"
        return {"ok": True, "channel": id_, "permalink": permalink}

    async def _chat_postmessage(self, arguments: dict[str, Any]) -> dict[str, Any]:
        id_ = str(arguments.get("channel"))
        channel = self.workspace.channels.get(id_)
        if channel is None and id_ not in self.workspace.people:
            return {"ok": False, "error": "channel_not_found"}
        if not self._may_post(id_):
            return {"ok": False, "error": "ratelimited"}
        if channel is not None and channel.refuses:
            return {"ok": False, "error": channel.refuses}
        thread_ts = arguments.get("thread_ts")
        if thread_ts and self.workspace.find(id_, thread_ts) is None:
            return {"ok": False, "error": "thread_not_found"}
        text, blocks = arguments.get("text", ""), arguments.get("blocks", [])
        if problems := problems_of_message(text, blocks):
            return {
                "ok": False,
                "error": "invalid_blocks",
                "response_metadata": {"messages": problems},
            }
        message = Posted(id_, self._ts(), text, blocks, thread_ts)
        await self._show(message)
        return {
            "ok": True,
            "channel": id_,
            "ts": message.ts,
            "message": {"ts": message.ts, "text": message.text},
        }

    def _may_post(self, channel: str) -> bool:
        """Count a message against the channel's rate limit."""
        posts, moment = self._posts[channel], time.monotonic()
        while posts and posts[0] <= moment - 1:
            posts.popleft()
        if self.posts_per_second is not None and len(posts) >= self.posts_per_second:
            return False
        posts.append(moment)
        return True

    async def _chat_update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        found = [
            message
            for message in self.workspace.messages
            if message.ts == arguments.get("ts") and not message.ephemeral
        ]
        if not found:
            return {"ok": False, "error": "message_not_found"}
        if problems := problems_of_message(arguments.get("text", ""), arguments.get("blocks", [])):
            return {
                "ok": False,
                "error": "invalid_blocks",
                "response_metadata": {"messages": problems},
            }
        self._rewrite(found[0], arguments)
        await self._announce()
        return {"ok": True, "channel": found[0].channel, "ts": found[0].ts, "text": found[0].text}

    async def _chat_delete(self, arguments: dict[str, Any]) -> dict[str, Any]:
        id_, ts = str(arguments.get("channel")), str(arguments.get("ts"))
        found = self.workspace.find(id_, ts)
        if found is None or not found.is_the_bots:
            return {
                "ok": False,
                "error": "message_not_found" if found is None else "cant_delete_message",
            }
        self.workspace.delete(found)
        await self._announce()
        return {"ok": True, "channel": id_, "ts": ts}

    async def _views_open(self, arguments: dict[str, Any]) -> dict[str, Any]:
        issued = self._triggers.pop(str(arguments.get("trigger_id")), None)
        if issued is None or time.monotonic() - issued > TRIGGER_LASTS:
            return {
                "ok": False,
                "error": "invalid_trigger_id" if issued is None else "expired_trigger_id",
            }
        if problems := problems_of_view(arguments["view"]):
            return {
                "ok": False,
                "error": "invalid_arguments",
                "response_metadata": {"messages": problems},
            }
        view = {**arguments["view"], "id": f"V{next(self._clock)}", "hash": self._ts()}
        self.modals.open.append(view)
        await self._announce()
        return {"ok": True, "view": view}

    async def _views_update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if problems := problems_of_view(arguments["view"]):
            return {
                "ok": False,
                "error": "invalid_arguments",
                "response_metadata": {"messages": problems},
            }
        if "hash" in arguments and self.modals.is_stale(
            str(arguments.get("view_id")), arguments["hash"]
        ):
            return {"ok": False, "error": "hash_conflict"}
        view = self.modals.replace(
            str(arguments.get("view_id")), arguments["view"], hash_=self._ts()
        )
        await self._announce()
        return {"ok": False, "error": "not_found"} if view is None else {"ok": True, "view": view}

    async def _response_url(self, request: web.Request) -> web.Response:
        id_ = request.match_info["id"]
        payload = await request.json()
        self.workspace.calls.append(("response_url", payload))
        if problems_of_message(payload.get("text", ""), payload.get("blocks", [])):
            return web.json_response({"ok": False, "error": "invalid_blocks"}, status=400)
        if self.faults["response_url"]:
            fault = self.faults["response_url"].popleft()
            return web.json_response({"ok": False, "error": fault.error}, status=fault.status)
        channel, person, ts, uses = self._response_urls.get(id_, ("", "", None, 5))
        if uses >= 5:  # noqa: PLR2004 - Slack's number of uses
            return web.Response(status=404, text="used_url")
        self._response_urls[id_] = (channel, person, ts, uses + 1)
        clicked = (
            [message for message in self.workspace.messages if message.ts == ts]
            if payload.get("replace_original")
            else []
        )
        if clicked:
            self._rewrite(clicked[0], payload)
            await self._announce()
        else:
            await self._whisper(channel, person, payload)
        return web.Response(text="ok")

    async def _whisper(self, channel: str, person: str, payload: dict[str, Any]) -> None:
        """Show an answer to a response_url in the thread that it names, else in the channel.

        As in Slack, a thread without a reply shows nothing that only one person may see.
        """
        thread_ts = payload.get("thread_ts")
        if thread_ts is None or any(
            not reply.ephemeral for reply in self.workspace.thread(thread_ts)
        ):
            blocks = payload.get("blocks", [])
            await self._show(
                Posted(channel, self._ts(), payload["text"], blocks, thread_ts, ephemeral=person)
            )

    # -- what can be read and switched from outside

    async def _state(self, _request: web.Request) -> web.Response:
        messages = [
            {
                "channel": message.channel,
                "ts": message.ts,
                "text": message.text,
                "blocks": message.blocks,
                "thread_ts": message.thread_ts,
                "ephemeral": message.ephemeral,
            }
            for message in self.workspace.messages
        ]
        return web.json_response({"messages": messages, "modals": self.modals.open})

    async def _add_faults(self, request: web.Request) -> web.Response:
        fault = Fault(**await request.json())
        self.faults[request.match_info["method"]].append(fault)
        return web.json_response({"ok": True})

    # -- helpers

    def _team_of(self, person: str | None) -> str:
        known = self.workspace.people.get(person or "")
        return known.team_id if known else self.workspace.team_id

    def _ts(self) -> str:
        return f"{int(time.time())}.{next(self._clock):06d}"

    async def _show(self, message: Posted) -> Posted:
        self.workspace.messages.append(message)
        await self._announce()
        return message

    @staticmethod
    def _rewrite(message: Posted, payload: dict[str, Any]) -> None:
        message.text, message.blocks, message.edits = (
            payload["text"],
            payload.get("blocks", []),
            message.edits + 1,
        )

    async def _announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def _arguments(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json" and request.match_info["method"] not in READS:
        arguments: dict[str, Any] = await request.json()
        return arguments
    return {**request.query, **{name: str(value) for name, value in (await request.post()).items()}}
