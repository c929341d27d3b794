"""What customers wrote before you came.

There is a message of each shape that Slack has, and a thread for each way to read one.
"""

import time
from dataclasses import dataclass
from typing import Any

from bot.playground.slack import SlackStandIn
from bot.playground.workspace import Channel, Person, Posted, Workspace

TEAM = "T0PLAY"
YOU, COLLEAGUE = (
    Person("U0YOU", "You", TEAM, "Asia/Kolkata", is_admin=True),
    Person("U0BEN", "Ben", TEAM, "Asia/Kolkata"),
)
CUSTOMER = Person("U0CARLA", "Carla", "T0ACME", "Europe/Madrid")
GUEST = Person("U0GUS", "Gus", TEAM, "Asia/Kolkata", is_restricted=True)
GROUPS = {"S0SUPPORT": "support-team"}
CHANNELS = (
    Channel("C0SUPPORT", "support"),
    Channel("C0CUSTOMERS", "customers", is_ext_shared=True),
    Channel("C0SHARED", "shared", is_ext_shared=True),
    Channel("C0PRIVATE", "private", refuses="channel_not_found", hides="channel_not_found"),
    Channel("C0ARCHIVE", "archive", refuses="is_archived"),
    Channel("D0DIRECT", "direct", refuses="channel_not_found", hides="channel_not_found"),
    Channel("C0OFFLINE", "offline"),
)


@dataclass(frozen=True, slots=True)
class Team:
    """A workspace to play in, and who you are there."""

    id: str
    name: str
    you: Person
    colleague: Person
    channels: tuple[Channel, ...]
    enterprise_id: str | None = None
    others: tuple[Person, ...] = ()

    @property
    def people(self) -> tuple[Person, ...]:
        return (self.you, self.colleague, *self.others)

    def named(self, name: str) -> Person | None:
        """Return a person by the name, or a guest or customer by that word."""
        words = {"guest": GUEST.name, "customer": CUSTOMER.name}
        wanted = words.get(name.lower(), name).lower()
        return next((one for one in self.people if one.name.lower() == wanted), None)

    def workspace(self) -> Workspace:
        """Return it as the stand-in for Slack knows it."""
        return Workspace(
            self.id,
            {channel.id: channel for channel in self.channels},
            {person.id: person for person in self.people},
            enterprise_id=self.enterprise_id,
            groups=GROUPS if self.id == TEAM else {},
            name=self.name,
            bot_user=f"U0BOT{self.id}",
        )


GLOBEX = "T0GLOBEX"
TEAMS = (
    Team(TEAM, "Initech", YOU, COLLEAGUE, CHANNELS, others=(CUSTOMER, GUEST)),
    Team(
        GLOBEX,
        "Globex",
        Person("U1YOU", "You", GLOBEX, "Europe/Madrid", is_admin=True),
        Person("U1EVA", "Eva", GLOBEX, "Europe/Madrid"),
        (Channel("C1DESK", "desk"), Channel("C1BILLING", "billing")),
        enterprise_id="E1GLOBEX",
    ),
)
NOTES = {
    "support": "the bot may post here",
    "customers": "shared with Acme, whose Carla writes here; the setting of this channel lets her "
    "read the answers; :messages lists what she wrote",
    "shared": "shared with Acme, so only you see the bot's answers; :as customer is Carla",
    "private": "the bot may not post here, so only you see its answers",
    "archive": "it is archived, so only you see the bot's answers",
    "direct": "between you and Carla; the bot can't see it, and only you see its answers",
    "desk": "the bot may post here, once it is installed",
    "billing": "the bot may post here, once it is installed",
    "offline": "mapped to a second LeadSquared, which can't be reached",
}
MINUTE = 60


@dataclass
class Scenes:
    """Says things in the past, a minute apart."""

    slack: SlackStandIn
    at: float

    async def say(
        self,
        text: str = "",
        *,
        channel: str = "C0CUSTOMERS",
        by: Person | None = CUSTOMER,
        **more: Any,  # noqa: ANN401 - JSON
    ) -> Posted:
        self.at += MINUTE
        author = None if by is None else by.id
        return await self.slack.say(
            text, channel=channel, person=author, ts=f"{self.at:.6f}", **more
        )


