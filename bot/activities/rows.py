"""A delivery between its row and its value: what is secret is encrypted in the one and plain in the other."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from sqlalchemy.engine import Connection

from bot.activities.delivery import Delivery, Finding, Resolution, Route, State, Waiting
from bot.activities.statements import COLUMNS, GIVEN
from bot.activities.submission import Submission, without_link
from bot.database.writer import Prepared
from bot.encryption import Keyring, UndecipherableError
from bot.leadsquared.outcome import Problem

_NAMES = [column.name for column in COLUMNS]
_NOTHING_GIVEN: dict[str, Any] = dict.fromkeys(f"_{name}" for name in GIVEN)


class Rows:
    """Writes and reads rows of `deliveries`."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def given(self, submission: Submission) -> dict[str, Any]:
        """Return what an acceptance writes, as bind parameters."""
        return _NOTHING_GIVEN | {
            "_id": reference(submission.team_id, submission.key),
            "_enterprise_id": submission.enterprise_id,
            "_team_id": submission.team_id,
            "_channel_id": submission.channel_id,
            "_user_id": submission.user_id,
            "_key": submission.key,
            "_ticket_id": submission.ticket_id,
            "_text": self._keyring.encrypt(submission.text),
            "_response_url": self._keyring.encrypt(submission.response_url) if submission.response_url else None,
            "_thread_ts": submission.thread_ts,
            "_message_ts": submission.message_ts,
            "_through_ts": submission.through_ts,
            "_fingerprint": self._keyring.fingerprint(
                submission.team_id, submission.user_id, submission.ticket_id, without_link(submission.text)
            ),
            "_state": State.ACCEPTED,
        }

    def delivery(self, fields: Sequence[Any]) -> Delivery:
        """Return the delivery of a row of COLUMNS."""
        row = dict(zip(_NAMES, fields, strict=True))
        return Delivery(
            seq=row["seq"],
            id=row["id"],
            enterprise_id=row["enterprise_id"],
            team_id=row["team_id"],
            channel_id=row["channel_id"],
            user_id=row["user_id"],
            tenant_id=row["tenant_id"],
            tenant_name=row["tenant_name"],
            account_id=row["account_id"],
            ticket_id=row["ticket_id"],
            text=self._decrypted(row["text"]),
            response_url=self._decrypted(row["response_url"]),
            thread_ts=row["thread_ts"],
            message_ts=row["message_ts"],
            through_ts=row["through_ts"],
            state=State(row["state"]),
            accepted_at=row["accepted_at"],
            attempts=row["attempts"],
            first_attempt_at=row["first_attempt_at"],
            waiting=Waiting(row["waiting"]) if row["waiting"] else None,
            activity_id=row["activity_id"],
            problem=Problem(row["problem"]) if row["problem"] else None,
            detail=self._decrypted(row["detail"]),
            resolution=Resolution(row["resolution"]) if row["resolution"] else None,
            resolved_by=row["resolved_by"],
            looks=row["looks"],
            finding=Finding(row["finding"]) if row["finding"] else None,
            route=Route(row["route"]),
            anchor_ts=row["anchor_ts"],
            anchor_mark=row["anchor_mark"],
            noted=Waiting(row["noted"]) if row["noted"] else None,
            finding_told=Finding(row["finding_told"]) if row["finding_told"] else None,
            replied_at=row["replied_at"],
            tell_attempts=row["tell_attempts"],
            note_ts=row["note_ts"],
            answer_ts=row["answer_ts"],
            resolution_told=Resolution(row["resolution_told"]) if row["resolution_told"] else None,
        )

    @staticmethod
    def with_successor(delivery: Delivery, connection: Connection, by_key: Prepared) -> Delivery:
        """Add the ticket on which a delivery was sent again, if it was."""
        if delivery.resolution is not Resolution.SENT_AGAIN:
            return delivery
        found = by_key(connection, _team_id=delivery.team_id, _key=delivery.again_key).fetchone()
        return delivery if found is None else replace(delivery, sent_again_on=found[2])

    def has_text(self, token: bytes, text: str) -> bool:
        """Say whether a row's text has the words of this one, however they are spaced."""
        return (self._decrypted(token) or "").split() == text.split()

    def _decrypted(self, token: bytes | None) -> str | None:
        # One row whose secret is gone must not keep all the others from being sent or told.
        try:
            return None if token is None else self._keyring.decrypt(token)
        except UndecipherableError:
            return None


def reference(team_id: str, key: str) -> str:
    """Return a delivery's id: 12 letters and digits that a person can read out, the same for the same request."""
    return base64.b32encode(blake2b(f"{team_id}/{key}".encode(), digest_size=8).digest()).decode().lower()[:12]
