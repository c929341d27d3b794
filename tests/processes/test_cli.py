"""`python -m bot tenants …` in processes of its own, as an administrator runs it."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.activities.acceptance import Acceptance, Accepted
from bot.activities.delivery import Submission
from bot.database.schema import migrate_database
from bot.database.writer import Database
from bot.encryption import Keyring
from bot.leadsquared.tenant import Tenant
from bot.playground.leadsquared import Account, Behaviour, LeadSquaredStandIn
from bot.playground.slack import BOT_TOKEN, SlackStandIn
from bot.tenants.directory import Directory, Scope, TenantError
from support.programs import Ended, Task, run, run_all, run_beside
from support.running import ENCRYPTION_KEY, TEAM, running
from support.terminal import at_terminal

ACCESS, SECRET = "access-key-typed-by-the-admin", "secret-key-typed-by-the-admin"
NEW_ACCESS, NEW_SECRET = "newer-access-key-of-the-admin", "newer-secret-key-of-the-admin"
KEYS = f"{ACCESS}\n{SECRET}\n"
HOST = "https://apigw.service-in.leadsquared.com"
ACME = ("tenants", "add", "acme", "--api-url", HOST, "--org-id", "22824")


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    return {"DATABASE_URL": f"sqlite:///{tmp_path / 'bot.db'}", "ENCRYPTION_KEYS": ENCRYPTION_KEY}


@pytest.fixture
async def directory(variables: dict[str, str]) -> AsyncIterator[Directory]:
    """The tenants as the bot itself reads them."""
    migrate_database(variables["DATABASE_URL"])
    database = Database(variables["DATABASE_URL"])
    yield Directory(database, Keyring([ENCRYPTION_KEY]))
    await database.close()


def keys_of(tenant: Tenant) -> tuple[str, str]:
    return tenant.access_key, tenant.secret_key


# -- keys


@dataclass(frozen=True)
class Kept:
    """The output of adding, listing and showing a tenant, and all bytes of the database's files."""

    added: Ended
    listed: Ended
    shown: Ended
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("kept")
    file = folder / "bot.db"
    migrate_database(f"sqlite:///{file}")
    variables = {"DATABASE_URL": f"sqlite:///{file}", "ENCRYPTION_KEYS": ENCRYPTION_KEY}
    # While this connection is open, what the process wrote stays in the write-ahead log instead of
    # vanishing from it.
    with closing(sqlite3.connect(file)) as reader:
        reader.execute("SELECT count(*) FROM tenants").fetchone()
        added = run(*ACME, cwd=folder, variables=variables, typed=KEYS)
        tasks = [Task(("tenants", "list"), variables), Task(("tenants", "show", "acme"), variables)]
        listed, shown = run_all(tasks, folder)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return Kept(added, listed, shown, files)


def test_a_tenant_is_added_with_keys_from_standard_input_and_the_next_step_is_named(
    kept: Kept,
) -> None:
    assert (kept.added.status, kept.added.err) == (0, "")
    assert "Added acme" in kept.added.out
    assert "python -m bot tenants map acme --team" in kept.added.out


def test_list_and_show_tell_everything_of_a_tenant_but_its_keys(kept: Kept) -> None:
    for ended in (kept.listed, kept.shown):
        assert (ended.status, ended.err) == (0, "")
        for told in ("acme", HOST, "22824", "25 calls in 5 s", "keys set", "not mapped yet"):
            assert told in ended.out
    for ended in (kept.added, kept.listed, kept.shown):
        assert ACCESS not in ended.said
        assert SECRET not in ended.said


def test_no_key_stands_in_clear_in_any_file_of_the_database(kept: Kept) -> None:
    assert HOST.encode() in kept.files["bot.db-wal"], "the tenant is in the write-ahead log by now"
    for name, content in kept.files.items():
        assert ACCESS.encode() not in content, name
        assert SECRET.encode() not in content, name


