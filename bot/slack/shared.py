"""What all listeners work with, and the words that they have in common."""

from dataclasses import dataclass

from bot.activities.acceptance import Acceptance
from bot.activities.delivery import Delivery
from bot.database.writer import DatabaseUnavailableError
from bot.slack import answers
from bot.slack.answers import Message
from bot.slack.background import Background
from bot.slack.installations import SingleInstallation
from bot.slack.payloads import BlockActions, MessageShortcut
from bot.slack.replies import Responder


@dataclass(frozen=True, slots=True)
class Shared:
    """The parts that every listener needs. `link_hosts`: where a link to a ticket may lead."""

    acceptance: Acceptance
    responder: Responder
    background: Background
    installation: SingleInstallation
    link_hosts: tuple[str, ...]

    def say(self, click: BlockActions | MessageShortcut, message: Message) -> None:
        """Say something in the thread of the click, which only the person who clicked sees."""
        self.responder.say(click.response_url, message, thread_ts=click.thread_ts)

    def not_connected(self, team_id: str) -> Message:
        """Say that a workspace has no tenant, or that the bot does not know it yet."""
        # Until Slack has said whose the token is, the environment's tenant may not be mapped yet.
        if self.installation.identity is not None:
            return answers.unmapped(team_id)
        refusal = self.installation.refusal
        return answers.starting() if refusal is None else answers.token_refused(refusal)

    def try_again(self, error: DatabaseUnavailableError) -> Message:
        """Say that nothing was stored, or that this is not known."""
        return answers.unavailable(error)

    def already_decided(self, delivery: Delivery | None) -> Message:
        """Say that a button is past its time, or another workspace's (`delivery` is None)."""
        return answers.already(delivery)
