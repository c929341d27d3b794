"""What people are shown: the right words and buttons for every end, within Slack's limits, whatever stands in a text."""

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
from bot.slack import modals, views
from bot.slack.explanations import EXPLANATIONS, explain
from bot.slack.views import Message
from bot.tenants.tenant import ENVIRONMENT

AGAIN, EDIT, THERE = "Send again", "Edit and send again", "It is there"
GUID = "0d9f1b6c-6a54-4b62-8e7e-9c9f5b0c1a2d"
GIVE_UP = 1_795_000_000.0
PATIENT = settings(deadline=None)

RECORDED = Delivery(
    seq=1,
    id="d1a2b3c4",
    enterprise_id="E0ORG",
    team_id="T0HOME",
    channel_id="C0SUPPORT",
    user_id="U0ANNA",
    tenant_id=1,
    tenant_name="acme",
    account_id=1,
    ticket_id="143",
    text="Customer uploaded the signed form",
    response_url=None,
    thread_ts=None,
    message_ts=None,
    through_ts=None,
    state=State.RECORDED,
    accepted_at=GIVE_UP - 900,
    attempts=1,
    first_attempt_at=GIVE_UP - 900,
    waiting=None,
    activity_id="17",
    problem=None,
    detail=None,
    resolution=None,
    resolved_by=None,
    looks=0,
    finding=None,
    route=Route.THREAD,
    anchor_ts="1.0",
    anchor_mark=None,
    noted=None,
    finding_told=None,
    replied_at=None,
    tell_attempts=0,
)

UNDECIDED = frozenset(
    {
        Problem.NO_ANSWER,
        Problem.DROPPED,
        Problem.SERVER_ERROR,
        Problem.UNREADABLE,
        Problem.REDIRECTED,
        Problem.INTERRUPTED,
        Problem.RESTORED,
    }
)


def ended(problem: Problem, **changes: Any) -> Delivery:
    """Return a delivery that ended with a problem: unknown or rejected, as that problem is."""
    state = State.UNKNOWN if problem in UNDECIDED else State.REJECTED
    return replace(RECORDED, state=state, activity_id=None, problem=problem, **changes)


def buttons(message: Message) -> list[str]:
    return [
        element["text"]["text"]
        for block in message.blocks
        for element in block.get("elements", [])
        if element["type"] == "button"
    ]


def small_print(message: Message) -> str:
    return "\n".join(
        element["text"] for block in message.blocks if block["type"] == "context" for element in block["elements"]
    )


# -- what is said, and what is offered


def test_there_are_words_for_every_problem_and_for_nothing_else() -> None:
    assert set(EXPLANATIONS) == set(Problem)


@pytest.mark.parametrize(
    ("problem", "labels"),
    [
        (Problem.BAD_REQUEST, [EDIT]),
        (Problem.REFUSED, [EDIT]),
        (Problem.NOT_FOUND, [EDIT]),
        (Problem.UNAUTHORIZED, [AGAIN]),
        (Problem.FORBIDDEN, [AGAIN]),
        (Problem.FAILED, [AGAIN]),
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
    message = views.answer(ended(problem))
    assert buttons(message) == labels
    values = [
        element["value"] for block in message.blocks if block["type"] == "actions" for element in block["elements"]
    ]
    assert values == [RECORDED.id] * len(labels)


@pytest.mark.parametrize("problem", list(Problem))
@pytest.mark.parametrize("detail", [None, "The ticket is closed {ticket} {0}"])
def test_each_end_says_what_happened_on_which_ticket_and_who_is_meant(problem: Problem, detail: str | None) -> None:
    delivery = ended(problem, detail=detail)
    message = views.answer(delivery)
    assert ("*Not known whether recorded*" if problem in UNDECIDED else "*Not recorded*") in message.text
    assert ("look there first" in message.text) is (problem in UNDECIDED)
    assert "ticket 143" in message.text
    assert "<@U0ANNA>" in message.text
    assert not re.search(r"[{}]", message.text.replace("{ticket} {0}", "")), "every blank is filled in"
    assert not re.search(r"\b[2-5]\d\d\b|Exception|Traceback", message.text), "words, not codes"
    assert f"Reference {delivery.id}" in small_print(message)


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (Problem.BAD_REQUEST, 'LeadSquared says: "Too late"'),
        (Problem.REFUSED, 'LeadSquared says: "Too late"'),
        (Problem.FAILED, 'LeadSquared says: "Too late"'),
        (Problem.UNAUTHORIZED, 'LeadSquared says: "Too late"'),
        (Problem.FORBIDDEN, 'LeadSquared says: "Too late"'),
        (Problem.NOT_FOUND, 'LeadSquared says: "Too late"'),
        (Problem.SERVER_ERROR, 'LeadSquared says: "Too late"'),
        (Problem.UNREACHABLE, "could not be reached at Too late"),
        (Problem.TLS, "Too late"),
        (Problem.ADDRESS_REFUSED, "Too late"),
    ],
)
def test_what_is_known_of_the_cause_is_passed_on(problem: Problem, says: str) -> None:
    assert says in explain(ended(problem, detail="Too late"))


