"""Settings that are probably wrong, although the bot can start with it."""

import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from dotenv.parser import parse_stream

from bot.settings import ENV_FILE, Settings

OURS = tuple(name.upper() for name in Settings.model_fields)

OURS_ALONE = "LEADSQUARED_"
"""No other program's variables begin so: beside a name that does, the nearest of ours is named."""

SHORT = 5
"""Letters below which another letter makes another word: PORTS, GHOST, URI, API."""

ALIKE = 0.85
"""difflib's ratio from which on two names may be one: LOG_LEVL is 0.94, SLACK_TOKEN is below."""


def doubts(settings: Settings, env_file: Path = ENV_FILE) -> list[str]:
    """Return a line for each doubtful setting; `env_file` has been read without trouble."""
    return [*misspelt(env_file), *_signing_secret(settings), *_of_many(settings)]


def misspelt(env_file: Path = ENV_FILE) -> list[str]:
    """Return a line for each variable that is probably a misspelt setting."""
    places = dict.fromkeys(_names_in(env_file), env_file.name)
    places |= dict.fromkeys(os.environ, "the environment")
    return [
        f"{name} (in {places[name]}) is not a setting of the bot and is ignored; "
        f"did you mean {meant}?"
        for name, meant in nearest(places).items()
    ]


def _names_in(env_file: Path) -> list[str]:
    try:
        with env_file.open(encoding="utf-8") as lines:
            return [line.key for line in parse_stream(lines) if line.key is not None]
    except (OSError, UnicodeDecodeError):
        return []  # it is not there, or the settings say what is wrong with it


def nearest(names: Iterable[str]) -> dict[str, str]:
    """Return the setting that each name was meant to be, for those that surely were."""
    found = {name: _meant(name.upper()) for name in names}
    return {name: meant for name, meant in found.items() if meant is not None}


def _meant(name: str) -> str | None:
    if name in OURS or re.search(r"\d", name):  # DATABASE_URL_2 is no slip
        return None
    if name.startswith(OURS_ALONE):
        return next(iter(get_close_matches(name, OURS)), None)
    long = [ours for ours in OURS if len(ours) >= SHORT]
    close = get_close_matches(name, long, cutoff=ALIKE)
    return next((ours for ours in close if _is_slip(name, ours)), None)


def _is_slip(name: str, ours: str) -> bool:
    """Say whether a name that is alike was meant to be ours, and is not another program's."""
    words, our_words = name.split("_"), ours.split("_")
    if len(words) > len(our_words):  # TEST_DATABASE_URL is another; DATA_BASE_URL is not
        return "".join(words) == "".join(our_words)
    if len(words) < len(our_words):
        return True
    return not any(map(_is_another_word, words, our_words))


def _is_another_word(word: str, ours: str) -> bool:
    """Say whether a short word is more than ours with swapped letters, or a letter more or less."""
    if len(ours) >= SHORT or sorted(word) == sorted(ours):
        return False
    shorter, longer = sorted((word, ours), key=len)
    remaining = iter(longer)
    return len(longer) - len(shorter) != 1 or not all(letter in remaining for letter in shorter)


def _of_many(settings: Settings) -> list[str]:
    """Say what is doubtful where workspaces install the bot by OAuth."""
    if not settings.serves_many:
        return []
    found = []
    if settings.slack_app_token is not None and settings.port is None:
        found.append(
            "PORT is not set: with SLACK_APP_TOKEN nothing serves /slack/install then, "
            "so no workspace can install the bot"
        )
    if settings.leadsquared_api_url is not None:
        found.append(
            "LEADSQUARED_API_URL makes the tenant environment, and with SLACK_CLIENT_ID no "
            "workspace is mapped to it; use /portal-activity setup in Slack, or: "
            "python -m bot tenants map environment --team T…"
        )
    return found


def _signing_secret(settings: Settings) -> list[str]:
    secret = settings.slack_signing_secret
    if secret is None or re.fullmatch("[0-9a-fA-F]{32}", secret.get_secret_value()):
        return []
    says = "SLACK_SIGNING_SECRET is not valid: a signing secret has 32 hexadecimal characters"
    return [f"{says}; copy it again from your Slack app's page Basic Information"]
