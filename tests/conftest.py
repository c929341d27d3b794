"""The whole application between the two stand-ins: signed requests in, HTTP out, a database on disk."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from postgres import database

from bot.activities.delivery import Delivery
from bot.app import Parts, build
from bot.database.schema import migrate_database
from bot.logs import configure_logging
from bot.playground.leadsquared import Account, Behaviour, LeadSquaredStandIn
from bot.playground.slack import BOT_TOKEN, SIGNING_SECRET, SlackStandIn
from bot.playground.workspace import Channel, Person, Posted, Workspace
from bot.process import Process
from bot.settings import Settings, load_settings

TEAM = "T0HOME"
ACCOUNT = Account("22824", "access-key-of-the-tests", "secret-key-of-the-tests")
ENCRYPTION_KEY = "an-encryption-secret-of-the-tests-1234"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's machine, and no file of the repository's, reaches a test."""
    for name in os.environ:
        if name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def workspace() -> Workspace:
    """A workspace with a channel for each way in which the bot may or may not post."""
    channels = [
        Channel("C0SUPPORT", "support"),
        Channel("C0OTHER", "other"),
        Channel("C0PRIVATE", "private", refuses="channel_not_found", hides="channel_not_found"),
        Channel("D0DIRECT", "directmessage", refuses="channel_not_found", hides="channel_not_found"),
        Channel("C0ELSEWHERE", "elsewhere", refuses="not_in_channel", hides="not_in_channel"),
        Channel("C0ARCHIVED", "archived", refuses="is_archived"),
        Channel("C0ADMINS", "admins", refuses="restricted_action"),
    ]
    people = [
        Person("U0ANNA", "Anna", TEAM, "Asia/Kolkata"),
        Person("U0BEN", "Ben", TEAM),
        Person("U0GUEST", "Guest", "T0PARTNER"),
    ]
    return Workspace(
        TEAM,
        {channel.id: channel for channel in channels},
        {person.id: person for person in people},
        groups={"S0HELP": "helpdesk"},
    )


