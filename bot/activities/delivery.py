"""One activity on its way, as the outbox holds it."""

from dataclasses import dataclass, field
from enum import StrEnum

from bot.leadsquared.outcome import Problem


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


class Finding(StrEnum):
    """What a look at the ticket showed, where the outcome is unknown."""

    PRESENT = "present"
    ABSENT = "absent"


class Route(StrEnum):
    """Where the bot tells the person the outcome.

    In the thread, else by the command's response_url, else in a direct message.
    """

    THREAD = "thread"
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
    text: str | None = field(repr=False)  # None: its secret is no longer among ENCRYPTION_KEYS
    response_url: str | None = field(repr=False)
    thread_ts: str | None  # the thread that the activity came from; None: the anchor's
    message_ts: str | None  # the message that was recorded, where it came from one
    through_ts: (
        str | None
    )  # the last message that was recorded with it, where it was the whole thread

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
    sent_again_on: str | None = None  # the ticket of the delivery that took its place

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
