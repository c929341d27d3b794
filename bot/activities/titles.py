"""Which ticket a number is: its title and status, read before an activity is recorded on it.

Nothing waits for this, and nothing depends on it: what LeadSquared does not show in the documented
shape is not shown.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
from sqlalchemy.engine import Connection

from bot.activities.acceptance import Numbered
from bot.activities.policy import RATE_LIMIT_JITTER, WINDOW
from bot.activities.window import Window, begin_read, hold, lock_window
from bot.backoff import jittered
from bot.database.clock import steady
from bot.database.statement import Statement
from bot.database.writer import Database, DatabaseUnavailableError
from bot.encryption import Keyring
from bot.leadsquared.address import api_host
from bot.leadsquared.outcome import CannotRead, NoTicket, RateLimited, Ticket, TicketForm
from bot.leadsquared.tenant import Tenant

READ_WITHIN = 1.0
"""Seconds for all of a read: a person looks at the form, and may submit it without a title."""

KEPT_FOR = 60.0
"""Seconds for which an answer is kept, whatever it was."""

TRIED_TICKET = "1"
"""The ticket by which an address is tried: every account numbers from there."""

KEPT = 1000
"""Answers that are kept at most, the latest."""

_log = structlog.get_logger(__name__)

Answer = Ticket | NoTicket | RateLimited | CannotRead


class ShowsTickets(Protocol):
    """What the core asks LeadSquared. It never raises for what a network or a server can do."""

    async def ticket(self, tenant: Tenant, ticket_id: str, form: TicketForm) -> Answer: ...


@dataclass(frozen=True, slots=True)
class _Slot:
    """A call that may be made now. `at` is the moment by the database's clock."""

    tenant: Tenant
    at: float
    since: float


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Ticket | NoTicket | None
    until: float


