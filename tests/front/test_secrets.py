"""A secret that is another one, or missing.

Nothing is rejected in bulk, and nothing is encrypted beside old rows.
"""

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest
import sqlalchemy as sa

from bot.database.tables import deliveries, tenants
from bot.encryption import KEY_FILE, Keyring
from bot.leadsquared.tenant import Tenant
from bot.playground.leadsquared import LeadSquaredStandIn
from bot.tenants.directory import Scope
from support.programs import PATIENCE, Ended, run, run_beside
from support.running import ENCRYPTION_KEY, TEAM, Bot, Start

ANOTHER = "another-secret-that-is-long-enough-for-it"


@pytest.fixture
def on_database(environment: dict[str, str], url: str) -> dict[str, str]:
    return environment | {"DATABASE_URL": url, "POLL_INTERVAL": "0.2"}


async def waiting(bot: Bot, count: int = 1) -> None:
    """Have so many activities wait that no worker sends."""
    bot.parts.worker.stop()
    for number in range(count):
        assert await bot.type(f"{143 + number % 3} hello {number}") is None


async def states(bot: Bot) -> list[str]:
    return list(
        await bot.parts.database.run(
            lambda connection: (
                connection.execute(sa.select(deliveries.c.state).order_by(deliveries.c.seq))
                .scalars()
                .all()
            )
        )
    )


async def test_a_start_with_another_secret_is_refused_and_loses_nothing(
    start: Start, on_database: dict[str, str], tmp_path: Path, leadsquared: LeadSquaredStandIn
) -> None:
    async with start(on_database) as bot:
        await waiting(bot, 10)

    ended = await run_beside(
        "run", cwd=tmp_path, variables=on_database | {"ENCRYPTION_KEYS": ANOTHER}
    )
    assert ended.status == 2
    (line,) = [line for line in ended.problems if "ENCRYPTION_KEYS" in line]
    assert (
        "none of the 22 stored values can be decrypted" in line
    )  # two keys; a text and a response_url each
    assert leadsquared.ledger.calls == []

    async with start(on_database) as bot:
        await bot.at_rest()
        assert await states(bot) == ["recorded"] * 10


async def unreadable_tenant(bot: Bot) -> None:
    """Add a tenant for a channel whose keys are encrypted with another secret."""
    await bot.parts.directory.add(Tenant("lost", "https://a.leadsquared.com", "9", "key", "key"))
    await bot.parts.directory.map("lost", Scope(team_id=TEAM, channel_id="C0OTHER"))
    key = Keyring([ANOTHER]).encrypt("key")
    change = tenants.update().where(tenants.c.name == "lost").values(access_key=key, secret_key=key)
    await bot.parts.database.run(lambda connection: connection.execute(change))


