"""/portal-activity <ticket> <text>."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck

from bot.activities.store import Accepted, Outbox, Unmapped
from bot.activities.submission import MalformedTicketError, Submission, parse_ticket
from bot.db import DatabaseUnavailableError
from bot.slack import views
from bot.slack.payloads import SlashCommand, without_blanks
from bot.slack.text import bare_mentions, is_blank, to_plain

_FIRST_WORD = re.compile(r"\s*(<[^<>]+>|\S+)?\s*")
_CHANNEL_KEY = re.compile(r"<#[^|<>]*\|([0-9]+)>")  # #143, where a channel happens to be called 143
_LINK = re.compile(r"<(https?://[^|<>]+)(?:\|[^<>]*)?>")


class People(Protocol):
    """Finds the names of people whom Slack names by id only."""

    async def names(self, enterprise_id: str | None, team_id: str, user_ids: list[str]) -> dict[str, str]: ...


class Accepting(Protocol):
    """Told of each acceptance, so that it is sent at once."""

    def wake(self, tenant_id: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Words:
    """A command's text, taken apart: the ticket as typed, and the rest with Slack's encoding still in it."""

    ticket: str
    rest: str = field(repr=False)


def take_apart(text: str) -> Words:
    """Split a command's text into its first word and the rest; undo Slack's encoding of the first."""
    first = _FIRST_WORD.match(text)
    word = first[1] or "" if first else ""
    rest = text[first.end() if first else 0 :].rstrip()
    if channel := _CHANNEL_KEY.fullmatch(word):
        return Words(channel[1], rest)
    link = _LINK.fullmatch(word)
    return Words(to_plain(link[1] if link else word), rest)


class Commands:
    """Registers the slash command: parse, accept, acknowledge."""

    def __init__(
        self,
        outbox: Outbox,
        worker: Accepting,
        people: People,
        link_hosts: tuple[str, ...],
        *,
        identified: Callable[[], bool],
    ) -> None:
        self._outbox = outbox
        self._worker = worker
        self._people = people
        self._link_hosts = link_hosts
        self._identified = identified

    def register(self, bolt: AsyncApp) -> None:
        bolt.command(views.COMMAND)(self.portal_activity)

    async def portal_activity(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        """Answer at once with what is wrong, or accept durably and acknowledge with nothing: the thread tells the rest."""
        command = SlashCommand.model_validate(without_blanks(body))
        problem = await self._record(command)
        await (ack() if problem is None else ack(text=problem.text, response_type="ephemeral"))

    async def _record(self, command: SlashCommand) -> views.Message | None:
        words = take_apart(command.text)
        if words.ticket.lower() == "help":
            return views.usage()
        if not words.ticket:
            return views.no_ticket()
        try:
            ticket_id = parse_ticket(words.ticket, self._link_hosts)
        except MalformedTicketError as error:
            return views.malformed_ticket(words.ticket, str(error))
        mentioned = bare_mentions(words.rest)
        names = await self._people.names(command.enterprise_id, command.team_id, mentioned) if mentioned else {}
        text = to_plain(words.rest, names).strip()
        if is_blank(text):
            return views.no_text(ticket_id)
        return await self._accept(command, ticket_id, text)

    async def _accept(self, command: SlashCommand, ticket_id: str, text: str) -> views.Message | None:
        submission = Submission(
            enterprise_id=command.enterprise_id,
            team_id=command.team_id,
            channel_id=command.channel_id,
            user_id=command.user_id,
            key=command.trigger_id,
            ticket_id=ticket_id,
            text=text,
            response_url=command.response_url,
        )
        try:
            accepted = await self._outbox.accept(submission)
        except DatabaseUnavailableError as error:
            return views.unavailable(error)
        match accepted:
            case Unmapped():
                # Until Slack has said whose the token is, the environment's tenant may not be mapped yet.
                return views.unmapped(command.team_id) if self._identified() else views.starting()
            case Accepted():
                self._worker.wake(accepted.tenant_id)
                return None
