"""The promise holds for all that people, processes, LeadSquared, Slack and time do to the store."""

import itertools
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bot.activities.acceptance import Acceptance, Accepted, Double, Refused
from bot.activities.delivery import SETTLED, Delivery, Resolution, Route, State, Submission, Waiting
from bot.activities.outbox import Claim, Claimed, Outbox
from bot.activities.policy import DOUBLE_WITHIN, WINDOW, Repeat, Settle, Step, decide, give_up_at
from bot.activities.tellings import Due, Tellings
from bot.database.writer import CommitUnknownError
from bot.leadsquared.outcome import (
    NotBegun,
    NotSent,
    Outcome,
    Problem,
    RateLimited,
    Recorded,
    Rejected,
    Undecipherable,
    Unknown,
)
from support.stepped import REPEATABLE, TICKS, Store, stepped_store

T = TypeVar("T")

LEASE = 30.0
SOON = 5.0
"""Seconds that a search for tenants that have something to send looks ahead."""

RETRY_FOR = 900.0
SMALL_WINDOWS = {"T0HOME": 3, "T0AWAY": 2}
"""Calls per window of each workspace's tenant: few, so that a few deliveries fill them."""

OPEN = frozenset(State) - SETTLED
LEASED = (State.CLAIMED, State.SENDING)
SURELY_NOT_SENT = (NotSent, NotBegun, Undecipherable)
MAY_BE_REPEATED = (*SURELY_NOT_SENT, RateLimited)


class How(Enum):
    """How a person, or Slack, asks for an activity."""

    ANEW = auto()
    WITH_THE_SAME_KEY = auto()
    DESPITE = auto()


Wish = tuple[tuple[str, str], str, str, str | None, How]

Answer = tuple[Outcome, float, int]

processes = st.sampled_from([0, 1])
people = st.sampled_from([("T0HOME", "U0ANNA"), ("T0HOME", "U0BEN"), ("T0AWAY", "U0ANNA")])
tickets = st.sampled_from(["143", "144", "145"])
words = st.sampled_from(["the form is signed", "called back", "wants the invoice"])
wishes = st.tuples(
    people, tickets, words, st.sampled_from([None, "5.0"]), st.sampled_from([How.ANEW, *How])
)
moments = st.integers(0, 3 * TICKS)
"""Ticks that a call or a message takes."""

whiles = moments | st.sampled_from(
    [int(seconds * TICKS) for seconds in (WINDOW, 10.0, LEASE - 2.0, LEASE, 40.0, DOUBLE_WITHIN)]
)
"""Ticks that pass without anything to do."""

clicks = st.tuples(
    processes, st.sampled_from(["U0ANNA", "U0BEN"]), st.sampled_from(["again", "edit", "confirm"])
)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.integers(1, 99).map(lambda number: Recorded(str(number))),
    st.builds(
        Rejected,
        st.sampled_from([Problem.BAD_REQUEST, Problem.UNAUTHORIZED]),
        st.sampled_from([None, "No"]),
    ),
    st.builds(RateLimited, st.sampled_from([None, 0.0, 12.5, 12.5, 1000.0])),
    st.just(NotSent("a.leadsquared.com")),
    st.just(NotSent("a.leadsquared.com")),
    st.sampled_from([NotBegun(), Undecipherable()]),
    st.builds(Unknown, st.sampled_from([Problem.NO_ANSWER, Problem.SERVER_ERROR])),
)
answers = st.lists(st.tuples(outcomes, st.floats(0, 1, exclude_max=True), moments), max_size=4)
"""What LeadSquared says to the next calls, the dice for the next try, and how long it takes."""

steps = st.lists(
    st.tuples(st.sampled_from(["told", "told", "told", "later", "elsewhere"]), moments), max_size=6
)
"""What Slack says to the next messages, and how long it takes."""


@dataclass(eq=False)
class Known:
    """A delivery as it should be. Moments are the clock's."""

    id: str
    submission: Submission
    tenant_id: int
    accepted_at: float
    due_at: float
    retry_of: str | None = None
    state: State = State.ACCEPTED
    lease_until: float = math.inf
    first_attempt_at: float | None = None
    resolution: Resolution | None = None
    resolved_by: str | None = None
    posts: "list[Post]" = field(default_factory=list)
    settled_as: tuple[object, ...] | None = None  # as it was first seen settled
    answers: int = 0  # how often its answer was put into Slack
    may_repeat: int = (
        0  # how often more than once: a note was lost, or a telling outlasted its lease
    )
    told: bool = False
    given_up: bool = False

    @property
    def ticket(self) -> tuple[int, str]:
        return self.tenant_id, self.submission.ticket_id

    @property
    def resendable(self) -> bool:
        return self.state in (State.REJECTED, State.UNKNOWN) and self.resolution is None


