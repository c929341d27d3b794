"""`python -m bot playground` with its standard input from a pipe."""

import os
import pty
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from bot.playground.terminal import TICKETS
from support.programs import BOT, Ended, run, surroundings, until
from support.sharing import made_once

HELLO = ["/portal-activity 143 hello"]
# Every row of the table that is not recorded at once, by the ticket (or the switch) that leads to
# it.
ROWS = {
    "/portal-activity 143 fine": ["✅ Recorded on ticket 143, activity ID 1"],
    "/portal-activity 400 body": [
        "couldn't record this on ticket 400",
        "[1: Send again] [2: Edit and send again]",
    ],
    "/portal-activity 200 status": [
        'on ticket 200: "The ticket is closed"',
        ": Send again",
        ": Edit and send again",
    ],
    "/portal-activity 401 keys": ["rejected the access keys", "on ticket 401", ": Send again"],
    "/portal-activity 403 switch": [
        "denied access",
        "on ticket 403",
        "IP allowlist",
        ": Send again",
    ],
    "/portal-activity 404 typo": ["LeadSquared has no ticket 404", ": Edit and send again"],
    "/portal-activity 9999 typo": ["LeadSquared has no ticket 9999", ": Edit and send again"],
    "/portal-activity 500 inside": [
        "The activity could not be saved",
        ": Send again",
        ": Edit and send again",
    ],
    "/portal-activity 202 no id": [
        "may or may not be on ticket 202",
        ": Send again",
        ": It's there",
    ],
    "/portal-activity 307 moved": [
        "may or may not be on ticket 307",
        "redirect",
        ": Send again",
        ": It's there",
    ],
    "/portal-activity 502 page": [
        "may or may not be on ticket 502",
        ": Send again",
        ": It's there",
    ],
    "/portal-activity 503 broken": [
        "may or may not be on ticket 503",
        "connection",
        ": Send again",
        ": It's there",
    ],
    "/portal-activity 504 silent": [
        "didn't answer in time",
        "may or may not be on ticket 504",
        ": It's there",
    ],
    ":channel private": ["#private"],
    "/portal-activity 144 alone": ["#private", "only you see this", "Recorded on ticket 144"],
    ":channel archive": ["#archive"],
    "/portal-activity 145 alone": ["#archive", "only you see this", "Recorded on ticket 145"],
}
BUSY = {
    "/portal-activity 429 busy": [
        "Waiting for LeadSquared's rate limit",
        "automatically",
        "✅ Recorded on ticket 429",
    ],
}
AWAY = {
    "/portal-activity 504 silent": ["may or may not be on ticket 504"],
    ":channel offline": ["#offline"],
    "/portal-activity 143 away": [
        "LeadSquared can't be reached",
        "keeps trying to record this on ticket 143 until",
        "couldn't be reached, so nothing was recorded on ticket 143",
        "no connection to 127.0.0.1",
        ": Send again",
        "Found on ticket 504: a portal activity",  # in the meantime
    ],
}
PRESSES: dict[str, list[str]] = {
    "/portal-activity 502 first": ["[1: Send again] [2: It's there]"],
    ":press 1": ["@You sent it again: see the new answer", "[3: Send again] [4: It's there]"],
    ":press 4 as Ben": [
        "is on ticket 502, confirmed by @Ben",
        "@Ben confirmed that this is on ticket 502",
    ],
    "/portal-activity 400 wrong": ["[5: Send again] [6: Edit and send again]"],
    ":press 6": ["┌ Edit and send again", "Ticket: 400", "Text: wrong"],
    ":fill Ticket abc": ["Ticket: abc"],
    ":submit": ["Not a ticket"],
    ":fill Ticket 144": ["Ticket: 144"],
    ":fill Text right at last": ["Text: right at last"],
    ":submit ": ["✅ Recorded on ticket 144, activity ID 1", "@You sent it again"],
    ":ticket 144": ["Ticket 144 in LeadSquared: 1 portal activity", "Activity ID 1: right at last"],
    ":ticket 400": ["Ticket 400 in LeadSquared: no portal activities"],
    ":press 99": ["Which button? There are 1 to 6"],
    "/portal-activity help": ["only you see this", "records what a customer did"],
    "/portal-activity": ["┌ Record in LeadSquared", "Ticket:", "[Record]"],
    ":fill Ticket 145": ["Ticket: 145"],
    ":fill Text by the form": ["Text: by the form"],
    ":submit  ": ["✅ Recorded on ticket 145, activity ID 2"],
    "/portal-activity 145 by the form": [
        "only you see this",
        "You already recorded this text on ticket 145",
        "(activity ID 2)",
        ": Record again]",
    ],
    ":press  ": ["Recording this on ticket 145 again", "✅ Recorded on ticket 145, activity ID 3"],
}
SHORTCUTS: dict[str, list[str]] = {
    ":messages": ["There are no messages here yet"],
    ":shortcut 1": ["Which message?"],
    ":channel customers": ["shared with Acme"],
    ":messages ": [
        "1. Carla: Hello, about #143",
        "└ 3. Carla: Thanks @Ben and @support-team 🙏.",
        "1. the invoices (https://portal.example.com/invoices)",
        "4. Acme Forms: New request for ticket 144",
        "[file: contract.pdf]",
        "… and 54 more",
        "This message was deleted.",
    ],
    ":shortcut 3": [
        "Ticket: 143",
        "What to record: message",
        "? Ticket [143]: nonsense",
        "? What to record (message or thread) [message]: both Answer message or thread.",
        "? What to record (message or thread) [message]: thread",
        "Text: Carla, ",
        "? Add a link to the Slack message (yes or no) [yes]: maybe Answer yes or no.",
        "? Add a link to the Slack message (yes or no) [yes]: no",
        "Ticket: Not a ticket",
        "? Ticket [nonsense]: 143",
        "? Add a link to the Slack message (yes or no) [no]: ",
        "thread · Portal Activity: ✅ Recorded on ticket 143 by @You, activity ID 1",
        "The form will suggest ticket 143 for this thread",
    ],
    ":shortcut 2": [
        "Ticket: 143",
        "? Ticket [143]: :quit Type an answer",
        "Closed; nothing was recorded.",
    ],
    ":shortcut 3 ": [
        "You already recorded this message on ticket 143",
        "[Record again]",
        "? Ticket [143]: 144",
        "? Record again? (yes or no) [no]: yes",
        "Recorded on ticket 144 by @You, activity ID 2",
    ],
    ":shortcut 3  ": [
        "? Ticket [144]: 143",
        "(activity ID 1)",
        "? Record again? (yes or no) [no]: no",
        "Closed",
    ],
    ":shortcut 5": [
        "Text: Here is the signed contract.",
        "[file: contract.pdf]",
        "? Ticket []: 145",
        "Recorded on ticket 145",
    ],
    ":shortcut 7": ["? Ticket [145]: ", "Recorded on ticket 145"],
    ":shortcut 9": [
        "Text, part 1 of 2:",
        "it continues in the fields below",
        "Recorded on ticket 143",
    ],
    ":shortcut 10": [
        "What to record (message or thread) [message]: thread",
        "later messages",
        "Recorded on ticket 145",
    ],
    ":shortcut 18": [
        "Time number 8",
        "You already recorded this message on ticket",
        "Closed",
    ],  # it was in that thread
    ":shortcut 72": [
        "Text: Then please look at #145.",
        "thread · Portal Activity: ✅ Recorded on ticket 145",
    ],
    ":channel private": ["#private"],
    ":messages  ": ["1. Carla: Is there any news of ticket 144?"],
    ":shortcut 2 ": [
        "Only this message can be recorded, not its whole thread",
        "Slack didn't give one",
        "(only you see this): ✅ Recorded on ticket 144",
    ],
    "/portal-activity": ["[Record] change a field with :fill"],
    ":fill Nothing x": ["The form has: Ticket, Text"],
    ":cancel": ["Closed; nothing was recorded."],
    ":shortcut 1 ": [
        "? Ticket [144]: ",
        "Closed; nothing was recorded.",
    ],  # the bot is gone
}
ANSWERS: dict[str, list[str]] = {
    ":shortcut 3": ["nonsense", "both", "thread", "", "maybe", "no", "143", "", "", ""],
    ":shortcut 2": [":quit", ":cancel"],
    ":shortcut 3 ": ["144", "", "", "", "yes"],
    ":shortcut 3  ": ["143", "", "", "", "yes", "no"],
    ":shortcut 5": ["145", "", ""],
    ":shortcut 7": ["", "", ""],
    ":shortcut 9": ["", "", "", ""],
    ":shortcut 10": ["", "thread", "", ""],
    ":shortcut 18": [":cancel"],
    ":shortcut 72": ["", "", "", ""],
    ":shortcut 2 ": ["144", ""],
}
WORKSPACES: dict[str, list[str]] = {
    "/portal-activity 502 of the first": ["[1: Send again] [2: It's there]"],
    ":team Nowhere": ["There are: Initech, Globex (in a Grid organisation)"],
    ":install everywhere": [":install everywhere is for Globex"],
    ":team globex": ["You are in Globex, of the organisation E1GLOBEX", "desk, billing"],
    "/portal-activity 143 too early": ["not installed in Globex. Install it: :install"],
    ":install": ["Portal Activity is installed in the workspace Globex"],
    "/portal-activity 143 hello": ["Globex #desk", "only you see this", "connected to LeadSquared"],
    ":press 2": ["nothing was done"],
    ":account": ["That form is not open. Open it: /portal-activity setup"],
    "/portal-activity setup": ["┌ Connect LeadSquared", "workspace is not connected", "[Save]"],
    ":fill Org ID Globex Ltd": ["Org ID: Globex Ltd"],
    ":submit": ["Org ID: Enter the org ID: the number"],
    ":account wrong": ["Org ID: 33935", "Secret key: a-wrong-key"],
    ":submit ": ["LeadSquared rejected these keys, so nothing was saved", "Org ID: 33935"],
    ":account ": ["Access key: globex-access-key", "Secret key: globex-secret-key"],
    ":submit  ": ["✅ The whole workspace is connected to LeadSquared org 33935"],
    ":submit   ": ["There is no open form."],
    ":cancel": ["Closed."],
    "/portal-activity 143 hello ": ["Globex #desk thread", "Recorded on ticket 143, activity ID 1"],
    "/portal-activity 400 refused": ["not recorded on ticket 400", "[4: Send again]"],
    ":home": [
        "┌ App Home",
        "connected to LeadSquared org 33935",
        "Not recorded in the last 24 hours: 1",
        "[6: Connect LeadSquared]",
        "❌ Ticket 400: not recorded",
        "[7: Send again] [8: Edit and send again]",
        "✅ Ticket 143: recorded, activity ID 1",
    ],
    ":press 7": ["┌ App Home", "Ticket 400"],
    ":press 4": ["That button is gone"],
    "/portal-activity recent": ["only you see this", "Ticket 143: recorded", "by @You"],
    "/portal-activity status": ["connected to LeadSquared org 33935"],
    ":press 6": ["┌ Connect LeadSquared", "Keys are stored"],
    ":cancel ": ["Closed."],
    ":uninstall": ["was removed from T0GLOBEX"],
    "/portal-activity 143 gone": ["not installed in Globex"],
    ":install everywhere ": ["installed in the organisation E1GLOBEX"],
    ":channel billing": ["You are in #billing"],
    "/portal-activity help": ["Globex #billing", "records what a customer did"],
    ":team initech": ["You are in Initech."],
    "/portal-activity 143 as before": ["Recorded on ticket 143, activity ID"],
}
NONSENSE = {
    "hello": [":help"],
    "/other 143 hello": ["/other is not a valid command"],
    ":press 99": ["Which button? None has been shown yet."],
    ":press x": ["Which button?"],
    ":press 3 as Zed": ["There is no Zed here, only You and Ben"],
    ":ticket": ["Which ticket? Enter it"],
    ":ticket 987654": ["LeadSquared has no ticket 987654"],
    ":leadsquared": ["Type :leadsquared off or :leadsquared on"],
    ":leadsquared of": ["Type :leadsquared off or :leadsquared on"],
    ":slack": ["Type :slack off or :slack on"],
    ":submit": ["There is no open form"],
    ":fill Text x": ["There is no open form"],
    ":channel nowhere": ["support, customers, shared, private"],
    ":as Zed": ["There are: You, Ben, Carla, Gus"],
    ":wait": [],
    "": [],
}
RULES = {
    ":channel shared": "shared with Acme",
    "/portal-activity 143 in a shared channel": "(only you see this): ✅ Recorded on ticket 143",
    ":as customer": "You are Carla",
    "/portal-activity 143 by a customer": "Only people of the organisation",
    ":as guest": "You are Gus",
    "/portal-activity 143 by a guest": "Guests can't record",
    ":as You": "You are You",
    ":channel customers": "lets her read",
    "/portal-activity 144 for all": "#customers · Portal Activity: ✅",
}
SCRIPTS: dict[str, list[str]] = {
    "away": list(AWAY),
    "rows": list(ROWS),
    "presses": [*PRESSES, ":press 1"],
    "shortcuts": [line for command in SHORTCUTS for line in (command, *ANSWERS.get(command, []))],
    "busy": list(BUSY),
    "workspaces": list(WORKSPACES),
    "hello": HELLO,
    "help": [":help", *NONSENSE, ":quit", "/portal-activity 143 not any more"],
    "rules": list(RULES),
    "slack away": [
        "/portal-activity 144 first",
        ":slack off",
        "/portal-activity 143 kept",
        ":slack on",
    ],
}


