"""What a person asked for."""

import re
from dataclasses import dataclass, field

_LINK_WORDS = "Slack message: "
_LINK_AT_END = re.compile(rf"\n\n{_LINK_WORDS}https?://\S+\Z")


@dataclass(frozen=True, slots=True)
class Submission:
    """A portal activity that somebody asks to be recorded, from whichever surface.

    `key` is what names this very request once and for all (a trigger_id, say): the same key twice
    is one activity. `thread_ts` is where the answer goes; without one the bot posts an anchor
    message and answers in its thread. `message_ts` is the message that is recorded, where it is
    one; `through_ts` the last one, where it is its whole thread.
    """

    enterprise_id: str | None
    team_id: str
    channel_id: str
    user_id: str
    key: str
    ticket_id: str
    text: str = field(repr=False)
    response_url: str | None = field(default=None, repr=False)
    thread_ts: str | None = None
    message_ts: str | None = None
    through_ts: str | None = None


def with_link(text: str, link: str) -> str:
    """Return a text with a link to the message it comes from."""
    return f"{text}\n\n{_LINK_WORDS}{link}"


def without_link(text: str) -> str:
    """Return a text's own words: the same, whether a link was added to them or not."""
    return _LINK_AT_END.sub("", text)
