"""The dependency audit (`make audit`), against a stand-in for an advisory service (OSV's API)."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from support.programs import ROOT, Ended, run_beside

PINNED = (
    f"leftpad==1.3.0 \\\n    --hash=sha256:{'0' * 64}\n"
    f"rightpad==2.0 \\\n    --hash=sha256:{'1' * 64}\n"
)
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


async def audit(folder: Path, url: str, *, pinned: str = PINNED, within: int = 60) -> Ended:
    (folder / "requirements.txt").write_text(pinned)
    asked = ("-r", str(folder / "requirements.txt"), "--osv-url", url)
    variables = {"HOME": str(folder), "AUDIT_WITHIN": str(within)}
    return await run_beside(
        *asked, cwd=folder, variables=variables, command=(str(ROOT / ".ci" / "audit"),)
    )


async def test_where_nothing_is_known_it_says_so(service: Service, tmp_path: Path) -> None:
    ended = await audit(tmp_path, service.url)

    assert (ended.status, ended.said) == (0, "Audited: no known vulnerability.\n")
    assert set(service.asked) == {"leftpad", "rightpad"}


async def test_a_known_vulnerability_fails_with_the_version_that_fixes_it(
    service: Service, tmp_path: Path
) -> None:
    service.known["leftpad"] = [ADVISORY]
    ended = await audit(tmp_path, service.url)

    assert ended.status == 1, ended.said
    assert re.search(r"leftpad +1\.3\.0 +\S+ +1\.3\.1", ended.said)
    assert "make lock" in ended.said


@pytest.mark.parametrize(
    "says", [web.Response(status=503, text="away"), web.Response(text="<html>welcome</html>")]
)
async def test_an_answer_that_cannot_be_relied_on_is_no_audit_and_no_failure(
    service: Service, tmp_path: Path, says: web.Response
) -> None:
    service.says = says
    not_audited(await audit(tmp_path, service.url))


async def test_a_service_that_cannot_be_reached_or_does_not_answer_is_no_failure(
    service: Service, tmp_path: Path
) -> None:
    not_audited(await audit(tmp_path, "http://127.0.0.1:9/v1/query"))
    service.hangs = True
    not_audited(await audit(tmp_path, service.url, within=4))


def not_audited(ended: Ended) -> None:
    assert ended.status == 0, ended.said
    assert "NOT AUDITED" in ended.said
    assert "Audited:" not in ended.said


async def test_requirements_that_are_not_pinned_fail(service: Service, tmp_path: Path) -> None:
    ended = await audit(tmp_path, service.url, pinned="leftpad>=1.3.0\n")

    assert ended.status == 2, ended.said
    assert service.asked == []


def test_ci_audits() -> None:
    assert "make audit" in (ROOT / ".ci" / "run").read_text()
