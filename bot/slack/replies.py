"""Where and how an outcome is posted: in a thread, or to the person alone."""

import asyncio
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import structlog

from bot.activities.delivery import Delivery, Route, State
from bot.activities.policy import Step, reason_for_waiting
from bot.activities.teller import Elsewhere, Later, Telling, Told
from bot.installations.access import (
    Ended,
    Granted,
    Installations,
    NotInstalled,
    TokenRefused,
    TokenUnreadable,
    Unidentified,
)
from bot.slack import answers
from bot.slack.answers import Message
from bot.slack.background import Background
from bot.slack.channels import Kind, SlackChannels
from bot.slack.payloads import BlockActions, MessageShortcut
from bot.slack.web import Done, Never, NotNow, Result, SlackWeb
from bot.tenants.directory import Scope
from bot.tenants.rules import Answers

_log = structlog.get_logger(__name__)

RESPOND_TRIES = 3

TURN_WITHIN = 5.0
"""Seconds that a message waits for the one before it in its conversation.

Messages go one at a time, so that Slack refuses one and not twenty. With the call's own 10 s it
ends long before the lease.
"""

RESPONSE_URL_LASTS = 30 * 60.0


class SlackReplies:
    """Posts a delivery's steps in Slack, each by the delivery's route."""

    def __init__(
        self, web: SlackWeb, installations: Installations, channels: SlackChannels
    ) -> None:
        self._web = web
        self._installations = installations
        self._channels = channels
        # By the event loop's clock: per conversation, and apart for new messages and for changes.
        self._quiet_until: dict[tuple[str, str, bool], float] = {}
        self._turns: WeakValueDictionary[tuple[str, str, bool], asyncio.Lock] = (
            WeakValueDictionary()
        )

    async def tell(
        self, delivery: Delivery, step: Step, *, age: float, give_up_at: float
    ) -> Telling:
        """Post, change or delete one message.

        A final refusal leads to another route, a passing one to a retry. In a workspace that has
        removed the bot nothing more is posted; what is to be told waits for a new installation.
        """
        access = self._installations.access(delivery.enterprise_id, delivery.team_id)
        if isinstance(access, Ended):
            return Later(access.because)
        if (elsewhere := await self._kept_private(delivery, step)) is not None:
            return elsewhere
        if step is Step.MARK:
            return await self._mark(delivery)
        if step is Step.DELETION:
            return await self._delete_note(delivery)
        if step is Step.DECISION:
            return await self._reword(delivery)
        message = _message(delivery, step, give_up_at)
        if step is Step.NOTE and _says_the_same(delivery, message, give_up_at):
            return Told(delivery.note_ts)
        if _takes_the_notes_place(delivery, step):
            changed = await self._change_note(delivery, message)
            if changed is not None:
                return changed
        told = await self._send(delivery, message, step, age)
        if isinstance(told, Told) and step is Step.ANSWER:
            await self._react(delivery)
        return told

    async def _send(self, delivery: Delivery, message: Message, step: Step, age: float) -> Telling:
        match delivery.route:
            case Route.THREAD:
                return self._next_route(
                    delivery, await self._post(delivery, delivery.channel_id, message, step)
                )
            case Route.PRIVATE:
                return self._next_route(delivery, await self._post_privately(delivery, message))
            case Route.RESPONSE_URL:
                return self._next_route(delivery, await self._respond(delivery, message, age))
            case Route.DIRECT_MESSAGE:
                return _last_route(await self._post(delivery, delivery.user_id, message, step))

    @property
    def scope(self) -> Scope | None:
        """The part of Slack that this process can answer; None until Slack has said it."""
        return self._installations.scope

    def quiet(self) -> dict[tuple[str, str], float]:
        """Name the conversations over Slack's rate limit, and for how many seconds more."""
        moment = asyncio.get_running_loop().time()
        self._quiet_until = {
            place: until for place, until in self._quiet_until.items() if until > moment
        }
        return {
            (team, channel): until - moment
            for (team, channel, posts), until in self._quiet_until.items()
            if posts
        }

    async def _kept_private(self, delivery: Delivery, step: Step) -> Telling | None:
        """Keep from everybody else what is for the person alone; None where all may read it.

        Asked before each message, and not once: a channel may be shared at any time.
        """
        stands_open = delivery.route is Route.THREAD or step in (Step.MARK, Step.DECISION)
        if not stands_open or step is Step.DELETION:
            return None
        match await self._reader(delivery):
            case Kind.OWN:
                return None
            case Kind.AWAY:
                return Later("slack_away")
            case Kind.UNKNOWN if step in (Step.MARK, Step.DECISION):
                return Later("channel_kind_unknown")  # else it would stand as it is for ever
            case kind if step in (Step.MARK, Step.DECISION):
                _log.info("left_as_it_stands", step=step.value, kind=kind.value)
                return Told(delivery.answer_ts)
            case kind:
                return Elsewhere(Route.PRIVATE, kind.value)

    async def _reader(self, delivery: Delivery) -> Kind:
        """Say who reads a delivery's conversation, as far as its setting asks for that."""
        match delivery.answers:
            case Answers.THREAD:
                return Kind.OWN
            case Answers.PRIVATE:
                return Kind.SHARED
        match self._installations.access(delivery.enterprise_id, delivery.team_id):
            case Unidentified() | TokenUnreadable():
                return Kind.AWAY
        return await self._channels.kind(
            delivery.enterprise_id, delivery.team_id, delivery.channel_id
        )

    async def _post_privately(self, delivery: Delivery, message: Message) -> Result:
        arguments = {
            "channel": delivery.channel_id,
            "user": delivery.user_id,
            **message.payload(),
        }
        if delivery.active_thread_ts is not None:
            arguments["thread_ts"] = delivery.active_thread_ts
        return await self._call(delivery, delivery.channel_id, "chat.postEphemeral", arguments)

    async def _react(self, delivery: Delivery) -> None:
        """Show a success as ✅ on the customer's message, once; the answer has been given."""
        if not (delivery.reaction and delivery.message_ts and delivery.state is State.RECORDED):
            return
        if await self._reader(delivery) not in (Kind.SHARED, Kind.UNKNOWN):
            return
        arguments = {
            "channel": delivery.channel_id,
            "timestamp": delivery.message_ts,
            "name": "white_check_mark",
        }
        match await self._call(delivery, delivery.channel_id, "reactions.add", arguments):
            case NotNow(reason):
                _log.warning("reaction_not_added", reason=reason)
            case Never(error) if error != "already_reacted":
                _log.warning("reaction_not_added", reason=error)

    async def _post(self, delivery: Delivery, channel: str, message: Message, step: Step) -> Result:
        arguments: dict[str, Any] = {
            "channel": channel,
            "unfurl_links": False,
            "unfurl_media": False,
            **message.payload(),
        }
        if delivery.route is Route.THREAD and step is not Step.ANCHOR:
            arguments["thread_ts"] = delivery.thread_ts or delivery.anchor_ts
        return await self._call(delivery, channel, "chat.postMessage", arguments)

    async def _change_note(self, delivery: Delivery, message: Message) -> Telling | None:
        """Replace the note's text; None when the note is gone."""
        arguments = {"channel": delivery.channel_id, "ts": delivery.note_ts, **message.payload()}
        match await self._call(delivery, delivery.channel_id, "chat.update", arguments):
            case Done():
                return Told(delivery.note_ts)
            case NotNow(reason, after):
                return Later(reason, after)
            case Never(error):
                _log.warning("note_not_changed", reason=error)
                return None

    async def _delete_note(self, delivery: Delivery) -> Telling:
        arguments = {"channel": delivery.channel_id, "ts": delivery.note_ts}
        match await self._call(delivery, delivery.channel_id, "chat.delete", arguments):
            case NotNow(reason, after):
                return Later(reason, after)
            case Never(error):
                # It is gone, or out of reach; the answer was given.
                _log.warning("note_not_deleted", reason=error)
        return Told()

    async def _reword(self, delivery: Delivery) -> Telling:
        """Rewrite the answer after a decision."""
        arguments = {
            "channel": delivery.channel_id,
            "ts": delivery.answer_ts,
            **answers.answer(delivery).payload(),
        }
        match await self._call(delivery, delivery.channel_id, "chat.update", arguments):
            case NotNow(reason, after):
                return Later(reason, after)
            case Never(error):
                _log.warning("answer_not_changed", reason=error)
        return Told()

    async def _mark(self, delivery: Delivery) -> Telling:
        arguments = {
            "channel": delivery.channel_id,
            "ts": delivery.anchor_ts,
            **answers.anchor(delivery).payload(),
        }
        match await self._call(delivery, delivery.channel_id, "chat.update", arguments):
            case NotNow(reason, after):
                return Later(reason, after)
            case Never(error):
                # The anchor is gone or out of reach; the answer was given.
                _log.warning("anchor_not_marked", reason=error)
        return Told()

    async def _call(
        self, delivery: Delivery, channel: str, method: str, arguments: dict[str, Any]
    ) -> Result:
        match self._installations.access(delivery.enterprise_id, delivery.team_id):
            case Granted(token):
                pass
            case Unidentified():
                return NotNow("slack_not_identified")
            case TokenUnreadable():
                return NotNow("bot_token_cannot_be_decrypted")
            case Ended(because):
                return NotNow(because)
            case TokenRefused(error):
                return Never(error)
            case NotInstalled():
                return Never("no_bot_token_for_this_workspace")
        posts = method in ("chat.postMessage", "chat.postEphemeral")
        place = (delivery.team_id, channel, posts)
        turn = self._turns.setdefault(place, asyncio.Lock())
        try:
            async with asyncio.timeout(TURN_WITHIN):
                await turn.acquire()
        except TimeoutError:
            return NotNow("slack_is_slow")
        try:
            result = await self._call_in_turn(token, place, method, arguments)
        finally:
            turn.release()
        access = self._installations.access(delivery.enterprise_id, delivery.team_id)
        if isinstance(result, Never) and isinstance(access, Ended | Unidentified):
            # Slack has refused the token. With the next one it is told by the same route.
            return NotNow(result.error)
        return result

    async def _call_in_turn(
        self, token: str, place: tuple[str, str, bool], method: str, arguments: dict[str, Any]
    ) -> Result:
        team_id, channel, posts = place
        moment = asyncio.get_running_loop().time()
        # While no message may be posted, nothing is changed either: answers come before marks.
        until = max(self._quiet_until.get((team_id, channel, kind), 0.0) for kind in {True, posts})
        if until > moment:
            return NotNow("ratelimited", until - moment)
        result = await self._web.call(token, method, **arguments)
        if isinstance(result, NotNow) and result.after is not None:
            # One refusal speaks for the whole conversation: the others wait as well, instead of
            # asking again.
            self._quiet_until[place] = asyncio.get_running_loop().time() + result.after
        return result

    async def _respond(self, delivery: Delivery, message: Message, age: float) -> Result:
        if delivery.response_url is None:
            return Never("no_response_url")
        payload = {"response_type": "ephemeral", "replace_original": False, **message.payload()}
        if delivery.active_thread_ts is not None:
            payload["thread_ts"] = delivery.active_thread_ts
        result = await self._web.respond(delivery.response_url, payload)
        expired = age > RESPONSE_URL_LASTS and isinstance(result, NotNow)
        return Never("response_url_expired") if expired else result

    @staticmethod
    def _next_route(delivery: Delivery, result: Result) -> Telling:
        match result:
            case Done(data) if delivery.route is not Route.THREAD or data.get("ts"):
                return Told(data.get("ts"))
            case Done():
                return Elsewhere(
                    _after(delivery), "no_ts"
                )  # nothing could be answered in its thread, or marked
            case NotNow(reason, after):
                return Later(reason, after)
            case Never(error):
                return Elsewhere(_after(delivery), error)


