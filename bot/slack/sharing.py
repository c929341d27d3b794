"""Slack's events about who reads a channel: channel_shared and channel_unshared."""

from slack_bolt.async_app import AsyncApp
from slack_bolt.context.async_context import AsyncBoltContext

from bot.database.announcements import Announced
from bot.slack.bolt import payload_of
from bot.slack.channels import SlackChannels
from bot.slack.payloads import EventCallback


class Sharing:
    """Registers the events by which a channel is shared with another organisation, or no more.

    An event that the database cannot pass on to the other processes is not acknowledged: Slack
    sends it again.
    """

    def __init__(self, channels: SlackChannels, announced: Announced) -> None:
        self._channels = channels
        self._announced = announced

    def register(self, bolt: AsyncApp) -> None:
        bolt.event("channel_shared")(self.changed)
        bolt.event("channel_unshared")(self.changed)

    async def changed(self, context: AsyncBoltContext) -> None:
        """Forget what is remembered of a channel, in all processes."""
        channel_id = payload_of(context, EventCallback).event.channel
        if channel_id is not None:
            self._channels.forget(channel_id)
            await self._announced.channel(channel_id)
