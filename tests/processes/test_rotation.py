"""`python -m bot keys rotate`.

All that is stored goes over to the newest secret, under load, and nothing gets lost.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.activities.delivery import Route, State
from bot.admin.rotation import renew_all
from bot.database.engines import PATIENCE, engine_for
from bot.database.stored import ENCRYPTED
from bot.database.tables import accounts, deliveries, metadata, tenants
from bot.database.writer import Database
from bot.encryption import KEY_FILE, Keyring, UndecipherableError
from bot.playground.leadsquared import Account, Behaviour, LeadSquaredStandIn
from bot.playground.slack import SlackStandIn
from bot.playground.workspace import Posted
from support.programs import Ended, Serving, run, run_beside, serving, until
from support.running import TEAM, spelt_for_sqlalchemy, ticket_that

OLD = "the-old-secret-of-the-rotation-0123456789"
NEW = "the-new-secret-of-the-rotation-0123456789"
LOST = "a-secret-that-was-forgotten-long-ago-0123"
HISTORY = 2000
"""Settled activities of earlier days: enough for a rotation to be killed in the middle."""

ACME = Account("4711", "access-key-of-acme", "secret-key-of-acme")


class Stored:
    """What stands in a database, read and written beside the bot."""

    def __init__(self, url: str) -> None:
        self.engine = engine_for(spelt_for_sqlalchemy(url), PATIENCE)

    def all(self) -> list[bytes]:
        """Return every value that is encrypted: all that is binary, except the fingerprints."""
        with self.engine.begin() as connection:
            columns = [
                column
                for table in metadata.sorted_tables
                for column in table.c
                if is_encrypted(column)
            ]
            rows = [
                value
                for column in columns
                for value in connection.execute(sa.select(column)).scalars()
            ]
        return [value for value in rows if value is not None]

    def text(self, seq: int) -> bytes:
        with self.engine.begin() as connection:
            return bytes(
                connection.execute(
                    sa.select(deliveries.c.text).where(deliveries.c.seq == seq)
                ).scalar_one()
            )

    def put(self, rows: Sequence[dict[str, Any]]) -> None:
        with self.engine.begin() as connection:
            connection.execute(deliveries.insert(), rows)
            if (
                connection.dialect.name == "postgresql"
            ):  # SQLite goes on from the last number automatically
                connection.execute(
                    sa.text("SELECT setval('deliveries_seq_seq', max(seq)) FROM deliveries")
                )

    def change(self, seq: int, **values: bytes) -> None:
        with self.engine.begin() as connection:
            connection.execute(deliveries.update().where(deliveries.c.seq == seq).values(**values))


def is_encrypted(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, sa.LargeBinary) and column.name not in ("fingerprint", "digest")


@pytest.fixture
def stored(url: str) -> Iterator[Stored]:
    found = Stored(url)
    yield found
    found.engine.dispose()


def settled(number: int, keyring: Keyring, **changes: Any) -> dict[str, Any]:
    """A row of an activity that was recorded and told long ago."""
    return {
        "seq": number,
        "id": f"history{number}",
        "team_id": TEAM,
        "channel_id": "C0SUPPORT",
        "user_id": "U0ANNA",
        "key": f"history.{number}",
        "tenant_id": 1,
        "account_id": 1,
        "tenant_name": "environment",
        "ticket_id": "143",
        "text": keyring.encrypt(f"words of {number}"),
        "response_url": keyring.encrypt(f"https://hooks.example/{number}"),
        "detail": None,
        "state": State.RECORDED,
        "accepted_at": 1.0,
        "due_at": 1.0,
        "route": Route.THREAD,
        "replied_at": 1.0,
    } | changes


def reads(secret: str, token: bytes) -> bool:
    try:
        Keyring([secret]).decrypt(token)
    except UndecipherableError:
        return False
    return True


def rotated(url: str, *secrets: str, cwd: Path, within: float = 60) -> Ended:
    variables = {"DATABASE_URL": url, "ENCRYPTION_KEYS": ",".join(secrets)}
    return run("keys", "rotate", cwd=cwd, variables=variables, within=within)


# -- under load


@dataclass
class Support:
    """What the people of a support team do while secrets are changed."""

    slack: SlackStandIn
    leadsquared: LeadSquaredStandIn
    texts: list[str]

    async def type(self, ticket: str, *, channel: str = "C0SUPPORT") -> None:
        text = f"number {len(self.texts)}"
        self.texts.append(text)
        assert (
            await self.slack.command(f"{ticket} {text}", channel=channel, person="U0ANNA") is None
        )

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Type one command after the other until the block ends."""
        done = asyncio.Event()

        async def go_on() -> None:
            while not done.is_set():
                await self.type(str(143 + len(self.texts) % 3))
                await asyncio.sleep(0.15)  # a person's pace, and within LeadSquared's limit

        typing = asyncio.create_task(go_on())
        try:
            yield
        finally:
            done.set()
            await typing

    @property
    def answers(self) -> list[Posted]:
        """The final ones; not the notes that something waits."""
        told = [
            message
            for message in self.slack.workspace.messages
            if message.thread_ts and message.is_the_bots
        ]
        return [message for message in told if not message.text.startswith("⏳")]

    async def answered(self) -> None:
        await self.slack.until(lambda: len(self.answers) >= len(self.texts), within=60)


