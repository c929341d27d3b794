"""Each text for people has its entry in docs/errors.md, and each entry's text exists."""

import ast
import html
import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.oauth.installation_store import Installation

from bot.activities.acceptance import Double
from bot.activities.delivery import Delivery, Finding, Resolution, Route, State, Waiting
from bot.activities.recent import Aged, Health
from bot.activities.ticket import MalformedTicketError, parse_ticket
from bot.database.writer import CommitUnknownError, DatabaseUnavailableError
from bot.leadsquared.outcome import Problem
from bot.leadsquared.tenant import ENVIRONMENT
from bot.slack import answers, hints, home_words, modals, pages, setup_words
from bot.slack.answers import Message
from bot.slack.explanations import EXPLANATIONS, UNREADABLE, unreadable
from bot.slack.modals import Form, FormText, Metadata, edit_form, modal
from bot.tenants.rules import NotAllowed, Why
from support.deliveries import RECORDED, UNDECIDED, ended
from support.programs import ROOT
from support.setup_texts import setup_shown

SLACK = Path(answers.__file__).parent
SENTENCE = re.compile(r"^[A-Z“]\S* (?:\S+ ){2}")
DOCS = ROOT / "docs" / "errors.md"
MAYA, BEN = "U0MAYA", "U0BEN"
NAMES = {f"<@{MAYA}>": "@Maya", f"<@{BEN}>": "@Ben", "<#C0SUPPORT>": "#support"}
DETAIL = {
    Problem.TLS: "its certificate is not valid: certificate has expired",
    Problem.ADDRESS_REFUSED: "The API address is not https",
    Problem.UNREACHABLE: "apigw.service-in.leadsquared.com",
}
BASE = replace(
    RECORDED, user_id=MAYA, activity_id="12", tenant_name=ENVIRONMENT, team_id="T012ABCDEF"
)
IN_THREAD = replace(BASE, anchor_ts=None, thread_ts="5.0")
UNKNOWN = replace(BASE, state=State.UNKNOWN, activity_id=None, problem=Problem.NO_ANSWER)
NO_TICKETS = (
    "abc",
    "1,430",
    "0",
    "007",
    "1" * 20,
    "143-2",
    "0d9f1b6c-6a54-4b62-8e7e-9c9f5b0c1a2",
    "https://example.com/143",
    "https://a.leadsquared.com/x",
    "https://[",
    "https://a.leadsquared.com/../143",
    "https://a.leadsquared.com/ticket/143/ticket/144",
)


def _ended(problem: Problem, **changes: Any) -> Delivery:
    same = {
        "user_id": MAYA,
        "tenant_name": ENVIRONMENT,
        "team_id": "T012ABCDEF",
        "detail": DETAIL.get(problem),
    }
    return ended(problem, **(same | changes))


CONFIRMED, SENT_AGAIN, SENT_UNKNOWN = (
    _ended(problem, resolution=resolution, resolved_by=BEN)
    for problem, resolution in (
        (Problem.NO_ANSWER, Resolution.CONFIRMED),
        (Problem.FAILED, Resolution.SENT_AGAIN),
        (Problem.NO_ANSWER, Resolution.SENT_AGAIN),
    )
)
SENT_ELSEWHERE = replace(SENT_AGAIN, sent_again_on="144")
SENDING = replace(BASE, state=State.SENDING)
PRESENT, ABSENT = (
    replace(UNKNOWN, finding=Finding.PRESENT, activity_id="12"),
    replace(UNKNOWN, finding=Finding.ABSENT),
)
DOUBLE = Message("…")
WAITING_FOR = [replace(BASE, state=State.ACCEPTED, waiting=reason) for reason in (None, *Waiting)]
WELL = Health(0, 0, 0, 0, 0, None, 0)
ILL = Health(0, 3, 300, 2, 4, Problem.UNAUTHORIZED, 180)
DOUBLES = [Double(one, 20) for one in (BASE, SENDING, _ended(Problem.NO_ANSWER), CONFIRMED)]


def not_a_ticket() -> Iterator[tuple[str, MalformedTicketError]]:
    for word in NO_TICKETS:
        with pytest.raises(MalformedTicketError) as refused:
            parse_ticket(word)
        yield word, refused.value


def titles() -> list[Message | str]:
    """Return the headings of the pages of an installation."""
    acme = Installation(team_id="T0ACME", team_name="Acme", user_id="U0ANNA")
    corp = Installation(
        enterprise_id="E0CORP",
        enterprise_name="Acme Corp",
        is_enterprise_install=True,
        user_id="U0ANNA",
    )
    reasons = re.findall(r'^    "([a-z_]+)": ', inspect.getsource(pages), flags=re.MULTILINE)
    all_pages = [
        *(pages.installed(installation) for installation in (acme, corp)),
        *(pages.failed(reason, 401) for reason in (*reasons, "internal_error")),
        pages.database_away(),
        pages.maybe_installed(),
        pages.slack_away(),
    ]
    headings = [re.findall("<h1>(.*)</h1>", str(page.body))[0] for page in all_pages]
    return list(dict.fromkeys(html.unescape(heading) for heading in headings))


