"""Who may act on what in an organisation of several workspaces: one rule for all surfaces."""

from typing import Any

import pytest

from bot.playground.leadsquared import Behaviour
from bot.playground.workspace import Posted
from bot.slack.payloads import MalformedRequestError, MessageShortcut, is_member, read_payload
from support.running import TEAM, Bot, ticket_that

CORP = {"id": "E0CORP", "name": "Corp"}
HERE = {"id": TEAM, "domain": "home", "enterprise_id": "E0CORP", "enterprise_name": "Corp"}
INSTALLED = {"enterprise": CORP, "is_enterprise_install": True}

MEMBERS: dict[str, dict[str, Any]] = {
    "of this workspace": {"user": TEAM, "team": HERE, "enterprise": CORP},
    "of another workspace": {"user": "T0SISTER", "team": HERE, "enterprise": CORP},
    "of the organisation": {"user": "E0CORP", "team": HERE, "enterprise": CORP},
    "of none that is named": {"user": None, "team": HERE, "enterprise": CORP},
    "acting in another workspace": {"user": "T0SISTER", "team": {"id": "T0SISTER"}, **INSTALLED},
    "of this one, no team": {"user": TEAM, "team": None, **INSTALLED},
    "of another one, no team": {"user": "T0SISTER", "team": None, **INSTALLED},
    "of the organisation, no team": {"user": "E0CORP", "team": None, **INSTALLED},
    "of none that is named, no team": {"user": None, "team": None, **INSTALLED},
}
STRANGERS: dict[str, dict[str, Any]] = {
    "of a workspace alone": {"user": "T0PARTNER", "team": HERE, "enterprise": None},
    "of another organisation": {"user": "E0PARTNER", "team": HERE, "enterprise": CORP},
    "of a workspace of another organisation": {
        "user": "T0PARTNER",
        "team": HERE,
        "enterprise": {"id": "E0PARTNER", "name": "Partner"},
    },
    "acting at home": {"user": "T0PARTNER", "team": {"id": "T0PARTNER"}, "enterprise": None},
    "acting at home, in an organisation": {
        "user": "E0PARTNER",
        "team": None,
        "enterprise": {"id": "E0PARTNER", "name": "Partner"},
    },
}


def claim(who: dict[str, Any], person: str = "U0BEN") -> dict[str, Any]:
    user = {"id": person, "username": person.lower()}
    return who | {"user": user if who["user"] is None else user | {"team_id": who["user"]}}


@pytest.fixture
def grid(bot: Bot) -> Bot:
    bot.slack.workspace.enterprise_id = "E0CORP"
    return bot


async def failed(bot: Bot, behaviour: Behaviour) -> tuple[str, Posted]:
    ticket = ticket_that(behaviour)
    assert await bot.type(f"{ticket} hello") is None
    answer = await bot.answered()
    await bot.at_rest()
    return ticket, answer


@pytest.mark.parametrize("who", MEMBERS)
async def test_a_member_of_the_organisation_sends_again(grid: Bot, who: str) -> None:
    ticket, answer = await failed(grid, Behaviour.FAILED)
    grid.leadsquared.tickets[ticket] = Behaviour.FINE
    await grid.slack.click(answer, "Send again", person="U0BEN", **claim(MEMBERS[who]))
    await grid.answered(messages=2)
    await grid.at_rest()
    await grid.parts.background.finish(5)

    assert [one.text for one in grid.leadsquared.on(ticket)] == ["hello"]
    assert "<@U0BEN> sent it again" in str(answer.blocks)


@pytest.mark.parametrize("who", MEMBERS)
async def test_a_member_of_the_organisation_closes_what_is_there(grid: Bot, who: str) -> None:
    _, answer = await failed(grid, Behaviour.DROP)
    await grid.slack.click(answer, "It's there", person="U0BEN", **claim(MEMBERS[who]))
    await grid.at_rest()
    await grid.parts.background.finish(5)
    assert "<@U0BEN> confirmed that this is on" in str(answer.blocks)


