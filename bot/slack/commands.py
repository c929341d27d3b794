"""/portal-activity <ticket> <text>."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from pydantic import ConfigDict, ValidationError
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext

from bot.activities.acceptance import Accepted, Double, Unmapped
from bot.activities.delivery import Submission, without_link
from bot.activities.recent import Person
from bot.activities.ticket import (
    CLOSING,
    INVISIBLE,
    OPENING,
    MalformedTicketError,
    parse_ticket,
    visible,
)
from bot.database.writer import DatabaseUnavailableError
from bot.slack import answers
from bot.slack.bolt import payload_of
from bot.slack.forms import Forms
from bot.slack.names import SlackNames
from bot.slack.payloads import BlockActions, Payload, SlashCommand, is_member
from bot.slack.shared import Shared
from bot.slack.text import bare_mentions, is_blank, to_plain
from bot.tenants.rules import AskGroup, Kind, NotAllowed, Why

_AROUND = (re.escape(marks.replace(mark, "")) for marks, mark in ((OPENING, "<"), (CLOSING, ">")))
_OPENING, _CLOSING = (f"[{INVISIBLE}{marks}]*+" for marks in _AROUND)
# What Slack encodes may hold spaces and has an end of its own; any other word ends at a space.
_FIRST_WORD = re.compile(rf"[\s{INVISIBLE}]*+(?:{_OPENING}(<[^<>]+>){_CLOSING}|(\S+))?\s*")
_CHANNEL_KEY = re.compile(r"<#[^|<>]*\|([0-9]+)>")  # #143, where a channel happens to be called 143
_LINK = re.compile(r"<(https?://[^|<>]+)(?:\|[^<>]*)?>")

SHOWING = ("recent", "status")
"""The subcommands that show what others recorded. `setup` says itself who may use it."""


@dataclass(frozen=True, slots=True)
class CommandText:
    """A command's text, split in two.

    `ticket` is as the person typed it. `rest` still has Slack's encoding.
    """

    ticket: str
    rest: str = field(repr=False)


def take_apart(text: str) -> CommandText:
    """Split a command's text into its first word, without Slack's encoding, and the rest."""
    first = _FIRST_WORD.match(text)
    word = first[1] or first[2] or "" if first else ""
    rest = text[first.end() if first else 0 :].rstrip()
    if channel := _CHANNEL_KEY.fullmatch(word):
        return CommandText(channel[1], rest)
    link = _LINK.fullmatch(word)
    return CommandText(visible(to_plain(link[1] if link else word)), rest)


class RecordAgain(Payload):
    """The value of "Record again".

    It has the earlier delivery, and the key of the command that was asked about.
    """

    model_config = ConfigDict(extra="forbid")

    delivery: str
    key: str


class Subcommand(Protocol):
    """`/portal-activity <word> <rest>`, which records nothing.

    Return what the person reads at once; None when something opens instead. Slack waits 3 s.
    """

    async def __call__(self, command: SlashCommand, rest: str, /) -> answers.Message | None: ...


class Commands:
    """Registers the slash command: parse, accept, acknowledge. `subcommands` by their word."""

    def __init__(
        self,
        shared: Shared,
        names: SlackNames,
        forms: Forms,
        subcommands: Mapping[str, Subcommand] | None = None,
    ) -> None:
        self._subcommands = subcommands or {}
        self._shared = shared
        self._names = names
        self._forms = forms

    def register(self, bolt: AsyncApp) -> None:
        bolt.command(answers.COMMAND)(self.portal_activity)
        bolt.action(answers.RECORD_AGAIN)(self.record_again)

    async def portal_activity(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Answer an error at once, or accept durably and acknowledge without words.

        The outcome follows in the thread.
        """
        command = payload_of(context, SlashCommand)
        problem = await self._record(command)
        await (ack() if problem is None else ack(response_type="ephemeral", **problem.payload()))

    async def _record(self, command: SlashCommand) -> answers.Message | None:
        words = take_apart(command.text)
        if words.ticket.lower() == "help":
            return answers.usage()
        if removed := self._shared.removed(command.enterprise_id, command.team_id):
            return removed
        person = Person(command.team_id, command.user_id, command.enterprise_id)
        self._shared.recorders.begin(person)
        word = words.ticket.lower()
        if subcommand := self._subcommands.get(word):
            refusal = await self._outsider(person, command.channel_id) if word in SHOWING else None
            return refusal or await subcommand(command, words.rest)
        if is_blank(words.ticket):
            return await self._forms.ask(command, "", answers.no_ticket())
        try:
            ticket_id = parse_ticket(words.ticket, self._shared.link_hosts)
        except MalformedTicketError as error:
            return answers.malformed_ticket(words.ticket, str(error), number=error.number)
        mentioned = bare_mentions(words.rest)
        names = (
            await self._names.names(command.enterprise_id, command.team_id, mentioned)
            if mentioned
            else {}
        )
        text = to_plain(words.rest, names).strip()
        if is_blank(text):
            return await self._forms.ask(command, ticket_id, answers.no_text(ticket_id))
        return await self._accept(_submission(command, ticket_id, text))

    async def _outsider(self, person: Person, channel_id: str) -> answers.Message | None:
        """Refuse people of other organisations, and guests: they see nothing of the others'.

        While Slack does not say who a person is, that person sees nothing either.
        """
        match (await self._shared.recorders.recorder(person)).kind:
            case Kind.MEMBER:
                return None
            case Kind.AWAY:
                return answers.not_shown_yet()
            case Kind.STRANGER:
                return answers.may_not_record(NotAllowed(Why.STRANGER))
            case Kind.UNTOLD:
                return answers.may_not_record(NotAllowed(Why.UNTOLD))
        try:
            why_not = await self._shared.why_not(person, channel_id)
        except DatabaseUnavailableError as error:
            return self._shared.try_again(error)
        # Where nothing is connected, no rule lets a guest in.
        no = NotAllowed(Why.GUEST) if isinstance(why_not, Unmapped) else why_not
        return answers.may_not_record(no) if no is not None and no.why is Why.GUEST else None

    async def _accept(self, submission: Submission) -> answers.Message | None:
        person = Person(submission.team_id, submission.user_id, submission.enterprise_id)
        accept = self._shared.acceptance.accept
        try:
            accepted = await self._shared.as_recorder(
                person, lambda recorder: accept(replace(submission, recorder=recorder))
            )
        except DatabaseUnavailableError as error:
            return self._shared.try_again(error)
        match accepted:
            case Unmapped():
                return self._shared.not_connected(submission.enterprise_id, submission.team_id)
            case NotAllowed() | AskGroup() as no:
                return answers.may_not_record(no)
            case Double() as double:
                return answers.same_words(double, submission.key)
            case Accepted():
                return None

    async def record_again(self, ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Record the same text again, for the person who was asked."""
        click = payload_of(context, BlockActions)
        try:
            message = await self._record_again(click)
        except DatabaseUnavailableError as error:
            # The button stays, to be pressed again.
            self._shared.say(click, self._shared.try_again(error))
        else:
            self._shared.responder.replace(click.response_url, message, thread_ts=click.thread_ts)
        await ack()

    async def _record_again(self, click: BlockActions) -> answers.Message:
        try:
            asked = RecordAgain.model_validate_json(click.actions[0].value)
        except ValidationError:
            return self._shared.already_decided(None)
        organisation = click.enterprise_id
        earlier = await self._shared.acceptance.find(
            click.team_id, asked.delivery, enterprise_id=organisation
        )
        if earlier is None or earlier.user_id != click.user.id or click.channel is None:
            return self._shared.already_decided(None)
        if not is_member(click, earlier.team_id, earlier.enterprise_id):
            return self._shared.already_decided(None)
        if earlier.text is None:
            return answers.without_text(earlier)
        submission = Submission(
            enterprise_id=earlier.enterprise_id or click.enterprise_id,
            team_id=earlier.team_id,
            channel_id=click.channel.id,
            user_id=click.user.id,
            key=asked.key,
            ticket_id=earlier.ticket_id,
            text=without_link(earlier.text),  # a command adds none
            response_url=click.response_url,
        )
        person = Person(earlier.team_id, click.user.id, submission.enterprise_id)
        accept = self._shared.acceptance.accept
        accepted = await self._shared.as_recorder(
            person,
            lambda recorder: accept(replace(submission, recorder=recorder), despite=earlier.id),
        )
        match accepted:
            case Unmapped():
                return self._shared.not_connected(earlier.enterprise_id, earlier.team_id)
            case NotAllowed() | AskGroup() as no:
                return answers.may_not_record(no)
            case Double() as double:
                return answers.same_words(double, asked.key)
            case Accepted():
                return answers.recorded_again(earlier)


def _submission(command: SlashCommand, ticket_id: str, text: str) -> Submission:
    return Submission(
        enterprise_id=command.enterprise_id,
        team_id=command.team_id,
        channel_id=command.channel_id,
        user_id=command.user_id,
        key=command.trigger_id,
        ticket_id=ticket_id,
        text=text,
        response_url=command.response_url,
    )
