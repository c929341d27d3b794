"""What Slack says of a person: an admin, a guest, a member of another organisation."""

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
        return Role(
            is_admin=any(
                user.get(name) is True for name in ("is_admin", "is_owner", "is_primary_owner")
            ),
            is_guest=any(
                user.get(name) is True for name in ("is_restricted", "is_ultra_restricted")
            ),
            is_stranger=user.get("is_stranger") is True or not _is_of(user, enterprise_id, team_id),
        )


def _is_of(user: dict[str, object], enterprise_id: str | None, team_id: str) -> bool:
    if user.get("team_id") in (team_id, None):
        return True
    grid = user.get("enterprise_user")
    return (
        enterprise_id is not None
        and isinstance(grid, dict)
        and grid.get("enterprise_id") == enterprise_id
    )
