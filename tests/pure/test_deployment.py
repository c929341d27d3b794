"""What deploys the bot says what the bot does. Its schemas: `make deployment`."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from bot import __version__
from bot.settings import DEFAULT_PORT, Settings
from bot.slack.connections import IDLE_FOR
from support.programs import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
LAST_STAGE = DOCKERFILE.rpartition("\nFROM ")[2]
GRACE = Settings.model_fields["shutdown_grace"].default
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


# -- Dockerfile and compose.yaml


def test_the_image_has_the_python_that_the_tests_run_on() -> None:
    python = (ROOT / ".python-version").read_text().strip()
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert bases == [f"python:{python}-slim-bookworm"] * 2


def test_the_last_stage_runs_as_no_root_has_no_build_tools_and_is_checked_by_readyz() -> None:
    assert "pip uninstall --yes --root-user-action ignore wheel setuptools pip" in LAST_STAGE
    assert not re.search(r"apt-get|pip install|gcc", LAST_STAGE)
    assert re.search(r"^USER [1-9]\d+$", LAST_STAGE, flags=re.MULTILINE), (
        "by number: Kubernetes asks"
    )
    assert "/readyz" in LAST_STAGE.partition("HEALTHCHECK")[2]
    assert f"PORT={DEFAULT_PORT}" in LAST_STAGE


def test_the_image_gets_only_what_it_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+?)/? ", DOCKERFILE, flags=re.MULTILINE)
    first, *rules = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] != "#"
    ]
    assert first == "*"
    assert sorted(rule for rule in rules if rule[0] == "!") == sorted(f"!{name}" for name in copied)


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return read


def test_compose_runs_the_commands_after_the_migration_on_a_database_with_a_volume() -> None:
    services = compose()["services"]
    commands = {name: service.get("command") for name, service in services.items()}
    assert commands == {
        "migrate": ["migrate"],
        "bot": ["run"],
        "worker": ["worker"],
        "database": None,
    }
    for name in ("bot", "worker"):
        waits = services[name]["depends_on"]
        assert waits["migrate"] == {"condition": "service_completed_successfully"}
        assert seconds(services[name]["stop_grace_period"]) > GRACE
        assert services[name]["read_only"] is True
    (volume,) = compose()["volumes"]
    assert services["database"]["volumes"] == [f"{volume}:/var/lib/postgresql/data"]
    assert services["bot"]["ports"] == [f"127.0.0.1:{DEFAULT_PORT}:{DEFAULT_PORT}"]


def test_compose_keeps_no_secret_and_bounds_each_log() -> None:
    for name, service in compose()["services"].items():
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}, name
        for variable, value in service["environment"].items():
            if "PASSWORD" in variable or "KEYS" in variable:
                assert value.startswith("${"), variable
                assert ":?" in value, variable


# -- Kubernetes


def resources() -> dict[tuple[str, str], Any]:
    documents = yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text())
    return {(one["kind"], one["metadata"]["name"]): one for one in documents}


def pods() -> Iterator[dict[str, Any]]:
    for (kind, _), one in resources().items():
        if kind == "Deployment":
            yield one["spec"]["template"]["spec"]


def test_kubernetes_runs_two_webs_with_probes_and_a_worker() -> None:
    web = resources()["Deployment", "portal-activity-web"]["spec"]
    (container,) = web["template"]["spec"]["containers"]
    assert web["replicas"] == 2
    assert container["args"] == ["run"]
    paths = {
        probe: container[f"{probe}Probe"]["httpGet"]["path"]
        for probe in ("startup", "readiness", "liveness")
    }
    assert paths == {"startup": "/readyz", "readiness": "/healthz", "liveness": "/healthz"}
    worker = resources()["Deployment", "portal-activity-worker"]["spec"]["template"]["spec"]
    assert worker["containers"][0]["args"] == ["worker"]


def test_each_pod_migrates_first_runs_as_nobody_and_has_time_to_stop() -> None:
    for pod in pods():
        assert [container["args"] for container in pod["initContainers"]] == [["migrate"]]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert f"USER {pod['securityContext']['runAsUser']}\n" in DOCKERFILE
        assert pod["terminationGracePeriodSeconds"] >= GRACE + 10
        for container in (*pod["initContainers"], *pod["containers"]):
            assert container["image"].endswith(f"portal-activity:{__version__}")
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


# -- systemd and the proxies


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_stops_as_the_bot_does_and_reads_its_settings_from_a_file_of_roots(
    unit: Any,
) -> None:
    text = unit.read_text()
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", text, flags=re.MULTILINE)
    assert int(stop) > GRACE
    assert "EnvironmentFile=/etc/portal-activity.env" in text
    assert re.search(
        r"^ExecStart=/opt/portal-activity/bin/portal-activity (run|worker)$", text, re.M
    )


def test_the_units_have_the_same_rights() -> None:
    hardening = [unit.read_text().partition("\n# It opens")[2] for unit in UNITS]
    assert hardening[0]
    assert len(set(hardening)) == 1


def test_the_proxies_close_an_idle_connection_before_the_bot_does_and_show_no_health_page() -> None:
    nginx = (ROOT / "deploy" / "proxy" / "nginx.conf").read_text()
    caddy = (ROOT / "deploy" / "proxy" / "Caddyfile").read_text()
    for text, kept in (
        (nginx, re.search(r"keepalive_timeout (\d+)s", nginx)),
        (caddy, re.search(r"keepalive (\d+)s", caddy)),
    ):
        assert kept is not None
        assert int(kept[1]) < IDLE_FOR
        assert "/slack/" in text
        assert f"127.0.0.1:{DEFAULT_PORT}" in text
        assert "404" in text


# -- releases


def test_the_version_stands_in_one_place_and_its_release_has_notes() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"] == {"version": {"attr": "bot.__version__"}}
    assert re.search(rf"^(## \[|To become ){re.escape(__version__)}", changelog(), re.MULTILINE)
    notes = (ROOT / "docs" / "releases" / f"{__version__}.md").read_text()
    assert notes.startswith(f"# portal-activity {__version__}\n")


def changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text()


def test_the_workflow_runs_ci_on_each_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    test = workflow["jobs"]["test"]
    assert test["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert ".ci/run" in [step.get("run") for step in test["steps"]]
    assert json.dumps(workflow["jobs"]["release"]).count("make deployment release") == 1
