"""Encryption at rest.

What is stored says nothing without its secret, and a secret can be changed without losing a row.
"""

import base64
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.encryption import (
    KEY_FILE,
    MINIMUM_SECRET_LENGTH,
    Keyring,
    UndecipherableError,
    encrypted_at,
    secret_beside,
)

OLD = "the-old-secret-of-these-tests-0123456789"
NEW = "the-new-secret-of-these-tests-0123456789"
WORDS = "xoxb-a-token-or-a-customer's-words"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_encrypted_is_decrypted_unchanged(text: str) -> None:
    assert Keyring([NEW]).decrypt(Keyring([NEW]).encrypt(text)) == text


def test_what_is_stored_does_not_show_what_it_holds_and_is_never_the_same_twice() -> None:
    keyring = Keyring([NEW])
    first, second = keyring.encrypt(WORDS), keyring.encrypt(WORDS)
    assert WORDS.encode() not in first
    assert first != second


@pytest.mark.parametrize(
    "secret",
    [
        "short",
        "with spaces, commas and = signs " * 3,
        "geheime Schlüssel 🔑 sind auch erlaubt",
        "x" * 10_000,
    ],
)
def test_a_secret_may_have_any_form(secret: str) -> None:
    assert Keyring([secret]).decrypt(Keyring([secret]).encrypt(WORDS)) == WORDS


def test_after_a_new_secret_is_put_in_front_the_old_rows_can_still_be_read() -> None:
    assert Keyring([NEW, OLD]).decrypt(Keyring([OLD]).encrypt(WORDS)) == WORDS


def test_what_is_written_after_the_change_no_longer_needs_the_old_secret() -> None:
    stored = Keyring([NEW, OLD]).encrypt(WORDS)
    assert Keyring([NEW]).decrypt(stored) == WORDS
    with pytest.raises(UndecipherableError):
        Keyring([OLD]).decrypt(stored)


def test_without_its_secret_a_row_is_undecipherable_and_the_error_says_which_setting_lacks_it() -> (
    None
):
    with pytest.raises(UndecipherableError, match="ENCRYPTION_KEYS") as failed:
        Keyring([NEW]).decrypt(Keyring([OLD]).encrypt(WORDS))
    assert NEW not in str(failed.value)


@pytest.mark.parametrize("damage", ["cut", "changed", "lengthened"])
def test_a_damaged_row_is_undecipherable_and_not_garbage(damage: str) -> None:
    stored = Keyring([NEW]).encrypt(WORDS)
    middle = len(stored) // 2
    damaged = {
        "cut": stored[:-4],
        "changed": stored[:middle]
        + (b"A" if stored[middle : middle + 1] != b"A" else b"B")
        + stored[middle + 1 :],
        "lengthened": stored[:-4] + b"AAAA" + stored[-4:],
    }[damage]
    with pytest.raises(UndecipherableError):
        Keyring([NEW]).decrypt(damaged)


@pytest.mark.parametrize("stored", [b"", b"plain words", b"\xff\x00", b"gAAAAA=="])
def test_what_was_never_encrypted_is_undecipherable(stored: bytes) -> None:
    with pytest.raises(UndecipherableError):
        Keyring([NEW]).decrypt(stored)


def test_a_keyring_shows_no_secret() -> None:
    assert NEW not in repr(Keyring([NEW]))
    assert NEW not in str(vars(Keyring([NEW])))


def test_the_first_start_makes_a_secret_beside_the_database_for_the_owner_only(
    tmp_path: Path,
) -> None:
    database = tmp_path / "new" / "folder" / "bot.db"
    secret = secret_beside(database)
    key_file = database.parent / KEY_FILE
    assert len(secret) >= MINIMUM_SECRET_LENGTH
    assert key_file.read_text() == secret
    assert key_file.stat().st_mode & 0o777 == 0o600


def test_later_starts_read_the_same_secret_and_leave_the_file_alone(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text(f"{OLD}\n")
    assert secret_beside(tmp_path / "bot.db") == OLD
    assert secret_beside(tmp_path / "other.db") == OLD
    assert (tmp_path / KEY_FILE).read_text() == f"{OLD}\n"


def test_every_folder_has_a_secret_of_its_own(tmp_path: Path) -> None:
    assert secret_beside(tmp_path / "a" / "bot.db") != secret_beside(tmp_path / "b" / "bot.db")


def test_processes_that_start_together_agree_on_one_secret_and_leave_no_draft_behind(
    tmp_path: Path,
) -> None:
    together = threading.Barrier(16)
    found: list[str] = []

    def start() -> None:
        together.wait()
        found.append(secret_beside(tmp_path / "bot.db"))

    threads = [threading.Thread(target=start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert set(found) == {(tmp_path / KEY_FILE).read_text()}
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("content", ["", "\n", "short"])
def test_a_key_file_without_a_secret_in_it_is_not_used_as_one(tmp_path: Path, content: str) -> None:
    # A file that a full disk or an editor emptied must not turn into a key that everybody can
    # guess.
    (tmp_path / KEY_FILE).write_text(content)
    with pytest.raises(Exception, match=KEY_FILE):
        secret_beside(tmp_path / "bot.db")


def test_a_value_says_when_it_was_encrypted_without_its_secret() -> None:
    before = int(time.time())
    said = encrypted_at(Keyring([OLD]).encrypt(WORDS))
    assert said is not None
    assert before <= said <= time.time()


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"plain words",
        b"\xff\x00",
        b"gAAAAA==",
        base64.urlsafe_b64encode(b"\x80" + b"\xff" * 60),
    ],
)
def test_what_was_never_encrypted_says_nothing(stored: bytes) -> None:
    assert encrypted_at(stored) is None


def test_a_value_is_renewed_only_when_an_earlier_secret_encrypted_it() -> None:
    renewed = Keyring([NEW, OLD]).renew(Keyring([OLD]).encrypt(WORDS))
    assert renewed is not None
    assert Keyring([NEW]).decrypt(renewed) == WORDS
    assert Keyring([NEW, OLD]).renew(renewed) is None
    with pytest.raises(UndecipherableError):
        Keyring([NEW]).renew(Keyring([OLD]).encrypt(WORDS))