async def test_one_unreadable_tenant_of_several_keeps_the_others_going_and_its_own_waiting(
    start: Start, on_database: dict[str, str], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async with start(on_database) as bot:
        await unreadable_tenant(bot)
    async with start(on_database) as bot:
        assert await bot.type("143 for all") is None
        assert "Recorded" in (await bot.answered()).text
        assert await bot.type("144 kept", channel="C0OTHER") is None
        note = await bot.answered(messages=2)
        assert "can't decrypt this activity" in note.text
        assert "ticket 144" in note.text
        assert await states(bot) == ["recorded", "accepted"]
        async with aiohttp.ClientSession() as session, session.get(f"{bot.url}/readyz") as answer:
            assert answer.status == 200
            assert "cannot be decrypted" in (await answer.json())["encryption"]
    assert "values_cannot_be_decrypted" in capfd.readouterr().err
    checked = await run_beside("check", cwd=tmp_path, variables=on_database)
    assert re.search(r"✗ Stored values +1 of \d+ stored values cannot be decrypted", checked.out)
    assert checked.status == 1

    async with start(on_database | {"ENCRYPTION_KEYS": f"{ENCRYPTION_KEY},{ANOTHER}"}) as bot:
        await bot.parts.directory.replace(
            Tenant(
                "lost",
                on_database["LEADSQUARED_API_URL"],
                "22824",
                "access-key-of-the-tests",
                "secret-key-of-the-tests",
            )
        )
        await bot.at_rest()
        assert "another LeadSquared account" in (await bot.answered()).text, (
            "it was decrypted, and moved"
        )


async def test_what_comes_back_with_its_secret_is_recorded_at_once(
    start: Start, on_database: dict[str, str], leadsquared: LeadSquaredStandIn
) -> None:
    async with start(on_database) as bot:
        await waiting(bot)
        text = Keyring([ANOTHER]).encrypt("hello from before")
        await bot.parts.database.run(
            lambda connection: connection.execute(deliveries.update().values(text=text))
        )
    async with start(on_database) as bot:
        note = await bot.answered()
        assert "can't decrypt this activity" in note.text
    async with start(on_database | {"ENCRYPTION_KEYS": f"{ENCRYPTION_KEY},{ANOTHER}"}) as bot:
        await bot.slack.until(lambda: "Recorded" in note.text, within=10)
        await bot.at_rest()
    assert [activity.text for activity in leadsquared.ledger.activities] == ["hello from before"]


async def test_what_stays_unreadable_ends_as_usual(
    start: Start, on_database: dict[str, str]
) -> None:
    async with start(on_database) as bot:
        await unreadable_tenant(bot)
    async with start(on_database | {"RETRY_FOR": "2"}) as bot:
        assert await bot.type("144 kept", channel="C0OTHER") is None
        await bot.at_rest()
        assert "ENCRYPTION_KEYS" in (await bot.answered()).text


async def test_a_backlog_from_long_ago_is_not_rejected_when_its_tenant_cannot_be_read(
    start: Start, on_database: dict[str, str]
) -> None:
    async with start(on_database) as bot:
        await unreadable_tenant(bot)
        bot.parts.worker.stop()
        for number in range(5):
            await bot.type(f"144 kept {number}", channel="C0OTHER")
        old = {
            "accepted_at": deliveries.c.accepted_at - 86_400,
            "due_at": deliveries.c.due_at - 86_400,
        }
        await bot.parts.database.run(
            lambda connection: connection.execute(deliveries.update().values(**old))
        )
    async with start(on_database) as bot:
        assert "can't decrypt this activity" in (await bot.answered()).text
        async with asyncio.timeout(PATIENCE):  # a try in between has one claimed
            while await states(bot) != ["accepted"] * 5:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("command", [("run",), ("check",), ("tenants", "list"), ("restored",)])
def test_a_missing_key_file_is_not_made_anew_beside_old_rows(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    variables = {
        "SLACK_BOT_TOKEN": "xoxb-1",
        "SLACK_SIGNING_SECRET": "0" * 32,
        "SLACK_API_URL": "http://127.0.0.1:9/",
    }
    added = run(
        "tenants", "add", "acme", "--url", "https://a.leadsquared.com", "--org-id", "1",
        cwd=tmp_path, variables=variables, typed="access\nsecret\n",
    )  # fmt: skip
    assert added.status == 0
    (tmp_path / "data" / KEY_FILE).unlink()

    ended = run(*command, cwd=tmp_path, variables=variables)
    assert ended.status != 0
    assert "encryption.key is missing" in ended.said
    assert "2 values" in ended.said
    assert not (tmp_path / "data" / KEY_FILE).exists()


async def test_waiting_for_a_secret_is_not_a_failure_of_leadsquareds(
    start: Start, on_database: dict[str, str], leadsquared: LeadSquaredStandIn
) -> None:
    async with start(on_database) as bot:
        await unreadable_tenant(bot)
    async with start(on_database) as bot:
        assert await bot.type("144 kept", channel="C0OTHER") is None
        await bot.answered()
    assert leadsquared.ledger.calls == []


def test_a_tenant_is_not_added_with_a_secret_that_decrypts_nothing(tmp_path: Path) -> None:
    def add(name: str, secret: str) -> Ended:
        arguments = ("tenants", "add", name, "--url", "https://a.leadsquared.com", "--org-id", "1")
        return run(
            *arguments,
            cwd=tmp_path,
            variables={"ENCRYPTION_KEYS": secret},
            typed="access\nsecret\n",
        )

    assert add("one", ENCRYPTION_KEY).status == 0
    refused = add("two", ANOTHER)
    assert refused.status == 2
    assert "none of the 2 stored values can be decrypted" in refused.err
    assert add("two", ENCRYPTION_KEY).status == 0
