"""What all listeners work with, and the words that they have in common."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from bot.activities.acceptance import Acceptance, Unmapped
from bot.activities.delivery import Delivery
from bot.activities.recent import Person
from bot.database.writer import DatabaseUnavailableError
from bot.installations.access import (
    Ended,
    Installations,
    NotInstalled,
    TokenRefused,
    TokenUnreadable,
    Unidentified,
)
from bot.slack import answers
from bot.slack.answers import Message
from bot.slack.background import Background
from bot.slack.payloads import BlockActions, MessageShortcut
from bot.slack.recorders import SlackRecorders
from bot.slack.replies import Responder
from bot.tenants.rules import AskGroup, NotAllowed, Recorder, Why

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shared:
    """The parts that every listener needs. `link_hosts`: where a link to a ticket may lead."""

    acceptance: Acceptance
    responder: Responder
    background: Background
    installations: Installations
    recorders: SlackRecorders
    link_hosts: tuple[str, ...]

    async def as_recorder(self, person: Person, do: Callable[[Recorder], Awaitable[T]]) -> T:
        """Do what only a person who may record can do.

        The rules are the tenant's, so `do` looks at them. When they ask for a group, Slack is asked
        about it, and it is done again.
        """
        recorder = await self.recorders.recorder(person)
        result = await do(recorder)
        if isinstance(result, AskGroup):
            return await do(await self.recorders.with_group(person, recorder, result.group_id))
        return result

    async def why_not(self, person: Person, channel_id: str) -> Unmapped | NotAllowed | None:
        """Say why a person may not record in a conversation, before something is opened or shown.

        None: they may, or Slack has not said it yet. What stores or decides asks once more.
        """
        found = await self.as_recorder(
            person,
            lambda recorder: self.acceptance.why_not(
                person.enterprise_id, person.team_id, channel_id, person.user_id, recorder
            ),
        )
        if isinstance(found, AskGroup):
            return None
        return None if isinstance(found, NotAllowed) and found.why is Why.AWAY else found

    def say(self, click: BlockActions | MessageShortcut, message: Message) -> None:
        """Say something where the click was, which only the person who clicked sees."""
        self.responder.say(click, message)

    def not_connected(self, enterprise_id: str | None, team_id: str) -> Message:
        """Say that a workspace has no tenant, or that the bot does not know it yet."""
        # Until Slack has said whose the token is, the environment's tenant may not be mapped yet.
        return self.no_access(enterprise_id, team_id) or answers.unmapped(team_id)

    def no_access(self, enterprise_id: str | None, team_id: str) -> Message | None:
        """Say why there is no token for a workspace; None when there is one.

        Also None where SLACK_BOT_TOKEN is another workspace's.
        """
        match self.installations.access(enterprise_id, team_id):
            case Unidentified():
                return answers.starting()
            case TokenRefused(error):
                return answers.token_refused(error)
            case Ended():
                return answers.removed()
            case NotInstalled(by_oauth=True):
                return answers.not_installed()
            case TokenUnreadable():
                return answers.token_unreadable()
            case _:
                return None

    def removed(self, enterprise_id: str | None, team_id: str) -> Message | None:
        """Say that the bot was removed from a workspace; None where it was not."""
        access = self.installations.access(enterprise_id, team_id)
        return answers.removed() if isinstance(access, Ended) else None

    def try_again(self, error: DatabaseUnavailableError) -> Message:
        """Say that nothing was stored, or that this is not known."""
        return answers.unavailable(error)

    def already_decided(self, delivery: Delivery | None) -> Message:
        """Say that a button is past its time, or another workspace's (`delivery` is None)."""
        return answers.already(delivery)
