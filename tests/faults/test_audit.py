"""The audit finds each way in which the promise can be broken.

Sound ledgers, and the same with one thing wrong.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bot.activities.delivery import State
from bot.leadsquared.outcome import Problem
from bot.playground.leadsquared import Activity
from faults.audit import AtOnce, Counts, Crash, Kind, Ledgers, Post, Row, Said, Typed, audit, count

ACKNOWLEDGED = ("recorded", "rejected", "interrupted", "dropped")

SOUND = Ledgers(
    typed=[
        Typed("143", "recorded", AtOnce.ACKNOWLEDGED, 1.0, 1.1),
        Typed("143", "rejected", AtOnce.ACKNOWLEDGED, 2.0, 2.1),
        Typed("144", "interrupted", AtOnce.ACKNOWLEDGED, 3.0, 3.1),
        Typed("145", "dropped", AtOnce.ACKNOWLEDGED, 4.0, 4.1),
        Typed("145", "refused", AtOnce.REFUSED, 5.0, 5.1),
        Typed("145", "lost on its way", AtOnce.UNSURE, 6.0, 6.1),
    ],
    posts=[
        Post("143", "recorded", 200, spoilt=False),
        Post("143", "rejected", 400, spoilt=False),
        Post("144", "interrupted", None, spoilt=True),
        Post("145", "dropped", 200, spoilt=True),
    ],
    activities=[
        Activity("1", "22824", "143", "recorded"),
        Activity("2", "22824", "144", "interrupted"),
    ],
    rows=[
        Row(
            1,
            "r1",
            "143",
            "recorded",
            State.RECORDED,
            activity_id="1",
            sent_at=10.0,
            answered_at=10.1,
        ),
        Row(
            2,
            "r2",
            "143",
            "rejected",
            State.REJECTED,
            problem=Problem.BAD_REQUEST,
            sent_at=11.0,
            answered_at=11.1,
        ),
        Row(
            3, "r3", "144", "interrupted", State.UNKNOWN, problem=Problem.INTERRUPTED, sent_at=12.0
        ),
        Row(
            4,
            "r4",
            "145",
            "dropped",
            State.UNKNOWN,
            problem=Problem.DROPPED,
            sent_at=13.0,
            answered_at=13.1,
        ),
    ],
    said=[
        Said("r1", Kind.ANCHOR, State.RECORDED),
        Said("r1", Kind.ANSWER, State.RECORDED, "1"),
        Said("r2", Kind.ANCHOR, State.REJECTED),
        Said("r2", Kind.ANSWER, State.REJECTED),
        Said(
            "r3", Kind.ANCHOR, State.ACCEPTED
        ),  # the process died between Slack's answer and its note
        Said("r3", Kind.ANCHOR, State.UNKNOWN),
        Said("r3", Kind.ANSWER, State.UNKNOWN),
        Said("r4", Kind.NOTE, State.ACCEPTED),
        Said("r4", Kind.ANSWER, State.UNKNOWN),
    ],
    crashes=[Crash(sending=frozenset({"r3"}), telling=frozenset({"r3"}))],
)


def changed(name: str, number: int, **changes: Any) -> Ledgers:
    """Change one entry of one ledger."""
    entries = list(getattr(SOUND, name))
    entries[number] = replace(entries[number], **changes)
    return replace(SOUND, **{name: entries})


def without(name: str, number: int) -> Ledgers:
    entries = list(getattr(SOUND, name))
    del entries[number]
    return replace(SOUND, **{name: entries})


def with_one_more(name: str, entry: Any, ledgers: Ledgers = SOUND) -> Ledgers:
    return replace(ledgers, **{name: [*getattr(ledgers, name), entry]})


def swapped(name: str, one: int, other: int) -> Ledgers:
    entries = list(getattr(SOUND, name))
    entries[one], entries[other] = entries[other], entries[one]
    return replace(SOUND, **{name: entries})


def sent_again(*, clicked: set[str]) -> Ledgers:
    """Sound, but that the interrupted one was sent once more.

    A second delivery, and a second activity.
    """
    again = Row(
        5,
        "r5",
        "144",
        "interrupted",
        State.RECORDED,
        activity_id="3",
        retry_of="r3",
        answered_at=14.0,
    )
    ledgers = with_one_more("rows", again)
    ledgers = with_one_more("posts", Post("144", "interrupted", 200, spoilt=False), ledgers)
    ledgers = with_one_more("activities", Activity("3", "22824", "144", "interrupted"), ledgers)
    ledgers = with_one_more("said", Said("r5", Kind.ANSWER, State.RECORDED, "3"), ledgers)
    return replace(ledgers, clicked=clicked)


DOCTORED = {
    "acknowledged, not kept": (
        with_one_more("typed", Typed("1", "gone", AtOnce.ACKNOWLEDGED, 7, 8)),
        "not in the database: gone",
    ),
    "refused, and kept": (changed("typed", 0, at_once=AtOnce.REFUSED), "and kept: recorded"),
    "answered with something else": (
        changed("typed", 4, at_once=AtOnce.OTHER),
        "something else: refused",
    ),
    "typed by nobody": (without("typed", 0), "typed by nobody: recorded"),
    "for another ticket": (changed("rows", 0, ticket="999"), "another ticket than 143: recorded"),
    "accepted twice": (sent_again(clicked=set()), "accepted twice without a button: interrupted"),
    "accepted twice, another's button": (
        sent_again(clicked={"r4"}),
        "without a button: interrupted",
    ),
    "sent, not kept": (
        with_one_more("posts", Post("1", "refused", 200, spoilt=False)),
        "LeadSquared, and not in the database: refused",
    ),
    "on a ticket, not kept": (
        with_one_more("activities", Activity("3", "1", "1", "ghost")),
        "not in the database: ghost",
    ),
    "told of, not kept": (
        with_one_more("said", Said("r9", Kind.ANSWER, State.UNKNOWN)),
        "told of in Slack, and not in the database: r9",
    ),
    "sent twice": (
        with_one_more("posts", Post("145", "dropped", 200, spoilt=False)),
        "sent 2 times for 1 in the database: dropped",
    ),
    "twice on the ticket": (
        with_one_more("activities", Activity("3", "22824", "143", "recorded")),
        "2 on the ticket, where at most 1",
    ),
    "told not recorded, and there": (
        with_one_more("activities", Activity("3", "22824", "143", "rejected")),
        "1 on the ticket, where at most 0",
    ),
    "told recorded, and not there": (
        without("activities", 0),
        "0 on the ticket, where 1 are recorded: recorded",
    ),
    "an Id of nothing": (
        changed("rows", 0, activity_id="77"),
        "Id 77 is not this activity's: recorded",
    ),
    "an Id of another": (
        changed("rows", 0, activity_id="2"),
        "Id 2 is not this activity's: recorded",
    ),
    "recorded without an Id": (
        changed("rows", 0, activity_id=None),
        "Id None is not this activity's: recorded",
    ),
    "an Id on another ticket": (
        changed("activities", 0, ticket_id="144"),
        "Id 1 is not this activity's: recorded",
    ),
    "an Id with another text": (
        changed("activities", 0, text="interrupted"),
        "Id 1 is not this activity's: recorded",
    ),
    "one Id for two": (
        changed("rows", 1, state=State.RECORDED, activity_id="1"),
        "Id 1 is given to 2 deliveries: recorded, rejected",
    ),
    "interrupted by nobody": (
        replace(SOUND, crashes=[Crash(telling=frozenset({"r3"}))]),
        "no process died while it was being sent: interrupted",
    ),
    "interrupted while it lived": (
        changed("rows", 2, answered_at=12.5),
        "its process lived to have the answer: interrupted",
    ),
    "unknown, and answered": (
        changed("posts", 3, spoilt=False),
        "unknown (dropped), and LeadSquared answered it: dropped",
    ),
    "unknown, and never sent": (
        without("posts", 3),
        "unknown (dropped), and LeadSquared answered it: dropped",
    ),
    "told twice": (
        with_one_more("said", Said("r1", Kind.ANSWER, State.RECORDED, "1")),
        "answered 2 times, while 0 processes died telling it: recorded",
    ),
    "told three times": (
        replace(SOUND, said=[*SOUND.said, SOUND.said[6], SOUND.said[6]]),
        "answered 3 times, while 1 processes died telling it: interrupted",
    ),
    "told another outcome": (
        changed("said", 3, state=State.RECORDED),
        "told recorded, and is rejected: rejected",
    ),
    "told another Id": (
        changed("said", 1, activity_id="2"),
        "told recorded, Id 2, and is recorded, Id 1: recorded",
    ),
    "never ended": (changed("rows", 3, state=State.SENDING), "never ended (sending): dropped"),
    "never sent": (changed("rows", 3, state=State.ACCEPTED), "never ended (accepted): dropped"),
    "never told": (without("said", 8), "unknown, and nobody was told: dropped"),
    "still to be told": (changed("rows", 3, to_tell=True), "still to be told: dropped"),
    "an anchor that was left": (
        changed("said", 2, state=State.ACCEPTED),
        "rejected, and its anchor says accepted: rejected",
    ),
    "sent out of order": (
        swapped("posts", 0, 1),
        "sent to 143 before what was accepted before it: rejected",
    ),
    "two at once": (
        changed("posts", 1, crowded=True),
        "sent to 143 while another was on its way there: rejected",
    ),
    "accepted out of order": (
        replace(
            SOUND,
            rows=[replace(SOUND.rows[0], seq=2), replace(SOUND.rows[1], seq=1), *SOUND.rows[2:]],
            posts=[SOUND.posts[1], SOUND.posts[0], *SOUND.posts[2:]],
        ),
        "accepted after what was typed later: recorded",
    ),
    "over the limit": (
        with_one_more("posts", Post("143", "recorded", 429, spoilt=False)),
        "over LeadSquared's limit: recorded",
    ),
}


def test_sound_ledgers_have_no_problem() -> None:
    assert audit(SOUND) == []
    assert audit(SOUND, at_rest=False) == []
    assert audit(Ledgers()) == []


@pytest.mark.parametrize(("ledgers", "says"), DOCTORED.values(), ids=DOCTORED)
def test_what_is_wrong_is_found(ledgers: Ledgers, says: str) -> None:
    assert [problem for problem in audit(ledgers) if says in problem], audit(ledgers)


def repeated_reply(ledgers: Ledgers) -> Ledgers:
    return with_one_more("said", Said("r3", Kind.ANSWER, State.UNKNOWN), ledgers)


def cut_off_by_an_outage(ledgers: Ledgers) -> Ledgers:
    return replace(ledgers, posts=ledgers.posts[:3], outages=[13.05])


def kept_all_the_same(ledgers: Ledgers) -> Ledgers:
    return replace(
        ledgers, typed=[replace(ledgers.typed[0], at_once=AtOnce.UNSURE), *ledgers.typed[1:]]
    )


def accepted_at_the_same_moment(ledgers: Ledgers) -> Ledgers:
    """By two processes, so that the later one was committed and sent first."""
    first, second, *others = ledgers.posts
    typed = [replace(one, began=1.0, ended=2.5) for one in ledgers.typed[:2]]
    return replace(ledgers, posts=[second, first, *others], typed=[*typed, *ledgers.typed[2:]])


@pytest.mark.parametrize(
    "change", [repeated_reply, cut_off_by_an_outage, kept_all_the_same, accepted_at_the_same_moment]
)
def test_what_may_be_is_no_problem(change: Callable[[Ledgers], Ledgers]) -> None:
    assert audit(change(SOUND)) == []


def test_a_button_may_post_once_more() -> None:
    ledgers = sent_again(clicked={"r3"})
    assert audit(ledgers) == []
    its_anchor = replace(ledgers.said[5], reference="r5", state=State.RECORDED)
    assert audit(replace(ledgers, said=[*ledgers.said[:5], its_anchor, *ledgers.said[6:]])) == []


@pytest.mark.parametrize(
    "case",
    ["never ended", "never sent", "never told", "still to be told", "an anchor that was left"],
)
def test_what_is_still_on_its_way_is_no_problem_before_the_end(case: str) -> None:
    on_its_way = DOCTORED[case][0]
    unanswered = [
        said for said in on_its_way.said if (said.reference, said.kind) != ("r4", Kind.ANSWER)
    ]
    assert audit(replace(on_its_way, said=unanswered), at_rest=False) == []


def test_everything_is_counted() -> None:
    counts = count(repeated_reply(SOUND), problems=2)
    assert counts == Counts(
        rounds=1,
        typed=6,
        acknowledged=4,
        refused=1,
        unsure=1,
        recorded=1,
        rejected=1,
        unknown=2,
        posts=4,
        replies=5,
        repeated=1,
        problems=2,
    )
    assert (counts + counts).posts == 8
