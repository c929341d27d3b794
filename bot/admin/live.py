"""Prints the status, once or again and again."""

import asyncio
import json as json_
import sys

from bot.admin.status import as_json, lines, look
from bot.database.writer import Database, DatabaseUnavailableError
from bot.encryption import Keyring

AGAIN_AFTER = 2.0
"""Seconds between two outputs."""

_CLEAR = "\x1b[H\x1b[2J"


async def show_status(database: Database, keyring: Keyring, *, watch: bool, json: bool) -> bool:
    """Print the status, with `watch` until Ctrl-C; return whether nothing needs a person."""
    well = False
    try:
        while True:
            try:
                status = await look(database, keyring)
            except DatabaseUnavailableError as error:
                if not watch:
                    raise
                _print([f"The database does not answer ({error}); trying again."], clear=False)
            else:
                well = not status.needs
                shown = [json_.dumps(as_json(status))] if json else lines(status)
                _print(shown, clear=watch and not json)
            if not watch:
                return well
            await asyncio.sleep(AGAIN_AFTER)
    except asyncio.CancelledError:  # Ctrl-C
        return well


def _print(shown: list[str], *, clear: bool) -> None:
    start = _CLEAR if clear and sys.stdout.isatty() else ""
    print(start + "\n".join(shown), flush=True)  # noqa: T201 - it is what the command is for
