"""One activity: as a person asks for it, as it is on its way, and as a row of the outbox."""

import base64
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import blake2b

from sqlalchemy.engine import Connection

from bot.database.statement import Row, Statement
from bot.encryption import Keyring, UndecipherableError
from bot.leadsquared.outcome import Problem
from bot.leadsquared.tenant import Attribution
from bot.tenants.rules import MEMBER, Answers, Recorder

_LINK_WORDS = "Slack message: "
_LINK_AT_END = re.compile(rf"\n\n{_LINK_WORDS}https?://\S+\Z")


@dataclass(frozen=True, slots=True)
class Submission:
    """A portal activity that a person asks the bot to record, on any surface.

    `key` identifies this very request (a trigger_id, say): the same key twice is one activity.
    `thread_ts` is where the answer goes; without one the bot posts an anchor message and answers in
    its thread. `message_ts` is the message that is recorded, where it is one; `through_ts` the last
    one, where it is its whole thread. `title` is the ticket's, where the person has seen it.
    `recorder` is what Slack says of the person.
    """

    enterprise_id: str | None
    team_id: str
    channel_id: str
    user_id: str
    key: str
    ticket_id: str
    text: str = field(repr=False)
    response_url: str | None = field(default=None, repr=False)
    thread_ts: str | None = None
    message_ts: str | None = None
    through_ts: str | None = None
    title: str | None = field(default=None, repr=False)
    recorder: Recorder = MEMBER


class State(StrEnum):
    """accepted -> claimed -> sending -> recorded | rejected | unknown.

    A delivery goes back to accepted when it is safe to repeat.

    CLAIMED: a process is about to send it, and nothing has gone out. SENDING: the request may have
    gone out.
    """

    ACCEPTED = "accepted"
    CLAIMED = "claimed"
    SENDING = "sending"
    RECORDED = "recorded"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


SETTLED = frozenset({State.RECORDED, State.REJECTED, State.UNKNOWN})


class Waiting(StrEnum):
    """Why an accepted delivery is not being sent right now.

    The notes about it may follow each other in this order.
    """

    TURN = "turn"
    RATE_LIMITED = "rate_limited"
    UNREACHABLE = "unreachable"
    UNDECIPHERABLE = "undecipherable"  # no secret of today decrypts it: waits for an admin


class Resolution(StrEnum):
    """What a person decided about a delivery that was not recorded."""

    SENT_AGAIN = "sent_again"
    CONFIRMED = "confirmed"


OPERATOR = "operator:"
"""In `resolved_by`, before the account that decided by a command and not in Slack."""


FORGOTTEN = "forgotten"
"""In place of a person's ID, after `python -m bot forget --user`."""


class Finding(StrEnum):
    """What a verification found on the ticket, where the outcome is unknown."""

    PRESENT = "present"
    ABSENT = "absent"