@dataclass(eq=False)
class Post:
    """A call that was made.

    It reached LeadSquared at any moment from its claim to its answer, or never.
    """

    known: Known
    claimed_at: float
    slot_until: float
    answered_at: float | None = None
    outcome: Outcome | None = None
    counted: bool = False  # its outcome was written down in time
    begun: bool = False  # committed right before the request went out

    def occupies(self, moment: float) -> bool:
        """Whether LeadSquared may count it among the calls of the 5 seconds up to this moment."""
        longest = self.claimed_at + LEASE  # no call takes longer: the settings see to that
        last = min(longest if self.answered_at is None else self.answered_at, longest)
        return self.begun and self.claimed_at <= moment < last + WINDOW


@dataclass(eq=False)
class Process:
    """What a process holds in memory, and loses with its life."""

    acceptance: Acceptance
    outbox: Outbox
    tellings: Tellings
    calls: list[tuple[Claimed, Post]] = field(default_factory=list)
    dues: list[Due] = field(default_factory=list)

    @property
    def sending(self) -> list[int]:
        return [claimed.delivery.seq for claimed, _ in self.calls]

    @property
    def telling(self) -> list[int]:
        return [due.delivery.seq for due in self.dues]

    def die(self) -> None:
        self.calls.clear()
        self.dues.clear()


