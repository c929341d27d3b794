"""The playground: a bot between two stand-ins, and a prompt to type at as in Slack."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from bot.app import Parts, build
from bot.database.schema import migrate_database
from bot.leadsquared.tenant import Attribution, Tenant
from bot.logs import configure_logging
from bot.playground import screen
from bot.playground.browser import INSTALL, Browser
from bot.playground.interview import SHOWN_WITHIN, Ask, Interview
from bot.playground.leadsquared import Account, Behaviour, LeadSquaredStandIn, Shown
from bot.playground.open_modals import View, buttons_in, inputs
from bot.playground.scenes import GLOBEX, NOTES, TEAM, TEAMS, Team, furnish
from bot.playground.slack import APP_TOKEN, CLIENT_ID, CLIENT_SECRET, SlackStandIn
from bot.playground.workspace import Channel, Person, Posted, Workspace
from bot.process import Process
from bot.settings import Settings, load_settings
from bot.slack.setup_modal import ACCESS_BLOCK, ORG_ID_BLOCK, OTHER_HOST_BLOCK, SECRET_BLOCK
from bot.tenants.directory import Directory, Scope
from bot.tenants.rules import Answers

ACCOUNT = Account("22824", "playground-access-key", "playground-secret-key")
GLOBEX_ACCOUNT = Account("33935", "globex-access-key", "globex-secret-key")
ACCOUNTS = {TEAM: ACCOUNT, GLOBEX: GLOBEX_ACCOUNT}
"""By workspace."""
TICKETS = {
    "143": (Behaviour.FINE, "is fine; so are 144 and 145"),
    "144": (Behaviour.FINE, ""),
    "145": (Behaviour.FINE, ""),
    "1": (Behaviour.FINE, ""),
    "146": (Behaviour.FINE, "is closed, in what :titles on shows"),
    "200": (Behaviour.REFUSED, "LeadSquared answers 200 with Status: Error"),
    "202": (Behaviour.WITHOUT_ID, "Success without an activity ID: it may or may not be recorded"),
    "307": (Behaviour.REDIRECT, "a redirect, which the bot does not follow"),
    "400": (Behaviour.BAD_REQUEST, "LeadSquared does not accept the body"),
    "401": (Behaviour.UNAUTHORIZED, "the keys are rejected"),
    "403": (Behaviour.FORBIDDEN, "access is denied (the API switch, the IP allowlist)"),
    "404": (Behaviour.NOT_FOUND, "there is no such ticket; every other number answers the same"),
    "422": (Behaviour.GARBLED, "rejected, with invalid characters in the reason"),
    "429": (
        Behaviour.BUSY_AT_FIRST,
        "over the rate limit at first, recorded automatically after some seconds",
    ),
    "500": (Behaviour.FAILED, "LeadSquared can't record it, and says why"),
    "502": (Behaviour.SERVER_ERROR, "a server's error page: it may or may not be recorded"),
    "503": (
        Behaviour.DROP,
        "the connection breaks before the answer: it may or may not be recorded",
    ),
    "504": (
        Behaviour.HANG,
        "no answer, but it is recorded; some seconds later the bot finds it",
    ),
}
INITECH = "initech"
"""The first workspace's tenant."""

SHOWN = {
    "143": Shown("Signed form for the new account"),
    "144": Shown("Invoice 7 has the wrong address"),
    "145": Shown("Can't log in", "In Progress"),
    "146": Shown("Refund for order 7", "Closed"),
}
"""What tickets show of themselves."""

