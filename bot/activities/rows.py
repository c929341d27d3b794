"""A delivery between its row and its value.

Secrets are encrypted in the row and plain in the value.
"""

import base64
from dataclasses import replace
from hashlib import blake2b

from sqlalchemy.engine import Connection

from bot.activities.delivery import Delivery, Finding, Resolution, Route, State, Waiting
from bot.activities.submission import Submission, without_link
from bot.database.statement import Row, Statement
from bot.encryption import Keyring, UndecipherableError
from bot.leadsquared.outcome import Problem


class Rows:
    """Writes and reads rows of `deliveries`."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def new(self, submission: Submission) -> Row:
        """Return what a submission says of a new row, by column."""
        return {
            "id": reference(submission.team_id, submission.key),
            "enterprise_id": submission.enterprise_id or None,
            "team_id": submission.team_id,
            "channel_id": submission.channel_id,
            "user_id": submission.user_id,
            "key": submission.key,
            "ticket_id": submission.ticket_id,
            "text": self._keyring.encrypt(submission.text),
            "response_url": self._keyring.encrypt(submission.response_url)
            if submission.response_url
            else None,
            "thread_ts": submission.thread_ts,
            "message_ts": submission.message_ts,
            "through_ts": submission.through_ts,
            "fingerprint": self._keyring.fingerprint(
                submission.team_id,
                submission.user_id,
                submission.ticket_id,
                without_link(submission.text),
            ),
        }

    def delivery(self, row: Row) -> Delivery:
        """Return the delivery of a row with all columns."""
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
            verifications=row["verifications"],
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

    UNDER_KEY = Statement(
        "What was accepted under a key.",
        "SELECT id, tenant_id, ticket_id FROM deliveries WHERE team_id = :team_id AND key = :key",
        index=("uq_deliveries_team_id_key",),
    )

    def with_successor(self, delivery: Delivery, connection: Connection) -> Delivery:
        """Add the ticket on which a delivery was sent again, if it was."""
        if delivery.resolution is not Resolution.SENT_AGAIN:
            return delivery
        found = self.UNDER_KEY.one(connection, team_id=delivery.team_id, key=delivery.again_key)
        return delivery if found is None else replace(delivery, sent_again_on=found["ticket_id"])

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
    """Return a delivery's id: 12 letters and digits that a person can read out.

    It is the same for the same request.
    """
    return (
        base64.b32encode(blake2b(f"{team_id}/{key}".encode(), digest_size=8).digest())
        .decode()
        .lower()[:12]
    )