def _after(delivery: Delivery) -> Route:
    """Return the route that follows a delivery's own."""
    in_channel = delivery.route in (Route.THREAD, Route.PRIVATE)
    has_url = in_channel and delivery.response_url is not None
    return Route.RESPONSE_URL if has_url else Route.DIRECT_MESSAGE


class Responder:
    """Answers a click in the background, after its acknowledgement. Such an answer may be lost."""

    def __init__(
        self,
        web: SlackWeb,
        background: Background,
        at_home: Callable[[BlockActions, Message], None],
    ) -> None:
        """`at_home` answers a click in App Home, which has no response_url."""
        self._web = web
        self._background = background
        self._at_home = at_home

    def say(self, click: BlockActions | MessageShortcut, message: Message) -> None:
        """Answer only the person who clicked: in the thread of the click, or in App Home."""
        if isinstance(click, BlockActions) and click.is_at_home:
            self._at_home(click, message)
            return
        self._start(
            click.response_url,
            {"response_type": "ephemeral", "replace_original": False},
            message,
            click.thread_ts,
        )

    def replace(
        self, response_url: str | None, message: Message, *, thread_ts: str | None = None
    ) -> None:
        """Replace the message that was clicked."""
        self._start(response_url, {"replace_original": True}, message, thread_ts)

    def _start(
        self, response_url: str | None, how: dict[str, Any], message: Message, thread_ts: str | None
    ) -> None:
        # Without its thread_ts, an answer to a click in a thread lands in the channel.
        where = {} if thread_ts is None else {"thread_ts": thread_ts}
        if response_url is not None:
            self._background.start(self._respond(response_url, how | where | message.payload()))

    async def _respond(self, response_url: str, payload: dict[str, Any]) -> None:
        for attempt in range(RESPOND_TRIES):
            result = await self._web.respond(response_url, payload)
            if not isinstance(result, NotNow):
                break
            await asyncio.sleep(result.after or 2.0**attempt)
        if not isinstance(result, Done):
            _log.warning(
                "click_not_answered",
                reason=result.reason if isinstance(result, NotNow) else result.error,
            )


