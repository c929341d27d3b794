"""A thousand installations that begin and end at once, by two processes on one database."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from slack_sdk.oauth.installation_store import Installation as Authorization

from bot.database.tables import installations
from bot.database.writer import Database, DatabaseUnavailableError
from bot.encryption import Keyring
from bot.installations.access import Ended, Granted, NotInstalled
from bot.installations.known import KnownInstallations
from bot.installations.store import InstallationStore
from support.running import ENCRYPTION_KEY, spelt_for_sqlalchemy

THOUSAND = 1000
AT_ONCE = 100
"""As many people as wait for the database at the same moment; the others have their turn."""


@pytest.fixture
def keyring() -> Keyring:
    return Keyring([ENCRYPTION_KEY])


@pytest.fixture
async def stores(url: str, keyring: Keyring) -> AsyncIterator[list[InstallationStore]]:
    databases = [Database(spelt_for_sqlalchemy(url)) for _ in range(2)]
    yield [InstallationStore(one, keyring) for one in databases]
    for one in databases:
        await one.close()


def authorization(team_id: str, token: str, bot_user: str = "U0BOT") -> Authorization:
    return Authorization(
        app_id="A0",
        team_id=team_id,
        team_name=f"Team {team_id}",
        bot_token=token,
        bot_user_id=bot_user,
        bot_scopes=["chat:write"],
        user_id="U0ANNA",
    )


async def test_a_thousand_installs_and_uninstalls_lose_and_mix_nothing(
    stores: list[InstallationStore], keyring: Keyring
) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def live(number: int) -> None:
        one, other = stores[number % 2], stores[(number + 1) % 2]
        team_id = f"T{number}"
        async with turns:
            await stored(one, authorization(team_id, f"xoxb-first-{number}"))
            if number % 4 == 1:
                assert await other.end(team_id, "app_uninstalled")
            if number % 4 == 2:
                assert await one.end(team_id, "app_uninstalled")
                await stored(other, authorization(team_id, f"xoxb-second-{number}"))
            if number % 4 == 3:
                both = (f"xoxb-second-{number}", f"xoxb-third-{number}")
                await asyncio.gather(
                    *(stored(each, authorization(team_id, token))
                      for each, token in zip(stores, both, strict=True))
                )  # fmt: skip

    await asyncio.gather(*(live(number) for number in range(THOUSAND)))
    for store in stores:
        known = KnownInstallations(store, keyring, poll_interval=5)
        await known.read()
        assert known.number == THOUSAND * 3 // 4
        for number in range(THOUSAND):
            found = known.access(None, f"T{number}")
            match number % 4:
                case 0:
                    assert found == Granted(f"xoxb-first-{number}")
                case 1:
                    assert found == Ended("app_uninstalled")
                case 2:
                    assert found == Granted(f"xoxb-second-{number}")
                case _:
                    assert isinstance(found, Granted)
                    assert found.token in (f"xoxb-second-{number}", f"xoxb-third-{number}")
        assert known.access(None, "T1000") == NotInstalled(by_oauth=True)


async def stored(store: InstallationStore, installation: Authorization) -> None:
    """Store as a person would: again, when the database was too busy."""
    while True:
        try:
            await store.async_save(installation)
        except DatabaseUnavailableError:
            continue
        return


async def test_a_change_of_another_process_is_read(
    stores: list[InstallationStore], keyring: Keyring
) -> None:
    one, other = stores
    known = KnownInstallations(one, keyring, poll_interval=5)
    await known.read()
    for token in ("xoxb-first", "xoxb-second"):
        await other.async_save(authorization("T1", token))
        await known.read()
        assert known.access(None, "T1") == Granted(token)
        await other.end("T1", "removed")
        await known.read()
        assert known.access(None, "T1") == Ended("removed")


async def test_what_is_stored_is_encrypted(
    stores: list[InstallationStore], url: str, keyring: Keyring
) -> None:
    rotating = authorization("T1", "xoxe.xoxb-secret")
    rotating.bot_refresh_token, rotating.bot_token_expires_at = "xoxe-1-secret", 2_000_000_000
    await stores[0].async_save(rotating)
    engine = sa.create_engine(spelt_for_sqlalchemy(url))
    with engine.connect() as connection:
        row = connection.execute(sa.select(installations)).mappings().one()
    engine.dispose()
    assert keyring.decrypt(row["bot_token"]) == "xoxe.xoxb-secret"
    assert keyring.decrypt(row["refresh_token"]) == "xoxe-1-secret"
    assert "secret" not in str(dict(row))
    found = await stores[1].async_find_bot(enterprise_id=None, team_id="T1")
    assert found is not None
    assert found.bot_token == "xoxe.xoxb-secret"


async def first_known(store: InstallationStore, keyring: Keyring) -> KnownInstallations:
    """Install the bot with a first token, which is used."""
    await stored(store, authorization("T1", "xoxb-first"))
    known = KnownInstallations(store, keyring, poll_interval=5)
    await known.read()
    assert known.access(None, "T1") == Granted("xoxb-first")
    return known


async def test_a_rejected_token_ends_its_installation_although_it_was_encrypted_anew(
    stores: list[InstallationStore], keyring: Keyring
) -> None:
    store, _ = stores
    known = await first_known(store, keyring)
    anew = installations.update().values(bot_token=keyring.encrypt("xoxb-first"))
    await store._database.run(lambda connection: connection.execute(anew))
    await store.end_token("T1", "xoxb-first", "token_revoked")
    await known.read()
    assert known.access(None, "T1") == Ended("token_revoked")


async def test_a_late_refusal_of_an_old_token_ends_no_newer_installation(
    stores: list[InstallationStore], keyring: Keyring
) -> None:
    store, _ = stores
    known = await first_known(store, keyring)
    known.refuse("xoxb-first", "token_expired")
    await stored(store, authorization("T1", "xoxb-second"))
    await known.read()
    for word in ("token_expired", "token_revoked"):
        known.refuse("xoxb-first", word)
        assert known.access(None, "T1") == Granted("xoxb-second")
    await store.end_token("T1", "xoxb-first", "token_revoked")
    await known.read()
    assert known.access(None, "T1") == Granted("xoxb-second")