class Promise(RuleBasedStateMachine):
    """Two processes on one database, two tenants, a few people, and a model beside them."""

    store: ClassVar[Store]
    tenants: ClassVar[dict[str, int]]  # by workspace

    def __init__(self) -> None:
        super().__init__()
        self.store.empty()
        self.clock = self.store.clock
        ends = (self.store.acceptances, self.store.outboxes, self.store.tellings)
        self.processes = [Process(*parts) for parts in zip(*ends, strict=True)]
        self.known: list[Known] = []  # in the order of acceptance
        self.posts: list[Post] = []  # in the order of claims
        self.held: dict[int, float] = dict.fromkeys(self.tenants.values(), 0.0)
        self.numbers = itertools.count(1)

    # -- people ask

    @rule(process=processes, asked=st.lists(wishes, min_size=1, max_size=5), data=st.data())
    def accept(self, process: int, asked: list[Wish], data: st.DataObject) -> None:
        for wish in asked:
            self._ask(self.processes[process], wish, data)

    def _ask(self, process: Process, wish: Wish, data: st.DataObject) -> None:
        (team, user), ticket, text, thread_ts, how = wish
        asked = Submission(
            None, team, "C0SUPPORT", user, self._key(), ticket, text, thread_ts=thread_ts
        )
        before = _one_of(data, self.known) if self.known and how is not How.ANEW else None
        if before is None:
            self._accept(process, asked)
        elif (
            how is How.WITH_THE_SAME_KEY
        ):  # Slack repeats a request, or a form is submitted again, changed
            self._accept(process, replace(before.submission, ticket_id=ticket, text=text))
        else:  # the same words once more, by somebody who was shown what is there
            again = replace(before.submission, key=self._key())
            self._accept(process, again, despite=_one_of(data, self.known))

    def _accept(
        self, process: Process, submission: Submission, *, despite: Known | None = None
    ) -> None:
        same_key = [
            known for known in self.known if _key_of(known.submission) == _key_of(submission)
        ]
        double = self._double_of(submission, despite)
        accept = process.acceptance.accept
        answer = self.store.run(accept(submission, despite=None if despite is None else despite.id))
        if same_key:
            assert answer == Accepted(same_key[0].id, same_key[0].tenant_id, again=True), (
                "a key is one delivery"
            )
        else:
            self._stored(answer, submission, double)

    def _stored(
        self,
        answer: object,
        submission: Submission,
        double: Known | None,
        retry_of: Known | None = None,
    ) -> Known | None:
        """Take an acceptance into the model, or see that it asks about the right double."""
        moment = self.clock.now()
        if double is not None:
            assert isinstance(answer, Double), "what would be doubled is asked about"
            assert (answer.delivery.id, answer.seconds_ago) == (
                double.id,
                moment - double.accepted_at,
            )
            return None
        assert isinstance(answer, Accepted), "what is no double is accepted"
        assert not answer.again
        assert answer.tenant_id == self.tenants[submission.team_id]
        old = None if retry_of is None else retry_of.id
        self.known.append(Known(answer.id, submission, answer.tenant_id, moment, moment, old))
        return self.known[-1]

    def _double_of(self, submission: Submission, despite: Known | None = None) -> Known | None:
        """Return the person's newest delivery of this text on the ticket, after `despite`."""

        def asks(submission: Submission) -> tuple[str, str, str, str]:
            return submission.team_id, submission.user_id, submission.ticket_id, submission.text

        shown = despite is not None and _ticket_of(despite.submission) == _ticket_of(submission)
        later = (
            self.known[self.known.index(despite) + 1 :]
            if despite is not None and shown
            else self.known
        )
        doubles = [
            known
            for known in later
            if asks(known.submission) == asks(submission)
            and known.state is not State.REJECTED
            and known.accepted_at > self.clock.now() - DOUBLE_WITHIN
        ]
        return doubles[-1] if doubles else None

    # -- people click

    @precondition(lambda self: self.known)
    @rule(
        data=st.data(), clicks=st.lists(clicks, min_size=2, max_size=2), ticket=tickets, text=words
    )
    def click_twice(
        self, data: st.DataObject, clicks: list[tuple[int, str, str]], ticket: str, text: str
    ) -> None:
        """Two people press a button under the same answer, and so does an outsider."""
        old = _one_of(data, [known for known in self.known if known.resendable] or self.known)
        self._click_from_another_workspace(self.processes[clicks[0][0]].acceptance, old)
        for process, user, button in clicks:
            self._click(self.processes[process].acceptance, old, user, button, (ticket, text))

    def _click(
        self, acceptance: Acceptance, old: Known, user: str, button: str, edited: tuple[str, str]
    ) -> None:
        team = old.submission.team_id
        again = replace(old.submission, user_id=user, key=f"{Resolution.SENT_AGAIN}:{old.id}")
        changed = replace(again, ticket_id=edited[0], text=edited[1], key=self._key())
        may = old.resendable and (button != "confirm" or old.state is State.UNKNOWN)
        double = self._double_of(changed) if may and button == "edit" else None
        shown = self._delivery(acceptance, old)
        answer: object
        match button:
            case "again":
                answer = self.store.run(acceptance.send_again(shown, again))
            case "edit":
                answer = self.store.run(acceptance.send_edited(shown, changed))
            case _:
                answer = self.store.run(acceptance.confirm(team, shown, user))
        if not may:
            assert isinstance(answer, Refused), "one click counts"
            assert answer.delivery is not None
            assert (answer.delivery.id, answer.delivery.resolved_by) == (old.id, old.resolved_by)
        elif button == "confirm":
            assert isinstance(answer, Delivery)
            old.resolution, old.resolved_by = Resolution.CONFIRMED, user
        elif self._stored(answer, again if button == "again" else changed, double, old) is not None:
            old.resolution, old.resolved_by = Resolution.SENT_AGAIN, user

    def _delivery(self, acceptance: Acceptance, known: Known) -> Delivery:
        found = self.store.run(acceptance.find(known.submission.team_id, known.id))
        assert found is not None
        return found

    def _click_from_another_workspace(self, acceptance: Acceptance, known: Known) -> None:
        foreign = next(team for team in self.tenants if team != known.submission.team_id)
        submission = replace(known.submission, team_id=foreign, key=self._key())
        shown = self._delivery(acceptance, known)
        answers = self.store.all_at_once(
            acceptance.find(foreign, known.id),
            acceptance.confirm(foreign, shown, "U0ANNA"),
            acceptance.send_again(shown, submission),
            acceptance.send_edited(shown, submission),
        )
        assert answers == [None, Refused(None), Refused(None), Refused(None)], "it is not theirs"

    # -- processes send

    @precondition(lambda self: self._opened)
    @rule(
        process=processes,
        only=st.none() | st.sampled_from(sorted(SMALL_WINDOWS)),
        at_most=st.sampled_from([100, 1]),
        heard_of=st.sampled_from([True, True, True, True, False]),
        said=answers,
        data=st.data(),
    )
    def claim(
        self,
        process: int,
        only: str | None,
        at_most: int,
        heard_of: bool,  # noqa: FBT001
        said: list[Answer],
        data: st.DataObject,
    ) -> None:
        """Make the calls that may be made, and hear of some of them."""
        if heard_of:
            self._claim(
                self.processes[process], None if only is None else [self.tenants[only]], at_most
            )
        else:
            self._claim_unheard(self.processes[process])
        self._hear(data, [self.processes[process]], said)

    def _claim_unheard(self, process: Process) -> None:
        """The claim is committed, and the process never hears of it."""
        moment = self.clock.now()
        may = self._all_that_may_be_sent(moment)
        with self.store.deaf(), pytest.raises(CommitUnknownError):
            self.store.run(process.outbox.claim(sorted(self.tenants.values())))
        for known in may:
            self._claimed(known, moment)

    def _claim(self, process: Process, tenant_ids: list[int] | None, at_most: int = 100) -> Claim:
        moment = self.clock.now()
        may: list[Known] = []
        if tenant_ids is None:
            waiting = self.store.run(process.outbox.waiting_tenants(within=SOON))
            assert waiting == self._waiting(moment), "who has something to send soon is known"
            tenant_ids = sorted(self.tenants.values())
        for tenant_id in tenant_ids:
            may += self._may_be_sent(tenant_id, moment) if len(may) < at_most else []
        claim = self.store.run(process.outbox.claim(tenant_ids, at_most=at_most))
        self._take_in(process, claim, may, moment)
        return claim

    def _take_in(self, process: Process, claim: Claim, may: list[Known], moment: float) -> None:
        for claimed in claim.claimed:
            known = self._known(claimed.delivery.id)
            assert claimed.at == moment
            assert claimed.tenant.id == known.tenant_id
            assert (claimed.delivery.ticket_id, claimed.delivery.text) == _content_of(
                known.submission
            )
            post = self._claimed(known, moment)
            process.calls.append((claimed, post))
            assert claimed.delivery.attempts == len(known.posts)
        assert [claimed.delivery.id for claimed in claim.claimed] == [known.id for known in may], (
            "all that may, goes"
        )

    def _claimed(self, known: Known, moment: float) -> Post:
        known.state, known.lease_until = State.CLAIMED, moment + LEASE
        known.first_attempt_at = known.first_attempt_at or moment
        known.posts.append(Post(known, moment, moment + LEASE + WINDOW))
        self.posts.append(known.posts[-1])
        return known.posts[-1]

    def _all_that_may_be_sent(self, moment: float) -> list[Known]:
        return [
            known
            for tenant_id in sorted(self.tenants.values())
            for known in self._may_be_sent(tenant_id, moment)
        ]

    def _waiting(self, moment: float) -> dict[int, float]:
        """Return in how many seconds each tenant has something soon, limit aside."""
        waiting: dict[int, float] = {}
        for known in self._first_of_each_ticket():
            if known.state is State.ACCEPTED and known.due_at <= moment + SOON:
                waiting[known.tenant_id] = min(
                    known.due_at - moment, waiting.get(known.tenant_id, math.inf)
                )
        return waiting

    def _first_of_each_ticket(self) -> list[Known]:
        first: dict[tuple[int, str], Known] = {}
        for known in self._opened:
            first.setdefault(known.ticket, known)
        return list(first.values())

    def _may_be_sent(self, tenant_id: int, moment: float) -> list[Known]:
        """Return what the limit and the order leave to be sent now."""
        if self.held[tenant_id] > moment:
            return []
        taken = sum(
            post.known.tenant_id == tenant_id and post.slot_until > moment for post in self.posts
        )
        mine = [known for known in self._first_of_each_ticket() if known.tenant_id == tenant_id]
        due = [known for known in mine if known.state is State.ACCEPTED and known.due_at <= moment]
        return due[: self._limit(tenant_id) - taken]

    @precondition(lambda self: any(process.calls for process in self.processes))
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """A request goes out, and its answer is still to come."""
        process = _one_of(data, [process for process in self.processes if process.calls])
        self._begin_call(process, _one_of(data, process.calls))

    def _begin_call(self, process: Process, call: tuple[Claimed, Post]) -> bool:
        claimed, post = call
        known = post.known
        may = (
            known.state is State.CLAIMED
            and known.posts[-1] is post
            and known.lease_until > self.clock.now()
        )
        assert self.store.run(process.outbox.begin(claimed)) is may, (
            "what another process may have taken is not sent"
        )
        if may:
            known.state, post.begun = State.SENDING, True
        return may

    @precondition(lambda self: any(process.calls for process in self.processes))
    @rule(data=st.data(), said=answers)
    def settle(self, data: st.DataObject, said: list[Answer]) -> None:
        self._hear(data, self.processes, said)

    @precondition(lambda self: any(process.calls for process in self.processes))
    @rule(data=st.data(), said=answers)
    def settle_late(self, data: st.DataObject, said: list[Answer]) -> None:
        """A process outlives its lease, another declares its calls dead, and the first goes on."""
        slow = _one_of(data, [process for process in self.processes if process.calls])
        self.clock.go_on(int(LEASE * TICKS) + 1)
        self._expire(slow)
        self._expire(next(process for process in self.processes if process is not slow))
        self._hear(data, [slow], said)

    @precondition(lambda self: any(process.calls for process in self.processes))
    @rule(data=st.data(), outcome=outcomes, roll=st.floats(0, 1, exclude_max=True) | st.just(0.0))
    def settle_twice(self, data: st.DataObject, outcome: Outcome, roll: float) -> None:
        """The answer to a commit is lost, so it is written down once more.

        Another process has claimed in between.
        """
        process = _one_of(data, [process for process in self.processes if process.calls])
        other = next(one for one in self.processes if one is not process)
        claims: list[Claim] = []

        async def claim() -> None:
            claims.append(await other.outbox.claim(sorted(self.tenants.values())))

        call, moment = _one_of(data, process.calls), self.clock.now()
        outcome = self._begun(process, call, outcome)
        with self.store.repeating(claim):
            self._settle(process, call, outcome, roll, again=True)
        may = self._all_that_may_be_sent(moment)
        self._take_in(other, claims[0], may, moment)

    def _hear(self, data: st.DataObject, listening: list[Process], said: list[Answer]) -> None:
        for outcome, roll, ticks in said:
            if busy := [process for process in listening if process.calls]:
                self.clock.go_on(ticks)
                process = _one_of(data, busy)
                self._settle(process, _one_of(data, process.calls), outcome, roll)

    def _settle(
        self,
        process: Process,
        call: tuple[Claimed, Post],
        outcome: Outcome,
        roll: float,
        *,
        again: bool = False,
    ) -> None:
        outcome = self._begun(process, call, outcome)
        process.calls.remove(call)
        claimed, post = call
        known, delivery, moment = post.known, claimed.delivery, self.clock.now()
        give_up = give_up_at(
            delivery.accepted_at, delivery.first_attempt_at or claimed.at, RETRY_FOR
        )
        decision = decide(
            outcome, attempts=delivery.attempts, give_up=give_up, now=moment, random=lambda: roll
        )
        in_time = known.state in LEASED and known.posts[-1] is post
        settles = self.store.run(process.outbox.settle(claimed, outcome, decision))
        assert settles is (in_time and not again), "the first to settle settles"
        post.answered_at, post.outcome, post.counted = moment, outcome, in_time
        post.slot_until = moment if isinstance(outcome, SURELY_NOT_SENT) else moment + WINDOW
        self.held[known.tenant_id] = max(
            self.held[known.tenant_id], decision.hold_account_until or 0.0
        )
        if in_time and isinstance(decision, Repeat):
            known.state, known.due_at = State.ACCEPTED, decision.at
        elif in_time and not isinstance(decision, Repeat):
            known.state = decision.state

    def _begun(self, process: Process, call: tuple[Claimed, Post], outcome: Outcome) -> Outcome:
        """Send a request, unless its outcome is that none went out.

        Return the outcome that it can have.
        """
        surely_not_sent = isinstance(outcome, SURELY_NOT_SENT)
        if call[1].begun:
            return Unknown(Problem.DROPPED) if surely_not_sent else outcome
        return outcome if surely_not_sent or self._begin_call(process, call) else NotBegun()

    def _expire(self, process: Process) -> None:
        spared = [post.known for _, post in process.calls]
        moment = self.clock.now()
        leased = [known for known in self.known if known.state in LEASED and known not in spared]
        dead = [known for known in leased if known.lease_until < moment]
        sent = [known for known in dead if known.state is State.SENDING]
        ended = self.store.run(process.outbox.expire(sparing=process.sending))
        assert sorted(ended) == sorted(known.id for known in sent), (
            "what may have gone out is unknown, and no more"
        )
        for known in dead:
            if known in sent:
                known.state = State.UNKNOWN
            else:
                known.state, known.due_at, known.posts[-1].slot_until = (
                    State.ACCEPTED,
                    moment,
                    moment,
                )

    @rule(crashing=st.none() | processes, ticks=whiles, looking=st.none() | processes)
    def time_passes(self, crashing: int | None, ticks: int, looking: int | None) -> None:
        """A process may die, time passes, and a process may search for the calls of dead ones."""
        if crashing is not None:
            self.processes[crashing].die()
        self.clock.go_on(ticks)
        if looking is not None:
            self._expire(self.processes[looking])

    # -- processes tell

    @precondition(lambda self: self.known)
    @rule(
        process=processes,
        at_most=st.integers(1, 5),
        settled_only=st.booleans(),
        said=steps,
        data=st.data(),
    )
    def claim_tellings(
        self,
        process: int,
        at_most: int,
        settled_only: bool,  # noqa: FBT001
        said: list[tuple[str, int]],
        data: st.DataObject,
    ) -> None:
        """Take what is to be told, and tell some of it."""
        self._claim_tellings(self.processes[process], at_most, settled_only=settled_only)
        self._tell_some(data, [self.processes[process]], said)

    def _claim_tellings(
        self, process: Process, at_most: int, *, settled_only: bool = False
    ) -> float:
        claim = process.tellings.claim(
            at_most=at_most, sparing=process.telling, settled_only=settled_only
        )
        found, next_in = self.store.run(claim)
        for due in found:
            known = self._known(due.delivery.id)
            assert due.delivery.seq not in process.telling
            # Another process tells the same still: then its lease has run out, and the message may
            # come twice.
            late = [
                one
                for other in self.processes
                for one in other.dues
                if one.delivery.seq == due.delivery.seq
            ]
            assert all(one.at + LEASE < due.at for one in late), (
                "what a process tells is its own until its lease ends"
            )
            known.may_repeat += len(late)
            self._begin(process, due)
        return next_in

    def _begin(self, process: Process, due: Due) -> None:
        assert due.delivery.state is self._known(due.delivery.id).state, "what is told is true"
        process.dues.append(due)

    @precondition(lambda self: any(process.dues for process in self.processes))
    @rule(data=st.data(), said=steps)
    def tell(self, data: st.DataObject, said: list[tuple[str, int]]) -> None:
        self._tell_some(data, self.processes, said)

    @precondition(lambda self: any(process.dues for process in self.processes))
    @rule(data=st.data(), said=steps)
    def tell_late(self, data: st.DataObject, said: list[tuple[str, int]]) -> None:
        """A process waits for Slack past its lease, another tells the same, then it goes on."""
        slow = _one_of(data, [process for process in self.processes if process.dues])
        self.clock.go_on(int(LEASE * TICKS) + 1)
        self._claim_tellings(slow, 5)
        self._claim_tellings(next(process for process in self.processes if process is not slow), 5)
        self._tell_some(data, [slow], said)

    def _tell_some(
        self, data: st.DataObject, telling: list[Process], said: list[tuple[str, int]]
    ) -> None:
        for answer, ticks in said:
            if busy := [process for process in telling if process.dues]:
                self.clock.go_on(ticks)
                process = _one_of(data, busy)
                due = _one_of(data, process.dues)
                process.dues.remove(due)
                match answer:
                    case "told":
                        self._tell(process, due)
                    case "later":
                        self.store.run(
                            process.tellings.tell_later(
                                due, data.draw(st.sampled_from([0.0, 1.5, 300.0]))
                            )
                        )
                    case _:
                        self._tell_elsewhere(
                            process, due, data.draw(st.sampled_from(list(Route)[1:]))
                        )

    def _tell(self, process: Process, due: Due) -> None:
        known = self._known(due.delivery.id)
        self._into_slack(known, due)
        following = self.store.run(process.tellings.told(due, f"{next(self.numbers)}.0"))
        known.told |= due.step is Step.ANSWER
        if following is not None:
            self._begin(process, following)

    def _tell_elsewhere(self, process: Process, due: Due, route: Route) -> None:
        following = self.store.run(process.tellings.tell_elsewhere(due, route))
        if following is not None:
            self._begin(process, following)

    def _into_slack(self, known: Known, due: Due) -> None:
        if due.step is Step.ANSWER:
            assert due.delivery.settled, "an answer is final"
            known.answers += 1

    @precondition(lambda self: any(process.dues for process in self.processes))
    @rule(data=st.data(), ticks=whiles)
    def crash_after_telling(self, data: st.DataObject, ticks: int) -> None:
        """Slack took the message, and the process dies before it has written that down."""
        process = _one_of(data, [process for process in self.processes if process.dues])
        due = _one_of(data, process.dues)
        known = self._known(due.delivery.id)
        self._into_slack(known, due)
        known.may_repeat += due.step is Step.ANSWER
        process.die()
        self.clock.go_on(ticks)

    @precondition(lambda self: any(process.dues for process in self.processes))
    @rule(data=st.data())
    def give_a_telling_up(self, data: st.DataObject) -> None:
        """Slack has refused this step for a day. What comes after it is told all the same."""
        process = _one_of(data, [process for process in self.processes if process.dues])
        due = _one_of(data, process.dues)
        process.dues.remove(due)
        self.store.run(process.tellings.tell_later(due, None))
        self._known(due.delivery.id).given_up |= due.delivery.settled

    # -- what holds after each step

    @invariant()
    def every_step_keeps_the_promise(self) -> None:
        rows = self.store.rows()
        self.nothing_accepted_disappears(rows)
        self.each_key_is_one_delivery(rows)
        self.every_delivery_is_in_a_legal_state(rows)
        self.what_is_settled_never_changes(rows)
        self.each_outcome_is_what_leadsquared_said(rows)
        self.one_of_two_clicks_counts(rows)
        self.one_call_per_ticket_at_a_time_in_order(rows)
        self.no_post_follows_one_that_may_have_arrived()
        self.the_limit_is_kept()
        self.no_answer_is_told_twice(rows)

    def nothing_accepted_disappears(self, rows: Sequence[sa.RowMapping]) -> None:
        assert {known.id for known in self.known} <= {row["id"] for row in rows}

    def each_key_is_one_delivery(self, rows: Sequence[sa.RowMapping]) -> None:
        assert [(row["team_id"], row["key"]) for row in rows] == [
            _key_of(known.submission) for known in self.known
        ]

    def every_delivery_is_in_a_legal_state(self, rows: Sequence[sa.RowMapping]) -> None:
        for row in rows:
            state = State(row["state"])
            assert state is self._known(row["id"]).state
            assert row["attempts"] == len(self._known(row["id"]).posts)
            assert (row["lease_until"] is not None) is (state in LEASED)
            assert (row["settled_at"] is not None) is (state in SETTLED)
            assert (row["activity_id"] is not None) is (state is State.RECORDED)
            assert (row["problem"] is not None) is (state in (State.REJECTED, State.UNKNOWN))

    def what_is_settled_never_changes(self, rows: Sequence[sa.RowMapping]) -> None:
        for row in rows:
            known = self._known(row["id"])
            if row["state"] in SETTLED:
                settled = tuple(
                    row[name]
                    for name in (
                        "state",
                        "activity_id",
                        "problem",
                        "detail",
                        "settled_at",
                        "attempts",
                    )
                )
                known.settled_as = known.settled_as or settled
                assert settled == known.settled_as
            else:
                assert known.settled_as is None

    def each_outcome_is_what_leadsquared_said(self, rows: Sequence[sa.RowMapping]) -> None:
        """Unknown is only what was in flight when its process died, or was answered unclearly."""
        for row in rows:
            if row["state"] not in SETTLED:
                continue
            last = self._known(row["id"]).posts[-1]
            match last.outcome if last.counted else None:
                case None:
                    assert (row["state"], row["problem"]) == (State.UNKNOWN, Problem.INTERRUPTED)
                    assert row["settled_at"] > last.claimed_at + LEASE
                case Recorded(activity_id):
                    assert (row["state"], row["activity_id"]) == (State.RECORDED, activity_id)
                case Unknown(problem):
                    assert (row["state"], row["problem"]) == (State.UNKNOWN, problem)
                case _:
                    assert row["state"] == State.REJECTED

    def one_of_two_clicks_counts(self, rows: Sequence[sa.RowMapping]) -> None:
        again = Counter(row["retry_of"] for row in rows if row["retry_of"] is not None)
        for row in rows:
            known = self._known(row["id"])
            assert (row["resolution"], row["resolved_by"]) == (known.resolution, known.resolved_by)
            assert again[row["id"]] == (row["resolution"] == Resolution.SENT_AGAIN)
            assert row["resolution"] is None or row["state"] in (State.REJECTED, State.UNKNOWN)
            assert row["resolution"] != Resolution.CONFIRMED or row["state"] == State.UNKNOWN

    def one_call_per_ticket_at_a_time_in_order(self, rows: Sequence[sa.RowMapping]) -> None:
        first: dict[tuple[int, str], str] = {}
        for row in rows:
            if row["state"] in OPEN:
                ahead = first.setdefault((row["tenant_id"], row["ticket_id"]), row["id"])
                assert row["state"] == State.ACCEPTED or ahead == row["id"], (
                    "an earlier one is still open"
                )
        place = {known: number for number, known in enumerate(self.known)}
        last: dict[tuple[int, str], int] = {}
        for post in self.posts:
            assert last.get(post.known.ticket, 0) <= place[post.known], (
                "sent in the order of acceptance"
            )
            last[post.known.ticket] = place[post.known]

    def no_post_follows_one_that_may_have_arrived(self) -> None:
        for known in self.known:
            made = [post for post in known.posts if post.begun]
            assert all(
                post.counted and isinstance(post.outcome, MAY_BE_REPEATED) for post in made[:-1]
            )

    def the_limit_is_kept(self) -> None:
        moment = self.clock.now()
        counted = Counter(post.known.tenant_id for post in self.posts if post.occupies(moment))
        assert all(count <= self._limit(tenant_id) for tenant_id, count in counted.items())

    def no_answer_is_told_twice(self, rows: Sequence[sa.RowMapping]) -> None:
        for row in rows:
            known = self._known(row["id"])
            assert (row["replied_at"] is not None) is known.told
            assert known.answers <= 1 + known.may_repeat

    # -- how it ends

    def teardown(self) -> None:
        if sys.exc_info()[0] is None:  # else the step that failed says more
            self.one_process_brings_everything_to_its_end()
            self.a_person_confirms_what_is_unknown()
            self.one_process_brings_everything_to_its_end()

    def a_person_confirms_what_is_unknown(self) -> None:
        for known in self.known:
            if known.state is State.UNKNOWN and known.resolution is None:
                self._click(
                    self.processes[0].acceptance, known, "U0BEN", "confirm", ("143", "called back")
                )

    def one_process_brings_everything_to_its_end(self) -> None:
        living, *others = self.processes
        for process in others:
            process.die()
        for _ in range(100 + 5 * len(self.known)):
            self._expire(living)
            while living.calls:
                self._settle(living, living.calls[0], Recorded("1"), 0.0)
            claim = self._claim(living, None)
            for call in living.calls:
                self._begin_call(living, call)
            next_telling = self._claim_tellings(living, 100)
            while living.dues:
                self._tell(living, living.dues.pop())
            self.every_step_keeps_the_promise()
            if self.store.run(living.outbox.unfinished()) == 0:
                break
            self.clock.go_on(_ticks(min(LEASE, next_telling, *claim.next_in.values())))
        for row in self.store.rows():
            known = self._known(row["id"])
            assert known.state in SETTLED, "all is settled"
            assert known.told or known.given_up, "all is told"
            if (
                row["anchor_ts"] is not None
                and known.resolution is not Resolution.SENT_AGAIN
                and not known.given_up
            ):
                assert row["anchor_mark"] == (known.resolution or known.state), (
                    "the anchor shows how it ended"
                )

    # -- the model, asked

    @property
    def _opened(self) -> list[Known]:
        return [known for known in self.known if known.state in OPEN]

    def _known(self, id_: str) -> Known:
        return next(known for known in self.known if known.id == id_)

    def _limit(self, tenant_id: int) -> int:
        return next(
            limit for team, limit in SMALL_WINDOWS.items() if self.tenants[team] == tenant_id
        )

    def _key(self) -> str:
        return f"trigger-{next(self.numbers)}"


