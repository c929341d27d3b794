"""`python -m bot check`: what is well, and each fault with its fix."""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from email.utils import formatdate
from pathlib import Path

import psycopg
import pytest
from aiohttp import web
from psycopg import sql

from bot.database.schema import HEAD, migrate_database
from bot.database.writer import Database
from bot.encryption import Keyring
from bot.leadsquared.outcome import CannotRead
from bot.leadsquared.reading import read_keys
from bot.leadsquared.tenant import Tenant
from bot.playground.leadsquared import Behaviour, LeadSquaredStandIn
from bot.playground.slack import APP_TOKEN, BOT_TOKEN, SIGNING_SECRET, Fault, SlackStandIn
from bot.slack.scopes import SCOPES
from bot.tenants.directory import Directory, Scope
from support.databases import database
from support.many import serving_many
from support.programs import BOT, Ended, run_beside
from support.rights import AS_A_PERSON, ON_LINUX
from support.running import ACCOUNT, ENCRYPTION_KEY, TEAM, workspace


@pytest.fixture
def migrated(environment: dict[str, str]) -> dict[str, str]:
    """The environment of a bot that lacks nothing."""
    migrate_database(environment["DATABASE_URL"])
    return environment


@pytest.fixture
def untenanted(migrated: dict[str, str]) -> dict[str, str]:
    four = (
        "LEADSQUARED_API_URL",
        "LEADSQUARED_ORG_ID",
        "LEADSQUARED_ACCESS_KEY",
        "LEADSQUARED_SECRET_KEY",
    )
    return {name: value for name, value in migrated.items() if name not in four}


@pytest.fixture
async def directory(migrated: dict[str, str]) -> AsyncIterator[Directory]:
    own = Database(migrated["DATABASE_URL"])
    yield Directory(own, Keyring([ENCRYPTION_KEY]))
    await own.close()


async def check(variables: dict[str, str], cwd: Path, command: Sequence[str] = BOT) -> Ended:
    ended = await run_beside("check", cwd=cwd, variables=variables, command=command)
    assert ended.err == ""
    for secret in (
        BOT_TOKEN,
        SIGNING_SECRET,
        APP_TOKEN,
        ENCRYPTION_KEY,
        ACCOUNT.access_key,
        ACCOUNT.secret_key,
    ):
        assert secret not in ended.out
    assert ended.status == (1 if "✗" in ended.out else 0)
    return ended


def broken(ended: Ended) -> dict[str, tuple[str, str]]:
    """Return what is not well.

    Its name, with what the table says of it and the fix in the line below.
    """
    lines = ended.out.splitlines()
    found = {}
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("✗ "):
            name, _, says = line.removeprefix("✗ ").partition("  ")
            mark, _, fix = below.strip().partition(" ")
            assert mark == "→", f"no fix below {line}"
            found[name] = (says.strip(), fix)
    return found


def warned(ended: Ended) -> list[str]:
    return [line.removeprefix("⚠ ") for line in ended.out.splitlines() if line.startswith("⚠ ")]


def fine(ended: Ended) -> list[str]:
    return [
        line.removeprefix("✓ ").partition("  ")[0]
        for line in ended.out.splitlines()
        if line.startswith("✓ ")
    ]


async def test_a_whole_configuration_is_found_well_and_changes_nothing(
    migrated: dict[str, str], leadsquared: LeadSquaredStandIn, slack: SlackStandIn, tmp_path: Path
) -> None:
    ended = await check(migrated, tmp_path)

    assert (ended.status, broken(ended), warned(ended)) == (0, {}, [])
    assert fine(ended) == [
        "Database",
        "Migrations",
        "Slack bot token",
        "Slack scopes",
        "Slack signing secret",
        "Tenant environment",
    ]
    assert TEAM in ended.out
    assert leadsquared.ledger.calls == [], "no activity is made to try a key"
    assert slack.workspace.messages == []


async def test_a_refused_token_a_missing_signing_secret_and_no_migrations_are_reported_together(
    environment: dict[str, str], tmp_path: Path
) -> None:
    del environment["SLACK_SIGNING_SECRET"]
    found = broken(await check(environment | {"SLACK_BOT_TOKEN": "xoxb-of-another-app"}, tmp_path))

    assert found.keys() == {"Migrations", "Slack bot token", "Slack signing secret", "Tenants"}
    assert found["Migrations"] == (f"at none, needs {HEAD}", "python -m bot migrate")
    assert "invalid_auth" in found["Slack bot token"][0]
    assert "SLACK_BOT_TOKEN" in found["Slack bot token"][1]
    assert found["Slack signing secret"][0] == "missing"
    assert "SLACK_SIGNING_SECRET" in found["Slack signing secret"][1]
    assert "database" in found["Tenants"][1]