TICKETS = {"143": Behaviour.FINE, "144": Behaviour.FINE, "145": Behaviour.FINE} | {
    str(1000 + number): behaviour for number, behaviour in enumerate(Behaviour)
}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of each kind, as DATABASE_URL names it."""
    with ExitStack() as stack:
        given = f"sqlite:///{tmp_path / 'bot.db'}" if request.param == "sqlite" else stack.enter_context(database())
        migrate_database(spelt_for_sqlalchemy(given))
        yield given


def spelt_for_sqlalchemy(url: str) -> str:
    """Spell a DATABASE_URL as the product does for SQLAlchemy."""
    return load_settings(env_file=None, database_url=url, encryption_keys=ENCRYPTION_KEY).sqlalchemy_url


def ticket_that(behaviour: Behaviour) -> str:
    return str(1000 + list(Behaviour).index(behaviour))


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandIn]:
    async with SlackStandIn(workspace()) as stand_in:
        yield stand_in


@pytest.fixture
async def leadsquared() -> AsyncIterator[LeadSquaredStandIn]:
    async with LeadSquaredStandIn([ACCOUNT], TICKETS) as stand_in:
        yield stand_in


@pytest.fixture
def environment(slack: SlackStandIn, leadsquared: LeadSquaredStandIn, tmp_path: Path) -> dict[str, str]:
    """The variables that a bot between the stand-ins is started with."""
    return {
        "SLACK_BOT_TOKEN": BOT_TOKEN,
        "SLACK_SIGNING_SECRET": SIGNING_SECRET,
        "SLACK_API_URL": slack.api_url,
        "LEADSQUARED_API_URL": leadsquared.url,
        "LEADSQUARED_ORG_ID": ACCOUNT.org_id,
        "LEADSQUARED_ACCESS_KEY": ACCOUNT.access_key,
        "LEADSQUARED_SECRET_KEY": ACCOUNT.secret_key,
        "ENCRYPTION_KEYS": ENCRYPTION_KEY,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'bot.db'}",
        "PORT": "0",
        "LOG_LEVEL": "DEBUG",
        "LEADSQUARED_READ_TIMEOUT": "1",
        "LEADSQUARED_CONNECT_TIMEOUT": "1",
    }


@dataclass
class Bot:
    """A running bot, and what a person in its workspace does and sees."""

    parts: Parts
    process: Process
    slack: SlackStandIn
    leadsquared: LeadSquaredStandIn

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.port}"

    async def type(
        self, text: str, *, channel: str = "C0SUPPORT", person: str = "U0ANNA", **form: str
    ) -> Posted | None:
        """Type the command as a person would; Slack's encoding is the stand-in's."""
        return await self.slack.command(self.slack.encode(text), channel=channel, person=person, **form)

    async def use(self, message: Posted, /, *, person: str = "U0ANNA", **changes: Any) -> dict[str, Any]:
        """Use the message shortcut, and return its form when it is filled in (or says why not)."""
        open_before = [modal["id"] for modal in self.slack.modals.open]
        assert await self.slack.shortcut(message, person=person, **changes) == {}

        def shown() -> list[dict[str, Any]]:
            opened = [modal for modal in self.slack.modals.open if modal["id"] not in open_before]
            return [modal for modal in opened if "Reading the message" not in str(modal["blocks"])]

        await self.slack.until(shown)
        return shown()[-1]

    async def ask_by_command(self, text: str = "", **form: Any) -> dict[str, Any]:
        """Type a command that leaves something out, and return the form that opens."""
        assert await self.type(text, **form) is None
        return self.slack.modals.open[-1]

    async def submit(self, modal: dict[str, Any], person: str = "U0ANNA", **values: Any) -> dict[str, Any]:
        return await self.slack.submit(modal, values, person=person)

    def anchor(self, number: int = -1) -> Posted:
        posted = [one for one in self.slack.workspace.messages if one.is_the_bots and not one.ephemeral]
        return [message for message in posted if message.thread_ts is None][number]

    async def answered(self, *, messages: int = 1, within: float = 20.0) -> Posted:
        """Wait until so many answers stand in threads; return the last."""

        def answers() -> list[Posted]:
            posted = [one for one in self.slack.workspace.messages if one.is_the_bots and not one.ephemeral]
            return [message for message in posted if message.thread_ts]

        await self.slack.until(lambda: len(answers()) >= messages, within=within)
        return answers()[-1]

    async def told_to(self, person: str, *, messages: int = 1, within: float = 20.0) -> Posted:
        """Wait for ephemeral messages to a person; return the last."""

        def shown() -> list[Posted]:
            return [message for message in self.slack.workspace.messages if message.ephemeral == person]

        await self.slack.until(lambda: len(shown()) >= messages, within=within)
        return shown()[-1]

    async def at_rest(self, *, within: float = 20.0) -> None:
        """Wait until every delivery is settled and told."""
        async with asyncio.timeout(within):
            while await self.parts.outbox.unfinished():
                await asyncio.sleep(0.01)

    async def delivery(self, reference: str) -> Delivery:
        found = await self.parts.acceptance.find(TEAM, reference)
        assert found is not None
        return found


Start = Callable[..., Any]


@asynccontextmanager
async def running(
    environment: dict[str, str],
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
    *,
    surface: bool = True,
    ready: bool = True,
) -> AsyncIterator[Bot]:
    """Run a bot in this process until the block ends, as `python -m bot run` does; without `ready` nobody waits for Slack."""
    settings = settings_from(environment)
    configure_logging(settings.log_level, "json")
    migrate_database(settings.sqlalchemy_url)
    stop, started = asyncio.Event(), asyncio.Event()
    async with build(settings) as parts:
        process = Process(parts, surface=surface)
        task = asyncio.create_task(process.run(stop, started.set))
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        bot = Bot(parts, process, slack, leadsquared)
        slack.request_url = None if settings.slack_app_token else f"{bot.url}/slack/events"
        async with asyncio.timeout(10):
            while surface and ready and not all((await process.ready()).values()):
                await asyncio.sleep(0.01)
        try:
            yield bot
        finally:
            stop.set()
            await task


def settings_from(environment: dict[str, str]) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return load_settings(env_file=None)


@pytest.fixture
async def bot(environment: dict[str, str], slack: SlackStandIn, leadsquared: LeadSquaredStandIn) -> AsyncIterator[Bot]:
    async with running(environment, slack, leadsquared) as started:
        yield started


@pytest.fixture
def start(slack: SlackStandIn, leadsquared: LeadSquaredStandIn) -> Start:
    """Start further bots with changed settings."""

    def begin(environment: dict[str, str], **changes: Any) -> Any:
        return running(environment, slack, leadsquared, **changes)

    return begin


@pytest.fixture
async def tls_server(tmp_path: Path) -> AsyncIterator[str]:
    """An https server of this machine whose certificate nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"
