"""The main job, through the front door.

Signed requests in, LeadSquared and Slack stand-ins out, SQLite on disk.
"""

from collections.abc import AsyncIterator

import pytest

from bot.playground.leadsquared import Behaviour
from bot.playground.slack import Fault
from bot.tenants.directory import Scope
from support.running import TEAM, Bot, Start, ticket_that

EMOJI = "Ünïcode, 日本語, 👩‍👩‍👧, e\u0301"


async def test_recorded_and_answered_in_the_thread(bot: Bot) -> None:
    at_once = await bot.type("143 Customer uploaded the signed form")
    answer = await bot.answered()
    await bot.at_rest()

    assert at_once is None
    assert [
        (activity.ticket_id, activity.text) for activity in bot.leadsquared.ledger.activities
    ] == [("143", "Customer uploaded the signed form")]
    assert "Recorded" in answer.text
    assert "activity ID 1" in answer.text
    anchor = bot.anchor()
    assert answer.thread_ts == anchor.ts
    assert "✅ Portal activity recorded" in anchor.text
    assert "Customer uploaded the signed form" in anchor.text


async def test_the_call_is_the_documented_one(bot: Bot) -> None:
    await bot.type("#143 hello")
    await bot.at_rest()

    (call,) = bot.leadsquared.ledger.calls
    assert (call.org_id, call.ticket_id, call.body) == (
        "22824",
        "143",
        {"Text": "hello", "Direction": "INBOUND"},
    )


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("143 a < b && c > d", "a < b && c > d"),
        ("143 first\nsecond\n\nfourth", "first\nsecond\n\nfourth"),
        (f"143 {EMOJI}", EMOJI),
        ("143 ask @Ben in #other", "ask @Ben in #other"),
        ("143 see https://example.com/?a=1&b=2", "see https://example.com/?a=1&b=2"),
        ("143 <!channel> ```code``` *bold*", "<!channel> ```code``` *bold*"),
        ("143 x", "x"),
        ("143 &lt;", "&lt;"),
    ],
)
async def test_leadsquared_gets_what_the_agent_meant(bot: Bot, typed: str, text: str) -> None:
    assert await bot.type(typed) is None
    await bot.at_rest()

    assert [activity.text for activity in bot.leadsquared.on("143")] == [text]


async def test_a_text_of_40000_characters_arrives_whole_and_is_shown_short(bot: Bot) -> None:
    text = "😀" * 20_000 + "x" * 20_000
    assert await bot.type(f"143 {text}") is None
    await bot.at_rest()

    assert [activity.text for activity in bot.leadsquared.on("143")] == [text]
    assert all(len(message.text) < 4000 for message in bot.slack.workspace.messages)
    assert "40,000 characters" in bot.anchor().text


async def test_nobody_is_pinged_by_what_a_customer_wrote(bot: Bot) -> None:
    await bot.type("143 <!channel> and <@U0BEN> and <!subteam^S1>")
    await bot.at_rest()

    everything = str(bot.slack.workspace.messages)
    assert "&lt;!channel&gt;" in everything
    assert "<!channel>" not in everything
    assert "<@U0BEN>" not in everything
    assert "<!subteam" not in everything


async def test_a_mention_by_id_only_becomes_the_persons_name(bot: Bot) -> None:
    await bot.slack.command(
        "143 talk to <@U0BEN> and <@U0NOBODY>", channel="C0SUPPORT", person="U0ANNA"
    )
    await bot.at_rest()

    assert [activity.text for activity in bot.leadsquared.on("143")] == [
        "talk to @Ben and @U0NOBODY"
    ]


async def test_a_name_that_slack_does_not_tell_is_no_reason_to_lose_the_activity(bot: Bot) -> None:
    await bot.type("144 first")  # so that Slack was asked about Anna herself
    bot.slack.faults["users.info"].append(Fault(status=500))
    await bot.slack.command("143 talk to <@U0BEN>", channel="C0SUPPORT", person="U0ANNA")
    await bot.at_rest()

    assert [activity.text for activity in bot.leadsquared.on("143")] == ["talk to @U0BEN"]


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("../../x hello", "“../../x” is not a ticket"),
        ("143/../144 hello", "is not a ticket"),
        ("abc hello", "“abc” is not a ticket"),
        ("https://example.com/tickets/143 hello", "does not lead to LeadSquared"),
        ("<!channel> hello", "“&lt;!channel&gt;” is not a ticket"),
        ("help", "records what a customer did"),
        ("HELP", "records what a customer did"),
    ],
)
async def test_what_cannot_be_recorded_is_answered_at_once_and_stored_nowhere(
    bot: Bot, typed: str, says: str
) -> None:
    answer = await bot.type(typed)

    assert answer is not None
    assert answer.ephemeral == "U0ANNA"
    assert says in answer.text
    assert "`/portal-activity" in answer.text
    assert await bot.parts.outbox.unfinished() == 0
    assert bot.leadsquared.ledger.calls == []


