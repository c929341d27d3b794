"""After an unknown outcome: look whether the text is on the ticket, and have that told. Never posts an activity."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol

import structlog

from bot.activities.outbox import Look, Outbox
from bot.activities.policy import RETRY_DATABASE
from bot.activities.worker import Tells
from bot.database.clock import steady
from bot.database.writer import DatabaseUnavailableError
from bot.leadsquared.outcome import CannotLook, Conversation
from bot.leadsquared.tenant import Tenant

_log = structlog.get_logger(__name__)

LOOK_AFTER = (5.0, 30.0, 120.0, 600.0)
"""Seconds between the outcome, the first look and those that follow: nothing says how soon an activity shows."""

MAX_LOOKS_PER_CLAIM = 20
"""Deliveries that one claim takes; their calls are made at the same time. Fewer than one tenant's
window of 25, so that a claim's calls are never a burst for LeadSquared."""


class Ticket(Protocol):
    """What the core asks LeadSquared about a ticket. It never raises for what a network or a server can do."""

    async def portal_conversations(self, tenant: Tenant, ticket_id: str) -> Sequence[Conversation] | CannotLook: ...


class Looker:
    """Looks for what is due. One `run` per process; which delivery is looked for when stands in the database.

    Seconds: no look is begun later than `begin_within` after its claim.
    """

    def __init__(
        self, outbox: Outbox, ticket: Ticket, teller: Tells, *, poll_interval: float, begin_within: float
    ) -> None:
        self._outbox = outbox
        self._ticket = ticket
        self._teller = teller
        self._poll_interval = poll_interval
        self._begin_within = begin_within

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            wait = self._poll_interval
            try:
                looks, next_in = await self._outbox.claim_looks(at_most=MAX_LOOKS_PER_CLAIM)
                await asyncio.gather(*(self._look(look) for look in looks))
                wait = min(wait, max(next_in, RETRY_DATABASE))
            except DatabaseUnavailableError as error:
                _log.warning("database_unavailable", reason=str(error))
            await asyncio.sleep(wait)

    async def _look(self, look: Look) -> None:
        with structlog.contextvars.bound_contextvars(delivery=look.delivery.id, tenant=look.tenant.name):
            shown = await self._shown(look)
            if isinstance(shown, CannotLook):
                _log.warning("cannot_look", reason=shown.reason)
                await self._outbox.looked_in_vain(look)
                return
            ids = same_words(look.delivery.text or "", shown)
            finding = await self._outbox.looked(look, ids)
            _log.info("looked", finding=None if finding is None else finding.value)
            self._teller.wake()

    async def _shown(self, look: Look) -> Sequence[Conversation] | CannotLook:
        if steady() > look.since + self._begin_within:
            return CannotLook("begun too late")  # it could outlast the slot that it holds
        return await self._ticket.portal_conversations(look.tenant, look.delivery.ticket_id)


def same_words(text: str, shown: Sequence[Conversation]) -> list[str]:
    """Return the ids of what has these words, however they are spaced, the newest (by number, else as listed) last."""
    wanted = text.split()
    ids = [conversation.id for conversation in shown if conversation.text.split() == wanted]
    with contextlib.suppress(ValueError):
        ids.sort(key=int)
    return ids