async def furnish(slack: SlackStandIn) -> None:
    """Say all of it, in the hours before now."""
    scenes = Scenes(slack, time.time() - 100 * MINUTE)
    await _plain_thread(scenes)
    await _shapes(scenes)
    await _threads(scenes)
    await _blocks_and_files(scenes)
    for channel in ("C0SHARED", "C0PRIVATE", "C0ARCHIVE", "D0DIRECT"):
        first = await scenes.say("Is there any news of ticket 144?", channel=channel)
        await scenes.say("It is urgent, please.", channel=channel, thread_ts=first.ts)


async def _plain_thread(scenes: Scenes) -> None:
    first = await scenes.say("Hello, about #143: the invoice of June is not in the portal.")
    await scenes.say("I am looking into it.", by=COLLEAGUE, thread_ts=first.ts)
    await scenes.say(
        "Thanks",  # what Slack writes for a client that knows no blocks
        thread_ts=first.ts,
        blocks=[{"type": "rich_text", "elements": _rich_text()}],
    )


def _rich_text() -> list[dict[str, Any]]:
    def section(*words: dict[str, Any]) -> dict[str, Any]:
        return {"type": "rich_text_section", "elements": list(words)}

    def text(words: str, **style: bool) -> dict[str, Any]:
        return {"type": "text", "text": words, **({"style": style} if style else {})}

    return [
        section(
            text("Thanks "),
            {"type": "user", "user_id": COLLEAGUE.id},
            text(" and "),
            {"type": "usergroup", "usergroup_id": "S0SUPPORT"},
            text(" "),
            {"type": "emoji", "name": "pray", "unicode": "1f64f"},
            text(". What I "),
            text("tried", bold=True),
            text(", as in "),
            {"type": "channel", "channel_id": "C0SUPPORT"},
            text(":\n"),
        ),
        {
            "type": "rich_text_list",
            "style": "ordered",
            "indent": 0,
            "elements": [
                section(
                    text("the "),
                    {
                        "type": "link",
                        "url": "https://portal.example.com/invoices",
                        "text": "invoices",
                    },
                ),
                section(text("the archive")),
            ],
        },
        {"type": "rich_text_quote", "elements": [text("No invoice found")]},
        {"type": "rich_text_preformatted", "elements": [text('{"error": "a < b && c"}')]},
    ]


async def _shapes(scenes: Scenes) -> None:
    await scenes.say(
        "New request",
        by=None,
        subtype="bot_message",
        bot_id="B0FORMS",
        username="Acme Forms",
        blocks=[
            {
                "type": "header",
                "text": {"type": "plain_text", "text": "New request for ticket 144"},
            },
            {
                "type": "section",
                "fields": [
                    {"type": "mrkdwn", "text": "*From*\nCarla &lt;carla@acme.example&gt;"},
                    {"type": "mrkdwn", "text": "*Wants*\na call back"},
                ],
            },
        ],
        attachments=[
            {
                "title": "Request 77",
                "title_link": "https://forms.example.com/77",
                "text": "Mornings suit best.",
            }
        ],
    )
    await scenes.say(
        "Here is the signed contract.",
        files=[{"id": "F1", "name": "contract.pdf", "mode": "hosted"}],
    )
    await scenes.say(
        "The total is 120, not 100.", edited={"user": CUSTOMER.id, "ts": f"{scenes.at + 5:.6f}"}
    )
    await scenes.say("It is this one: <https://acme.leadsquared.com/tickets/145>")
    await scenes.say("Please close #400, which LeadSquared does not let you write on.")
    steps = "\n".join(
        f"{number}. I pressed Send and saw the error once more." for number in range(1, 90)
    )
    await scenes.say(f"All that I did, for ticket 143:\n{steps}")


