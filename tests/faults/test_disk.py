"""SQLite's disk is full, or read-only.

For a while as the bot runs, when it dies during that time, and when it starts.
"""

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from faults.audit import AtOnce
from faults.bench import Bench
from faults.forms import forms
from support.programs import Serving, until
from support.rights import AS_A_PERSON

LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="a process is given its limits as Linux does it"
)
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
SLACK_WAITS = 3.0

Spoil = Callable[[Serving, Path], AbstractContextManager[None]]


@contextmanager
def full(process: Serving, _folder: Path) -> Iterator[None]:
    """No file may be written any more.

    What a process then gets of the system is an error at each write.
    """
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        if process.status is None:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, UNLIMITED)


@contextmanager
def read_only(_process: Serving, folder: Path) -> Iterator[None]:
    flag = folder / "read-only"
    flag.touch()
    try:
        yield
    finally:
        flag.unlink()


SPOILT = pytest.mark.parametrize("spoilt", [full, read_only])


@LINUX
@SPOILT
@forms("rounds", short=[1], long=[10])
async def test_a_disk_that_takes_nothing_for_a_while(
    bench: Bench, spoilt: Spoil, rounds: int, tmp_path: Path
) -> None:
    bench.leadsquared.late = 0.5
    process = await bench.start({"FAULTS_READ_ONLY": str(tmp_path / "read-only")})
    for _ in range(rounds):
        await sent_and_not_settled(bench)
        with spoilt(process, tmp_path):
            await told_that_it_was_not_taken(bench, surely=spoilt is read_only)
            await answered_by_leadsquared(bench)
        await bench.rest()
    ledgers = bench.audit()
    assert {row.state for row in ledgers.rows} == {"recorded"}, "it was only written down later"


@LINUX
@SPOILT
@forms("rounds", short=[1], long=[10])
async def test_a_process_that_dies_while_its_disk_takes_nothing(
    bench: Bench, spoilt: Spoil, rounds: int, tmp_path: Path
) -> None:
    bench.leadsquared.late = 0.5
    for _ in range(rounds):
        process = await bench.start({"FAULTS_READ_ONLY": str(tmp_path / "read-only")})
        await sent_and_not_settled(bench)
        with spoilt(process, tmp_path):
            await told_that_it_was_not_taken(bench, surely=spoilt is read_only)
            await answered_by_leadsquared(bench)
            await bench.kill(process)
        bench.database.end_leases()
    await bench.start()
    await bench.rest()
    ledgers = bench.audit()
    assert {row.state for row in ledgers.rows} >= {"unknown"}, (
        "no process could write the answer down"
    )


@LINUX
async def test_a_start_on_a_read_only_disk_sends_nothing_until_it_can_be_written(
    bench: Bench, tmp_path: Path
) -> None:
    process = await bench.start()
    bench.leadsquared.late = 0.5
    await sent_and_not_settled(bench)
    await bench.kill(process)
    before = len(bench.leadsquared.posts)
    with protected(tmp_path):
        await bench.serves(bench.begin(by=AS_A_PERSON))
        await told_that_it_was_not_taken(bench, surely=True)
        assert len(bench.leadsquared.posts) == before
    bench.database.end_leases()
    await bench.rest()
    bench.audit()


@contextmanager
def protected(folder: Path) -> Iterator[None]:
    """Let no user write to the database or its folder. Root still may."""
    files = [*folder.glob("bot.db*")]
    try:
        for file in files:
            file.chmod(0o444)
        folder.chmod(0o555)
        yield
    finally:
        folder.chmod(0o755)
        for file in files:
            file.chmod(0o644)


async def sent_and_not_settled(bench: Bench) -> None:
    """Type a few, and wait until LeadSquared has them and has not answered yet."""
    before = len(bench.leadsquared.posts)
    for typed in await bench.type_all(4):
        assert typed.at_once is AtOnce.ACKNOWLEDGED
    await until(lambda: len(bench.leadsquared.posts) == before + 4)


async def told_that_it_was_not_taken(bench: Bench, *, surely: bool) -> None:
    """Type a few, which are all told in time.

    A disk that is full fails at the commit, where the bot does not trust it.
    """
    for typed in await bench.type_all(4):
        assert typed.at_once in ({AtOnce.REFUSED} if surely else {AtOnce.REFUSED, AtOnce.UNSURE})
        assert typed.ended - typed.began < SLACK_WAITS


async def answered_by_leadsquared(bench: Bench) -> None:
    await until(lambda: not any(post.spoilt for post in bench.leadsquared.posts))
