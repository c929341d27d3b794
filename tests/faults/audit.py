"""Holds ledgers against each other.

What people typed, what reached LeadSquared, the database, and Slack. Pure.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import pairwise
from typing import TypeVar

from bot.activities.delivery import SETTLED, State
from bot.leadsquared.outcome import Problem
from bot.playground.leadsquared import Activity

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")

_TOO_MANY = 429


class AtOnce(StrEnum):
    """What Slack showed right after a command."""

    ACKNOWLEDGED = "acknowledged"  # nothing: it was taken
    REFUSED = "refused"  # surely nothing was kept
    UNSURE = "unsure"  # no acknowledgement, or that it may or may not be stored
    OTHER = "other"


class Kind(StrEnum):
    """What a message of the bot's is."""

    ANCHOR = "anchor"
    NOTE = "note"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Typed:
    """A command that a person typed; no two have the same text.

    Moments are the test's, of one steady clock.
    """

    ticket: str
    text: str
    at_once: AtOnce
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Post:
    """A request that reached LeadSquared.

    `spoilt`: the bot got no answer, by LeadSquared's fault or by its own death. `crowded`: another
    one on the same ticket was still going on when it arrived.
    """

    ticket: str
    text: str
    status: int | None
    spoilt: bool
    crowded: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A delivery in the database, with the moments of its last attempt by the database's clock."""

    seq: int
    reference: str
    ticket: str
    text: str
    state: State
    activity_id: str | None = None
    problem: Problem | None = None
    retry_of: str | None = None
    to_tell: bool = False
    sent_at: float | None = None
    answered_at: float | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the bot's in Slack, about one delivery."""

    reference: str
    kind: Kind
    state: State
    activity_id: str | None = None


@dataclass(frozen=True, slots=True)
class Crash:
    """The death of a process.

    What was being sent and what was being told at that moment, by reference.
    """

    sending: frozenset[str] = frozenset()
    telling: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ledgers:
    """All that is known of what happened. Posts and rows are in order.

    `clicked` are the deliveries whose "Send again" was pressed; `outages` the moments at which
    LeadSquared broke every connection off, by the database's clock.
    """

    typed: Sequence[Typed] = ()
    posts: Sequence[Post] = ()
    activities: Sequence[Activity] = ()
    rows: Sequence[Row] = ()
    said: Sequence[Said] = ()
    crashes: Sequence[Crash] = ()
    clicked: Collection[str] = ()
    outages: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """What a bench prints."""

    rounds: int = 0
    typed: int = 0
    acknowledged: int = 0
    refused: int = 0
    unsure: int = 0
    recorded: int = 0
    rejected: int = 0
    unknown: int = 0
    posts: int = 0
    replies: int = 0
    repeated: int = 0
    problems: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        names = [field.name for field in fields(self)]
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in names})


def audit(ledgers: Ledgers, *, at_rest: bool = True) -> list[str]:
    """Return what is wrong, a line each.

    Not `at_rest`: what is still on its way, or still to be told, is not wrong.
    """
    books = _Books(ledgers, at_rest=at_rest)
    checks: list[Callable[[_Books], Iterator[str]]] = [
        _nothing_lost,
        _nothing_untyped,
        _nothing_doubled,
        _ids_are_true,
        _unknown_with_a_reason,
        _told,
        _in_order,
        _within_the_limit,
    ]
    return [problem for check in checks for problem in check(books)]


def count(ledgers: Ledgers, *, problems: int = 0) -> Counts:
    """Count what happened; every death of a process ended a round."""
    at_once = [typed.at_once for typed in ledgers.typed]
    states = [row.state for row in ledgers.rows]
    answers = _by(
        (said for said in ledgers.said if said.kind is Kind.ANSWER), lambda said: said.reference
    )
    return Counts(
        rounds=max(len(ledgers.crashes), 1),
        typed=len(at_once),
        acknowledged=at_once.count(AtOnce.ACKNOWLEDGED),
        refused=at_once.count(AtOnce.REFUSED),
        unsure=at_once.count(AtOnce.UNSURE),
        recorded=states.count(State.RECORDED),
        rejected=states.count(State.REJECTED),
        unknown=states.count(State.UNKNOWN),
        posts=len(ledgers.posts),
        replies=sum(map(len, answers.values())),
        repeated=sum(len(repeats) - 1 for repeats in answers.values()),
        problems=problems,
    )


