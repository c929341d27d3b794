"""Which tenants to visit, and when. Pure: each moment is the monotonic clock's, and passed in."""

import heapq
import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from bot.activities.outbox import VISITED_AT_ONCE, Claim
from bot.activities.policy import MAX_CALLS_IN_FLIGHT, RETRY_DATABASE, WINDOW, may_begin

CLAIMED_AT_ONCE = 25
"""Deliveries in one claim, or one tenant's window more: acceptances go in between two claims."""

BURST = 50
BURST_WITHIN = 0.1
BURST_FIRST = 2.5
"""So many acceptances within so many seconds are a burst. While it lasts, no claim is made, for
2.5 s at most: people wait 3 s for an acknowledgement, and calls would take the processor from it.
Fewer than 50 at once are acknowledged in time beside the calls, and would only be held back."""

NOTIFIED_DELAY = 0.02
"""Seconds of delay after a notification, so that the accepting process claims first."""


@dataclass(frozen=True, slots=True)
class Visits:
    """What the next claim is to do: visit these tenants, in this order.

    `at_most`: deliveries to claim. `in_flight`: this process's calls, by tenant.
    """

    tenant_ids: list[int]
    at_most: int
    in_flight: dict[int, int]


class Burst:
    """Acceptances in quick succession."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=BURST)
        self._since = self._on_at = -math.inf

    def count(self, now: float) -> None:
        """Note an acceptance."""
        self._last.append(now)
        if self._is_on(now):
            if now > self._on_at + BURST_FIRST:  # a new burst, not the same one after a gap
                self._since = now
            self._on_at = now

    def lasts(self, now: float) -> float:
        """Return for how many seconds claiming should still wait."""
        if not self._is_on(now) or now >= self._since + BURST_FIRST:
            return 0.0
        return min(self._last[0] + BURST_WITHIN, self._since + BURST_FIRST) - now

    def _is_on(self, now: float) -> bool:
        return len(self._last) == BURST and now < self._last[0] + BURST_WITHIN


class Schedule:
    """Knows per tenant when a visit can bring something.

    It learns that from acceptances, claims, calls that end, and polls. One claim runs at a time:
    `visits` begins it, and `claimed` or `database_failed` ends it.
    """

    def __init__(self, poll_interval: float) -> None:
        self._poll_interval = poll_interval
        self._poll_at = -math.inf
        self._visit_at: dict[int, float] = {}
        self._visited_at: dict[int, float] = {}
        self._full: set[int] = set()  # their window: the planned visit comes when a slot is free
        self._held_back: set[int] = set()  # they have their share of the calls in flight
        self._calls: Counter[int] = Counter()  # in flight, by tenant
        self._burst = Burst()
        self._visiting: frozenset[int] = frozenset()  # by the claim that is running
        # News of those tenants during the claim, which may not see it.
        self._postponed: list[tuple[int, float, float]] = []

    # -- what happens

    def accepted(self, tenant_id: int, now: float) -> bool:
        """This process has accepted something; say whether a visit is planned for it."""
        self._burst.count(now)
        return self._news(tenant_id, now)

    def notified(self, tenant_id: int, now: float) -> bool:
        """Another process has accepted something; say whether a visit is planned for it."""
        return self._news(tenant_id, now + NOTIFIED_DELAY)

    def poll_now(self) -> None:
        """Something may have been accepted without a notification."""
        self._poll_at = -math.inf

    def polling(self, now: float) -> None:
        """A poll is about to read all tenants with something to send: forget what was planned."""
        self._poll_at = now + self._poll_interval
        self._visiting = frozenset()  # a claim that broke off is covered as well
        for planned in (self._visit_at, self._full, self._held_back, self._postponed):
            planned.clear()

    def polled(self, next_in: Mapping[int, float], now: float) -> None:
        """A poll has read in how many seconds each tenant has something to send."""
        for tenant_id, seconds in next_in.items():
            self._plan(tenant_id, now + seconds)

    def database_failed(self, now: float) -> None:
        """A poll or a claim failed: poll again soon."""
        self._poll_at = now + RETRY_DATABASE
        self._end_visits()

    def began(self, tenant_id: int) -> None:
        """A call was begun."""
        self._calls[tenant_id] += 1

    def ended(self, tenant_id: int, now: float) -> None:
        """A call has ended, and its delivery is settled or to be repeated."""
        self._calls[tenant_id] -= 1
        if not self._calls[tenant_id]:
            del self._calls[tenant_id]
        self._let_go(now)
        # The ticket's next delivery may go now. A full window has room when this call's slot is
        # free.
        self._news(tenant_id, now, if_full=now + WINDOW)

    def claimed(self, claim: Claim, now: float) -> None:
        """A claim has ended, and the calls of what it brought have begun."""
        for tenant_id, seconds in claim.next_in.items():
            self._plan(tenant_id, claim.counted_at + seconds)
        self._visited_at |= dict.fromkeys(claim.visited, claim.counted_at)
        self._full |= claim.full
        self._held_back |= claim.held_back
        self._end_visits()
        self._let_go(now)  # calls have ended while the claim ran

    # -- what to do

    def is_poll_due(self, now: float) -> bool:
        return now >= self._poll_at and self._room() > 0

    def visits(self, now: float) -> Visits | None:
        """Begin a claim and return what it is to do; None: nothing now.

        First comes the tenant visited longest ago, so that no tenant is always the last.
        """
        room = self._room()
        due = [tenant_id for tenant_id, at in self._visit_at.items() if at <= now]
        if room <= 0 or not due:
            return None
        first = heapq.nsmallest(VISITED_AT_ONCE, due, key=self._last_visit)
        for tenant_id in first:
            del self._visit_at[tenant_id]
        self._visiting = frozenset(first)
        self._full -= self._visiting
        self._held_back -= self._visiting
        return Visits(first, min(room, CLAIMED_AT_ONCE), dict(self._calls))

    def pause(self, now: float) -> float:
        """Return for how many seconds a burst is still to be waited for."""
        return self._burst.lasts(now)

    def wait(self, now: float) -> float:
        """Return in how many seconds there is something to do, if nothing happens before."""
        if self._room() <= 0:
            return self._poll_interval  # nothing before a call ends
        return max(min([self._poll_at, *self._visit_at.values()]) - now, 0.0)

    # --

    def _room(self) -> int:
        return MAX_CALLS_IN_FLIGHT - self._calls.total()

    def _last_visit(self, tenant_id: int) -> float:
        return self._visited_at.get(tenant_id, -math.inf)

    def _plan(self, tenant_id: int, at: float) -> None:
        """Plan a visit, unless an earlier one is planned."""
        at = min(at, self._visit_at.get(tenant_id, math.inf))
        if at < math.inf:
            self._visit_at[tenant_id] = at

    def _news(self, tenant_id: int, at: float, if_full: float = math.inf) -> bool:
        """Plan a visit for what is new, unless the tenant is known to have no room.

        Then it is visited when it has room.
        """
        if tenant_id in self._visiting:
            self._postponed.append((tenant_id, at, if_full))
            return False
        if tenant_id in self._held_back:
            return False
        at = if_full if tenant_id in self._full else at
        self._plan(tenant_id, at)
        return at < math.inf

    def _end_visits(self) -> None:
        self._visiting = frozenset()
        postponed, self._postponed = self._postponed, []
        for news in postponed:
            self._news(*news)

    def _let_go(self, now: float) -> None:
        """Plan a visit to those that were held back and have room now."""
        of_all = self._calls.total()
        for tenant_id in [one for one in self._held_back if may_begin(self._calls[one], of_all)]:
            self._held_back.remove(tenant_id)
            self._plan(tenant_id, now)
