"""The environment, checked.

What is wrong is said by the variable's name and with its fix, and never with a secret.
"""

import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bot.admin.doubts import doubts, misspelt, nearest
from bot.settings import ConfigurationError, Settings, load_settings, missing_for_slack
from support.running import settings_from

KEY = "an-encryption-secret-of-the-tests-1234"
TENANT = {
    "LEADSQUARED_API_URL": "https://apigw.service-in.leadsquared.com",
    "LEADSQUARED_ORG_ID": "22824",
    "LEADSQUARED_ACCESS_KEY": "an-access-key",
    "LEADSQUARED_SECRET_KEY": "a-secret-key",
}
POSTGRES = {"DATABASE_URL": "postgres://bot:hunter2@db.example/bot", "ENCRYPTION_KEYS": KEY}


def problems_of(**environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        settings_from(environment)
    return refused.value.problems


def test_without_any_setting_it_starts_on_sqlite_in_its_own_folder() -> None:
    settings = settings_from({})
    assert settings.sqlalchemy_url == "sqlite:///data/portal-activity.db"
    assert settings.on_sqlite
    assert settings.leadsquared_api_url is None
    assert settings.leadsquared_allowed_hosts == ("*.leadsquared.com",)
    assert settings.bind_host == "127.0.0.1"


def test_an_empty_variable_is_as_good_as_none() -> None:
    names = ["PORT", "DATABASE_URL", "ENCRYPTION_KEYS", "SLACK_BOT_TOKEN", "LEASE", *TENANT]
    assert settings_from(dict.fromkeys(names, "")) == settings_from({})


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        (
            "SLACK_BOT_TOKEN",
            "xoxp-a-persons-token",
            "must start with xoxb-; copy the Bot User OAuth Token",
        ),
        (
            "SLACK_APP_TOKEN",
            "xoxb-the-other-token",
            "must start with xapp-; make an app-level token",
        ),
        ("SLACK_API_URL", "slack.com", "https://slack.com/api/"),
        (
            "DATABASE_URL",
            "mysql://bot@db.example/bot",
            "use postgres://user:password@host/name, or sqlite:///",
        ),
        ("DATABASE_URL", "bot.db", "use postgres://user:password@host/name, or sqlite:///"),
        ("ENCRYPTION_KEYS", "short", "at least 32 characters"),
        ("ENCRYPTION_KEYS", "x" * 31, "at least 32 characters"),
        ("ENCRYPTION_KEYS", f"{KEY},short", "at least 32 characters"),
        ("ENCRYPTION_KEYS", f"{' ' * 40}short{' ' * 40}", "at least 32 characters"),
        ("LEADSQUARED_ALLOWED_HOSTS", "https://crm.example.com", "not a host name or a pattern"),
        ("LEADSQUARED_ALLOWED_HOSTS", "*.leadsquared.com,*", "not a host name or a pattern"),
        ("PORT", "abc", "must be a whole number from 0 to 65535"),
        ("PORT", "65536", "must be a whole number from 0 to 65535"),
        ("PORT", "-1", "must be a whole number from 0 to 65535"),
        ("LOG_LEVEL", "loud", "must be DEBUG, INFO, WARNING or ERROR"),
        ("LOG_FORMAT", "xml", "must be console or json"),
        ("RETRY_FOR", "0", "must be a number above 0, up to 86400"),
        ("RETRY_FOR", "nan", "must be a number above 0, up to 86400"),
        ("LEADSQUARED_READ_TIMEOUT", "inf", "up to 86400"),
        ("LEADSQUARED_LOOK_AFTER_UNKNOWN", "perhaps", "must be true or false"),
        ("SLACK_SOCKET_CONNECTIONS", "2.5", "must be a whole number from 1 to 10"),
        (
            "SLACK_SOCKET_CONNECTIONS",
            "11",
            "from 1 to 10; Slack allows an app about ten websockets, over all",
        ),
        ("LEADSQUARED_CONNECT_TIMEOUT", "soon", "must be a number above 0, up to 86400"),
        ("LEASE", "4", "must be a number from 5 to 3600"),
        ("DATABASE_URL", "sqlite:///:memory:", "sqlite:///path/to/file.db"),
        ("DATABASE_URL", "sqlite://", "sqlite:///path/to/file.db"),
        ("LEASE", "24", "must be 25 or more"),
        ("SHUTDOWN_GRACE", "2", "must be a number from 3 to 300"),
        ("POLL_INTERVAL", "0", "must be a number from 0.1 to 300"),
    ],
)
def test_each_wrong_setting_is_a_line_with_the_variables_name_and_the_fix(
    name: str, value: str, fix: str
) -> None:
    (line,) = problems_of(**{name: value})
    assert line.startswith(f"{name}: ")
    assert fix in line


