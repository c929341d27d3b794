"""The names of people whom Slack names by id only."""

import asyncio
from collections import OrderedDict
from typing import Any

from bot.slack.installations import Installations
from bot.slack.web import Done, SlackWeb

LOOK_UP_WITHIN = 0.6
"""Seconds for one look-up: it happens before the acknowledgement, which Slack wants within 3."""

MOST_LOOK_UPS = 5
_CACHED = 2000


class SlackPeople:
    """Asks `users.info`, and remembers. A name that cannot be had is left to the id: the activity matters more."""

    def __init__(self, web: SlackWeb, installations: Installations) -> None:
        self._web = web
        self._installations = installations
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def names(self, enterprise_id: str | None, team_id: str, user_ids: list[str]) -> dict[str, str]:
        """Return names by user id, for those that are known or answer in time."""
        found = {user_id: name for user_id in user_ids if (name := self._known.get((team_id, user_id)))}
        missing = [user_id for user_id in user_ids if user_id not in found][:MOST_LOOK_UPS]
        token = self._installations.token_for(enterprise_id, team_id)
        if token is not None and missing:
            answers = await asyncio.gather(
                *(self._web.read(token, "users.info", timeout=LOOK_UP_WITHIN, user=user_id) for user_id in missing)
            )
            for user_id, answer in zip(missing, answers, strict=True):
                if isinstance(answer, Done) and (name := _name(answer.data)):
                    found[user_id] = self._known[team_id, user_id] = name
            while len(self._known) > _CACHED:
                self._known.popitem(last=False)
        return found


def _name(data: dict[str, Any]) -> str | None:
    """Return what Slack shows for a person: the display name, else the full name."""
    user = data.get("user") or {}
    profile = user.get("profile") or {}
    return profile.get("display_name") or profile.get("real_name") or user.get("real_name") or user.get("name")
