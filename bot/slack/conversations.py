"""What the bot reads of a conversation: a message's thread, its words, and a link to it."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from bot.activities.acceptance import Place
from bot.slack.blocks import Json
from bot.slack.installations import Installations
from bot.slack.messages import WholeThread, author_id, mentioned, plain, whole_thread
from bot.slack.names import SlackNames
from bot.slack.payloads import is_ts
from bot.slack.text import string, units
from bot.slack.web import Done, Never, NotNow, SlackWeb

PAGE = 200
MOST_PAGES = 5
LOOKUP_WITHIN = 2.5
"""Seconds that a person in front of an opening form waits for one lookup, at most."""

MOST_NAMES = 50


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread's messages, oldest first, without the bot's own.

    `total` counts those too that could not be read. `first` is the very first, by any author.
    """

    first: Json
    messages: tuple[Json, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The thread cannot be read: `error` is Slack's word, or `no_answer`."""

    error: str


class SlackConversations:
    """Reads for a form that a person waits for; the form does without what comes too late."""

    def __init__(self, web: SlackWeb, installations: Installations, names: SlackNames) -> None:
        self._web = web
        self._installations = installations
        self._names = names

    async def thread(self, place: Place, api_app_id: str) -> Thread | Unreadable:
        """Read the thread that a message stands in.

        Slack allows apps that are sold outside its marketplace 15 messages a minute; then the rest
        is counted, not read. https://docs.slack.dev/reference/methods/conversations.replies
        """
        found: dict[str, Json] = {}  # by ts: a page may begin with the thread's first message again
        refusal = Unreadable("no_answer")
        try:
            async with asyncio.timeout(LOOKUP_WITHIN):
                cursor = ""
                for _ in range(MOST_PAGES):
                    page = await self._page(place, cursor)
                    if isinstance(page, Unreadable):
                        refusal = page
                        break
                    found |= {one["ts"]: one for one in page["messages"] if _is_message(one)}
                    metadata = page.get("response_metadata")
                    cursor = (
                        string(metadata.get("next_cursor")) if isinstance(metadata, dict) else ""
                    )
                    if not cursor:
                        break
        except TimeoutError:
            pass
        return (
            _thread(list(found.values()), place, api_app_id, complete=not cursor)
            if found
            else refusal
        )

    async def _page(self, place: Place, cursor: str) -> dict[str, Any] | Unreadable:
        token = self._installations.token_for(place.enterprise_id, place.team_id)
        if token is None:
            return Unreadable("no_bot_token")
        asked = {"channel": place.channel_id, "ts": place.thread_ts, "limit": str(PAGE)}
        further = {"cursor": cursor} if cursor else {}
        match await self._web.read(
            token, "conversations.replies", timeout=LOOKUP_WITHIN, **asked, **further
        ):
            case Done(data):
                return data if isinstance(data.get("messages"), list) else Unreadable("no_answer")
            case NotNow(_, after):
                return Unreadable("no_answer" if after is None else "ratelimited")
            case Never(error):
                return Unreadable(error)

    async def link(self, place: Place) -> str | None:
        """Return the message's permalink, if Slack gives one."""
        token = self._installations.token_for(place.enterprise_id, place.team_id)
        if token is None:
            return None
        asked = {"channel": place.channel_id, "message_ts": place.message_ts}
        match await self._web.read(token, "chat.getPermalink", timeout=LOOKUP_WITHIN, **asked):
            case Done(data):
                found = data.get("permalink")
                return found if isinstance(found, str) and found else None
            case _:
                return None

    async def words(self, place: Place, message: Json) -> str:
        """Return a message as a person reads it, with the names that Slack tells."""
        return plain(message, await self._named(place, mentioned(message)))

    async def whole(
        self, place: Place, thread: Thread, reader_id: str, *, at_most: int
    ) -> WholeThread:
        """Write a thread down, with times in the reader's zone."""
        authors = [id_ for message in thread.messages if (id_ := author_id(message))]
        named = [id_ for message in thread.messages for id_ in mentioned(message)]
        names, zone = await asyncio.gather(
            self._named(place, [*authors, *named]),
            self._names.zone(place.enterprise_id, place.team_id, reader_id, within=LOOKUP_WITHIN),
        )
        return whole_thread(
            thread.messages, thread.total, names, zone, at_most=at_most, length=units
        )

    async def _named(self, place: Place, ids: list[str]) -> dict[str, str]:
        return await self._names.names(
            place.enterprise_id, place.team_id, ids, within=LOOKUP_WITHIN, at_most=MOST_NAMES
        )


def _is_message(one: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(one, dict) and isinstance(one.get("ts"), str) and is_ts(one["ts"])


def _thread(messages: list[Json], place: Place, api_app_id: str, *, complete: bool) -> Thread:
    theirs = tuple(
        one for one in messages if one["ts"] == place.message_ts or one.get("app_id") != api_app_id
    )
    found = Thread(messages[0], theirs, len(theirs))
    replies = messages[0].get("reply_count")
    if complete or not isinstance(replies, int):
        return found
    return replace(found, total=max(len(theirs), replies + 1 - (len(messages) - len(theirs))))