@pytest.mark.parametrize(
    ("problem", "mends"),
    [
        (Problem.UNAUTHORIZED, ["keys", "LeadSquared Service CRM APIs", "Enable IP Whitelisting"]),
        (Problem.FORBIDDEN, ["keys", "LeadSquared Service CRM APIs", "Enable IP Whitelisting"]),
        (Problem.NOT_FOUND, ["host", "org id"]),
        (Problem.TENANT_REMOVED, ["acme", "python -m bot tenants map NAME --team T0HOME"]),
        (Problem.UNDECIPHERABLE, ["ENCRYPTION_KEYS"]),
        (Problem.ADDRESS_REFUSED, ["LEADSQUARED_ALLOWED_HOSTS"]),
        (Problem.RATE_LIMITED, ["limit of calls"]),
    ],
)
def test_who_can_mend_it_is_told_where(problem: Problem, mends: list[str]) -> None:
    words = explain(ended(problem))
    assert [mend for mend in mends if mend not in words] == []


@pytest.mark.parametrize(
    ("problem", "variables"),
    [
        (Problem.UNAUTHORIZED, ["LEADSQUARED_ACCESS_KEY", "LEADSQUARED_SECRET_KEY"]),
        (Problem.NOT_FOUND, ["LEADSQUARED_API_URL", "LEADSQUARED_ORG_ID"]),
        (Problem.UNREACHABLE, ["LEADSQUARED_API_URL", "LEADSQUARED_ORG_ID"]),
    ],
)
def test_the_mend_is_a_command_or_the_environment_as_the_tenant_is_kept(problem: Problem, variables: list[str]) -> None:
    added = explain(ended(problem, tenant_name="acme"))
    from_environment = explain(ended(problem, tenant_name=ENVIRONMENT))
    options = " --api-url … --org-id …" if "LEADSQUARED_API_URL" in variables else ""
    assert f"`python -m bot tenants update acme{options}`" in added
    assert "tenants update" not in from_environment
    assert all(variable in from_environment and variable not in added for variable in variables)


def test_what_is_recorded_is_told_with_its_id_and_asks_for_nothing() -> None:
    message = views.answer(RECORDED)
    assert "*Recorded* on ticket 143, activity Id 17" in message.text
    assert buttons(message) == []


@pytest.mark.parametrize(
    ("resolution", "says"),
    [(Resolution.SENT_AGAIN, "Sent again by <@U0BEN>"), (Resolution.CONFIRMED, "Found on the ticket by <@U0BEN>")],
)
def test_once_somebody_decided_the_buttons_are_gone_and_it_says_who(resolution: Resolution, says: str) -> None:
    message = views.answer(ended(Problem.NO_ANSWER, resolution=resolution, resolved_by="U0BEN"))
    assert buttons(message) == []
    assert says in small_print(message)