def _one_of(data: st.DataObject, choice: Sequence[T]) -> T:
    return choice[data.draw(st.integers(0, len(choice) - 1))]


def _key_of(submission: Submission) -> tuple[str, str]:
    return submission.team_id, submission.key


def _ticket_of(submission: Submission) -> tuple[str, str]:
    return submission.team_id, submission.ticket_id


def _content_of(submission: Submission) -> tuple[str, str]:
    return submission.ticket_id, submission.text


def _ticks(seconds: float) -> int:
    return max(math.ceil(seconds * TICKS), 1)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with stepped_store(request.param, tmp_path, lease=LEASE) as lent:
        yield lent


def test_the_promise_holds_whatever_happens(store: Store) -> None:
    class OnThisDatabase(Promise):
        pass

    OnThisDatabase.store = store
    OnThisDatabase.tenants = {
        team: store.add_tenant(team, limit) for team, limit in SMALL_WINDOWS.items()
    }
    run_state_machine_as_test(
        OnThisDatabase,
        settings=settings(
            REPEATABLE, max_examples=100 if store.is_sqlite else 25, stateful_step_count=40
        ),
    )


def test_an_answer_is_told_although_the_step_before_it_is_given_up_meanwhile(store: Store) -> None:
    tenant_id = store.add_tenant("T0HOME", 25)
    outbox, tellings = store.outboxes[0], store.tellings[0]
    asked = Submission(
        None, "T0HOME", "C0SUPPORT", "U0ANNA", "trigger-1", "143", "called back", thread_ts="5.0"
    )
    store.run(store.acceptances[0].accept(asked))
    store.clock.go_on(10 * TICKS)
    (note,), _ = store.run(tellings.claim(at_most=1))
    (claimed,) = store.run(outbox.claim([tenant_id])).claimed
    recorded = Recorded("1")
    assert store.run(outbox.settle(claimed, recorded, Settle(State.RECORDED, activity_id="1")))
    assert note.step is Step.NOTE
    store.run(tellings.tell_later(note, None))

    (answer,), _ = store.run(tellings.claim(at_most=1))
    assert (answer.step, answer.delivery.activity_id) == (Step.ANSWER, "1")
    store.run(tellings.tell_later(answer, None))
    assert store.run(outbox.unfinished()) == 0, "and what did not change is given up"