@pytest.mark.parametrize("who", MEMBERS)
async def test_a_member_of_the_organisation_records_again(grid: Bot, who: str) -> None:
    assert await grid.type("143 hello") is None
    await grid.at_rest()
    question = await grid.type("143 hello")
    assert question is not None
    press = claim(MEMBERS[who], "U0ANNA")
    await grid.slack.click(question, "Record again", person="U0ANNA", **press)
    await grid.at_rest()
    assert [one.text for one in grid.leadsquared.on("143")] == ["hello", "hello"]


@pytest.mark.parametrize("who", MEMBERS)
async def test_a_member_of_the_organisation_edits_and_sends_again(grid: Bot, who: str) -> None:
    ticket, answer = await failed(grid, Behaviour.BAD_REQUEST)
    grid.leadsquared.tickets[ticket] = Behaviour.FINE
    changes = claim(MEMBERS[who])
    await grid.slack.click(answer, "Edit and send again", person="U0BEN", **changes)
    modal = grid.slack.modals.open[-1]
    assert await grid.slack.submit(modal, {"text": "goodbye"}, person="U0BEN", **changes) == {}
    await grid.answered(messages=2)
    await grid.at_rest()
    assert [one.text for one in grid.leadsquared.on(ticket)] == ["goodbye"]


@pytest.mark.parametrize("who", MEMBERS)
async def test_a_form_is_taken_from_a_member_of_the_organisation(grid: Bot, who: str) -> None:
    modal = await grid.ask_by_command("143")
    changes = claim(MEMBERS[who], "U0ANNA")
    assert await grid.slack.submit(modal, {"text": "hello"}, person="U0ANNA", **changes) == {}
    await grid.at_rest()
    assert [one.text for one in grid.leadsquared.on("143")] == ["hello"]


@pytest.mark.parametrize("who", STRANGERS)
async def test_a_person_of_another_organisation_does_nothing(grid: Bot, who: str) -> None:
    _, answer = await failed(grid, Behaviour.DROP)
    for label in ("Send again", "It's there"):
        await grid.slack.click(answer, label, person="U0GUEST", **claim(STRANGERS[who], "U0GUEST"))
    assert "nothing was done" in (await grid.told_to("U0GUEST", messages=2)).text
    modal = await grid.ask_by_command("143")
    changes = claim(STRANGERS[who], "U0GUEST")
    await grid.slack.submit(modal, {"text": "hello"}, person="U0GUEST", **changes)
    assert await grid.type("145 hello") is None
    await grid.at_rest()
    question = await grid.type("145 hello")
    assert question is not None
    press = claim(STRANGERS[who], "U0ANNA")
    await grid.slack.click(question, "Record again", person="U0ANNA", **press)
    await grid.at_rest()

    assert len(grid.leadsquared.ledger.calls) == 2
    assert list(answer.buttons()) == ["Send again", "It's there"]


SHORTCUT = {
    "type": "message_action",
    "callback_id": "record_portal_activity",
    "channel": {"id": "C0SUPPORT"},
    "message": {"ts": "1790000000.000100", "text": "hello"},
    "message_ts": "1790000000.000100",
}


def shortcut(who: dict[str, Any]) -> MessageShortcut:
    used = read_payload(SHORTCUT | claim(who))
    assert isinstance(used, MessageShortcut)
    return used


def test_the_shortcut_goes_by_the_same_rule() -> None:
    for who in MEMBERS.values():
        used = shortcut(who)
        assert is_member(used, used.team_id, used.enterprise_id), who
    for who in (STRANGERS[name] for name in STRANGERS if not name.startswith("acting at home")):
        used = shortcut(who)
        assert not is_member(used, used.team_id, used.enterprise_id), who


def test_what_names_neither_a_workspace_nor_an_organisation_is_refused() -> None:
    with pytest.raises(MalformedRequestError):
        shortcut({"user": None, "team": None, "enterprise": None})
