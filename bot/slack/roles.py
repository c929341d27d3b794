"""What Slack says of a person: an admin, a guest, a member of another organisation."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.installations.access import Installations, token_of
from bot.slack.web import Done, SlackWeb

ASKED_WITHIN = 2.0
"""Seconds that a person waits for Slack's answer about them."""


@dataclass(frozen=True, slots=True)
class Role:
    """A person's part in a workspace. `is_stranger`: of another organisation (Slack Connect)."""

    is_admin: bool
    is_guest: bool
    is_stranger: bool


class SlackRoles:
    """Asks Slack each time: a person who is no admin any more may change nothing."""

    def __init__(self, web: SlackWeb, installations: Installations) -> None:
        self._web = web
        self._installations = installations

    async def role(self, enterprise_id: str | None, team_id: str, user_id: str) -> Role | None:
        """Return a person's role; None when Slack does not tell, so that nothing is allowed."""
        token = token_of(self._installations.access(enterprise_id, team_id))
        if token is None:
            return None
        found = await self._web.read(token, "users.info", timeout=ASKED_WITHIN, user=user_id)
        user = found.data.get("user") if isinstance(found, Done) else None
        if not isinstance(user, dict) or user.get("deleted") is True:
            return None
        return role_of(user, enterprise_id, team_id)


def role_of(user: Mapping[str, object], enterprise_id: str | None, team_id: str) -> Role:
    """Read a person's role in the workspace `team_id`.

    In an organisation Slack may show a person as another workspace's. Then their role there says
    nothing here: only the organisation's own admins and owners count.
    """
    here = user.get("team_id") in (team_id, None)
    grid = user.get("enterprise_user")
    grid = grid if isinstance(grid, dict) else {}
    same_organisation = enterprise_id is not None and grid.get("enterprise_id") == enterprise_id
    return Role(
        is_admin=(here and _any(user, "is_admin", "is_owner", "is_primary_owner"))
        or (same_organisation and _any(grid, "is_admin", "is_owner")),
        is_guest=_any(user, "is_restricted", "is_ultra_restricted"),
        is_stranger=_any(user, "is_stranger") or not (here or same_organisation),
    )


def _any(user: Mapping[str, object], *names: str) -> bool:
    return any(user.get(name) is True for name in names)