def _message(delivery: Delivery, step: Step, give_up_at: float) -> Message:
    alone = answers.stands_alone(delivery)
    match step:
        case Step.NOTE:
            return answers.note(
                delivery, reason_for_waiting(delivery), give_up_at=give_up_at, with_text=alone
            )
        case Step.FINDING:
            return answers.finding(delivery, with_text=alone)
        case Step.ANSWER:
            return answers.answer(delivery, with_text=alone)
        case _:
            return answers.anchor(delivery)


def _takes_the_notes_place(delivery: Delivery, step: Step) -> bool:
    """Say whether the note is changed: by a graver note, and by success.

    A failure is a new message, because Slack does not notify of a change.
    """
    if delivery.note_ts is None or delivery.route is not Route.THREAD:
        return False
    return step is Step.NOTE or (step is Step.ANSWER and delivery.state is State.RECORDED)


def _says_the_same(delivery: Delivery, message: Message, give_up_at: float) -> bool:
    """Say whether the note that stands there has these very words."""
    if delivery.noted is None:
        return False
    alone = answers.stands_alone(delivery)
    return message == answers.note(delivery, delivery.noted, give_up_at=give_up_at, with_text=alone)


def _last_route(result: Result) -> Telling:
    match result:
        case Done():
            return Told()
        case NotNow(reason, after):
            return Later(reason, after)
        case Never(error):
            # Nowhere else to go. An admin may fix a token or a permission within the day: it is
            # tried until then.
            return Later(error)