HELP = """\
Type what you would type in Slack:
  /portal-activity 143 Customer uploaded the signed form
  /portal-activity            alone, or with only the ticket, opens the form
  /portal-activity help       also recent, status
  /portal-activity setup      connects LeadSquared; see :account
Besides:
  :messages                 list the messages of this channel; \
there are some in customers, shared, private, direct and archive
  :shortcut 3               use "Record in LeadSquared" on message 3; \
type each field, Enter keeps its value,
                            :cancel closes the form
  :press 1                  press button 1 of those shown; \
:press 1 as Ben presses it as your colleague
  :fill Ticket 143          change a field of the open form (Ticket, Text), then  :submit
  :account                  fill in the open set-up form, then  :submit
                            ({account});
                            :account wrong  has a wrong secret key
  :home                     open App Home; :press works in it, too
  :as guest                 act as another person: Ben, guest, customer; back with  :as You
  :channel private          go to another channel: {channels}
  :team Globex              go to another workspace: {teams}
  :install                  install the bot there, as Slack's page of consent does;
                            :install everywhere  in its whole organisation; :uninstall
                            (or in a browser: {install})
  :ticket 143               show a ticket's activities
  :leadsquared off          LeadSquared cannot be reached, until  :leadsquared on
  :slack off                Slack rejects the bot's messages, until  :slack on
  :titles on                show which ticket it is before recording, until  :titles off
  :attribution name         name you on the ticket; also  name-and-link  and  none
  :wait                     wait until every activity is settled and answered
  :help   :quit
Tickets to play with:
{tickets}
"""