@pytest.mark.parametrize(
    "ticket",
    [
        "143",
        "#143",
        "https://acme.leadsquared.com/tickets/143",
        "https://acme.leadsquared.com/app#/ticket/143?tab=2",
    ],
)
async def test_the_ticket_may_be_written_in_each_of_its_forms(bot: Bot, ticket: str) -> None:
    assert await bot.type(f"{ticket} hello") is None
    await bot.at_rest()

    assert len(bot.leadsquared.on("143")) == 1


async def test_a_guid_goes_into_the_path_as_it_is(bot: Bot) -> None:
    guid = "0d9f1b6c-6a54-4b62-8e7e-9c9f5b0c1a2d"
    bot.leadsquared.tickets[guid] = Behaviour.FINE
    await bot.type(f"{{{guid.upper()}}} hello")
    await bot.at_rest()

    assert len(bot.leadsquared.on(guid)) == 1


async def test_a_workspace_without_a_tenant_is_told_what_an_admin_does(bot: Bot) -> None:
    answer = await bot.type("143 hello", team_id="T0STRANGER")

    assert answer is not None
    assert "T0STRANGER" in answer.text
    assert "python -m bot tenants map NAME --team T0STRANGER" in answer.text
    assert bot.leadsquared.ledger.calls == []


async def test_the_same_trigger_id_twice_is_one_activity(bot: Bot) -> None:
    trigger = bot.slack.trigger_id()
    for _ in range(2):
        assert (
            await bot.slack.command(
                "143 hello", channel="C0SUPPORT", person="U0ANNA", trigger_id=trigger
            )
            is None
        )
    await bot.at_rest()

    assert len(bot.leadsquared.on("143")) == 1
    assert len([message for message in bot.slack.workspace.messages if message.thread_ts]) == 1


@pytest.fixture
async def polling(start: Start, environment: dict[str, str]) -> AsyncIterator[Bot]:
    """A bot that soon answers a workspace for which it has no token: after three polls."""
    async with start(environment | {"POLL_INTERVAL": "0.2"}) as bot:
        yield bot


async def test_the_same_trigger_id_from_two_workspaces_is_two_activities(polling: Bot) -> None:
    # Nothing is keyed by what is unique within one workspace only.
    bot = polling
    await bot.parts.directory.map("environment", Scope(team_id="T0SECOND"))
    for team in (TEAM, "T0SECOND"):
        answer = await bot.slack.command(
            "143 hello", channel="C0SUPPORT", person="U0ANNA", trigger_id="1.2.3", team_id=team
        )
        assert answer is None
    await bot.at_rest()

    assert len(bot.leadsquared.on("143")) == 2


async def test_another_workspace_is_answered_without_this_ones_token(polling: Bot) -> None:
    bot = polling
    await bot.parts.directory.map("environment", Scope(team_id="T0SECOND"))
    await bot.type("143 hello", team_id="T0SECOND")
    told = await bot.told_to("U0ANNA")
    await bot.at_rest()

    assert "Recorded" in told.text
    assert [method for method, _ in bot.slack.workspace.calls if method == "chat.postMessage"] == []


async def test_activities_on_one_ticket_keep_their_order_and_tickets_do_not_wait_for_each_other(
    bot: Bot,
) -> None:
    busy = ticket_that(Behaviour.BUSY_AT_FIRST)
    await bot.type(f"{busy} one")
    await bot.type(f"{busy} two")
    await bot.answered(messages=1)  # the note, or the answer, of the first
    bot.leadsquared.tickets[busy] = Behaviour.FINE
    await bot.at_rest(within=30)

    assert [activity.text for activity in bot.leadsquared.on(busy)] == ["one", "two"]


async def test_a_slow_ticket_holds_up_no_other(bot: Bot) -> None:
    hanging = ticket_that(Behaviour.HANG)
    await bot.type(f"{hanging} slow")
    await bot.type("143 quick")
    answer = await bot.answered()

    assert "ticket 143" in answer.text
    await bot.at_rest()