class Route(StrEnum):
    """Where the bot tells the person the outcome.

    In the thread, or where others are not to read it in a message to the person alone; else by the
    command's response_url, else in a direct message.
    """

    THREAD = "thread"
    PRIVATE = "private"
    RESPONSE_URL = "response_url"
    DIRECT_MESSAGE = "direct_message"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of the outbox.

    Moments are seconds since the epoch by the database's clock; what is secret is decrypted.
    """

    seq: int  # the order of acceptance
    id: str  # the reference a person is shown
    enterprise_id: str | None
    team_id: str
    channel_id: str
    user_id: str
    tenant_id: int
    tenant_name: str
    account_id: int  # the LeadSquared account that it was accepted for
    ticket_id: str
    text: str | None = field(repr=False)  # None: no secret of today decrypts it, or it was deleted
    response_url: str | None = field(repr=False)
    thread_ts: str | None  # the thread that the activity came from; None: the anchor's
    message_ts: str | None  # the message that was recorded, where it came from one
    through_ts: str | None  # the last message of it, where it was the whole thread

    state: State
    accepted_at: float
    attempts: int
    first_attempt_at: float | None
    waiting: Waiting | None  # why the last attempt is to be repeated
    activity_id: str | None
    problem: Problem | None
    detail: str | None = field(repr=False)  # what LeadSquared says
    resolution: Resolution | None
    resolved_by: str | None
    verifications: int
    finding: Finding | None  # with PRESENT, activity_id is what was found

    route: Route
    anchor_ts: str | None
    anchor_mark: str | None  # the mark that the anchor shows
    noted: Waiting | None  # the last note told
    finding_told: Finding | None
    replied_at: float | None
    tell_attempts: int
    note_ts: str | None = None  # the note in the thread, until the answer takes its place
    answer_ts: str | None = None  # the answer in the thread
    resolution_told: Resolution | None = None  # the decision that the answer shows
    is_erased: bool = False  # its words were deleted, as RETENTION_DAYS says
    sent_again_on: str | None = None  # the ticket of the delivery that took its place
    attribution: Attribution = Attribution.NONE  # the tenant's at the acceptance
    last_line: str | None = field(default=None, repr=False)  # with which it was sent
    title: str | None = field(default=None, repr=False)  # the ticket's, where it was read
    answers: Answers = Answers.AUTO  # where its conversation wants answers now
    reaction: bool = False  # whether a private success shows as ✅ on the message

    @property
    def sent_text(self) -> str | None:
        """What LeadSquared gets, or got."""
        return None if self.text is None else with_last_line(self.text, self.last_line)

    def has_message(self, ts: str | None) -> bool:
        """Whether a message of its thread was recorded with it.

        A ts has the same length for the next 250 years.
        """
        return ts is not None and (
            self.message_ts == ts or (self.through_ts is not None and self.through_ts >= ts)
        )

    @property
    def again_key(self) -> str:
        """The key of the delivery that takes its place.

        So two clicks make one delivery, and so do a click and a command.
        """
        return f"{Resolution.SENT_AGAIN}:{self.id}"

    @property
    def active_thread_ts(self) -> str | None:
        """The thread in which one person alone can be answered.

        It needs a reply: Slack shows such an answer only in a thread that has one.
        """
        if self.note_ts is not None:
            return self.thread_ts or self.anchor_ts
        has_replies = self.message_ts != self.thread_ts or self.through_ts not in (
            None,
            self.thread_ts,
        )
        return self.thread_ts if has_replies else None

    @property
    def settled(self) -> bool:
        return self.state in SETTLED

    @property
    def resendable(self) -> bool:
        """Whether Send again makes sense.

        It does when this was surely not recorded, or is unknown, and no person has decided yet.
        """
        return self.state in (State.REJECTED, State.UNKNOWN) and self.resolution is None


class Rows:
    """Writes and reads rows of `deliveries`.

    Secrets are encrypted in the row and plain in the value.
    """

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
            "title": self._keyring.encrypt(submission.title) if submission.title else None,
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
        last_line = self._decrypted(row["last_line"])
        # Half of what was sent is not what was sent.
        is_whole = row["last_line"] is None or last_line is not None
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
            text=self._decrypted(row["text"]) if is_whole else None,
            attribution=Attribution(row["attribution"]),
            last_line=last_line,
            title=self._decrypted(row["title"]),
            is_erased=row["erased_at"] is not None,
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

    def has_text(self, row: Row, text: str) -> bool:
        """Say whether a row was sent with the words of this text, however they are spaced."""
        words, last_line = self._decrypted(row["text"]), self._decrypted(row["last_line"])
        return with_last_line(words or "", last_line).split() == text.split()

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


def with_last_line(text: str, line: str | None) -> str:
    """Return a text with the line that says who recorded it."""
    return text if line is None else f"{text}\n\n{line}"


def with_link(text: str, link: str) -> str:
    """Return a text with a link to the message it comes from."""
    return f"{text}\n\n{_LINK_WORDS}{link}"


def without_link(text: str) -> str:
    """Return a text's own words: the same, whether a link was added to them or not."""
    return _LINK_AT_END.sub("", text)