def shown() -> dict[str, list[Message | str]]:
    """Return by the name of the function (or constant) what it can say."""
    return setup_shown() | {
        "anchor": [
            answers.anchor(one)
            for one in (SENDING, BASE, _ended(Problem.FAILED), UNKNOWN, PRESENT, CONFIRMED)
        ],
        "answer": [
            *(
                answers.answer(one)
                for one in (BASE, IN_THREAD, CONFIRMED, SENT_AGAIN, SENT_UNKNOWN, SENT_ELSEWHERE)
            ),
            *(answers.answer(_ended(problem)) for problem in Problem),
            *(
                answers.answer(_ended(problem, detail="Ticket is closed"))
                for problem, explanation in EXPLANATIONS.items()
                if explanation.with_reason is not None
            ),
        ],
        "finding": [answers.finding(PRESENT), answers.finding(ABSENT)],
        "found_there": [answers.found_there(PRESENT)],
        "note": [
            answers.note(replace(BASE, noted=None), reason, give_up_at=0) for reason in Waiting
        ],
        "usage": [answers.usage()],
        "no_ticket": [answers.no_ticket()],
        "no_text": [answers.no_text("143")],
        "malformed_ticket": [
            answers.malformed_ticket(word, str(why), number=why.number)
            for word, why in not_a_ticket()
        ],
        "why_no_ticket": [answers.why_no_ticket(word, why) for word, why in not_a_ticket()],
        "unmapped": [answers.unmapped("T012ABCDEF")],
        "starting": [answers.starting()],
        "removed": [answers.removed()],
        "token_unreadable": [answers.token_unreadable()],
        "pages": titles(),
        "token_refused": [answers.token_refused("invalid_auth")],
        "unavailable": [
            answers.unavailable(DatabaseUnavailableError("")),
            answers.unavailable(CommitUnknownError("")),
        ],
        "not_accepted": [answers.not_accepted()],
        "maybe_accepted": [answers.maybe_accepted()],
        "broken": [answers.broken()],
        "already": [
            answers.already(one)
            for one in (None, SENT_AGAIN, CONFIRMED, BASE, _ended(Problem.FAILED), SENDING)
        ],
        "foreign_member": [answers.foreign_member()],
        "elsewhere": [answers.elsewhere()],
        "not_shown_yet": [answers.not_shown_yet()],
        "may_not_record": [answers.may_not_record(NotAllowed(why)) for why in Why],
        "without_text": [
            answers.without_text(BASE),
            answers.without_text(replace(BASE, is_erased=True)),
        ],
        "modal_failed": [answers.modal_failed()],
        "doubtful": [answers.doubtful("143")],
        "last_line": [hints.last_line("— Maya Patel via Slack")],
        "ticket_seen": [hints.ticket_seen("143", "Cannot log in", "Open")],
        "ticket_closed": [hints.ticket_closed("143", "Cannot log in")],
        "no_such_ticket": [hints.no_such_ticket("143")],
        "recorded_before": [
            *(answers.recorded_before(one, None, MAYA) for one in DOUBLES),
            answers.recorded_before(Double(replace(BASE, message_ts="5.0"), 20), "5.0", BEN),
        ],
        "same_words": [answers.same_words(one, "key") for one in DOUBLES],
        "submitted_before": [answers.submitted_before(BASE)],
        "no_token": [answers.no_token("T012ABCDEF")],
        "not_installed": [answers.not_installed()],
        "recorded_again": [answers.recorded_again(BASE)],
        "connection": [
            home_words.connection(what, org_id)
            for what in ("workspace", "conversation")
            for org_id in (None, "22824")
        ],
        "connection_of": [home_words.connection_of("C0SUPPORT", "22825")],
        "and_more": [home_words.and_more(3)],
        "outcome": [
            home_words.outcome(one)
            for one in (
                *(BASE, CONFIRMED, SENT_AGAIN, SENT_UNKNOWN, PRESENT, UNKNOWN),
                *(_ended(Problem.FAILED), *WAITING_FOR),
            )
        ],
        "sent": [home_words.sent(Aged(BASE, 180), by=by) for by in (False, True)],
        "health": [line for found in (WELL, ILL) for line in home_words.health(found)],
        "as_of": [home_words.as_of(0)],
        "not_shown": [home_words.not_shown()],
        **{
            name: [getattr(home_words, name)]
            for name in (
                "NEWEST",
                "NEWEST_HERE",
                "NONE_YET",
                "NONE_HERE",
                "NO_TEXT",
                "DELETED",
                "HOW_TO",
            )
        },
        "quoted": [
            *(
                answers.quoted(replace(BASE, text=text)).split("\n")[-1]
                for text in (None, "x" * 1234)
            ),
            answers.quoted(replace(BASE, text=None, is_erased=True)).split("\n")[-1],
        ],
        "TICKET": [hints.TICKET],
        "TEXT": [hints.TEXT],
        "CHOICE": [hints.CHOICE],
        "ENTER_TICKET": [hints.ENTER_TICKET],
        "ENTER_TEXT": [hints.ENTER_TEXT],
        "TEXT_CHANGED": [hints.TEXT_CHANGED],
        "NO_LINK": [hints.NO_LINK],
        "READING": [hints.READING],
        "too_long": [hints.too_long(3001, 3000)],
        "continued": [hints.continued("message", 3100, 0), hints.continued("message", 15_100, 100)],
        "thread_cut": [
            hints.thread_cut(3000, 2, first_is_cut=False),
            hints.thread_cut(3000, 2, first_is_cut=True),
        ],
        "thread_unread": [hints.thread_unread(27, 60), hints.thread_unread(1, None)],
        "thread_read_ago": [hints.thread_read_ago(40)],
        "thread_read_in_part": [hints.thread_read_in_part(15, 42, 60)],
        "not_editable": [hints.not_editable(15_100)],
        "not_chosen": [hints.not_chosen("…")],
        "not_replaced": [hints.not_replaced("…")],
        "only_this_message": [hints.only_this_message("…")],
        "unreadable": [
            *(unreadable(error, "C0SUPPORT") for error in UNREADABLE),
            unreadable("not_in_channel", "D0DIRECT"),
            unreadable("some_error", "C0SUPPORT"),
        ],
    }