async def test_before_the_first_workspace_installs_the_bot_nothing_is_at_fault(
    untenanted: dict[str, str], tmp_path: Path
) -> None:
    ended = await check(serving_many(untenanted), tmp_path)
    assert ended.status == 0, ended.out
    found = ended.out.splitlines()
    (workspaces,) = [number for number, line in enumerate(found) if "⚠ Workspaces" in line]
    assert "no workspace has installed the bot" in found[workspaces]
    assert "/slack/install" in found[workspaces + 1]
    (tenants,) = [number for number, line in enumerate(found) if "⚠ Tenants" in line]
    assert "/portal-activity setup" in found[tenants + 1]
    assert "LEADSQUARED" not in ended.out


async def test_slack_being_away_is_no_fault_of_the_token(
    untenanted: dict[str, str], slack: SlackStandIn, tmp_path: Path
) -> None:
    slack.down = True
    found = broken(await check(untenanted, tmp_path))

    assert found.keys() == {"Slack bot token", "Tenants"}
    says, fix = found["Slack bot token"]
    assert "Slack does not answer" in says
    assert slack.api_url in fix
    assert found["Tenants"][0] == "there is none"
    assert "python -m bot tenants add" in found["Tenants"][1]


@pytest.mark.parametrize(
    ("seconds", "line"),
    [
        (-3600, "✗ Clock "),
        (3600, "✗ Clock "),
        (-120, "⚠ Clock "),
        (-20, None),
    ],
)
async def test_a_clock_that_is_off_is_named_with_the_way(
    seconds: int, line: str | None, migrated: dict[str, str], tmp_path: Path
) -> None:
    async def tell_the_time(request: web.BaseRequest) -> web.Response:
        return web.Response(headers={"Date": formatdate(time.time() + seconds, usegmt=True)})

    runner = web.ServerRunner(web.Server(tell_the_time))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        away = migrated | {"SLACK_API_URL": f"http://127.0.0.1:{port}/api/"}
        said = (await check(away, tmp_path)).out
    finally:
        await runner.cleanup()
    found = [one for one in said.splitlines() if "Clock" in one]
    assert [one.startswith(line) for one in found if line] == ([True] if line else [])
    if line:
        assert ("behind Slack's" if seconds > 0 else "ahead of Slack's") in found[0]
        assert "timedatectl" in said
    else:
        assert found == []


async def test_no_token_and_an_app_token_that_slack_refuses_are_told(
    migrated: dict[str, str], slack: SlackStandIn, tmp_path: Path
) -> None:
    del migrated["SLACK_BOT_TOKEN"]
    slack.faults["apps.connections.open"].append(Fault("not_allowed_token_type"))
    found = broken(await check(migrated | {"SLACK_APP_TOKEN": APP_TOKEN}, tmp_path))

    assert found.keys() == {"Slack bot token", "Slack app token"}
    assert found["Slack bot token"][0] == "missing"
    assert "not_allowed_token_type" in found["Slack app token"][0]
    assert "connections:write" in found["Slack app token"][1]


class Granting(SlackStandIn):
    """A Slack whose token was installed with fewer scopes than the manifest asks for."""

    granted = "commands,chat:write"

    async def _web_api(self, request: web.Request) -> web.Response:
        answer = await super()._web_api(request)
        answer.headers["X-OAuth-Scopes"] = self.granted
        return answer


async def test_scopes_that_the_token_lacks_are_named(
    migrated: dict[str, str], tmp_path: Path
) -> None:
    async with Granting(workspace()) as slack:
        found = broken(await check(migrated | {"SLACK_API_URL": slack.api_url}, tmp_path))

    assert found.keys() == {"Slack scopes"}
    says, fix = found["Slack scopes"]
    assert says == (
        "missing: "
        f"{', '.join(scope for scope in SCOPES if scope not in Granting.granted.split(','))}"
    )
    assert "manifest.yml" in fix
    assert "reinstall" in fix


