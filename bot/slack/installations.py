"""Which bot token speaks for which workspace."""

from dataclasses import dataclass, field
from typing import Protocol

from bot.tenants.directory import Scope


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

    `known`: Slack has said whose the tokens are, or that they are nobody's. Before that they speak for nobody.
    """

    @property
    def known(self) -> bool: ...

    def token_for(self, enterprise_id: str | None, team_id: str) -> str | None: ...


class SingleInstallation:
    """SLACK_BOT_TOKEN, for the one workspace (or organisation) it belongs to, known once `auth.test` has answered."""

    def __init__(self, token: str | None) -> None:
        self._token = token
        self.identity: Identity | None = None
        self.refused = False

    @property
    def known(self) -> bool:
        return self.identity is not None or self.refused

    def token_for(self, enterprise_id: str | None, team_id: str) -> str | None:
        """Return the token for the workspace that it is known to belong to: another one is answered without it."""
        if self.identity is None:
            return None
        if self.identity.is_enterprise_install:
            return self._token if enterprise_id == self.identity.enterprise_id else None
        return self._token if team_id == self.identity.team_id else None