@pytest.mark.parametrize(
    ("delivery", "says"),
    [
        (replace(RECORDED, state=State.ACCEPTED), "⏳ Recording"),
        (replace(RECORDED, state=State.SENDING), "⏳ Recording"),
        (RECORDED, "✅ Recorded"),
        (ended(Problem.FAILED), "❌ Not recorded"),
        (ended(Problem.NO_ANSWER), "⚠️ Not known whether recorded"),
        (
            ended(Problem.NO_ANSWER, resolution=Resolution.CONFIRMED, resolved_by="U0BEN"),
            "✅ On the ticket, seen by <@U0BEN>",
        ),
        (ended(Problem.FAILED, resolution=Resolution.SENT_AGAIN, resolved_by="U0BEN"), "❌ Not recorded"),
    ],
)
def test_the_anchor_says_who_which_ticket_what_and_how_it_stands(delivery: Delivery, says: str) -> None:
    message = views.anchor(delivery)
    for words in (says, "*ticket 143*", "by <@U0ANNA>", "> Customer uploaded the signed form"):
        assert words in message.text
    assert buttons(message) == []


@pytest.mark.parametrize("reason", list(Waiting))
def test_a_note_says_that_nothing_is_to_be_done(reason: Waiting) -> None:
    message = views.note(RECORDED, reason, give_up_at=GIVE_UP)
    assert "ticket 143" in message.text
    assert "there is nothing to do" in message.text
    assert buttons(message) == []


def test_the_end_of_trying_is_told_in_the_readers_own_time_zone() -> None:
    moment = 1_795_617_000.0  # 2026-11-25 14:30 UTC
    assert views.clock_time(moment) == "<!date^1795617000^{time}|14:30 UTC>"
    assert views.clock_time(moment) in views.note(RECORDED, Waiting.UNREACHABLE, give_up_at=moment).text


def test_an_answer_without_an_anchor_above_it_repeats_what_was_sent() -> None:
    assert "> Customer uploaded" not in views.answer(RECORDED).text
    assert "> Customer uploaded the signed form" in views.answer(RECORDED, with_text=True).text
    assert views.stands_alone(replace(RECORDED, route=Route.RESPONSE_URL))
    assert views.stands_alone(replace(RECORDED, route=Route.DIRECT_MESSAGE))
    assert not views.stands_alone(RECORDED)


def test_a_long_text_is_shown_short_and_says_that_it_was_sent_whole() -> None:
    message = views.anchor(replace(RECORDED, text="x" * 40_000))
    assert "40,000 characters in all; LeadSquared gets them all" in message.text
    assert "x" * 400 in message.text
    assert "x" * 600 not in message.text


def test_a_text_that_cannot_be_decrypted_is_named_as_such_and_not_as_none() -> None:
    message = views.anchor(replace(RECORDED, text=None))
    assert "cannot be decrypted" in message.text
    assert "None" not in message.text


@pytest.mark.parametrize("resolution", list(Resolution))
def test_an_operator_is_named_as_one_wherever_somebody_decided(resolution: Resolution) -> None:
    delivery = ended(Problem.NO_ANSWER, resolution=resolution, resolved_by="operator:<!here>")
    shown = [views.answer(delivery), views.already(delivery)]
    if resolution is Resolution.CONFIRMED:
        shown += [views.anchor(delivery), Message(views.double(Double(delivery, 3)))]
    for message in shown:
        assert "an operator" in str(message)
        assert "<!here>" not in str(message)