async def test_each_tenant_has_a_line_of_its_own_with_what_it_lacks(
    untenanted: dict[str, str],
    directory: Directory,
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> None:
    closed = "http://127.0.0.1:9"
    for name, url in (("well", leadsquared.url), ("unmapped", leadsquared.url), ("away", closed)):
        await directory.add(Tenant(name, url, "22824", ACCOUNT.access_key, ACCOUNT.secret_key))
    await directory.add(
        Tenant("foreign", "https://crm.example", "1", ACCOUNT.access_key, ACCOUNT.secret_key)
    )
    for name in ("well", "away", "foreign"):
        await directory.map(name, Scope(team_id=TEAM, channel_id=f"C0{name.upper()}"))
    ended = await check(untenanted, tmp_path)
    found = broken(ended)

    assert "Tenant well" in fine(ended)
    assert found.keys() == {"Tenant unmapped", "Tenant away", "Tenant foreign"}
    assert found["Tenant unmapped"] == (
        "mapped to no workspace",
        "python -m bot tenants map unmapped --team T…",
    )
    assert "127.0.0.1 cannot be reached" in found["Tenant away"][0]
    assert "python -m bot tenants update away --api-url" in found["Tenant away"][1]
    assert "LEADSQUARED_ALLOWED_HOSTS" in found["Tenant foreign"][0]


async def test_keys_that_cannot_be_decrypted_name_the_secret_that_is_missing(
    untenanted: dict[str, str],
    directory: Directory,
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> None:
    await directory.add(
        Tenant("acme", leadsquared.url, "22824", ACCOUNT.access_key, ACCOUNT.secret_key)
    )
    other = "another-secret-that-is-long-enough-for-it"
    found = broken(await check(untenanted | {"ENCRYPTION_KEYS": other}, tmp_path))

    assert found.keys() == {"Stored values", "Tenant acme"}
    says, fix = found["Tenant acme"]
    assert "cannot be decrypted" in says
    assert "ENCRYPTION_KEYS" in fix
    assert "python -m bot tenants update acme" in fix

    both = await check(untenanted | {"ENCRYPTION_KEYS": f"{other},{ENCRYPTION_KEY}"}, tmp_path)
    assert broken(both).keys() == {"Tenant acme"}
    assert broken(both)["Tenant acme"][0] == "mapped to no workspace", (
        "decrypted with the earlier secret"
    )


@pytest.fixture
def postgres() -> Iterator[str]:
    with database() as url:
        yield url


async def test_postgresql_is_looked_at_as_sqlite_is(
    environment: dict[str, str], postgres: str, tmp_path: Path
) -> None:
    found = broken(await check(environment | {"DATABASE_URL": postgres}, tmp_path))
    assert found.keys() == {"Migrations", "Tenants"}
    assert found["Migrations"][1] == "python -m bot migrate"


async def test_a_database_that_is_away_is_told_without_its_password(
    environment: dict[str, str], tmp_path: Path
) -> None:
    ended = await check(
        environment | {"DATABASE_URL": "postgres://bot:password-of-it@127.0.0.1:9/bot"}, tmp_path
    )
    assert broken(ended).keys() == {"Database", "Tenants"}
    assert broken(ended)["Database"][0] == "cannot be used"
    assert "check the address" in broken(ended)["Database"][1]
    assert "password-of-it" not in ended.out


# -- LeadSquared's keys


async def test_keys_that_leadsquared_refuses_are_reported_and_nothing_is_recorded(
    migrated: dict[str, str], leadsquared: LeadSquaredStandIn, tmp_path: Path
) -> None:
    ended = await check(migrated | {"LEADSQUARED_SECRET_KEY": "of-another-account"}, tmp_path)

    assert broken(ended).keys() == {"Tenant environment"}
    says, fix = broken(ended)["Tenant environment"]
    assert "LeadSquared rejects its keys" in says
    assert "LEADSQUARED_SECRET_KEY" in fix
    assert "of-another-account" not in ended.said
    assert (leadsquared.ledger.calls, leadsquared.ledger.activities) == ([], [])
    assert len(leadsquared.ledger.lookups) == 1


async def test_accepted_keys_are_reported(migrated: dict[str, str], tmp_path: Path) -> None:
    assert "accepts the keys" in (await check(migrated, tmp_path)).out


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour.FORBIDDEN, "status 403"),
        (Behaviour.NOT_FOUND, "status 404"),
        (Behaviour.RATE_LIMITED, "status 429"),
        (Behaviour.RATE_LIMITED_AS_200, "unreadable answer"),
        (Behaviour.FAILED, "status 500"),
        (Behaviour.SERVER_ERROR, "status 502"),
        (Behaviour.HTML, "unreadable answer"),
        (Behaviour.HANG, "read timeout"),
    ],
)
async def test_an_answer_that_proves_nothing_about_the_keys_is_reported_as_such(
    behaviour: Behaviour,
    reason: str,
    migrated: dict[str, str],
    leadsquared: LeadSquaredStandIn,
    tmp_path: Path,
) -> None:
    leadsquared.filter_is = behaviour
    ended = await check(migrated, tmp_path)

    assert (ended.status, broken(ended)) == (0, {})
    (line,) = warned(ended)
    assert line.startswith("Tenant environment ")
    assert f"the keys could not be tested ({reason})" in line
    assert "Tenant environment" not in fine(ended)


