"""All that the page plays with: Slack, a LeadSquared for each tenant, and the bot."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.database.schema import migrate_database
from bot.database.writer import Database
from bot.keys import keyring
from bot.playground.browser import Browser
from bot.playground.leadsquared import Behaviour, LeadSquaredStandIn
from bot.playground.page.program import Program, settings
from bot.playground.scenes import TEAM, TEAMS, furnish
from bot.playground.slack import SlackStandIn
from bot.playground.terminal import ACCOUNTS, SHOWN, TICKETS, add_tenants, forget_variables
from bot.playground.traffic import Traffic
from bot.settings import load_settings
from bot.tenants.directory import Directory

FAULTS: dict[str, tuple[str, Behaviour | None]] = {
    "none": ("No fault", None),
    "refused_keys": ("401: keys refused", Behaviour.UNAUTHORIZED),
    "bad_request": ("400: bad request", Behaviour.BAD_REQUEST),
    "not_found": ("404: no such ticket", Behaviour.NOT_FOUND),
    "rate_limited": ("429: rate limit", Behaviour.RATE_LIMITED),
    "exception": ("500: with an exception", Behaviour.FAILED),
    "hang": ("Hangs", Behaviour.HANG),
    "drop": ("Drops the connection", Behaviour.DROP),
    "html": ("Answers with HTML", Behaviour.HTML),
    "down": ("Down: refuses connections", None),
}
"""By name: its words, and how each ticket answers with it. Down: it does not listen."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What is on it.

    `accounts` are the LeadSquareds by org ID: each has an address of its own, so that one can be
    down while the others answer. `faults` names how each of them fails.
    """

    slack: SlackStandIn
    accounts: dict[str, LeadSquaredStandIn]
    program: Program
    traffic: Traffic
    faults: dict[str, str]

    async def set_fault(self, org_id: str, name: str) -> None:
        """Let an account's LeadSquared fail in one way, until it is told another."""
        leadsquared = self.accounts[org_id]
        _, leadsquared.fault = FAULTS[name]
        self.faults[org_id] = name
        if name == "down":
            await leadsquared.stop()
        else:
            await leadsquared.start()


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    """Set it up without the bot, and throw everything away in the end."""
    forget_variables()
    traffic = Traffic()
    tickets = {number: behaviour for number, (behaviour, _) in TICKETS.items()}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portal-activity-")))
        slack = SlackStandIn(*(team.workspace() for team in TEAMS))
        slack.traffic = traffic
        await stack.enter_async_context(slack)
        accounts = {}
        for account in ACCOUNTS.values():
            leadsquared = LeadSquaredStandIn([account], tickets)
            leadsquared.traffic = traffic
            leadsquared.shown |= SHOWN
            accounts[account.org_id] = await stack.enter_async_context(leadsquared)
        await furnish(slack)
        await _connect_first_workspace(slack, folder, accounts)
        program = Program(slack, folder, lambda: traffic.on_change())  # noqa: PLW0108 - set later
        stack.push_async_callback(program.stop)
        yield Stage(slack, accounts, program, traffic, dict.fromkeys(accounts, "none"))


async def begin(stage: Stage) -> None:
    """Start the bot, and install it in the first workspace."""
    await stage.program.start()
    if stage.program.state == "ready":
        await Browser().install(stage.program.url, TEAMS[0].name)


@dataclass(frozen=True, slots=True)
class _Reached:
    directory: Directory


async def _connect_first_workspace(
    slack: SlackStandIn, folder: Path, accounts: dict[str, LeadSquaredStandIn]
) -> None:
    """Do what `python -m bot tenants add` and `map` do. The second one is set up in App Home."""
    variables = {name.lower(): value for name, value in settings(slack, folder).items()}
    read = load_settings(env_file=None, **variables)
    migrate_database(read.sqlalchemy_url)
    database = Database(read.sqlalchemy_url)
    try:
        reached = _Reached(Directory(database, keyring(read)))
        await add_tenants(reached, accounts[ACCOUNTS[TEAM].org_id])
    finally:
        await database.close()
