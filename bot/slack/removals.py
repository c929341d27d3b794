"""Slack's events that end an installation: app_uninstalled and tokens_revoked."""

from slack_bolt.async_app import AsyncApp
from slack_bolt.context.async_context import AsyncBoltContext

from bot.installations.known import KnownInstallations
from bot.installations.store import InstallationStore
from bot.slack.bolt import payload_of
from bot.slack.payloads import EventCallback


class Removals:
    """Registers the events.

    An event that the database cannot take is not acknowledged: Slack sends it again.
    """

    def __init__(self, store: InstallationStore, known: KnownInstallations) -> None:
        self._store = store
        self._known = known

    def register(self, bolt: AsyncApp) -> None:
        bolt.event("app_uninstalled")(self.uninstalled)
        bolt.event("tokens_revoked")(self.revoked)

    async def uninstalled(self, context: AsyncBoltContext) -> None:
        """End the installation that the event names."""
        await self._end(payload_of(context, EventCallback), None)

    async def revoked(self, context: AsyncBoltContext) -> None:
        """End the installation whose bot token was revoked; people's tokens are not the bot's."""
        happened = payload_of(context, EventCallback)
        await self._end(happened, happened.event.tokens.bot)

    async def _end(self, happened: EventCallback, revoked: tuple[str, ...] | None) -> None:
        where = happened.installed_in
        if where is None or revoked == ():
            return
        # `event_time` has whole seconds, so one that was made within this second ends too.
        until = None if happened.event_time is None else happened.event_time + 1
        if await self._store.end(where, happened.event.type, until=until, revoked=revoked):
            await self._known.catch_up()