BUILDING_BLOCKS = {
    "activity_id", "clock_time", "day_and_time", "double", "message", "stands_alone", "section",
    "context", "plain_text", "setup_button", "buttons_of", "ago", "duration", "text",
    "THREAD", "YOUR_NAME", "names_title",
}  # fmt: skip
"""Of the modules of words, what says nothing of its own; and labels."""


def labels() -> Iterator[str]:
    """Return what stands on the buttons, and in the forms beside the hints."""
    metadata = Metadata(team="T012ABCDEF", channel="C1", link="https://example.com")
    doubled = metadata.model_copy(update={"shown": "d1"})
    yield from (
        one["submit"]["text"]
        for one in (modal(Form(doubled, notice=DOUBLE)), modal(edit_form(BASE)))
    )
    forms = (
        Form(metadata, choice=True),
        Form(metadata, text=FormText(("a", "b"))),
        edit_form(BASE),
    )
    views_ = [
        *map(modal, forms),
        modal(Form(doubled, notice=DOUBLE)),
        modals.notice_modal(answers.broken()),
    ]
    shown_ = [
        *views_,
        *(
            block
            for ways in shown().values()
            for one in ways
            for block in getattr(one, "blocks", ())
        ),
    ]
    for thing in shown_:
        yield from _plain(thing)
    yield home_words.THREAD


def _plain(thing: Any) -> Iterator[str]:
    """Return every label in blocks; the hints have functions of their own."""
    if isinstance(thing, list):
        for one in thing:
            yield from _plain(one)
    elif isinstance(thing, dict):
        if thing.get("type") == "plain_text":
            yield re.sub(r"part \d of \d", "part 1 of 2", thing["text"])
        for key, value in thing.items():
            yield from _plain(value) if key != "hint" else ()


def small_print() -> Iterator[str]:
    """Return what stands in small print for everybody, and not for admins."""
    for one in (one for ways in shown().values() for one in ways if isinstance(one, Message)):
        for line in one.small:
            if not line.startswith("Admin: "):
                yield from re.sub(r"^Reference \S+", "Reference …", entry(line)).split(" · ")


def entry(said: Message | str) -> str:
    """Write a text as the table does: its first line, without the example that may follow."""
    words = said.words if isinstance(said, Message) else said
    first = re.sub(r"<!date\^[^|]*\|[^>]*>", "HH:MM", words).split("\n")[0]
    for mention, name in NAMES.items():
        first = first.replace(mention, name)
    return re.sub(r",? ?[Ff]or example:$", "", first)


def documented() -> set[str]:
    """Return the texts in the tables' first columns, up to the part about the log."""
    rows = re.findall(
        r"^\| (.+?) \|", DOCS.read_text().partition("## In the log")[0], flags=re.MULTILINE
    )
    return {
        row
        for row in rows
        if row not in ("text", "details", "label") and not re.fullmatch(r"\*[^*]+\*", row)
    }


