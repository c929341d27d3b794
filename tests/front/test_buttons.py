"""Send again, Edit and send again, It's there: once, by members, on what is still open."""

import asyncio
import re

import pytest

from bot.admin.activities import Action, Operator
from bot.playground.leadsquared import Behaviour
from bot.playground.slack import Fault
from bot.playground.workspace import Posted
from support.running import TEAM, Bot, ticket_that

AGAIN, EDIT, THERE = "Send again", "Edit and send again", "It's there"


async def failed(bot: Bot, behaviour: Behaviour, text: str = "hello") -> tuple[str, Posted]:
    """Type a command that ends as this behaviour makes it end; return the ticket and the answer."""
    ticket = ticket_that(behaviour)
    await bot.type(f"{ticket} {text}")
    answer = await bot.answered()
    await bot.at_rest()
    return ticket, answer


async def test_send_again_sends_the_same_once_more_and_answers_in_the_same_thread(bot: Bot) -> None:
    ticket, answer = await failed(bot, Behaviour.FAILED, "hello & <goodbye>")
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    await bot.slack.click(answer, AGAIN, person="U0BEN")
    second = await bot.answered(messages=2)
    await bot.at_rest()
    await bot.parts.background.finish(5)

    assert [activity.text for activity in bot.leadsquared.on(ticket)] == ["hello & <goodbye>"]
    assert "Recorded" in second.text
    assert second.thread_ts == answer.thread_ts
    assert "✅ Portal activity recorded" in bot.anchor().text
    assert answer.buttons() == {}, "taken away from the old answer"
    assert answer.text.startswith(
        f"❌ This was not recorded on ticket {ticket}. <@U0BEN> sent it again: see the new"
    )
    assert "Fix that" not in str(answer.blocks), "what is decided is not asked for"
    old, new = reference_of(answer), reference_of(bot.anchor())
    assert old != new, "the anchor is the new activity's"


async def test_two_clicks_at_the_same_moment_send_once(bot: Bot) -> None:
    ticket, answer = await failed(bot, Behaviour.FAILED)
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    clicked = Posted(answer.channel, answer.ts, answer.text, answer.blocks, answer.thread_ts)
    await asyncio.gather(
        *(bot.slack.click(clicked, AGAIN, person=person) for person in ("U0ANNA", "U0BEN") * 4)
    )
    await bot.answered(messages=2)
    await bot.at_rest()
    await bot.parts.background.finish(5)

    assert len(bot.leadsquared.on(ticket)) == 1
    told = [message.text for message in bot.slack.workspace.messages if message.ephemeral]
    assert len(told) == 7
    assert all("already sent this again" in text for text in told)


async def test_it_is_there_closes_an_unknown_one_without_a_call(bot: Bot) -> None:
    _, answer = await failed(bot, Behaviour.DROP)
    await bot.slack.click(answer, THERE, person="U0BEN")
    await bot.at_rest()
    await bot.parts.background.finish(5)

    assert len(bot.leadsquared.ledger.calls) == 1
    assert answer.buttons() == {}
    assert answer.text.startswith("✅ <@U0BEN> confirmed that this is on ticket")
    assert "Check the ticket" not in str(answer.blocks), "what is decided is not asked for"
    assert "confirmed by <@U0BEN>" in bot.anchor().text


async def test_only_one_of_two_different_decisions_counts(bot: Bot) -> None:
    ticket, answer = await failed(bot, Behaviour.DROP)
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    clicked = Posted(answer.channel, answer.ts, answer.text, answer.blocks, answer.thread_ts)
    await bot.slack.click(clicked, THERE, person="U0BEN")
    await bot.slack.click(clicked, AGAIN, person="U0ANNA")
    told = await bot.told_to("U0ANNA")
    await bot.at_rest()

    assert "<@U0BEN> already confirmed" in told.text
    assert bot.leadsquared.on(ticket) == []


@pytest.mark.parametrize("button", [AGAIN, THERE])
async def test_a_button_pressed_in_another_workspace_does_nothing_but_say_so(
    bot: Bot, button: str
) -> None:
    _, answer = await failed(bot, Behaviour.DROP)
    await bot.slack.click(
        answer, button, person="U0MALLORY", team_id="T0OTHER", user_team_id="T0OTHER"
    )
    told = await bot.told_to("U0MALLORY")
    await bot.at_rest()

    assert "nothing was done" in told.text
    assert "hello" not in told.text
    assert len(bot.leadsquared.ledger.calls) == 1
    assert list(answer.buttons()) == [AGAIN, THERE]