@pytest.mark.parametrize("late", ["later", "elsewhere", "told"])
def test_who_comes_late_with_a_message_leaves_the_telling_to_the_process_that_took_it_over(
    store: Store, late: str
) -> None:
    tenant_id = store.add_tenant("T0HOME", 25)
    outbox = store.outboxes[0]
    slow, quick = store.tellings
    asked = Submission(
        None, "T0HOME", "C0SUPPORT", "U0ANNA", "trigger-1", "143", "called back", thread_ts="5.0"
    )
    store.run(store.acceptances[0].accept(asked))
    (claimed,) = store.run(outbox.claim([tenant_id])).claimed
    store.run(outbox.settle(claimed, Recorded("1"), Settle(State.RECORDED, activity_id="1")))
    (told_slowly,), _ = store.run(slow.claim(at_most=1))
    store.clock.go_on(int(LEASE * TICKS) + 1)
    (taken_over,), _ = store.run(quick.claim(at_most=1))

    match late:
        case "later":
            store.run(slow.tell_later(told_slowly, 0.0))
        case "elsewhere":
            assert store.run(slow.tell_elsewhere(told_slowly, Route.DIRECT_MESSAGE)) is None
        case _:
            assert store.run(slow.told(told_slowly, "6.0")) is None
    assert store.run(slow.claim(at_most=1))[0] == []
    assert store.run(quick.told(taken_over, "7.0")) is None
    assert store.run(outbox.unfinished()) == 0


def test_a_shorter_hold_does_not_end_a_longer_one(store: Store) -> None:
    tenant_id = store.add_tenant("T0HOME", 25)
    outbox = store.outboxes[0]
    for number in range(2):
        asked = Submission(
            None, "T0HOME", "C0SUPPORT", "U0ANNA", f"trigger-{number}", f"14{number}", "called back"
        )
        store.run(store.acceptances[0].accept(asked))
    first, second = store.run(outbox.claim([tenant_id])).claimed
    moment = store.clock.now()
    for claimed, seconds in ((first, 60.0), (second, 6.0)):
        repeat = Repeat(moment + seconds, Waiting.RATE_LIMITED, hold_account_until=moment + seconds)
        assert store.run(outbox.settle(claimed, RateLimited(seconds), repeat))
    store.clock.go_on(59 * TICKS)
    claim = store.run(outbox.claim([tenant_id]))
    assert (claim.claimed, claim.next_in[tenant_id]) == ((), 1.0)
