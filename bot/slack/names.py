"""The names of people, channels and groups of people that Slack names by id only."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from bot.installations.access import Installations, token_of
from bot.slack.payloads import objects
from bot.slack.text import first_seen, string
from bot.slack.web import Done, Result, SlackWeb

LOOKUP_WITHIN = 0.6
"""Seconds for a lookup that happens before an acknowledgement, which Slack wants within 3."""

MOST_LOOKUPS = 5
_CACHED = 2000


@dataclass(frozen=True, slots=True)
class _Known:
    name: str
    zone: tzinfo = UTC


class SlackNames:
    """Asks Slack, and remembers.

    A name that cannot be had is left to the id: the activity matters more.
    """

    def __init__(self, web: SlackWeb, installations: Installations) -> None:
        self._web = web
        self._installations = installations
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    async def names(
        self,
        enterprise_id: str | None,
        team_id: str,
        ids: Iterable[str],
        *,
        within: float = LOOKUP_WITHIN,
        at_most: int = MOST_LOOKUPS,
    ) -> dict[str, str]:
        """Return names by id, for those that are known or answer `within` that many seconds."""
        asked = list(dict.fromkeys(ids))
        missing = [id_ for id_ in asked if (team_id, id_) not in self._known][:at_most]
        token = token_of(self._installations.access(enterprise_id, team_id))
        if token is not None and missing:
            await self._learn(token, team_id, missing, within)
        found = {id_: known.name for id_ in asked if (known := self._known.get((team_id, id_)))}
        while len(self._known) > _CACHED:
            self._known.popitem(last=False)
        return found

    async def zone(
        self, enterprise_id: str | None, team_id: str, user_id: str, *, within: float
    ) -> tzinfo:
        """Return a person's time zone; UTC when Slack does not tell."""
        await self.names(enterprise_id, team_id, [user_id], within=within)
        known = self._known.get((team_id, user_id))
        return UTC if known is None else known.zone

    async def _learn(self, token: str, team_id: str, ids: list[str], within: float) -> None:
        groups = [id_ for id_ in ids if id_.startswith("S")]
        others = [id_ for id_ in ids if not id_.startswith("S")]
        asked = [self._ask(token, id_, within) for id_ in others]
        if groups:
            asked.append(self._web.read(token, "usergroups.list", timeout=within, team_id=team_id))
        answers = await asyncio.gather(*asked)
        for id_, answer in zip(others, answers, strict=False):
            if isinstance(answer, Done) and (known := _known(answer.data)):
                self._known[team_id, id_] = known
        if groups and isinstance(answers[-1], Done):
            for group in objects(answers[-1].data.get("usergroups")):
                if name := first_seen(group.get("handle"), group.get("name")):
                    self._known[team_id, string(group.get("id"))] = _Known(name)

    async def _ask(self, token: str, id_: str, within: float) -> Result:
        if id_[:1] in "UW":
            return await self._web.read(token, "users.info", timeout=within, user=id_)
        return await self._web.read(token, "conversations.info", timeout=within, channel=id_)


def _known(data: dict[str, Any]) -> _Known | None:
    """Read what Slack shows for a person or a channel.

    A person's name is the display name, else the full name.
    """
    channel, user = data.get("channel"), data.get("user")
    if isinstance(channel, dict):
        name = first_seen(channel.get("name"))
        return _Known(name) if name else None
    if not isinstance(user, dict):
        return None
    profile = user.get("profile")
    profile = profile if isinstance(profile, dict) else {}
    of_profile = (profile.get("display_name"), profile.get("real_name"))
    name = first_seen(*of_profile, user.get("real_name"), user.get("name"))
    return _Known(name, _zone(user)) if name else None


def _zone(user: dict[str, Any]) -> tzinfo:
    try:
        return ZoneInfo(str(user["tz"]))
    except (KeyError, ValueError, OSError):
        # Unknown to this machine, or to Slack: today's offset is the next best.
        offset = user.get("tz_offset")
        return (
            timezone(timedelta(seconds=offset))
            if isinstance(offset, int) and abs(offset) < 24 * 3600
            else UTC
        )