async def test_a_button_works_where_an_org_wide_install_leaves_the_team_out(bot: Bot) -> None:
    ticket, answer = await failed(bot, Behaviour.FAILED)
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    button = answer.buttons()[AGAIN]
    for person_team in ("T0OTHER", "T0HOME"):
        payload = {
            "type": "block_actions",
            "team": None,
            "enterprise": {"id": "E0ORG", "name": "Org"},
            "is_enterprise_install": True,
            "user": {"id": "U0ANNA", "team_id": person_team},
            "trigger_id": bot.slack.trigger_id(),
            "response_url": bot.slack.response_url(answer.channel, "U0ANNA", answer.ts),
            "actions": [{**button, "block_id": "b"}],
        }
        assert await bot.slack._interact(payload) == {}
    second = await bot.answered(messages=2)
    await bot.at_rest()

    assert "Recorded" in second.text
    assert len(bot.leadsquared.on(ticket)) == 1
    assert "no such activity" in (await bot.told_to("U0ANNA")).text, "the other workspace's click"


async def test_a_member_of_another_organisation_in_a_shared_channel_cannot_decide(bot: Bot) -> None:
    _, answer = await failed(bot, Behaviour.DROP)
    await bot.slack.click(answer, AGAIN, person="U0GUEST")
    told = await bot.told_to("U0GUEST")
    await bot.at_rest()

    assert "Only members of the workspace" in told.text
    assert len(bot.leadsquared.ledger.calls) == 1


async def test_a_button_on_a_delivery_that_is_recorded_does_nothing_but_say_so(bot: Bot) -> None:
    ticket, answer = await failed(bot, Behaviour.FAILED)
    old_button = answer.blocks
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    await bot.slack.click(answer, AGAIN, person="U0ANNA")
    second = await bot.answered(messages=2)
    await bot.at_rest()
    assert "Recorded" in second.text
    reference = reference_of(bot.anchor())
    forged = Posted(
        answer.channel, answer.ts, answer.text, _with_value(old_button, reference), answer.thread_ts
    )
    await bot.slack.click(forged, AGAIN, person="U0ANNA")
    told = await bot.told_to("U0ANNA")

    assert "already recorded on ticket" in told.text
    assert len(bot.leadsquared.on(ticket)) == 1


async def test_a_button_with_a_made_up_reference_does_nothing_but_say_so(bot: Bot) -> None:
    _, answer = await failed(bot, Behaviour.FAILED)
    forged = Posted(
        answer.channel,
        answer.ts,
        answer.text,
        _with_value(answer.blocks, "' OR 1=1 --"),
        answer.thread_ts,
    )
    await bot.slack.click(forged, AGAIN, person="U0ANNA")

    assert "no such activity" in (await bot.told_to("U0ANNA")).text
    assert len(bot.leadsquared.ledger.calls) == 1


async def test_edit_and_send_again_opens_what_was_sent_and_sends_what_was_edited(bot: Bot) -> None:
    _, answer = await failed(bot, Behaviour.BAD_REQUEST, "a < b & c\nsecond line")
    await bot.slack.click(answer, EDIT, person="U0BEN")
    (modal,) = bot.slack.modals.open
    filled = {block["block_id"]: block["element"]["initial_value"] for block in modal["blocks"]}
    assert filled == {
        "ticket": ticket_that(Behaviour.BAD_REQUEST),
        "text": "a < b & c\nsecond line",
    }

    assert (
        await bot.slack.submit(modal, {"ticket": "#143", "text": "<b> & more"}, person="U0BEN")
        == {}
    )
    second = await bot.answered(messages=2)
    await bot.at_rest()
    await bot.parts.background.finish(5)

    assert [activity.text for activity in bot.leadsquared.on("143")] == ["<b> & more"]
    assert "Recorded" in second.text
    assert "ticket 143" in bot.anchor().text
    assert "&lt;b&gt; &amp; more" in bot.anchor().text
    assert answer.buttons() == {}
    said = f"❌ This was not recorded on ticket {ticket_that(Behaviour.BAD_REQUEST)}. "
    assert answer.text.startswith(
        f"{said}<@U0BEN> sent it again on ticket 143: see the new answer below."
    )


