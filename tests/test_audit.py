"""The audit of the dependencies (`make audit`), against a stand-in for the advisory service that speaks OSV's protocol."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from postgres import Ended, run_beside

ROOT = Path(__file__).parent.parent
PINNED = f"leftpad==1.3.0 \\\n    --hash=sha256:{'0' * 64}\nrightpad==2.0 \\\n    --hash=sha256:{'1' * 64}\n"
ADVISORY = {
    "schema_version": "1.6.0",
    "id": "GHSA-aaaa-bbbb-cccc",
    "aliases": ["CVE-2026-0001"],
    "summary": "pads on the wrong side",
    "affected": [
        {
            "package": {"name": "leftpad", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.3.1"}]}],
        }
    ],
}
LINE = "leftpad 1.3.0: CVE-2026-0001 (GHSA-aaaa-bbbb-cccc); fixed in 1.3.1"


@dataclass
class Service:
    """OSV, as far as pip-audit asks it."""

    known: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    says: web.Response | None = None  # instead of an answer
    hangs: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    async def query(self, request: web.Request) -> web.Response:
        package = (await request.json())["package"]["name"]
        self.asked.append(package)
        if self.hangs:
            await self.over.wait()
        if self.says is not None:
            return web.Response(status=self.says.status, text=self.says.text)
        return web.json_response({"vulns": self.known[package]} if package in self.known else {})


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    stand_in = Service()
    application = web.Application()
    application.router.add_post("/v1/query", stand_in.query)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    stand_in.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1/query"  # type: ignore[attr-defined]
    yield stand_in
    stand_in.over.set()
    await runner.cleanup()


async def audit(folder: Path, url: str, *, pinned: str = PINNED, accepted: str = "", within: float = 60) -> Ended:
    (folder / "requirements.txt").write_text(pinned)
    (folder / "more.txt").write_text(pinned)  # a package in both files is one
    (folder / "accepted.toml").write_text(accepted)
    options = ("--osv-url", url, "--accepted", "accepted.toml", "--within", str(within))
    script = (str(ROOT / ".ci" / "audit.py"), "requirements.txt", "more.txt", *options)
    return await run_beside(*script, cwd=folder, variables={"HOME": str(folder)}, command=(sys.executable,))


async def test_where_nothing_is_known_the_packages_are_counted(service: Service, tmp_path: Path) -> None:
    ended = await audit(tmp_path, service.url)

    assert (ended.status, ended.said) == (0, "Audited, 2 packages, nothing known.\n")
    assert set(service.asked) == {"leftpad", "rightpad"}


async def test_a_known_vulnerability_fails_and_is_said_in_words(service: Service, tmp_path: Path) -> None:
    service.known["leftpad"] = [ADVISORY]
    ended = await audit(tmp_path, service.url)

    assert ended.status == 1, ended.said
    assert f"  {LINE}\n" in ended.said
    assert "make lock" in ended.said
    assert "nothing" not in ended.said


async def test_one_that_nobody_has_mended_yet_says_so(service: Service, tmp_path: Path) -> None:
    service.known["rightpad"] = [ADVISORY | {"aliases": []}]
    ended = await audit(tmp_path, service.url)

    assert ended.status == 1, ended.said
    assert "  rightpad 2.0: GHSA-aaaa-bbbb-cccc; no version mends it yet\n" in ended.said


@pytest.mark.parametrize("name", ["GHSA-aaaa-bbbb-cccc", "CVE-2026-0001"])
@pytest.mark.parametrize(("until", "status"), [("9999-12-31", 0), ("2026-01-01", 1)])
async def test_what_is_accepted_passes_until_its_day(
    service: Service, tmp_path: Path, name: str, until: str, status: int
) -> None:
    service.known["leftpad"] = [ADVISORY]
    ended = await audit(tmp_path, service.url, accepted=f'[{name}]\nreason = "never padded"\nuntil = {until}\n')

    assert ended.status == status, ended.said
    assert (f"Accepted: {LINE}; never padded\n" in ended.said) is (status == 0)
    assert ("nothing else known" in ended.said) is (status == 0)


@pytest.mark.parametrize("accepted", ["[GHSA]\nuntil = 9999-12-31\n", '[GHSA]\nreason = "x"\nuntil = "soon"\n', "["])
async def test_what_is_accepted_without_a_reason_or_a_day_fails(
    service: Service, tmp_path: Path, accepted: str
) -> None:
    ended = await audit(tmp_path, service.url, accepted=accepted)

    assert ended.status == 2, ended.said
    assert "needs a reason and a date" in ended.said
    assert service.asked == []


ODD = {
    "an error": web.Response(status=503, text="away"),
    "no JSON": web.Response(text="<html>welcome</html>"),
    "another shape": web.Response(text='{"vulns": 5}'),
    "a list": web.Response(text="[1, 2]"),
}


@pytest.mark.parametrize("odd", ODD)
async def test_an_answer_that_cannot_be_relied_on_is_no_audit_and_no_failure(
    service: Service, tmp_path: Path, odd: str
) -> None:
    service.says = ODD[odd]
    not_audited(await audit(tmp_path, service.url))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9/v1/query", "127.0.0.1 cannot be reached (connection refused)"),
        ("http://no.such.host.invalid/v1/query", "no.such.host.invalid cannot be reached (name not known)"),
    ],
)
async def test_a_service_that_cannot_be_reached_is_no_audit_and_no_failure(
    tmp_path: Path, url: str, reason: str
) -> None:
    ended = await audit(tmp_path, url)
    not_audited(ended)
    assert f"WAS NOT AUDITED: {reason}\n" in ended.said


async def test_a_service_that_does_not_answer_is_given_up_in_time(service: Service, tmp_path: Path) -> None:
    service.hangs = True
    ended = await audit(tmp_path, service.url, within=2)
    not_audited(ended)
    assert "within 2 s" in ended.said


def not_audited(ended: Ended) -> None:
    assert ended.status == 0, ended.said
    assert re.search(r"WAS NOT AUDITED: \S", ended.said), ended.said
    assert "Audited," not in ended.said
    assert "nothing" not in ended.said.lower()
    assert "Traceback" not in ended.said


@pytest.mark.parametrize("pinned", ["leftpad>=1.3.0\n", "leftpad==1.3.0\n", "leftpad=!\n"])
async def test_requirements_that_cannot_be_read_or_are_not_pinned_fail(
    service: Service, tmp_path: Path, pinned: str
) -> None:
    ended = await audit(tmp_path, service.url, pinned=pinned)

    assert ended.status == 2, ended.said
    assert "cannot be made: " in ended.said
    assert service.asked == []


def test_the_repositorys_own_pins_are_what_is_audited() -> None:
    recipe = (ROOT / "Makefile").read_text().split("\naudit:")[1].split("\n\n")[0]
    assert "$(BIN)/python .ci/audit.py\n" in f"{recipe}\n"
    assert "make audit" in (ROOT / ".ci" / "run").read_text()
