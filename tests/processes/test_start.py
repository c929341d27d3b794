"""How processes start, what keeps them from it, and how they stop."""

import asyncio
import secrets
import socket
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from aiohttp import web
from psycopg import sql

from bot.database.schema import HEAD, migrate_database
from bot.playground.leadsquared import Behaviour, LeadSquaredStandIn
from bot.playground.slack import BOT_TOKEN, SIGNING_SECRET, SlackStandIn
from support.databases import database
from support.programs import BOT, Ended, Serving, Task, run, run_all, serving, until
from support.rights import AS_A_PERSON, ON_LINUX
from support.running import ACCOUNT, ENCRYPTION_KEY, workspace

PASSWORD = "database-password-of-the-tests"
SLACK = {
    "SLACK_BOT_TOKEN": BOT_TOKEN,
    "SLACK_SIGNING_SECRET": SIGNING_SECRET,
    # Nothing listens there: no test ever calls Slack itself.
    "SLACK_API_URL": "http://127.0.0.1:9/api/",
}
KEYS = {"ENCRYPTION_KEYS": ENCRYPTION_KEY}
TENANT = {
    "LEADSQUARED_API_URL": "https://apigw.service-in.leadsquared.com",
    "LEADSQUARED_ORG_ID": "22824",
    "LEADSQUARED_ACCESS_KEY": "access-key-in-the-environment",
    "LEADSQUARED_SECRET_KEY": "secret-key-in-the-environment",
}
SECRETS = (BOT_TOKEN, SIGNING_SECRET, ENCRYPTION_KEY, PASSWORD, *list(TENANT.values())[2:])


# -- settings


@dataclass(frozen=True)
class Wrong:
    """An environment that prevents a start, and how the line of each problem begins and goes on."""

    variables: dict[str, str]
    problems: list[tuple[str, str]]
    arguments: tuple[str, ...] = ("run",)
    files: dict[str, bytes] = field(default_factory=dict)


EVERY_VARIABLE_WRONG = {
    "SLACK_BOT_TOKEN": ("xoxp-secret-of-a-person", "must start with xoxb-"),
    "SLACK_APP_TOKEN": ("xoxb-secret-of-a-bot", "must start with xapp-"),
    "SLACK_API_URL": ("slack.com/api", "https://slack.com/api/"),
    "LEADSQUARED_ALLOWED_HOSTS": ("*.leadsquared.com, not a host", "not a host name"),
    "LEADSQUARED_CONNECT_TIMEOUT": ("0", "must be a number above 0"),
    "LEADSQUARED_READ_TIMEOUT": ("soon", "must be a number above 0"),
    "DATABASE_URL": (f"mysql://bot:{PASSWORD}@db/bot", "postgres://"),
    "ENCRYPTION_KEYS": (f"{ENCRYPTION_KEY},secret-too-short", "at least 32 characters"),
    "PORT": ("70000", "65535"),
    "LOG_LEVEL": ("LOUD", "DEBUG"),
    "LOG_FORMAT": ("xml", "json"),
    "RETRY_FOR": ("-1", "must be a number above 0"),
    "LEASE": ("1", "must be a number from 5 to 3600"),
    "SHUTDOWN_GRACE": ("0", "must be a number from 3 to 300"),
    "POLL_INTERVAL": ("0", "0.1"),
}

