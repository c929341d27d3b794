"""The named points at which a process is killed, and how a command that met one must end."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from bot.activities.delivery import State
from faults.audit import AtOnce

WORDS = "to die "
"""How the text of a command begins that is to meet a point; the point's name follows."""


class Point(StrEnum):
    """In the order in which a command meets them."""

    BEFORE_COMMIT = "before the commit"
    BEFORE_ACK = "after the commit, before the acknowledgement"
    AFTER_ACK = "after the acknowledgement"
    AFTER_CLAIM = "after the claim"
    AFTER_BEGINNING = "right before the request goes out"
    ANCHOR_ARRIVES = "when the anchor arrives at Slack"
    ANCHOR_TAKEN = "when Slack has taken the anchor"
    POST_ARRIVES = "when the POST arrives"
    POST_CARRIED_OUT = "when LeadSquared has recorded it"
    BEFORE_SETTLING = "after the answer, before settling"
    AFTER_SETTLING = "after settling, before the reply"
    REPLY_ARRIVES = "when the reply arrives at Slack"
    REPLY_TAKEN = "when Slack has taken the reply"
    BEFORE_NOTE = "after Slack's answer to the reply, before its note"


@dataclass(frozen=True, slots=True)
class Expected:
    """What may have come of it: shown at once; its state, None where it was not kept.

    On the ticket; told so often.
    """

    at_once: AtOnce
    states: Collection[State | None]
    on_ticket: Collection[int]
    answers: Collection[int] = (1,)


_ON_ITS_WAY = Expected(AtOnce.ACKNOWLEDGED, (State.RECORDED, State.UNKNOWN), (0, 1))
_RECORDED = Expected(AtOnce.ACKNOWLEDGED, (State.RECORDED,), (1,))
_TOLD_TWICE = Expected(AtOnce.ACKNOWLEDGED, (State.RECORDED,), (1,), (2,))

EXPECTED = {
    Point.BEFORE_COMMIT: Expected(AtOnce.UNSURE, (None,), (0,), (0,)),
    # Unknown when the worker, at that very moment, had begun it already.
    Point.BEFORE_ACK: Expected(AtOnce.UNSURE, (State.RECORDED, State.UNKNOWN), (0, 1)),
    Point.AFTER_ACK: _ON_ITS_WAY,
    Point.AFTER_CLAIM: Expected(AtOnce.ACKNOWLEDGED, (State.RECORDED,), (1,)),
    Point.AFTER_BEGINNING: Expected(AtOnce.ACKNOWLEDGED, (State.UNKNOWN,), (0,)),
    Point.ANCHOR_ARRIVES: _ON_ITS_WAY,
    Point.ANCHOR_TAKEN: _ON_ITS_WAY,
    Point.POST_ARRIVES: Expected(AtOnce.ACKNOWLEDGED, (State.UNKNOWN,), (0,)),
    Point.POST_CARRIED_OUT: Expected(AtOnce.ACKNOWLEDGED, (State.UNKNOWN,), (1,)),
    Point.BEFORE_SETTLING: Expected(AtOnce.ACKNOWLEDGED, (State.UNKNOWN,), (1,)),
    Point.AFTER_SETTLING: _RECORDED,
    Point.REPLY_ARRIVES: _RECORDED,
    Point.REPLY_TAKEN: _TOLD_TWICE,
    Point.BEFORE_NOTE: _TOLD_TWICE,
}