class Played(dict[str, Ended]):
    """How each script ended, in a playground of its own. It is played when a test asks for it."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        super().__init__()
        self._folders = folders

    def __missing__(self, script: str) -> Ended:
        found = made_once(self._folders, f"played {script}", lambda: asdict(self._play(script)))
        self[script] = Ended(**found)
        return self[script]

    def _play(self, script: str) -> Ended:
        folder = self._folders.mktemp("playground")
        variables = {
            "SLACK_BOT_TOKEN": "xoxb-of-the-developer",
            "DATABASE_URL": "nonsense",
            "PORT": "nonsense",
        }
        typed = "".join(f"{line}\n" for line in SCRIPTS[script])
        ended = run("playground", cwd=folder, variables=variables, typed=typed, within=38)
        assert list(folder.iterdir()) == [], "a playground leaves nothing behind"
        return ended


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return Played(tmp_path_factory)


def parts(ended: Ended) -> list[tuple[str, str]]:
    """Return each line of the script with what was shown after it, in one line."""
    pieces = re.split(
        r"^(?:[A-Z][a-z]+ in )?(?:Globex )?#[a-z]+> (.*)$", ended.out, flags=re.MULTILINE
    )
    return [
        (line, " ".join(shown.split()))
        for line, shown in zip(pieces[1::2], pieces[2::2], strict=True)
    ]


def shown_after(script: str, played: Played, expected: Mapping[str, list[str]]) -> None:
    found = parts(played[script])
    assert [line for line, _ in found][: len(expected)] == list(expected)
    for (line, shown), words in zip(found, expected.values(), strict=False):
        for word in words:
            assert word in shown, f"{line}: {shown}"


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_run_to_its_end_and_ends_well(script: str, played: Played) -> None:
    assert (played[script].status, played[script].err) == (0, "")


def test_a_piped_command_shows_the_channel_the_thread_and_the_tickets_activity(
    played: Played,
) -> None:
    lines = played["hello"].out.splitlines()
    *_, anchor = [
        line for line in lines if line.startswith("  #support")
    ]  # ⏳ first, when it takes a moment
    (answer,) = [line for line in lines if line.startswith("    └ #support thread")]
    assert "✅ Portal activity recorded" in anchor
    assert "> hello" in played["hello"].out
    assert "Recorded on ticket 143, activity ID 1" in answer
    assert lines[-2:] == [
        "Ticket 143 in LeadSquared: 1 portal activity",
        "    Activity ID 1: hello",
    ]


def test_the_help_lists_every_ticket_and_ends_at_quit(played: Played) -> None:
    for number, (_, says) in TICKETS.items():
        assert re.search(
            rf"^  {number}  \S" if says else rf"\b{number}\b",
            played["help"].out,
            flags=re.MULTILINE,
        ), number
    assert "not any more" not in played["help"].out


@pytest.mark.parametrize(("script", "expected"), [("rows", ROWS), ("busy", BUSY), ("away", AWAY)])
def test_every_row_of_the_table_is_reachable(
    script: str, expected: dict[str, list[str]], played: Played
) -> None:
    shown_after(script, played, expected)


def test_buttons_and_forms_are_pressed_filled_and_submitted(played: Played) -> None:
    shown_after("presses", played, PRESSES)


def test_the_shortcut_is_used_on_messages_of_each_shape_and_its_fields_are_asked_one_by_one(
    played: Played,
) -> None:
    shown_after("shortcuts", played, SHORTCUTS)


def test_a_second_workspace_of_an_organisation_installs_the_bot_and_removes_it(
    played: Played,
) -> None:
    shown_after("workspaces", played, WORKSPACES)


def test_what_the_playground_does_not_know_is_told_and_ends_nothing(
    played: Played,
) -> None:
    found = dict(parts(played["help"])[1:])
    for line, words in NONSENSE.items():
        for word in words:
            assert word in found[line]


def test_a_button_that_was_pressed_already_is_told_to_be_gone(played: Played) -> None:
    line, shown = parts(played["presses"])[-1]
    assert line == ":press 1"
    assert shown.startswith(("Which button?", "That button"))


def test_each_rule_of_private_answers_and_of_recording_is_visible(played: Played) -> None:
    found = dict(parts(played["rules"]))
    for line, words in RULES.items():
        assert words in found[line], line


def test_a_script_may_switch_slack_off_and_on_again(played: Played) -> None:
    assert "Slack is off" in played["slack away"].out
    assert "Recorded on ticket 143, activity ID 2" in played["slack away"].out


def test_an_empty_pipe_is_told_of_the_page(tmp_path: Path) -> None:
    ended = run("playground", cwd=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    assert "python -m bot playground --page" in ended.out


@pytest.mark.parametrize("form", [("--terminal",), ("--port", "0")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_signal_ends_it_and_nothing_stays_behind(
    number: int, form: tuple[str, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    person, terminal = pty.openpty()
    with subprocess.Popen(  # noqa: ASYNC220 - it is waited for by its effects
        [*BOT, "playground", *form],
        cwd=tmp_path,
        env=surroundings({"TMPDIR": str(folder)}),
        stdin=terminal,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        await until(lambda: list(folder.glob("*/*.db")))
        process.send_signal(number)
        await until(lambda: process.poll() is not None)
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (0, b"")
    os.close(person)
    os.close(terminal)
    assert list(folder.iterdir()) == []
