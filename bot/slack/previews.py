"""What a form shows of what will stand on the ticket: the last line, and which ticket it is."""

import asyncio
from dataclasses import dataclass
from typing import Self

from pydantic import ConfigDict, Field

from bot.activities.acceptance import Acceptance, Mapped
from bot.activities.titles import Titles
from bot.database.writer import DatabaseUnavailableError
from bot.leadsquared.outcome import NoTicket, Ticket
from bot.leadsquared.tenant import Attribution
from bot.slack import hints
from bot.slack.attribution import SlackAttribution, last_line
from bot.slack.payloads import Payload
from bot.slack.text import cut, one_line

LONGEST_TITLE = 150
"""Characters of a title that are shown, and kept with an activity."""

LONGEST_STATUS = 40


class SeenTicket(Payload):
    """A ticket as a form shows it. Without a title, LeadSquared shows no such ticket."""

    model_config = ConfigDict(extra="forbid")

    ticket: str
    title: str | None = Field(default=None, repr=False)
    status: str | None = None
    is_closed: bool = False

    @classmethod
    def of(cls, found: Ticket | NoTicket | None) -> Self | None:
        """Return what is shown of what was read."""
        match found:
            case Ticket(id_, title, status):
                status = cut(one_line(status or ""), LONGEST_STATUS) or None
                title = cut(one_line(title), LONGEST_TITLE)
                return cls(ticket=id_, title=title, status=status, is_closed=found.is_closed)
            case NoTicket(id_):
                return cls(ticket=id_)
            case None:
                return None

    @property
    def is_doubtful(self) -> bool:
        """Whether the person should read this before the activity is recorded."""
        return self.title is None or self.is_closed


@dataclass(frozen=True, slots=True)
class Where:
    """A person in a conversation."""

    enterprise_id: str | None
    team_id: str
    channel_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What a form shows. `last_line` is None where there is none; so is `seen`."""

    last_line: str | None = None
    shows_ticket: bool = False
    seen: SeenTicket | None = None


NO_PREVIEW = Preview()


class Previews:
    """Finds out what a form shows; what cannot be had in time, it does without."""

    def __init__(
        self, acceptance: Acceptance, attribution: SlackAttribution, titles: Titles
    ) -> None:
        self._acceptance = acceptance
        self._attribution = attribution
        self._titles = titles

    async def of(
        self,
        where: Where,
        mapped: Mapped,
        *,
        link: str | None,
        ticket_id: str | None,
        within: float,
    ) -> Preview:
        """Return the preview of a form; without `ticket_id`, no ticket is read."""
        line, seen = await asyncio.gather(
            self._last_line(where, mapped, link, within),
            self._seen(mapped, ticket_id, within) if ticket_id else _nothing(),
        )
        return Preview(line, mapped.show_ticket, seen)

    async def mapped(self, where: Where) -> Mapped | None:
        """Return the tenant of a conversation; None also where the database does not say."""
        try:
            return await self._acceptance.tenant_of(
                where.enterprise_id, where.team_id, where.channel_id
            )
        except DatabaseUnavailableError:
            return None

    async def ticket(self, where: Where, ticket_id: str, *, within: float) -> SeenTicket | None:
        """Return what a ticket shows, if the tenant wants it shown and LeadSquared shows it."""
        try:
            async with asyncio.timeout(within):
                mapped = await self.mapped(where)
                return None if mapped is None else await self._seen(mapped, ticket_id, within)
        except TimeoutError:
            return None

    async def _seen(self, mapped: Mapped, ticket_id: str, within: float) -> SeenTicket | None:
        if not mapped.show_ticket:
            return None
        return SeenTicket.of(await self._titles.ticket(mapped.ticket(ticket_id), within=within))

    async def _last_line(
        self, where: Where, mapped: Mapped, link: str | None, within: float
    ) -> str | None:
        if mapped.attribution is Attribution.NONE:
            return None
        name = await self._attribution.name(
            where.enterprise_id, where.team_id, where.user_id, within=within
        )
        with_link = mapped.attribution is Attribution.NAME_AND_LINK
        return last_line(name or hints.YOUR_NAME, link if with_link else None)


async def _nothing() -> None:
    return None
