"""What an installation grants, and how it ends: organisations, events, refused tokens, rotation."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import sqlalchemy as sa

from bot.database.tables import deliveries, installations
from bot.encryption import Keyring
from bot.installations.access import Ended, Granted, TokenUnreadable
from bot.playground.leadsquared import LeadSquaredStandIn
from bot.playground.slack import Fault, SlackStandIn
from support.many import CORP, GRID, HOME, SECOND, SISTER, Team, serving_many, workspaces
from support.running import ENCRYPTION_KEY, Bot, Start, running

ANOTHER = "another-secret-that-is-long-enough-for-it"


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandIn]:
    async with SlackStandIn(*workspaces()) as stand_in:
        yield stand_in


@pytest.fixture
def environment(environment: dict[str, str], url: str) -> dict[str, str]:
    return serving_many(environment, url)


@pytest.fixture
async def home(bot: Bot) -> Team:
    team = Team(bot, HOME)
    await team.joins()
    return team


async def until(condition: Any, within: float = 20) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


def access(team: Team) -> object:
    installed = team.bot.parts.installations
    return installed.access(team.workspace.enterprise_id, team.team_id)


async def stored(bot: Bot, where: str) -> dict[str, Any]:
    select = sa.select(installations).where(installations.c.installed_in == where)
    row = await bot.parts.database.run(
        lambda connection: connection.execute(select).mappings().one()
    )
    return dict(row)


async def most_attempts(bot: Bot) -> int:
    most = sa.select(sa.func.max(deliveries.c.tell_attempts))
    return int(await bot.parts.database.run(lambda connection: connection.scalar(most)) or 0)


async def change(bot: Bot, where: str, **values: object) -> None:
    """Change what is stored of an installation, and announce it as time would."""
    changed = {"changed_at": sa.func.bot_now(), **values}
    update = installations.update().where(installations.c.installed_in == where).values(**changed)
    await bot.parts.database.run(lambda connection: connection.execute(update))


# -- organisations


async def test_an_organisation_wide_installation_serves_all_its_workspaces(bot: Bot) -> None:
    grid, sister, second = Team(bot, GRID), Team(bot, SISTER), Team(bot, SECOND)
    assert (await grid.install(of=CORP)).status == 200
    for team in (grid, sister, second):
        await team.connect()
    for team in (grid, sister):
        assert "Recorded" in (await team.records("hello")).text
    assert await second.type("143 no token here") is None
    assert "Recorded" in (await second.told("Recorded")).text
    assert second.answers() == []
    assert second.calls() == ["response_url"], "no other installation's token is tried there"


async def test_a_workspaces_own_installation_wins_and_its_end_falls_back(bot: Bot) -> None:
    grid, sister = Team(bot, GRID), Team(bot, SISTER)
    await grid.install(of=CORP)
    organisations = grid.token
    await grid.joins()
    assert grid.token != organisations
    assert access(grid) == Granted(grid.token)
    assert access(sister) == Granted(organisations)

    await bot.slack.uninstall(GRID)
    await until(lambda: access(grid) == Granted(organisations))
    assert "Recorded" in (await grid.records("by the organisation's")).text

    await bot.slack.uninstall(CORP)
    await until(lambda: isinstance(access(grid), Ended))
    await until(lambda: isinstance(access(sister), Ended))


async def test_a_workspaces_own_installation_outlives_its_organisations(bot: Bot) -> None:
    grid, sister = Team(bot, GRID), Team(bot, SISTER)
    await grid.joins()
    await sister.install(of=CORP)
    await bot.slack.uninstall(CORP)
    await until(lambda: isinstance(access(sister), Ended))
    assert "Recorded" in (await grid.records("still here")).text


async def test_a_workspace_that_joins_an_organisation_installs_again(bot: Bot) -> None:
    home = Team(bot, HOME)
    await home.joins()
    home.workspace.enterprise_id = CORP
    assert (await home.install()).status == 200
    assert (await stored(bot, HOME))["enterprise_id"] == CORP
    assert "Recorded" in (await home.records("as part of it")).text


# -- events that end an installation


async def test_after_its_end_nothing_is_posted_and_what_was_accepted_is_recorded(
    capfd: pytest.CaptureFixture[str], home: Team, slack: SlackStandIn
) -> None:
    bot = home.bot
    bot.leadsquared.latency = 0.3
    assert await home.type("143 in flight") is None
    await slack.uninstall(HOME)
    assert isinstance(access(home), Ended)
    row = await stored(bot, HOME)
    assert (row["bot_token"], row["refresh_token"]) == (None, None)
    said = len(home.posted())
    calls = len(home.calls())
    await until(lambda: bot.leadsquared.on("143"))
    answer = await home.type("144 typed after it was removed")
    assert answer is not None
    assert "removed" in answer.text
    async with asyncio.timeout(10):
        while await most_attempts(bot) < 2:  # the teller has tried to tell, twice
            await asyncio.sleep(0.02)
    assert len(home.posted()) == said + 1, "only what Slack itself shows of the command's answer"
    assert len(home.calls()) == calls
    assert bot.leadsquared.on("144") == []
    assert "installation_ended" in capfd.readouterr().err

    assert (await home.install()).status == 200
    assert "Recorded on ticket 143" in (await home.told("Recorded on ticket 143")).text
    assert [one.text for one in bot.leadsquared.on("143")] == ["in flight"]
    assert "Recorded" in (await home.records("as before", "144")).text
    await bot.at_rest()


PLACE = {"team_id": HOME}
BOTS = {"oauth": [], "bot": ["U0BOT"]}

EVENTS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "uninstalled": ("app_uninstalled", {}, True),
    "bot's token revoked": ("tokens_revoked", {"tokens": BOTS}, True),
    "bot's token revoked, among others": (
        "tokens_revoked",
        {"tokens": {"oauth": ["U0ANNA"], "bot": ["U0OTHER", "U0BOT"]}},
        True,
    ),
    "people's tokens revoked": ("tokens_revoked", {"tokens": {"oauth": ["U0ANNA"]}}, False),
    "people's tokens revoked, no bot's": (
        "tokens_revoked",
        {"tokens": {"oauth": ["U0BOT"], "bot": []}},
        False,
    ),
    "another bot's token revoked": ("tokens_revoked", {"tokens": {"bot": ["U0OTHER"]}}, False),
    "no token named": ("tokens_revoked", {}, False),
    "uninstalled elsewhere": ("app_uninstalled", {"team_id": SECOND}, False),
    "uninstalled in an organisation": (
        "app_uninstalled",
        {"team_id": None, "enterprise_id": CORP},
        False,
    ),
    "uninstalled before this installation": ("app_uninstalled", {"ago": 5}, False),
    "revoked before this installation": ("tokens_revoked", {"tokens": BOTS, "ago": 5}, False),
}


@pytest.mark.parametrize("name", EVENTS)
async def test_an_event_ends_the_installation_that_it_is_about(
    home: Team, slack: SlackStandIn, name: str
) -> None:
    kind, fields, ends = EVENTS[name]
    more = dict(fields)
    ago = more.pop("ago", None)
    when = {} if ago is None else {"event_time": time.time() - ago}
    assert await slack.event(kind, **{**PLACE, **more, **when}) == {}
    assert isinstance(access(home), Ended) == ends
    assert ((await stored(home.bot, HOME))["bot_token"] is None) == ends


async def test_events_that_are_repeated_or_come_late_end_nothing_new(
    home: Team, slack: SlackStandIn
) -> None:
    before = time.time() - 2
    event: dict[str, Any] = {"team_id": HOME, "event_id": "Ev1", "event_time": time.time() + 1}
    for _ in range(3):
        assert await slack.event("app_uninstalled", **event) == {}
    ended_at = (await stored(home.bot, HOME))["ended_at"]
    assert await slack.event("tokens_revoked", team_id=HOME, tokens=BOTS) == {}
    assert (await stored(home.bot, HOME))["ended_at"] == ended_at

    slack.oauth.grants.clear()
    assert (await home.install()).status == 200
    for kind in ("app_uninstalled", "tokens_revoked"):
        late = await slack.event(kind, team_id=HOME, event_time=before, tokens=BOTS)
        assert late == {}
    assert "Recorded" in (await home.records("after a late event")).text


async def test_an_event_for_a_workspace_that_never_installed_is_taken(
    bot: Bot, slack: SlackStandIn
) -> None:
    assert await slack.event("app_uninstalled", team_id="T0NEVER") == {}
    assert await slack.event("tokens_revoked", team_id="T0NEVER", tokens=BOTS) == {}


# -- a token that Slack refuses


@pytest.mark.parametrize("word", ["account_inactive", "token_revoked", "invalid_auth"])
async def test_a_token_refused_while_telling_ends_the_installation(
    home: Team, slack: SlackStandIn, word: str
) -> None:
    grant = slack.oauth.installed(HOME)
    assert grant is not None
    if word == "invalid_auth":
        slack.oauth.grants.clear()
    else:
        grant.ended = word
    assert await home.type("143 told later") is None
    await until(lambda: isinstance(access(home), Ended))
    await until(lambda: home.bot.leadsquared.on("143"))
    async with asyncio.timeout(10):
        while (await stored(home.bot, HOME))["bot_token"] is not None:
            await asyncio.sleep(0.02)
    assert (await stored(home.bot, HOME))["ended_because"] == word

    assert (await home.install()).status == 200
    await home.told("Recorded on ticket 143")
    await home.bot.at_rest()
    assert home.answers(), "in its thread"
    assert len(home.bot.leadsquared.on("143")) == 1


async def test_a_passing_refusal_ends_nothing(home: Team, slack: SlackStandIn) -> None:
    slack.faults["chat.postMessage"] += [Fault("ratelimited", 429, 1), Fault("internal_error")]
    assert "Recorded" in (await home.records("in the end")).text
    assert isinstance(access(home), Granted)


async def test_a_refused_old_token_does_not_end_a_newer_installation(
    home: Team, slack: SlackStandIn
) -> None:
    old = home.token
    await slack.uninstall(HOME)
    assert (await home.install()).status == 200
    assert home.token != old
    home.bot.parts.installations.refuse(old, "token_revoked")
    assert "Recorded" in (await home.records("with the new one")).text


# -- token rotation


async def test_a_token_is_refreshed_before_its_end_by_one_of_two_processes(
    environment: dict[str, str], slack: SlackStandIn, leadsquared: LeadSquaredStandIn
) -> None:
    slack.oauth.rotates = True
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running(environment, slack, leadsquared))
        other = await stack.enter_async_context(running(environment, slack, leadsquared))
        home = Team(other, HOME)
        await home.joins()
        first = home.token
        assert (await stored(one, HOME))["expires_at"] > time.time() + 43_000
        await change(one, HOME, expires_at=sa.func.bot_now() + 3600)
        for bot in (one, other):
            assert bot.parts.many is not None
            bot.parts.many.known.expired.set()  # a minute passes
        await until(lambda: home.token != first)
        await until(lambda: Team(one, HOME).token == home.token)
        for bot in (one, other):
            await until(lambda bot=bot: access(Team(bot, HOME)) == Granted(home.token))
        grant = slack.oauth.installed(HOME)
        assert grant is not None
        assert len(grant.tokens) == 2, "one refresh"
        assert "Recorded" in (await home.records("with the second")).text


async def test_an_expired_token_is_refreshed_and_the_answer_is_told(
    start: Start, environment: dict[str, str], slack: SlackStandIn
) -> None:
    slack.oauth.rotates = True
    async with start(environment) as bot:
        home = Team(bot, HOME)
        await home.joins()
        slack.oauth.expire()
        await change(bot, HOME, expires_at=sa.func.bot_now() - 1)
        assert await home.type("143 told with the next token") is None
        await home.told("Recorded on ticket 143")
        await bot.at_rest()
        assert home.answers(), "in its thread"


async def test_a_refresh_token_that_is_used_up_ends_the_installation_once_it_has_expired(
    start: Start, environment: dict[str, str], slack: SlackStandIn, capfd: Any
) -> None:
    slack.oauth.rotates = True
    async with start(environment) as bot:
        home = Team(bot, HOME)
        await home.joins()
        slack.oauth.expire()
        slack.oauth.grants[0].refresh_token = "xoxe-1-used-up-by-a-restored-backup"
        await change(bot, HOME, expires_at=sa.func.bot_now() - 1)
        assert await home.type("143 told after a new installation") is None
        await until(lambda: isinstance(access(home), Ended))
        assert (await home.install()).status == 200
        await home.told("Recorded on ticket 143")
        await bot.at_rest()
    said = capfd.readouterr().err
    assert "token_not_refreshed" in said
    assert "xoxe" not in said


@pytest.mark.parametrize(
    "fault", [Fault("internal_error"), Fault(status=503), Fault("ratelimited", 429, 1)]
)
async def test_a_refresh_that_fails_for_now_ends_nothing(
    start: Start, environment: dict[str, str], slack: SlackStandIn, fault: Fault
) -> None:
    slack.oauth.rotates = True
    async with start(environment) as bot:
        home = Team(bot, HOME)
        await home.joins()
        first = home.token
        slack.faults["oauth.v2.access"].append(fault)
        await change(bot, HOME, expires_at=sa.func.bot_now() - 1)
        assert bot.parts.many is not None
        bot.parts.many.known.expired.set()
        await until(lambda: not slack.faults["oauth.v2.access"])
        assert "Recorded" in (await home.records("with the first")).text
        await change(bot, HOME, refresh_lease_until=None)  # two minutes pass
        bot.parts.many.known.expired.set()
        await until(lambda: home.token != first)
        await until(lambda: access(home) == Granted(home.token))


async def test_a_token_that_slack_calls_expired_before_its_time_is_refreshed_at_once(
    start: Start, environment: dict[str, str], slack: SlackStandIn
) -> None:
    slack.oauth.rotates = True
    async with start(environment) as bot:
        home = Team(bot, HOME)
        await home.joins()
        slack.oauth.expire()  # by what is stored, it is good for 12 hours
        assert await home.type("143 told with the next token") is None
        await home.told("Recorded on ticket 143")
        await bot.at_rest()
        assert home.answers(), "in its thread"


async def test_an_old_tokens_late_refusal_changes_nothing_after_a_refresh(
    start: Start, environment: dict[str, str], slack: SlackStandIn
) -> None:
    slack.oauth.rotates = True
    async with start(environment) as bot:
        home = Team(bot, HOME)
        await home.joins()
        old = home.token
        slack.oauth.expire()
        await change(bot, HOME, expires_at=sa.func.bot_now() - 1)
        assert "Recorded" in (await home.records("with the next token")).text
        for word in ("token_expired", "token_revoked"):  # two calls that were slow
            bot.parts.installations.refuse(old, word)
            assert access(home) == Granted(home.token)


async def test_a_refused_refresh_does_not_end_a_newer_installation(
    start: Start, environment: dict[str, str], slack: SlackStandIn
) -> None:
    slack.oauth.rotates = True
    async with start(environment) as bot:
        assert bot.parts.many is not None
        home = Team(bot, HOME)
        await home.joins()
        used_up = slack.oauth.grants[0]
        used_up.refresh_token = "xoxe-1-used-up"
        slack.faults["oauth.v2.access"].append(Fault("invalid_refresh_token", delay=1))
        await change(bot, HOME, expires_at=sa.func.bot_now() - 1)
        bot.parts.many.known.expired.set()
        await until(lambda: not slack.faults["oauth.v2.access"])  # the refresh is under way
        assert (await home.install()).status == 200
        for _ in range(2):  # the next look for such tokens begins after the refusal
            bot.parts.many.known.expired.set()
            await until(lambda: bot.parts.many and not bot.parts.many.known.expired.is_set())
        assert (await stored(bot, HOME))["bot_token"] is not None
        assert "Recorded" in (await home.records("with the newer installation")).text


async def test_a_refresh_is_kept_although_the_secret_is_changed_meanwhile(
    start: Start, environment: dict[str, str], slack: SlackStandIn
) -> None:
    slack.oauth.rotates = True
    async with start(environment) as bot:
        assert bot.parts.many is not None
        home = Team(bot, HOME)
        await home.joins()
        first = home.token
        slack.faults["oauth.v2.access"].append(Fault("", delay=1))
        await change(bot, HOME, expires_at=sa.func.bot_now() - 1)
        bot.parts.many.known.expired.set()
        await until(lambda: not slack.faults["oauth.v2.access"])  # the refresh is under way
        old = (await stored(bot, HOME))["refresh_token"]
        keyring = Keyring([ENCRYPTION_KEY])
        await change(bot, HOME, refresh_token=keyring.encrypt(keyring.decrypt(old)))
        await until(lambda: home.token != first)
        await until(lambda: access(home) == Granted(home.token))


# -- a token that cannot be decrypted


async def test_a_token_that_cannot_be_decrypted_is_said_and_told_after_the_secret_is_back(
    start: Start, environment: dict[str, str], slack: SlackStandIn, capfd: Any
) -> None:
    async with start(environment) as bot:
        home = Team(bot, HOME)
        await home.joins()
        await change(bot, HOME, bot_token=Keyring([ANOTHER]).encrypt(home.token))
        await until(lambda: isinstance(access(home), TokenUnreadable))
        assert await home.type("143 told later") is None
        await until(lambda: bot.leadsquared.on("143"))
        message = await slack.say("about #143", channel=home.channel, person=home.person)
        await slack.shortcut(message, person=home.person)
        assert "ENCRYPTION_KEYS" in (await home.told("ENCRYPTION_KEYS")).text
        assert home.answers() == []
    assert "bot_token_cannot_be_decrypted" in capfd.readouterr().err

    both = environment | {"ENCRYPTION_KEYS": f"{ENCRYPTION_KEY},{ANOTHER}"}
    async with start(both) as bot:
        later = {"tell_at": sa.func.bot_now()}  # the next try is due
        await bot.parts.database.run(
            lambda connection: connection.execute(
                deliveries.update().where(deliveries.c.tell_at.is_not(None)).values(**later)
            )
        )
        bot.parts.teller.wake()
        home = Team(bot, HOME)
        await home.told("Recorded on ticket 143")
        assert home.answers(), "in its thread"
        await bot.at_rest()