@pytest.mark.parametrize(
    ("delivery", "says"),
    [
        (None, "no such activity"),
        (RECORDED, "recorded on ticket 143 already, activity Id 17"),
        (replace(RECORDED, state=State.SENDING), "still being sent to ticket 143"),
        (ended(Problem.FAILED), "did not take this activity for ticket 143"),
        (
            ended(Problem.FAILED, resolution=Resolution.SENT_AGAIN, resolved_by="U0BEN"),
            "sent again already by <@U0BEN>",
        ),
        (ended(Problem.NO_ANSWER, resolution=Resolution.CONFIRMED, resolved_by="U0BEN"), "closed already by <@U0BEN>"),
    ],
)
def test_a_button_past_its_time_says_why_nothing_was_done(delivery: Delivery | None, says: str) -> None:
    message = views.already(delivery)
    assert message.text.startswith("Nothing was done")
    assert says in message.text


# -- doubles


@pytest.mark.parametrize(
    ("delivery", "seconds_ago", "says"),
    [
        (RECORDED, 20.4, "already recorded as Id 17, 20 s ago, by <@U0ANNA>, on ticket 143"),
        (RECORDED, -0.2, "already recorded as Id 17, 0 s ago, by <@U0ANNA>, on ticket 143"),
        (
            RECORDED,
            3600,
            "already recorded as Id 17, on <!date^1794999100^{date_short} at {time}|2026-11-18 at 10:51 UTC>, by <@U0ANNA>, on",
        ),
        (replace(RECORDED, state=State.SENDING), 3, "already being recorded on ticket 143, 3 s ago, by <@U0ANNA>"),
        (
            ended(Problem.DROPPED),
            3,
            "already sent 3 s ago, by <@U0ANNA>, and it is not known whether it was recorded on ticket 143",
        ),
        (
            ended(Problem.DROPPED, resolution=Resolution.CONFIRMED, resolved_by="U0BEN"),
            3,
            "already recorded on ticket 143, 3 s ago, by <@U0ANNA>; <@U0BEN> saw it there",
        ),
    ],
)
def test_a_double_says_by_whom_when_and_with_which_id(delivery: Delivery, seconds_ago: float, says: str) -> None:
    assert views.double(Double(delivery, seconds_ago)).startswith(says)


# -- the answers at once


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (views.usage(), ["/portal-activity", "143", "GUID", "link"]),
        (views.no_ticket(), ["Nothing was recorded", "`/portal-activity 143 "]),
        (views.no_text("143"), ["Nothing was recorded", "no text for ticket 143", "`/portal-activity 143 "]),
        (views.malformed_ticket("abc", "why"), ["Nothing was recorded", "“abc” is not a ticket; why"]),
        (views.unmapped("T0HOME"), ["Nothing was recorded", "tenants map NAME --team T0HOME"]),
        (views.not_accepted(), ["Not recorded, try again", "python -m bot check"]),
        (views.broken(), ["went wrong"]),
        (views.foreign_member(), ["Nothing was done"]),
        (views.elsewhere(), ["Nothing was recorded", "another workspace"]),
        (views.undecipherable(), ["Nothing was sent", "ENCRYPTION_KEYS"]),
        (views.modal_failed(), ["nothing was recorded"]),
    ],
)
def test_what_is_answered_at_once_says_what_was_not_done_and_what_to_do(message: Message, says: list[str]) -> None:
    assert [words for words in says if words not in message.text] == []


def test_the_placeholders_in_the_usage_are_not_taken_for_slacks_markup() -> None:
    assert not re.search(r"<(?!@|!date)", views.usage().text)
    assert "&lt;ticket&gt; &lt;text&gt;" in views.usage().text


# -- hostile texts

PINGS = ["<!channel>", "<!here>", "<!everyone>", "<@U1>", "<#C1>", "<!subteam^S1>", "<https://evil.example|click>"]
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
    lambda pieces, times: "".join(pieces) * times, st.lists(PIECES, min_size=1, max_size=8), st.integers(1, 1500)
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
) | st.builds(lambda text, id_: replace(RECORDED, text=text, activity_id=id_), HOSTILE, st.just("17") | HOSTILE)


