"""The keyring that the settings ask for, and where a generated secret is kept."""

from pathlib import Path

from sqlalchemy.engine import make_url

from bot.encryption import KEY_FILE, Keyring, secret_beside
from bot.settings import Settings


def keyring(settings: Settings) -> Keyring:
    """Return the keyring of ENCRYPTION_KEYS, or of the secret kept beside the SQLite file."""
    if settings.encryption_keys:
        return Keyring([key.get_secret_value() for key in settings.encryption_keys])
    return Keyring([secret_beside(_sqlite_file(settings))])


def generated_secret(settings: Settings) -> Path | None:
    """Return the file with the secret that was generated beside a SQLite database, if there is one."""
    file = _sqlite_file(settings).with_name(KEY_FILE) if settings.on_sqlite else None
    return file if file is not None and file.exists() else None


def _sqlite_file(settings: Settings) -> Path:
    return Path(make_url(settings.sqlalchemy_url).database or settings.data_dir / "portal-activity.db")
