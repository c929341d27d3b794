"""A stand-in for Slack: what people do there, and how it reaches the bot.

What the bot asks of it, by the Web API and response_urls, is in `web_api.py`; how an app is
installed, in `oauth.py`.
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from bot.playground.limits import problems_of_message, problems_of_view
from bot.playground.oauth import CLIENT_ID, CLIENT_SECRET
from bot.playground.open_modals import View, button_in, inputs
from bot.playground.web_api import APP_TOKEN, BOT_TOKEN, SCOPES, Fault, Reach, WebApi
from bot.playground.workspace import APP_ID, Posted, Workspace

__all__ = [
    "APP_TOKEN",
    "BOT_TOKEN",
    "CLIENT_ID",
    "CLIENT_SECRET",
    "SCOPES",
    "SIGNING_SECRET",
    "Fault",
    "Kind",
    "Reach",
    "SlackStandIn",
]

SIGNING_SECRET = "70617967726f756e647369676e696e67"
ACK_WITHIN = 3.0
Kind = Literal["slash_commands", "interactive", "events_api"]
Json = dict[str, Any]
_LINK = re.compile(r"https?://[^\s<>|]+")


class SlackStandIn(WebApi):
    """Speaks to the bot as Slack does, of one workspace or several.

    It sends signed HTTP to `request_url`, or uses the websocket that the bot opened. Where a person
    acts in a channel, the channel says in which workspace.
    """

    name = "Slack"
    request_url: str | None = None

    def routes(self) -> list[web.RouteDef]:
        return [
            *super().routes(),
            web.get("/_state", self._state),
            web.post("/_faults/{method}", self._add_faults),
        ]

    def with_channel(self, channel: str) -> Workspace:
        """Return the workspace that a channel is in; the first one, when no other has it."""
        return next((one for one in self.workspaces if channel in one.channels), self.workspace)

    def with_person(self, person: str) -> Workspace:
        """Return the workspace that a person is in; the first one, when no other knows them."""
        return next((one for one in self.workspaces if person in one.people), self.workspace)

    def named(self, team_id: str) -> Workspace:
        return next(one for one in self.workspaces if one.team_id == team_id)

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
        workspace = self.with_channel(channel)
        organisation_wide = str(self._is_organisation_wide(workspace)).lower()
        fields = {
            "token": "deprecated",
            "team_id": workspace.team_id,
            "team_domain": "playground",
            "channel_id": channel,
            "channel_name": getattr(workspace.channels.get(channel), "name", "unknown"),
            "user_id": person,
            "user_name": getattr(workspace.people.get(person), "name", "unknown"),
            "command": command,
            "text": text,
            "api_app_id": APP_ID,
            "is_enterprise_install": organisation_wide,
            "response_url": self.response_url(channel, person, workspace=workspace),
            "trigger_id": trigger_id or self.trigger_id(workspace, person),
            **form,
        }
        if workspace.enterprise_id:
            fields.setdefault("enterprise_id", workspace.enterprise_id)
        answer = await self._send("slash_commands", fields, urlencode(fields))
        return await self._shown_at_once(answer, workspace, channel, person)

    async def click(
        self,
        message: Posted,
        label: str,
        *,
        person: str,
        team_id: str | None = None,
        user_team_id: str | None = None,
        **changes: Any,  # noqa: ANN401 - JSON
    ) -> Json:
        """Press a message's button by its label; return what the bot answered."""
        button = message.buttons()[label]
        workspace = self.with_channel(message.channel)
        payload = {
            "type": "block_actions",
            **self._who(workspace, person, team_id),
            "container": {
                "type": "message",
                "message_ts": message.ts,
                "channel_id": message.channel,
                "is_ephemeral": message.ephemeral is not None,
                **({"thread_ts": message.thread_ts} if message.thread_ts else {}),
            },
            "channel": {"id": message.channel, "name": "channel"},
            "response_url": self.response_url(message.channel, person, message.ts, workspace),
            "actions": [{**button, "block_id": "b1", "action_ts": self._ts()}],
        }
        if user_team_id is not None:
            payload["user"]["team_id"] = user_team_id
        return await self._interact(payload | changes)

    async def say(
        self,
        text: str,
        *,
        channel: str,
        person: str | None = None,
        thread_ts: str | None = None,
        ts: str | None = None,
        blocks: list[Json] | None = None,
        **shape: Any,  # noqa: ANN401 - JSON
    ) -> Posted:
        """Say something in a conversation; `shape` is what else the message has, such as files."""
        workspace = self.with_channel(channel)
        author = {"user": person, "team": self._team_of(workspace, person)} if person else {}
        message = Posted(
            channel, ts or self._ts(), text, blocks or [], thread_ts, shape={**author, **shape}
        )
        return await self._show(message, workspace)

    async def shortcut(
        self,
        message: Posted,
        /,
        *,
        person: str,
        callback_id: str = "record_portal_activity",
        **changes: Any,  # noqa: ANN401 - JSON
    ) -> Json:
        """Use the message shortcut; return what the bot answered."""
        workspace = self.with_channel(message.channel)
        channel = workspace.channels.get(message.channel)
        payload = {
            "type": "message_action",
            "token": "deprecated",
            "action_ts": self._ts(),
            "callback_id": callback_id,
            **self._who(workspace, person),
            "channel": {
                "id": message.channel,
                "name": channel.name if channel else "directmessage",
            },
            "response_url": self.response_url(message.channel, person, workspace=workspace),
            "message_ts": message.ts,
            "message": workspace.message(message),
        }
        return await self._interact(payload | changes)

    async def choose(self, modal: View, block_id: str, value: str, *, person: str) -> None:
        """Choose an option in a modal; the bot hears of it where the block says so."""
        block = inputs(modal)[block_id]
        self.modals.fill(modal, block_id, value)
        if not block.get("dispatch_action"):
            return
        element = block["element"]
        chosen = self.modals.state(modal)[block_id][element["action_id"]]
        action = {"action_id": element["action_id"], "block_id": block_id, **chosen}
        await self.act(modal, action, person)

    async def press(
        self,
        view: View,
        label: str,
        *,
        person: str,
        **changes: Any,  # noqa: ANN401 - JSON
    ) -> Json:
        """Press a button in a modal, or in an App Home, by its label; return the bot's answer."""
        return await self.act(view, button_in(view, label), person, **changes)

    async def act(
        self,
        view: View,
        action: Json,
        person: str,
        **changes: Any,  # noqa: ANN401 - JSON
    ) -> Json:
        """Use one element of a modal, or of an App Home; return the bot's answer."""
        payload = {
            "type": "block_actions",
            **self._who(self.named(view["team_id"]), person),
            "container": {"type": "view", "view_id": view["id"]},
            "view": self._sent_back(view),
            "actions": [{**action, "action_ts": self._ts()}],
        }
        return await self._interact(payload | changes)

    async def submit(
        self,
        modal: View,
        values: Json,
        *,
        person: str,
        team_id: str | None = None,
        **changes: Any,  # noqa: ANN401 - JSON
    ) -> Json:
        """Submit a modal. Inputs that are not in `values` (by block_id) keep their value."""
        for block_id, value in values.items():
            self.modals.fill(modal, block_id, value)
        payload = {
            "type": "view_submission",
            **self._who(self.named(modal["team_id"]), person, team_id),
            "view": self._sent_back(modal),
            "response_urls": [],
        }
        if team_id is not None:
            payload["user"]["team_id"] = team_id
        answer = await self._interact(payload | changes)
        if answer.get("response_action") == "update":
            if problems := problems_of_view(answer["view"]):
                raise ValueError(f"Slack would not show this view: {problems}")
            self.modals.replace(modal["id"], answer["view"], hash_=self._ts())
        elif answer.get("response_action") != "errors" and "failed" not in answer:
            self.modals.close(modal["id"])
        await self._announce()
        return answer

    async def open_home(self, person: str, *, tab: str = "home") -> Json:
        """Open the app's home, or its messages."""
        workspace, home = self.with_person(person), self.homes.get(person)
        shown = {} if home is None or tab != "home" else {"view": home}
        place: Json = {"user": person, "channel": f"D{person}", "tab": tab, **shown}
        return await self.event("app_home_opened", team_id=workspace.team_id, **place)

    def _who(self, workspace: Workspace, person: str, team_id: str | None = None) -> Json:
        """Return what every interaction says of who acts, and where."""
        organisation = workspace.enterprise_id
        of = {"enterprise_id": organisation, "enterprise_name": organisation}
        team = {"id": team_id or workspace.team_id, "domain": "playground"}
        return {
            "user": {
                "id": person,
                "username": person.lower(),
                "name": person.lower(),
                "team_id": self._team_of(workspace, person),
            },
            "api_app_id": APP_ID,
            "trigger_id": self.trigger_id(workspace, person),
            "team": team | of if organisation else team,
            "enterprise": {"id": organisation, "name": organisation} if organisation else None,
            "is_enterprise_install": self._is_organisation_wide(workspace),
        }

    def _sent_back(self, view: View) -> View:
        return {**view, "state": {"values": self.modals.state(view)}}

    def _is_organisation_wide(self, workspace: Workspace) -> bool:
        grant = self.oauth.serving(workspace)
        return grant is not None and grant.team_id is None

    def _team_of(self, workspace: Workspace, person: str) -> str:
        known = self.with_person(person).people.get(person)
        return known.team_id if known else workspace.team_id

    def encode(self, typed: str, workspace: Workspace | None = None) -> str:
        """Encode what a person typed, as Slack does with should_escape.

        That concerns entities, links, mentions and channels.
        """
        workspace = workspace or self.workspace
        escaped = typed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        escaped = _LINK.sub(lambda link: f"<{link[0]}>", escaped)
        for person in workspace.people.values():
            escaped = escaped.replace(f"@{person.name}", f"<@{person.id}|{person.name}>")
        for channel in workspace.channels.values():
            escaped = re.sub(
                rf"#{re.escape(channel.name)}\b", f"<#{channel.id}|{channel.name}>", escaped
            )
        return escaped

    async def uninstall(self, where: str) -> None:
        """Remove the app from a workspace, or from an organisation; both events are sent."""
        grant = self.oauth.installed(where)
        if grant is None:
            return
        grant.ended = "account_inactive"
        place: Json = {"team_id": grant.team_id, "enterprise_id": grant.enterprise_id}
        await self.event("tokens_revoked", **place, tokens={"oauth": [], "bot": [grant.bot_user]})
        await self.event("app_uninstalled", **place)

    async def until(self, condition: Callable[[], object], *, within: float = 20.0) -> None:
        """Wait until something holds of the workspaces."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(condition)

    # -- how it reaches the bot

    async def event(
        self,
        type_: str,
        /,
        *,
        team_id: str | None,
        enterprise_id: str | None = None,
        event_id: str | None = None,
        event_time: float | None = None,
        **event: Any,  # noqa: ANN401 - JSON
    ) -> Json:
        """Send an event, for the installation in a workspace, or of an organisation (no team).

        It is not repeated, as Slack does where the bot does not take it; return what came.
        """
        authorization = {
            "enterprise_id": enterprise_id,
            "team_id": team_id,
            "user_id": None,
            "is_bot": True,
            "is_enterprise_install": team_id is None,
        }
        payload = {
            "token": "deprecated",
            "team_id": team_id,
            "enterprise_id": enterprise_id,
            "api_app_id": APP_ID,
            "type": "event_callback",
            "event": {"type": type_, "event_ts": self._ts(), **event},
            "event_id": event_id or f"Ev{secrets.token_hex(5).upper()}",
            "event_time": int(time.time() if event_time is None else event_time),
            "authorizations": [authorization],
            "is_ext_shared_channel": False,
        }
        return await self._send("events_api", payload, json.dumps(payload))

    async def _interact(self, payload: Json) -> Json:
        return await self._send("interactive", payload, urlencode({"payload": json.dumps(payload)}))

    async def _send(self, kind: Kind, payload: Json, body: str) -> Json:
        headers = _signed(kind, body) if self.request_url else {}
        if self.traffic is None:
            return await self._sent(kind, payload, body, headers)
        way = "POST /slack/events" if self.request_url else "Socket Mode"
        exchange = self.traffic.begin("Slack → bot", f"{way} {kind}", json.dumps(payload), headers)
        answer = await self._sent(kind, payload, body, headers)
        self.traffic.end(exchange, answer.get("failed", "ok"), json.dumps(answer))
        return answer

    async def _sent(self, kind: Kind, payload: Json, body: str, headers: dict[str, str]) -> Json:
        try:
            async with asyncio.timeout(ACK_WITHIN):
                return await (
                    self._send_http(body, headers)
                    if self.request_url
                    else self.sockets.send(kind, payload)
                )
        except TimeoutError:
            return {"failed": "operation_timeout"}
        except aiohttp.ClientError:
            return {"failed": "dispatch_failed"}

    async def _send_http(self, body: str, headers: dict[str, str]) -> Json:
        async with (
            aiohttp.ClientSession(trust_env=False) as session,
            session.post(str(self.request_url), data=body, headers=headers) as response,
        ):
            text = await response.text()
            if response.status != web.HTTPOk.status_code:
                return {"failed": f"http_{response.status}"}
            if not text:
                return {}
            answer: Json = (
                json.loads(text) if response.content_type == "application/json" else {"text": text}
            )
            return answer

    async def _shown_at_once(
        self, answer: Json, workspace: Workspace, channel: str, person: str
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
        blocks = answer.get("blocks", [])
        shown = Posted(channel, self._ts(), text, blocks, ephemeral=person)
        return await self._show(shown, workspace)

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
            for workspace in self.workspaces
            for message in workspace.messages
        ]
        return web.json_response({"messages": messages, "modals": self.modals.open})

    async def _add_faults(self, request: web.Request) -> web.Response:
        fault = Fault(**await request.json())
        self.faults[request.match_info["method"]].append(fault)
        return web.json_response({"ok": True})


def _signed(kind: Kind, body: str) -> dict[str, str]:
    timestamp = str(int(time.time()))
    signature = SignatureVerifier(SIGNING_SECRET).generate_signature(timestamp=timestamp, body=body)
    form = "application/x-www-form-urlencoded"
    return {
        "Content-Type": "application/json" if kind == "events_api" else form,
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": signature or "",
    }
