"""The files beside the code say what the code says."""

import importlib
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bot.admin.manifest import NoAddressError, as_json, for_organisations, read_manifest
from bot.admin.manifest import for_http as at_an_address
from bot.encryption import Keyring
from bot.playground.page.server import HINT
from bot.settings import DEFAULT_PORT, Settings, load_settings
from bot.slack.answers import COMMAND
from bot.slack.front import PATH
from bot.slack.modals import CALLBACK
from bot.slack.scopes import SCOPES
from support.programs import ROOT

MANIFEST = ROOT / "manifest.yml"
REQUIREMENTS = ["requirements.txt", "requirements-dev.txt", "requirements-release.txt"]


# -- manifest.yml


def for_socket_mode() -> str:
    return MANIFEST.read_text()


def for_http() -> str:
    """Follow the instruction at the top of the manifest."""
    switched = for_socket_mode().replace("socket_mode_enabled: true", "socket_mode_enabled: false")
    return re.sub(r"^(\s+)# (\w*url: )", r"\1\2", switched, flags=re.MULTILINE)


def printed() -> str:
    """The manifest as `python -m bot manifest --url …` prints it."""
    return at_an_address(read_manifest(), "https://bot.example.com/")


VARIANTS = {"socket mode": for_socket_mode, "http": for_http, "http, printed": printed}


