"""By no payload does one workspace reach another's delivery, tenant, thread or form.

What the people of a workspace did is sent once more by somebody of another one, with the other's
ids in each place in which Slack puts one. The other workspace has a tenant of its own, on the same
bot.
"""

import copy
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.database.tables import (
    attempts,
    deliveries,
    setup_people,
    tenant_changes,
    tenants,
    workspaces,
)
from bot.installations.single import Identity
from bot.leadsquared.tenant import Tenant
from bot.playground.browser import Browser
from bot.playground.leadsquared import Account, Behaviour
from bot.playground.slack import Fault, SlackStandIn
from bot.playground.workspace import Person, Posted, Workspace
from bot.slack import answers
from bot.tenants.directory import Scope
from support.many import serving_many
from support.programs import until
from support.running import TEAM, Bot, Start

OTHER, ORGANISATION = "T0SECOND", "E0CORP"
MALLORY, BOSS = "U0MALLORY", "U0BOSS"
"""An admin of the second workspace, and one of the first."""

ACCOUNT = Account("99", "access-key-of-the-second", "secret-key-of-the-second")
OWN = Account("22826", "access-key-made-in-slack", "secret-key-made-in-slack")
"""What the first workspace's admin connects a channel to, inside Slack."""

WORDS = "Hausgeheimnis"
"""Stands in every text of the first workspace."""

FINE, UNKNOWN, LOST, REJECTED = "77014377143", "77014377144", "77014377145", "77014377146"
"""The first workspace's tickets; the second one's is 143."""

NEEDLES = (WORDS, "7701437714", "environment", "org 22824", OWN.org_id, "made-in-slack", BOSS)
Payload = dict[str, Any]

# -- in whose name: what Slack's payload says of team, user.team_id, view.team_id and enterprise


@dataclass(frozen=True)
class Claim:
    """Whose a payload says it is."""

    team: str | None
    user: str | None
    view: str = OTHER
    installed: str | None = None  # view.app_installed_team_id, in a shared channel
    of: str | None = None  # team.enterprise_id
    enterprise: str | None = None

    def on(self, payload: Payload) -> Payload:
        user = payload["user"] | {
            "id": MALLORY,
            "username": "mallory",
            "name": "mallory",
            "team_id": self.user,
        }
        team = (
            None
            if self.team is None
            else {"id": self.team, "domain": "x", "enterprise_id": self.of}
        )
        enterprise = None if self.enterprise is None else {"id": self.enterprise, "name": "x"}
        claimed = payload | {"user": user, "team": team, "enterprise": enterprise}
        if "view" in payload:
            installed = {} if self.installed is None else {"app_installed_team_id": self.installed}
            claimed["view"] = payload["view"] | {"team_id": self.view} | installed
        return claimed


CLAIMS = {
    "all the other's": Claim(OTHER, OTHER),
    "a member of the first, in the other": Claim(OTHER, TEAM, view=TEAM),
    "a member of the other, in the first": Claim(TEAM, OTHER, view=TEAM),
    "the other's view, in the first": Claim(TEAM, OTHER),
    "the first's view, in the other": Claim(OTHER, OTHER, view=TEAM),
    "the first's app, in a shared channel": Claim(OTHER, OTHER, view=TEAM, installed=TEAM),
    "no team": Claim(None, OTHER),
    "no team, the first's view": Claim(None, OTHER, view=TEAM),
    "no team, an organisation's person": Claim(None, ORGANISATION, enterprise=ORGANISATION),
    "a team of an organisation": Claim(OTHER, OTHER, of=ORGANISATION),
    "all the other's, of an organisation": Claim(OTHER, OTHER, enterprise=ORGANISATION),
    "no team, of an organisation": Claim(None, OTHER, enterprise=ORGANISATION),
    "nobody named": Claim(None, None),
    "nobody named, of an organisation": Claim(None, None, enterprise=ORGANISATION),
}

TOKENS = {
    "the first workspace's": Identity(TEAM, None, is_enterprise_install=False),
    "an organisation's": Identity(None, ORGANISATION, is_enterprise_install=True),
    "nobody's: Slack refuses it": None,
}