async def test_an_accepted_command_survives_a_stop(
    bot: Bot, start: Start, environment: dict[str, str]
) -> None:
    bot.parts.worker.stop()  # as if the process had ended right after the acknowledgement
    await bot.type("143 kept")
    assert bot.leadsquared.ledger.calls == []

    async with start(environment):
        await bot.answered()
        await bot.at_rest()
    assert [activity.text for activity in bot.leadsquared.on("143")] == ["kept"]


async def test_before_slack_has_said_whose_the_token_is_the_person_is_asked_to_try_again(
    bot: Bot,
) -> None:
    bot.single.identity = None
    answer = await bot.type("143 hello", team_id="T0STRANGER")

    assert answer is not None
    assert "just started, so nothing was recorded" in answer.text


async def test_no_line_of_what_was_typed_stands_outside_its_quotation(bot: Bot) -> None:
    await bot.type("143 one\rtwo\u2028three\x85four\x0bfive\x07")
    await bot.at_rest()
    assert bot.anchor().text.split("\n")[1:6] == ["> one", "> two", "> three", "> four", "> five"]


async def test_a_group_or_channel_by_id_only_becomes_its_name_or_stays_its_id(bot: Bot) -> None:
    await bot.slack.command(
        "143 ask <!subteam^S0HELP> and <!subteam^S0GONE> in <#C0OTHER> or <#C0PRIVATE|>",
        channel="C0SUPPORT",
        person="U0ANNA",
    )
    await bot.at_rest()
    text = "ask @helpdesk and @S0GONE in #other or #C0PRIVATE"
    assert [one.text for one in bot.leadsquared.on("143")] == [text]


@pytest.mark.parametrize(
    "ticket",
    [
        *(
            "“143”",
            "143:",
            "143,",
            "(143)",
            "*143*",
            "`143`",
            "\uff03143",
            "\u200b143",
            "1\u20604\u00ad3",
            "\ufeff 143",
            "\u3164143",
            "\uff11\uff14\uff13",
            "143;",
        ),
        "https://acme.leadsquared.com/tickets/143]",
        "https://acme.leadsquared.com/tickets/143…",
    ],
)
async def test_a_ticket_is_taken_as_people_write_it(bot: Bot, ticket: str) -> None:
    assert await bot.type(f"{ticket} hello") is None
    await bot.at_rest()
    assert [one.text for one in bot.leadsquared.on("143")] == ["hello"]


@pytest.mark.parametrize("text", ["\u200b", "\u3164", "\u2800 \u2060", "\u115f\u00ad\n"])
async def test_a_text_of_which_nothing_is_seen_is_no_text(bot: Bot, text: str) -> None:
    modal = await bot.ask_by_command(f"143 {text}")
    assert bot.slack.modals.value(modal, "ticket") == "143"
    answer = await bot.submit(modal, text=text)
    assert "text" in answer["errors"]
    assert await bot.parts.outbox.unfinished() == 0


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("0 hello", "“0” can't be a ticket number: ticket numbers start at 1."),
        ("“0” hello", "“0” can't be a ticket number: ticket numbers start at 1."),
        ("1,430 hello", "“1,430” can't be a ticket number: enter only the digits 0 to 9."),
        ("00143 hello", "“00143” can't be a ticket number"),
        ("https://acme.leadsquared.com/leads/143 hello", "that link has no ticket in it"),
        ("abc hello", "“abc” is not a ticket"),
    ],
)
async def test_a_refusal_says_what_is_wrong_and_shows_an_example_on_its_own_line(
    bot: Bot, typed: str, says: str
) -> None:
    answer = await bot.type(typed)
    assert answer is not None
    assert says in answer.text
    assert "`/portal-activity 143 Customer uploaded the signed form`" in answer.text.split("\n")


async def test_the_forms_refusal_says_what_is_wrong_too(bot: Bot) -> None:
    modal = await bot.ask_by_command()
    for ticket, says in (
        ("0", "“0” can't be a ticket number"),
        ("abc", "Not a ticket"),
        ("\u200b", "Enter the ticket"),
    ):
        answer = await bot.submit(modal, ticket=ticket, text="hello")
        assert says in answer["errors"]["ticket"]
    assert await bot.submit(modal, ticket="\u200b(143)", text="hello") == {}
