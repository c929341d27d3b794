"""By whom an activity was recorded: the last line of what LeadSquared gets."""

import asyncio

from bot.activities.acceptance import Place
from bot.activities.delivery import Delivery, without_link
from bot.activities.ticket import visible
from bot.leadsquared.tenant import Attribution
from bot.slack.conversations import SlackConversations
from bot.slack.names import SlackNames
from bot.slack.text import cut, one_line

NAMED_WITHIN = 2.0
"""Seconds for a name before an activity is sent: it matters less than the activity."""

LONGEST_NAME = 80
"""Characters. Slack takes no more for a display name."""


def last_line(name: str, link: str | None = None) -> str:
    """Write the line. `name` is as a person chose it: it stays on this line, and mentions none."""
    clean = one_line(visible(name)).replace("<", "").replace(">", "").lstrip("@")
    shown = cut(clean, LONGEST_NAME).strip()
    signed = f"— {shown or 'a person'} via Slack"
    return signed if link is None else f"{signed}: {link}"


class SlackAttribution:
    """Asks Slack for a person's name, and for the link to the message that is recorded."""

    def __init__(self, names: SlackNames, conversations: SlackConversations) -> None:
        self._names = names
        self._conversations = conversations

    async def last_line(self, delivery: Delivery) -> str:
        """Return the line for an activity. Without a name, the person's ID stands for it."""
        name, link = await asyncio.gather(
            self.name(delivery.enterprise_id, delivery.team_id, delivery.user_id),
            self._link(delivery),
        )
        return last_line(name or delivery.user_id, link)

    async def _link(self, delivery: Delivery) -> str | None:
        return await self._conversations.link(_place(delivery)) if _has_link(delivery) else None

    async def name(
        self,
        enterprise_id: str | None,
        team_id: str,
        user_id: str,
        *,
        within: float = NAMED_WITHIN,
    ) -> str | None:
        """Return a person's display name, if it is known or Slack tells it in time."""
        found = await self._names.names(enterprise_id, team_id, [user_id], within=within)
        return found.get(user_id)


def _has_link(delivery: Delivery) -> bool:
    """Say whether the line ends with a link: the text may have it already."""
    text = delivery.text or ""
    return (
        delivery.attribution is Attribution.NAME_AND_LINK
        and delivery.message_ts is not None
        and without_link(text) == text
    )


def _place(delivery: Delivery) -> Place:
    message_ts = delivery.message_ts or ""
    thread_ts = delivery.thread_ts or message_ts
    return Place(
        delivery.enterprise_id, delivery.team_id, delivery.channel_id, thread_ts, message_ts
    )
