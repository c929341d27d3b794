"""The accepting side alone: what another process would be."""

from dataclasses import dataclass

from bot.activities.acceptance import Acceptance, Accepted
from bot.activities.delivery import Submission
from bot.activities.outbox import Outbox
from bot.encryption import Keyring
from bot.playground.slack import SlackStandIn
from bot.playground.workspace import Posted
from support.running import ENCRYPTION_KEY, TEAM

KEYRING = Keyring([ENCRYPTION_KEY])


@dataclass(frozen=True)
class Web:
    """What another process accepts with, and sees of the outbox."""

    acceptance: Acceptance
    outbox: Outbox


async def accept(web: Web, ticket: str, text: str) -> None:
    submission = Submission(
        None, TEAM, "C0SUPPORT", "U0ANNA", key=text, ticket_id=ticket, text=text
    )
    assert isinstance(await web.acceptance.accept(submission), Accepted)


def answers(slack: SlackStandIn) -> list[Posted]:
    """Return the outcomes that were told; a note about waiting is none."""
    return [
        message
        for message in slack.workspace.messages
        if "activity ID" in message.text and message.thread_ts
    ]
