"""What the bot asks of Slack: the Web API's methods, and response_urls."""

import asyncio
import itertools
import secrets
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bot.playground.limits import problems_of_message, problems_of_view
from bot.playground.oauth import OAuth
from bot.playground.open_modals import Modals, View
from bot.playground.server import StandIn
from bot.playground.socket_mode import Sockets
from bot.playground.workspace import APP_ID, BOT_ID, Channel, Person, Posted, Workspace

BOT_TOKEN = "xoxb-playground"
"""The token of the first workspace, without an installation by OAuth."""

APP_TOKEN = "xapp-playground"
SCOPES = (
    "commands,chat:write,chat:write.public,users:read,usergroups:read,channels:read,groups:read,"
    "channels:history,groups:history,im:history,mpim:history,reactions:write"
)
TRIGGER_LASTS = 3.0
READS = frozenset(
    {
        "auth.test",
        "chat.getPermalink",
        "conversations.info",
        "conversations.replies",
        "usergroups.list",
        "usergroups.users.list",
        "users.info",
    }
)
"""Methods that, as with Slack, do not read their arguments from JSON."""

LIMITED_MESSAGES, LIMITED_SECONDS = 15, 60.0
"""What Slack gives a distributed app outside its Marketplace of a conversation, and how often."""

MOST_USES = 5
"""Of a response_url."""

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """How a call is answered instead: an HTTP status, or Slack's error word.

    Without an `error`, the call is only answered later.
    """

    error: str = "internal_error"
    status: int = 200
    retry_after: int | None = None
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Reach:
    """What a token reaches; `organisation` is the one that it was granted for as a whole."""

    workspaces: tuple[Workspace, ...]
    scopes: str
    organisation: str | None = None

    def channel(self, id_: str) -> tuple[Workspace, Channel] | None:
        found = ((one, one.channels[id_]) for one in self.workspaces if id_ in one.channels)
        return next(found, None)

    def person(self, id_: str) -> tuple[Workspace, Person] | None:
        found = ((one, one.people[id_]) for one in self.workspaces if id_ in one.people)
        return next(found, None)

    def named(self, arguments: Answer) -> Workspace | None:
        """Return the workspace that a call is about, as far as its arguments say."""
        found = self.channel(str(arguments.get("channel"))) or self.person(
            str(arguments.get("user") or arguments.get("user_id") or arguments.get("channel"))
        )
        return found[0] if found else next(iter(self.workspaces), None)


@dataclass(slots=True)
class _ResponseUrl:
    workspace: Workspace
    channel: str
    person: str
    ts: str | None
    uses: int = 0