def manifest(variant: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(VARIANTS[variant]())
    return read


def of(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """An object that holds these and nothing else."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


def words(least: int, most: int, **more: Any) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": most, **more}


def several(item: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1, "maxItems": most, "uniqueItems": True}


FLAG = {"type": "boolean"}
ADDRESS = words(9, 3000, pattern="^https://")
# As far as this app goes: https://docs.slack.dev/reference/app-manifest
SLACK_TAKES = of(
    ("display_information",),
    display_information=of(
        ("name",),
        name=words(1, 35),
        description=words(1, 140),
        background_color=words(4, 7, pattern="^#([0-9a-fA-F]{3}){1,2}$"),
    ),
    features=of(
        app_home=of(
            home_tab_enabled=FLAG, messages_tab_enabled=FLAG, messages_tab_read_only_enabled=FLAG
        ),
        bot_user=of(("display_name",), display_name=words(1, 80), always_online=FLAG),
        shortcuts=several(
            of(
                ("name", "type", "callback_id", "description"),
                name=words(1, 24),
                type={"enum": ["message", "global"]},
                callback_id=words(1, 255),
                description=words(1, 150),
            ),
            10,
        ),
        slash_commands=several(
            of(
                ("command", "description"),
                command=words(2, 32, pattern="^/"),
                url=ADDRESS,
                description=words(1, 2000),
                usage_hint=words(1, 1000),
                should_escape=FLAG,
            ),
            50,
        ),
    ),
    oauth_config=of(
        redirect_urls=several(ADDRESS, 1000),
        scopes=of(bot=several(words(1, 50), 255)),
    ),
    settings=of(
        interactivity=of(("is_enabled",), is_enabled=FLAG, request_url=ADDRESS),
        event_subscriptions=of(request_url=ADDRESS, bot_events=several(words(1, 50), 100)),
        org_deploy_enabled=FLAG,
        socket_mode_enabled=FLAG,
        token_rotation_enabled=FLAG,
    ),
)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_manifest_has_the_shape_and_the_lengths_that_slack_takes(variant: str) -> None:
    jsonschema.validate(manifest(variant), SLACK_TAKES)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("name: Record in LeadSquared", "name: Record this in LeadSquared"),
        ("type: message", "type: messages"),
        ("should_escape: true", "should_escape: maybe"),
        ("callback_id:", "callback:"),
        ("command: /portal-activity", "command: portal-activity"),
        ("# url: https:", "url: http:"),
    ],
)
def test_a_manifest_that_slack_would_not_take_is_found(right: str, wrong: str) -> None:
    assert right in for_socket_mode()
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(for_socket_mode().replace(right, wrong, 1)), SLACK_TAKES)


# -- .ci/run


def test_ci_says_that_it_is_ci_before_it_tests() -> None:
    assert "export CI=1" in (ROOT / ".ci" / "run").read_text().partition("make test\n")[0]


def test_the_manifest_asks_for_the_scopes_that_check_looks_for_and_no_more() -> None:
    assert manifest("socket mode")["oauth_config"] == {"scopes": {"bot": list(SCOPES)}}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_manifest_has_the_command_as_it_is_registered_with_its_text_escaped(
    variant: str,
) -> None:
    (command,) = manifest(variant)["features"]["slash_commands"]
    assert command["command"] == COMMAND
    assert command["should_escape"] is True
    assert manifest(variant)["settings"]["interactivity"]["is_enabled"] is True


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_manifest_subscribes_to_the_events_that_the_bot_takes(variant: str) -> None:
    wanted = manifest(variant)
    assert wanted["features"]["app_home"]["home_tab_enabled"] is True
    text = "".join(file.read_text() for file in (ROOT / "bot" / "slack").glob("*.py"))
    taken = re.findall(r'bolt\.event\("(\w+)"\)', text)
    assert sorted(wanted["settings"]["event_subscriptions"]["bot_events"]) == sorted(taken)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_manifest_has_the_shortcut_as_it_is_registered_with_a_name_that_slack_takes(
    variant: str,
) -> None:
    (shortcut,) = manifest(variant)["features"]["shortcuts"]
    assert (shortcut["name"], shortcut["type"]) == ("Record in LeadSquared", "message")
    assert shortcut["callback_id"] == CALLBACK == "record_portal_activity"
    assert len(shortcut["name"]) <= 24
    assert len(shortcut["description"]) <= 150


def test_over_http_everything_goes_to_the_one_path_and_as_many_lines_as_the_manifest_says() -> None:
    addresses = re.findall(r"^\s+\w*url: (\S+)$", for_http(), flags=re.MULTILINE)
    said = re.search(r"take the # from the (\w+) lines", for_socket_mode())
    assert said is not None
    assert len(addresses) == {"two": 2, "three": 3, "four": 4}[said[1]]
    assert all(address.endswith(PATH) for address in addresses)
    assert manifest("http")["settings"]["socket_mode_enabled"] is False
    assert not re.findall(r"^\s+\w*url: ", for_socket_mode(), flags=re.MULTILINE)


def test_the_package_has_the_manifest_and_prints_it_as_json_for_slacks_command_line() -> None:
    assert read_manifest() == MANIFEST.read_text()
    assert json.loads(as_json(read_manifest())) == manifest("socket mode")


def test_with_an_address_the_printed_manifest_names_it_everywhere_and_nothing_else_changes() -> (
    None
):
    wanted = manifest("http, printed")
    assert wanted["oauth_config"].pop("redirect_urls") == [
        "https://bot.example.com/slack/oauth_redirect"
    ]
    by_hand = for_http().replace("https://YOUR-APP.herokuapp.com", "https://bot.example.com")
    assert wanted == yaml.safe_load(by_hand)
    assert "YOUR-APP" not in printed()


def test_an_app_for_organisations_says_so() -> None:
    settings = yaml.safe_load(for_organisations(read_manifest()))["settings"]
    assert settings["org_deploy_enabled"] is True


@pytest.mark.parametrize(
    "address",
    [
        "http://bot.example.com",
        "bot.example.com",
        "https://",
        "https://bot.example.com/slack/events",
        "https://user@bot.example.com",
        "https://[",
        "",
    ],
)
def test_an_address_that_slack_could_not_reach_is_refused(address: str) -> None:
    with pytest.raises(NoAddressError, match=r"https://bot\.example\.com"):
        at_an_address(read_manifest(), address)


def test_the_hooks_of_slacks_command_line_are_commands_that_there_are() -> None:
    hooks = json.loads((ROOT / ".slack" / "hooks.json").read_text())["hooks"]
    assert hooks == {
        "get-manifest": "python3 -m bot manifest --json",
        "start": "exec python3 -m bot run",
    }


# -- .env.example


def example() -> dict[str, tuple[str, str]]:
    """Return each variable's value and the comment above it."""
    found: dict[str, tuple[str, str]] = {}
    above: list[str] = []
    for line in (ROOT / ".env.example").read_text().splitlines():
        variable = re.fullmatch(r"(?:# )?([A-Z_]+)=(.*)", line)
        if variable:
            assert variable[1] not in found, f"{variable[1]} stands twice"
            found[variable[1]] = (variable[2], " ".join(above))
            above = []
        elif line.startswith("# "):
            above.append(line.removeprefix("# "))
        else:
            above = []
    return found


def test_the_example_has_every_setting_and_no_other() -> None:
    assert set(example()) == {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("name", [name.upper() for name in Settings.model_fields])
def test_a_sentence_stands_above_each_setting(name: str) -> None:
    _, above = example()[name]
    assert re.fullmatch(r"(?:[A-Z0-9].*|console, or .*|json.*)\.", above), above
    assert len(above.split()) >= 4


def test_the_values_of_the_example_are_the_defaults() -> None:
    # What has no default shows how it is written, or what it comes to outside Heroku.
    shown = {
        "LEADSQUARED_API_URL": "https://apigw.service-in.leadsquared.com",
        "LEADSQUARED_ORG_ID": "22824",
        "HOST": load_settings(env_file=None).bind_host,
        "PORT": str(DEFAULT_PORT),
    }
    for name, field in Settings.model_fields.items():
        value, _ = example()[name.upper()]
        if name.upper() in shown:
            assert value == shown[name.upper()], name
            assert field.default is None, name
        elif value:
            assert getattr(load_settings(env_file=None, **{name: value}), name) == field.default, (
                name
            )
        else:
            assert not field.default, name


def test_the_example_copied_as_it_is_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    assert load_settings(env_file=tmp_path / ".env") == load_settings(env_file=None)


# -- app.json

GIVEN_BY_HEROKU = {"DATABASE_URL", "PORT", "DYNO"}
NOT_FOR_HEROKU = {"HOST", "DATA_DIR", "SLACK_APP_TOKEN", "SLACK_SOCKET_CONNECTIONS", "METRICS_PORT"}


def app() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((ROOT / "app.json").read_text())
    return read


def test_the_heroku_button_describes_each_setting_as_the_example_does() -> None:
    described = {name: setting["description"] for name, setting in app()["env"].items()}
    assert described == {
        name: above
        for name, (_, above) in example().items()
        if name not in GIVEN_BY_HEROKU | NOT_FOR_HEROKU
    }


def test_the_heroku_button_asks_for_what_has_no_default_and_makes_the_secret() -> None:
    asked = app()["env"]
    assert asked["ENCRYPTION_KEYS"]["generator"] == "secret"
    assert [name for name, setting in asked.items() if setting.get("required", True)] == [
        "SLACK_SIGNING_SECRET",
        "ENCRYPTION_KEYS",
    ]
    assert not [name for name, setting in asked.items() if "value" in setting]


def test_the_heroku_button_brings_postgresql_and_a_dyno_that_does_not_sleep() -> None:
    assert [addon.partition(":")[0] for addon in app()["addons"]] == ["heroku-postgresql"]
    assert app()["formation"]["web"] == {"quantity": 1, "size": "basic"}
    assert app()["buildpacks"] == [{"url": "heroku/python"}]


def test_a_secret_as_heroku_generates_it_encrypts() -> None:
    (secret,) = load_settings(env_file=None, encryption_keys="5f" * 32).encryption_keys
    keys = Keyring([secret.get_secret_value()])
    assert keys.decrypt(keys.encrypt("words")) == "words"


# -- requirements and pyproject.toml


def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        read: dict[str, Any] = tomllib.load(file)
    return {**read["project"], "groups": read["dependency-groups"]}


def locked(file: str) -> dict[str, tuple[str, list[str]]]:
    """Return each requirement's version and hashes."""
    text = re.sub(r"\\\n\s*", "", (ROOT / file).read_text())
    found: dict[str, tuple[str, list[str]]] = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            assert not line.startswith("-"), f"an option in {file}: {line}"
            requirement = Requirement(line.partition(" --hash")[0])
            (pin,) = requirement.specifier
            assert pin.operator == "==", line
            hashes = re.findall(r"--hash=(\S+)", line)
            found[canonicalize_name(requirement.name)] = (pin.version, hashes)
    return found


@pytest.mark.parametrize("file", REQUIREMENTS)
def test_every_requirement_has_hashes_and_no_index_is_named(file: str) -> None:
    assert not re.search(r"https?:|index-url|find-links|trusted-host", (ROOT / file).read_text())
    assert len(locked(file)) > 10
    for name, (_, hashes) in locked(file).items():
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", hash_) for hash_ in hashes), name


@pytest.mark.parametrize("file", REQUIREMENTS)
def test_every_dependency_is_among_the_requirements_in_a_version_that_fits(file: str) -> None:
    wanted = list(project()["dependencies"])
    if file == "requirements-dev.txt":
        wanted += project()["optional-dependencies"]["dev"]
    if file == "requirements-release.txt":
        wanted = project()["groups"]["release"]
    for requirement in map(Requirement, wanted):
        version, _ = locked(file)[canonicalize_name(requirement.name)]
        assert version in requirement.specifier, requirement
    extra = "lxml" if file == "requirements-release.txt" else "psycopg-binary"
    assert extra in locked(file), "what an extra brings is there as well"


def test_the_tests_run_with_the_versions_that_the_bot_runs_with() -> None:
    runtime, development = locked("requirements.txt"), locked("requirements-dev.txt")
    assert {name: development.get(name) for name in runtime} == runtime
    for name, pin in locked("requirements-release.txt").items():
        assert development.get(name, pin) == pin


def test_the_console_script_resolves() -> None:
    assert project()["scripts"].keys() == {"portal-activity"}
    module, _, name = project()["scripts"]["portal-activity"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))


# -- the playground's page


def test_the_page_shows_the_manifests_command_and_shortcut() -> None:
    features = manifest("http")["features"]
    (command,), (shortcut,) = features["slash_commands"], features["shortcuts"]
    assert {
        "command": command["command"],
        "usage": command["usage_hint"],
        "says": command["description"],
        "shortcut": shortcut["name"],
    } == HINT


def test_the_page_can_show_every_block_and_element_that_the_bot_uses() -> None:
    built = "".join(
        (ROOT / "bot" / "slack" / f"{name}.py").read_text()
        for name in ("answers", "home_view", "modals", "setup_modal")
    )
    types = set(re.findall(r'"type": "(\w+)"', built)) - {"modal", "home"}
    page = (ROOT / "bot/playground/page/static/app.js").read_text()
    assert {"section", "static_select", "checkboxes"} <= types
    assert [one for one in sorted(types - {"plain_text"}) if f'"{one}"' not in page] == []