def test_each_text_has_its_entry_and_each_entrys_text_exists() -> None:
    texts = {entry(said) for ways in shown().values() for said in ways} | {
        *labels(),
        *small_print(),
    }
    assert sorted(texts - documented()) == []
    assert sorted(documented() - texts) == []


@pytest.mark.parametrize("module", [answers, hints, home_words, setup_words])
def test_nothing_that_says_something_is_left_out(module: Any) -> None:
    own = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (
            (inspect.isfunction(value) and value.__module__ == module.__name__)
            or (
                module is not answers
                and isinstance(value, str)
                and name not in ("COMMAND", "OPERATOR")
            )
        )
    }
    assert own - BUILDING_BLOCKS <= shown().keys()


WORDS = {"answers", "explanations", "home_words", "setup_words"}
WORDS_FOR_PROGRAMS = {"front", "payloads", "sockets", "web"}
"""Modules whose texts go to Slack's servers and to the log, and to no person."""

SLACKS_OWN = {"This content can't be displayed.", "This message contains interactive elements."}
"""What Slack writes into a message for a program that knows no blocks."""


def test_no_other_module_says_something_to_a_person() -> None:
    for file in sorted(SLACK.glob("*.py")):
        words = {"answers", "hints", "explanations", "home_words", "pages", "setup_words"}
        if file.stem in words | WORDS_FOR_PROGRAMS:
            continue
        tree = ast.parse(file.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        texts = {str(constant.value) for constant in constants if id(constant) not in docstrings}
        said = {text for text in texts if SENTENCE.search(text)}
        assert said - {*SLACKS_OWN, *labels()} == set(), file.name


def test_each_problem_and_its_details_are_named_in_the_table() -> None:
    words = DOCS.read_text()
    assert [problem for problem in Problem if f"`{problem}`" not in words] == []
    details = {
        line.rpartition("; details: ")[2]
        for ways in shown().values()
        for said in ways
        if isinstance(said, Message)
        for line in said.small
        if "; details: " in line
    }
    named = set(re.findall(r"^\| \*([^*|]+)\* \|", words, flags=re.MULTILINE))
    assert details == named


@pytest.mark.parametrize(
    "said", [one for ways in shown().values() for one in ways if isinstance(one, Message)]
)
def test_what_is_said_is_short_and_names_nothing_of_the_server(said: Message) -> None:
    main = said.words.split("\n")[0]
    assert len(main.split()) <= 45
    assert not re.search(r"[A-Z]{3,}_[A-Z]|python -m|ENCRYPTION|auth\.test|manifest", main)
    for line in said.small:
        assert len(line.split()) <= 25


BANNED = re.compile(
    r"by itself|whoever|nobody|all the same|\bmend|meanwhile|\btold\b|"
    r"what was|that which|limit of calls|Activity Id|Org Id",
    re.IGNORECASE,
)


def test_the_words_are_plain() -> None:
    for said in {entry(said) for ways in shown().values() for said in ways} | {
        *labels(),
        *small_print(),
    }:
        spelt = re.sub("[Aa]ctivity ID|[Oo]rg ID", "", said)
        assert not BANNED.search(spelt), said


OPERATED = [
    replace(one, resolved_by="operator:root")
    for one in (CONFIRMED, SENT_AGAIN, SENT_UNKNOWN, SENT_ELSEWHERE)
]


def test_each_sentence_begins_with_a_capital_letter() -> None:
    decided = [
        say(one) for one in OPERATED for say in (answers.answer, answers.already, answers.anchor)
    ]
    for said in [*decided, *(one for ways in shown().values() for one in ways)]:
        words = entry(said).replace("….", "…")
        first = re.sub(r"^(?:[✅❌⚠️⏳🔎] *|@\w+: )+", "", words)
        assert re.match(r"[A-Z“*@(>_]", first), words
        assert not re.search(r"[.?!] [a-z]", words), words


@pytest.mark.parametrize(
    "said", [one for ways in shown().values() for one in ways if isinstance(one, Message)]
)
def test_what_is_said_has_two_sentences_at_most(said: Message) -> None:
    words = re.sub(r'"[^"]*"|“[^”]*”', "…", entry(said))
    assert len(re.findall(r"[.?!](?= |$)", words)) <= 2 + ("such as" in words), words


def test_the_unknown_states_are_all_there() -> None:
    assert {
        problem for problem in Problem if answers.answer(_ended(problem)).words.startswith("⚠️")
    } == UNDECIDED
    assert answers.stands_alone(replace(BASE, route=Route.RESPONSE_URL))
