"""`/portal-activity recent` and `status`: what was recorded here, and whether something waits."""

from bot.activities.recent import Recent
from bot.database.writer import DatabaseUnavailableError
from bot.slack import home_view, home_words
from bot.slack.answers import Message
from bot.slack.payloads import SlashCommand


class Reports:
    """Answers the two subcommands at once, to the person alone."""

    def __init__(self, recent: Recent) -> None:
        self._recent = recent

    async def recent(self, command: SlashCommand, _rest: str) -> Message:
        """Show the newest activities of the conversation, of this workspace only."""
        try:
            newest = await self._recent.of_conversation(command.team_id, command.channel_id)
        except DatabaseUnavailableError:
            return home_words.not_shown()
        return home_view.recent(newest)

    async def status(self, command: SlashCommand, _rest: str) -> Message:
        """Say whether the conversation is connected, and what waits or failed."""
        try:
            found = await self._recent.status(command.enterprise_id, command.team_id)
        except DatabaseUnavailableError:
            return home_words.not_shown()
        connected, health = found
        return home_view.status(connected, command.channel_id, health)