class Titles:
    """Reads tickets, each with a slot of its account's rate limit, and keeps them for a minute."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        leadsquared: ShowsTickets,
        *,
        on_named: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._leadsquared = leadsquared
        self._on_named = on_named
        self._kept: OrderedDict[Numbered, _Kept] = OrderedDict()
        self._reading: dict[Numbered, asyncio.Task[Ticket | NoTicket | None]] = {}
        self._forms: dict[int, TicketForm] = {}
        self._naming: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End what is being read."""
        tasks = [*self._reading.values(), *self._naming]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ticket(
        self, which: Numbered, *, within: float = READ_WITHIN
    ) -> Ticket | NoTicket | None:
        """Return what a ticket shows of itself; None: nothing that can be relied on.

        Never raises. NoTicket only where the same account has shown another ticket before.
        """
        if (kept := self._kept_of(which)) is not None:
            return kept.answer
        task = self._reading.get(which)
        if task is None:
            task = self._reading[which] = asyncio.create_task(self._read(which))
            task.add_done_callback(lambda _: self._reading.pop(which, None))
        done, _ = await asyncio.wait([task], timeout=within)
        return task.result() if done and not task.cancelled() else None

    def name(self, delivery_id: str, which: Numbered) -> None:
        """Give a delivery its ticket's title, beside the work, if LeadSquared shows one in time."""
        task = asyncio.create_task(self._name(delivery_id, which))
        self._naming.add(task)
        task.add_done_callback(self._naming.discard)

    _NAME = Statement(
        "The title of a delivery's ticket, unless its words were deleted. An anchor that is posted"
        " is to show it.",
        """
        UPDATE deliveries
        SET title = :title, tell_at = CASE
            WHEN anchor_ts IS NULL THEN tell_at
            ELSE COALESCE(tell_at, bot_now())
        END
        WHERE id = :id AND title IS NULL AND erased_at IS NULL
        """,
        index=("uq_deliveries_id",),
    )

    async def _name(self, delivery_id: str, which: Numbered) -> None:
        found = await self.ticket(which)
        if not isinstance(found, Ticket):
            return
        title = self._keyring.encrypt(found.title)
        try:
            await self._database.run(
                lambda connection: self._NAME.run(connection, id=delivery_id, title=title)
            )
        except DatabaseUnavailableError as error:
            _log.warning("database_unavailable", reason=str(error))
        else:
            self._on_named()

    async def _read(self, which: Numbered) -> Ticket | NoTicket | None:
        """Read a ticket and keep the answer. Where no slot was free, there is none to keep."""
        try:
            async with asyncio.timeout(READ_WITHIN):
                answer = await self._ask(which)
        except TimeoutError:
            answer = CannotRead("call timeout")
        except DatabaseUnavailableError as error:
            _log.warning("database_unavailable", reason=str(error))
            return None
        except Exception:  # noqa: BLE001 - logged; a form does without a title
            _log.exception("ticket_not_read")
            return None
        if isinstance(answer, CannotRead):
            _log.info("ticket_not_shown", reason=answer.reason)
        return None if answer is None else self._keep(which, answer)

    def _kept_of(self, which: Numbered) -> _Kept | None:
        kept = self._kept.get(which)
        return kept if kept is not None and kept.until > time.monotonic() else None

    def _keep(
        self, which: Numbered, answer: Ticket | NoTicket | CannotRead
    ) -> Ticket | NoTicket | None:
        """Keep what an answer shows, and return it."""
        shown = None if isinstance(answer, CannotRead) else answer
        self._kept.pop(which, None)
        self._kept[which] = _Kept(shown, time.monotonic() + KEPT_FOR)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return shown

    async def _ask(self, which: Numbered) -> Ticket | NoTicket | CannotRead | None:
        """Ask in the form that the account has answered before, or in each one.

        None: there was no slot for a call.
        """
        known = self._forms.get(which.account_id)
        for form in TicketForm if known is None else (known,):
            slot = await self._slot(which)
            if slot is None:
                return None
            answer = await self._leadsquared.ticket(slot.tenant, which.ticket_id, form)
            match answer:
                case Ticket():
                    self._forms[which.account_id] = form
                    return answer
                case RateLimited(retry_after):
                    await self._hold(slot, retry_after)
                    return CannotRead("rate limit")
                case CannotRead():
                    return answer
        if known is not None or await self._shows_another(which):
            return NoTicket(which.ticket_id)
        return CannotRead("status 404")

    async def _shows_another(self, which: Numbered) -> bool:
        """Say whether an account shows its first ticket.

        Then a 404 means the ticket, and not the address, as LeadSquared's documentation says of it.
        """
        first = replace(which, ticket_id=TRIED_TICKET)
        if which == first:
            return False
        if (kept := self._kept_of(first)) is not None:
            return isinstance(kept.answer, Ticket)
        answer = await self._ask(first)
        if answer is not None:
            self._keep(first, answer)
        return isinstance(answer, Ticket)

    async def _slot(self, which: Numbered) -> _Slot | None:
        """Take a slot for one call, where one is free now and the tenant is still that one."""
        since = steady()

        def take(connection: Connection) -> _Slot | None:
            window = lock_window(connection, which.tenant_id, self._keyring)
            if not isinstance(window, Window) or not window.has_keys:
                return None
            if window.tenant.account_id != which.account_id:
                return None
            taken = begin_read(connection, window, lasts=READ_WITHIN)
            return _Slot(window.tenant, window.at, since) if taken else None

        return await self._database.run(take, within=READ_WITHIN, answer_within=READ_WITHIN)

    async def _hold(self, slot: _Slot, retry_after: float | None) -> None:
        """Let no call of the account begin for a while, as after any call over the rate limit."""
        wait = max(WINDOW, retry_after or 0.0) + jittered(RATE_LIMIT_JITTER)
        until = slot.at + steady() - slot.since + wait
        account_id = slot.tenant.account_id or 0
        _log.warning("rate_limited", ticket="", host=api_host(slot.tenant.api_url), reason="read")
        await self._database.run(lambda connection: hold(connection, account_id, until))
