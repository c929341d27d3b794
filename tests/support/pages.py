"""The playground's page, and what a person does on it."""

import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.chromium import Element, Tab
from support.programs import Serving, serving, until

_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


@asynccontextmanager
async def playground(folder: Path, port: int = 0) -> AsyncIterator[tuple[str, Serving]]:
    """Serve the page until the block ends; its address is given, and the process."""
    with serving("playground", "--page", "--port", str(port), cwd=folder, variables={}) as process:
        await until(lambda: _ADDRESS.search(process.log) or process.status is not None)
        found = _ADDRESS.search(process.log)
        assert found is not None, process.log
        try:
            yield found[0], process
        finally:
            process.signal(signal.SIGINT)
            await until(lambda: process.status is not None)


async def ready(page: Tab) -> None:
    """Wait until the bot is installed in the first workspace, and ready."""
    await page.reads("status", "", "The bot is ready")
    await page.get("button", "App Portal Activity")


async def command(page: Tab, text: str, channel: str = "support") -> None:
    """Type something into the channel's composer, and press Enter."""
    await page.write(f"Message #{channel}", text)
    await page.press("Enter")


async def go(page: Tab, channel: str) -> None:
    await page.click("button", f"Channel {channel}")
    await page.get("log", f"Messages in #{channel}")


async def thread(page: Tab, *words: str) -> str:
    """Wait until the open thread has these words."""
    return await page.reads("complementary", "Thread", *words)


async def dialog(page: Tab, title: str) -> Element:
    return await page.get("dialog", title)


async def shortcut(page: Tab, words: str) -> None:
    """Use the shortcut on the message with these words, by its menu."""

    async def opened() -> bool:
        if await page.all("menuitem", "Record in LeadSquared"):
            return True
        for message in await page.all("article"):
            if words in await message.text():
                await page.click("button", "More actions", within=message)
                break
        return False

    await page.until(opened, f"menu of a message with “{words}”")
    await page.click("menuitem", "Record in LeadSquared")


async def fault(page: Tab, words: str, account: str = "Initech") -> None:
    """Let an account's LeadSquared fail in one way."""
    await page.click("tab", "LeadSquared")
    of = await page.get("region", f"LeadSquared of {account}")
    await page.click("radio", words, within=of)

    async def set_() -> object:
        radio = await page.get("radio", words, within=of)
        return await radio.call("function() { return this.checked; }")

    await page.until(set_, f"fault “{words}”")
