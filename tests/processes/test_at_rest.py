"""Secrets at rest.

What is stored, byte for byte, after everything was used, and what was logged on the way.
"""

import base64
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from bot.playground.leadsquared import Account, Behaviour, LeadSquaredStandIn
from bot.playground.slack import BOT_TOKEN, SIGNING_SECRET, SlackStandIn
from bot.playground.workspace import Posted
from support.programs import Serving, run_beside, serving
from support.running import ACCOUNT, ENCRYPTION_KEY, TEAM, ticket_that

ACME = Account("4711", "access-key-of-acme-at-rest", "secret-key-of-acme-at-rest")
OPEN_TICKET = "77014377143"
TYPED, SAID, FILLED_IN, CORRECTED, KEPT, QUOTED = (
    f"{word} Kundennummer 4711 ÄÖ"
    for word in ("Getippt", "Gesagt", "Ausgefüllt", "Verbessert", "Behalten", "Zitiert")
)


# -- looking for a secret in bytes


def forms(secret: str) -> dict[str, bytes]:
    """Return how a text may stand among bytes.

    As it is, or encoded, wherever it begins within what was encoded with it.
    """
    raw = secret.encode()
    found = {
        "plain": raw,
        "UTF-16": secret.encode("utf-16-le"),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "percent-encoded": quote(secret, safe="").encode(),
        "percent-encoded, with slashes": quote(secret).encode(),
        "JSON": secret.encode("ascii", "backslashreplace").replace(b"\\x", b"\\u00"),
    }
    for shift, encode in (
        (shift, encode)
        for shift in range(3)
        for encode in (base64.b64encode, base64.urlsafe_b64encode)
    ):
        whole = encode(b"\0" * shift + raw).rstrip(b"=")
        # The first characters hold bits of what stands before, the last one of what follows.
        end = len(whole) - (1 if (shift + len(raw)) % 3 else 0)
        found[f"{encode.__name__}, {shift} bytes in"] = whole[(0, 2, 3)[shift] : end]
    return found


def holds(stored: bytes, secret: str) -> list[str]:
    """Name the forms in which a secret stands among bytes."""
    return [name for name, form in forms(secret).items() if form in stored]


def contents(url: str) -> bytes:
    """Return the whole content of a database.

    This is SQLite's files as they are, or each value of each table of PostgreSQL.
    """
    if url.startswith("sqlite"):
        file = Path(url.removeprefix("sqlite:///"))
        return b"\n".join(one.read_bytes() for one in sorted(file.parent.glob(f"{file.name}*")))
    with psycopg.connect(url) as connection:
        return b"\n".join(_values(connection))


def _values(connection: "psycopg.Connection[Any]") -> Iterator[bytes]:
    columns = connection.execute(
        "SELECT table_schema, table_name, column_name FROM information_schema.columns"
        " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        " ORDER BY 1, 2, ordinal_position"
    ).fetchall()
    assert len(columns) > 50, "all tables"
    for schema, table, column in columns:
        query = sql.SQL("SELECT {} FROM {}").format(
            sql.Identifier(column), sql.Identifier(schema, table)
        )
        for (value,) in connection.execute(query):
            yield value if isinstance(value, bytes) else str(value).encode()


