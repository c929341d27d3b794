"""After an unknown outcome: verify whether the text is on the ticket, and have that told.

The verifier never posts an activity.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol

import structlog

from bot.activities.policy import RETRY_DATABASE
from bot.activities.verifications import Verification, Verifications
from bot.activities.worker import Tells
from bot.database.clock import steady
from bot.database.writer import DatabaseUnavailableError
from bot.leadsquared.outcome import CannotRead, Conversation
from bot.leadsquared.tenant import Tenant

_log = structlog.get_logger(__name__)

VERIFY_AFTER = (5.0, 30.0, 120.0, 600.0)
"""Seconds between the outcome, the first verification and those that follow.

LeadSquared does not say how soon an activity shows.
"""

MAX_VERIFICATIONS_PER_CLAIM = 20
"""Deliveries that one claim takes; their calls are made at the same time. Fewer than one tenant's
window of 25, so that a claim's calls are never a burst for LeadSquared."""


class Ticket(Protocol):
    """What the core asks LeadSquared about a ticket.

    It never raises for what a network or a server can do.
    """

    async def portal_conversations(
        self, tenant: Tenant, ticket_id: str
    ) -> Sequence[Conversation] | CannotRead: ...


class Verifier:
    """Verifies what is due.

    One `run` per process; which delivery is verified when stands in the database.

    Seconds: no call is begun later than `begin_within` after its claim.
    """

    def __init__(
        self,
        verifications: Verifications,
        ticket: Ticket,
        teller: Tells,
        *,
        poll_interval: float,
        begin_within: float,
    ) -> None:
        self._verifications = verifications
        self._ticket = ticket
        self._teller = teller
        self._poll_interval = poll_interval
        self._begin_within = begin_within

    async def run(self) -> None:
        """Verify until cancelled."""
        while True:
            wait = self._poll_interval
            try:
                claimed, next_in = await self._verifications.claim(
                    at_most=MAX_VERIFICATIONS_PER_CLAIM
                )
                await asyncio.gather(*(self._verify(verification) for verification in claimed))
                wait = min(wait, max(next_in, RETRY_DATABASE))
            except DatabaseUnavailableError as error:
                _log.warning("database_unavailable", reason=str(error))
            await asyncio.sleep(wait)

    async def _verify(self, verification: Verification) -> None:
        delivery = verification.delivery
        with structlog.contextvars.bound_contextvars(
            delivery=delivery.id, tenant=verification.tenant.name
        ):
            conversations = await self._conversations(verification)
            if isinstance(conversations, CannotRead):
                _log.warning("cannot_verify", reason=conversations.reason)
                await self._verifications.not_shown(verification)
                return
            ids = same_words(delivery.sent_text or "", conversations)
            finding = await self._verifications.shown(verification, ids)
            _log.info("verified", finding=None if finding is None else finding.value)
            self._teller.wake()

    async def _conversations(
        self, verification: Verification
    ) -> Sequence[Conversation] | CannotRead:
        if steady() > verification.since + self._begin_within:
            return CannotRead("begun too late")  # it could outlast the slot that it holds
        return await self._ticket.portal_conversations(
            verification.tenant, verification.delivery.ticket_id
        )


def same_words(text: str, shown: Sequence[Conversation]) -> list[str]:
    """Return the ids of what has these words, however they are spaced.

    The newest is last: by number, else as listed.
    """
    wanted = text.split()
    ids = [conversation.id for conversation in shown if conversation.text.split() == wanted]
    with contextlib.suppress(ValueError):
        ids.sort(key=int)
    return ids
