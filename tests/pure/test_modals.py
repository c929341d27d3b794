"""The form: Slack's limits hold with any content, and a person's input is read back unchanged."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.leadsquared.outcome import Problem
from bot.playground.limits import problems_of_view
from bot.slack import modals
from bot.slack.answers import message
from bot.slack.messages import WholeThread
from bot.slack.modals import Form, FormText, Metadata, modal
from bot.slack.payloads import View
from bot.slack.text import units
from support.deliveries import RECORDED, ended

PATIENT = settings(deadline=None, max_examples=60)
LONG = st.builds(
    lambda words, times: (words * times)[:50_000],
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60
    )
    | st.sampled_from(["😀", "x", "a b\n", " ", "\n", "é"]),
    st.integers(1, 20_000),
)


def inputs(view: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        block["block_id"]: block["element"] for block in view["blocks"] if block["type"] == "input"
    }


def submitted(view: dict[str, Any], **typed: str) -> View:
    """Return what Slack sends when a form is submitted, as it is filled in or with `typed`."""
    values: dict[str, dict[str, Any]] = {}
    for block_id, element in inputs(view).items():
        left = {
            "value": typed.get(block_id, element.get("initial_value")),
            "selected_option": element.get("initial_option"),
            "selected_options": element.get("initial_options", []),
        }
        values[block_id] = {element["action_id"]: {"type": element["type"], **left}}
    return View.model_validate({**view, "id": "V1", "state": {"values": values}})


@PATIENT
@given(LONG)
def test_a_text_of_any_length_is_spread_over_fields_and_comes_back_whole(text: str) -> None:
    spread = FormText.of(text)
    assert all(units(field) <= modals.LONGEST_INPUT for field in spread.fields)
    assert len(spread.fields) <= modals.MOST_FIELDS
    view = modal(Form(Metadata(team="T1", channel="C1"), "143", spread))
    assert problems_of_view(view) == []
    metadata = Metadata.model_validate_json(view["private_metadata"])
    typed = modals.typed(submitted(view), metadata)
    assert not typed.edited
    if spread.left_out:
        assert f"{units(text):,} characters" in str(spread.hint)
        assert f"The last {spread.left_out:,} characters" in str(spread.hint)
        assert text.strip().startswith(typed.text.joined()[:1000])
    else:
        assert typed.text.joined() == text.strip()


@pytest.mark.parametrize("length", [2999, 3000, 3001, 6000, 15_000, 15_001])
@pytest.mark.parametrize("character", ["x", "😀"])
def test_the_bounds_of_a_field_are_slacks(length: int, character: str) -> None:
    text = character * (length // units(character))
    spread = FormText.of(text)
    assert (len(spread.fields) > 1) == (units(text) > 3000)
    assert (spread.hint is None) == (units(text) <= 3000)
    assert bool(spread.left_out) == (units(text) > 15_000)


@PATIENT
@given(
    st.builds(
        Metadata,
        team=st.just("T" * 255),
        channel=st.just("C" * 255),
        thread=st.just("1" * 22),
        message=st.just("1" * 22),
        link=st.none() | st.text("x", max_size=4000),
        response_url=st.none() | st.text("y", max_size=4000),
        shown=st.just("abcdefghijkl"),
        retry_of=st.none() | st.just("abcdefghijkl"),
    ),
    LONG,
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
)
def test_every_form_is_one_that_slack_shows(
    metadata: Metadata,
    text: str,
    choice: bool,  # noqa: FBT001 - Hypothesis's
    ticket: str,
) -> None:
    fitting = metadata.fitting()
    form = Form(
        fitting,
        ticket,
        FormText.of(text),
        choice=choice,
        notes=("a reason",),
        notice=message("a notice", "its small print"),
    )
    view = modal(form)
    assert problems_of_view(view) == []
    assert ("link" in inputs(view)) == (fitting.link is not None), (
        "no box for a link that there was no room for"
    )


def test_what_has_no_room_in_the_metadata_is_left_out_in_the_order_of_its_worth() -> None:
    small = Metadata(team="T1", channel="C1", link="l", response_url="r")
    assert small.fitting() == small
    assert small.model_copy(update={"response_url": "r" * 3000}).fitting() == Metadata(
        team="T1", channel="C1", link="l"
    )
    assert small.model_copy(update={"link": "l" * 3000}).fitting() == Metadata(
        team="T1", channel="C1"
    )


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("add_link", [False, True])
def test_what_was_chosen_is_read(whole: bool, add_link: bool) -> None:  # noqa: FBT001 - parameters
    text = (
        FormText.of_thread(WholeThread("the thread", 0, cut=False))
        if whole
        else FormText.of("the message")
    )
    view = modal(
        Form(
            Metadata(team="T1", channel="C1", link="https://l"),
            "143",
            text,
            choice=True,
            add_link=add_link,
        )
    )
    typed = modals.typed(submitted(view), Metadata(team="T1", channel="C1"))
    assert (typed.wants_whole, typed.text.whole, typed.add_link) == (whole, whole, add_link)
    assert typed.ticket == "143"
    assert typed.text.joined() == ("the thread" if whole else "the message")


def test_the_texts_of_message_and_thread_have_blocks_of_their_own() -> None:
    # Slack keeps what stands in a block whose id stays.
    of_message = set(
        inputs(modal(Form(Metadata(team="T1", channel="C1"), text=FormText.of("x " * 3000))))
    )
    of_thread = set(
        inputs(
            modal(
                Form(
                    Metadata(team="T1", channel="C1"),
                    text=FormText.of_thread(WholeThread("x", 0, cut=False)),
                )
            )
        )
    )
    assert of_message & of_thread == {"ticket"}


@pytest.mark.parametrize(
    ("left_out", "cut", "says"),
    [(1, False, "1 later message."), (12, True, "the first message and 12 later")],
)
def test_a_thread_that_was_cut_says_so_by_its_field(left_out: int, cut: bool, says: str) -> None:  # noqa: FBT001 - parameters
    assert says in str(FormText.of_thread(WholeThread("x", left_out, cut=cut)).hint)


@pytest.mark.parametrize("value", [None, "", "  ", "#143 "])
def test_an_emptied_field_is_empty_text(value: str | None) -> None:
    view = View.model_validate(
        {"id": "V1", "type": "modal", "state": {"values": {"ticket": {"input": {"value": value}}}}}
    )
    typed = modals.typed(view, Metadata(team="T1", channel="C1"))
    assert typed.ticket == (value or "").strip()
    assert typed.text.fields == ()


# -- "Edit and send again"


@pytest.mark.parametrize("text", ["hello", "a < b & c\n> d", "x" * 3000, "😀" * 1500])
def test_the_form_to_edit_comes_filled_in_with_what_was_sent_unescaped(text: str) -> None:
    view = modal(modals.edit_form(ended(Problem.REFUSED, text=text)))
    fields = inputs(view)
    assert fields[modals.TICKET_BLOCK]["initial_value"] == "143"
    assert fields[modals.TEXT_BLOCK]["initial_value"] == text
    assert json.loads(view["private_metadata"]) == {
        "team": RECORDED.team_id,
        "channel": "C0SUPPORT",
        "retry_of": RECORDED.id,
    }
    assert view["callback_id"] == modals.CALLBACK
    assert (view["title"]["text"], view["submit"]["text"]) == ("Edit and send again", "Send again")


def test_a_text_too_long_for_all_fields_is_shown_and_only_the_ticket_can_be_changed() -> None:
    view = modal(modals.edit_form(ended(Problem.REFUSED, text="x" * 15_001)))
    assert set(inputs(view)) == {modals.TICKET_BLOCK}
    assert "15,001 characters" in json.dumps(view["blocks"])
    assert modals.typed(submitted(view), Metadata(team="T1", channel="C1")).text.fields == ()


def test_a_text_that_cannot_be_decrypted_leaves_its_field_empty() -> None:
    field = inputs(modal(modals.edit_form(replace(RECORDED, text=None))))[modals.TEXT_BLOCK]
    assert "initial_value" not in field


def test_every_input_has_a_label_and_no_meaning_is_carried_by_an_emoji_alone() -> None:
    view = modal(
        Form(
            Metadata(team="T1", channel="C1", link="l"), text=FormText.of("x " * 4000), choice=True
        )
    )
    labels = [block["label"]["text"] for block in view["blocks"] if block["type"] == "input"]
    assert labels == [
        "Ticket",
        "What to record",
        "Text, part 1 of 3",
        "Text, part 2 of 3",
        "Text, part 3 of 3",
        "Link",
    ]