class _Books:
    """The ledgers, with what is asked of them again and again looked up once."""

    def __init__(self, ledgers: Ledgers, *, at_rest: bool) -> None:
        self.ledgers = ledgers
        self.at_rest = at_rest
        self.typed = {typed.text: typed for typed in ledgers.typed}
        self.rows = _by(ledgers.rows, lambda row: row.text)
        self.posts = _by(ledgers.posts, lambda post: post.text)
        self.activities = _by(ledgers.activities, lambda activity: activity.text)
        self.sent_again = {row.retry_of for row in ledgers.rows}
        self.said = _by(ledgers.said, lambda said: said.reference)


def _by(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    found: dict[Key, list[Item]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return found


def _nothing_lost(books: _Books) -> Iterator[str]:
    for typed in books.ledgers.typed:
        kept = typed.text in books.rows
        if typed.at_once is AtOnce.ACKNOWLEDGED and not kept:
            yield f"acknowledged, and not in the database: {typed.text}"
        if typed.at_once is AtOnce.REFUSED and kept:
            yield f"told that nothing was recorded, and kept: {typed.text}"
        if typed.at_once is AtOnce.OTHER:
            yield f"answered at once with something else: {typed.text}"


def _nothing_untyped(books: _Books) -> Iterator[str]:
    for text, rows in books.rows.items():
        typed = books.typed.get(text)
        if typed is None:
            yield f"in the database, and typed by nobody: {text}"
        elif any(row.ticket != typed.ticket for row in rows):
            yield f"in the database for another ticket than {typed.ticket}: {text}"
        for row in rows[1:]:
            if row.retry_of is None or row.retry_of not in books.ledgers.clicked:
                yield f"accepted twice without a button: {text}"
    for text in {*books.posts, *books.activities} - books.rows.keys():
        yield f"sent to LeadSquared, and not in the database: {text}"
    known = {row.reference for row in books.ledgers.rows}
    for reference in books.said.keys() - known:
        yield f"told of in Slack, and not in the database: {reference}"


def _nothing_doubled(books: _Books) -> Iterator[str]:
    for text, rows in books.rows.items():
        states = [row.state for row in rows]
        surely, maybe = (
            states.count(State.RECORDED),
            states.count(State.UNKNOWN) + states.count(State.SENDING),
        )
        there = len(books.activities.get(text, []))
        sent = sum(post.status != _TOO_MANY for post in books.posts.get(text, []))
        if sent > len(rows):
            yield f"sent {sent} times for {len(rows)} in the database: {text}"
        if there > surely + maybe:
            yield (
                f"{there} on the ticket, where at most {surely + maybe} may be "
                f"(told {', '.join(states)}): {text}"
            )
        if there < surely:
            yield f"{there} on the ticket, where {surely} are recorded: {text}"


def _ids_are_true(books: _Books) -> Iterator[str]:
    activities = {activity.id: activity for activity in books.ledgers.activities}
    recorded = [row for row in books.ledgers.rows if row.state is State.RECORDED]
    for row in recorded:
        activity = activities.get(row.activity_id or "")
        if activity is None or (activity.ticket_id, activity.text) != (row.ticket, row.text):
            yield f"Id {row.activity_id} is not this activity's: {row.text}"
    for id_, rows in _by(recorded, lambda row: row.activity_id).items():
        if len(rows) > 1:
            yield (
                f"Id {id_} is given to {len(rows)} deliveries: "
                f"{', '.join(row.text for row in rows)}"
            )


def _unknown_with_a_reason(books: _Books) -> Iterator[str]:
    """It is unknown only where a request was really on its way.

    When a process died, or when LeadSquared failed it.
    """
    died = frozenset[str]().union(*(crash.sending for crash in books.ledgers.crashes))
    for row in books.ledgers.rows:
        if row.state is not State.UNKNOWN:
            continue
        if row.problem is Problem.INTERRUPTED:
            if row.answered_at is not None:
                yield f"called interrupted, while its process lived to have the answer: {row.text}"
            elif row.reference not in died:
                yield f"called interrupted, and no process died while it was being sent: {row.text}"
        elif not _was_failed(books, row):
            yield f"unknown ({row.problem}), and LeadSquared answered it: {row.text}"


def _was_failed(books: _Books, row: Row) -> bool:
    if any(post.spoilt for post in books.posts.get(row.text, [])):
        return True
    sent, answered = row.sent_at, row.answered_at
    return (
        sent is not None
        and answered is not None
        and any(sent <= at <= answered for at in books.ledgers.outages)
    )


def _told(books: _Books) -> Iterator[str]:
    for row in books.ledgers.rows:
        said = books.said.get(row.reference, [])
        answers = [message for message in said if message.kind is Kind.ANSWER]
        deaths = sum(row.reference in crash.telling for crash in books.ledgers.crashes)
        if len(answers) > 1 + deaths:
            yield (
                f"answered {len(answers)} times, while {deaths} processes died telling it: "
                f"{row.text}"
            )
        for answer in answers:
            if (answer.state, answer.activity_id) != (row.state, row.activity_id):
                yield f"told {_outcome(answer)}, and is {_outcome(row)}: {row.text}"
        if books.at_rest:
            yield from _ended(books, row, said, answered=bool(answers))


def _ended(books: _Books, row: Row, said: Sequence[Said], *, answered: bool) -> Iterator[str]:
    if row.state not in SETTLED:
        yield f"never ended ({row.state}): {row.text}"
        return
    if not answered:
        yield f"{row.state}, and nobody was told: {row.text}"
    elif row.to_tell:
        yield f"told, and still to be told: {row.text}"
    # The anchor of what was sent again is the new delivery's; one that came twice stays behind.
    anchors = [
        message
        for message in said
        if message.kind is Kind.ANCHOR and row.reference not in books.sent_again
    ]
    if anchors and not row.to_tell and all(anchor.state is not row.state for anchor in anchors):
        yield f"{row.state}, and its anchor says {anchors[-1].state}: {row.text}"


def _outcome(one: Said | Row) -> str:
    return f"{one.state}, Id {one.activity_id}" if one.activity_id else one.state


def _in_order(books: _Books) -> Iterator[str]:
    for post in books.ledgers.posts:
        if post.crowded:
            yield f"sent to {post.ticket} while another was on its way there: {post.text}"
    # What was sent again by a button is a new delivery with the same text, and left out here.
    rows = {
        text: rows[0] for text, rows in books.rows.items() if len(rows) == 1 and text in books.typed
    }
    for ticket, posts in _by(
        (post for post in books.ledgers.posts if post.text in rows), lambda p: p.ticket
    ).items():
        for earlier, later in pairwise(posts):
            # What two processes accept at the same moment has no order of its own.
            typed_before = books.typed[later.text].ended < books.typed[earlier.text].began
            if rows[earlier.text].seq > rows[later.text].seq and typed_before:
                yield f"sent to {ticket} before what was accepted before it: {earlier.text}"
    acknowledged = (
        typed
        for typed in books.ledgers.typed
        if typed.at_once is AtOnce.ACKNOWLEDGED and typed.text in rows
    )
    for typed in _by(acknowledged, lambda one: one.ticket).values():
        for first, second in pairwise(sorted(typed, key=lambda one: one.began)):
            if first.ended < second.began and rows[first.text].seq > rows[second.text].seq:
                yield f"accepted after what was typed later: {first.text}"


def _within_the_limit(books: _Books) -> Iterator[str]:
    for post in books.ledgers.posts:
        if post.status == _TOO_MANY:
            yield f"over LeadSquared's limit: {post.text}"