async def _blocks_and_files(scenes: Scenes) -> None:
    def cell(words: str) -> dict[str, Any]:
        return {"type": "raw_text", "text": words}

    rows = [[cell("Invoice"), cell("Amount")], [cell("June, ticket 143"), cell("1,200")]]
    pasted = {
        "id": 1,
        "fallback": "[no preview available]",
        "blocks": [{"type": "table", "rows": rows}],
    }
    await scenes.say("These are the open ones:", attachments=[pasted])
    passed_on = {
        "is_share": True,
        "author_name": COLLEAGUE.name,
        "text": "",
        "message_blocks": [
            {"message": {"blocks": [{"type": "rich_text", "elements": _rich_text()}]}}
        ],
        "files": [{"id": "F2", "name": "scan0001.pdf", "title": "The contract", "mode": "hosted"}],
        "footer": "Direct Message",
    }
    await scenes.say("", attachments=[passed_on])
    mail = {"id": "F3", "mode": "email", "title": "Ticket 144", "plain_text": "Is there any news?"}
    await scenes.say(
        "", by=None, subtype="bot_message", bot_id="B0MAIL", username="E-mail", files=[mail]
    )
    heard = {
        "status": "complete",
        "preview": {"content": "Please call me back.", "has_more": False},
    }
    clip = {
        "id": "F4",
        "subtype": "slack_audio",
        "title": "audio_message.m4a",
        "transcription": heard,
    }
    await scenes.say("", files=[clip])
    card = {
        "type": "card",
        "title": "Request 78",
        "body": {"type": "mrkdwn", "text": "*Ticket 145*, please"},
    }
    container = {
        "type": "container",
        "title": "Two requests",
        "child_blocks": [card, {"type": "hologram"}],
    }
    await scenes.say(
        "Request 78", by=None, bot_id="B0FORMS", username="Acme Forms", blocks=[container]
    )
    words: list[dict[str, Any]] = [
        {"type": "text", "text": "For ticket 143: see "},
        {"type": "canvas", "file_id": "F5", "label": "Plan of the move"},
        {"type": "text", "text": " and "},
        {"type": "file", "file_id": "F6"},
        {"type": "text", "text": ", ask "},
        {"type": "canvas_user_mention", "user_id": COLLEAGUE.id},
        {"type": "text", "text": " by "},
        {"type": "date", "timestamp": "1790000000", "format": "{date}"},
        {"type": "text", "text": ", or call "},
        {"type": "link", "url": "tel:+15551234567", "text": "+1 (555) 123-4567"},
        {"type": "text", "text": " "},
        {"type": "emoji", "name": "+1", "unicode": "1f44d"},
        {"type": "emoji", "name": "party-parrot"},
    ]
    section = {"type": "rich_text_section", "elements": words}
    scan = {"id": "F6", "name": "scan0002.pdf", "title": "The offer", "mode": "hosted"}
    await scenes.say("See", blocks=[{"type": "rich_text", "elements": [section]}], files=[scan])
    log = {"id": "F7", "mode": "snippet", "title": "error.log", "preview": "500 at 10:02"}
    await scenes.say("This is what I see:", files=[log])
    numbers = [
        [cell("Month"), cell("Invoices")],
        [cell("June"), {"type": "raw_number", "value": 12, "text": "12"}],
    ]
    table = {"type": "data_table", "caption": "Invoices of ticket 144", "rows": numbers}
    button = {"type": "button", "action_id": "open", "text": {"type": "plain_text", "text": "Open"}}
    pressed = {
        "fallback": "[no preview available]",
        "blocks": [{"type": "actions", "elements": [button]}],
    }
    preview = {
        "from_url": "https://forms.example.com",
        "title": "Acme Forms",
        "text": "Forms for all",
    }
    await scenes.say(
        "Invoices",
        by=None,
        bot_id="B0FORMS",
        username="Acme Forms",
        blocks=[table],
        attachments=[pressed, preview],
    )


async def _threads(scenes: Scenes) -> None:
    long = await scenes.say("Ticket 145 is slow again. I write down whenever it happens.")
    for number in range(1, 61):
        scenes.at -= MINUTE - 1
        await scenes.say(
            f"Time number {number}: it happened again, and took more than a minute.",
            thread_ts=long.ts,
        )
    gone = await scenes.say("This will be deleted, and its answer stays.")
    await scenes.say("Then please look at #145.", thread_ts=gone.ts)
    scenes.slack.workspace.delete(gone)