def test_all_wrong_settings_are_told_together() -> None:
    lines = problems_of(PORT="abc", LOG_LEVEL="loud", SLACK_BOT_TOKEN="nope", RETRY_FOR="0")
    assert {line.partition(":")[0] for line in lines} == {
        "PORT",
        "LOG_LEVEL",
        "SLACK_BOT_TOKEN",
        "RETRY_FOR",
    }


def test_the_error_reads_as_its_lines() -> None:
    error = ConfigurationError(["A: wrong; fix it", "B: missing"])
    assert str(error) == "A: wrong; fix it\nB: missing"


# -- the tenant in the environment


def test_the_four_variables_of_a_tenant_together_make_one() -> None:
    settings = settings_from(TENANT)
    assert (settings.leadsquared_api_url, settings.leadsquared_org_id) == (
        "https://apigw.service-in.leadsquared.com",
        "22824",
    )
    assert settings.leadsquared_access_key is not None
    assert settings.leadsquared_access_key.get_secret_value() == "an-access-key"


@pytest.mark.parametrize(
    "given", [(name,) for name in TENANT] + [tuple(list(TENANT)[:3]), tuple(list(TENANT)[1:])]
)
def test_some_of_a_tenants_four_variables_are_not_enough_and_each_missing_one_is_named(
    given: tuple[str, ...],
) -> None:
    lines = problems_of(**{name: TENANT[name] for name in given})
    assert [line.partition(":")[0] for line in lines] == [
        name for name in TENANT if name not in given
    ]
    assert all("set all four LEADSQUARED_*" in line for line in lines)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://leadsquared.com.evil.example", "LEADSQUARED_ALLOWED_HOSTS"),
        ("http://apigw.service-in.leadsquared.com", "must be https"),
        ("apigw.service-in.leadsquared.com", "must start with https://"),
    ],
)
def test_the_tenants_address_is_checked_at_start(url: str, says: str) -> None:
    (line,) = problems_of(**TENANT | {"LEADSQUARED_API_URL": url})
    assert line.startswith("LEADSQUARED_API_URL: ")
    assert says in line


@pytest.mark.parametrize(
    "org_id", ["..", "../../x", "22824/ticket/1", "228 24", "\uff12\uff12\uff18\uff12\uff14"]
)
def test_an_org_id_that_is_none_is_refused_at_start_as_tenants_add_does(org_id: str) -> None:
    (line,) = problems_of(**TENANT | {"LEADSQUARED_ORG_ID": org_id})
    assert line.startswith("LEADSQUARED_ORG_ID: ")


@pytest.mark.parametrize("name", ["LEADSQUARED_ACCESS_KEY", "LEADSQUARED_SECRET_KEY"])
@pytest.mark.parametrize("key", ["two words", "line\nbreak", "ключ-to-the-door"])
def test_a_key_that_cannot_stand_in_a_header_is_refused_at_start_and_not_repeated(
    name: str, key: str
) -> None:
    (line,) = problems_of(**TENANT | {name: key})
    assert line.startswith(f"{name}: ")
    assert key not in line


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("*.leadsquared.com", ("*.leadsquared.com",)),
        ("crm.example.com", ("crm.example.com",)),
        (" *.LeadSquared.com , crm.example.com. ,, ", ("*.leadsquared.com", "crm.example.com")),
    ],
)
def test_allowed_hosts_are_a_list_with_commas(text: str, hosts: tuple[str, ...]) -> None:
    assert settings_from({"LEADSQUARED_ALLOWED_HOSTS": text}).leadsquared_allowed_hosts == hosts


def test_a_host_of_ones_own_makes_its_address_acceptable() -> None:
    environment = TENANT | {"LEADSQUARED_API_URL": "https://crm.example.com"}
    assert problems_of(**environment)[0].startswith("LEADSQUARED_API_URL: ")
    settings = settings_from(environment | {"LEADSQUARED_ALLOWED_HOSTS": "crm.example.com"})
    assert settings.leadsquared_api_url == "https://crm.example.com"


# -- the database


