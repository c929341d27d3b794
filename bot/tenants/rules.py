"""Where a tenant's answers go, and who may record for it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Answers(StrEnum):
    """Where the answers in a conversation go."""

    AUTO = "auto"  # in the thread; to the person alone where another organisation reads along
    PRIVATE = "private"  # to the person alone
    THREAD = "thread"


class Kind(StrEnum):
    """What Slack says of a person who wants to record."""

    MEMBER = "member"
    GUEST = "guest"
    STRANGER = "stranger"  # of another organisation
    UNTOLD = "untold"  # Slack does not say it, and will not: a scope is missing
    AWAY = "away"  # Slack does not answer now
    OPERATOR = "operator"  # decides by a command, and not in Slack


@dataclass(frozen=True, slots=True)
class Recorder:
    """A person who wants to record.

    Of the groups that Slack was asked about, `groups` have this person and `not_in` have not;
    `untold` are those that Slack does not show, and `away` those that it did not show in time.
    `waited`: seconds that the request has waited for all this.
    """

    kind: Kind
    groups: frozenset[str] = frozenset()
    not_in: frozenset[str] = frozenset()
    untold: frozenset[str] = frozenset()
    away: frozenset[str] = frozenset()
    waited: float = field(default=0.0, compare=False)


MEMBER = Recorder(Kind.MEMBER)
"""A member, where no rule asks for a group."""

BY_OPERATOR = Recorder(Kind.OPERATOR)
"""No rule holds for the person who runs the bot."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a tenant wants. `group_id` and `channels` limit recording; empty: no limit."""

    answers: Answers = Answers.AUTO
    guests: bool = False
    reaction: bool = False  # ✅ on the customer's message where the answer is private
    group_id: str = ""
    channels: tuple[str, ...] = ()


AS_AT_FIRST = Rules()
"""What a tenant wants until an admin says otherwise."""


class Why(StrEnum):
    """Why a person may not record."""

    STRANGER = "stranger"
    GUEST = "guest"
    CHANNEL = "channel"
    GROUP = "group"
    UNTOLD = "untold"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """Nothing was done: the person may not record here. `rules` are the tenant's."""

    why: Why
    rules: Rules = AS_AT_FIRST


@dataclass(frozen=True, slots=True)
class AskGroup:
    """Nothing was done: whether the person is in this group must be known first."""

    group_id: str


def verdict(
    rules: Rules, recorder: Recorder, channel_id: str, *, recorded_before: bool
) -> NotAllowed | AskGroup | None:
    """Say why a person may not record in a conversation; None: they may.

    While Slack does not answer, a person counts as a member, so that an outage loses no customer's
    words. A group that is asked for lets in only those who have recorded before.
    """

    def no(why: Why) -> NotAllowed:
        return NotAllowed(why, rules)

    match recorder.kind:
        case Kind.OPERATOR:
            return None
        case Kind.STRANGER:
            return no(Why.STRANGER)
        case Kind.UNTOLD:
            return no(Why.UNTOLD)
        case Kind.GUEST if not rules.guests:
            return no(Why.GUEST)
    if rules.channels and channel_id not in rules.channels:
        return no(Why.CHANNEL)
    group_id = rules.group_id
    if not group_id or group_id in recorder.groups:
        return None
    if group_id in recorder.not_in:
        return no(Why.GROUP)
    if group_id in recorder.untold:
        return no(Why.UNTOLD)
    if group_id in recorder.away:
        return None if recorded_before else no(Why.AWAY)
    return AskGroup(group_id)


def read_rules(row: Mapping[Any, Any]) -> Rules:
    """Build Rules from a row with the columns of `tenants`."""
    return Rules(
        Answers(row["answers"]),
        guests=bool(row["guests"]),
        reaction=bool(row["reaction"]),
        group_id=row["record_group"],
        channels=tuple(filter(None, row["record_channels"].split(","))),
    )


def columns_of(rules: Rules) -> dict[str, object]:
    """Return the same by the columns."""
    return {
        "answers": rules.answers.value,
        "guests": rules.guests,
        "reaction": rules.reaction,
        "record_group": rules.group_id,
        "record_channels": ",".join(rules.channels),
    }


def described(rules: Rules, before: Rules | None = None) -> str:
    """Say in words what a tenant wants; with `before`, only in what it differs."""
    now, was = _words(rules), None if before is None else _words(before)
    if was is None:
        first = _words(AS_AT_FIRST)
        return ", ".join(f"{name} {value}" for name, value in now.items() if value != first[name])
    return ", ".join(
        f"{name} {was[name]} → {value}" for name, value in now.items() if value != was[name]
    )


def _words(rules: Rules) -> dict[str, str]:
    return {
        "answers": rules.answers.value,
        "guests": "allowed" if rules.guests else "refused",
        "reaction": "on" if rules.reaction else "off",
        "recording group": rules.group_id or "any",
        "recording channels": " ".join(rules.channels) or "any",
    }
