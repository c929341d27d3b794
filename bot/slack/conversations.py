"""What the bot reads of a conversation: a message's thread, its words, and a link to it."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from bot.activities.acceptance import Place
from bot.installations.access import Installations, token_of
from bot.slack.blocks import Json
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

KEPT_FOR = 600.0
"""Seconds for which a thread's messages stay in memory, to read on where Slack stopped.

An app that is distributed outside Slack's marketplace may read 15 messages a minute.
"""

KEPT, LONGEST_KEPT = 50, 300
"""Threads that are kept at most, and messages in each."""


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread's messages, oldest first, without the bot's own.

    `total` counts those too that could not be read. `read_on_in`: the seconds after which Slack
    lets the bot read the others, where it said so. `first` is the very first, by any author.
    """

    first: Json
    messages: tuple[Json, ...]
    total: int
    read_on_in: float | None = None
    read_ago: float | None = None  # seconds; it was read earlier, and Slack does not give it now


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The thread cannot be read: `error` is Slack's word, or `no_answer`."""

    error: str
    after: float | None = None  # seconds, when Slack said how long to wait


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was read of a thread, by ts, and where to read on; no `cursor`: to its end."""

    found: dict[str, Json]
    cursor: str
    at: float  # by time.monotonic()


class SlackConversations:
    """Reads for a form that a person waits for; the form does without what comes too late."""

    def __init__(self, web: SlackWeb, installations: Installations, names: SlackNames) -> None:
        self._web = web
        self._installations = installations
        self._names = names
        self._kept: OrderedDict[tuple[str, str, str], _Reading] = OrderedDict()

    async def thread(self, place: Place, api_app_id: str) -> Thread | Unreadable:
        """Read the thread that a message stands in.

        Where Slack's rate limit ends it, the rest is counted, and read by a later call.
        https://docs.slack.dev/reference/methods/conversations.replies
        """
        kept = self._kept_of(place)
        # By ts: a page may begin with the thread's first message again.
        found = dict(kept.found) if kept is not None and kept.cursor else {}
        cursor = kept.cursor if kept is not None else ""
        refusal = Unreadable("no_answer")
        try:
            async with asyncio.timeout(LOOKUP_WITHIN):
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
        moment = read_at = time.monotonic()
        if not found and kept is not None and refusal.error == "ratelimited":
            found, read_at = kept.found, kept.at
        if not found:
            return refusal
        self._keep(place, _Reading(found, cursor, read_at))
        messages = sorted(found.values(), key=lambda one: float(one["ts"]))
        thread = _thread(messages, place, api_app_id, complete=not cursor)
        return replace(
            thread,
            read_on_in=refusal.after if cursor else None,
            read_ago=moment - read_at if moment > read_at else None,
        )

    def _kept_of(self, place: Place) -> _Reading | None:
        kept = self._kept.get(_key(place))
        return kept if kept is not None and time.monotonic() - kept.at < KEPT_FOR else None

    def _keep(self, place: Place, reading: _Reading) -> None:
        self._kept.pop(_key(place), None)
        if len(reading.found) <= LONGEST_KEPT:
            self._kept[_key(place)] = reading
        moment = time.monotonic()
        for key, kept in list(self._kept.items()):
            if len(self._kept) > KEPT or moment - kept.at >= KEPT_FOR:
                del self._kept[key]

    async def _page(self, place: Place, cursor: str) -> dict[str, Any] | Unreadable:
        token = token_of(self._installations.access(place.enterprise_id, place.team_id))
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
                return Unreadable("no_answer" if after is None else "ratelimited", after)
            case Never(error):
                return Unreadable(error)

    async def link(self, place: Place) -> str | None:
        """Return the message's permalink, if Slack gives one."""
        token = token_of(self._installations.access(place.enterprise_id, place.team_id))
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
        whole = whole_thread(
            thread.messages, thread.total, names, zone, at_most=at_most, length=units
        )
        unread = thread.total - len(thread.messages)
        return replace(whole, unread=unread, read_on_in=thread.read_on_in, read_ago=thread.read_ago)

    async def _named(self, place: Place, ids: list[str]) -> dict[str, str]:
        return await self._names.names(
            place.enterprise_id, place.team_id, ids, within=LOOKUP_WITHIN, at_most=MOST_NAMES
        )


def _key(place: Place) -> tuple[str, str, str]:
    return (place.team_id, place.channel_id, place.thread_ts)


def _is_message(one: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(one, dict) and isinstance(one.get("ts"), str) and is_ts(one["ts"])


def _thread(messages: list[Json], place: Place, api_app_id: str, *, complete: bool) -> Thread:
    theirs = tuple(
        one for one in messages if one["ts"] == place.message_ts or one.get("app_id") != api_app_id
    )
    found = Thread(messages[0], theirs, len(theirs))
    if complete:
        return found
    replies = messages[0].get("reply_count")
    said = replies + 1 - (len(messages) - len(theirs)) if isinstance(replies, int) else 0
    return replace(found, total=max(len(theirs) + 1, said))
