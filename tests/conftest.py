"""Fixtures: the whole application between the two stand-ins, with a database on disk."""

import asyncio
import functools
import gc
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, settings

from bot.database.schema import migrate_database
from bot.playground.leadsquared import LeadSquaredStandIn
from bot.playground.slack import BOT_TOKEN, SIGNING_SECRET, SlackStandIn
from bot.settings import Settings
from support.databases import database, drop_templates, sqlite_file
from support.programs import stop_forking
from support.running import (
    ACCOUNT,
    ENCRYPTION_KEY,
    TICKETS,
    Bot,
    Start,
    running,
    workspace,
)

# On a busy machine an example takes seconds to make; how many are made stays the same.
settings.register_profile("busy", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run more tests at the same time than there are processors: two thirds of their time is waits.

    A test process takes up to 12 of PostgreSQL's connections, of which it usually has 100.
    """
    processors = os.cpu_count() or 1
    return max(processors, min(2 * processors, 8))


def pytest_collection_finish() -> None:
    """Have no garbage collection go through all that is loaded: it stays."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _certificates_are_read_once() -> Iterator[None]:
    """This machine's certificate authorities, which each bot would read anew.

    40 ms of CPU for each.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx, "create_ssl_context", functools.cache(httpx.create_ssl_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    stop_forking()
    drop_templates()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's machine, and no file of the repository's, reaches a test."""
    for name in os.environ:
        if name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of each kind, as DATABASE_URL names it."""
    if request.param == "sqlite":
        yield sqlite_file(tmp_path / "bot.db")
    else:
        with database(migrate_database) as given:
            yield given


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandIn]:
    async with SlackStandIn(workspace()) as stand_in:
        yield stand_in


@pytest.fixture
async def leadsquared() -> AsyncIterator[LeadSquaredStandIn]:
    async with LeadSquaredStandIn([ACCOUNT], TICKETS) as stand_in:
        yield stand_in


@pytest.fixture
def environment(
    slack: SlackStandIn, leadsquared: LeadSquaredStandIn, tmp_path: Path
) -> dict[str, str]:
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


@pytest.fixture
async def bot(
    environment: dict[str, str], slack: SlackStandIn, leadsquared: LeadSquaredStandIn
) -> AsyncIterator[Bot]:
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
    """An https server of this machine with a self-signed certificate."""
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
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(
        lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context
    )
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}"