class WebApi(StandIn):
    """Answers the bot. A token decides which workspaces a call reaches."""

    def __init__(self, workspace: Workspace, *further: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.workspaces = [workspace, *further]
        self.oauth = OAuth(self.workspaces)
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.down = False  # every call of the bot's is answered with an error
        self.scopes = SCOPES  # BOT_TOKEN's
        self.posts_per_second: int | None = None  # in each channel; None: no limit
        self._posts: dict[str, deque[float]] = defaultdict(deque)
        self.page = 100  # messages of a thread that one call brings at most
        self.reads_little = False  # the limit of a distributed app outside the Marketplace
        self._read_at: dict[str, float] = {}  # by workspace, with that limit
        self.sockets = Sockets()
        self._clock = itertools.count(1)
        self._triggers: dict[
            str, tuple[Workspace, float]
        ] = {}  # issued and not used, by time.monotonic()
        self._acting: dict[str, str | None] = {}  # who did what a trigger was issued for
        self.modals = Modals()
        self.homes: dict[str, View] = {}  # what stands in each person's App Home
        self._response_urls: dict[str, _ResponseUrl] = {}  # by path
        self._changed = asyncio.Condition()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/{method}", self._web_api),
            web.get("/api/{method}", self._web_api),
            web.post("/response/{id}", self._response_url),
            web.get("/socket/{id}", self.sockets.serve),
            *self.oauth.routes(),
        ]

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    def response_url(
        self, channel: str, person: str, ts: str | None = None, workspace: Workspace | None = None
    ) -> str:
        id_ = secrets.token_urlsafe(12)
        self._response_urls[id_] = _ResponseUrl(workspace or self.workspace, channel, person, ts)
        return f"{self.url}/response/{id_}"

    def trigger_id(self, workspace: Workspace | None = None, person: str | None = None) -> str:
        issued = f"{next(self._clock)}.{time.time_ns()}.{secrets.token_hex(16)}"
        self._acting[issued] = person
        self._triggers[issued] = (workspace or self.workspace, time.monotonic())
        return issued

    def _reach(self, token: str) -> Reach | str:
        """Return what a token reaches, or Slack's word for one that is good for nothing."""
        if token == BOT_TOKEN:
            return Reach((self.workspace,), self.scopes)
        grant = self.oauth.of_token(token)
        if grant is None:
            return "invalid_auth"
        if refusal := grant.refusal(token):
            return refusal
        reached = tuple(one for one in self.workspaces if grant.serves(one))
        organisation = grant.enterprise_id if grant.team_id is None else None
        return Reach(reached, grant.scopes, organisation)

    async def _web_api(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        arguments = await _arguments(request)
        authorization = request.headers.get("Authorization", "")
        token = authorization.removeprefix("Bearer ") or str(arguments.get("token", ""))
        reach = self._reach(token)
        self._note_call(method, arguments, token, reach)
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
        if method == "oauth.v2.access":
            return web.json_response(self.oauth.access(arguments, authorization))
        if method == "apps.connections.open":
            return web.json_response(self._connection(token))
        if isinstance(reach, str):
            return web.json_response({"ok": False, "error": reach})
        handler = getattr(self, f"_{method.replace('.', '_').lower()}", None)
        answer = await handler(reach, arguments) if handler else _no("unknown_method")
        if answer.get("error") == "ratelimited":
            after = str(answer.pop("retry_after", 1))
            return web.json_response(answer, status=429, headers={"Retry-After": after})
        return web.json_response(answer, headers={"X-OAuth-Scopes": reach.scopes})

    def _note_call(self, method: str, arguments: Answer, token: str, reach: Reach | str) -> None:
        """Keep a call with the workspace whose token made it, whether the token is good or not."""
        if isinstance(reach, str):
            grant = self.oauth.of_token(token)
            served = tuple(
                one for one in self.workspaces if grant is not None and grant.serves(one)
            )
            reach = Reach(served, "")
        (reach.named(arguments) or self.workspace).calls.append((method, arguments))

    def _connection(self, token: str) -> Answer:
        if token != APP_TOKEN:
            return _no("invalid_auth")
        return {"ok": True, "url": f"ws://127.0.0.1:{self.port}/socket/{self.sockets.ticket()}"}

    async def _auth_test(self, reach: Reach, _arguments: Answer) -> Answer:
        first = reach.workspaces[0]
        return {
            "ok": True,
            "url": "https://playground.slack.com/",
            "team": first.name,
            "user": "portal",
            "team_id": reach.organisation or first.team_id,
            "user_id": first.bot_user,
            "bot_id": BOT_ID,
            "enterprise_id": first.enterprise_id,
            "is_enterprise_install": reach.organisation is not None,
        }

    async def _users_info(self, reach: Reach, arguments: Answer) -> Answer:
        found = reach.person(str(arguments.get("user")))
        if found is None:
            return _no("user_not_found")
        workspace, person = found
        profile = {"display_name": person.name, "real_name": person.name}
        user = {
            "id": person.id,
            "team_id": person.team_id,
            "name": person.name.lower(),
            "profile": profile,
            "tz": person.zone,
            "deleted": person.deleted,
            "is_admin": person.is_admin,
            "is_owner": person.is_owner,
            "is_primary_owner": person.is_primary_owner,
            "is_restricted": person.is_restricted,
            "is_ultra_restricted": person.is_ultra_restricted,
        }
        home = next((one for one in self.workspaces if one.team_id == person.team_id), None)
        of_organisation = workspace.enterprise_id and home and home.enterprise_id
        if home is not workspace and of_organisation != workspace.enterprise_id:
            user["is_stranger"] = True
        elif workspace.enterprise_id:
            user["enterprise_user"] = {
                "id": person.id,
                "enterprise_id": workspace.enterprise_id,
                "teams": [one.team_id for one in self.workspaces if person.id in one.people],
            }
        return {"ok": True, "user": user}

    async def _conversations_info(self, reach: Reach, arguments: Answer) -> Answer:
        found = reach.channel(str(arguments.get("channel")))
        if found is None or found[1].hides == "channel_not_found":
            return _no("channel_not_found")
        _, channel = found
        shared = {
            name: getattr(channel, name)
            for name in ("is_ext_shared", "is_pending_ext_shared", "is_org_shared")
        }
        named = {"id": channel.id, "name": channel.name, "is_channel": True}
        return {"ok": True, "channel": {**named, "is_shared": any(shared.values()), **shared}}

    async def _usergroups_list(self, reach: Reach, _arguments: Answer) -> Answer:
        groups = [
            {"id": id_, "handle": handle}
            for workspace in reach.workspaces
            for id_, handle in workspace.groups.items()
        ]
        return {"ok": True, "usergroups": groups}

    async def _usergroups_users_list(self, reach: Reach, arguments: Answer) -> Answer:
        id_ = str(arguments.get("usergroup"))
        for workspace in reach.workspaces:
            if id_ in workspace.groups:
                return {"ok": True, "users": workspace.members.get(id_, [])}
        return _no("no_such_subteam")

    async def _reactions_add(self, reach: Reach, arguments: Answer) -> Answer:
        found = reach.channel(str(arguments.get("channel")))
        if "reactions:write" not in reach.scopes.split(","):
            return {**_no("missing_scope"), "needed": "reactions:write"}
        if found is None or found[1].hides:
            return _no("channel_not_found")
        message = found[0].find(found[1].id, str(arguments.get("timestamp")))
        if message is None:
            return _no("message_not_found")
        if arguments["name"] in message.reactions:
            return _no("already_reacted")
        message.reactions.append(arguments["name"])
        message.edits += 1
        await self._announce()
        return {"ok": True}

    async def _conversations_replies(self, reach: Reach, arguments: Answer) -> Answer:
        id_, ts = str(arguments.get("channel")), str(arguments.get("ts"))
        found = reach.channel(id_)
        if found is None or found[1].hides:
            return _no("channel_not_found" if found is None else str(found[1].hides))
        workspace, _ = found
        if self.reads_little and (wait := self._wait_to_read(workspace)):
            return {**_no("ratelimited"), "retry_after": wait}
        first = workspace.find(id_, ts)
        if first is None:
            return _no("thread_not_found")
        thread = [first, *(reply for reply in workspace.thread(ts) if not reply.ephemeral)]
        start = int(arguments.get("cursor") or 0)
        most = min(self.page, LIMITED_MESSAGES) if self.reads_little else self.page
        end = start + min(int(arguments.get("limit") or most), most)
        more = end < len(thread)
        return {
            "ok": True,
            "messages": [workspace.message(message) for message in thread[start:end]],
            "has_more": more,
            "response_metadata": {"next_cursor": str(end) if more else ""},
        }

    def _wait_to_read(self, workspace: Workspace) -> int:
        """Return for how many seconds Slack lets nothing be read; 0 counts this call."""
        moment = time.monotonic()
        wait = self._read_at.get(workspace.team_id, -LIMITED_SECONDS) + LIMITED_SECONDS - moment
        if wait > 0:
            return max(1, round(wait))
        self._read_at[workspace.team_id] = moment
        return 0

    def let_a_minute_pass(self) -> None:
        """Let what is limited to a call a minute be read again."""
        self._read_at.clear()

    async def _chat_getpermalink(self, reach: Reach, arguments: Answer) -> Answer:
        id_, ts = str(arguments.get("channel")), str(arguments.get("message_ts"))
        found = reach.channel(id_)
        if found is None or found[1].hides == "channel_not_found":
            return _no("channel_not_found")
        message = found[0].find(id_, ts)
        if message is None:
            return _no("message_not_found")
        thread = f"?thread_ts={message.thread_ts}&cid={id_}" if message.thread_ts else ""
        permalink = f"https://playground.slack.com/archives/{id_}/p{ts.replace('.', '')}{thread}"
        return {"ok": True, "channel": id_, "permalink": permalink}

    async def _chat_postmessage(self, reach: Reach, arguments: Answer) -> Answer:
        id_ = str(arguments.get("channel"))
        found = reach.channel(id_)
        workspace = reach.named(arguments)
        if workspace is None or (found is None and reach.person(id_) is None):
            return _no("channel_not_found")
        if not self._may_post(id_):
            return _no("ratelimited")
        if found is not None and found[1].refuses:
            return _no(found[1].refuses)
        thread_ts = arguments.get("thread_ts")
        if thread_ts and workspace.find(id_, thread_ts) is None:
            return _no("thread_not_found")
        text, blocks = arguments.get("text", ""), arguments.get("blocks", [])
        if problems := problems_of_message(text, blocks):
            return _no("invalid_blocks", problems)
        message = Posted(id_, self._ts(), text, blocks, thread_ts)
        await self._show(message, workspace)
        return {
            "ok": True,
            "channel": id_,
            "ts": message.ts,
            "message": {"ts": message.ts, "text": message.text},
        }

    async def _chat_postephemeral(self, reach: Reach, arguments: Answer) -> Answer:
        id_, person = str(arguments.get("channel")), str(arguments.get("user"))
        found = reach.channel(id_)
        if found is None:
            return _no("channel_not_found")
        workspace, channel = found
        if channel.refuses:
            return _no(channel.refuses)
        if person not in workspace.people:
            return _no("user_not_in_channel")
        text, blocks = arguments.get("text", ""), arguments.get("blocks", [])
        if problems := problems_of_message(text, blocks):
            return _no("invalid_blocks", problems)
        thread_ts = arguments.get("thread_ts")
        message = Posted(id_, self._ts(), text, blocks, thread_ts, ephemeral=person)
        if _is_active(workspace, thread_ts):
            await self._show(message, workspace)
        return {"ok": True, "message_ts": message.ts}

    def _may_post(self, channel: str) -> bool:
        """Count a message against the channel's rate limit."""
        posts, moment = self._posts[channel], time.monotonic()
        while posts and posts[0] <= moment - 1:
            posts.popleft()
        if self.posts_per_second is not None and len(posts) >= self.posts_per_second:
            return False
        posts.append(moment)
        return True

    async def _chat_update(self, reach: Reach, arguments: Answer) -> Answer:
        found = [
            message
            for workspace in reach.workspaces
            for message in workspace.messages
            if message.ts == arguments.get("ts") and not message.ephemeral
        ]
        if not found:
            return _no("message_not_found")
        if problems := problems_of_message(arguments.get("text", ""), arguments.get("blocks", [])):
            return _no("invalid_blocks", problems)
        self._rewrite(found[0], arguments)
        await self._announce()
        return {"ok": True, "channel": found[0].channel, "ts": found[0].ts, "text": found[0].text}

    async def _chat_delete(self, reach: Reach, arguments: Answer) -> Answer:
        id_, ts = str(arguments.get("channel")), str(arguments.get("ts"))
        for workspace in reach.workspaces:
            found = workspace.find(id_, ts)
            if found is not None:
                if not found.is_the_bots:
                    return _no("cant_delete_message")
                workspace.delete(found)
                await self._announce()
                return {"ok": True, "channel": id_, "ts": ts}
        return _no("message_not_found")

    async def _views_open(self, reach: Reach, arguments: Answer) -> Answer:
        workspace, issued = self._triggers.pop(
            str(arguments.get("trigger_id")), (self.workspace, None)
        )
        if issued is None or workspace not in reach.workspaces:
            return _no("invalid_trigger_id")
        if time.monotonic() - issued > TRIGGER_LASTS:
            return _no("expired_trigger_id")
        if problems := problems_of_view(arguments["view"]):
            return _no("invalid_arguments", problems)
        view = self._new_view(arguments["view"], workspace)
        self.modals.open.append(view)
        self.modals.opened_by[view["id"]] = self._acting.pop(str(arguments["trigger_id"]), None)
        await self._announce()
        return {"ok": True, "view": view}

    def _new_view(self, view: View, workspace: Workspace) -> View:
        given = {"id": f"V{next(self._clock)}", "hash": self._ts(), "team_id": workspace.team_id}
        return {**view, **given, "app_id": APP_ID}

    async def _views_update(self, reach: Reach, arguments: Answer) -> Answer:
        view_id = str(arguments.get("view_id"))
        if problems := problems_of_view(arguments["view"]):
            return _no("invalid_arguments", problems)
        if "hash" in arguments and self.modals.is_stale(view_id, arguments["hash"]):
            return _no("hash_conflict")
        reached = {one.team_id for one in reach.workspaces}
        if not any(one["id"] == view_id and one["team_id"] in reached for one in self.modals.open):
            return _no("not_found")
        view = self.modals.replace(view_id, arguments["view"], hash_=self._ts())
        await self._announce()
        return {"ok": True, "view": view}

    async def _views_publish(self, reach: Reach, arguments: Answer) -> Answer:
        """Show something in a person's App Home."""
        id_ = str(arguments.get("user_id"))
        found = reach.person(id_)
        if found is None:
            return _no("user_not_found")
        if problems := problems_of_view(arguments["view"], kind="home"):
            return _no("invalid_arguments", problems)
        stands = self.homes.get(id_)
        if arguments.get("hash") and stands and stands["hash"] != arguments["hash"]:
            return _no("hash_conflict")
        self.homes[id_] = self._new_view(arguments["view"], found[0])
        await self._announce()
        return {"ok": True, "view": self.homes[id_]}

    async def _response_url(self, request: web.Request) -> web.Response:
        payload = await request.json()
        given = self._response_urls.get(request.match_info["id"])
        workspace = self.workspace if given is None else given.workspace
        workspace.calls.append(("response_url", payload))
        if problems_of_message(payload.get("text", ""), payload.get("blocks", [])):
            return web.json_response(_no("invalid_blocks"), status=400)
        if self.faults["response_url"]:
            fault = self.faults["response_url"].popleft()
            return web.json_response(_no(fault.error), status=fault.status)
        if given is None or given.uses >= MOST_USES:
            return web.Response(status=404, text="used_url")
        given.uses += 1
        clicked = (
            [message for message in workspace.messages if message.ts == given.ts]
            if payload.get("replace_original")
            else []
        )
        if clicked:
            self._rewrite(clicked[0], payload)
            await self._announce()
        else:
            await self._whisper(given, payload)
        return web.Response(text="ok")

    async def _whisper(self, given: _ResponseUrl, payload: Answer) -> None:
        """Show an answer to a response_url in the thread that it names, else in the channel.

        As in Slack, a thread without a reply shows nothing that only one person may see.
        """
        thread_ts, workspace = payload.get("thread_ts"), given.workspace
        if _is_active(workspace, thread_ts):
            text, blocks = payload["text"], payload.get("blocks", [])
            ts, person = self._ts(), given.person
            shown = Posted(given.channel, ts, text, blocks, thread_ts, ephemeral=person)
            await self._show(shown, workspace)

    # -- helpers

    def _ts(self) -> str:
        return f"{int(time.time())}.{next(self._clock):06d}"

    async def _show(self, message: Posted, workspace: Workspace | None = None) -> Posted:
        (workspace or self.workspace).messages.append(message)
        await self._announce()
        return message

    @staticmethod
    def _rewrite(message: Posted, payload: Answer) -> None:
        message.text, message.blocks, message.edits = (
            payload["text"],
            payload.get("blocks", []),
            message.edits + 1,
        )

    async def _announce(self) -> None:
        if self.traffic is not None:
            self.traffic.on_change()
        async with self._changed:
            self._changed.notify_all()


def _is_active(workspace: Workspace, thread_ts: str | None) -> bool:
    """Say whether Slack shows there what only one person may see: in a thread with a reply."""
    return thread_ts is None or any(not reply.ephemeral for reply in workspace.thread(thread_ts))


def _no(error: str, problems: list[str] | None = None) -> Answer:
    details = {"response_metadata": {"messages": problems}} if problems else {}
    return {"ok": False, "error": error, **details}


async def _arguments(request: web.Request) -> Answer:
    if request.content_type == "application/json" and request.match_info["method"] not in READS:
        arguments: Answer = await request.json()
        return arguments
    return {**request.query, **{name: str(value) for name, value in (await request.post()).items()}}
