"""App Home, and the messages of `recent` and `status`, as blocks. Pure."""

from collections.abc import Iterator

from bot.activities.delivery import Delivery
from bot.activities.recent import Aged, Connected, Health, Page
from bot.slack import home_words as words
from bot.slack.answers import (
    Block,
    Message,
    buttons_of,
    context,
    section,
    setup_button,
)
from bot.slack.explanations import explain
from bot.slack.text import escape

CHANNELS = 10
"""Channels with a LeadSquared organisation of their own that are named at most."""

_DIVIDER: Block = {"type": "divider"}


def home(page: Page, notice: Message | None = None) -> Block:
    """Return the view: at most 20 activities with two blocks each, of Slack's 100 blocks."""
    blocks = [
        *_of(notice),
        section("\n".join(_connections(page.connected))),
        *_for_admins(page.health),
        _DIVIDER,
        section(f"*{words.NEWEST}*"),
        *(block for aged in page.newest for block in _entry(aged)),
        *([] if page.newest else [section(words.NONE_YET)]),
        _DIVIDER,
        section(words.HOW_TO),
    ]
    return {"type": "home", "blocks": blocks}


def away(notice: Message | None = None) -> Block:
    """Return the view while the database is away."""
    blocks = [*_of(notice), *words.not_shown().blocks, _DIVIDER, section(words.HOW_TO)]
    return {"type": "home", "blocks": blocks}


def recent(newest: tuple[Aged, ...]) -> Message:
    """Return the newest activities of a conversation, without their texts."""
    if not newest:
        return Message(words.NONE_HERE)
    lines = [f"*{words.NEWEST_HERE}*", *(_line(aged, by=True) for aged in newest)]
    return Message("\n".join(lines), tuple(section(line) for line in lines))


def status(connected: Connected, channel_id: str, health: Health) -> Message:
    """Return a conversation's connection, and its workspace's health."""
    lines = [words.connection("conversation", connected.at(channel_id)), *words.health(health)]
    return Message("\n".join(lines), (section("\n".join(lines)),))


def _of(notice: Message | None) -> list[Block]:
    if notice is None:
        return []
    return [*(notice.blocks or (section(notice.text),)), _DIVIDER]


def _connections(connected: Connected) -> Iterator[str]:
    yield words.connection("workspace", connected.org_id)
    channels = sorted(connected.channels.items())
    for channel_id, org_id in channels[:CHANNELS]:
        yield words.connection_of(channel_id, org_id)
    if (more := len(channels) - CHANNELS) > 0:
        yield words.and_more(more)


def _for_admins(health: Health | None) -> list[Block]:
    if health is None:
        return []
    return [
        section("\n".join(words.health(health))),
        context(words.as_of(health.at)),
        {"type": "actions", "elements": [setup_button()]},
    ]


def _entry(aged: Aged) -> Iterator[Block]:
    delivery = aged.delivery
    lines = [_line(aged, by=False), f"> {words.text(delivery)}"]
    if delivery.resendable:
        lines.append(explain(delivery))
    yield section("\n".join(lines))
    yield from buttons_of(delivery)


def _line(aged: Aged, *, by: bool) -> str:
    parts = [words.outcome(aged.delivery), words.sent(aged, by=by)]
    if url := thread_link(aged.delivery):
        parts.append(f"<{escape(url)}|{words.THREAD}>")
    return " · ".join(parts)


def thread_link(delivery: Delivery) -> str | None:
    """Return the address of an activity's thread; None where it has none.

    Made without a call (chat.getPermalink is one for each): Slack knows the workspace by the
    reader's session.
    """
    first = delivery.thread_ts or delivery.anchor_ts
    if first is None:
        return None
    place = f"https://slack.com/archives/{delivery.channel_id}"
    if delivery.answer_ts is None:
        return f"{place}/p{_digits(first)}"
    return f"{place}/p{_digits(delivery.answer_ts)}?thread_ts={first}&cid={delivery.channel_id}"


def _digits(ts: str) -> str:
    return ts.replace(".", "")
