"""The Slack app's manifest: as it stands for Socket Mode, or with an address for HTTP."""

import json
import re
from importlib.resources import files
from urllib.parse import urlsplit

import yaml

PLACEHOLDER = "https://YOUR-APP.herokuapp.com"
WAITS_FOR_AN_ADDRESS = re.compile(rf"^(\s+)# (\w*urls?:|  - {PLACEHOLDER})", re.MULTILINE)
"""A line that is a comment until the bot has an address."""


class NoAddressError(ValueError):
    """The address cannot be the bot's; the message says what one looks like."""


def read_manifest() -> str:
    """Return manifest.yml, which stands in the package as well."""
    return (files("bot") / "manifest.yml").read_text(encoding="utf-8")


def for_http(manifest: str, url: str) -> str:
    """Return the manifest for a bot that Slack reaches at this address.

    Raises NoAddressError.
    """
    without_instructions = re.sub(r"\A(#.*\n)+", "", manifest)
    switched = without_instructions.replace(
        "socket_mode_enabled: true", "socket_mode_enabled: false"
    )
    return WAITS_FOR_AN_ADDRESS.sub(r"\1\2", switched).replace(PLACEHOLDER, _base(url))


def for_organisations(manifest: str) -> str:
    """Return the manifest of an app that an Enterprise Grid admin installs as a whole."""
    return manifest.replace("org_deploy_enabled: false", "org_deploy_enabled: true")


def as_json(manifest: str) -> str:
    return json.dumps(yaml.safe_load(manifest), indent=2, ensure_ascii=False)


def _base(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme != "https" or "@" in parts.netloc or parts.path.strip("/"):
        raise NoAddressError(
            f"{url} cannot be the bot's address; Slack needs https and a host without a path, "
            "such as https://bot.example.com"
        )
    return f"https://{parts.netloc}"