async def test_an_edit_for_the_same_ticket_points_to_the_new_answer_without_naming_it_again(
    bot: Bot,
) -> None:
    ticket, answer = await failed(bot, Behaviour.DROP)
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    delivery = await bot.delivery(answer.buttons()[AGAIN]["value"])
    operator = Operator(bot.parts.database, bot.parts.keyring, "root")
    await operator.decide(Action.RETRY, [delivery.id], None)
    bot.parts.worker.wake(delivery.tenant_id)
    bot.parts.teller.wake()
    await bot.answered(messages=2)
    await bot.at_rest()

    said = (
        f"⚠️ This may or may not be on ticket {ticket}. "
        "An admin sent it again: see the new answer below."
    )
    assert answer.text.startswith(said)


async def test_an_edited_answer_that_only_one_person_sees_names_the_new_ticket_too(
    bot: Bot,
) -> None:
    await bot.type(f"{ticket_that(Behaviour.BAD_REQUEST)} hello", channel="C0PRIVATE")
    told = await bot.told_to("U0ANNA")
    await bot.at_rest()
    await bot.slack.click(told, EDIT, person="U0ANNA")
    (modal,) = bot.slack.modals.open
    await bot.submit(modal, ticket="143")
    await bot.at_rest()
    await bot.parts.background.finish(5)

    assert "<@U0ANNA> sent it again on ticket 143" in told.text


async def test_an_edit_that_is_refused_again_shows_its_own_ticket_and_text_in_the_anchor(
    bot: Bot,
) -> None:
    _, answer = await failed(bot, Behaviour.BAD_REQUEST, "the first text")
    await bot.slack.click(answer, "Edit and send again", person="U0BEN")
    (modal,) = bot.slack.modals.open
    other = ticket_that(Behaviour.REFUSED)
    await bot.slack.submit(modal, {"ticket": other, "text": "the second text"}, person="U0BEN")
    await bot.answered(messages=2)
    await bot.at_rest()

    anchor = bot.anchor()
    assert f"ticket {other}" in anchor.text.replace("*", "")
    assert "the second text" in anchor.text
    assert "<@U0BEN>" in anchor.text


async def test_an_error_in_the_modal_stands_by_its_field_and_sends_nothing(bot: Bot) -> None:
    _, answer = await failed(bot, Behaviour.BAD_REQUEST)
    await bot.slack.click(answer, EDIT, person="U0ANNA")
    (modal,) = bot.slack.modals.open
    for values, field in (
        ({"ticket": "../x"}, "ticket"),
        ({"ticket": "143", "text": "   "}, "text"),
    ):
        shown = await bot.slack.submit(modal, values, person="U0ANNA")
        assert list(shown["errors"]) == [field]
    assert len(bot.leadsquared.ledger.calls) == 1


async def test_the_same_modal_submitted_twice_records_once(bot: Bot) -> None:
    _, answer = await failed(bot, Behaviour.BAD_REQUEST)
    await bot.slack.click(answer, EDIT, person="U0ANNA")
    (modal,) = bot.slack.modals.open
    first = await bot.slack.submit(modal, {"ticket": "143"}, person="U0ANNA")
    bot.slack.modals.open.append(modal)
    second = await bot.slack.submit(modal, {"ticket": "144"}, person="U0ANNA")
    await bot.at_rest()

    assert first == {}
    assert "already sent this again" in str(second["view"])
    assert len(bot.leadsquared.ledger.activities) == 1


async def test_a_modal_of_another_workspaces_delivery_reaches_nothing(bot: Bot) -> None:
    _, answer = await failed(bot, Behaviour.BAD_REQUEST)
    await bot.slack.click(answer, EDIT, person="U0ANNA")
    (modal,) = bot.slack.modals.open
    shown = await bot.slack.submit(modal, {"ticket": "143"}, person="U0MALLORY", team_id="T0OTHER")

    assert "belongs to another workspace" in str(shown["view"])
    assert len(bot.leadsquared.ledger.calls) == 1


async def test_a_text_too_long_to_edit_is_sent_as_it_was(bot: Bot) -> None:
    text = "x" * 3001
    _, answer = await failed(bot, Behaviour.BAD_REQUEST, text)
    await bot.slack.click(answer, EDIT, person="U0ANNA")
    (modal,) = bot.slack.modals.open
    assert "3,001 characters" in str(modal["blocks"])
    await bot.slack.submit(modal, {"ticket": "143"}, person="U0ANNA")
    await bot.at_rest()

    assert [activity.text for activity in bot.leadsquared.on("143")] == [text]


