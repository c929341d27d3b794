"""python -m bot backup FILE: a copy of the database that is whole, or is not there."""

import os
import secrets
from pathlib import Path

from bot.admin.copies import BackupError, copy_sqlite, dump_postgresql
from bot.encryption import KEY_FILE
from bot.keys import generated_secret
from bot.settings import Settings


def back_up(settings: Settings, file: Path) -> None:
    """Copy the configured database into a new file of mode 0600. No file that is there is touched.

    The copy has another name until it is whole: one that broke off never looks like a backup.
    """
    try:
        if file.is_dir():
            raise BackupError(f"{file} is a folder; choose a file in it")
        if os.path.lexists(file):
            raise BackupError(f"{file} already exists and was not changed; choose another file")
        draft = file.with_name(f".backup-{secrets.token_hex(6)}.part")
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            _copy(settings, draft)
            _publish(draft, file)
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        raise BackupError(f"{file} now exists and was not changed; choose another file") from None
    except OSError as error:
        says = f"{file} cannot be written ({error.strerror}); choose another place"
        raise BackupError(says) from None


def reminder(settings: Settings) -> str:
    """Say which secret the copy needs."""
    generated = f"the secret in {generated_secret(settings) or KEY_FILE}"
    secret = "the secrets in ENCRYPTION_KEYS" if settings.encryption_keys else generated
    return f"It can be decrypted only with {secret}: keep a copy of that too, in another place."


def _copy(settings: Settings, draft: Path) -> None:
    if settings.sqlite_file is not None:
        copy_sqlite(settings.sqlite_file, draft)
    else:
        dump_postgresql(settings.sqlalchemy_url, draft)


def _publish(draft: Path, file: Path) -> None:
    """Give a whole copy its name, once it is on the disk."""
    with draft.open("rb") as copied:
        os.fsync(copied.fileno())
    try:
        file.hardlink_to(draft)  # unlike a rename, it never replaces a file
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        draft.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
