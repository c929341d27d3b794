"""The server of the playground's page: who may ask it, and what it masks."""

import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.admin.cli import app
from support.pages import playground
from support.programs import BOT, run

TOKEN = re.compile(r'name="playground-token" content="([\w-]+)"')
SAY = {"do": "say", "person": "U0YOU", "channel": "C0SUPPORT", "text": "hello"}


class Client:
    """Asks the page's server as a browser does, or as somebody else would."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self.address = address
        self.token = ""

    async def get(self, path: str = "/", **headers: str) -> tuple[int, str, Any]:
        async with self._session.get(self.address + path, headers=headers) as response:
            return response.status, await response.text(), response.headers

    async def act(self, asked: Any = None, **headers: str) -> tuple[int, Any]:
        sent = {"Origin": self.address, "X-Playground-Token": self.token, **headers}
        async with self._session.post(
            f"{self.address}/act", json=SAY if asked is None else asked, headers=sent
        ) as response:
            return response.status, await response.json()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with (
        playground(tmp_path) as (address, _),
        aiohttp.ClientSession(trust_env=False) as session,
    ):
        asking = Client(session, address)
        found = TOKEN.search((await asking.get())[1])
        assert found is not None
        asking.token = found[1]
        yield asking


async def test_only_its_own_page_reads_and_acts(client: Client) -> None:
    port = client.address.rpartition(":")[2]
    assert (await client.act())[0] == 200
    assert (await client.get("/", Host=f"localhost:{port}"))[0] == 200
    refused: list[dict[str, str]] = [
        {"Host": f"evil.example:{port}"},  # DNS rebinding
        {"Host": "127.0.0.1"},
        {"Host": f"127.0.0.1:{port}.evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this machine
    ]
    for headers in refused:
        assert (await client.act(**headers))[0] == 403, headers
        for path in ("/", "/events", "/app.js"):
            assert (await client.get(path, **headers))[0] == 403, (path, headers)
    for token in ("", "wrong", "ü"):
        assert (await client.act(**{"X-Playground-Token": token}))[0] == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await client.get("/", **link))[0] == 200, "a link on another site may open the page"

    status, _, headers = await client.get("/nothing")
    assert status == 404
    for path in ("/", "/app.js", "/style.css"):
        headers = (await client.get(path))[2]
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "Access-Control-Allow-Origin" not in headers

    # -- what makes no sense is refused in words, and ends nothing
    senseless: list[Any] = [
        [], {}, {"do": "nothing"}, {"do": "say"}, SAY | {"person": "U0NOBODY"},
        SAY | {"channel": "C0NOWHERE"}, SAY | {"text": " "}, SAY | {"text": "x" * 12_001},
        {"do": "click", "person": "U0YOU", "message": "gone", "action_id": "x"},
        {"do": "submit", "person": "U0YOU", "view_id": "V0", "values": {}},
        {"do": "fault", "person": "U0YOU", "org_id": "22824", "fault": "fire"},
        {"do": "fault", "person": "U0YOU", "org_id": "0", "fault": "hang"},
        {"do": "crowd", "person": "U0YOU", "channel": "C0SUPPORT", "number": "many"},
        {"do": "bot", "person": "U0YOU", "how": "dance"},
    ]  # fmt: skip
    for asked in senseless:
        status, answer = await client.act(asked)
        assert status in (400, 409), asked
        assert answer["error"], asked
    assert (await client.act())[0] == 200


def test_a_second_playground_on_a_port_offers_another(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run("playground", "--page", "--port", str(port), cwd=tmp_path)
    assert ended.status == 2
    assert f"Port {port} cannot be used (Address already in use)" in ended.err
    offered = re.search(r"-m bot playground --page --port (\d+)", ended.err)
    assert offered is not None
    assert int(offered[1]) != port


def test_bot_run_has_nothing_of_the_page(tmp_path: Path) -> None:
    """What `run` imports has no part of the playground."""
    script = (
        "import sys, bot.admin.cli, bot.process, bot.app;"
        "print([name for name in sys.modules if name.startswith('bot.playground')])"
    )
    ended = run("-c", script, cwd=tmp_path, command=("env", BOT[0]))
    assert (ended.status, ended.out.strip()) == (0, "[]")
    assert {command.callback.__name__ for command in app.registered_commands if command.callback}