async def test_a_modal_that_slack_does_not_open_is_told(bot: Bot) -> None:
    _, answer = await failed(bot, Behaviour.BAD_REQUEST)
    bot.slack.faults["views.open"].append(Fault("expired_trigger_id"))
    await bot.slack.click(answer, EDIT, person="U0ANNA")

    assert "didn't open the form" in (await bot.told_to("U0ANNA")).text
    assert list(answer.buttons()) == [AGAIN, EDIT]


async def test_send_again_goes_by_the_mapping_of_now(bot: Bot) -> None:
    ticket, answer = await failed(bot, Behaviour.UNAUTHORIZED)
    await bot.parts.directory.remove("environment")
    await bot.slack.click(answer, AGAIN, person="U0ANNA")

    assert "isn't connected to LeadSquared" in (await bot.told_to("U0ANNA")).text
    assert list(answer.buttons()) == [AGAIN], "still to be pressed when an admin has fixed it"
    assert bot.leadsquared.on(ticket) == []


async def test_what_a_button_says_stays_in_its_thread(bot: Bot) -> None:
    _, answer = await failed(bot, Behaviour.DROP)
    await bot.slack.click(answer, AGAIN, person="U0GUEST")
    told = await bot.told_to("U0GUEST")
    await bot.slack.click(answer, THERE, person="U0BEN")
    await bot.at_rest()
    await bot.parts.background.finish(5)

    assert told.thread_ts == answer.thread_ts
    sent = [payload for method, payload in bot.slack.workspace.calls if method == "response_url"]
    assert [payload["thread_ts"] for payload in sent] == [answer.thread_ts]
    assert answer.text.startswith("✅ <@U0BEN> confirmed"), "changed where it stands"


async def test_a_button_that_stands_in_no_thread_is_answered_in_its_conversation(bot: Bot) -> None:
    await bot.type(f"{ticket_that(Behaviour.DROP)} hello", channel="C0PRIVATE")
    answer = await bot.told_to("U0ANNA")
    await bot.at_rest()
    await bot.slack.click(answer, AGAIN, person="U0GUEST")

    assert (await bot.told_to("U0GUEST")).thread_ts is None


async def test_what_fails_at_a_click_is_told_in_its_thread(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, answer = await failed(bot, Behaviour.DROP)

    async def break_down(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(bot.parts.acceptance, "find", break_down)
    await bot.slack.click(answer, AGAIN, person="U0ANNA")

    assert (await bot.told_to("U0ANNA")).thread_ts == answer.thread_ts


async def test_a_decision_that_was_made_without_a_click_changes_the_answer_too(bot: Bot) -> None:
    _, answer = await failed(bot, Behaviour.DROP)
    delivery = await bot.delivery(answer.buttons()[THERE]["value"])
    await bot.parts.acceptance.confirm(TEAM, delivery, "U0BEN")
    bot.parts.teller.wake()
    await bot.slack.until(lambda: answer.text.startswith("✅ <@U0BEN> confirmed"))
    await bot.at_rest()

    assert answer.buttons() == {}
    assert "confirmed by <@U0BEN>" in bot.anchor().text


async def test_the_message_in_the_channel_follows_what_was_sent_again(bot: Bot) -> None:
    ticket, answer = await failed(bot, Behaviour.FAILED)
    bot.leadsquared.tickets[ticket] = Behaviour.FINE
    bot.leadsquared.latency = 0.8
    await bot.slack.click(answer, AGAIN, person="U0BEN")
    await bot.slack.until(lambda: bot.anchor().text.startswith("⏳ Recording"))
    await bot.at_rest()

    assert bot.anchor().text.startswith(
        f"✅ Portal activity recorded on ticket {ticket} by <@U0BEN>"
    )


def reference_of(message: Posted) -> str:
    (found,) = re.findall(r"Reference ([a-z2-7]{12})", message.text)
    return str(found)


def _with_value(blocks: list[dict[str, object]], value: str) -> list[dict[str, object]]:
    changed = []
    for block in blocks:
        elements = block.get("elements")
        if block["type"] == "actions" and isinstance(elements, list):
            changed.append(
                {**block, "elements": [{**element, "value": value} for element in elements]}
            )
        else:
            changed.append(block)
    return changed