WRONG = {
    "nothing is set": Wrong(
        {}, [("SLACK_BOT_TOKEN: missing", "xoxb-"), ("SLACK_SIGNING_SECRET: missing", "Basic")]
    ),
    "nothing is set for a worker": Wrong({}, [("SLACK_BOT_TOKEN: missing", "xoxb-")], ("worker",)),
    "every variable is wrong": Wrong(
        {name: value for name, (value, _) in EVERY_VARIABLE_WRONG.items()},
        [(f"{name}: ", says) for name, (_, says) in EVERY_VARIABLE_WRONG.items()],
    ),
    "a tenant without its secret key and org id": Wrong(
        SLACK | {name: TENANT[name] for name in ("LEADSQUARED_API_URL", "LEADSQUARED_ACCESS_KEY")},
        [
            ("LEADSQUARED_ORG_ID: missing", "all four"),
            ("LEADSQUARED_SECRET_KEY: missing", "all four"),
        ],
    ),
    "a tenant on a foreign host": Wrong(
        SLACK | TENANT | {"LEADSQUARED_API_URL": "https://evil.example"},
        [("LEADSQUARED_API_URL: ", "LEADSQUARED_ALLOWED_HOSTS")],
    ),
    "a tenant over plain http": Wrong(
        SLACK | TENANT | {"LEADSQUARED_API_URL": "http://apigw.leadsquared.com"},
        [("LEADSQUARED_API_URL: ", "https")],
    ),
    "an org id that climbs the path": Wrong(
        SLACK | TENANT | {"LEADSQUARED_ORG_ID": "../1"}, [("LEADSQUARED_ORG_ID: ", "22824")]
    ),
    "a key that no key looks like": Wrong(
        SLACK | TENANT | {"LEADSQUARED_ACCESS_KEY": "clé secrète"},
        [("LEADSQUARED_ACCESS_KEY: ", "")],
    ),
    "a lease shorter than a call": Wrong(
        SLACK | {"LEASE": "10"},
        [("LEASE: ", "LEADSQUARED_CONNECT_TIMEOUT + LEADSQUARED_READ_TIMEOUT")],
    ),
    "SQLite on Heroku": Wrong(
        SLACK | {"DYNO": "web.1"}, [("DATABASE_URL: ", "heroku addons:create heroku-postgresql")]
    ),
    "a SQLite file on Heroku": Wrong(
        SLACK | {"DYNO": "web.1", "DATABASE_URL": "sqlite:///bot.db"},
        [("DATABASE_URL: ", "heroku addons:create heroku-postgresql")],
        ("migrate",),
    ),
    "PostgreSQL without a secret": Wrong(
        SLACK | {"DATABASE_URL": f"postgres://bot:{PASSWORD}@db/bot"},
        [("ENCRYPTION_KEYS: missing", "32 characters")],
    ),
    "PostgreSQL that is not there": Wrong(
        SLACK | KEYS | {"DATABASE_URL": f"postgres://bot:{PASSWORD}@127.0.0.1:1/bot"},
        [("DATABASE_URL: ", "check the address, and that the server runs")],
    ),
    "an address with a wrong port": Wrong(
        SLACK | KEYS | {"DATABASE_URL": f"postgres://bot:{PASSWORD}@127.0.0.1:port/bot"},
        [("DATABASE_URL: ", "postgres://")],
    ),
    "an address without slashes": Wrong(
        SLACK | KEYS | {"DATABASE_URL": f"postgres:bot:{PASSWORD}@127.0.0.1/bot"},
        [("DATABASE_URL: ", "postgres://")],
    ),
    "a .env that is no text": Wrong(SLACK, [(".env: ", "UTF-8")], files={".env": b"\xff\xfe=1\n"}),
    "a wrong setting in .env": Wrong({}, [("PORT: ", "65535")], files={".env": b"PORT=70000\n"}),
    "a data folder that is a file": Wrong(
        SLACK | {"DATA_DIR": "file"}, [("DATA_DIR: ", "file")], files={"file": b""}
    ),
    "a database that is a folder": Wrong(
        SLACK | {"DATABASE_URL": "sqlite:///."},
        [("DATABASE_URL: ", "unable to open database file")],
    ),
    "a database that is none": Wrong(
        SLACK | {"DATABASE_URL": "sqlite:///bad.db"},
        [("DATABASE_URL: ", "file is not a database")],
        files={"bad.db": b"These are not the bytes of a database. " * 100},
    ),
    "a host that is not this machine's": Wrong(
        SLACK | {"HOST": "192.0.2.1"}, [("HOST: ", "192.0.2.1 (this machine has no such address)")]
    ),
    "a host that has no address": Wrong(
        SLACK | {"HOST": "no.such.host.invalid"}, [("HOST: ", "the name is unknown")]
    ),
}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Every wrong environment, each in a folder of its own, run beside each other."""

    def task(case: Wrong) -> Task:
        folder = tmp_path_factory.mktemp("wrong")
        for name, content in case.files.items():
            (folder / name).write_bytes(content)
        return Task(case.arguments, {"LOG_LEVEL": "ERROR"} | case.variables, folder=folder)

    return dict(zip(WRONG, run_all([task(case) for case in WRONG.values()]), strict=True))


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_ends_the_start_with_a_line_that_names_it(
    case: str, wrong: dict[str, Ended]
) -> None:
    ended = wrong[case]

    assert ended.status == 2, ended.said
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert len(ended.problems) == len(WRONG[case].problems), ended.err
    for begins, says in WRONG[case].problems:
        (line,) = [problem for problem in ended.problems if problem.startswith(begins)]
        assert says in line
    values = [value for value in WRONG[case].variables.values() if "secret" in value]
    assert not [secret for secret in (*SECRETS, *values) if secret in ended.said]


DOUBTFUL = {"ENCRYPTION_KEY": ENCRYPTION_KEY, "SLACK_SIGNING_SECRET": "no-secret-of-slack"}


async def test_what_looks_wrong_is_logged_and_keeps_nothing_from_starting(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVL=debug\n")
    with serving("run", cwd=tmp_path, variables=SLACK | DOUBTFUL | {"PORT": "0"}) as process:
        await process.url()
        doubtful = [one for one in process.events() if one["event"] == "settings_doubtful"]
        process.signal()
        assert await process.ended() == 0
    said = [one["says"].split()[0] for one in doubtful]
    assert said == ["LOG_LEVL", "ENCRYPTION_KEY", "SLACK_SIGNING_SECRET"]
    assert not [secret for secret in DOUBTFUL.values() if secret in process.log]


def test_what_was_meant_is_said_beside_what_is_missing(tmp_path: Path) -> None:
    variables = SLACK | {"DATABASE_URL": f"postgres://bot:{PASSWORD}@db/bot"} | DOUBTFUL
    ended = run("run", cwd=tmp_path, variables=variables)
    assert ended.status == 2
    assert [line.split()[0] for line in ended.problems] == ["ENCRYPTION_KEYS:", "ENCRYPTION_KEY"]


def test_a_env_that_is_a_folder_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    ended = run("migrate", cwd=tmp_path)
    assert ended.status == 2
    assert ended.problems == [".env: this is a folder; replace it with a file, or remove it"]


# -- databases


@pytest.fixture
def postgres() -> Iterator[str]:
    with database() as url:
        yield url


def test_postgresql_without_migrations_is_refused_with_the_command_that_fixes_it(
    postgres: str, tmp_path: Path
) -> None:
    variables = SLACK | KEYS | {"DATABASE_URL": postgres}
    for ended in run_all(
        [Task(("run",), variables, folder=tmp_path), Task(("worker",), variables, folder=tmp_path)]
    ):
        assert ended.status == 2
        assert ended.out == ""
        (line,) = ended.problems
        assert line.startswith("DATABASE_URL: the database is empty")
        assert line.endswith("run: python -m bot migrate")


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_migrate_brings_an_empty_database_to_the_newest_revision_and_does_nothing_the_second_time(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres") if engine == "postgresql" else "sqlite:///bot.db"
    if engine == "postgresql":
        url = url.replace("postgresql://", "postgres://")  # as Heroku gives it
    variables = KEYS | {"DATABASE_URL": url}
    first = run("migrate", cwd=tmp_path, variables=variables)
    second = run("migrate", cwd=tmp_path, variables=variables)

    assert (first.status, first.said) == (0, f"The database is now at revision {HEAD}.\n")
    assert (second.status, second.said) == (0, f"The database is already at revision {HEAD}.\n")


def test_a_database_of_a_newer_release_is_refused_in_one_line(tmp_path: Path) -> None:
    migrate_database(f"sqlite:///{tmp_path / 'bot.db'}")
    with closing(sqlite3.connect(tmp_path / "bot.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    ended = run("migrate", cwd=tmp_path, variables={"DATABASE_URL": "sqlite:///bot.db"})

    assert ended.status == 2, ended.said
    (line,) = ended.problems
    assert line.startswith("DATABASE_URL: ")
    assert "9999" in line
    assert "newer" in line


@pytest.mark.parametrize(
    ("revision", "way"),
    [
        ("0011", ("at revision 0011, this release needs", "run: python -m bot migrate")),
        ("9999", ("at revision 9999, newer than this release knows", "start the newer release")),
    ],
)
def test_a_database_that_is_older_or_newer_than_the_code_is_refused_with_the_way(
    revision: str, way: tuple[str, ...], postgres: str, tmp_path: Path
) -> None:
    with psycopg.connect(postgres, autocommit=True) as administrator:
        administrator.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        administrator.execute("INSERT INTO alembic_version VALUES (%s)", [revision])
    variables = SLACK | KEYS | {"DATABASE_URL": postgres}
    tasks = [Task((command,), variables) for command in ("run", "worker")]
    for ended in run_all(tasks, tmp_path):
        assert ended.status == 2, ended.said
        (line,) = ended.problems
        assert line.startswith("DATABASE_URL: the database is ")
        assert all(words in line for words in way), line


def test_a_missing_postgresql_database_is_reported_as_written_and_with_the_command_that_makes_it(
    postgres: str, tmp_path: Path
) -> None:
    url = f"{postgres.replace('postgresql://', 'postgres://')}_not"
    ended = run("migrate", cwd=tmp_path, variables=KEYS | {"DATABASE_URL": url})

    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.problems
    assert line.startswith(f"DATABASE_URL: {url} cannot be used (")
    name = url.rpartition("/")[2]
    assert line.endswith(f"make the database: createdb -h 127.0.0.1 -U ADMIN -O postgres {name}")


def test_a_postgresql_user_that_is_not_let_in_or_may_make_no_tables_is_told_so(
    postgres: str, tmp_path: Path
) -> None:
    with psycopg.connect(postgres, autocommit=True) as administrator:
        who = f"somebody_{secrets.token_hex(4)}"
        administrator.execute(sql.SQL("CREATE USER {}").format(sql.Identifier(who)))
        try:
            administrator.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            tables, nobody = (
                run(
                    "migrate",
                    cwd=tmp_path,
                    variables=KEYS | {"DATABASE_URL": postgres.replace("postgres@", f"{name}@")},
                )
                for name in (who, f"no{who}")
            )
        finally:
            administrator.execute(sql.SQL("DROP USER {}").format(sql.Identifier(who)))

    assert (tables.status, nobody.status) == (2, 2)
    assert f"let {who} make tables there" in tables.err
    assert "check the user and the password" in nobody.err


@ON_LINUX
@pytest.mark.parametrize(("mode", "says"), [(0o444, "readonly"), (0o000, "unable to open")])
def test_a_database_that_may_not_be_written_or_read_is_told_in_one_line(
    mode: int, says: str, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    migrate_database(f"sqlite:///{folder / 'bot.db'}")
    (folder / "bot.db").chmod(mode)
    folder.chmod(0o555)
    try:
        variables = SLACK | KEYS | {"DATABASE_URL": "sqlite:///kept/bot.db", "LOG_LEVEL": "ERROR"}
        ended = run(
            "run", cwd=tmp_path, variables=variables, command=(*AS_A_PERSON, *BOT), within=30
        )
    finally:
        folder.chmod(0o755)

    assert ended.status == 2, ended.said
    (line,) = ended.problems
    assert line.startswith("DATABASE_URL: sqlite:///kept/bot.db cannot be used (")
    assert says in line
    assert "who may write" in line


@ON_LINUX
def test_a_env_that_may_not_be_read_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=3000\n")
    (tmp_path / ".env").chmod(0o000)
    ended = run("migrate", cwd=tmp_path, command=(*AS_A_PERSON, *BOT))
    assert ended.status == 2
    (line,) = ended.problems
    assert line.startswith(".env: it cannot be read (Permission denied)")


@pytest.mark.parametrize(
    ("password", "query"),
    [
        ("gold%40fish%2Ftank%23door", ""),
        ("gold/fish#tank?door", ""),
        ("gold%40fish", "?sslmode=require"),
        ("", "?password=goldfish&sslpassword=tank"),
    ],
)
@pytest.mark.parametrize("place", ["127.0.0.1:1", "no.such.host.invalid", "no..host"])
def test_no_password_is_shown(place: str, password: str, query: str, tmp_path: Path) -> None:
    user = f"bot:{password}" if password else "bot"
    url = f"postgres://{user}@{place}/portal{query}"
    ended = run("migrate", cwd=tmp_path, variables=KEYS | {"DATABASE_URL": url})
    assert ended.status == 2
    (line,) = ended.problems
    assert place in line
    assert not [part for part in ("gold", "fish", "tank", "door") if part in line]


# -- the generated secret


def test_the_secret_beside_sqlite_is_for_its_owner_only_and_is_used_again(tmp_path: Path) -> None:
    add = ("tenants", "add", "acme", "--api-url", TENANT["LEADSQUARED_API_URL"], "--org-id", "1")
    assert run(*add, cwd=tmp_path, typed="access\nsecret\n", umask=0).status == 0
    file = tmp_path / "data" / "encryption.key"
    secret = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(secret) >= 32
    assert secret not in (tmp_path / "data" / "portal-activity.db").read_text(errors="replace")

    # To change a tenant's limit its keys are decrypted and encrypted again.
    assert run("tenants", "update", "acme", "--limit", "5", cwd=tmp_path).status == 0
    assert file.read_text() == secret


async def test_a_start_on_sqlite_loads_only_what_it_uses(tmp_path: Path) -> None:
    variables = (
        SLACK
        | KEYS
        | {"PORT": "0", "DATABASE_URL": "sqlite:///bot.db", "PYTHONPROFILEIMPORTTIME": "1"}
    )
    with serving("run", cwd=tmp_path, variables=variables) as bot:
        await bot.url()
        bot.signal()
        await bot.ended()
        loaded = {
            line.rpartition("|")[2].strip()
            for line in bot.log.splitlines()
            if line.startswith("import time:")
        }
    assert "sqlalchemy" in loaded
    assert not {"psycopg", "alembic", "rich.console", "bot.playground"} & loaded


def modes(folder: Path) -> dict[str, str]:
    """Return who may do what with a folder (".") and the files in it."""
    files = {one.name: one for one in folder.iterdir() if one.suffix != ".log"} | {".": folder}
    return {name: f"{stat.S_IMODE(file.stat().st_mode):o}" for name, file in files.items()}


async def test_the_data_folder_and_the_database_are_for_their_owner_only(tmp_path: Path) -> None:
    variables = SLACK | {"PORT": "0", "DATABASE_URL": "sqlite:///kept/here/bot.db"}
    umask = ("sh", "-c", 'umask 0; exec "$@"', "sh", *BOT)
    with serving("run", cwd=tmp_path, variables=variables, command=umask) as bot:
        await until((tmp_path / "kept" / "here" / "bot.db-shm").exists)
        await bot.url()
        found = modes(tmp_path / "kept" / "here")
    assert found == {
        ".": "700",
        **dict.fromkeys(("bot.db", "bot.db-wal", "bot.db-shm", "encryption.key"), "600"),
    }


def test_a_folder_and_a_database_of_the_users_own_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    migrate_database(f"sqlite:///{tmp_path / 'mine' / 'bot.db'}")
    (tmp_path / "mine").chmod(0o755)
    (tmp_path / "mine" / "bot.db").chmod(0o640)
    ended = run(
        "tenants", "list", cwd=tmp_path, variables=KEYS | {"DATABASE_URL": "sqlite:///mine/bot.db"}
    )

    assert ended.status == 0, ended.said
    assert (modes(tmp_path / "mine")["."], modes(tmp_path / "mine")["bot.db"]) == ("755", "640")


def test_two_processes_that_start_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    add = ("--api-url", TENANT["LEADSQUARED_API_URL"], "--org-id", "1")
    tasks = [
        Task(("tenants", "add", name, *add), {}, b"access\nsecret\n", folder=tmp_path)
        for name in ("one", "two")
    ]
    assert [ended.status for ended in run_all(tasks)] == [0, 0]

    tasks = [
        Task(("tenants", "update", name, "--limit", "5"), {}, folder=tmp_path)
        for name in ("one", "two")
    ]
    assert [(ended.status, ended.err) for ended in run_all(tasks)] == [(0, ""), (0, "")]


# -- a running process


class Held(LeadSquaredStandIn):
    """A LeadSquared that answers when it is let go."""

    def __init__(self) -> None:
        super().__init__([ACCOUNT], {"143": Behaviour.FINE})
        self.arrived, self.let_go = asyncio.Event(), asyncio.Event()

    async def _answer(
        self, request: web.Request, org_id: str, ticket_id: str, raw: bytes, arrived: float
    ) -> web.Response:
        self.arrived.set()
        await self.let_go.wait()
        return await super()._answer(request, org_id, ticket_id, raw, arrived)


@pytest.fixture
async def leadsquared() -> AsyncIterator[Held]:
    """In the place of the usual stand-in, so that the `environment` names it."""
    async with Held() as stand_in:
        yield stand_in


async def page(url: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.json()


async def ready(process: Serving, slack: SlackStandIn) -> str:
    """Wait until a process may be sent commands; return its address."""
    url = await process.url()
    await process.logged("slack_identified")
    slack.request_url = f"{url}/slack/events"
    return url


async def test_run_is_alive_at_once_and_ready_when_slack_has_answered(
    environment: dict[str, str], slack: SlackStandIn, tmp_path: Path
) -> None:
    slack.down = True
    with serving("run", cwd=tmp_path, variables=environment) as process:
        url = await process.url()
        assert await page(f"{url}/healthz") == (200, {"status": "alive"})
        assert await page(f"{url}/readyz") == (
            503,
            {"status": "not ready", "database": True, "slack": False},
        )

        slack.down = False
        await process.logged("slack_identified")
        assert await page(f"{url}/readyz") == (
            200,
            {"status": "ready", "database": True, "slack": True},
        )
        process.signal()
        assert await process.ended() == 0
    assert [event["event"] for event in process.events()][-2:] == ["stopping", "stopped"]


async def test_sigterm_lets_a_post_in_flight_end_and_its_answer_be_told(
    environment: dict[str, str], slack: SlackStandIn, leadsquared: Held, tmp_path: Path
) -> None:
    with serving(
        "run",
        cwd=tmp_path,
        variables=environment | {"LEADSQUARED_READ_TIMEOUT": "20", "LEASE": "60"},
    ) as process:
        await ready(process, slack)
        assert await slack.command("143 in flight", channel="C0SUPPORT", person="U0ANNA") is None
        await asyncio.wait_for(leadsquared.arrived.wait(), 20)
        process.signal()
        await process.logged("stopping")
        with pytest.raises(aiohttp.ClientConnectionError):
            await until_refused(str(slack.request_url))
        assert leadsquared.ledger.activities == []
        leadsquared.let_go.set()
        assert await process.ended() == 0

    (activity,) = leadsquared.ledger.activities
    (answer,) = [message for message in slack.workspace.messages if message.thread_ts]
    assert activity.text == "in flight"
    assert "Recorded" in answer.text
    assert "✅ Portal activity recorded" in slack.workspace.messages[0].text, (
        "the anchor is marked as well"
    )
    assert "Traceback" not in process.log


async def until_refused(url: str) -> None:
    """Connect until nothing listens any more: raises then."""
    async with asyncio.timeout(10):
        while True:
            await page(url.replace("/slack/events", "/healthz"))


async def test_a_leadsquared_that_hangs_does_not_keep_a_process_beyond_its_grace(
    environment: dict[str, str], slack: SlackStandIn, leadsquared: Held, tmp_path: Path
) -> None:
    variables = environment | {
        "LEADSQUARED_READ_TIMEOUT": "60",
        "LEASE": "90",
        "SHUTDOWN_GRACE": "3",
    }
    with serving("run", cwd=tmp_path, variables=variables) as process:
        await ready(process, slack)
        assert await slack.command("143 kept", channel="C0SUPPORT", person="U0ANNA") is None
        await asyncio.wait_for(leadsquared.arrived.wait(), 20)
        process.signal()
        assert await process.ended(within=3 + 3) == 0

        assert "Traceback" not in process.log
        (left,) = [
            event for event in process.events() if event["event"] == "left_for_the_next_start"
        ]
        assert left["unsent"] == 1
        assert not [message for message in slack.workspace.messages if message.thread_ts], (
            "nothing is known yet"
        )
    end_all_leases(tmp_path / "bot.db")
    with serving("run", cwd=tmp_path, variables=variables) as process:
        await slack.until(lambda: any(message.thread_ts for message in slack.workspace.messages))

    (answer,) = [message for message in slack.workspace.messages if message.thread_ts]
    assert "may or may not be on ticket" in answer.text
    assert len(leadsquared.ledger.calls) <= 1, "and it is not sent a second time"


def end_all_leases(file: Path) -> None:
    """As if the lease of a dead process had ended."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "UPDATE deliveries SET lease_until = 0 WHERE state IN ('claimed', 'sending')"
        )


async def test_a_port_that_is_taken_is_told_in_one_line(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        variables = environment | {"PORT": port, "LOG_LEVEL": "ERROR"}
        ended = await asyncio.to_thread(run, "run", cwd=tmp_path, variables=variables)

    assert ended.status == 2, ended.said
    (line,) = ended.problems
    assert line.startswith("PORT: ")
    assert f"127.0.0.1:{port}" in line
    assert "choose another PORT" in line


async def test_a_start_does_not_need_slack_or_leadsquared_to_be_there(tmp_path: Path) -> None:
    # Slack and LeadSquared come and go; a process that would not start without them would be gone
    # with them.
    stand_in = SlackStandIn(workspace())
    await stand_in.start()
    address = stand_in.api_url
    await stand_in.stop()
    variables = SLACK | {"SLACK_API_URL": address, "PORT": "0"}
    with serving("run", cwd=tmp_path, variables=variables) as process:
        url = await process.url()
        await process.logged("slack_not_identified")
        assert (await page(f"{url}/healthz"))[0] == 200
        process.signal()
        assert await process.ended() == 0
    assert (tmp_path / "data" / "portal-activity.db").exists()
