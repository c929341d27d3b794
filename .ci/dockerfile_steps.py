"""Carry out the Dockerfile's steps in an empty folder, where no container engine is at hand.

Each absolute path in it becomes a path below that folder, and an empty environment of this Python
stands for the base image. What is made is then tried as a container would be: without settings,
and between the stand-ins with its health check. Not tried: the base image itself, and USER.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATHS = re.compile(r"(?<![\w./])/(?=(opt|app|data|build)\b)")
STUBS = {
    "useradd": "exit 0",  # it would make a user of this machine
    "install": 'for last; do :; done; mkdir -p "$last"',  # only root may give a folder away
}
IN_CONTAINER = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


def instructions(text: str) -> Iterator[tuple[str, str]]:
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


class Image:
    """What the steps make, below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stages = folder / "stages"
        self._stage = ""
        self.system = folder / "system"
        self.environment: dict[str, str] = {}
        self.words: dict[str, str] = {}

    def path(self, text: str) -> str:
        return PATHS.sub(f"{self.system}/", text)

    def carry_out(self, word: str, rest: str) -> None:
        print(f"  {word} {rest[:100]}")
        match word:
            case "FROM":
                self._begin(rest.rpartition(" AS ")[2])
            case "RUN":
                self._run(rest)
            case "COPY":
                self._copy(rest)
            case "ENV":
                for name, value in re.findall(r"(\w+)=(\S+)", rest):
                    known = value.replace("$PATH", self.environment["PATH"])
                    self.environment[name] = self.path(known)
            case _:
                self.words[word] = rest

    def _begin(self, name: str) -> None:
        """Put the stage before aside, and begin with Python alone."""
        if self._stage:
            self._stages.mkdir(exist_ok=True)
            self.system.rename(self._stages / self._stage)
        self._stage = name
        base = self.system / "usr" / "local"
        subprocess.run([sys.executable, "-m", "venv", base], check=True)  # noqa: S603
        stubs = self.system / "stubs"
        stubs.mkdir()
        for program, does in STUBS.items():
            (stubs / program).write_text(f"#!/bin/sh\n{does}\n")
            (stubs / program).chmod(0o755)
        self.environment = {"PATH": f"{stubs}:{base / 'bin'}:{IN_CONTAINER}"}

    def _run(self, command: str) -> None:
        subprocess.run(  # noqa: S603 - the Dockerfile's own
            ["/bin/sh", "-ec", self.path(command)],
            env=self.environment | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "1"},
            cwd=self.system,
            check=True,
        )

    def _copy(self, rest: str) -> None:
        *options, source, target = rest.split()
        if options:
            stage = self._stages / options[0].removeprefix("--from=")
            start = stage / source.strip("/")
        else:
            start = self._context() / source
        end = Path(self.path(target))
        if start.is_dir():
            shutil.copytree(start, end, symlinks=True, dirs_exist_ok=True)
        else:
            end.mkdir(parents=True, exist_ok=True)
            shutil.copy(start, end, follow_symlinks=False)

    def _context(self) -> Path:
        """Return what .dockerignore lets through, of the files under version control."""
        context = self._folder / "context"
        if not context.exists():
            rules = (ROOT / ".dockerignore").read_text().splitlines()
            named = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
            listed = subprocess.run(  # noqa: S603
                ["git", "ls-files", "--", *named],  # noqa: S607
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            )
            for name in listed.stdout.splitlines():
                (context / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, context / name, follow_symlinks=False)
        return context

    # -- as a container

    @property
    def workdir(self) -> Path:
        return Path(self.path(self.words["WORKDIR"]))

    def command(self, *arguments: str) -> list[str]:
        """Return the entry point with its arguments, CMD's where there are none."""
        program, *first = json.loads(self.words["ENTRYPOINT"])
        found = shutil.which(program, path=self.environment["PATH"]) or program
        return [found, *first, *(arguments or json.loads(self.words["CMD"]))]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            self.command(*arguments),
            cwd=self.workdir,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def expect(what: str, holds: object, found: object = "") -> None:
    if not holds:
        sys.exit(f"✗ {what}: {found}")
    print(f"✓ {what}")


def try_without_settings(image: Image) -> None:
    version = image.run("--version")
    expect("it says its version", version.stdout.startswith("portal-activity "), version)
    nothing = image.run()
    lines = nothing.stderr.splitlines()
    expect(
        "without settings it ends with a line for each problem",
        nothing.returncode == 2 and [line.partition(":")[0] for line in lines] == MISSING,  # noqa: PLR2004
        nothing,
    )
    tools = [
        str(tool)
        for name in ("pip", "setuptools", "wheel")
        for tool in image.system.rglob(f"site-packages/{name}")
    ]
    expect("no build tools in the last stage", not tools, tools)
    expect("it does not run as root", image.words["USER"] != "root", image.words)


MISSING = ["SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET"]

STAND_INS = """
import asyncio, json
from bot.playground.leadsquared import LeadSquaredStandIn
from bot.playground.slack import BOT_TOKEN, SIGNING_SECRET, SlackStandIn
from bot.playground.workspace import Workspace

async def main():
    async with SlackStandIn(Workspace("T0HOME", {}, {})) as slack:
        print(json.dumps({"SLACK_API_URL": slack.api_url, "SLACK_BOT_TOKEN": BOT_TOKEN,
                          "SLACK_SIGNING_SECRET": SIGNING_SECRET}), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


async def try_serving(image: Image) -> None:
    command, folder = image.command(), image.workdir
    stand_ins = await asyncio.create_subprocess_exec(
        command[0], "-c", STAND_INS, cwd=folder, env=image.environment, stdout=subprocess.PIPE
    )
    assert stand_ins.stdout is not None  # noqa: S101
    slack = json.loads(await stand_ins.stdout.readline())
    variables = image.environment | slack | {"PORT": free_port(), "LOG_LEVEL": "WARNING"}
    bot = await asyncio.create_subprocess_exec(*command, cwd=folder, env=variables)
    try:
        check = json.loads(image.words["HEALTHCHECK"].partition("CMD ")[2])
        check[0] = command[0]
        status = 1
        for _ in range(60):  # 30 s
            health = await asyncio.create_subprocess_exec(
                *check, cwd=folder, env=variables, stderr=subprocess.DEVNULL
            )
            if (status := await health.wait()) == 0:
                break
            await asyncio.sleep(0.5)
        expect("its health check finds it ready", status == 0, status)
        kept = sorted(file.name for file in (image.system / "data").iterdir())
        expect("its database is in the volume's folder", "portal-activity.db" in kept, kept)
        bot.send_signal(signal.SIGTERM)
        expect("SIGTERM ends it with status 0", await bot.wait() == 0, bot.returncode)
        check_again = await asyncio.create_subprocess_exec(
            *check, cwd=folder, env=variables, stderr=subprocess.DEVNULL
        )
        expect("its health check finds it gone", await check_again.wait() != 0)
    finally:
        for process in (bot, stand_ins):
            if process.returncode is None:
                process.kill()
                await process.wait()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        image = Image(Path(folder).resolve())
        for word, rest in instructions((ROOT / "Dockerfile").read_text()):
            image.carry_out(word, rest)
        try_without_settings(image)
        asyncio.run(try_serving(image))


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    main()