@dataclass
class Playground:
    """The bot, the stand-ins, and where the person is."""

    parts: Parts
    slack: SlackStandIn
    leadsquared: LeadSquaredStandIn
    show: screen.Screen
    form: Interview
    bot: str  # the address of its own pages
    team: Team = TEAMS[0]
    channel: Channel = TEAMS[0].channels[0]
    person: Person = TEAMS[0].you  # as whom one acts
    away: bool = False  # something was switched off: what waits for it is not waited for

    async def do(self, line: str) -> bool:
        """Carry out a line; False when it asks to leave."""
        word, _, rest = line.strip().partition(" ")
        if word in (":quit", ":exit", ":q"):
            return False
        actions: dict[str, Callable[[str], object]] = {
            ":messages": self._messages,
            ":shortcut": self._shortcut,
            ":press": self._press,
            ":fill": self._fill,
            ":account": self._fill_in_account,
            ":home": self._home,
            ":submit": self._submit,
            ":cancel": lambda _words: self.form.close(),
            ":channel": self._go,
            ":as": self._be,
            ":team": self._change_team,
            ":install": self._install,
            ":uninstall": self._uninstall,
            ":ticket": self._ticket,
            ":leadsquared": self._switch_leadsquared,
            ":slack": self._switch_slack,
            ":titles": self._switch_titles,
            ":attribution": self._attribute,
            ":wait": self._wait,
            ":help": self._help,
        }
        if not word:
            return True
        if word.startswith("/"):
            await self._command(word, rest)
        elif word in actions:
            result = actions[word](rest.strip())
            if asyncio.iscoroutine(result):
                await result
        else:
            print(
                f"The playground doesn't know “{word}”. Type /portal-activity 143 hello, or :help"
            )
        return True

    async def settle(self) -> None:
        """Wait until every activity is settled and answered."""
        while await self.parts.outbox.unfinished():
            await asyncio.sleep(0.05)
        await self.parts.background.finish(2)
        with contextlib.suppress(TimeoutError):
            await self.slack.until(lambda: not _is_passing(self.form.modal), within=SHOWN_WITHIN)

    async def _command(self, word: str, text: str) -> None:
        if word != "/portal-activity":
            print(f"{word} is not a valid command here; the bot knows /portal-activity")
            return
        if self._is_missing():
            return
        typed = self.slack.encode(text.replace("\\n", "\n"), self._workspace)
        await self.slack.command(typed, channel=self.channel.id, person=self.person.id)

    @property
    def prompt(self) -> str:
        """What stands before what is typed: where the person is."""
        team = "" if self.team is TEAMS[0] else f"{self.team.name} "
        person = "" if self.person is self.team.you else f"{self.person.name} in "
        return f"{person}{team}#{self.channel.name}> "

    @property
    def _workspace(self) -> Workspace:
        return self.slack.named(self.team.id)

    def _is_missing(self) -> bool:
        """Say that Slack has no such command here, where the bot is not installed."""
        if self.slack.oauth.serving(self._workspace) is not None:
            return False
        print(f"Portal Activity is not installed in {self.team.name}. Install it: :install")
        return True

    async def _press(self, words: str) -> None:
        number, _, who = f" {words}".partition(" as ")
        person = self._named(who.strip() or self.person.name)
        if person is None:
            colleague = self.team.colleague.name
            print(
                f"There is no {who.strip()} here, only {self.team.you.name} and {colleague}: "
                f":press 1 as {colleague}"
            )
            return
        found = self.show.button(number.strip())
        if found is None:
            print(f"Which button? {self.show.buttons()}")
            return
        if isinstance(found.place, Posted):
            if found.label in found.place.buttons():
                await self.slack.click(found.place, found.label, person=person.id)
                return
        elif (view := self._standing(found)) is not None:
            opened = len(self.slack.modals.open)
            await self.slack.act(view, found.element, person.id)
            if view["type"] == "home":
                await self._show_home(view, opened)
            return
        print("That button is gone: someone has already decided.")

    def _standing(self, button: screen.Button) -> View | None:
        """Return the view in which a button stands now; None where it is gone."""
        views = [*self.slack.modals.open, *self.slack.homes.values()]
        return next((view for view in views if button.element in buttons_in(view)), None)

    async def _home(self, _words: str) -> None:
        """Open App Home, and print it."""
        if self._is_missing():
            return
        before = self.slack.homes.get(self.person.id)
        opened = len(self.slack.modals.open)
        await self.slack.open_home(self.person.id)
        await self._show_home(before, opened)

    async def _show_home(self, before: View | None, opened: int) -> None:
        """Print App Home once it is another one than before; a form may open instead."""

        def now() -> View | None:
            return self.slack.homes.get(self.person.id)

        with contextlib.suppress(TimeoutError):
            await self.slack.until(
                lambda: now() is not before or len(self.slack.modals.open) > opened,
                within=SHOWN_WITHIN,
            )
        if (view := now()) is not None and view is not before:
            self.show.home(view)

    def _messages(self, _words: str) -> None:
        self.show.messages(self.channel.id)

    async def _shortcut(self, number: str) -> None:
        message = self.show.message(self.channel.id, number)
        if message is None:
            print(
                "Which message? :messages lists those of this channel; "
                "its number stands in front of it."
            )
            return
        if self._is_missing():
            return
        before = len(self.slack.modals.open)
        await self.slack.shortcut(message, person=self.person.id)
        with contextlib.suppress(TimeoutError):
            await self.slack.until(
                lambda: len(self.slack.modals.open) > before and not _is_passing(self.form.modal)
            )
        self.show.asking = True
        self.show.catch_up()
        if (modal := self.form.modal) is not None and "submit" in modal:
            await self.form.go_through(modal)
        self.show.asking = False

    async def _fill(self, words: str) -> None:
        modal = self.form.modal
        for block_id, block in inputs(modal or {}).items():
            label = block["label"]["text"]
            if modal is not None and words.lower().startswith(f"{label.lower()} "):
                await self.form.leave(modal, block_id, words[len(label) + 1 :])
                self.show.form(self.form.modal or modal)
                return
        if modal is None:
            print(
                "There is no open form. Open one with /portal-activity alone, "
                "or with: Edit and send again"
            )
        else:
            print(
                "The form has: "
                f"{', '.join(block['label']['text'] for block in inputs(modal).values())}"
            )

    async def _fill_in_account(self, which: str) -> None:
        """Fill in the form that connects LeadSquared."""
        modal, account = self.form.modal, ACCOUNTS[self.team.id]
        if modal is None or ORG_ID_BLOCK not in inputs(modal):
            print("That form is not open. Open it: /portal-activity setup")
            return
        secret_key = "a-wrong-key" if which == "wrong" else account.secret_key
        for block_id, value in (
            (OTHER_HOST_BLOCK, self.leadsquared.url),
            (ORG_ID_BLOCK, account.org_id),
            (ACCESS_BLOCK, account.access_key),
            (SECRET_BLOCK, secret_key),
        ):
            self.slack.modals.fill(modal, block_id, value)
        self.show.form(modal)

    async def _submit(self, _words: str) -> None:
        modal = self.form.modal
        if modal is None or "submit" not in modal:
            print("There is no open form.")
            return
        answer = await self.slack.submit(modal, {}, person=self.person.id)
        self.show.form_errors(modal, answer.get("errors", {}))

    def _go(self, name: str) -> None:
        for channel in self.team.channels:
            if channel.name == name.lstrip("#"):
                self.channel = channel
                print(f"You are in #{channel.name}: {NOTES[channel.name]}.")
                return
        print(f"There are: {self._channels()}")

    def _be(self, name: str) -> None:
        """Act as another person: a colleague, a guest, a customer of another organisation."""
        person = self.team.named(name)
        if person is None:
            print(f"There are: {', '.join(one.name for one in self.team.people)}")
            return
        self.person = person
        self.form.person = self.show.reader = person.id
        kind = "a guest" if person.is_restricted else "a member"
        of = f"of {person.team_id}" if person.team_id != self.team.id else "here"
        print(f"You are {person.name}, {kind} {of}.")

    def _change_team(self, name: str) -> None:
        for team in TEAMS:
            if team.name.lower() == name.lower():
                self.team, self.channel, self.person = team, team.channels[0], team.you
                self.form.person = self.show.reader = team.you.id
                of = f", of the organisation {team.enterprise_id}" if team.enterprise_id else ""
                print(f"You are in {team.name}{of}. Its channels: {self._channels()}")
                return
        print(f"There are: {_teams()}")

    async def _install(self, words: str) -> None:
        """Install the bot in this workspace, or in the whole organisation, as a browser does."""
        if words and (words != "everywhere" or self.team.enterprise_id is None):
            print(f"Type :install; :install everywhere is for {_organised()}")
            return
        name = self.team.enterprise_id if words else self.team.name
        page = await Browser().install(self.bot, str(name))
        print(f"  {page.title}")

    async def _uninstall(self, _words: str) -> None:
        grant = self.slack.oauth.serving(self._workspace)
        if grant is None:
            print(f"Portal Activity is not installed in {self.team.name}.")
            return
        where = str(grant.team_id or grant.enterprise_id)
        await self.slack.uninstall(where)
        print(f"Portal Activity was removed from {where}.")

    def _ticket(self, number: str) -> None:
        if not number:
            print("Which ticket? Enter it: :ticket 143")
        elif (
            number not in self.leadsquared.tickets
            or self.leadsquared.tickets[number] is Behaviour.NOT_FOUND
        ):
            print(f"LeadSquared has no ticket {number}. :help lists the tickets.")
        else:
            self.show.ticket(number, self.leadsquared.on(number))

    async def _switch_leadsquared(self, position: str) -> None:
        if position not in ("on", "off"):
            print("Type :leadsquared off or :leadsquared on")
            return
        self.away = position == "off"
        if self.away:
            await self.leadsquared.stop()
        else:
            await self.leadsquared.start()
        print(
            f"LeadSquared is {'off: its connections are refused' if position == 'off' else 'on'}."
        )

    def _switch_slack(self, position: str) -> None:
        if position not in ("on", "off"):
            print("Type :slack off or :slack on")
            return
        self.slack.down = self.away = position == "off"
        state = "off: it answers each of the bot's calls with an error" if self.slack.down else "on"
        print(f"Slack is {state}.")

    async def _switch_titles(self, position: str) -> None:
        if position not in ("on", "off"):
            print("Type :titles on or :titles off")
            return
        await self._change_tenant(show_ticket=position == "on")
        print(f"Titles are {position}.")

    async def _attribute(self, how: str) -> None:
        if how not in list(Attribution):
            print("Type :attribution none, name or name-and-link")
            return
        await self._change_tenant(attribution=Attribution(how))
        print(f"The last line on the ticket is: {how}.")

    async def _change_tenant(self, **changes: Any) -> None:  # noqa: ANN401 - any field's
        tenant = await self.parts.directory.get(INITECH, keys=True)
        await self.parts.directory.replace(replace(tenant, **changes))

    async def _wait(self, _words: str) -> None:
        await self.settle()

    def _help(self, _words: str = "") -> None:
        tickets = "\n".join(f"  {number}  {says}" for number, (_, says) in TICKETS.items() if says)
        names = {
            "channels": self._channels(),
            "teams": _teams(),
            "install": self.bot + INSTALL,
            "account": self._account(),
        }
        print(HELP.format(tickets=tickets, **names))

    def _channels(self) -> str:
        return ", ".join(channel.name for channel in self.team.channels)

    def _account(self) -> str:
        own = ACCOUNTS[self.team.id]
        return f"{self.leadsquared.url}, {own.org_id}, {own.access_key}, {own.secret_key}"

    def _named(self, name: str) -> Person | None:
        return self.team.named(name)


