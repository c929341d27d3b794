"""Connecting LeadSquared inside Slack: who may, what is checked, what is asked, what is kept."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from bot.database.tables import accounts, tenant_changes, tenants, workspaces
from bot.encryption import Keyring
from bot.leadsquared.tenant import Tenant
from bot.playground.leadsquared import Account, Behaviour, LeadSquaredStandIn
from bot.playground.slack import Fault, SlackStandIn
from bot.playground.workspace import Person, Posted
from bot.slack.setup import DONE_WITHIN
from bot.tenants.directory import Scope
from support.programs import until
from support.running import ACCOUNT, TEAM, Bot, Start

ADMIN, OWNER, SECOND = "U0ADMIN", "U0OWNER", "U0SECOND"
ANNA, BEN = "U0ANNA", "U0BEN"
NEW = Account("22825", "access-key-of-the-move", "secret-key-of-the-move")

View = dict[str, Any]


@pytest.fixture
def unconnected(environment: dict[str, str]) -> dict[str, str]:
    """The settings of a bot that no operator has connected."""
    own = {name: value for name, value in environment.items() if not name.startswith("LEADSQUARED")}
    return own | {
        "LEADSQUARED_ALLOWED_HOSTS": "*.leadsquared.com,127.0.0.1",
        "LEADSQUARED_READ_TIMEOUT": "5",
    }


@pytest.fixture
def people(slack: SlackStandIn) -> None:
    slack.workspace.people |= {
        one.id: one
        for one in (
            Person(ADMIN, "Asha", TEAM, is_admin=True),
            Person(SECOND, "Sven", TEAM, is_admin=True),
            Person(OWNER, "Olga", TEAM, is_owner=True),
            Person("U0MULTI", "Multi", TEAM, is_restricted=True),
            Person("U0SINGLE", "Single", TEAM, is_ultra_restricted=True),
            Person("U0FAKE", "Fake", TEAM, is_admin=True, is_restricted=True),
            Person("U0AWAY", "Away", "T0PARTNER", is_admin=True),
        )
    }


@pytest.fixture
async def fresh(
    start: Start,
    unconnected: dict[str, str],
    leadsquared: LeadSquaredStandIn,
    people: None,
) -> AsyncIterator[Bot]:
    """A bot that nothing is connected to yet."""
    leadsquared.accounts[NEW.org_id] = NEW
    async with start(unconnected) as bot:
        yield bot


def last(bot: Bot) -> View:
    return bot.slack.modals.open[-1]


def words(view: View | Posted | None) -> str:
    assert view is not None
    return json.dumps(view["blocks"] if isinstance(view, dict) else view.blocks, ensure_ascii=False)


async def settled(bot: Bot, passing: str = "Asking Slack") -> View:
    await bot.slack.until(lambda: bot.slack.modals.open and passing not in words(last(bot)))
    return last(bot)


async def opened(bot: Bot, person: str = ADMIN, channel: str = "C0SUPPORT") -> View:
    """Open the form by the command, and return it when it is filled in."""
    assert await bot.type("setup", person=person, channel=channel) is None
    return await settled(bot)


def filled(bot: Bot, account: Account = ACCOUNT, **changes: Any) -> dict[str, Any]:
    """Return what a person enters for an account of the stand-in."""
    return {
        "other_api_host": bot.leadsquared.url,
        "org_id": account.org_id,
        "access_key": account.access_key,
        "secret_key": account.secret_key,
        **changes,
    }


async def save(
    bot: Bot, view: View, person: str = ADMIN, account: Account = ACCOUNT, **changes: Any
) -> View:
    """Submit the form, and return what stands in its place."""
    answer = await bot.submit(view, person, **filled(bot, account, **changes))
    assert answer["response_action"] == "update", answer
    return await settled(bot, "Checking the keys")


async def connected(bot: Bot, channel: str = "C0SUPPORT", **changes: Any) -> None:
    shown = await save(bot, await opened(bot, channel=channel), **changes)
    assert "is connected to LeadSquared org" in words(shown)


async def rows(bot: Bot, table: sa.Table) -> list[Any]:
    statement = sa.select(table)
    return await bot.parts.database.run(
        lambda connection: list(connection.execute(statement).mappings().all())
    )


async def recorded(bot: Bot, text: str = "143 hello", **where: Any) -> str:
    """Record something, and return the org that it went to."""
    before = len(bot.leadsquared.ledger.activities)
    assert await bot.type(text, **where) is None
    await bot.at_rest()
    (activity,) = bot.leadsquared.ledger.activities[before:]
    return activity.org_id


# -- from nothing to a recorded activity


async def test_an_admin_connects_a_workspace_by_the_button_of_the_answer(fresh: Bot) -> None:
    said = await fresh.type("143 hello", person=ADMIN)
    assert said is not None
    assert "isn't connected" in said.text
    await fresh.slack.click(said, "Connect LeadSquared", person=ADMIN)
    await fresh.slack.until(lambda: fresh.slack.modals.open)
    view = await settled(fresh)
    assert [block["label"]["text"] for block in view["blocks"] if block["type"] == "input"] == [
        "Connect",
        "API host",
        "Another API host",
        "Org ID",
        "Access key",
        "Secret key",
        "Rate limit",
        "Attribution",
        "Ticket titles",
    ]
    assert fresh.slack.modals.value(view, "api_host") == "apigw.service-in.leadsquared.com"
    assert fresh.slack.modals.value(view, "rate_limit") == "25"
    shown = await save(fresh, view)
    assert "✅ The whole workspace is connected to LeadSquared org 22824" in words(shown)
    assert "LeadSquared accepted the keys" in words(shown)
    assert await recorded(fresh) == "22824"
    (tenant,) = await rows(fresh, tenants)
    assert (tenant["name"], tenant["owner"]) == (f"slack-{TEAM}", TEAM)
    assert ACCOUNT.secret_key.encode() not in bytes(tenant["secret_key"])


async def test_the_form_opens_in_the_place_of_a_modal_that_says_it_is_not_connected(
    fresh: Bot,
) -> None:
    view = await fresh.ask_by_command("", person=ADMIN)
    assert "isn't connected" in words(view)
    await fresh.slack.press(view, "Connect LeadSquared", person=ADMIN)
    await fresh.slack.until(lambda: "Org ID" in words(last(fresh)))
    assert len(fresh.slack.modals.open) == 1
    assert "place" not in [block.get("block_id") for block in last(fresh)["blocks"]]
    assert "✅ The whole workspace" in words(await save(fresh, last(fresh)))


async def test_one_channel_is_connected_beside_the_workspace(fresh: Bot) -> None:
    await connected(fresh)
    await connected(fresh, "C0OTHER", account=NEW, place="channel", rate_limit="50")
    assert await recorded(fresh) == "22824"
    assert await recorded(fresh, channel="C0OTHER") == "22825"
    assert {(one["name"], one["calls_per_window"]) for one in await rows(fresh, tenants)} == {
        (f"slack-{TEAM}", 25),
        (f"slack-{TEAM}-C0OTHER", 50),
    }
    view = await opened(fresh, channel="C0OTHER")
    assert "*This channel* is connected to LeadSquared org 22825" in words(view)
    assert "*The whole workspace* is connected to LeadSquared org 22824" in words(view)
    assert fresh.slack.modals.value(view, "place") == "channel"
    assert fresh.slack.modals.value(view, "org_id") == "22825"


async def test_it_is_connected_without_a_token_of_the_environments_alone(
    bot: Bot, people: None
) -> None:
    view = await opened(bot)
    assert "connected to LeadSquared org 22824 by the person who runs the bot" in words(view)
    for hidden in (bot.leadsquared.url, "environment", "Disconnect"):
        assert hidden not in words(view)
    assert bot.slack.modals.value(view, "org_id") is None


# -- what is entered


@pytest.mark.parametrize(
    ("field", "entered", "says"),
    [
        ("org_id", "acme", "Enter the org ID"),
        ("org_id", "22824/../1", "Enter the org ID"),
        ("org_id", " ", "Enter the org ID"),
        ("access_key", "kéy", "Copy the key again"),
        ("secret_key", "two words", "Copy the key again"),
        ("rate_limit", "0", "from 1 to 1,000"),
        ("rate_limit", "many", "from 1 to 1,000"),
        ("rate_limit", "100000001", "from 1 to 1,000"),
        ("rate_limit", "00025999999", "from 1 to 1,000"),
        ("other_api_host", "https://leadsquared.example.com", "may not send keys to leadsquared.e"),
        ("other_api_host", "http://apigw.service-in.leadsquared.com", "not an API host"),
        ("other_api_host", "http://localhost:5432", "may not send keys to localhost"),
        ("other_api_host", "https://a.leadsquared.com/path?x=1", "not an API host"),
        ("other_api_host", "https://[", "may not send keys"),
        ("access_key", "", "There is no stored key"),
    ],
)
async def test_what_cannot_be_is_said_by_its_field(
    fresh: Bot, field: str, entered: str, says: str
) -> None:
    view = await opened(fresh)
    answer = await fresh.submit(view, ADMIN, **(filled(fresh) | {field: entered}))
    assert answer["response_action"] == "errors"
    assert set(answer["errors"]) == {field}
    assert says in answer["errors"][field]
    assert fresh.leadsquared.ledger.lookups == []
    assert await rows(fresh, tenants) == []


async def test_white_space_around_what_is_entered_does_not_matter(fresh: Bot) -> None:
    spaced = {
        name: f"\u00a0 {value}\n\t" for name, value in filled(fresh).items() if name != "place"
    }
    await connected(fresh, **spaced)
    assert await recorded(fresh) == "22824"


async def test_a_host_is_entered_without_https(fresh: Bot) -> None:
    view = await opened(fresh)
    shown = await save(fresh, view, other_api_host="no-such-host.leadsquared.com")
    assert "didn't say whether these keys are right or wrong" in words(shown)
    await fresh.submit(shown, ADMIN)
    assert {one["api_host"] for one in await rows(fresh, accounts)} == {
        "no-such-host.leadsquared.com"
    }


# -- the check of the keys


async def test_keys_that_leadsquared_rejects_are_not_kept(fresh: Bot) -> None:
    shown = await save(fresh, await opened(fresh), access_key="wrong-key")
    assert "rejected these keys, so nothing was saved" in words(shown)
    assert "another region's host" in words(shown)
    assert await rows(fresh, tenants) == []
    assert await rows(fresh, accounts) == []
    assert "wrong-key" not in json.dumps(shown)
    assert fresh.slack.modals.value(shown, "org_id") == "22824"
    shown = await save(fresh, shown)
    assert "LeadSquared accepted the keys" in words(shown)
    assert fresh.leadsquared.ledger.activities == []


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        (Behaviour.NOT_FOUND, "status 404"),
        (Behaviour.FORBIDDEN, "status 403"),
        (Behaviour.RATE_LIMITED, "status 429"),
        (Behaviour.SERVER_ERROR, "status 502"),
        (Behaviour.HTML, "unreadable answer"),
        (Behaviour.REDIRECT, "status 307"),
    ],
)
async def test_what_proves_nothing_is_said_and_saved_all_the_same(
    fresh: Bot, behaviour: Behaviour, says: str
) -> None:
    fresh.leadsquared.filter_is = behaviour
    shown = await save(fresh, await opened(fresh))
    assert "didn't say whether these keys are right or wrong" in words(shown)
    assert says in words(shown)
    assert await rows(fresh, tenants) == []
    assert ACCOUNT.secret_key not in json.dumps(shown)
    assert shown["submit"]["text"] == "Save anyway"
    await fresh.submit(shown, ADMIN)
    assert "LeadSquared has not confirmed the keys yet" in words(last(fresh))
    assert await recorded(fresh) == "22824"


async def test_leadsquared_away_proves_nothing(fresh: Bot) -> None:
    shown = await save(fresh, await opened(fresh), other_api_host="http://127.0.0.1:9")
    assert "refused" in words(shown)
    await fresh.submit(shown, ADMIN)
    assert "has not confirmed the keys yet" in words(last(fresh))


async def test_a_slow_check_says_that_it_goes_on_and_then_what_became_of_it(fresh: Bot) -> None:
    fresh.leadsquared.filter_is = Behaviour.HANG
    answer = await fresh.submit(await opened(fresh), ADMIN, **filled(fresh))
    assert "Checking the keys with LeadSquared" in words(answer["view"])
    shown = await settled(fresh, "Checking the keys")
    assert "read timeout" in words(shown)
    assert "didn't say whether" in words(shown)


async def test_a_slow_refusal_shows_the_form_again(fresh: Bot) -> None:
    fresh.leadsquared.latency = DONE_WITHIN + 0.2
    answer = await fresh.submit(
        await opened(fresh), ADMIN, **filled(fresh, access_key="wrong-key", rate_limit="99")
    )
    assert "Checking the keys with LeadSquared" in words(answer["view"])
    shown = await settled(fresh, "Checking the keys")
    assert "rejected these keys" in words(shown)
    assert fresh.slack.modals.value(shown, "org_id") == "22824"
    assert fresh.slack.modals.value(shown, "rate_limit") == "99"
    assert fresh.slack.modals.value(shown, "access_key") is None


# -- who may


@pytest.mark.parametrize(
    ("person", "says"),
    [
        (ADMIN, "Org ID"),
        (OWNER, "Org ID"),
        (ANNA, "Only workspace admins and owners"),
        ("U0MULTI", "Guests and people of other organisations"),
        ("U0SINGLE", "Guests and people of other organisations"),
        ("U0FAKE", "Guests and people of other organisations"),
        ("U0AWAY", "Guests and people of other organisations"),
        ("U0NOBODY", "Slack didn't say whether"),
    ],
)
async def test_who_may_connect_a_workspace(fresh: Bot, person: str, says: str) -> None:
    view = await opened(fresh, person)
    assert says in words(view)
    assert ("submit" in view) == (says == "Org ID")


async def test_the_role_is_asked_again_at_saving(fresh: Bot) -> None:
    view = await opened(fresh)
    admin = fresh.slack.workspace.people[ADMIN]
    fresh.slack.workspace.people[ADMIN] = replace(admin, is_admin=False)
    assert "Only workspace admins and owners" in words(await save(fresh, view))
    assert fresh.leadsquared.ledger.lookups == []
    assert await rows(fresh, tenants) == []


async def test_the_role_is_asked_again_at_the_answer_to_a_question(fresh: Bot) -> None:
    fresh.leadsquared.filter_is = Behaviour.NOT_FOUND
    question = await save(fresh, await opened(fresh))
    fresh.slack.workspace.people[ADMIN] = replace(
        fresh.slack.workspace.people[ADMIN], is_admin=False
    )
    await fresh.submit(question, ADMIN)
    assert "Only workspace admins and owners" in words(last(fresh))
    assert await rows(fresh, tenants) == []


async def test_what_slack_does_not_say_is_not_allowed(fresh: Bot) -> None:
    view = await opened(fresh)
    fresh.slack.faults["users.info"].append(Fault("missing_scope"))
    assert "Slack didn't say whether" in words(await save(fresh, view))
    assert await rows(fresh, tenants) == []


async def test_an_admin_names_a_person_who_then_may_connect_but_name_no_others(fresh: Bot) -> None:
    said = await fresh.type("setup @Anna", person=ADMIN)
    assert said is not None
    assert said.text.startswith(f"<@{ANNA}> can connect LeadSquared now")
    assert f"<@{ANNA}>" in words(await opened(fresh, BEN))
    assert "accepted the keys" in words(await save(fresh, await opened(fresh, ANNA), ANNA))
    said = await fresh.type("setup @Ben", person=ANNA)
    assert said is not None
    assert "Only workspace admins and owners can name people" in said.text
    said = await fresh.type("setup remove @Anna", person=ADMIN)
    assert said is not None
    assert "no longer named" in said.text
    assert "Only workspace admins" in words(await opened(fresh, ANNA))
    changes = await rows(fresh, tenant_changes)
    assert [(one["what"], one["user_id"], one["detail"]) for one in changes] == [
        ("named", ADMIN, ANNA),
        ("connected", ANNA, changes[1]["detail"]),
        ("unnamed", ADMIN, ANNA),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("setup @Multi", "is a guest"),
        ("setup @Away", "is a guest, or of another organisation"),
        ("setup <@U0NOBODY>", "or unknown to Slack"),
        ("setup remove @Ben", "was not named"),
        ("setup everybody", "Enter `/portal-activity setup`"),
        ("setup @Anna @Ben", "Enter `/portal-activity setup`"),
        ("SETUP help", "Enter `/portal-activity setup`"),
    ],
)
async def test_who_cannot_be_named(fresh: Bot, text: str, says: str) -> None:
    encoded = text if "<@" in text else fresh.slack.encode(text)
    said = await fresh.slack.command(encoded, channel="C0SUPPORT", person=ADMIN)
    assert said is not None
    assert says in said.text
    assert await rows(fresh, tenant_changes) == []


# -- changing what is there


async def test_a_stored_key_is_never_shown_and_stays_where_the_field_is_left_empty(
    fresh: Bot,
) -> None:
    await connected(fresh)
    view = await opened(fresh)
    assert ACCOUNT.access_key not in json.dumps(view)
    assert ACCOUNT.secret_key not in json.dumps(view)
    shown = await save(fresh, view, access_key="", secret_key="", rate_limit="100")
    assert "accepted the keys" in words(shown)
    (tenant,) = await rows(fresh, tenants)
    assert tenant["calls_per_window"] == 100
    assert await recorded(fresh) == "22824"
    view = await opened(fresh)
    shown = await save(fresh, view, access_key="", secret_key="wrong")
    assert "rejected these keys" in words(shown)
    assert await recorded(fresh, "144 hello") == "22824"
    (_, change) = await rows(fresh, tenant_changes)
    assert (change["what"], change["detail"]) == ("changed", "rate limit 25 → 100")


async def test_stored_keys_do_not_go_to_another_account(fresh: Bot) -> None:
    await connected(fresh)
    for change in ({"org_id": "22825"}, {"other_api_host": "https://x.leadsquared.com"}):
        view = await opened(fresh)
        keyless = filled(fresh, access_key="", secret_key="") | change
        answer = await fresh.submit(view, ADMIN, **keyless)
        assert set(answer["errors"]) == {"access_key", "secret_key"}


async def test_stored_keys_that_cannot_be_decrypted_are_entered_anew(fresh: Bot) -> None:
    await connected(fresh)
    lost = Keyring(["another-secret-that-is-long-enough-for-it"]).encrypt("key")
    change = tenants.update().values(access_key=lost, secret_key=lost)
    await fresh.parts.database.run(lambda connection: connection.execute(change))
    view = await opened(fresh)
    answer = await fresh.submit(view, ADMIN, **filled(fresh, access_key="", secret_key=""))
    assert "can't be decrypted" in answer["errors"]["access_key"]
    assert "accepted the keys" in words(await save(fresh, view))
    assert await recorded(fresh) == "22824"


async def test_a_move_to_another_account_asks_first_and_says_what_waits(fresh: Bot) -> None:
    await connected(fresh)
    fresh.parts.worker.stop()
    assert await fresh.type("143 hello") is None
    question = await save(fresh, await opened(fresh), account=NEW)
    assert "moves the whole workspace from LeadSquared org 22824 to org 22825" in words(question)
    assert "1 activity that waits for it will not be recorded" in words(question)
    assert question["submit"]["text"] == "Move"
    assert {one["org_id"] for one in await rows(fresh, tenants)} == {"22824"}
    await fresh.submit(question, ADMIN)
    assert "connected to LeadSquared org 22825" in words(last(fresh))
    (tenant,) = await rows(fresh, tenants)
    assert tenant["org_id"] == "22825"
    (_, change) = await rows(fresh, tenant_changes)
    assert change["what"] == "moved"
    assert change["detail"] == "org ID 22824 → 22825, access key, secret key"


async def test_a_move_that_is_not_confirmed_changes_nothing(fresh: Bot) -> None:
    await connected(fresh)
    await save(fresh, await opened(fresh), account=NEW)
    assert await recorded(fresh) == "22824"


async def test_disconnecting_asks_first_and_deletes_the_keys(fresh: Bot) -> None:
    await connected(fresh)
    view = await opened(fresh)
    await fresh.slack.press(view, "Disconnect", person=ADMIN)
    question = await settled(fresh, "Org ID")
    assert "disconnects the whole workspace from LeadSquared org 22824" in words(question)
    assert "Nothing can be recorded there" in words(question)
    assert len(await rows(fresh, tenants)) == 1
    await fresh.submit(question, ADMIN)
    assert "is disconnected" in words(last(fresh))
    assert await rows(fresh, tenants) == []
    said = await fresh.type("143 hello")
    assert said is not None
    assert "isn't connected" in said.text
    await connected(fresh)
    assert await recorded(fresh) == "22824"


async def test_a_disconnected_channel_uses_the_workspaces_account(fresh: Bot) -> None:
    await connected(fresh)
    await connected(fresh, "C0OTHER", account=NEW, place="channel")
    view = await opened(fresh, channel="C0OTHER")
    await fresh.slack.press(view, "Disconnect", person=ADMIN)
    question = await settled(fresh, "Org ID")
    assert "disconnects this channel from LeadSquared org 22825" in words(question)
    assert "it uses the whole workspace's account, org 22824" in words(question)
    await fresh.submit(question, ADMIN)
    assert await recorded(fresh, channel="C0OTHER") == "22824"


async def test_a_workspace_that_the_operator_connected_moves_to_an_account_of_its_own(
    start: Start,
    environment: dict[str, str],
    leadsquared: LeadSquaredStandIn,
    people: None,
) -> None:
    leadsquared.accounts[NEW.org_id] = NEW
    environment["LEADSQUARED_ALLOWED_HOSTS"] = "127.0.0.1"
    async with start(environment) as bot:
        bot.parts.worker.stop()
        assert await bot.type("143 hello") is None
        question = await save(bot, await opened(bot), account=NEW)
        assert "moves the whole workspace from LeadSquared org 22824 to org 22825" in words(
            question
        )
        assert "what already waits still goes there" in words(question)
        await bot.submit(question, ADMIN)
    async with start(environment) as bot:  # what an admin chose outlives a start
        await bot.at_rest()
        assert [one.org_id for one in bot.leadsquared.ledger.activities] == ["22824"]
        assert await recorded(bot, "144 hello") == "22825"
        names = {one["name"]: one["owner"] for one in await rows(bot, tenants)}
        assert names == {"environment": "", f"slack-{TEAM}": TEAM}


async def test_a_more_exact_mapping_of_the_operators_gives_way(fresh: Bot) -> None:
    tenant = Tenant("theirs", "https://a.leadsquared.com", "1", "access", "secret")
    await fresh.parts.directory.add(tenant)
    await fresh.parts.directory.map("theirs", Scope("E0CORP", TEAM))
    fresh.slack.workspace.enterprise_id = "E0CORP"
    view = await opened(fresh)
    assert "connected to LeadSquared org 1 by the person who runs the bot" in words(view)
    question = await save(fresh, view)
    assert "moves the whole workspace from LeadSquared org 1 to org 22824" in words(question)
    await fresh.submit(question, ADMIN)
    assert await recorded(fresh) == "22824"
    fresh.slack.workspace.enterprise_id = "E0OTHER"  # the workspace changes its organisation
    assert await recorded(fresh, "144 hello") == "22824"


async def test_an_organisations_mapping_goes_on_for_its_other_workspaces(fresh: Bot) -> None:
    tenant = Tenant("corps", "https://a.leadsquared.com", "1", "access", "secret")
    await fresh.parts.directory.add(tenant)
    await fresh.parts.directory.map("corps", Scope("E0CORP"))
    fresh.slack.workspace.enterprise_id = "E0CORP"
    view = await opened(fresh)
    assert "Disconnect" not in words(view)
    question = await save(fresh, view)
    assert "moves the whole workspace from LeadSquared org 1 to org 22824" in words(question)
    await fresh.submit(question, ADMIN)
    assert await recorded(fresh) == "22824"
    assert await fresh.parts.directory.mapped_to(Scope("E0CORP")) == "corps"
    await fresh.slack.press(await opened(fresh), "Disconnect", person=ADMIN)
    await fresh.submit(await settled(fresh, "Org ID"), ADMIN)
    assert "org 1 by the person who runs the bot" in words(await opened(fresh))


# -- two at once


async def test_the_second_of_two_admins_reads_what_the_first_changed(fresh: Bot) -> None:
    first, second = await opened(fresh), await opened(fresh, SECOND)
    answer = await fresh.submit(second, SECOND, **filled(fresh, NEW, rate_limit="7"))
    assert "is connected" in words(answer["view"])
    answer = await fresh.submit(first, ADMIN, **filled(fresh))
    shown = answer["view"]
    assert "changed while your form was open, so nothing was saved" in words(shown)
    assert f"<@{SECOND}> connected LeadSquared" in words(shown)
    assert "org ID 22825" in words(shown)
    (tenant,) = await rows(fresh, tenants)
    assert tenant["org_id"] == "22825"
    again = next(one for one in fresh.slack.modals.open if one["id"] == first["id"])
    assert fresh.slack.modals.value(again, "org_id") == "22824"
    answer = await fresh.submit(again, ADMIN)
    assert "moves the whole workspace from LeadSquared org 22825" in words(answer["view"])


async def test_a_question_is_void_once_somebody_else_has_changed_something(fresh: Bot) -> None:
    fresh.leadsquared.filter_is = Behaviour.NOT_FOUND
    question = await save(fresh, await opened(fresh))
    fresh.leadsquared.filter_is = Behaviour.FINE
    second = await opened(fresh, SECOND)
    answer = await fresh.submit(second, SECOND, **filled(fresh, NEW))
    assert "is connected" in words(answer["view"])
    answer = await fresh.submit(question, ADMIN)
    assert "changed while your form was open" in words(answer["view"])
    (tenant,) = await rows(fresh, tenants)
    assert tenant["org_id"] == "22825"


async def test_of_ten_who_save_at_the_same_moment_one_is_first(
    start: Start,
    unconnected: dict[str, str],
    url: str,
    people: None,
    leadsquared: LeadSquaredStandIn,
) -> None:
    orgs = [Account(str(100 + number), f"access-{number}", "secret") for number in range(10)]
    leadsquared.accounts |= {one.org_id: one for one in orgs}
    async with AsyncExitStack() as stack:
        settings = unconnected | {"DATABASE_URL": url}
        bots = [await stack.enter_async_context(start(settings)) for _ in range(2)]
        views = [await opened(bots[0]) for _ in orgs]
        answers = await asyncio.gather(
            *(
                bots[0].submit(view, ADMIN, **filled(bots[0], one))
                for view, one in zip(views, orgs, strict=True)
            )
        )
        await bots[0].parts.background.finish(20)
        shown = [words(one) for one in bots[0].slack.modals.open]
        assert len(answers) == len(orgs)
        assert sum("✅" in one for one in shown) == 1
        assert sum("nothing was saved" in one for one in shown) == 9
        assert len(await rows(bots[0], tenants)) == 1
        assert len(await rows(bots[0], workspaces)) == 1
        assert len(await rows(bots[0], tenant_changes)) == 1


async def test_the_last_changes_stand_at_the_end_of_the_form(fresh: Bot) -> None:
    await connected(fresh)
    for limit in ("10", "11", "12"):
        await save(fresh, await opened(fresh), rate_limit=limit)
    lines = [one for one in (await opened(fresh))["blocks"] if one["type"] == "context"]
    assert len(lines) == 3
    assert f"<@{ADMIN}> changed the connection: rate limit 11 → 12" in json.dumps(
        lines[0], ensure_ascii=False
    )
    assert "connected LeadSquared" not in words({"blocks": lines})


# -- what fails


async def test_a_database_that_is_slow_at_opening_has_surely_changed_nothing(fresh: Bot) -> None:
    held, shown = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        held.set()
        shown.wait(60)

    busy = asyncio.create_task(fresh.parts.database.run(hold))
    await until(held.is_set)  # what is queued may still give way to a person
    assert "doesn't answer, so nothing was changed" in words(await opened(fresh))
    shown.set()
    await busy


async def test_the_database_away_at_saving_is_said(fresh: Bot) -> None:
    view = await opened(fresh)
    await fresh.parts.database.run(
        lambda connection: connection.exec_driver_sql("ALTER TABLE setup_people RENAME TO gone")
    )
    shown = await save(fresh, view)
    assert "database doesn't answer, so nothing was changed" in words(shown)


async def test_a_form_that_slack_does_not_open_is_said(fresh: Bot) -> None:
    fresh.slack.faults["views.open"].append(Fault("expired_trigger_id"))
    said = await fresh.type("setup", person=ADMIN)
    assert said is not None
    assert "Slack didn't open the form in time" in said.text


async def test_nothing_typed_reaches_the_log(fresh: Bot, caplog: pytest.LogCaptureFixture) -> None:
    fresh.leadsquared.filter_is = Behaviour.NOT_FOUND
    question = await save(fresh, await opened(fresh))
    await fresh.submit(question, ADMIN)
    fresh.slack.faults["views.update"] += [Fault("internal_error", 500)] * 5
    await fresh.type("setup", person=ADMIN)
    await fresh.parts.background.finish(20)
    for key in (ACCOUNT.access_key, ACCOUNT.secret_key):
        assert key not in caplog.text
    assert "setup_changed" in caplog.text
    assert "form_not_shown" in caplog.text


# -- one workspace and another


async def test_two_workspaces_with_the_same_account_share_its_limit_and_nothing_else(
    fresh: Bot,
) -> None:
    tenant = Tenant(
        "theirs", fresh.leadsquared.url, "22824", ACCOUNT.access_key, ACCOUNT.secret_key
    )
    await fresh.parts.directory.add(tenant)
    await fresh.parts.directory.map("theirs", Scope(team_id="T0THEIRS"))
    await connected(fresh)
    assert len(await rows(fresh, accounts)) == 1
    assert len({one["account_id"] for one in await rows(fresh, tenants)}) == 1
    assert "theirs" not in words(await opened(fresh))
    assert "T0THEIRS" not in words(await opened(fresh))


async def test_a_tenant_that_another_workspace_made_is_shown_as_the_operators(fresh: Bot) -> None:
    await connected(fresh)
    change = tenants.update().values(owner="T0THEIRS")
    await fresh.parts.database.run(lambda connection: connection.execute(change))
    view = await opened(fresh)
    assert "by the person who runs the bot" in words(view)
    assert "Disconnect" not in words(view)
    question = await save(fresh, view, account=NEW)
    await fresh.submit(question, ADMIN)
    orgs = {one["owner"]: one["org_id"] for one in await rows(fresh, tenants)}
    assert orgs == {"T0THEIRS": "22824", TEAM: "22825"}