async def test_the_keys_that_were_given_are_the_keys_that_the_bot_reads(
    variables: dict[str, str], directory: Directory, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text(f"\n  {ACCESS}  \r\n\n{SECRET}\r\n")
    assert run(*ACME, "--keys-file", "keys", cwd=tmp_path, variables=variables).status == 0
    assert keys_of(await directory.get("acme", keys=True)) == (ACCESS, SECRET)

    newer = run(
        "tenants",
        "update",
        "acme",
        cwd=tmp_path,
        variables=variables,
        typed=f"{NEW_ACCESS}\n{NEW_SECRET}",
    )
    assert (newer.status, newer.said) == (0, "Updated acme.\n")
    assert keys_of(await directory.get("acme", keys=True)) == (NEW_ACCESS, NEW_SECRET)

    other = run(
        "tenants",
        "update",
        "acme",
        "--limit",
        "10",
        "--org-id",
        "7",
        cwd=tmp_path,
        variables=variables,
    )
    assert other.status == 0, "nothing but the keys is asked for at standard input"
    tenant = await directory.get("acme", keys=True)
    assert keys_of(tenant) == (NEW_ACCESS, NEW_SECRET)
    assert (tenant.calls_per_window, tenant.org_id, tenant.api_url) == (10, "7", HOST)


async def test_at_a_terminal_the_keys_are_asked_for_and_not_shown_while_typed(
    variables: dict[str, str], directory: Directory, tmp_path: Path
) -> None:
    answers = [
        ("API URL", HOST),
        ("Org ID", "22824"),
        ("Access key", ACCESS),
        ("Secret key", SECRET),
    ]
    status, screen = at_terminal(("tenants", "add", "acme"), answers, tmp_path, variables)

    assert status == 0
    assert HOST in screen, "what is no secret is seen while typed"
    assert ACCESS not in screen
    assert SECRET not in screen
    assert "Added acme" in screen
    assert keys_of(await directory.get("acme", keys=True)) == (ACCESS, SECRET)


# -- what is refused


@dataclass(frozen=True)
class Refusal:
    """A command that must end with exit status 2 and one line that names the fix."""

    arguments: tuple[str, ...]
    says: tuple[str, ...]
    typed: bytes = KEYS.encode()
    file: bytes | None = None


def _add(url: str = HOST, org_id: str = "1", name: str = "other", *more: str) -> tuple[str, ...]:
    return ("tenants", "add", name, "--api-url", url, "--org-id", org_id, *more)


REFUSALS = {
    "http on a foreign host": Refusal(
        _add("http://apigw.service-in.leadsquared.com"), ("--api-url", "must be https")
    ),
    "a host that is not allowed": Refusal(
        _add("https://evil.example"), ("--api-url", "evil.example", "LEADSQUARED_ALLOWED_HOSTS")
    ),
    "a host that begins alike": Refusal(
        _add("https://apigw.leadsquared.com.evil.example"),
        ("--api-url", "LEADSQUARED_ALLOWED_HOSTS"),
    ),
    "a host that looks alike": Refusal(
        _add("https://apigw.le\u0430dsquared.com"), ("--api-url", "LEADSQUARED_ALLOWED_HOSTS")
    ),
    "an address with a path": Refusal(
        _add(f"{HOST}/api/tenants/1/ticket"), ("--api-url", "/api/tenants")
    ),
    "an org id that climbs the path": Refusal(_add(org_id="../1"), ("--org-id", "22824")),
    "a name that is taken": Refusal(
        _add(name="acme"), ("acme already", "python -m bot tenants update acme")
    ),
    "the name of the environment's tenant": Refusal(
        _add(name="environment"), ("LEADSQUARED_API_URL",)
    ),
    "no address and nobody to ask": Refusal(
        ("tenants", "add", "other", "--org-id", "1"), ("--api-url",)
    ),
    "one key only": Refusal(_add(), ("two lines", "access key", "secret key"), typed=b"only-one\n"),
    "keys that no key looks like": Refusal(
        _add(), ("access key", "copy it again"), typed="clé\nx\n".encode()
    ),
    "keys that are no text": Refusal(
        _add(HOST, "1", "other", "--keys-file", "binary"), ("keys-file",), file=b"\xff\xfe\nabc\n"
    ),
    "show of an unknown name": Refusal(
        ("tenants", "show", "nobody"), ("nobody", "python -m bot tenants list")
    ),
    "update of an unknown name": Refusal(
        ("tenants", "update", "nobody"), ("nobody", "python -m bot tenants list")
    ),
    "map to an unknown name": Refusal(
        ("tenants", "map", "nobody", "--team", TEAM), ("nobody", "python -m bot tenants list")
    ),
    "map without a workspace": Refusal(("tenants", "map", "acme"), ("--team T",)),
    "map with a channel's id for a workspace's": Refusal(
        ("tenants", "map", "acme", "--team", "C0SUPPORT"), ("--team", "starts with T")
    ),
    "unmap of what is not mapped": Refusal(
        ("tenants", "unmap", "--team", "T0NOWHERE"), ("T0NOWHERE", "tenants list")
    ),
    "an access key on the command line": Refusal(
        _add(HOST, "1", "other", "--access-key", "x"), ("No such option",)
    ),
}
USAGE = {
    "an access key on the command line"
}  # typer's own answer, in a box, with the usage above it


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Run everything that must be refused, side by side, on one database with the tenant acme."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "binary").write_bytes(b"\xff\xfe\nabc\n")
    variables = {
        "DATABASE_URL": f"sqlite:///{folder / 'bot.db'}",
        "ENCRYPTION_KEYS": ENCRYPTION_KEY,
    }
    assert run(*ACME, cwd=folder, variables=variables, typed=KEYS).status == 0
    tasks = [Task(refusal.arguments, variables, refusal.typed) for refusal in REFUSALS.values()]
    ended = dict(zip(REFUSALS, run_all(tasks, folder), strict=True))
    ended["list"] = run("tenants", "list", cwd=folder, variables=variables)
    return ended


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_wrong_ends_with_status_2_and_the_fix(case: str, refused: dict[str, Ended]) -> None:
    ended = refused[case]

    assert ended.status == 2, ended.said
    assert ended.out == ""
    assert "Traceback" not in ended.err
    for words in REFUSALS[case].says:
        assert words in ended.err
    assert case in USAGE or len(ended.problems) == 1, ended.err
    assert ACCESS not in ended.err
    assert SECRET not in ended.err


def test_what_was_refused_changed_nothing(refused: dict[str, Ended]) -> None:
    listed = refused["list"].out.splitlines()
    assert listed == [
        f"acme: {HOST}, org ID 22824, 25 calls in 5 s, attribution none, show ticket off, keys set",
        "  not mapped yet: python -m bot tenants map acme --team T…",
    ]


# -- mappings


CHANNELS = Account("1", "access-of-the-channel", "secret-of-the-channel")
WORKSPACES = Account("2", "access-of-the-workspace", "secret-of-the-workspace")
ENTERPRISES = Account("3", "access-of-the-enterprise", "secret-of-the-enterprise")
OF_THE_ENVIRONMENTS_TENANT = (
    "LEADSQUARED_API_URL",
    "LEADSQUARED_ORG_ID",
    "LEADSQUARED_ACCESS_KEY",
    "LEADSQUARED_SECRET_KEY",
)
SCOPES = {
    "channel": ("--team", TEAM, "--channel", "C0SUPPORT"),
    "workspace": ("--team", TEAM),
    "enterprise": ("--enterprise", "E0CORP"),
}


async def test_a_channels_mapping_wins_over_its_workspaces_and_that_over_its_enterprises(
    slack: SlackStandIn, environment: dict[str, str], directory: Directory, tmp_path: Path
) -> None:
    slack.workspace.enterprise_id = "E0CORP"
    accounts = dict(zip(SCOPES, (CHANNELS, WORKSPACES, ENTERPRISES), strict=True))
    variables = {
        name: value for name, value in environment.items() if name not in OF_THE_ENVIRONMENTS_TENANT
    }
    variables["POLL_INTERVAL"] = "0.2"  # another workspace is answered after three polls

    async def tenants(*arguments: str) -> None:
        ended = await run_beside("tenants", *arguments, cwd=tmp_path, variables=variables)
        assert ended.status == 0, ended.err

    async with LeadSquaredStandIn(list(accounts.values()), {"143": Behaviour.FINE}) as leadsquared:
        for name, account in accounts.items():
            await directory.add(
                Tenant(
                    name, leadsquared.url, account.org_id, account.access_key, account.secret_key
                )
            )
        async with running(variables, slack, leadsquared) as bot:
            refused = await bot.type("143 too early")
            assert refused is not None
            assert "isn't connected to LeadSquared" in refused.text
            # From the widest to the closest, then back: each is in force at once, without a
            # restart.
            for name in reversed(SCOPES):
                await tenants("map", name, *SCOPES[name])
                assert await bot.type(f"143 the {name}'s") is None
            assert await bot.type("143 elsewhere", channel="C0OTHER") is None
            assert await bot.type("143 next door", team_id="T0SECOND") is None
            await tenants("unmap", *SCOPES["channel"])
            assert await bot.type("143 without the channel's") is None
            await bot.at_rest()
            await tenants("remove", "workspace", "--yes")
            assert await bot.type("143 without the workspace's") is None
            await bot.at_rest()

    assert {activity.text: activity.org_id for activity in leadsquared.ledger.activities} == {
        "the enterprise's": ENTERPRISES.org_id,
        "the workspace's": WORKSPACES.org_id,
        "the channel's": CHANNELS.org_id,
        "elsewhere": WORKSPACES.org_id,
        "next door": ENTERPRISES.org_id,
        "without the channel's": WORKSPACES.org_id,
        "without the workspace's": ENTERPRISES.org_id,
    }


# -- what changes where activities go


@pytest.fixture
async def two(directory: Directory) -> Directory:
    """Tenants acme and globex, of which acme has the workspace."""
    for name, org_id in (("acme", "1"), ("globex", "2")):
        await directory.add(Tenant(name, HOST, org_id, ACCESS, SECRET))
    await directory.map("acme", Scope(team_id=TEAM))
    return directory


MAP = ("tenants", "map", "globex", "--team", TEAM)


async def mapped(directory: Directory) -> dict[str, list[str]]:
    names = await directory.names()
    return {name: [str(scope) for scope in await directory.mappings(name)] for name in names}


BEFORE = {"acme": [f"workspace {TEAM}"], "globex": []}
MOVED = {"acme": [], "globex": [f"workspace {TEAM}"]}


async def test_a_mapping_that_exists_is_not_moved_in_silence(
    variables: dict[str, str], two: Directory, tmp_path: Path
) -> None:
    ended = run(*MAP, cwd=tmp_path, variables=variables)

    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.problems
    for words in ("acme", "globex", TEAM, "--move", "Nothing was changed"):
        assert words in line
    assert await mapped(two) == BEFORE

    ended = run(*MAP, "--move", cwd=tmp_path, variables=variables)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"Moved workspace {TEAM} from acme to globex.\n"
    assert await mapped(two) == MOVED


async def test_mapping_what_is_mapped_so_already_is_no_move(
    variables: dict[str, str], two: Directory, tmp_path: Path
) -> None:
    ended = run("tenants", "map", "acme", "--team", TEAM, cwd=tmp_path, variables=variables)
    assert (ended.status, ended.said) == (0, f"Mapped workspace {TEAM} to acme.\n")

    other = ("--team", TEAM, "--channel", "C0OTHER")
    ended = run("tenants", "map", "globex", *other, cwd=tmp_path, variables=variables)
    assert ended.status == 0, "a channel's own mapping takes nothing from its workspace's"
    assert await mapped(two) == {
        "acme": [f"workspace {TEAM}"],
        "globex": [f"workspace {TEAM}, channel C0OTHER"],
    }


@pytest.mark.parametrize(("answer", "status", "after"), [("y", 0, MOVED), ("n", 1, BEFORE)])
async def test_at_a_terminal_a_move_is_asked_about(
    answer: str,
    status: int,
    after: dict[str, list[str]],
    variables: dict[str, str],
    two: Directory,
    tmp_path: Path,
) -> None:
    ended, screen = at_terminal(MAP, [("[y/N]", answer)], tmp_path, variables)

    assert ended == status
    assert "acme" in screen
    assert "globex" in screen
    assert await mapped(two) == after


async def test_a_move_to_a_tenant_that_is_not_there_is_not_asked_about(
    variables: dict[str, str], two: Directory, tmp_path: Path
) -> None:
    move = ("tenants", "map", "nobody", "--team", TEAM, "--move")
    ended = run(*move, cwd=tmp_path, variables=variables)
    assert ended.status == 2
    assert "There is no tenant nobody" in ended.err
    assert await mapped(two) == BEFORE


async def test_a_mapping_that_changed_since_the_yes_is_left_alone(two: Directory) -> None:
    await two.map("globex", Scope(team_id=TEAM))
    with pytest.raises(TenantError, match="is now mapped to globex"):
        await two.map_from("acme", "acme", Scope(team_id=TEAM))
    assert await mapped(two) == MOVED


REMOVE = ("tenants", "remove", "acme")
GONE = "1 mapping and 2 waiting activities"


async def accept(directory: Directory, texts: list[str]) -> None:
    """Accept activities that no worker sends."""
    acceptance = Acceptance(directory._database, Keyring([ENCRYPTION_KEY]))
    for text in texts:
        asked = Submission(None, TEAM, "C0SUPPORT", "U0ANNA", f"key {text}", "143", text)
        assert isinstance(await acceptance.accept(asked), Accepted)


async def test_remove_says_what_goes_with_the_tenant_and_wants_a_yes(
    variables: dict[str, str], two: Directory, tmp_path: Path
) -> None:
    await accept(two, ["one", "two"])
    ended = run(*REMOVE, cwd=tmp_path, variables=variables)

    assert (ended.status, ended.out) == (2, "")
    (line,) = ended.problems
    for words in ("acme", GONE, "--yes", "Nothing was changed"):
        assert words in line
    assert await mapped(two) == BEFORE

    ended = run(*REMOVE, "--yes", cwd=tmp_path, variables=variables)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"Removed acme with {GONE}.\n"
    assert await mapped(two) == {"globex": []}


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("", 1)])
async def test_at_a_terminal_remove_asks(
    answer: str, status: int, variables: dict[str, str], two: Directory, tmp_path: Path
) -> None:
    ended, screen = at_terminal(REMOVE, [("[y/N]", answer)], tmp_path, variables)

    assert ended == status
    assert "1 mapping and 0 waiting activities" in screen
    assert ("acme" in await two.names()) is bool(status)