def _teams() -> str:
    return ", ".join(
        f"{team.name} (in a Grid organisation)" if team.enterprise_id else team.name
        for team in TEAMS
    )


def _organised() -> str:
    return ", ".join(team.name for team in TEAMS if team.enterprise_id)


def _is_passing(modal: View | None) -> bool:
    """Say whether a form only says that something goes on."""
    return modal is not None and any(words in str(modal["blocks"]) for words in _PASSING)


_PASSING = ("Reading the message", "Asking Slack", "Checking the keys")


async def play() -> int:
    """Run the playground on standard input; return the exit status."""
    # A terminal that is closed, or a kill, ends it as Ctrl-C does: so that its folder goes, too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, os.kill, os.getpid(), signal.SIGINT)
    interactive = sys.stdin.isatty()
    typed = [] if interactive else await asyncio.to_thread(sys.stdin.read().splitlines)
    if not interactive and not typed:
        print("Nothing came from the pipe. For the page: python -m bot playground --page")
        return 0
    lines = iter(typed)
    async with _open(_read_line if interactive else _echoed(lines)) as playground:
        if interactive:
            print(
                "The playground: a bot, a Slack and a LeadSquared, all on this machine. "
                "Type :help for help."
            )
            playground._help()  # noqa: SLF001 - the same file
        seeing = asyncio.create_task(playground.show.follow())
        try:
            await (_converse(playground) if interactive else _run_through(playground, lines))
        finally:
            seeing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await seeing
    return 0


