"""The ticket that a message names, where there is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.activities.ticket import find_ticket, parse_ticket

GUID = "0d9f1b6c-6a54-4b62-8e7e-9c9f5b0c1a2d"


@pytest.mark.parametrize(
    "text",
    [
        "#143",
        "about #143.",
        "about #143, please",
        "(#143)",
        "*#143*",
        "#143's form",
        "#143 and then #144",
        "ticket 143",
        "Ticket #143 is stuck",
        "TICKET-143",
        "ticket no. 143?",
        "ticket number: 143",
        "Ticket ID: #143",
        "ticket\n143",
        "tickets 143 and 144",
        "ticket (143)",
        "ticket “143”",
        "see https://acme.leadsquared.com/tickets/143.",
        "see <https://acme.leadsquared.com/app#/ticket/143?tab=2>",
        "Issue (https://acme.leadsquared.com/tickets/143) and #144",
        "not https://example.com/tickets/9#8 but #143",
        "Ticket # 143",
        "Ticket No: # 143",
        "ticket *143*",
        "ticket \uff03143",
        "about \uff03143",
        "ticket 1\u200b43 and \u2066#144\u2069",
        "t\u00adicket\ufeff 143",
        "order #12 is for ticket 143",
        "order #12: https://acme.leadsquared.com/tickets/143",
        "#12 https://acme.leadsquared.com/tickets/143, ticket 144",
        "2 tickets 3 people, about #143",
        "2 tickets 3 people, about ticket 143",
        "2. Ticket 143",
        "tickets 143 and 144 of 2 people",
        "[https://acme.leadsquared.com/tickets/143]",
        "https://acme.leadsquared.com/tickets/143…",
        "https://acme.leadsquared.com/tickets/143。よろしく",
        "“https://acme.leadsquared.com/tickets/143”",
        "_https://acme.leadsquared.com/tickets/143_",
        "https://acme.leadsquared.com/tickets/143; thanks",
        "**Ticket:** 143",
        "*Ticket* 143",
        "**Ticket**: #143",
        "Ticket #: 143",
        "ticket \uff11\uff14\uff13",
        "\uff03\uff11\uff14\uff13",
    ],
)
def test_it_is_found_as_people_write_it(text: str) -> None:
    assert find_ticket(text) == "143"


@pytest.mark.parametrize(
    "text",
    [
        f"ticket {GUID}",
        f"Ticket: {{{GUID.upper()}}}",
        f"https://acme.leadsquared.com/tickets/{GUID}",
    ],
)
def test_a_guid_is_found_where_it_is_called_a_ticket(text: str) -> None:
    assert find_ticket(text) == GUID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "143",
        "order#143",
        "#14a3",
        "##143",
        "&#143;",
        "#0",
        "ticket 14:30",
        "2 tickets 3 people",
        "two tickets 3 people",
        "2 open tickets 3 people",
        "1 ticket 3 people",
        "ticket 1.5",
        "ticket 143-2",
        "https://example.com/tickets/143",
        "https://example.com/page#143",
        "https://acme.leadsquared.com/leads/143",
        "https://[/tickets/143",
        f"order {GUID}",
        "#" + "1" * 20,
        # Long runs of what a reference could begin with.
        "a" * 40_000,
        "ticket" + " " * 40_000,
        "ticket " * 6000,
        "#" * 40_000,
        "http://" * 6000,
        f"https://a{'*' * 40_000}b",
        f"{'2 tickets ' * 4000}people",
    ],
)
def test_what_is_none_is_not_taken_for_one(text: str) -> None:
    assert find_ticket(text) is None


@given(
    st.text(
        st.sampled_from("ticket #143:/.no-httpsx<>()\n ")
        | st.characters(exclude_categories=["Cs"]),
        max_size=80,
    )
)
def test_whatever_is_found_is_a_ticket(text: str) -> None:
    found = find_ticket(text)
    assert found is None or parse_ticket(found) == found
