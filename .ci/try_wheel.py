"""Try the installed package, in an empty folder and without the repository.

`.ci/release` runs it by the Python of an environment that holds the wheel and what it needs, and
nothing else.
"""

import asyncio
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import bot
from bot.database.engines import MIGRATING, engine_for
from bot.database.schema import HEAD, revision_of, upgrade
from bot.playground.leadsquared import Account, LeadSquaredStandIn
from bot.playground.slack import BOT_TOKEN, SIGNING_SECRET, SlackStandIn
from bot.playground.workspace import Workspace

PROGRAM = Path(sys.executable).with_name("portal-activity")
ACCOUNT = Account("22824", "access-key-of-the-release", "secret-key-of-the-release")
TYPED = "/portal-activity 143 hello\n/portal-activity 401 hello\n"


def run(*arguments: str, typed: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - the program that was just installed
        [PROGRAM, *arguments],
        input=typed,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def expect(what: str, found: object, words: object) -> None:
    """Print what holds; else end with what was found."""
    holds = words in found if isinstance(found, str) and isinstance(words, str) else found == words
    if not holds:
        sys.exit(f"✗ {what}: expected {words!r}, found {found!r}")
    print(f"✓ {what}")


def files() -> None:
    """Try what stands in the package beside its code."""
    expect("it is the installed package", str(bot.__file__), str(Path(sys.prefix)))
    expect("--version", run("--version").stdout, f"portal-activity {version('portal-activity')}\n")
    printed = run("manifest", "--url", "https://bot.example.com").stdout
    expect("manifest", printed, "https://bot.example.com/slack/events")
    url = "sqlite:///migrated.db"
    upgrade(engine_for(url, MIGRATING))
    expect("migrations", revision_of(url), HEAD)


async def check() -> None:
    """Try `check` without settings, and between the stand-ins."""
    nothing = await asyncio.to_thread(run, "check")
    expect("check, without settings", nothing.returncode, 1)
    expect("check, without settings, says so", nothing.stdout, "✗ Slack bot token")
    async with (
        SlackStandIn(Workspace("T0HOME", {}, {})) as slack,
        LeadSquaredStandIn([ACCOUNT], {}) as leadsquared,
    ):
        variables = {
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            "SLACK_SIGNING_SECRET": SIGNING_SECRET,
            "SLACK_API_URL": slack.api_url,
            "LEADSQUARED_API_URL": leadsquared.url,
            "LEADSQUARED_ORG_ID": ACCOUNT.org_id,
            "LEADSQUARED_ACCESS_KEY": ACCOUNT.access_key,
            "LEADSQUARED_SECRET_KEY": ACCOUNT.secret_key,
        }
        await asyncio.to_thread(run, "migrate", **variables)
        checked = await asyncio.to_thread(run, "check", **variables)
    print(checked.stdout, end="")
    expect("check, between the stand-ins", checked.returncode, 0)


def playground() -> None:
    played = run("playground", typed=TYPED)
    expect("playground", played.returncode, 0)
    for words in ("Recorded on ticket 143, activity ID 1", "LeadSquared rejected the access keys"):
        expect(f"playground: {words}", played.stdout, words)


if __name__ == "__main__":
    files()
    asyncio.run(check())
    playground()