async def _converse(playground: Playground) -> None:
    with contextlib.suppress(ImportError):
        # It makes input() remember lines, where the platform has it.
        import readline  # noqa: F401, PLC0415
    while True:
        line = await _read_line(playground.prompt)
        if line is None or not await playground.do(line):
            return
        # What happens at once is shown before the next prompt; what takes longer appears when it
        # happens.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.7):
                await playground.settle()
        playground.show.catch_up()


async def _read_line(prompt: str) -> str | None:
    """Ask for a line, and return None at the end.

    A thread that ends with the program asks, so that Ctrl-C need not wait for Enter.
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[str | None] = loop.create_future()

    def ask() -> None:
        try:
            line: str | None = input(prompt)
        except EOFError:
            line = None
        with contextlib.suppress(RuntimeError):  # the program has ended
            loop.call_soon_threadsafe(_answer, answered, line)

    threading.Thread(target=ask, daemon=True).start()
    return await answered


def _answer(answered: asyncio.Future[str | None], line: str | None) -> None:
    if not answered.done():
        answered.set_result(line)


def _echoed(lines: Iterator[str]) -> Ask:
    """Answer from the lines that are left, and show what was asked and answered."""

    async def ask(prompt: str) -> str | None:
        answer = next(lines, None)
        print(f"{prompt}{answer or ''}")
        return answer

    return ask


async def _run_through(playground: Playground, lines: Iterator[str]) -> None:
    for line in lines:
        print(f"{playground.prompt}{line}")
        if not await playground.do(line):
            break
        if not playground.away:
            await playground.settle()
        playground.show.catch_up()
    playground.slack.down = False
    await playground.settle()
    playground.show.catch_up()
    playground.show.tickets(playground.leadsquared.ledger.activities)


@asynccontextmanager
async def _open(ask: Ask) -> AsyncIterator[Playground]:
    tickets = {number: behaviour for number, (behaviour, _) in TICKETS.items()}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portal-activity-")))
        slack = await stack.enter_async_context(SlackStandIn(*(team.workspace() for team in TEAMS)))
        leadsquared = await stack.enter_async_context(
            LeadSquaredStandIn([ACCOUNT, GLOBEX_ACCOUNT], tickets)
        )
        leadsquared.shown |= SHOWN
        settings = _settings(slack, folder)
        configure_logging("ERROR", "console")
        migrate_database(settings.sqlalchemy_url)
        parts = await stack.enter_async_context(build(settings))
        await add_tenants(parts, leadsquared)
        stop, started = asyncio.Event(), asyncio.Event()
        process = Process(parts, surface=True)
        running = asyncio.create_task(process.run(stop, started.set))
        try:
            await slack.sockets.connected.wait()
            while not all((await process.ready()).values()):
                await asyncio.sleep(0.01)
            bot = f"http://127.0.0.1:{process.port}"
            slack.oauth.redirect_url = f"{bot}/slack/oauth_redirect"
            await Browser().install(bot, TEAMS[0].name)
            await furnish(slack)
            show = screen.Screen(slack)
            show.reader = TEAMS[0].you.id
            form = Interview(slack, show, ask, TEAMS[0].you.id)
            yield Playground(parts, slack, leadsquared, show, form, bot)
        finally:
            stop.set()
            await running


def _settings(slack: SlackStandIn, folder: Path) -> Settings:
    """Return settings for the playground only.

    It reads nothing from the environment, and its times are short enough to wait for.
    """
    forget_variables()
    return load_settings(
        env_file=None,
        slack_client_id=CLIENT_ID,
        slack_client_secret=CLIENT_SECRET,
        slack_app_token=APP_TOKEN,
        slack_api_url=slack.api_url,
        leadsquared_allowed_hosts="127.0.0.1",
        leadsquared_connect_timeout=2,
        leadsquared_read_timeout=2,
        leadsquared_look_after_unknown=True,  # off elsewhere; here one may see what it does
        data_dir=folder,
        port=0,
        retry_for=13,
        shutdown_grace=3,
    )


def forget_variables() -> None:
    """Drop the developer's own settings from the environment."""
    for name in list(os.environ):
        if name.upper() in {field.upper() for field in Settings.model_fields}:
            del os.environ[name]


class HasDirectory(Protocol):
    @property
    def directory(self) -> Directory: ...


async def add_tenants(parts: HasDirectory, leadsquared: LeadSquaredStandIn) -> None:
    """Connect the first workspace; of one channel, to what cannot be reached."""
    keys = (ACCOUNT.access_key, ACCOUNT.secret_key)
    await parts.directory.add(Tenant(INITECH, leadsquared.url, ACCOUNT.org_id, *keys))
    await parts.directory.map(INITECH, Scope(team_id=TEAM))
    # In #customers another organisation reads along, and may; in #shared it may not.
    customers = Scope(team_id=TEAM, channel_id="C0CUSTOMERS")
    await parts.directory.map_from(None, INITECH, customers, Answers.THREAD)
    # Port 9 (discard) is closed on any machine of today.
    await parts.directory.add(Tenant("offline", "http://127.0.0.1:9", "1", "key", "secret"))
    await parts.directory.map("offline", Scope(team_id=TEAM, channel_id="C0OFFLINE"))
