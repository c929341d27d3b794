"""Which workspaces have installed the bot by OAuth, as an administrator reads it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from bot.admin.words import shown, table
from bot.encryption import Keyring, UndecipherableError
from bot.installations.single import Identity
from bot.installations.store import Installation, InstallationStore
from bot.slack.pages import INSTALL_PATH
from bot.slack.scopes import missing
from bot.slack.web import Never, NotNow, SlackWeb
from bot.tenants.directory import TenantError

AT_ONCE = 10
"""Installations that `check` asks Slack about at the same time."""

_REINSTALL = f"install it again: https://YOUR-ADDRESS{INSTALL_PATH}?team={{}}"


def missing_scopes(installation: Installation) -> list[str]:
    """Return what this release needs, and an older installation was not granted."""
    return missing(installation.scopes)


async def list_workspaces(store: InstallationStore) -> list[str]:
    """Return a table of all installations, or what to do when there is none."""
    found = sorted(await store.all(), key=lambda one: (one.name or "", one.installed_in))
    if not found:
        return [f"No workspace has installed the bot: open https://YOUR-ADDRESS{INSTALL_PATH}"]
    heads = ("ID", "NAME", "INSTALLED", "BY", "STATE")
    return table(heads, [_row(one) for one in found])


def _row(one: Installation) -> tuple[str, ...]:
    return (
        one.installed_in,
        one.name or "",
        _day(one.installed_at),
        one.installed_by or "",
        _state(one),
    )


def _state(one: Installation) -> str:
    if one.ended_at is not None:
        return f"ended {_day(one.ended_at)}: {one.ended_because}"
    absent = len(missing_scopes(one))
    return f"installed, {absent} scopes missing" if absent else "installed"


async def describe_workspace(store: InstallationStore, where: str) -> list[str]:
    """Return what is stored of one installation, never a token."""
    one = await _existing(store, where)
    kind = "Organisation" if where.startswith("E") else "Workspace"
    lines = [
        f"{kind}: {shown(one.name or '')} ({one.installed_in})",
        *([f"Organisation: {one.enterprise_id}"] if one.enterprise_id not in (None, where) else []),
        f"State: {_state(one)}",
        f"Installed: {_day(one.installed_at)} by {one.installed_by or 'unknown'}",
        f"App: {one.app_id}, bot user {one.bot_user_id}",
        f"Scopes: {', '.join(sorted(one.scopes))}",
    ]
    if one.ended_at is None and (absent := missing_scopes(one)):
        lines.append(f"Missing scopes: {', '.join(absent)}; {_REINSTALL.format(where)}")
    return lines


async def remove_workspace(store: InstallationStore, where: str) -> bool:
    """End an installation; say whether it had not ended before."""
    await _existing(store, where)
    return await store.end(where, "removed by an administrator")


async def _existing(store: InstallationStore, where: str) -> Installation:
    found = await store.find(where)
    if found is None:
        raise TenantError(
            f"{shown(where)} has not installed the bot; see: python -m bot workspaces list"
        )
    return found


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"


async def try_all(
    store: InstallationStore, keyring: Keyring, web: SlackWeb
) -> Sequence[tuple[Installation, str | None, str | None]]:
    """Ask Slack about each installation that has not ended.

    Return it with what is wrong and how to fix that; None: nothing.
    """
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(installation: Installation) -> tuple[Installation, str | None, str | None]:
        async with turn:
            return installation, *await _try(installation, keyring, web)

    living = [found for found in await store.all() if found.ended_at is None]
    return await asyncio.gather(*(one(installation) for installation in living))


async def _try(
    installation: Installation, keyring: Keyring, web: SlackWeb
) -> tuple[str | None, str | None]:
    again = _REINSTALL.format(installation.installed_in)
    try:
        token = keyring.decrypt(installation.bot_token or b"")
    except UndecipherableError:
        fix = "add the earlier secret to ENCRYPTION_KEYS, at the end, and restart the bot"
        return "its token cannot be decrypted", f"{fix}; or {again}"
    match await web.identify(token):
        case Never(error):
            return f"Slack rejects its token: {error}", again
        case NotNow(reason):
            return f"Slack does not answer: {reason}", "check the network, then try again"
        case Identity():
            pass
    if absent := missing_scopes(installation):
        return f"scopes missing since an older release: {', '.join(absent)}", again
    return None, None
