"""Slack's views.open and views.update: modals opened, and changed while they stand."""

import asyncio
from typing import Any

from bot.installations.access import Installations, token_of
from bot.slack.web import Done, Never, NotNow, SlackWeb

PAUSES = (0.5, 1.0)
"""Seconds before each further try of a change that Slack did not take now, where it does not say
how long to wait.
"""


class SlackModals:
    """Opens modals, and changes what stands in them."""

    def __init__(self, web: SlackWeb, installations: Installations) -> None:
        self._web = web
        self._installations = installations

    async def open(
        self,
        enterprise_id: str | None,
        team_id: str,
        trigger_id: str,
        view: dict[str, Any],
        *,
        within: float,
    ) -> str | None:
        """Open a modal and return its id.

        Return None when Slack did not take it `within` that many seconds.
        """
        token = token_of(self._installations.access(enterprise_id, team_id))
        if token is None:
            return None
        opened = await self._web.call(
            token, "views.open", timeout=within, trigger_id=trigger_id, view=view
        )
        shown = opened.data.get("view") if isinstance(opened, Done) else None
        return str(shown.get("id")) if isinstance(shown, dict) else None

    async def update(
        self,
        enterprise_id: str | None,
        team_id: str,
        view_id: str,
        view: dict[str, Any],
        *,
        hash_: str | None = None,
    ) -> str | None:
        """Put a view in an open modal's place.

        Returns Slack's word when that is not to be: not_found when it was closed, hash_conflict
        when it has changed since `hash_` was its hash.
        """
        token = token_of(self._installations.access(enterprise_id, team_id))
        if token is None:
            return "no_bot_token"
        guard: dict[str, Any] = {} if hash_ is None else {"hash": hash_}
        for pause in (*PAUSES, None):
            match await self._web.call(token, "views.update", view_id=view_id, view=view, **guard):
                case Done():
                    return None
                case Never(error):
                    return error
                case NotNow(_, after) if pause is not None:
                    await asyncio.sleep(after or pause)
        return "no_answer"