async def serve(process: Serving, slack: SlackStandIn) -> None:
    slack.request_url = f"{await process.url()}/slack/events"
    await process.logged("slack_identified")


async def stopped(*processes: Serving) -> None:
    for process in processes:
        process.signal()
    assert [await process.ended() for process in processes] == [0] * len(processes)


async def test_secrets_are_changed_under_load_and_the_rotation_is_killed_twice(
    environment: dict[str, str],
    url: str,
    stored: Stored,
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> None:
    support = Support(slack, leadsquared, [])
    variables = environment | {"DATABASE_URL": url, "POLL_INTERVAL": "0.2"}
    old, both, new = (variables | {"ENCRYPTION_KEYS": keys} for keys in (OLD, f"{NEW},{OLD}", NEW))
    stored.put([settled(number, Keyring([OLD])) for number in range(1, HISTORY + 1)])
    await add_acme(leadsquared, cwd=tmp_path, variables=old)

    with serving("run", cwd=tmp_path, variables=old) as web:
        await serve(web, slack)
        for behaviour in (Behaviour.FINE, Behaviour.FAILED, Behaviour.HTML):
            await support.type(ticket_that(behaviour))
        await support.answered()
        await stopped(web)
    failed = next(answer for answer in support.answers if "could not be saved" in answer.text)

    with ExitStack() as stack:
        web = stack.enter_context(serving("run", cwd=tmp_path, variables=both))
        worker = stack.enter_context(serving("worker", cwd=tmp_path, variables=both))
        await serve(web, slack)
        await worker.logged("started")
        async with support.busy():
            for reached in (1, HISTORY // 2):
                await killed_at(reached, stored, cwd=tmp_path, variables=both)
            ended = await run_beside("keys", "rotate", cwd=tmp_path, variables=both)
        assert (ended.status, ended.err) == (0, "")
        assert "Remove the others now" in ended.out
        await support.answered()
        await stopped(web, worker)
    assert [value for value in stored.all() if not reads(NEW, value)] == []
    again = await run_beside("keys", "rotate", cwd=tmp_path, variables=new)
    assert (again.status, again.err) == (0, "")
    assert f"the first of ENCRYPTION_KEYS: 0 of {len(stored.all()):,} values" in again.out
    assert "the only one" in again.out

    with serving("run", cwd=tmp_path, variables=new) as web:
        await serve(web, slack)
        leadsquared.tickets[ticket_that(Behaviour.FAILED)] = Behaviour.FINE
        await slack.click(failed, "Send again", person="U0ANNA")
        await support.type("143", channel="C0OTHER")
        await slack.until(lambda: len(support.answers) > len(support.texts))
        await stopped(web)
    assert Keyring([NEW]).decrypt(stored.text(HISTORY // 2)) == f"words of {HISTORY // 2}"
    activities = leadsquared.ledger.activities
    assert sorted(one.text for one in activities) == sorted(set(support.texts) - {"number 2"}), (
        "2 is the unknown one"
    )
    assert [one.text for one in activities if one.org_id == ACME.org_id] == support.texts[-1:]


async def add_acme(
    leadsquared: LeadSquaredStandIn, *, cwd: Path, variables: dict[str, str]
) -> None:
    """Add a second tenant, for one channel, as an administrator does."""
    leadsquared.accounts[ACME.org_id] = ACME
    add = ("add", "acme", "--api-url", leadsquared.url, "--org-id", ACME.org_id)
    keys = f"{ACME.access_key}\n{ACME.secret_key}\n"
    mapping = ("map", "acme", "--team", TEAM, "--channel", "C0OTHER")
    added = await run_beside("tenants", *add, cwd=cwd, variables=variables, typed=keys)
    mapped = await run_beside("tenants", *mapping, cwd=cwd, variables=variables)
    assert (added.status, mapped.status) == (0, 0)


async def killed_at(reached: int, stored: Stored, *, cwd: Path, variables: dict[str, str]) -> None:
    """Begin a rotation, and kill it when it has reached this row and not the last."""
    with serving("keys", "rotate", cwd=cwd, variables=variables) as rotation:
        await until(lambda: reads(NEW, stored.text(reached)))
        rotation.signal(signal.SIGKILL)
        assert await rotation.ended() == -signal.SIGKILL
    assert reads(OLD, stored.text(HISTORY)), "killed in the middle"


async def test_a_process_that_still_writes_with_the_old_secret_is_noticed(
    environment: dict[str, str], url: str, stored: Stored, slack: SlackStandIn, tmp_path: Path
) -> None:
    stored.put([settled(1_000_000 + number, Keyring([OLD])) for number in range(HISTORY)])
    variables = environment | {"DATABASE_URL": url}
    with ExitStack() as stack:
        late = stack.enter_context(
            serving("run", cwd=tmp_path, variables=variables | {"ENCRYPTION_KEYS": OLD})
        )
        await serve(late, slack)
        rotation = stack.enter_context(
            serving(
                "keys",
                "rotate",
                cwd=tmp_path,
                variables=variables | {"ENCRYPTION_KEYS": f"{NEW},{OLD}"},
            )
        )
        await until(lambda: reads(NEW, stored.text(1_000_000)))
        assert await slack.command("143 late", channel="C0SUPPORT", person="U0ANNA") is None
        assert await rotation.ended() == 1

    assert "with a secret that is not the first" in rotation.log
    assert "Remove the others" not in rotation.log
    assert [value for value in stored.all() if not reads(NEW, value)] == [], (
        "encrypted anew all the same"
    )


# -- what changes during a rotation, and what cannot be read


class ChangesBetween(Keyring):
    """A keyring during whose use somebody else changes a row between its read and its write."""

    def __init__(self, secrets: list[str], stored: Stored, change: bytes) -> None:
        super().__init__(secrets)
        self._stored, self._change = stored, change
        self._changed = False

    def renew(self, token: bytes) -> bytes | None:
        if not self._changed:
            self._changed = True
            self._stored.change(1, text=self._change)
        return super().renew(token)


async def test_a_value_that_changes_meanwhile_is_never_overwritten_with_the_older_one(
    url: str, stored: Stored
) -> None:
    stored.put([settled(number, Keyring([OLD])) for number in (1, 2)])
    newer = Keyring([NEW]).encrypt("newer words")
    running = Database(spelt_for_sqlalchemy(url))
    try:
        rotation = await renew_all(running, ChangesBetween([NEW, OLD], stored, newer))
    finally:
        await running.close()

    assert stored.text(1) == newer
    assert Keyring([NEW]).decrypt(stored.text(2)) == "words of 2"
    assert (rotation.renewed, rotation.late) == (3, 0)


def test_what_cannot_be_read_stays_as_it_is_until_its_secret_is_added_back(
    url: str, stored: Stored, tmp_path: Path
) -> None:
    lost = Keyring([LOST])
    stored.put(
        [
            settled(1, Keyring([OLD])),
            settled(2, lost, detail=lost.encrypt("LeadSquared's words")),
            settled(3, Keyring([NEW])),
        ]
    )
    with stored.engine.begin() as connection:
        keys = {"access_key": lost.encrypt("access"), "secret_key": lost.encrypt("secret")}
        connection.execute(accounts.insert().values(id=1, api_host="x.leadsquared.com", org_id="1"))
        rest = {
            "api_url": "https://x.leadsquared.com",
            "org_id": "1",
            "calls_per_window": 25,
            "account_id": 1,
        }
        connection.execute(
            tenants.insert().values(name="acme", created_at=1.0, updated_at=1.0, **rest, **keys)
        )
    before = stored.all()

    ended = rotated(url, NEW, OLD, cwd=tmp_path)
    assert ended.status == 1
    assert "Re-encrypted with the first of ENCRYPTION_KEYS: 2 of 9 values" in ended.out
    (problem,) = ended.problems
    for words in (
        "2 keys of tenants",
        "3 values of activities",
        "cannot be decrypted",
        "add the newest secret of that time",
    ):
        assert words in problem
    assert "Remove the others" not in ended.out
    unread = [value for value in before if reads(LOST, value)]
    assert [value for value in stored.all() if reads(LOST, value)] == unread, "byte for byte"
    assert sum(reads(NEW, value) for value in stored.all()) == 4

    fixed = rotated(url, NEW, OLD, LOST, cwd=tmp_path)
    assert (fixed.status, fixed.err) == (0, "")
    assert "Remove the others now" in fixed.out
    assert all(reads(NEW, value) for value in stored.all())


# -- what follows from it, in words


def test_before_the_secrets_change_places_nobody_is_told_that_one_may_go(
    url: str, stored: Stored, tmp_path: Path
) -> None:
    stored.put([settled(1, Keyring([OLD]))])
    before = stored.all()
    ended = rotated(url, OLD, NEW, cwd=tmp_path)

    assert (ended.status, ended.err) == (0, "")
    assert "encrypted with the first of ENCRYPTION_KEYS already" in ended.out
    assert "put the new one in front of it" in ended.out
    assert "newest" not in ended.out
    assert "Remove the others" not in ended.out
    assert stored.all() == before


def test_where_nothing_is_stored_no_secret_is_said_to_be_needless(
    url: str, stored: Stored, tmp_path: Path
) -> None:
    assert stored.all() == []
    ended = rotated(url, NEW, OLD, cwd=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    assert "The database has no encrypted value" in ended.out
    assert "remove" not in ended.out


def test_a_damaged_value_is_told_apart_from_one_whose_secret_is_missing(
    url: str, stored: Stored, tmp_path: Path
) -> None:
    stored.put([settled(1, Keyring([OLD])), settled(2, Keyring([OLD]), text=b"\x00 no value \xff")])
    ended = rotated(url, NEW, OLD, cwd=tmp_path)

    assert ended.status == 1
    assert "1 values of activities cannot be decrypted and were not changed" in ended.err
    assert "restore" in ended.err
    assert stored.text(2) == b"\x00 no value \xff"
    assert reads(NEW, stored.text(1))


# -- the secret that is generated beside a SQLite file


def test_the_generated_secret_is_left_by_hand_and_the_refusal_says_how(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bot.db'}"
    variables = {"DATABASE_URL": url}
    keys = "access-key-of-the-admin\nsecret-key-of-the-admin\n"
    add = ("tenants", "add", "acme", "--api-url", "https://x.leadsquared.com", "--org-id", "1")
    assert run(*add, cwd=tmp_path, variables=variables, typed=keys).status == 0
    generated = (tmp_path / KEY_FILE).read_text()
    stored = Stored(url)
    before = stored.all()

    refused = run("keys", "rotate", cwd=tmp_path, variables=variables)
    assert (refused.status, refused.out) == (2, "")
    (problem,) = refused.problems
    assert f"the text of {tmp_path / KEY_FILE}" in problem
    assert "With several bot processes, put the new secret last at first" in problem
    assert generated not in refused.said
    assert stored.all() == before

    forgotten = rotated(url, NEW, cwd=tmp_path)
    assert forgotten.status == 1
    assert f"it may be the one in {tmp_path / KEY_FILE}" in forgotten.err
    assert stored.all() == before

    ended = rotated(url, NEW, generated, cwd=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    assert [Keyring([NEW]).decrypt(value) for value in stored.all()] == keys.split()
    assert (tmp_path / KEY_FILE).read_text() == generated, "whoever wrote it takes it away"
    stored.engine.dispose()


def test_every_column_that_is_encrypted_is_rotated() -> None:
    rotated_columns = {column for encrypted in ENCRYPTED for column in encrypted.columns}
    assert rotated_columns == {
        column for table in metadata.sorted_tables for column in table.c if is_encrypted(column)
    }
