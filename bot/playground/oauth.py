"""Slack's side of an installation by OAuth: the page of consent, codes, tokens and their end."""

import base64
import html
import itertools
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from bot.playground.workspace import APP_ID, Workspace

CLIENT_ID = "1111111111.2222222222"
CLIENT_SECRET = "636c69656e742d736563726574"
CODE_LASTS = 600.0
EXPIRES_IN = 43_200
"""Seconds for which a token is good, with token rotation."""


@dataclass
class Grant:
    """One installation: in a workspace, or organisation-wide (`team_id` is None).

    `tokens` has the moment at which each ends, if it does. `ended` is Slack's word for its end.
    """

    team_id: str | None
    enterprise_id: str | None
    bot_user: str
    scopes: str
    tokens: dict[str, float | None] = field(default_factory=dict)
    refresh_token: str | None = None
    ended: str | None = None

    @property
    def token(self) -> str:
        """The newest."""
        return list(self.tokens)[-1]

    def serves(self, workspace: Workspace) -> bool:
        """Say whether a token of it reaches a workspace."""
        if self.team_id is None:
            return workspace.enterprise_id == self.enterprise_id
        return workspace.team_id == self.team_id

    def refusal(self, token: str) -> str | None:
        """Return Slack's word when a token of it is good for nothing."""
        ends_at = self.tokens.get(token)
        return self.ended or ("token_expired" if ends_at and ends_at <= time.time() else None)


@dataclass
class _Code:
    grant: Grant
    person: str
    issued_at: float
    used: bool = False