# -- what the people of the first workspace did


class Home:
    """The first workspace's people.

    Each payload of theirs is kept, and `kept_back` instead of sent where asked.
    """

    def __init__(self, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bot = bot
        self.sent: list[Payload] = []
        self.keeps_back = False
        self._send = bot.slack._send
        monkeypatch.setattr(bot.slack, "_send", self._record)

    async def _record(self, kind: Any, payload: Payload, body: str) -> dict[str, Any]:
        self.sent.append(copy.deepcopy(payload))
        return {"failed": "kept back"} if self.keeps_back else await self._send(kind, payload, body)

    async def again(self, payload: Payload) -> dict[str, Any]:
        """Send a payload, as it is."""
        if "command" in payload:
            return await self._send("slash_commands", payload, urlencode(payload))
        return await self._send("interactive", payload, urlencode({"payload": json.dumps(payload)}))

    async def live(self) -> dict[str, Payload]:
        """Live through everything; return a payload for each surface, ready to be sent."""
        bot, slack = self.bot, self.bot.slack
        found: dict[str, Payload] = {}
        first = await slack.say(f"{WORDS} of a customer", channel="C0SUPPORT", person="U0GUEST")
        await slack.say(
            f"{WORDS}, continued", channel="C0SUPPORT", person="U0GUEST", thread_ts=first.ts
        )
        form = await bot.use(first)
        found["the shortcut"] = self.sent[-1]
        await slack.choose(form, "what_message", "thread", person="U0ANNA")
        found["choosing the whole thread"] = self.sent[-1]
        await slack.until(lambda: "what_thread" in str(slack.modals.open))
        assert await bot.submit(slack.modals.open[-1], ticket=FINE) == {}
        found["the submission"] = self.sent[-1]
        await bot.answered()
        form = await bot.use(first)
        assert "already recorded this" in str(form)

        for ticket in (FINE, UNKNOWN, LOST, REJECTED):
            assert await bot.type(f"{ticket} {WORDS} typed") is None
            found["the command"] = self.sent[-1]
        unknown, lost, rejected = [
            await self.answer_on(ticket) for ticket in (UNKNOWN, LOST, REJECTED)
        ]
        question = await bot.type(f"{FINE} {WORDS} typed")
        assert question is not None
        await slack.click(rejected, "Edit and send again", person="U0ANNA")
        edit = slack.modals.open[-1]
        await bot.ask_by_command(FINE)
        asked = slack.modals.open[-1]
        await bot.at_rest()
        await bot.parts.background.finish(5)

        found |= await self.set_up()
        self.keeps_back = True
        await bot.submit(form, ticket=FINE)
        found["the submission, despite what was recorded before"] = self.sent[-1]
        for label, answer in (
            ("Send again", unknown),
            ("It's there", lost),
            ("Edit and send again", rejected),
        ):
            await slack.click(answer, label, person="U0ANNA")
            found[f"the button {label}"] = self.sent[-1]
        await slack.click(question, "Record again", person="U0ANNA")
        found["the button Record again"] = self.sent[-1]
        await bot.submit(edit, ticket=FINE)
        found["the edited submission"] = self.sent[-1]
        await bot.submit(asked, text=f"{WORDS} in the form")
        found["the submission of the command's form"] = self.sent[-1]
        self.keeps_back = False
        return found

    async def set_up(self) -> dict[str, Payload]:
        """Connect a channel inside Slack, and be about to change that in each way."""
        bot, slack, found = self.bot, self.bot.slack, {}
        entered = {
            "place": "channel",
            "other_api_host": bot.leadsquared.url,
            "org_id": OWN.org_id,
            "access_key": OWN.access_key,
            "secret_key": OWN.secret_key,
        }
        form = await self.set_up_form()
        found["the set-up command"] = self.sent[-1]
        await slack.submit(form, entered, person=BOSS)
        assert "accepted the keys" in str(slack.modals.open[-1])
        form, changed = await self.set_up_form(), await self.set_up_form()
        await slack.press(changed, "Disconnect", person=BOSS)
        await slack.until(lambda: "This disconnects" in str(slack.modals.open[-1]))
        question = slack.modals.open[-1]
        self.keeps_back = True
        await bot.type("setup @Ben", channel="C0OTHER", person=BOSS)
        found["the set-up command with a person"] = self.sent[-1]
        await slack.submit(form, entered, person=BOSS)
        found["the set-up form"] = self.sent[-1]
        await slack.press(form, "Disconnect", person=BOSS)
        found["the set-up's button Disconnect"] = self.sent[-1]
        await slack.submit(question, {}, person=BOSS)
        found["the answer to the set-up's question"] = self.sent[-1]
        said = answers.unmapped(TEAM)
        message = Posted("C0OTHER", "1790000000.000100", said.text, list(said.blocks))
        await slack.click(message, "Connect LeadSquared", person=BOSS)
        found["the button Connect LeadSquared"] = self.sent[-1]
        self.keeps_back = False
        return found

    async def set_up_form(self) -> dict[str, Any]:
        open_before = len(self.bot.slack.modals.open)
        assert await self.bot.type("setup", channel="C0OTHER", person=BOSS) is None
        modals = self.bot.slack.modals
        await self.bot.slack.until(
            lambda: len(modals.open) > open_before and "Org ID" in str(modals.open[-1])
        )
        return modals.open[-1]

    async def answer_on(self, ticket: str) -> Any:
        def found() -> list[Any]:
            everybodys = [
                one
                for one in self.bot.slack.workspace.messages
                if one.thread_ts and not one.ephemeral
            ]
            return [one for one in everybodys if ticket in one.text]

        await self.bot.slack.until(found)
        return found()[-1]


SURFACES = (
    "the command",
    "the shortcut",
    "choosing the whole thread",
    "the submission",
    "the submission of the command's form",
    "the submission, despite what was recorded before",
    "the edited submission",
    "the button Send again",
    "the button It's there",
    "the button Edit and send again",
    "the button Record again",
    "the set-up command",
    "the set-up command with a person",
    "the set-up form",
    "the set-up's button Disconnect",
    "the answer to the set-up's question",
    "the button Connect LeadSquared",
)


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    # What this process has no token for is left to others for a poll and a second.
    return environment | {"POLL_INTERVAL": "0.2", "LEADSQUARED_ALLOWED_HOSTS": "127.0.0.1"}


@pytest.fixture
async def home(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> Home:
    return await both_connected(bot, monkeypatch)


@pytest.fixture
async def installed(
    start: Start,
    environment: dict[str, str],
    slack: SlackStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Home]:
    """Both workspaces have installed the bot by OAuth."""
    mallory = Person(MALLORY, "Mallory", OTHER, is_admin=True)
    second = Workspace(OTHER, {}, {MALLORY: mallory}, name="Second", bot_user="U0BOTOFSECOND")
    slack.workspaces.append(second)
    tenant = {name: value for name, value in environment.items() if name.startswith("LEADSQUARED")}
    async with start(serving_many(environment) | tenant) as bot:
        for workspace in slack.workspaces:
            assert (await Browser().install(bot.url, workspace.name)).status == 200
        home = await both_connected(bot, monkeypatch)
        await bot.parts.directory.map("environment", Scope(team_id=TEAM))
        yield home


async def both_connected(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Give the second workspace a tenant of its own."""
    bot.leadsquared.accounts |= {one.org_id: one for one in (ACCOUNT, OWN)}
    people = bot.slack.workspace.people
    people[BOSS] = Person(BOSS, "Boss", TEAM, is_admin=True)
    if not any(MALLORY in one.people for one in bot.slack.workspaces):
        people[MALLORY] = Person(MALLORY, "Mallory", OTHER, is_admin=True)
    bot.leadsquared.tickets |= {
        FINE: Behaviour.FINE,
        UNKNOWN: Behaviour.DROP,
        LOST: Behaviour.DROP,
        REJECTED: Behaviour.BAD_REQUEST,
    }
    tenant = Tenant(
        "second", bot.leadsquared.url, ACCOUNT.org_id, ACCOUNT.access_key, ACCOUNT.secret_key
    )
    await bot.parts.directory.add(tenant)
    for scope in (Scope(team_id=OTHER), Scope(enterprise_id=ORGANISATION)):
        await bot.parts.directory.map("second", scope)
    return Home(bot, monkeypatch)


# -- what must not change, and what must not be seen


@dataclass
class Sight:
    """All that is the first workspace's, and how far everything had gone."""

    rows: list[Any]
    home_activities: int
    messages: list[tuple[Any, ...]]
    modals: str
    calls: int
    answers: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    async def of(cls, bot: Bot) -> "Sight":
        messages = bot.slack.workspace.messages
        return cls(
            await bot.parts.database.run(_rows_of_home),
            sum(one.org_id != ACCOUNT.org_id for one in bot.leadsquared.ledger.activities),
            [(one.text, json.dumps(one.blocks), one.edits) for one in messages],
            json.dumps(bot.slack.modals.open),
            len(bot.slack.workspace.calls),
        )

    async def problems(self, bot: Bot) -> list[str]:
        """Say what the first workspace would notice, and what Mallory would see."""
        now = await Sight.of(bot)
        found = []
        if now.rows != self.rows:
            found.append("a row was changed or added")
        if now.home_activities != self.home_activities:
            found.append("an activity was recorded for the first workspace's tenant")
        if now.messages[: len(self.messages)] != self.messages:
            found.append("a message was changed")
        open_before = json.loads(self.modals)
        if json.loads(now.modals)[: len(open_before)] != open_before:
            found.append("a form was changed")
        new = bot.slack.workspace.messages[len(self.messages) :]
        threads = {one.ts for one in bot.slack.workspace.messages[: len(self.messages)]}
        found += [
            f"posted in a thread: {one.text}"
            for one in new
            if one.thread_ts in threads and not one.ephemeral
        ]
        found += [
            f"told to {one.ephemeral}: {one.text}"
            for one in new
            if one.ephemeral not in (None, MALLORY)
        ]
        opened = bot.slack.modals.open[len(open_before) :]
        _, *elsewhere = bot.slack.workspaces
        called = [
            *bot.slack.workspace.calls[self.calls :],
            *(call for workspace in elsewhere for call in workspace.calls),
        ]
        seen = json.dumps(
            [*self.answers, *([one.text, one.blocks] for one in new), *opened, *called]
        )
        found += [f"{needle} in {seen}" for needle in NEEDLES if needle in seen]
        return found


def _rows_of_home(connection: Connection) -> list[Any]:
    mine = sa.select(deliveries).where(deliveries.c.team_id == TEAM).order_by(deliveries.c.seq)
    of_mine = sa.select(attempts).where(
        attempts.c.delivery_seq.in_(sa.select(deliveries.c.seq).where(deliveries.c.team_id == TEAM))
    )
    return [
        list(connection.execute(statement).all())
        for statement in (
            mine,
            of_mine,
            sa.select(tenants).where(tenants.c.owner != OTHER),
            sa.select(workspaces).where(workspaces.c.team_id != OTHER),
            sa.select(tenant_changes).where(tenant_changes.c.team_id != OTHER),
            sa.select(setup_people).where(setup_people.c.team_id != OTHER),
        )
    ]


def as_mallory(payload: Payload, number: int, bot: Bot) -> Payload:
    """Return a payload with Mallory's own words and addresses in it.

    What she sees of the first workspace is not her own.
    """
    words = {
        "trigger_id": bot.slack.trigger_id(),
        "response_url": bot.slack.response_url("C0SUPPORT", MALLORY),
    }
    taken = copy.deepcopy(payload) | {
        name: value for name, value in words.items() if name in payload
    }
    if "message" in taken:
        taken["message"] = _her_own(taken["message"], number)
    if "view" in taken:
        theirs = taken["view"]["private_metadata"]
        taken["view"] = _her_own(taken["view"], number) | {"private_metadata": theirs}
    if taken["type"] == "view_submission":
        taken["view"]["id"] = f"V0MALLORY{number}"
        for block in taken["view"]["state"]["values"].values():
            for state in block.values():
                if "value" in state:
                    state["value"] = f"Mallory's words {number}"
        state = taken["view"]["state"]["values"]
        hers = {
            "ticket": "143",
            "other_api_host": bot.leadsquared.url,
            "org_id": ACCOUNT.org_id,
            "access_key": ACCOUNT.access_key,
            "secret_key": ACCOUNT.secret_key,
            "rate_limit": "25",
        }
        for block_id in hers.keys() & state.keys():
            state[block_id]["input"]["value"] = hers[block_id]
    return taken


def _her_own(value: Any, number: int) -> Any:
    if isinstance(value, dict):
        return {name: _her_own(inner, number) for name, inner in value.items()}
    if isinstance(value, list):
        return [_her_own(inner, number) for inner in value]
    hers = isinstance(value, str) and any(needle in value for needle in NEEDLES)
    return f"Mallory's words {number}" if hers else value


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("surface", SURFACES)
async def test_nothing_of_another_workspace_is_shown_changed_posted_or_told(
    home: Home, surface: str, token: str
) -> None:
    payload = (await home.live())[surface]
    home.bot.single.identity = TOKENS[token]
    home.bot.single.refusal = None if TOKENS[token] else "invalid_auth"
    await assert_foreign(home, payload)


@pytest.mark.parametrize("surface", SURFACES)
async def test_nothing_is_reached_by_another_workspace_that_has_installed_the_bot_too(
    installed: Home, surface: str
) -> None:
    await assert_foreign(installed, (await installed.live())[surface])


async def assert_foreign(home: Home, payload: Payload) -> None:
    """Send what the first workspace's people sent once more, as the second's, by every claim."""
    bot = home.bot
    problems: dict[str, list[str]] = {}
    for number, (name, claim) in enumerate(CLAIMS.items()):
        before = await Sight.of(bot)
        before.answers.append(await home.again(claimed(payload, claim, number, bot)))
        await bot.parts.background.finish(5)
        await bot.at_rest()
        await bot.parts.background.finish(5)
        if found := await before.problems(bot):
            problems[name] = found
    assert not problems, "\n".join(f"{name}: {found}" for name, found in problems.items())


def claimed(payload: Payload, claim: Claim, number: int, bot: Bot) -> Payload:
    """Return a payload as Mallory's.

    A command names one workspace, and perhaps an organisation; its key stays the first one's.
    """
    if "command" not in payload:
        return claim.on(as_mallory(payload, number, bot))
    organisation = claim.enterprise or claim.of
    return payload | {
        "team_id": OTHER,
        "user_id": MALLORY,
        "text": payload["text"]
        if payload.get("text", "").startswith("setup")
        else f"143 Mallory's words {number}",
        "response_url": bot.slack.response_url("C0SUPPORT", MALLORY),
        "enterprise_id": organisation or "",
    }


async def test_the_same_key_in_the_same_channel_of_another_workspace_is_an_activity_of_its_own(
    home: Home,
) -> None:
    bot = home.bot
    assert await bot.type(f"{FINE} {WORDS}") is None
    command = home.sent[-1]
    await bot.at_rest()
    await home.again(claimed(command, CLAIMS["all the other's"], 1, bot))
    await bot.at_rest()

    found = [(one.org_id, one.ticket_id, one.text) for one in bot.leadsquared.ledger.activities]
    assert found[1:] == [(ACCOUNT.org_id, "143", "Mallory's words 1")]
    assert WORDS not in (await bot.told_to(MALLORY)).text


async def test_a_form_is_taken_where_an_organisations_payload_names_its_workspace_by_the_view_only(
    home: Home,
) -> None:
    bot = home.bot
    await bot.ask_by_command(FINE)
    home.keeps_back = True
    await bot.submit(bot.slack.modals.open[-1], text=f"{WORDS} in the form")
    bot.slack.workspace.people[MALLORY] = Person(MALLORY, "Mallory", TEAM)
    claim = Claim(None, ORGANISATION, view=TEAM, enterprise=ORGANISATION)
    assert await home.again(claim.on(home.sent[-1])) == {}
    await bot.at_rest()
    assert [one.text for one in bot.leadsquared.on(FINE)] == [f"{WORDS} in the form"]


async def test_the_same_payloads_do_something_in_their_own_workspace(home: Home) -> None:
    """Else the test above would prove nothing."""
    bot = home.bot
    payloads = await home.live()
    assert set(payloads) == set(SURFACES)
    for number, (surface, payload) in enumerate(payloads.items()):
        before = await Sight.of(bot)
        anew = payload | {"trigger_id": bot.slack.trigger_id()}
        if surface == "the command":
            anew["text"] = f"{FINE} {WORDS} anew"
        if payload.get("type") == "view_submission":
            anew["view"] = payload["view"] | {"id": f"V0ANEW{number}"}
            if "ticket" in (values := anew["view"]["state"]["values"]):
                values["ticket"]["input"]["value"] = f"{FINE}{number}"  # on which nothing is yet
        answer = await home.again(anew)
        await bot.parts.background.finish(5)
        await bot.at_rest()
        after = await Sight.of(bot)
        if surface == "choosing the whole thread":  # its form is closed by now
            assert "conversations.replies" in [
                method for method, _ in bot.slack.workspace.calls[before.calls :]
            ]
        else:
            changed = (after.rows, after.modals) != (before.rows, before.modals)
            # The set-up's other surfaces have changed it by then, which it says.
            assert changed or "while your form was open" in str(answer), surface


async def test_until_slack_has_said_whose_the_token_is_nobody_is_answered_with_it(
    home: Home,
) -> None:
    bot, slack = home.bot, home.bot.slack
    there = await slack.say(f"{WORDS} of a customer", channel="C0SUPPORT", person="U0GUEST")
    assert await bot.type(f"{REJECTED} {WORDS}") is None
    rejected = await home.answer_on(REJECTED)
    await bot.at_rest()
    bot.single.identity = None
    asked = len(slack.workspace.calls)

    theirs = claimed(
        {"command": "/portal-activity", "trigger_id": "1.1"}, CLAIMS["all the other's"], 1, bot
    )
    assert await home.again(theirs | {"channel_id": "C0SUPPORT"}) == {}
    assert (
        await home.again(theirs | {"channel_id": "C0SUPPORT", "text": "143", "trigger_id": "1.2"})
        != {}
    )
    await slack.shortcut(
        there, person=MALLORY, team={"id": OTHER}, user={"id": MALLORY, "team_id": OTHER}
    )
    assert "just started" in (await bot.told_to(MALLORY)).text
    assert await bot.type(f"{FINE} {WORDS}") is None
    await slack.click(rejected, "Edit and send again", person="U0ANNA")
    await until(lambda: len(bot.leadsquared.ledger.activities) == 2)  # recording does not wait
    await bot.parts.background.finish(5)
    assert {method for method, _ in slack.workspace.calls[asked:]} <= {"response_url"}

    bot.single.identity = TOKENS["the first workspace's"]
    assert "Recorded" in (await home.answer_on(FINE)).text, (
        "what was due in between is told in its thread"
    )
    await bot.at_rest()
    posted = [asked for method, asked in slack.workspace.calls if method == "chat.postMessage"]
    assert "Mallory's words 1" not in json.dumps(posted)
    assert any(
        "Recorded" in one.text for one in slack.workspace.messages if one.ephemeral == MALLORY
    )


async def test_a_token_that_slack_refuses_keeps_no_answer_back(
    start: Start, environment: dict[str, str], slack: SlackStandIn
) -> None:
    slack.faults["auth.test"] += [Fault("invalid_auth")] * 50
    async with start(environment, ready=False) as bot:
        await bot.parts.directory.map("environment", Scope(team_id=TEAM))
        assert await bot.type("143 hello") is None
        assert "Recorded" in (await bot.told_to("U0ANNA")).text, (
            "by the response_url, which needs no token"
        )
