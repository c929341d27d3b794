"""Which mapped parts of Slack this bot's token does not reach."""

import asyncio
from collections.abc import Iterable

from bot.installations.single import Identity
from bot.settings import Settings
from bot.slack.web import SlackWeb
from bot.tenants.directory import Scope

ANSWERS_WITHIN = 2.0
"""Seconds that an administrator's command waits for Slack, for a warning only."""


def unserved(identity: Identity, scopes: Iterable[Scope]) -> list[Scope]:
    """Return the scopes in which the token surely cannot speak.

    A token of a whole organisation serves all its workspaces. Nothing here knows which those are,
    so a mapping that names only a workspace counts as one of them.
    """
    return [scope for scope in scopes if not _may_serve(identity, scope)]


def _may_serve(identity: Identity, scope: Scope) -> bool:
    if scope.enterprise_id and scope.enterprise_id != identity.enterprise_id:
        return False
    return identity.is_enterprise_install or scope.team_id in ("", identity.team_id)


def say_unserved(identity: Identity, scope: Scope) -> str:
    return (
        f"SLACK_BOT_TOKEN belongs to {identity.scope}, so this bot has no token for {scope} "
        "and cannot answer there; run another bot process with a token for it"
    )


async def token_misses(settings: Settings, scope: Scope) -> str | None:
    """Say that the token does not reach a scope; None when it does, or when Slack does not say."""
    if settings.slack_bot_token is None:
        return None
    async with SlackWeb(settings.slack_api_url) as web:
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                identity = await web.identify(settings.slack_bot_token.get_secret_value())
        except TimeoutError:
            return None
    if isinstance(identity, Identity) and unserved(identity, [scope]):
        return say_unserved(identity, scope)
    return None