@pytest.mark.parametrize(
    ("url", "as_sqlalchemy_spells_it"),
    [
        (
            "postgres://bot:hunter2@db.example:5432/bot",
            "postgresql+psycopg://bot:hunter2@db.example:5432/bot",
        ),
        (
            "postgresql://bot@db.example/bot?sslmode=require",
            "postgresql+psycopg://bot@db.example/bot?sslmode=require",
        ),
        ("postgresql+psycopg://db.example/bot", "postgresql+psycopg://db.example/bot"),
        ("postgres://bot:a://b@db.example/bot", "postgresql+psycopg://bot:a://b@db.example/bot"),
        ("sqlite:///path/to/bot.db", "sqlite:///path/to/bot.db"),
    ],
)
def test_the_database_is_spelt_as_sqlalchemy_wants_it(
    url: str, as_sqlalchemy_spells_it: str
) -> None:
    settings = settings_from({"DATABASE_URL": url, "ENCRYPTION_KEYS": KEY})
    assert settings.sqlalchemy_url == as_sqlalchemy_spells_it
    assert settings.on_sqlite is url.startswith("sqlite")


@pytest.mark.parametrize("url", ["postgres:bot", "postgresql:/db.example/bot", "sqlite:bot.db"])
def test_a_database_without_slashes_is_refused_here_and_not_with_a_traceback_later(
    url: str,
) -> None:
    lines = problems_of(DATABASE_URL=url, ENCRYPTION_KEYS=KEY)
    assert lines[0].startswith("DATABASE_URL: ")


@pytest.mark.parametrize(
    "url",
    [
        "postgres://",
        "postgres:///",
        "postgresql://db.example",
        "postgres://bot:hunter2@db.example:5432/",
    ],
)
def test_an_address_that_names_no_database_is_refused_and_not_left_to_the_driver(url: str) -> None:
    (line,) = problems_of(DATABASE_URL=url, ENCRYPTION_KEYS=KEY)
    assert line == (
        "DATABASE_URL: has no database name; write it at the end: "
        "postgres://user:password@host/name"
    )


def test_no_setting_is_refused_in_the_librarys_words() -> None:
    lines = problems_of(**{name.upper(): "\x01" for name in Settings.model_fields})
    assert len(lines) > 10
    assert [
        line for line in lines if "nput should" in line or not line.partition(":")[0].isupper()
    ] == []


def test_the_sqlite_file_lies_in_the_data_folder() -> None:
    assert (
        settings_from({"DATA_DIR": "/srv/bot"}).sqlalchemy_url
        == "sqlite:////srv/bot/portal-activity.db"
    )


@pytest.mark.parametrize("database", [{}, {"DATABASE_URL": "sqlite:///bot.db"}])
def test_sqlite_is_refused_on_heroku_whose_disk_does_not_last(database: dict[str, str]) -> None:
    (line,) = problems_of(DYNO="web.1", **database)
    assert line.startswith("DATABASE_URL: ")
    assert "heroku addons:create heroku-postgresql" in line


def test_on_heroku_with_postgresql_it_listens_to_the_outside() -> None:
    settings = settings_from({"DYNO": "web.1", **POSTGRES})
    assert settings.on_heroku
    assert settings.bind_host == "0.0.0.0"  # noqa: S104


def test_a_host_that_is_set_is_listened_on_whatever_the_platform() -> None:
    assert settings_from({"DYNO": "web.1", "HOST": "10.0.0.1", **POSTGRES}).bind_host == "10.0.0.1"


def test_with_postgresql_the_encryption_secret_is_not_left_to_chance() -> None:
    (line,) = problems_of(DATABASE_URL=POSTGRES["DATABASE_URL"])
    assert line.startswith("ENCRYPTION_KEYS: missing")
    assert "secrets.token_urlsafe" in line


def test_encryption_keys_are_a_list_with_commas_newest_first() -> None:
    settings = settings_from({"ENCRYPTION_KEYS": f" {KEY}-new , {KEY}-old ,"})
    assert [key.get_secret_value() for key in settings.encryption_keys] == [
        f"{KEY}-new",
        f"{KEY}-old",
    ]


# -- what the bot needs for Slack


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({}, ["SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET"]),
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, ["SLACK_SIGNING_SECRET"]),
        ({"SLACK_SIGNING_SECRET": "s"}, ["SLACK_BOT_TOKEN"]),
        ({"SLACK_APP_TOKEN": "xapp-1"}, ["SLACK_BOT_TOKEN"]),
        ({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "s"}, []),
        ({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}, []),
    ],
)
def test_what_slack_still_lacks_is_named_with_where_to_find_it(
    environment: dict[str, str], missing: list[str]
) -> None:
    lines = missing_for_slack(settings_from(environment), surface=True)
    assert [line.partition(":")[0] for line in lines] == missing
    assert all("from your Slack app's page" in line for line in lines)


