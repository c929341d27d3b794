"""The keyring that the settings ask for."""

from pathlib import Path

from sqlalchemy.engine import make_url

from bot.encryption import Keyring, secret_beside
from bot.settings import Settings


def keyring(settings: Settings) -> Keyring:
    """Return the keyring of ENCRYPTION_KEYS, or of the secret kept beside the SQLite file."""
    if settings.encryption_keys:
        return Keyring([key.get_secret_value() for key in settings.encryption_keys])
    file = make_url(settings.sqlalchemy_url).database
    return Keyring([secret_beside(Path(file or settings.data_dir / "portal-activity.db"))])
