"""Whether people of another organisation read a channel, as Slack says."""

from collections.abc import Mapping
from enum import StrEnum

import structlog

from bot.installations.access import Installations, token_of
from bot.slack.lookups import Lookups
from bot.slack.web import Done, NotNow, SlackWeb

_log = structlog.get_logger(__name__)

LOOK_WITHIN = 3.0
"""Seconds for one lookup. No acknowledgement waits for it."""


class Kind(StrEnum):
    """Who reads a channel."""

    OWN = "own"
    SHARED = "shared"
    UNKNOWN = "unknown"  # Slack does not say, so it counts as shared
    AWAY = "away"  # Slack answers nothing at all now: ask again later


LASTS = {Kind.OWN: 120.0, Kind.SHARED: 600.0, Kind.UNKNOWN: 30.0, Kind.AWAY: 1.0}
"""Seconds for which an answer is kept.

Slack's events end it earlier. Where they do not come, a channel that was just shared counts as
the workspace's own for two minutes at most.
"""


class SlackChannels:
    """Asks `conversations.info`, once for all who want to know at the same time, and remembers."""

    def __init__(self, web: SlackWeb, installations: Installations) -> None:
        self._web = web
        self._installations = installations
        self._kinds: Lookups[tuple[str, str], Kind] = Lookups(lambda kind: LASTS[kind])

    async def kind(self, enterprise_id: str | None, team_id: str, channel_id: str) -> Kind:
        """Return who reads a channel."""
        return await self._kinds.get(
            (team_id, channel_id), lambda: self._ask(enterprise_id, team_id, channel_id)
        )

    def forget(self, channel_id: str | None = None) -> None:
        """Ask again about a channel, or about all of them. What is being asked does not count."""
        self._kinds.forget(lambda place: channel_id in (None, place[1]))

    async def close(self) -> None:
        await self._kinds.close()

    async def _ask(self, enterprise_id: str | None, team_id: str, channel_id: str) -> Kind:
        token = token_of(self._installations.access(enterprise_id, team_id))
        if token is None:
            return Kind.UNKNOWN
        found = await self._web.read(
            token, "conversations.info", timeout=LOOK_WITHIN, channel=channel_id
        )
        if isinstance(found, Done):
            channel = found.data.get("channel")
            return kind_of(channel) if isinstance(channel, dict) else Kind.UNKNOWN
        reason = found.reason if isinstance(found, NotNow) else found.error
        _log.warning("channel_kind_unknown", reason=reason)
        if token_of(self._installations.access(enterprise_id, team_id)) != token:
            return Kind.AWAY  # Slack has rejected the token: the next one will tell
        if isinstance(found, NotNow) and isinstance(await self._web.identify(token), NotNow):
            return Kind.AWAY
        return Kind.UNKNOWN


def kind_of(channel: Mapping[str, object]) -> Kind:
    """Read who reads a channel from what `conversations.info` shows of it.

    A channel that several workspaces of one organisation share (`is_org_shared`) stays its own.
    https://docs.slack.dev/reference/objects/conversation-object
    """
    pending = channel.get("pending_shared") or channel.get("pending_connected_team_ids")
    if channel.get("is_ext_shared") or channel.get("is_pending_ext_shared") or pending:
        return Kind.SHARED
    if channel.get("is_im") is True:
        return Kind.OWN  # the bot sees no direct message but its own with one person
    told = channel.get("is_ext_shared", channel.get("is_shared"))
    return Kind.OWN if told is False else Kind.UNKNOWN
