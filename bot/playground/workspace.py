"""What the stand-in for Slack knows of one workspace, and what was said in it."""

from dataclasses import dataclass, field
from typing import Any

APP_ID = "A0PLAYGROUND"
BOT_USER = "U0BOT"
BOT_ID = "B0BOT"


@dataclass(frozen=True, slots=True)
class Channel:
    """A conversation.

    `refuses` is the error with which the bot's posts there are refused, `hides` its reading there.
    `is_ext_shared`: with another organisation (Slack Connect); `is_pending_ext_shared`: it is
    invited; `is_org_shared`: with other workspaces of the same organisation.
    """

    id: str
    name: str
    refuses: str | None = None
    hides: str | None = None
    is_ext_shared: bool = False
    is_pending_ext_shared: bool = False
    is_org_shared: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who acts in a workspace; `team_id` may be another organisation's (Slack Connect).

    `is_restricted`: a guest in several channels; `is_ultra_restricted`: in one.
    """

    id: str
    name: str
    team_id: str
    zone: str = "Etc/UTC"
    is_admin: bool = False
    is_owner: bool = False
    is_primary_owner: bool = False
    is_restricted: bool = False
    is_ultra_restricted: bool = False
    deleted: bool = False


@dataclass(slots=True)
class Posted:
    """A message as it stands.

    `ephemeral`: only that person sees it. `shape`: what else Slack has of one the bot did not
    post.
    """

    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    thread_ts: str | None = None
    ephemeral: str | None = None
    edits: int = 0
    shape: dict[str, Any] | None = None
    reactions: list[str] = field(default_factory=list)

    @property
    def is_the_bots(self) -> bool:
        return self.shape is None

    def buttons(self) -> dict[str, dict[str, Any]]:
        """Return the message's buttons by their label."""
        elements = [
            element
            for block in self.blocks
            if block["type"] == "actions"
            for element in block["elements"]
        ]
        return {element["text"]["text"]: element for element in elements}


@dataclass
class Workspace:
    """One workspace: who and what is in it, and all that happened."""

    team_id: str
    channels: dict[str, Channel]
    people: dict[str, Person]
    messages: list[Posted] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    enterprise_id: str | None = None  # the Grid organisation that it is part of
    groups: dict[str, str] = field(default_factory=dict)  # handles of groups of people, by id
    members: dict[str, list[str]] = field(default_factory=dict)  # people of a group, by its id
    name: str = "Playground"
    bot_user: str = BOT_USER

    def thread(self, ts: str) -> list[Posted]:
        return [message for message in self.messages if message.thread_ts == ts]

    def find(self, channel: str, ts: str) -> Posted | None:
        """Return a message that everybody sees."""
        found = (
            one
            for one in self.messages
            if (one.channel, one.ts) == (channel, ts) and not one.ephemeral
        )
        return next(found, None)

    def message(self, posted: Posted) -> dict[str, Any]:
        """Return a message as Slack sends it: a thread's first one knows of its replies."""
        own = {"bot_id": BOT_ID, "app_id": APP_ID, "user": self.bot_user, "team": self.team_id}
        blocks = {"blocks": posted.blocks} if posted.blocks else {}
        message = {
            "type": "message",
            "ts": posted.ts,
            "text": posted.text,
            **blocks,
            **(posted.shape or own),
        }
        replies = [reply for reply in self.thread(posted.ts) if not reply.ephemeral]
        if replies:
            message |= {
                "thread_ts": posted.ts,
                "reply_count": len(replies),
                "latest_reply": replies[-1].ts,
            }
        elif posted.thread_ts:
            message |= {"thread_ts": posted.thread_ts}
        return message

    def delete(self, posted: Posted) -> None:
        """Delete a message, as its author would: where there are replies, a tombstone stays."""
        if self.thread(posted.ts):
            posted.text, posted.blocks = "This message was deleted.", []
            posted.shape = {"user": "USLACKBOT", "subtype": "tombstone", "hidden": True}
        else:
            self.messages.remove(posted)