async def test_another_name_of_the_same_account_is_said(
    variables: dict[str, str], two: Directory, tmp_path: Path
) -> None:
    spelt_otherwise = HOST.upper().replace("HTTPS", "https") + ":443/"
    add = ("tenants", "add", "initech", "--api-url", spelt_otherwise, "--org-id", "2")
    added = run(*add, cwd=tmp_path, variables=variables, typed=KEYS)
    assert added.status == 0
    assert "initech has the same LeadSquared account as: globex" in added.out

    update = ("tenants", "update", "acme", "--org-id", "2")
    updated = run(*update, cwd=tmp_path, variables=variables)
    assert "acme has the same LeadSquared account as: globex, initech" in updated.out

    elsewhere = {
        "LEADSQUARED_API_URL": HOST,
        "LEADSQUARED_ORG_ID": "7",
        "LEADSQUARED_ACCESS_KEY": ACCESS,
        "LEADSQUARED_SECRET_KEY": SECRET,
    }
    update = ("tenants", "update", "acme", "--org-id", "7")
    updated = run(*update, cwd=tmp_path, variables=variables | elsewhere)
    assert "acme has the same LeadSquared account as: environment" in updated.out

    update = ("tenants", "update", "acme", "--org-id", "8")
    assert run(*update, cwd=tmp_path, variables=variables).said == "Updated acme.\n"


