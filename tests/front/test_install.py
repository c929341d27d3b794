"""Installation by OAuth, from the first page to the last, and each way in which it fails."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import sqlalchemy as sa

from bot.database.tables import oauth_states
from bot.installations.access import Ended
from bot.installations.store import FORGOTTEN_AT_ONCE
from bot.playground.browser import INSTALL, Browser, Page
from bot.playground.leadsquared import LeadSquaredStandIn
from bot.playground.slack import APP_TOKEN, CLIENT_ID, CLIENT_SECRET, Fault, SlackStandIn
from support.many import CORP, HOME, SECOND, Team, everything_stored, serving_many, workspaces
from support.programs import run
from support.running import Bot, Start, running
from support.sqlite import locked

CALLBACK = "/slack/oauth_redirect"


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandIn]:
    async with SlackStandIn(*workspaces()) as stand_in:
        yield stand_in


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    return serving_many(environment)


@pytest.fixture
def browser() -> Browser:
    return Browser()


def installed(bot: Bot) -> int | None:
    assert bot.parts.many is not None
    return bot.parts.many.known.number


async def test_a_workspace_installs_the_bot_and_records(
    start: Start, environment: dict[str, str], url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    async with start(environment | {"DATABASE_URL": url}) as bot:
        home = Team(bot, HOME)
        page = await home.install()
        assert (page.status, page.title) == (
            200,
            "Portal Activity is installed in the workspace Home",
        )
        assert page.link("Open in Slack") == f"slack://app?team={HOME}&id=A0PLAYGROUND&tab=home"
        assert page.link("in the browser").startswith("https://slack.com/app_redirect?")
        await home.connect()
        answer = await home.records("hello")
        assert "Recorded on ticket 143" in answer.text
        assert home.token.encode() not in await everything_stored(bot)
    said = "".join(capfd.readouterr())
    assert '"installed"' in said
    for secret in (home.token, CLIENT_SECRET):
        assert secret not in said + page.body + str(page.headers)


async def test_the_first_page_asks_slack_for_the_manifests_scopes_and_nothing_more(
    bot: Bot, browser: Browser
) -> None:
    first = await browser.get(f"{bot.url}{INSTALL}")
    assert first.status == 302
    asked = parse_qs(urlsplit(first.location).query)
    assert set(asked) == {"state", "client_id", "scope"}, "user_scope is empty, and left out here"
    assert asked["client_id"] == [CLIENT_ID]
    assert "users:read" in asked["scope"][0].split(",")
    cookie = first.headers["Set-Cookie"]
    assert asked["state"][0] in cookie
    for part in ("HttpOnly", "Secure", "Max-Age=600"):
        assert part in cookie


# -- what fails, says why, and leads to the next try


@pytest.mark.parametrize(
    "team", ["T1&user_scope=admin", "T1\r\nSet-Cookie: a=b", "t1", "<script>", "T" * 99]
)
async def test_a_stranger_adds_nothing_to_slacks_page(
    bot: Bot, browser: Browser, team: str
) -> None:
    page = await browser.get(f"{bot.url}{INSTALL}?team={quote(team)}")
    assert set(parse_qs(urlsplit(page.location).query)) == {"state", "client_id", "scope"}


async def begun(bot: Bot, browser: Browser) -> str:
    """Begin and allow; return the address that leads back to the bot."""
    back = await browser.allow(await browser.begin(bot.url), "Home")
    return back.location


def with_query(address: str, **changes: str | None) -> str:
    parts = urlsplit(address)
    fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
    kept = {name: value for name, value in (fields | changes).items() if value is not None}
    query = "&".join(f"{name}={quote(value)}" for name, value in kept.items())
    return f"{address.split('?', maxsplit=1)[0]}?{query}"


async def without_cookie(bot: Bot, browser: Browser) -> Page:
    return await Browser().get(await begun(bot, browser))


async def with_anothers_cookie(bot: Bot, browser: Browser) -> Page:
    other = Browser()
    await other.begin(bot.url)
    return await other.get(await begun(bot, browser))


async def with_an_invented_state(bot: Bot, browser: Browser) -> Page:
    address = with_query(await begun(bot, browser), state="invented")
    for cookies in browser.cookies.values():
        cookies["slack-app-oauth-state"] = "invented"
    return await browser.get(address)


async def without_a_state(bot: Bot, browser: Browser) -> Page:
    return await browser.get(with_query(await begun(bot, browser), state=None))


async def a_second_time(bot: Bot, browser: Browser) -> Page:
    address = await begun(bot, browser)
    kept = {host: dict(cookies) for host, cookies in browser.cookies.items()}
    bot.slack.faults["oauth.v2.access"].append(Fault("internal_error"))
    await browser.get(address)
    browser.cookies = kept
    return await browser.get(address)


async def after_ten_minutes(bot: Bot, browser: Browser) -> Page:
    address = await begun(bot, browser)
    older = oauth_states.update().values(expires_at=oauth_states.c.expires_at - 600)
    await bot.parts.database.run(lambda connection: connection.execute(older))
    return await browser.get(address)


async def without_a_code(bot: Bot, browser: Browser) -> Page:
    return await browser.get(with_query(await begun(bot, browser), code=None))


async def denied(bot: Bot, browser: Browser) -> Page:
    consent = await browser.begin(bot.url)
    return await browser.get((await browser.get(consent.link("Cancel"))).location)


async def with_a_used_code(bot: Bot, browser: Browser) -> Page:
    used = await begun(bot, browser)
    bot.slack.oauth.access(
        {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "code": parse_qs(urlsplit(used).query)["code"][0],
        },
        "",
    )
    return await browser.get(used)


async def with_an_old_code(bot: Bot, browser: Browser) -> Page:
    address = await begun(bot, browser)
    bot.slack.oauth.code_lasts = 0
    return await browser.get(address)


FAILURES: dict[Any, tuple[int, str, str]] = {
    without_cookie: (400, "started in another browser", "same browser"),
    with_anothers_cookie: (400, "started in another browser", "same browser"),
    with_an_invented_state: (401, "has expired, or is already finished", "10 minutes"),
    without_a_state: (400, "started in another browser", "same browser"),
    a_second_time: (401, "has expired, or is already finished", "10 minutes"),
    after_ten_minutes: (401, "has expired, or is already finished", "10 minutes"),
    without_a_code: (401, "Slack sent no code", "Start again"),
    denied: (200, "Nothing was installed", "ask one first"),
    with_a_used_code: (401, "code is no longer valid", "code_already_used"),
    with_an_old_code: (401, "code is no longer valid", "invalid_code"),
}


@pytest.mark.parametrize("way", FAILURES, ids=lambda way: way.__name__)
async def test_what_goes_wrong_is_said_with_what_to_do(
    capfd: pytest.CaptureFixture[str], bot: Bot, browser: Browser, way: Any
) -> None:
    status, title, what = FAILURES[way]
    page = await way(bot, browser)
    assert title in page.title
    assert what in page.body
    assert page.status == status
    assert page.link("Start the installation again") == f"{bot.url}{INSTALL}"
    assert installed(bot) == 0
    bot.slack.oauth.code_lasts = 600
    assert (await Team(bot, HOME).install(by=browser)).status == 200, "the next try goes through"
    code = re.search(r"code=(\w{32})", page.address)
    said = "".join(capfd.readouterr())
    assert '"installed"' in said
    assert code is None or code[1] not in said + page.body


@pytest.mark.parametrize(
    ("fault", "status", "title"),
    [
        (Fault("bad_client_secret"), 401, "client ID or secret is wrong"),
        (Fault("invalid_client_id"), 401, "client ID or secret is wrong"),
        (Fault("bad_redirect_uri"), 401, "not one of the app's redirect URLs"),
        (Fault("org_login_required"), 401, "Slack refused the installation"),
        (Fault("<script>alert(1)</script>"), 401, "Slack refused the installation"),
    ],
    ids=lambda one: getattr(one, "error", ""),
)
async def test_slacks_refusal_is_named(
    bot: Bot, browser: Browser, fault: Fault, status: int, title: str
) -> None:
    bot.slack.faults["oauth.v2.access"].append(fault)
    page = await Team(bot, HOME).install(by=browser)
    assert (page.status, title in page.title) == (status, True), page.title
    assert "<script" not in page.body
    assert (fault.error in page.body) == ("<" not in fault.error)
    assert installed(bot) == 0


@pytest.mark.parametrize("method", ["oauth.v2.access", "auth.test"])
@pytest.mark.parametrize("fault", [Fault("ratelimited", 429, 30), Fault(status=503)])
async def test_slack_that_does_not_answer_well_installs_nothing(
    bot: Bot, browser: Browser, method: str, fault: Fault
) -> None:
    bot.slack.faults[method].append(fault)
    page = await Team(bot, HOME).install(by=browser)
    assert page.status >= 400
    assert "nothing was installed" in page.body
    assert installed(bot) == 0
    assert (await Team(bot, HOME).install(by=browser)).status == 200


async def test_slack_away_is_said(bot: Bot, browser: Browser) -> None:
    address = await begun(bot, browser)
    await bot.slack.stop()
    page = await browser.get(address)
    assert (page.status, page.title) == (502, "Slack does not answer")
    assert "nothing was installed" in page.body


async def test_what_stands_in_an_address_is_shown_as_text(bot: Bot, browser: Browser) -> None:
    script = quote("<script>alert(1)</script>")
    for query in (f"error={script}", f"state={script}&code=1", f"error=%00&x={script}", "error="):
        page = await browser.get(f"{bot.url}{CALLBACK}?{query}")
        assert "<script" not in page.body
        assert "alert(1)" not in page.body
        assert page.title
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cache-Control"] == "no-store"


# -- the database


async def test_a_database_that_is_away_at_the_first_page_is_said(
    bot: Bot, browser: Browser, tmp_path: Path
) -> None:
    with locked(tmp_path / "bot.db"):
        page = await browser.begin(bot.url)
    assert (page.status, page.title) == (503, "The bot's database does not answer")
    assert "Nothing was installed" in page.body
    assert (await Team(bot, HOME).install(by=browser)).status == 200


async def test_a_database_that_is_away_at_the_last_page_is_said(
    bot: Bot, browser: Browser, tmp_path: Path
) -> None:
    address = await begun(bot, browser)
    with locked(tmp_path / "bot.db"):
        page = await browser.get(address)
    assert (page.status, page.title) == (503, "The bot's database does not answer")
    assert "Nothing was installed" in page.body
    assert installed(bot) == 0
    assert (await Team(bot, HOME).install(by=browser)).status == 200


async def test_a_database_that_goes_away_while_slack_is_asked_is_said(
    bot: Bot, browser: Browser, tmp_path: Path
) -> None:
    address = await begun(bot, browser)
    bot.slack.faults["auth.test"].append(Fault("", delay=0.3))
    coming = asyncio.create_task(browser.get(address))
    await _until(lambda: any(method == "auth.test" for method, _ in bot.slack.workspace.calls))
    with locked(tmp_path / "bot.db"):
        page = await coming
    assert (page.status, page.title) == (503, "The bot's database does not answer")
    assert installed(bot) == 0
    assert (await Team(bot, HOME).install(by=browser)).status == 200


async def test_an_event_that_the_database_cannot_take_is_asked_for_again(
    bot: Bot, tmp_path: Path
) -> None:
    home = Team(bot, HOME)
    await home.joins()
    with locked(tmp_path / "bot.db"):
        failed = await bot.slack.event("app_uninstalled", team_id=HOME)
    assert failed["failed"] in ("http_503", "operation_timeout")
    assert await bot.slack.event("app_uninstalled", team_id=HOME) == {}
    assert isinstance(bot.parts.installations.access(None, HOME), Ended)


async def test_a_state_is_good_at_each_process_on_the_database(
    environment: dict[str, str], url: str, slack: SlackStandIn, leadsquared: LeadSquaredStandIn
) -> None:
    environment = environment | {"DATABASE_URL": url}
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(running(environment, slack, leadsquared))
        other = await stack.enter_async_context(running(environment, slack, leadsquared))
        browser = Browser()
        consent = await browser.begin(one.url)
        back = await browser.allow(consent, "Home")
        assert back.location.startswith(other.url), "the load balancer sends it to the other one"
        assert (await browser.get(back.location)).status == 200
        again = await browser.get(back.location.replace(other.url, one.url))
        assert again.status >= 400
        await _until(lambda: installed(one) == installed(other) == 1)


async def test_states_that_are_past_their_time_are_forgotten(bot: Bot, browser: Browser) -> None:
    for _ in range(3):
        await Browser().begin(bot.url)
    older = oauth_states.update().values(expires_at=oauth_states.c.expires_at - 700)
    await bot.parts.database.run(lambda connection: connection.execute(older))
    await browser.begin(bot.url)
    count = sa.select(sa.func.count()).select_from(oauth_states)
    assert await bot.parts.database.run(lambda connection: connection.scalar(count)) == 1


async def test_a_stranger_who_began_many_installations_delays_no_later_one(
    bot: Bot, browser: Browser
) -> None:
    past = [{"digest": str(number).encode(), "expires_at": 1.0} for number in range(500)]
    await bot.parts.database.run(lambda connection: connection.execute(oauth_states.insert(), past))
    count = sa.select(sa.func.count()).select_from(oauth_states)
    left = []
    for _ in range(2):
        await browser.begin(bot.url)
        left.append(await bot.parts.database.run(lambda connection: connection.scalar(count)))
    assert left == [500 - FORGOTTEN_AT_ONCE + 1, 500 - 2 * FORGOTTEN_AT_ONCE + 2]


# -- where it is served


async def test_with_socket_mode_the_pages_are_served_when_port_is_set(
    start: Start, environment: dict[str, str]
) -> None:
    environment = environment | {"SLACK_APP_TOKEN": APP_TOKEN}
    async with start(environment) as bot:
        home = Team(bot, HOME)
        await home.joins()
        assert "Recorded" in (await home.records("over the websocket")).text
        await bot.slack.uninstall(HOME)
        await _until(lambda: installed(bot) == 0)


async def test_without_a_client_id_there_are_no_such_pages(
    start: Start, environment: dict[str, str], browser: Browser
) -> None:
    kept = {name: value for name, value in environment.items() if "CLIENT" not in name}
    async with start(kept | {"SLACK_BOT_TOKEN": "xoxb-playground"}) as bot:
        assert (await browser.get(f"{bot.url}{INSTALL}")).status == 404
        assert (await browser.get(f"{bot.url}{CALLBACK}?code=1")).status == 404


def test_a_bot_token_beside_a_client_id_is_refused_with_words(
    environment: dict[str, str], tmp_path: Path
) -> None:
    both = environment | {"SLACK_BOT_TOKEN": "xoxb-1"}
    ended = run("run", cwd=tmp_path, variables=both)
    assert ended.status == 2
    (line,) = [line for line in ended.problems if "SLACK_BOT_TOKEN" in line]
    assert "SLACK_CLIENT_ID" in line
    assert "remove one of them" in line


async def test_an_organisation_installs_the_bot(bot: Bot, browser: Browser) -> None:
    page = await browser.install(bot.url, CORP)
    assert (page.status, page.title) == (
        200,
        f"Portal Activity is installed in the organisation {CORP}",
    )
    assert f"team={CORP}" in page.link("Open in Slack")


async def test_installing_twice_keeps_one_installation(bot: Bot) -> None:
    second = Team(bot, SECOND)
    for _ in range(2):
        assert (await second.install()).status == 200
    assert bot.parts.many is not None
    await _until(lambda: installed(bot) == 1)
    await second.connect()
    assert "Recorded" in (await second.records("hello")).text


async def _until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)
