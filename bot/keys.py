"""The keyring that the settings ask for, and where a generated secret is kept."""

from pathlib import Path

from sqlalchemy.engine import make_url

from bot.database.engines import PATIENCE, engine_for
from bot.database.stored import stored_values
from bot.encryption import KEY_FILE, Keyring, UnusableSecretError, secret_beside
from bot.settings import Settings


def keyring(settings: Settings) -> Keyring:
    """Return the keyring of ENCRYPTION_KEYS, or of the secret kept beside the SQLite file.

    Raises UnusableSecretError when that file is missing beside a database that was encrypted with
    its secret.
    """
    if settings.encryption_keys:
        return Keyring([key.get_secret_value() for key in settings.encryption_keys])
    database = _sqlite_file(settings)
    if not database.with_name(KEY_FILE).exists() and (values := _stored_values(settings, database)):
        raise UnusableSecretError(
            f"ENCRYPTION_KEYS: {database.with_name(KEY_FILE)} is missing, "
            f"and {values:,} values in {database.name} were encrypted with the secret in it; "
            "put that file back, or set ENCRYPTION_KEYS to its text. Nothing was changed"
        )
    return Keyring([secret_beside(database)])


def generated_secret(settings: Settings) -> Path | None:
    """Return the file with the secret generated beside a SQLite database, if there is one."""
    file = _sqlite_file(settings).with_name(KEY_FILE) if settings.on_sqlite else None
    return file if file is not None and file.exists() else None


def _stored_values(settings: Settings, file: Path) -> int:
    if not file.exists():
        return 0
    engine = engine_for(settings.sqlalchemy_url, PATIENCE)
    try:
        with engine.connect() as connection:
            return stored_values(connection)
    finally:
        engine.dispose()


def _sqlite_file(settings: Settings) -> Path:
    return Path(
        make_url(settings.sqlalchemy_url).database or settings.data_dir / "portal-activity.db"
    )