async def test_a_mapping_that_this_bots_token_does_not_reach_is_warned_about(
    slack: SlackStandIn, variables: dict[str, str], two: Directory, tmp_path: Path
) -> None:
    variables |= {"SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_API_URL": slack.api_url}

    async def map_to_globex(team: str) -> Ended:
        arguments = ("tenants", "map", "globex", "--team", team)
        return await run_beside(*arguments, cwd=tmp_path, variables=variables)

    ended = await map_to_globex("T0FOREIGN")
    assert ended.status == 0
    (line,) = ended.problems
    assert "no token for workspace T0FOREIGN" in line
    assert f"belongs to workspace {TEAM}" in line

    slack.down = True
    ended = await map_to_globex("T0ELSEWHERE")
    assert (ended.status, ended.err) == (0, ""), "a Slack that is away is no matter of a mapping's"


def test_every_change_is_in_the_log_without_a_key(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    def ran(*arguments: str, keys: str = "") -> Ended:
        return run("tenants", *arguments, cwd=tmp_path, variables=variables, typed=keys)

    assert ran("log").out.strip() == "There is no change yet."
    ran(*ACME[1:], keys=KEYS)
    ran("map", "acme", "--team", TEAM)
    ran("update", "acme", "--org-id", "22825", "--limit", "50")
    ran("update", "acme", keys=f"{NEW_ACCESS}\n{SECRET}\n")
    ran("add", "globex", "--api-url", HOST, "--org-id", "1", keys=KEYS)
    ran("map", "globex", "--team", TEAM, "--move")
    ran("unmap", "--team", TEAM)
    ran("unmap", "--team", "T0NOWHERE")  # changes nothing
    ran("remove", "acme", "--yes")
    log = ran("log").out
    assert [line.split(" ", 2)[2] for line in log.splitlines()] == [
        (
            "operator: added acme (API host apigw.service-in.leadsquared.com, org ID 22824, "
            "rate limit 25, attribution none, show ticket off)"
        ),
        f"operator in {TEAM}: mapped acme (workspace {TEAM})",
        "operator: changed acme (org ID 22824 → 22825, rate limit 25 → 50)",
        "operator: changed acme (access key)",
        (
            "operator: added globex (API host apigw.service-in.leadsquared.com, org ID 1, "
            "rate limit 25, attribution none, show ticket off)"
        ),
        f"operator in {TEAM}: mapped globex (workspace {TEAM}, before: acme)",
        f"operator in {TEAM}: unmapped globex (workspace {TEAM})",
        "operator: removed acme (0 mappings and 0 waiting activities)",
    ]
    assert len(ran("log", "acme").out.splitlines()) == 5
    assert len(ran("log", TEAM).out.splitlines()) == 3
    (newest,) = ran("log", "--limit", "1").out.splitlines()
    assert "removed acme" in newest
    for key in (ACCESS, SECRET, NEW_ACCESS):
        assert key not in log


async def test_who_is_named_and_whether_titles_show_are_changed_without_new_keys(
    directory: Directory, variables: dict[str, str], tmp_path: Path
) -> None:
    await directory.add(Tenant("acme", HOST, "1", ACCESS, SECRET))
    wanted = ("--attribution", "name-and-link", "--show-ticket")
    ended = run("tenants", "update", "acme", *wanted, cwd=tmp_path, variables=variables)
    assert (ended.status, ended.out) == (0, "Updated acme.\n"), ended.err
    tenant = await directory.get("acme", keys=True)
    assert (tenant.attribution, tenant.show_ticket) == ("name-and-link", True)
    assert keys_of(tenant) == (ACCESS, SECRET)
    log = run("tenants", "log", "acme", cwd=tmp_path, variables=variables).out
    assert "attribution none → name-and-link, show ticket off → on" in log