def plant(url: str, value: str) -> None:
    """Write a value where nothing is encrypted."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute("UPDATE tenants SET org_id = ?", [value])
    else:
        with psycopg.connect(url) as server:
            server.execute("UPDATE tenants SET org_id = %s", [value])


# -- a day in a bot's life


@dataclass
class Day:
    """A bot as a process, and what people do with it."""

    process: Serving
    slack: SlackStandIn
    said: list[str] = field(default_factory=list)

    async def live(self) -> None:
        await self.type(f"{OPEN_TICKET} {TYPED}", answered="Recorded on")
        await self.type(
            f"{ticket_that(Behaviour.FAILED)} {QUOTED}", answered="couldn't record this"
        )
        await self.slack.click(
            await self.told("couldn't record this"), "Send again", person="U0ANNA"
        )
        await self.slack.until(lambda: len(self.slack_answers("couldn't record this")) == 1)
        await self.type(
            f"{ticket_that(Behaviour.HTML)} {KEPT}", answered="so this may or may not be on"
        )
        await self.slack.click(
            await self.told("so this may or may not be on"), "It's there", person="U0ANNA"
        )
        await self.type(
            f"{ticket_that(Behaviour.BAD_REQUEST)} {QUOTED}", answered="Text is not valid"
        )
        await self.slack.click(
            await self.told("Text is not valid"), "Edit and send again", person="U0ANNA"
        )
        await self.submit(ticket="145", text=CORRECTED)
        await self.type(
            f"144 {KEPT}", answered="Recorded on ticket 144", channel="C0PRIVATE"
        )  # by its response_url
        await self.record(await self.slack.say(SAID, channel="C0SUPPORT", person="U0GUEST"))
        await self.slack.command("", channel="C0SUPPORT", person="U0ANNA")
        await self.submit(ticket="143", text=FILLED_IN)
        await self.slack.until(lambda: len(self.slack_answers("Recorded on ticket 143")) == 2)

    async def type(self, text: str, *, answered: str, channel: str = "C0SUPPORT") -> None:
        assert await self.slack.command(text, channel=channel, person="U0ANNA") is None
        await self.told(answered)

    async def record(self, message: Posted) -> None:
        await self.slack.shortcut(message, person="U0ANNA")
        await self.slack.until(lambda: any(SAID in str(modal) for modal in self.slack.modals.open))
        await self.submit(ticket="143")

    async def submit(self, **values: str) -> None:
        assert await self.slack.submit(self.slack.modals.open[-1], values, person="U0ANNA") == {}

    def slack_answers(self, words: str) -> list[Posted]:
        answers = [one for one in self.slack.workspace.messages if one.thread_ts or one.ephemeral]
        return [one for one in answers if words in one.text.replace("*", "")]

    async def told(self, words: str) -> Posted:
        await self.slack.until(lambda: self.slack_answers(words))
        return self.slack_answers(words)[-1]


def secrets(slack: SlackStandIn) -> list[str]:
    """Return everything that must not be found."""
    keys = [
        BOT_TOKEN,
        SIGNING_SECRET,
        ENCRYPTION_KEY,
        *(key for one in (ACCOUNT, ACME) for key in _keys(one)),
    ]
    assert len(slack._response_urls) >= 8
    return [
        *keys,
        "/response/",
        *slack._response_urls,
        TYPED,
        SAID,
        FILLED_IN,
        CORRECTED,
        KEPT,
        QUOTED,
        "Kundennummer",
    ]


def _keys(account: Account) -> tuple[str, str]:
    return account.access_key, account.secret_key


async def test_nothing_secret_stands_in_the_database_or_the_log_after_everything_was_used(
    url: str,
    environment: dict[str, str],
    slack: SlackStandIn,
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> None:
    leadsquared.accounts[ACME.org_id] = ACME
    leadsquared.tickets[OPEN_TICKET] = Behaviour.FINE
    variables = environment | {"DATABASE_URL": url}
    add = ("tenants", "add", "acme", "--api-url", leadsquared.url, "--org-id", ACME.org_id)
    said = [
        await run_beside(
            *add, cwd=tmp_path, variables=variables, typed="\n".join(_keys(ACME)) + "\n"
        )
    ]
    said.append(
        await run_beside(
            "tenants", "map", "acme", "--team", TEAM, cwd=tmp_path, variables=variables
        )
    )
    with serving("run", cwd=tmp_path, variables=variables) as process:
        slack.request_url = f"{await process.url()}/slack/events"
        await process.logged("slack_identified")
        await Day(process, slack).live()
        said.append(await run_beside("tenants", "show", "acme", cwd=tmp_path, variables=variables))
        running = contents(url)
        process.signal()
        assert await process.ended() == 0
    log = "".join([process.log, *(ended.said for ended in said)]).encode()
    stopped = contents(url)

    assert {one.org_id for one in leadsquared.ledger.activities} == {ACME.org_id}, (
        "with the tenant's own keys"
    )
    for stored in (running, stopped):
        assert [
            name
            for name in ("acme", OPEN_TICKET, TEAM, "U0ANNA")
            if "plain" not in holds(stored, name)
        ] == []
        assert {
            secret: found for secret in secrets(slack) if (found := holds(stored, secret))
        } == {}
    assert "plain" in holds(log, TEAM)
    assert {secret: found for secret in secrets(slack) if (found := holds(log, secret))} == {}


@pytest.mark.parametrize(
    "secret", [TYPED, ACME.secret_key, "https://hooks.slack.com/commands/T0/1/abc"]
)
def test_a_secret_that_is_stored_openly_would_be_found_in_any_form(url: str, secret: str) -> None:
    with_tenant(url)
    assert holds(contents(url), secret) == []
    for name, form in written(secret).items():
        plant(url, form)
        assert holds(contents(url), secret), name


def with_tenant(url: str) -> None:
    inserts = (
        "INSERT INTO accounts (id, api_host, org_id) VALUES (9, 'x', '1')",
        (
            "INSERT INTO tenants (name, api_url, org_id, access_key, secret_key, "
            "calls_per_window, account_id, created_at, updated_at) "
            "VALUES ('acme', 'https://x', '1', '', '', 25, 9, 0, 0)"
        ),
    )
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            for insert in inserts:
                connection.execute(insert)
    else:
        with psycopg.connect(url) as server:
            for insert in inserts:
                server.execute(insert)


def written(secret: str) -> dict[str, str]:
    """Write a secret in each form it could have if stored unencrypted, with text around it."""
    raw = secret.encode()
    encoders: dict[str, Callable[[bytes], str]] = {
        "as it is": lambda value: value.decode(),
        "hex": lambda value: value.hex(),
        "HEX": lambda value: value.hex().upper(),
        "base64": lambda value: base64.b64encode(value).decode(),
        "base64 for addresses": lambda value: base64.urlsafe_b64encode(value).decode(),
        "percent-encoded": lambda value: quote(value, safe=""),
    }
    return {
        f"{name}, after {before!r}": encode(before + raw + b" and more")
        for name, encode in encoders.items()
        for before in (b"", b"x", b"xy")
    }
