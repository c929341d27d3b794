"""Encryption at rest: Fernet with rotating keys derived from secrets of any form."""

import base64
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MINIMUM_SECRET_LENGTH = 32
_AT_REST = b"portal-activity at rest"
_FINGERPRINTS = b"portal-activity fingerprints"
KEY_FILE = "encryption.key"
_TOKEN_HEAD = 9
_YEAR_10000 = 253_402_300_800


class UndecipherableError(Exception):
    """A value was encrypted with a secret that is no longer among ENCRYPTION_KEYS."""


class UnusableSecretError(Exception):
    """The secret kept beside the database is none; the message names the file and the fix."""


class Keyring:
    """Encrypt with the newest secret, decrypt with any. Secrets are given newest first."""

    def __init__(self, secrets_: Sequence[str]) -> None:
        fernets = [
            Fernet(base64.urlsafe_b64encode(_derive(secret, _AT_REST))) for secret in secrets_
        ]
        self._newest = fernets[0]
        self._fernet = MultiFernet(fernets)
        self._fingerprint_key = _derive(secrets_[0], _FINGERPRINTS)

    def encrypt(self, text: str) -> bytes:
        return self._fernet.encrypt(text.encode())

    def decrypt(self, token: bytes) -> str:
        """Return the plain text, or raise UndecipherableError."""
        try:
            return self._fernet.decrypt(token).decode()
        except InvalidToken:
            raise UndecipherableError(
                "encrypted with a secret that is not in ENCRYPTION_KEYS"
            ) from None

    def renew(self, token: bytes) -> bytes | None:
        """Return a value encrypted anew with the newest secret.

        Return None when that secret encrypted it already. Raise UndecipherableError when no secret
        decrypts it.
        """
        try:
            self._newest.decrypt(token)
        except InvalidToken:
            return self.encrypt(self.decrypt(token))
        return None

    def fingerprint(self, *parts: str) -> bytes:
        """Return 16 bytes that are the same for the same parts.

        They reveal nothing without the newest secret. Only the last part may contain NUL
        characters.
        """
        return hmac.digest(self._fingerprint_key, "\0".join(parts).encode(), "sha256")[:16]


def encrypted_at(token: bytes) -> float | None:
    """Return when a value says that it was encrypted, in seconds since the epoch.

    Return None when it is no encrypted value. The time is not verified without the secret: it only
    helps a person to find the missing one.
    """
    try:
        raw = base64.urlsafe_b64decode(token)
    except ValueError:
        return None
    # https://github.com/fernet/spec: a version, eight bytes of time, and more that only the secret
    # opens.
    moment = int.from_bytes(raw[1:_TOKEN_HEAD])
    return (
        float(moment)
        if raw[:1] == b"\x80" and len(raw) > _TOKEN_HEAD and moment < _YEAR_10000
        else None
    )


def _derive(secret: str, purpose: bytes) -> bytes:
    # The secrets are long and random by instruction, so a KDF without stretching is the right one
    # (RFC 5869).
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(secret.encode())


def secret_beside(database: Path) -> str:
    """Read the secret kept next to a SQLite file, generating it (mode 0600) the first time."""
    path = database.parent / KEY_FILE
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        try:
            secret = path.read_text().strip()
        except FileNotFoundError:
            _write_once(path, secrets.token_urlsafe(48))
            continue
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise UnusableSecretError(
                f"{path}: cannot be read ({reason}); fix the file, or set ENCRYPTION_KEYS"
            ) from None
        if len(secret) < MINIMUM_SECRET_LENGTH:
            raise UnusableSecretError(
                f"{path}: has no secret of {MINIMUM_SECRET_LENGTH} characters; "
                "put back the secret that encrypted the database, or set ENCRYPTION_KEYS"
            )
        return secret


def _write_once(path: Path, secret: str) -> None:
    # Written whole under another name and then linked, so that two processes starting at once
    # agree on one secret.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