ONE_OF_TWO = b'{"Total":2,"ConversationList":[{"Id":1,"Text":"hello"}]}'


@pytest.mark.parametrize(
    ("status", "body", "accepted"),
    [
        (200, b'{"Total":0,"ConversationList":[]}', True),
        (200, ONE_OF_TWO, True),
        (401, b"", False),
        (401, ONE_OF_TWO, False),
        (200, b'{"Status":"Error","ExceptionType":"MXException"}', CannotRead("unreadable answer")),
        (200, None, CannotRead("unreadable answer")),
        (307, b"", CannotRead("status 307")),
        (400, ONE_OF_TWO, CannotRead("status 400")),
        (403, ONE_OF_TWO, CannotRead("status 403")),
    ],
)
def test_only_the_documented_answers_prove_anything_about_keys(
    status: int, body: bytes | None, accepted: object
) -> None:
    assert read_keys(status, body) == accepted


# -- what the bot works with, and an admin should check


async def test_doubtful_settings_are_warned_about(migrated: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RETRYFOR=1\n")
    (tmp_path / ".env").chmod(0o600)
    doubtful = {"SLACK_SIGNING_SECRET": "no-secret-of-slack", "ENCRYPTION_KEY": "x"}
    ended = await check(migrated | doubtful, tmp_path)

    assert ended.status == 0
    for words in ("RETRY_FOR", "ENCRYPTION_KEYS", "32 hexadecimal"):
        (line,) = [one for one in warned(ended) if words in one]
        assert line.startswith("Settings ")
    assert "no-secret-of-slack" not in ended.said


async def test_files_open_to_others_are_warned_of(migrated: dict[str, str], tmp_path: Path) -> None:
    for name, mode in ((".env", 0o644), ("bot.db", 0o640), ("encryption.key", 0o604)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    ended = await check(migrated, tmp_path)

    assert ended.status == 0
    assert warned(ended) == [
        "Secrets               .env can be read by others (mode 0644)",
        f"Secrets               {tmp_path}/bot.db can be read by others (mode 0640)",
        f"Secrets               {tmp_path}/encryption.key can be read by others (mode 0604)",
    ]
    assert "chmod 600 .env" in ended.out

    for name in (".env", "bot.db", "encryption.key"):
        (tmp_path / name).chmod(0o600)
    assert warned(await check(migrated, tmp_path)) == []


@ON_LINUX
async def test_a_read_only_sqlite_is_called_that(migrated: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bot.db").chmod(0o400)
    ended = await check(migrated, tmp_path, (*AS_A_PERSON, *BOT))
    assert broken(ended).keys() == {"Database", "Tenants"}
    assert broken(ended)["Database"][0] == "read-only"
    assert "who may write" in broken(ended)["Database"][1]


async def test_a_read_only_postgresql_is_called_that(
    environment: dict[str, str], postgres: str, tmp_path: Path
) -> None:
    migrate_database(postgres.replace("postgresql://", "postgresql+psycopg://"))
    with psycopg.connect(postgres, autocommit=True) as administrator:
        name = sql.Identifier(postgres.rpartition("/")[2])
        off = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on")
        administrator.execute(off.format(name))
    found = broken(await check(environment | {"DATABASE_URL": postgres}, tmp_path))
    assert found["Database"][0] == "read-only"
    assert "primary server" in found["Database"][1]


async def test_mappings_that_the_bots_token_does_not_reach_are_warned_about(
    migrated: dict[str, str], directory: Directory, leadsquared: LeadSquaredStandIn, tmp_path: Path
) -> None:
    keys = (ACCOUNT.access_key, ACCOUNT.secret_key)
    await directory.add(Tenant("acme", leadsquared.url, ACCOUNT.org_id, *keys))
    for team in (TEAM, "T0FOREIGN"):
        await directory.map("acme", Scope(team_id=team))
    ended = await check(migrated, tmp_path)

    assert ended.status == 0
    (line,) = warned(ended)
    assert line.startswith("Mapping to acme ")
    assert f"belongs to workspace {TEAM}, so this bot has no token for workspace T0FOREIGN" in line
