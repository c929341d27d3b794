"""Which bot token speaks for which workspace."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from bot.tenants.directory import NOBODY, Scope


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a bot token belongs to, as `auth.test` says."""

    team_id: str | None
    enterprise_id: str | None
    is_enterprise_install: bool
    team_name: str | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)

    @property
    def scope(self) -> Scope:
        """The part of Slack that the token serves."""
        if self.is_enterprise_install:
            return Scope(enterprise_id=self.enterprise_id or "")
        return Scope(team_id=self.team_id or "")


class Installations(Protocol):
    """Looks a bot token up per workspace.

    `scope`: the part of Slack that the tokens speak for. None: Slack has not said it yet, and they
    speak for nobody. `refusal`: Slack's word for a token that it rejects.
    """

    @property
    def scope(self) -> Scope | None: ...

    @property
    def refusal(self) -> str | None: ...

    def token_for(self, enterprise_id: str | None, team_id: str) -> str | None: ...


class SingleInstallation:
    """SLACK_BOT_TOKEN, for the one workspace (or organisation) it belongs to.

    Which one is known once `auth.test` has answered.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token
        self.identity: Identity | None = None
        self.refusal: str | None = None
        self.refused = asyncio.Event()

    def learn(self, identity: Identity) -> None:
        """Take in whose the token is: Slack accepts it."""
        self.identity, self.refusal = identity, None
        self.refused.clear()

    def refuse(self, token: str | None, error: str) -> None:
        """Take in that Slack rejects a token, in Slack's word.

        Ignore a token that is not the bot token.
        """
        if token == self._token:
            self.refusal = error
            self.refused.set()

    @property
    def scope(self) -> Scope | None:
        """The part of Slack that the token speaks for.

        While Slack rejects it, it speaks for none.
        """
        if self.refusal is not None:
            return NOBODY
        return None if self.identity is None else self.identity.scope

    def token_for(self, enterprise_id: str | None, team_id: str) -> str | None:
        """Return the token for the workspace that it is known to belong to.

        Return None for another workspace.
        """
        if self.identity is None or self.refusal is not None:
            return None
        if self.identity.is_enterprise_install:
            return self._token if enterprise_id == self.identity.enterprise_id else None
        return self._token if team_id == self.identity.team_id else None