@pytest.mark.parametrize(
    ("environment", "missing"), [({}, ["SLACK_BOT_TOKEN"]), ({"SLACK_BOT_TOKEN": "xoxb-1"}, [])]
)
def test_without_a_surface_of_its_own_only_the_token_is_needed(
    environment: dict[str, str], missing: list[str]
) -> None:
    lines = missing_for_slack(settings_from(environment), surface=False)
    assert [line.partition(":")[0] for line in lines] == missing


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/api", "http://127.0.0.1:8080/api/"])
def test_slacks_address_ends_in_a_slash(url: str) -> None:
    assert settings_from({"SLACK_API_URL": url}).slack_api_url == "http://127.0.0.1:8080/api/"


# -- where settings come from


def test_the_environment_goes_before_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    file.write_text("# a comment\nPORT=1111\nLOG_LEVEL=debug\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("PORT", "2222")
    settings = load_settings()
    assert (settings.port, settings.log_level) == (2222, "DEBUG")


def test_an_env_file_in_another_encoding_is_a_problem_in_words(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes("LOG_LEVEL=debug\n".encode("utf-16"))
    with pytest.raises(ConfigurationError, match=r"\.env"):
        load_settings(env_file=file)


@pytest.mark.parametrize(
    ("text", "level"), [("debug", "DEBUG"), ("Warning", "WARNING"), ("ERROR", "ERROR")]
)
def test_the_log_level_may_be_written_in_any_case(text: str, level: str) -> None:
    assert settings_from({"LOG_LEVEL": text, "LOG_FORMAT": "JSON"}).log_level == level


def test_the_lease_must_outlive_the_longest_call() -> None:
    timeouts = {"LEADSQUARED_CONNECT_TIMEOUT": "1", "LEADSQUARED_READ_TIMEOUT": "2"}
    assert settings_from(timeouts | {"LEASE": "13"}).call_deadline == 8
    (line,) = problems_of(**timeouts, LEASE="12.9")
    assert line.startswith("LEASE: ")


def test_settings_do_not_change_once_read() -> None:
    settings = settings_from({})
    with pytest.raises(ValidationError):
        settings.port = 1  # type: ignore[misc]


# -- secrets

SECRETS = {
    "SLACK_BOT_TOKEN": "xoxb-hush-0123456789",
    "SLACK_SIGNING_SECRET": "hush-signing-0123456789",
    "SLACK_APP_TOKEN": "xapp-hush-0123456789",
    "LEADSQUARED_ACCESS_KEY": "hush-access-0123456789",
    "LEADSQUARED_SECRET_KEY": "hush-secret-0123456789",
    "DATABASE_URL": "postgres://bot:hush@db.example/bot",
    "ENCRYPTION_KEYS": "hush-encryption-0123456789-0123456789",
}


def test_settings_show_no_secret() -> None:
    settings: Settings = settings_from(TENANT | SECRETS)
    shown: list[Any] = [
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        f"{settings.encryption_keys}",
    ]
    assert [text for text in shown if "hush" in text] == []
    assert settings.slack_bot_token is not None
    assert settings.slack_bot_token.get_secret_value() == SECRETS["SLACK_BOT_TOKEN"]


@pytest.mark.parametrize(
    "environment",
    [
        {"SLACK_BOT_TOKEN": "hush-no-token"},
        {"SLACK_APP_TOKEN": "hush-no-token"},
        {"DATABASE_URL": "mysql://bot:hush@db.example/bot"},
        {"DATABASE_URL": "postgres://bot:hush@db.example/bot"},
        {"DATABASE_URL": "sqlite:///hush.db", "DYNO": "web.1"},
        {"ENCRYPTION_KEYS": "hush"},
        {"ENCRYPTION_KEYS": '["hush"]'},
        {"LEADSQUARED_ACCESS_KEY": "hush"},
        TENANT | {"LEADSQUARED_API_URL": "https://bot:hush@apigw.service-in.leadsquared.com"},
        TENANT | {"LEADSQUARED_API_URL": "https://apigw.service-in.leadsquared.com/?key=hush"},
        SECRETS | {"LEASE": "6"},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_a_problem_with_the_settings_shows_no_secret(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings_from(environment)
    error = refused.value
    shown = [str(error), repr(error), *error.problems, *traceback.format_exception(error)]
    assert [text for text in shown if "hush" in text] == []


def test_a_refused_secret_is_not_repeated_even_by_the_validation_itself() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"slack_bot_token": "hush-no-token"})
    assert "hush" not in str(refused.value)


NOT_ENCODED = ["gold@fish", "gold@fish/tank", "gold@fish#tank", "gold/fish@tank?door", "@gold"]


@pytest.mark.parametrize("password", NOT_ENCODED)
def test_a_password_that_is_not_percent_encoded_is_refused_and_not_shown(password: str) -> None:
    url = f"postgres://bot:{password}@db.example/bot"
    (line,) = problems_of(DATABASE_URL=url, ENCRYPTION_KEYS=KEY)
    assert line.startswith("DATABASE_URL: ")
    assert "percent-encode" in line
    assert not [part for part in ("gold", "fish", "tank", "door") if part in line]


def test_a_sqlite_file_may_have_any_name() -> None:
    assert settings_from({"DATABASE_URL": "sqlite:///a@b@c.db"}).on_sqlite


# -- white space

PADDINGS = [" {} ", "{}\n", "\r\n{}\r\n", "\t{}\u00a0"]


@pytest.mark.parametrize("padding", PADDINGS)
def test_white_space_around_a_value_is_dropped(padding: str) -> None:
    plain = TENANT | SECRETS | {"PORT": "3000", "LOG_LEVEL": "INFO"}
    padded = {name: padding.format(value) for name, value in plain.items()}
    assert settings_from(padded) == settings_from(plain)


def test_white_space_alone_is_as_good_as_nothing() -> None:
    names = ["SLACK_BOT_TOKEN", "DATABASE_URL", "ENCRYPTION_KEYS", "PORT", "LOG_LEVEL", *TENANT]
    assert settings_from(dict.fromkeys(names, " \n")) == settings_from({})


# -- what is probably wrong

SLIPS = {
    "ENCRYPTION_KEY": "ENCRYPTION_KEYS",
    "ENCRYPTIONKEYS": "ENCRYPTION_KEYS",
    "ENCRYPTON_KEY": "ENCRYPTION_KEYS",
    "encryption_key": "ENCRYPTION_KEYS",
    "LOG_LEVL": "LOG_LEVEL",
    "LOG_LEVLE": "LOG_LEVEL",
    "LOG_LEBEL": "LOG_LEVEL",
    "LOGLEVEL": "LOG_LEVEL",
    "LOG_FORMATS": "LOG_FORMAT",
    "RETRYFOR": "RETRY_FOR",
    "RETRY_FRO": "RETRY_FOR",
    "LEASES": "LEASE",
    "DATADIR": "DATA_DIR",
    "DATABSE_URL": "DATABASE_URL",
    "DATABASE_ULR": "DATABASE_URL",
    "DATA_BASE_URL": "DATABASE_URL",
    "POLL_INTERVALL": "POLL_INTERVAL",
    "SHUTDOWN_GRACES": "SHUTDOWN_GRACE",
    "SLACK_SIGNING_SECERT": "SLACK_SIGNING_SECRET",
    "SLACK_SIGNIN_SECRET": "SLACK_SIGNING_SECRET",
    "SLACK_BOTTOKEN": "SLACK_BOT_TOKEN",
    "SLAK_BOT_TOKEN": "SLACK_BOT_TOKEN",
    "SLACK_APP_TOKENS": "SLACK_APP_TOKEN",
    "SLACK_SOCKET_CONNECTION": "SLACK_SOCKET_CONNECTIONS",
    "LEADSQUARED_ORGID": "LEADSQUARED_ORG_ID",
    "LEADSQUARED_URL": "LEADSQUARED_API_URL",
    "LEADSQUARED_KEY": "LEADSQUARED_SECRET_KEY",
    "LEAD_SQUARED_API_URL": "LEADSQUARED_API_URL",
}
OTHERS = """
    ACCESS_KEY API_URL APP_LOG_LEVEL DATABASE DATABASE_HOST DATABASE_NAME DATABASE_PASSWORD
    DATABASE_PORT DATABASE_URI DATABASE_URL_2 DATABASE_URL_RO DATABASE_USER DBUS_SESSION_BUS_ADDRESS
    DYNO_RAM DYNOS EXPORT GHOST HEROKU_APP_NAME HEROKU_DYNO_ID HEROKU_POSTGRESQL_COLOR_URL HOME
    HOSTNAME HOSTS HOSTTYPE LANG LESS LOG_DIR LOG_FILE LOG_LEVEL_SQL LOGNAME LS_COLORS
    N8N_ENCRYPTION_KEY PATH PGHOST PGPORT PLATFORM POOL_SIZE PORTAL PORTS POST PWD PYTHONPATH
    REDIS_URL RELEASE RETRY_MAX
    SECRET_KEY SHELL SHLVL SLACK_API_TOKEN SLACK_CHANNEL SLACK_TEAM_ID SLACK_TOKEN SLACK_USER_TOKEN
    SLACK_WEBHOOK_URL SSH_AUTH_SOCK SUPPORT TERM TEST_DATABASE_URL TMPDIR USER XDG_DATA_DIRS _
"""


@pytest.mark.parametrize(("written", "meant"), SLIPS.items())
def test_a_slip_in_a_variables_name_is_named_with_what_was_meant(written: str, meant: str) -> None:
    assert nearest([written]) == {written: meant}


def test_variables_of_other_programs_and_our_own_are_left_alone() -> None:
    assert nearest(OTHERS.split()) == {}
    assert nearest(Settings.model_fields) == {}
    assert nearest(name.upper() for name in Settings.model_fields) == {}


def test_a_misspelt_variable_is_named_with_its_place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / ".env").write_text("export LOG_LEVL=debug\n# RETRYFOR=1\nnonsense here\nPORT=1\n")
    monkeypatch.setenv("ENCRYPTION_KEY", "hush")
    lines = misspelt()
    assert [line.partition(" is not a setting")[0] for line in lines] == [
        "LOG_LEVL (in .env)",
        "ENCRYPTION_KEY (in the environment)",
    ]
    meant = [line.rpartition("did you mean ")[2] for line in lines]
    assert meant == ["LOG_LEVEL?", "ENCRYPTION_KEYS?"]
    assert "hush" not in str(lines)


@pytest.mark.parametrize(
    ("secret", "is_doubtful"),
    [
        ("0123456789abcdef0123456789abcdef", False),
        ("0123456789ABCDEF0123456789ABCDEF", False),
        (" 0123456789abcdef0123456789abcdef\n", False),
        ("0123456789abcdef0123456789abcde", True),
        ("0123456789abcdef0123456789abcdef0", True),
        ("0123456789abcdef0123456789abcdeg", True),
        ("xoxb-0123456789", True),
    ],
)
def test_a_signing_secret_that_cannot_be_one_is_named(secret: str, is_doubtful: object) -> None:
    found = doubts(settings_from({"SLACK_SIGNING_SECRET": secret}))
    assert bool(found) is is_doubtful
    assert all(line.startswith("SLACK_SIGNING_SECRET ") and secret not in line for line in found)


MANY = {"SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "a-client-secret"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (MANY | {"SLACK_BOT_TOKEN": "xoxb-1"}, "SLACK_BOT_TOKEN: it serves one workspace"),
        (
            {"SLACK_CLIENT_ID": "1.2", "SLACK_BOT_TOKEN": "xoxb-1"},
            "SLACK_BOT_TOKEN: it serves one workspace",
        ),
        ({"SLACK_CLIENT_ID": "1.2"}, "SLACK_CLIENT_SECRET: missing"),
        ({"SLACK_CLIENT_SECRET": "a-client-secret"}, "SLACK_CLIENT_ID: missing"),
    ],
)
def test_one_workspace_and_many_at_once_are_refused(given: dict[str, str], line: str) -> None:
    (problem,) = problems_of(**given)
    assert problem.startswith(line)
    assert "a-client-secret" not in problem


def test_many_workspaces_need_no_bot_token() -> None:
    assert missing_for_slack(settings_from(MANY), surface=False) == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, []),
        ({"SLACK_APP_TOKEN": "xapp-1"}, ["PORT"]),
        ({"SLACK_APP_TOKEN": "xapp-1", "PORT": "3000"}, []),
        (TENANT, ["LEADSQUARED_API_URL"]),
    ],
)
def test_what_does_not_go_with_many_workspaces_is_named(
    given: dict[str, str], named: list[str]
) -> None:
    assert [line.split()[0] for line in doubts(settings_from(MANY | given))] == named
