"""`slack run`: the hooks of Slack's command-line tool, started as the tool starts them.

It activates `.venv`, appends its arguments to a hook's words, runs them by a shell, and gives the
tokens of the app that it has installed.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from bot.playground.slack import APP_TOKEN, BOT_TOKEN, SlackStandIn
from support.programs import ANEW, ROOT, run, serving
from support.running import ENCRYPTION_KEY

HOOKS: dict[str, str] = json.loads((ROOT / ".slack" / "hooks.json").read_text())["hooks"]
ACTIVATED = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def by_a_shell(hook: str, *arguments: str) -> tuple[str, ...]:
    return (*ANEW, "sh", "-c", " ".join([HOOKS[hook], *arguments]))


def test_the_manifest_is_printed_as_json(tmp_path: Path) -> None:
    printed = run(
        cwd=tmp_path,
        variables=ACTIVATED,
        command=by_a_shell("get-manifest", f"--source={tmp_path}"),
    )
    assert printed.status == 0, printed.said
    read: Any = json.loads(printed.out)
    assert read == yaml.safe_load((ROOT / "manifest.yml").read_text())
    assert read["settings"]["socket_mode_enabled"] is True


async def test_it_serves_by_socket_mode_with_the_tools_tokens(
    slack: SlackStandIn, tmp_path: Path
) -> None:
    # An example that is copied and not filled in does not take the tool's tokens away.
    (tmp_path / ".env").write_text("SLACK_BOT_TOKEN=\nSLACK_APP_TOKEN=\n")
    tokens = {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_APP_TOKEN": APP_TOKEN}
    tools = {"SLACK_CLI_XOXB": BOT_TOKEN, "SLACK_CLI_XAPP": APP_TOKEN}
    own = {"SLACK_API_URL": slack.api_url, "ENCRYPTION_KEYS": ENCRYPTION_KEY}
    variables = {**ACTIVATED, **tokens, **tools, **own}
    with serving("slack", cwd=tmp_path, variables=variables, command=by_a_shell("start")) as bot:
        await bot.logged("socket_mode_connected")
        shown = await slack.command("help", channel="C0SUPPORT", person="U0ANNA")
        bot.signal()
        assert await bot.ended() == 0, bot.log
    assert shown is not None
    assert "/portal-activity" in shown.text
