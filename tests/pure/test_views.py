"""What people are shown.

The right words and buttons for every end, within Slack's limits, for any text.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.activities.acceptance import Double
from bot.activities.delivery import Delivery, Resolution, Route, State, Waiting
from bot.leadsquared.outcome import Problem
from bot.leadsquared.tenant import ENVIRONMENT
from bot.slack import answers, modals
from bot.slack.answers import Message
from bot.slack.explanations import EXPLANATIONS, explain
from support.deliveries import GIVE_UP, RECORDED, UNDECIDED, ended

AGAIN, EDIT, THERE = "Send again", "Edit and send again", "It's there"
GUID = "0d9f1b6c-6a54-4b62-8e7e-9c9f5b0c1a2d"
PATIENT = settings(deadline=None)


def buttons(message: Message) -> list[str]:
    return [
        element["text"]["text"]
        for block in message.blocks
        for element in block.get("elements", [])
        if element["type"] == "button"
    ]


def small_print(message: Message) -> str:
    return "\n".join(
        element["text"]
        for block in message.blocks
        if block["type"] == "context"
        for element in block["elements"]
    )


# -- what is said, and what is offered


def test_there_are_words_for_every_problem_and_for_nothing_else() -> None:
    assert set(EXPLANATIONS) == set(Problem)


@pytest.mark.parametrize(
    ("problem", "labels"),
    [
        (Problem.BAD_REQUEST, [AGAIN, EDIT]),
        (Problem.REFUSED, [AGAIN, EDIT]),
        (Problem.FAILED, [AGAIN, EDIT]),
        (Problem.NOT_FOUND, [EDIT]),
        (Problem.UNAUTHORIZED, [AGAIN]),
        (Problem.FORBIDDEN, [AGAIN]),
        (Problem.TLS, [AGAIN]),
        (Problem.ADDRESS_REFUSED, [AGAIN]),
        (Problem.UNREACHABLE, [AGAIN]),
        (Problem.RATE_LIMITED, [AGAIN]),
        (Problem.TENANT_REMOVED, [AGAIN]),
        (Problem.ACCOUNT_CHANGED, [AGAIN, EDIT]),
        (Problem.UNDECIPHERABLE, [AGAIN]),
        *((problem, [AGAIN, THERE]) for problem in sorted(UNDECIDED)),
    ],
)
def test_each_end_offers_the_buttons_that_help(problem: Problem, labels: list[str]) -> None:
    message = answers.answer(ended(problem))
    assert buttons(message) == labels
    values = [
        element["value"]
        for block in message.blocks
        if block["type"] == "actions"
        for element in block["elements"]
    ]
    assert values == [RECORDED.id] * len(labels)


@pytest.mark.parametrize("problem", list(Problem))
@pytest.mark.parametrize("detail", [None, "The ticket is closed {ticket} {0}"])
def test_each_end_says_what_happened_on_which_ticket_and_what_to_do(
    problem: Problem, detail: str | None
) -> None:
    message = answers.answer(ended(problem, detail=detail))
    first, _, second = message.words.partition(". ")
    assert "ticket 143" in first or detail is not None
    assert ("so this may or may not be on ticket 143" in first) is (problem in UNDECIDED)
    assert second, "what to do"
    assert "<@U0ANNA>" in message.words
    assert not re.search(r"[{}]", message.text.replace("{ticket} {0}", "")), (
        "every blank is filled in"
    )
    assert not re.search(r"\b[2-5]\d\d\b|Exception|Traceback", message.text), "words, not codes"


LONG_REASON = "The customer's ticket was closed by an administrator of the account " * 9


@pytest.mark.parametrize("tenant_name", ["acme", ENVIRONMENT])
@pytest.mark.parametrize("detail", [None, LONG_REASON, "a.leadsquared.com"])
@pytest.mark.parametrize("problem", list(Problem))
def test_an_agent_reads_two_sentences_and_an_admin_one_line(
    problem: Problem, detail: str | None, tenant_name: str
) -> None:
    message = answers.answer(ended(problem, detail=detail, tenant_name=tenant_name))
    assert len(message.words.split()) <= 45
    assert len(re.findall(r"[.!?](?:\s|$)", message.words.replace('".', "."))) <= 2
    assert "`" not in message.words, "no variables, no commands"
    for line in message.small:
        assert len(line.split()) <= 25
        assert "\n" not in line


@pytest.mark.parametrize("problem", [Problem.BAD_REQUEST, Problem.REFUSED, Problem.FAILED])
def test_a_reason_of_leadsquareds_is_quoted_and_none_is_spoken_of_where_there_is_none(
    problem: Problem,
) -> None:
    quoting = (
        'LeadSquared couldn\'t record this on ticket 143: "Ticket is closed". '
        "Fix that, or edit and send again."
    )
    assert explain(ended(problem, detail="Ticket is closed.")) == quoting
    silent = explain(ended(problem))
    assert '"' not in silent
    assert "Fix that" not in silent


@pytest.mark.parametrize(
    "useless",
    [
        (
            "No HTTP resource was found that matches the request URI "
            "'https://a.leadsquared.com/api/tenants/1'."
        ),
        "No action was found on the controller 'Ticket' that matches the request.",
        "An error has occurred.",
        "Object reference not set to an instance of an object.",
        "<html><head><title>404 - File or directory not found.</title></head></html>",
        "Method Not Allowed",
        "Server Error in '/' Application.",
        "Authorization has been denied for this request.",
        "Failed\n   at LeadSquared.Tickets.Add(String text)",
    ],
)
def test_a_servers_own_page_is_no_reason(useless: str) -> None:
    assert explain(ended(Problem.REFUSED, detail=useless)) == explain(ended(Problem.REFUSED))


@pytest.mark.parametrize(
    ("problem", "detail", "admin"),
    [
        (Problem.UNAUTHORIZED, None, "`python -m bot tenants update acme`"),
        (
            Problem.UNAUTHORIZED,
            "Use https://api-us11.leadsquared.com",
            "LeadSquared names api-us11.leadsquared.com",
        ),
        (Problem.FORBIDDEN, None, "the API switch and the IP allowlist"),
        (Problem.NOT_FOUND, None, "`python -m bot tenants update acme`"),
        (
            Problem.TLS,
            "its certificate is not valid: self-signed",
            "its certificate is not valid: self-signed",
        ),
        (Problem.ADDRESS_REFUSED, "The API address is not https", "`LEADSQUARED_ALLOWED_HOSTS`"),
        (Problem.UNREACHABLE, "a.leadsquared.com", "no connection to a.leadsquared.com"),
        (Problem.RATE_LIMITED, None, "other integrations"),
        (Problem.TENANT_REMOVED, None, "`python -m bot tenants map NAME --team T0HOME`"),
        (Problem.UNDECIPHERABLE, None, "`ENCRYPTION_KEYS`"),
    ],
)
def test_what_only_an_admin_can_use_stands_in_the_small_print(
    problem: Problem, detail: str | None, admin: str
) -> None:
    message = answers.answer(ended(problem, detail=detail))
    assert admin in small_print(message)
    assert admin not in message.words


@pytest.mark.parametrize(
    ("problem", "variables"),
    [
        (Problem.UNAUTHORIZED, ["LEADSQUARED_ACCESS_KEY", "LEADSQUARED_SECRET_KEY"]),
        (Problem.NOT_FOUND, ["LEADSQUARED_API_URL", "LEADSQUARED_ORG_ID"]),
        (Problem.UNREACHABLE, ["LEADSQUARED_API_URL"]),
    ],
)
def test_the_small_print_names_a_command_or_variables_as_the_tenant_is_kept(
    problem: Problem, variables: list[str]
) -> None:
    added = small_print(answers.answer(ended(problem, tenant_name="acme")))
    from_environment = small_print(answers.answer(ended(problem, tenant_name=ENVIRONMENT)))
    assert "`python -m bot tenants update acme`" in added
    assert "tenants update" not in from_environment
    assert all(variable in from_environment and variable not in added for variable in variables)


def test_the_reference_stands_once() -> None:
    reference = f"Reference {RECORDED.id}"
    assert reference in answers.anchor(RECORDED).text
    assert reference not in answers.answer(RECORDED).text, "the anchor has it"
    assert reference not in answers.note(RECORDED, Waiting.TURN, give_up_at=GIVE_UP).text
    without_anchor = replace(RECORDED, anchor_ts=None, thread_ts="5.0")
    assert reference in answers.answer(without_anchor).text
    assert reference in answers.note(without_anchor, Waiting.TURN, give_up_at=GIVE_UP).text, (
        "the answer replaces it"
    )
    alone = replace(RECORDED, anchor_ts=None, route=Route.RESPONSE_URL)
    assert reference in answers.answer(alone).text
    assert reference not in answers.note(alone, Waiting.TURN, give_up_at=GIVE_UP).text, (
        "a note that stays"
    )
    assert (
        reference in answers.answer(ended(Problem.FAILED, resolution=Resolution.SENT_AGAIN)).text
    ), "the anchor is the new activity's by now"


def test_what_is_recorded_is_told_with_its_id_and_asks_for_nothing() -> None:
    message = answers.answer(RECORDED)
    assert message.words == "✅ Recorded on ticket 143, activity ID 17"
    assert small_print(message) == "The form will suggest ticket 143 for this thread"
    assert buttons(message) == []


@pytest.mark.parametrize(
    ("resolution", "says"),
    [
        (
            Resolution.SENT_AGAIN,
            "⚠️ This may or may not be on ticket 143. <@U0BEN> sent it again: see the new answer",
        ),
        (Resolution.CONFIRMED, "✅ <@U0BEN> confirmed that this is on ticket 143."),
    ],
)
def test_once_somebody_decided_the_buttons_are_gone_and_it_says_who(
    resolution: Resolution, says: str
) -> None:
    message = answers.answer(ended(Problem.NO_ANSWER, resolution=resolution, resolved_by="U0BEN"))
    assert buttons(message) == []
    assert message.words.startswith(says)
    assert "Check the ticket" not in message.text


@pytest.mark.parametrize(
    ("delivery", "says"),
    [
        (replace(RECORDED, state=State.ACCEPTED), "⏳ Recording"),
        (replace(RECORDED, state=State.SENDING), "⏳ Recording"),
        (RECORDED, "✅ Portal activity recorded on ticket 143 by <@U0ANNA>"),
        (ended(Problem.FAILED), "❌ Portal activity by <@U0ANNA> not recorded"),
        (ended(Problem.NO_ANSWER), "⚠️ Portal activity by <@U0ANNA> may or may not be on"),
        (
            ended(Problem.NO_ANSWER, resolution=Resolution.CONFIRMED, resolved_by="U0BEN"),
            "on ticket 143, confirmed by <@U0BEN>",
        ),
        (
            ended(Problem.FAILED, resolution=Resolution.SENT_AGAIN, resolved_by="U0BEN"),
            "❌ Portal activity",
        ),
    ],
)
def test_the_anchor_says_who_which_ticket_what_and_how_it_stands(
    delivery: Delivery, says: str
) -> None:
    message = answers.anchor(delivery)
    for words in (says, "ticket 143", "by <@U0ANNA>", "> Customer uploaded the signed form"):
        assert words in message.text
    assert buttons(message) == []


@pytest.mark.parametrize("reason", list(Waiting))
def test_a_note_says_that_it_goes_on_automatically(reason: Waiting) -> None:
    message = answers.note(RECORDED, reason, give_up_at=GIVE_UP)
    assert "ticket 143" in message.text
    assert "automatically" in message.text or "keeps trying" in message.text
    assert "`" not in message.words
    assert buttons(message) == []


def test_the_end_of_trying_is_told_in_the_readers_own_time_zone() -> None:
    moment = 1_795_617_000.0  # 2026-11-25 14:30 UTC
    assert answers.clock_time(moment) == "<!date^1795617000^{time}|14:30 UTC>"
    assert (
        answers.clock_time(moment)
        in answers.note(RECORDED, Waiting.UNREACHABLE, give_up_at=moment).text
    )


def test_an_answer_without_an_anchor_above_it_repeats_what_was_sent() -> None:
    assert "> Customer uploaded" not in answers.answer(RECORDED).text
    assert "> Customer uploaded the signed form" in answers.answer(RECORDED, with_text=True).text
    assert answers.stands_alone(replace(RECORDED, route=Route.RESPONSE_URL))
    assert answers.stands_alone(replace(RECORDED, route=Route.DIRECT_MESSAGE))
    assert not answers.stands_alone(RECORDED)


def test_a_long_text_is_shown_short_and_says_that_it_was_sent_whole() -> None:
    message = answers.anchor(replace(RECORDED, text="x" * 40_000))
    assert "40,000 characters; LeadSquared gets the whole text" in message.text
    assert "x" * 400 in message.text
    assert "x" * 600 not in message.text


def test_a_text_that_cannot_be_decrypted_is_named_as_such_and_not_as_none() -> None:
    message = answers.anchor(replace(RECORDED, text=None))
    assert "can't be decrypted" in message.text
    assert "None" not in message.text


@pytest.mark.parametrize("resolution", list(Resolution))
def test_an_admin_is_named_as_one_wherever_a_command_decided(resolution: Resolution) -> None:
    delivery = ended(Problem.NO_ANSWER, resolution=resolution, resolved_by="operator:<!here>")
    shown = [answers.answer(delivery), answers.already(delivery)]
    if resolution is Resolution.CONFIRMED:
        shown += [answers.anchor(delivery), Message(answers.double(Double(delivery, 3), "U0ANNA"))]
    for message in shown:
        assert re.search(r"(?:\. |✅ |text='|^)An admin |by an admin\b", message.text)
        assert "<!here>" not in str(message)


@pytest.mark.parametrize(
    ("delivery", "says"),
    [
        (None, "no such activity"),
        (RECORDED, "already recorded on ticket 143 (activity ID 17)"),
        (replace(RECORDED, state=State.SENDING), "still being recorded on ticket 143"),
        (ended(Problem.FAILED), "not recorded on ticket 143, so it can't be there"),
        (
            ended(Problem.FAILED, resolution=Resolution.SENT_AGAIN, resolved_by="U0BEN"),
            "<@U0BEN> already sent this again",
        ),
        (
            ended(Problem.NO_ANSWER, resolution=Resolution.CONFIRMED, resolved_by="U0BEN"),
            "<@U0BEN> already confirmed that this is on ticket 143",
        ),
    ],
)
def test_a_button_past_its_time_says_why_nothing_was_done(
    delivery: Delivery | None, says: str
) -> None:
    assert says in answers.already(delivery).text


# -- doubles


@pytest.mark.parametrize(
    ("delivery", "seconds_ago", "says"),
    [
        (
            RECORDED,
            20.4,
            "You already recorded this text on ticket 143 20 seconds ago (activity ID 17).",
        ),
        (
            RECORDED,
            1.2,
            "You already recorded this text on ticket 143 1 second ago (activity ID 17).",
        ),
        (RECORDED, -0.2, "You already recorded this text on ticket 143 just now (activity ID 17)."),
        (
            RECORDED,
            3600,
            (
                "You already recorded this text on ticket 143 on "
                f"{answers.day_and_time(1_794_999_100)} (activity ID 17)."
            ),
        ),
        (
            replace(RECORDED, state=State.SENDING, user_id="U0BEN"),
            3,
            (
                "<@U0BEN> already sent this text to ticket 143 3 seconds ago, "
                "and it is still being recorded."
            ),
        ),
        (
            ended(Problem.DROPPED),
            3,
            "You already sent this text to ticket 143 3 seconds ago, and it may be there.",
        ),
        (
            ended(Problem.DROPPED, resolution=Resolution.CONFIRMED, resolved_by="U0BEN"),
            3,
            "You already recorded this text on ticket 143 3 seconds ago (confirmed by <@U0BEN>).",
        ),
    ],
)
def test_a_double_says_by_whom_when_and_with_which_id(
    delivery: Delivery, seconds_ago: float, says: str
) -> None:
    assert answers.double(Double(delivery, seconds_ago), "U0ANNA") == says


# -- the answers at once


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (answers.usage(), ["/portal-activity", "143", "GUID", "link"]),
        (
            answers.no_ticket(),
            ["Nothing was recorded", "Enter the ticket", "`/portal-activity 143 "],
        ),
        (answers.no_text("143"), ["Nothing was recorded on ticket 143", "`/portal-activity 143 "]),
        (
            answers.malformed_ticket("abc", "why"),
            ["Nothing was recorded", "“abc” is not a ticket: why"],
        ),
        (answers.unmapped("T0HOME"), ["nothing was recorded", "tenants map NAME --team T0HOME"]),
        (answers.not_accepted(), ["nothing was recorded", "Try again", "python -m bot check"]),
        (answers.maybe_accepted(), ["may or may not", "send it again", "python -m bot check"]),
        (answers.broken(), ["went wrong", "Try again"]),
        (answers.foreign_member(), ["nothing was done"]),
        (answers.elsewhere(), ["nothing was recorded", "another workspace"]),
        (answers.without_text(RECORDED), ["nothing was sent", "ENCRYPTION_KEYS"]),
        (answers.modal_failed(), ["nothing was recorded"]),
    ],
)
def test_what_is_answered_at_once_says_what_was_not_done_and_what_to_do(
    message: Message, says: list[str]
) -> None:
    assert [words for words in says if words not in message.text] == []


def test_the_placeholders_in_the_usage_are_not_taken_for_slacks_markup() -> None:
    assert not re.search(r"<(?!@|!date)", answers.usage().text)
    assert "&lt;ticket&gt; &lt;text&gt;" in answers.usage().text


# -- hostile texts

PINGS = [
    "<!channel>",
    "<!here>",
    "<!everyone>",
    "<@U1>",
    "<#C1>",
    "<!subteam^S1>",
    "<https://evil.example|click>",
]
PIECES = st.sampled_from(
    [
        *PINGS,
        "&",
        "<",
        ">",
        "\n",
        "\n> ",
        "`",
        "```",
        "&lt;",
        "*",
        "_",
        "{ticket}",
        "%s",
        "\r",
        "e\u0301",
        "😀",
        "word ",
    ]
)
HOSTILE = st.builds(
    lambda pieces, times: "".join(pieces) * times,
    st.lists(PIECES, min_size=1, max_size=8),
    st.integers(1, 1500),
) | st.text(st.characters(exclude_categories=["Cs"]))
SHORT = HOSTILE.map(lambda text: text[:64])
DELIVERIES = st.builds(
    ended,
    st.sampled_from(Problem),
    text=st.none() | HOSTILE,
    detail=st.none() | HOSTILE,
    tenant_name=st.just(ENVIRONMENT) | SHORT.map(lambda name: name.replace("\n", " ")),
    account_id=st.just(1),
    ticket_id=st.sampled_from(["143", "9" * 19, GUID]),
    resolution=st.none() | st.sampled_from(Resolution),
    resolved_by=st.just("U0BEN"),
    route=st.sampled_from(Route),
) | st.builds(
    lambda text, id_: replace(RECORDED, text=text, activity_id=id_),
    HOSTILE,
    st.just("17") | HOSTILE,
)


def messages_about(delivery: Delivery) -> Iterator[Message]:
    yield answers.anchor(delivery)
    yield answers.already(delivery)
    for alone in (False, True):
        yield answers.answer(delivery, with_text=alone)
        for reason in Waiting:
            yield answers.note(delivery, reason, give_up_at=GIVE_UP, with_text=alone)


def texts_in(blocks: Any) -> Iterator[str]:
    """Every mrkdwn text that a message or a modal shows."""
    if isinstance(blocks, dict):
        if blocks.get("type") == "mrkdwn":
            yield blocks["text"]
        blocks = list(blocks.values())
    if isinstance(blocks, list | tuple):
        for part in blocks:
            yield from texts_in(part)


def check_blocks(
    blocks: list[dict[str, Any]] | tuple[dict[str, Any], ...], *, at_most: int
) -> None:
    assert 0 < len(blocks) <= at_most
    for block in blocks:
        match block["type"]:
            case "section":
                assert 0 < len(block["text"]["text"]) <= 3000
            case "context":
                assert 0 < len(block["elements"]) <= 10
                assert all(0 < len(element["text"]) <= 3000 for element in block["elements"])
            case "actions":
                assert 0 < len(block["elements"]) <= 25
                for element in block["elements"]:
                    assert 0 < len(element["text"]["text"]) <= 75
                    assert len(element["value"]) <= 2000
                    assert 0 < len(element["action_id"]) <= 255
            case "input":
                assert 0 < len(block["label"]["text"]) <= 2000
                assert len(block.get("hint", {}).get("text", "")) <= 2000
                assert 0 < len(block["element"].get("initial_value", "-")) <= 3000
                assert block["element"]["max_length"] <= 3000
            case other:
                pytest.fail(f"no limits are known for a block of type {other}")


def check_message(message: Message) -> None:
    assert 0 < len(message.text) < 4000
    if message.blocks:
        check_blocks(message.blocks, at_most=50)


def check_modal(modal: dict[str, Any]) -> None:
    assert 0 < len(modal["title"]["text"]) <= 24
    assert len(modal.get("submit", modal["close"])["text"]) <= 24
    assert len(modal["close"]["text"]) <= 24
    assert len(modal.get("private_metadata", "")) <= 3000
    check_blocks(modal["blocks"], at_most=100)


OWN_MARKUP = re.compile(
    r"<@U0ANNA>|<@U0BEN>|<!date\^[0-9]+\^\{time\}\|[0-9]{2}:[0-9]{2} UTC>|"
    r"(?m:^> )|(?<=\w) > (?=[A-Z])"
)


def check_harmless(text: str) -> None:
    """Nothing but the bot's own mentions and times is markup of Slack's.

    `A > B` is a path in LeadSquared's settings.
    """
    rest = OWN_MARKUP.sub("", text)
    assert "<" not in rest
    assert ">" not in rest
    assert "&" not in re.sub(r"&(?:amp|lt|gt);", "", rest)


@PATIENT
@given(DELIVERIES)
def test_every_message_stays_within_slacks_limits(delivery: Delivery) -> None:
    for message in messages_about(delivery):
        check_message(message)


@PATIENT
@given(DELIVERIES)
def test_nothing_that_anybody_wrote_does_anything_when_it_is_shown(delivery: Delivery) -> None:
    for message in messages_about(delivery):
        for text in (message.text, *texts_in(message.blocks)):
            check_harmless(text)


@PATIENT
@given(DELIVERIES)
def test_every_modal_stays_within_slacks_limits_and_shows_no_ones_markup(
    delivery: Delivery,
) -> None:
    for modal in (
        modals.modal(modals.edit_form(delivery)),
        modals.notice_modal(answers.already(delivery)),
    ):
        check_modal(modal)
        for text in texts_in(modal):
            check_harmless(text)


@PATIENT
@given(HOSTILE)
def test_a_word_that_is_no_ticket_is_shown_harmless_and_short(word: str) -> None:
    message = answers.malformed_ticket(word, "a ticket is a number")
    check_message(message)
    check_harmless(message.text)
    assert len(message.text) < 400


@pytest.mark.parametrize(
    "message",
    [
        answers.usage(),
        answers.no_ticket(),
        answers.no_text(GUID),
        answers.unmapped("T0HOME"),
        answers.not_accepted(),
        answers.broken(),
        answers.already(None),
        answers.foreign_member(),
        answers.elsewhere(),
        answers.without_text(RECORDED),
        answers.modal_failed(),
    ],
)
def test_what_is_answered_at_once_stays_within_slacks_limits(message: Message) -> None:
    check_message(message)
    check_modal(modals.notice_modal(message))


@pytest.mark.parametrize("ping", PINGS)
def test_nobody_is_pinged_by_a_text_a_message_of_leadsquareds_or_an_id(ping: str) -> None:
    shown = [
        answers.anchor(replace(RECORDED, text=ping)).text,
        answers.answer(replace(RECORDED, activity_id=ping)).text,
        answers.already(replace(RECORDED, activity_id=ping)).text,
        *(
            answers.answer(ended(problem, detail=ping, tenant_name=ping), with_text=True).text
            for problem in Problem
        ),
    ]
    assert [text for text in shown if ping in text] == []


@pytest.mark.parametrize(
    "problem", [Problem.UNREACHABLE, Problem.TLS, Problem.ADDRESS_REFUSED, *sorted(UNDECIDED)]
)
def test_a_detail_of_any_length_leaves_room_for_the_rest_of_the_answer(problem: Problem) -> None:
    message = answers.answer(ended(problem, detail="<" * 20_000, text="&\n" * 2000), with_text=True)
    check_message(message)


def test_an_id_of_any_length_does_not_keep_the_answer_from_being_told() -> None:
    check_message(answers.answer(replace(RECORDED, activity_id="1" * 20_000)))
    check_message(answers.already(replace(RECORDED, activity_id="1" * 20_000)))


@pytest.mark.parametrize("problem", list(Problem))
@pytest.mark.parametrize("detail", ["an odd ` one", "```", "`a` `b` `"])
def test_a_backtick_in_what_leadsquared_says_does_not_break_up_the_command_beside_it(
    problem: Problem, detail: str
) -> None:
    shown, plain = (answers.answer(ended(problem, detail=words)) for words in (detail, "plain"))
    assert shown.text.count("`") == plain.text.count("`")
