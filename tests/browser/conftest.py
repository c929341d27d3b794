"""One playground and one browser for the tests here.

Where there is no Chromium they are skipped and say so; in CI they fail.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from support.chromium import Chromium, Tab, chromium, found
from support.pages import playground, ready
from support.programs import ROOT

PICTURES = ROOT / os.environ.get("SCREENSHOTS", "build/screenshots")


@pytest.fixture(scope="session")
def program() -> str:
    """The Chromium of this machine."""
    if (path := found()) is not None:
        return path
    assert "CI" not in os.environ, "CI needs a Chromium: apt-get install chromium"
    return pytest.skip("there is no Chromium: apt-get install chromium")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(
    program: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Chromium]:
    async with chromium(program, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def address(program: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Where a playground serves its page."""
    async with playground(tmp_path_factory.mktemp("playground")) as (served, process):
        yield served
    assert process.status == 0


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Chromium, address: str) -> AsyncIterator[Tab]:
    """A tab in which the bot is ready, in #support, acting as an admin."""
    tab = await browser.tab(address)
    await ready(tab)
    yield tab
    await tab.close()
    assert tab.problems == []


Shoot = Callable[[Tab, str], Awaitable[None]]


@pytest.fixture
def shoot() -> Shoot:
    """Write a picture of a page into the folder of pictures."""

    async def take(page: Tab, name: str) -> None:
        await page.shoot(PICTURES / f"{name}.png")

    return take