def messages_about(delivery: Delivery) -> Iterator[Message]:
    yield views.anchor(delivery)
    yield views.already(delivery)
    for alone in (False, True):
        yield views.answer(delivery, with_text=alone)
        for reason in Waiting:
            yield views.note(delivery, reason, give_up_at=GIVE_UP, with_text=alone)


def texts_in(blocks: Any) -> Iterator[str]:
    """Every mrkdwn text that a message or a modal shows."""
    if isinstance(blocks, dict):
        if blocks.get("type") == "mrkdwn":
            yield blocks["text"]
        blocks = list(blocks.values())
    if isinstance(blocks, list | tuple):
        for part in blocks:
            yield from texts_in(part)


def check_blocks(blocks: list[dict[str, Any]] | tuple[dict[str, Any], ...], *, at_most: int) -> None:
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
    r"<@U0ANNA>|<@U0BEN>|<!date\^[0-9]+\^\{time\}\|[0-9]{2}:[0-9]{2} UTC>|(?m:^> )|(?<=\w) > (?=[A-Z])"
)


def check_harmless(text: str) -> None:
    """Nothing but the bot's own mentions and times is markup of Slack's; `A > B` is a path in LeadSquared's settings."""
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
def test_every_modal_stays_within_slacks_limits_and_shows_no_ones_markup(delivery: Delivery) -> None:
    for modal in (modals.modal(modals.edit_form(delivery)), modals.notice_modal(views.already(delivery))):
        check_modal(modal)
        for text in texts_in(modal):
            check_harmless(text)


@PATIENT
@given(HOSTILE)
def test_a_word_that_is_no_ticket_is_shown_harmless_and_short(word: str) -> None:
    message = views.malformed_ticket(word, "a ticket is a number")
    check_message(message)
    check_harmless(message.text)
    assert len(message.text) < 400


@pytest.mark.parametrize(
    "message",
    [
        views.usage(),
        views.no_ticket(),
        views.no_text(GUID),
        views.unmapped("T0HOME"),
        views.not_accepted(),
        views.broken(),
        views.already(None),
        views.foreign_member(),
        views.elsewhere(),
        views.undecipherable(),
        views.modal_failed(),
    ],
)
def test_what_is_answered_at_once_stays_within_slacks_limits(message: Message) -> None:
    check_message(message)
    check_modal(modals.notice_modal(message))


@pytest.mark.parametrize("ping", PINGS)
def test_nobody_is_pinged_by_a_text_a_message_of_leadsquareds_or_an_id(ping: str) -> None:
    shown = [
        views.anchor(replace(RECORDED, text=ping)).text,
        views.answer(replace(RECORDED, activity_id=ping)).text,
        views.already(replace(RECORDED, activity_id=ping)).text,
        *(views.answer(ended(problem, detail=ping, tenant_name=ping), with_text=True).text for problem in Problem),
    ]
    assert [text for text in shown if ping in text] == []


@pytest.mark.parametrize("problem", [Problem.UNREACHABLE, Problem.TLS, Problem.ADDRESS_REFUSED, *sorted(UNDECIDED)])
def test_a_detail_of_any_length_leaves_room_for_the_rest_of_the_answer(problem: Problem) -> None:
    message = views.answer(ended(problem, detail="<" * 20_000, text="&\n" * 2000), with_text=True)
    check_message(message)


def test_an_id_of_any_length_does_not_keep_the_answer_from_being_told() -> None:
    check_message(views.answer(replace(RECORDED, activity_id="1" * 20_000)))
    check_message(views.already(replace(RECORDED, activity_id="1" * 20_000)))


@pytest.mark.parametrize("problem", [problem for problem in Problem if "`" in explain(ended(problem))])
@pytest.mark.parametrize("detail", ["an odd ` one", "```", "`a` `b` `"])
def test_a_backtick_in_what_leadsquared_says_does_not_break_up_the_command_that_mends_it(
    problem: Problem, detail: str
) -> None:
    assert explain(ended(problem, detail=detail)).count("`") == explain(ended(problem, detail="plain")).count("`")
