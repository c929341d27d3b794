"""docs/design/one-command.md lists the very files whose code a command passes."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from support.programs import ROOT
from support.running import Start

VALUES_AND_LOOPS = {
    "logs.py", "process.py", "app.py",
    "leadsquared/outcome.py", "leadsquared/tenant.py", "installations/access.py",
}  # fmt: skip

BESIDE_IT = {
    "slack/home.py", "slack/background.py", "activities/recent.py", "activities/backlog.py",
}  # fmt: skip
"""What hears of the outcome and publishes App Home, in the background; and the poll."""


@contextmanager
def passed() -> Iterator[set[str]]:
    """Collect the product's files whose functions are called, in threads that begin from now on."""
    found: set[str] = set()
    bot = f"{ROOT / 'bot'}/"

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(bot) and "<" not in frame.f_code.co_name:
            found.add(name.removeprefix(bot))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def test_the_files_of_one_command_are_those_of_the_page(
    start: Start, environment: dict[str, str]
) -> None:
    page = (ROOT / "docs" / "design" / "one-command.md").read_text()
    listed = re.findall(r"^\| (\d*) \| `([^`]+)` \|", page, re.MULTILINE)
    with passed() as found:
        async with start(environment | {"POLL_INTERVAL": "300"}) as bot:
            await bot.at_rest()
            found.clear()
            await bot.type("143 Customer uploaded the signed form")
            await bot.answered()
            await bot.at_rest()
            seen = {name for name in found if not name.startswith("playground/")}
    numbered = {name: int(number) for number, name in listed if number}
    assert seen - VALUES_AND_LOOPS - BESIDE_IT == numbered.keys()
    assert sorted(numbered.values()) == [*range(1, len(numbered) + 1)]
    assert f"\n{len(numbered)} files, of which " in page
