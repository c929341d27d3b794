"""SLACK_BOT_TOKEN: one workspace, or one organisation."""

import asyncio
from dataclasses import dataclass, field

from bot.installations.access import Access, Granted, NotInstalled, TokenRefused, Unidentified
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


class SingleInstallation:
    """The bot token of the settings. Whose it is, is known once `auth.test` has answered."""

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
        """Take in that Slack rejects the token."""
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

    def access(self, enterprise_id: str | None, team_id: str) -> Access:
        """Say whether the token is known to belong to this workspace."""
        if self.refusal is not None:
            return TokenRefused(self.refusal)
        if self.identity is None or self._token is None:
            return Unidentified()
        mine = (
            enterprise_id == self.identity.enterprise_id
            if self.identity.is_enterprise_install
            else team_id == self.identity.team_id
        )
        return Granted(self._token) if mine else NotInstalled()