class OAuth:
    """The app's installations. `rotates` switches token rotation on."""

    def __init__(self, workspaces: list[Workspace]) -> None:
        self.workspaces = workspaces
        self.redirect_url: str | None = None  # the app's, with its path
        self.rotates = False
        self.expires_in = EXPIRES_IN
        self.code_lasts = CODE_LASTS
        self.grants: list[Grant] = []
        self._asked: dict[str, Mapping[str, str]] = {}  # what brought people to the page
        self._codes: dict[str, _Code] = {}
        self._number = itertools.count(1)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/oauth/v2/authorize", self._authorize),
            web.get("/oauth/v2/allow", self._allow),
            web.get("/oauth/v2/deny", self._deny),
        ]

    def installed(self, where: str) -> Grant | None:
        """Return the installation in a workspace or organisation that has not ended."""
        found = (
            one
            for one in self.grants
            if one.ended is None and where == (one.team_id or one.enterprise_id)
        )
        return next(found, None)

    def serving(self, workspace: Workspace) -> Grant | None:
        """Return the installation that serves a workspace: its own, else its organisation's."""
        own = self.installed(workspace.team_id)
        return own or (self.installed(workspace.enterprise_id) if workspace.enterprise_id else None)

    def of_token(self, token: str) -> Grant | None:
        """Return the installation that a token was made for, ended or not."""
        return next((one for one in self.grants if token in one.tokens), None)

    def expire(self) -> None:
        """Let 12 hours pass for every token."""
        for grant in self.grants:
            grant.tokens = dict.fromkeys(grant.tokens, time.time())

    # -- what a person sees

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = request.query
        if asked.get("client_id") != CLIENT_ID:
            return _page("Slack: invalid_client_id")
        if not asked.get("scope") or asked.get("user_scope"):
            return _page("Slack: invalid_scope")
        if self.redirect_url is None:
            return _page("Slack: bad_redirect_uri. The app has no redirect URL.")
        number = str(next(self._number))
        self._asked[number] = asked
        links = []
        for workspace in self.workspaces:
            member = next(iter(workspace.people), "")
            links.append(_link(workspace.name, asked=number, where=workspace.team_id, by=member))
        organisations = {one.enterprise_id: one for one in self.workspaces if one.enterprise_id}
        for id_, workspace in organisations.items():
            member = next(iter(workspace.people), "")
            links.append(_link(str(id_), asked=number, where=str(id_), by=member))
        deny = f'<a href="deny?asked={number}">Cancel</a>'
        return _page("Portal Activity asks for your permission", *links, deny)

    async def _allow(self, request: web.Request) -> web.Response:
        where, person = request.query["where"], request.query["by"]
        asked = self._asked.pop(request.query["asked"])
        code = secrets.token_hex(16)
        self._codes[code] = _Code(self._to_grant(where, asked["scope"]), person, time.time())
        return self._back(asked, code=code)

    async def _deny(self, request: web.Request) -> web.Response:
        return self._back(self._asked.pop(request.query["asked"]), error="access_denied")

    def _back(self, asked: Mapping[str, str], **answer: str) -> web.Response:
        query = urlencode(answer | {"state": asked.get("state", "")})
        return web.Response(status=302, headers={"Location": f"{self.redirect_url}?{query}"})

    def _to_grant(self, where: str, scopes: str) -> Grant:
        for workspace in self.workspaces:
            if where == workspace.team_id:
                return Grant(where, workspace.enterprise_id, workspace.bot_user, scopes)
        organisation_wide = next(one for one in self.workspaces if one.enterprise_id == where)
        return Grant(None, where, organisation_wide.bot_user, scopes)

    # -- what the app asks

    def access(self, arguments: Mapping[str, Any], authorization: str) -> dict[str, Any]:
        """Answer `oauth.v2.access`."""
        id_, secret = _client(arguments, authorization)
        if id_ != CLIENT_ID:
            return _refused("invalid_client_id")
        if secret != CLIENT_SECRET:
            return _refused("bad_client_secret")
        if arguments.get("grant_type") == "refresh_token":
            return self._refresh(str(arguments.get("refresh_token")))
        code = self._codes.get(str(arguments.get("code")))
        if code is None or code.issued_at + self.code_lasts <= time.time():
            return _refused("invalid_code")
        if code.used:
            return _refused("code_already_used")
        code.used = True
        grant = self._granted(code.grant)
        return self._answer(grant) | {
            "authed_user": {"id": code.person},
            "app_id": APP_ID,
            "enterprise": self._enterprise(grant),
        }

    def _granted(self, new: Grant) -> Grant:
        """Return the installation, with a token.

        As in Slack, a second installation without token rotation gets the same token.
        """
        old = self.installed(str(new.team_id or new.enterprise_id))
        if old is None:
            self.grants.append(new)
            self._make_tokens(new)
            return new
        old.scopes, old.enterprise_id = new.scopes, new.enterprise_id
        if self.rotates:
            self._make_tokens(old)
        return old

    def _make_tokens(self, grant: Grant) -> None:
        bare = f"{next(self._number)}-{secrets.token_hex(16)}"
        if self.rotates:
            grant.tokens[f"xoxe.xoxb-{bare}"] = time.time() + self.expires_in
            grant.refresh_token = f"xoxe-1-{bare}"
        else:
            grant.tokens[f"xoxb-{bare}"] = None

    def _refresh(self, refresh_token: str) -> dict[str, Any]:
        for grant in self.grants:
            if grant.refresh_token == refresh_token and grant.ended is None:
                self._make_tokens(grant)
                return self._answer(grant)
        return _refused("invalid_refresh_token")

    def _answer(self, grant: Grant) -> dict[str, Any]:
        rotation = (
            {"refresh_token": grant.refresh_token, "expires_in": self.expires_in}
            if grant.refresh_token
            else {}
        )
        names = {one.team_id: one.name for one in self.workspaces}
        team = {"id": grant.team_id, "name": names[grant.team_id]} if grant.team_id else None
        return {
            "ok": True,
            "access_token": grant.token,
            "token_type": "bot",
            "scope": grant.scopes,
            "bot_user_id": grant.bot_user,
            "team": team,
            "is_enterprise_install": team is None,
            **rotation,
        }

    @staticmethod
    def _enterprise(grant: Grant) -> dict[str, Any] | None:
        if grant.enterprise_id is None:
            return None
        return {"id": grant.enterprise_id, "name": grant.enterprise_id}


def _client(arguments: Mapping[str, Any], authorization: str) -> tuple[str, str]:
    """Return the app's ID and secret, from the header or the form."""
    if authorization.startswith("Basic "):
        id_, _, secret = base64.b64decode(authorization[6:]).decode().partition(":")
        return id_, secret
    return str(arguments.get("client_id")), str(arguments.get("client_secret"))


def _refused(error: str) -> dict[str, Any]:
    return {"ok": False, "error": error}


def _link(name: str, **query: str) -> str:
    address = html.escape(f"allow?{urlencode(query)}")
    return f'<a href="{address}">Allow in {html.escape(name)}</a>'


def _page(title: str, *lines: str) -> web.Response:
    body = "".join(f"<p>{line}</p>" for line in lines)
    text = f"<!doctype html><title>Slack</title><h1>{html.escape(title)}</h1>{body}"
    return web.Response(text=text, content_type="text/html")
