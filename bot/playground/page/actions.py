"""What a person does on the page, carried out on the stand-ins.

Each action is a coroutine that takes what the page sent. What is not as it should be raises
`RefusedError`, in words for that person.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from bot.playground.browser import Browser
from bot.playground.leadsquared import Account
from bot.playground.open_modals import View, buttons_in, inputs
from bot.playground.page.stage import FAULTS, Stage
from bot.playground.page.view import SLACKBOT, key_of
from bot.playground.terminal import ACCOUNTS
from bot.playground.workspace import Posted, Workspace
from bot.slack.answers import COMMAND
from bot.slack.setup_modal import ACCESS_BLOCK, ORG_ID_BLOCK, OTHER_HOST_BLOCK, SECRET_BLOCK

Json = dict[str, Any]
Action = Callable[[Json], Awaitable[Json | None]]
MOST_AT_ONCE = 5_000
LONGEST = 12_000
"""Characters of a message, as in Slack."""


class RefusedError(Exception):
    """The page asked for what there is not."""


_T = TypeVar("_T")


def _the(found: Iterable[_T]) -> _T:
    """Return the first of what was found. Raise LookupError where that is nothing."""
    for one in found:
        return one
    raise LookupError


class Actions:
    """Carries out what people do. `named` has each action by its name."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._slack = stage.slack
        self._named: dict[str, Action] = {
            "say": self._say,
            "command": self._command,
            "shortcut": self._shortcut,
            "click": self._click,
            "act": self._act,
            "fill": self._fill,
            "fill_account": self._fill_account,
            "submit": self._submit,
            "close": self._close,
            "home": self._home,
            "dismiss": self._dismiss,
            "install": self._install,
            "uninstall": self._uninstall,
            "fault": self._fault,
            "slack": self._switch_slack,
            "bot": self._bot,
            "crowd": self._crowd,
        }

    async def do(self, asked: Json) -> Json:
        """Carry out one action; return what the page needs to know of it."""
        action = self._named.get(str(asked.get("do")))
        if action is None:
            raise RefusedError("The playground doesn't know this action.")
        try:
            return await action(asked) or {}
        except (LookupError, TypeError) as error:
            raise RefusedError("That is gone, or something is missing in what was sent.") from error

    # -- messages

    async def _say(self, asked: Json) -> None:
        workspace, text = self._place(asked), str(asked["text"])
        if not text.strip() or len(text) > LONGEST:
            raise RefusedError(f"A message has from 1 to {LONGEST:,} characters.")
        await self._slack.say(
            self._slack.encode(text, workspace),
            channel=asked["channel"],
            person=asked["person"],
            thread_ts=asked.get("thread_ts"),
        )

    async def _command(self, asked: Json) -> None:
        workspace, text = self._place(asked), str(asked["text"])
        word, _, rest = text.partition(" ")
        if "\n" in word:
            word, _, rest = text.partition("\n")
        if word != COMMAND:
            await self._whisper(asked, f"`{word}` is not a valid command.")
        elif self._slack.oauth.serving(workspace) is None:
            await self._whisper(
                asked, f"`{word}` is not a valid command: the app isn't installed here."
            )
        else:
            typed = self._slack.encode(rest, workspace)
            await self._slack.command(typed, channel=asked["channel"], person=asked["person"])

    async def _whisper(self, asked: Json, text: str) -> None:
        """Let Slackbot say something to one person."""
        message = await self._slack.say(
            text, channel=asked["channel"], user=SLACKBOT, thread_ts=asked.get("thread_ts")
        )
        message.ephemeral = asked["person"]

    async def _shortcut(self, asked: Json) -> None:
        message = self._message(asked)
        workspace = self._slack.with_channel(message.channel)
        if self._slack.oauth.serving(workspace) is None:
            raise RefusedError(f"Portal Activity isn't installed in {workspace.name}.")
        self._told(await self._slack.shortcut(message, person=self._person(asked)))

    async def _click(self, asked: Json) -> None:
        message = self._message(asked)
        labels = {one["action_id"]: label for label, one in message.buttons().items()}
        label = labels[asked["action_id"]]
        self._told(await self._slack.click(message, label, person=self._person(asked)))

    async def _dismiss(self, asked: Json) -> None:
        message = self._message(asked)
        if message.ephemeral is None:
            raise RefusedError("Only a message that only you see can be dismissed.")
        self._slack.with_channel(message.channel).messages.remove(message)

    async def _crowd(self, asked: Json) -> None:
        """Fill a channel, to see how the page does with many messages."""
        self._place(asked)
        for number in range(1, min(int(asked["number"]), MOST_AT_ONCE) + 1):
            await self._slack.say(
                f"Message {number:,} of many", channel=asked["channel"], person=asked["person"]
            )

    # -- views

    async def _act(self, asked: Json) -> None:
        """Press a button of a view."""
        view = self._view(asked)
        button = _the(
            one
            for one in buttons_in(view)
            if (one["action_id"], one["block_id"]) == (asked["action_id"], asked["block_id"])
        )
        self._told(await self._slack.act(view, button, self._person(asked)))

    async def _fill(self, asked: Json) -> None:
        """Leave something in an input; the bot hears of it where the block says so."""
        modal, block_id, value = self._view(asked), asked["block_id"], asked["value"]
        if value == self._slack.modals.value(modal, block_id):
            return
        if inputs(modal)[block_id].get("dispatch_action") and value is not None:
            await self._slack.choose(modal, block_id, value, person=self._person(asked))
        elif value is not None:
            self._slack.modals.fill(modal, block_id, value)

    async def _fill_account(self, asked: Json) -> None:
        """Type the playground's account into the open set-up form."""
        modal = self._view(asked)
        account: Account = ACCOUNTS[modal["team_id"]]
        url = self._stage.accounts[account.org_id].url
        for block_id, value in (
            (OTHER_HOST_BLOCK, url),
            (ORG_ID_BLOCK, account.org_id),
            (ACCESS_BLOCK, account.access_key),
            (SECRET_BLOCK, account.secret_key),
        ):
            self._slack.modals.fill(modal, block_id, value)

    async def _submit(self, asked: Json) -> Json:
        modal = self._view(asked)
        answer = await self._slack.submit(modal, asked["values"], person=self._person(asked))
        self._told(answer)
        return {"errors": answer.get("errors", {})}

    async def _close(self, asked: Json) -> None:
        self._slack.modals.close(self._view(asked)["id"])

    async def _home(self, asked: Json) -> None:
        self._told(await self._slack.open_home(self._person(asked), tab=asked.get("tab", "home")))

    # -- behind the scenes

    async def _install(self, asked: Json) -> Json:
        """Install the bot as Slack's page of consent does."""
        workspace = self._slack.named(asked["team"])
        name = workspace.enterprise_id if asked.get("everywhere") else workspace.name
        page = await Browser().install(self._stage.program.url, str(name))
        return {"says": page.title}

    async def _uninstall(self, asked: Json) -> Json:
        workspace = self._slack.named(asked["team"])
        grant = self._slack.oauth.serving(workspace)
        if grant is None:
            raise RefusedError(f"Portal Activity isn't installed in {workspace.name}.")
        await self._slack.uninstall(str(grant.team_id or grant.enterprise_id))
        return {"says": f"Portal Activity was removed from {workspace.name}"}

    async def _fault(self, asked: Json) -> None:
        if asked["fault"] not in FAULTS:
            raise RefusedError("The playground doesn't know this fault.")
        await self._stage.set_fault(asked["org_id"], asked["fault"])

    async def _switch_slack(self, asked: Json) -> None:
        self._slack.down = bool(asked["down"])

    async def _bot(self, asked: Json) -> None:
        program = self._stage.program
        match asked["how"]:
            case "start":
                await program.start()
            case "stop":
                await program.stop()
            case "kill":
                await program.kill()
            case "restart":
                await program.restart()
            case "http" | "socket" as transport:
                await program.restart(transport)
            case _:
                raise RefusedError("The playground doesn't know this.")

    # -- helpers

    def _place(self, asked: Json) -> Workspace:
        """Return the workspace that a channel is in."""
        self._person(asked)
        return _the(one for one in self._slack.workspaces if asked["channel"] in one.channels)

    def _person(self, asked: Json) -> str:
        person = str(asked["person"])
        if all(person not in one.people for one in self._slack.workspaces):
            raise RefusedError("There is no such person here.")
        return person

    def _message(self, asked: Json) -> Posted:
        return _the(
            message
            for workspace in self._slack.workspaces
            for message in workspace.messages
            if key_of(message) == asked["message"]
        )

    def _view(self, asked: Json) -> View:
        views = [*self._slack.modals.open, *self._slack.homes.values()]
        found: View = _the(view for view in views if view["id"] == asked["view_id"])
        return found

    def _told(self, answer: Json) -> None:
        """Say what Slack says when the bot did not answer."""
        if "failed" in answer:
            raise RefusedError(
                f"We had some trouble connecting to Portal Activity ({answer['failed']}). "
                "Try again?"
            )
