"""How a ticket may be written, what is refused, and that the text after it stays unchanged."""

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.activities.ticket import MalformedTicketError, parse_ticket
from bot.slack.commands import take_apart
from bot.slack.text import to_plain

GUID = "0d9f1b6c-6a54-4b62-8e7e-9c9f5b0c1a2d"
TICKET = re.compile(r"[1-9][0-9]{0,18}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
HOST = "https://acme.leadsquared.com"

PATIENT = settings(deadline=None)
WRITTEN = st.text(st.characters(exclude_categories=["Cs"]))


def encode(text: str) -> str:
    """Encode what a person typed, as Slack does."""
    return html.escape(text, quote=False)


def ticket_named_by(command: str) -> str:
    return parse_ticket(take_apart(command).ticket)


@pytest.mark.parametrize(
    ("word", "ticket"),
    [
        ("143", "143"),
        ("#143", "143"),
        ("1", "1"),
        ("9" * 19, "9" * 19),
        (GUID, GUID),
        (GUID.upper(), GUID),
        (f"{{{GUID}}}", GUID),
        (f"{{{GUID.upper()}}}", GUID),
        *(
            (word, "143")
            for word in (
                "“143”",
                "143:",
                "143,",
                "(143)",
                "*143*",
                "`143`",
                "\uff03143",
                "«#143»",
                "143…",
            )
        ),
        *(
            (word, "143")
            for word in (
                "\uff11\uff14\uff13",
                "\uff03\uff11\uff14\uff13:",
                "„143“",
                "\u201a143\u2018",
                "\u2039143\u203a",
                "143;",
                "143\uff1b",
            )
        ),
        *((word, "143") for word in ("\u3164143\u2800", "143\ufe0f", "\u061c143")),
        (GUID.replace("0", "\uff10"), GUID),
        *(
            (word, "143")
            for word in (
                "\u200b143\ufeff",
                "1\u00ad4\u20603",
                "\u202a143\u202c",
                "\u2066#143\u2069.",
            )
        ),
        (f"({GUID})", GUID),
    ],
)
def test_a_ticket_is_a_number_its_key_or_its_guid(word: str, ticket: str) -> None:
    assert parse_ticket(word) == ticket


@pytest.mark.parametrize(
    ("link", "ticket"),
    [
        (f"{HOST}/tickets/143", "143"),
        (f"{HOST}/tickets/143/", "143"),
        *(
            (f"{HOST}/tickets/143{mark}", "143")
            for mark in ("]", ")", "…", "。", "”", ",", ":", ".", "\u200b", "*")
        ),
        (f"({HOST}/tickets/143)", "143"),
        (f"{HOST}/tickets/14\u200b3", "143"),
        (f"{HOST}/tickets/143%E2%80%8B", "143"),
        (f"{HOST}/details?ticketId=143%E2%80%8B,", "143"),
        (f"{HOST}/Ticket/143/activities/77", "143"),
        (f"{HOST}/ticketdetails/{GUID.upper()}", GUID),
        (f"{HOST}:8443/tickets/143", "143"),
        (f"{HOST}./tickets/143", "143"),
        ("https://leadsquared.com/tickets/143", "143"),
        ("HTTPS://ACME.LEADSQUARED.COM/tickets/143", "143"),
        ("http://acme.leadsquared.com/tickets/143", "143"),
        (f"{HOST}/details?ticketId=143", "143"),
        (f"{HOST}/details?TICKETID=143&tab=2", "143"),
        (f"{HOST}/details?tab=2&ticket_id=%23143", "143"),
        (f"{HOST}/details?ticket={GUID}", GUID),
        (f"{HOST}/TicketDetails?id=143", "143"),
        (f"{HOST}/ServiceCRM/TicketDetails/143", "143"),
        (f"{HOST}/app/Tickets/Details/143", "143"),
        (f"{HOST}/details?id=77&ticketId=143", "143"),
        (f"{HOST}/details?id=none&ticketId=143", "143"),
        (f"{HOST}/app#/ticket/143", "143"),
        (f"{HOST}/app#!/ticket/143", "143"),
        (f"{HOST}/app#/ticket/143?tab=2", "143"),
        (f"{HOST}/app#/details?ticketId=143", "143"),
        (f"{HOST}/app?tab=2#/ticket/{GUID}", GUID),
        ("http://127.0.0.1:8080/tickets/143", "143"),
        ("http://localhost:8080/tickets/143", "143"),
        ("http://[::1]:8080/tickets/143", "143"),
    ],
)
def test_a_ticket_may_be_a_link_to_its_page(link: str, ticket: str) -> None:
    assert parse_ticket(link) == ticket


@pytest.mark.parametrize(
    "link",
    [
        f"{HOST}/ticket/143?id=77",
        f"{HOST}/ticket/143?tab=2&id={GUID}",
        f"{HOST}/app?id=77#/ticket/143",
        f"{HOST}/app/77#/ticket/143",
        f"{HOST}/app?id=77#/details?ticketId=143",
    ],
)
def test_a_number_of_something_else_does_not_take_the_place_of_the_ticket_that_a_link_names(
    link: str,
) -> None:
    assert parse_ticket(link) == "143"


def test_a_host_of_ones_own_may_be_allowed_for_links() -> None:
    link = "https://crm.example.com/tickets/143"
    assert parse_ticket(link, ("crm.example.com",)) == "143"
    with pytest.raises(MalformedTicketError, match="does not lead to LeadSquared"):
        parse_ticket(link)


def test_the_refusal_of_a_link_without_a_ticket_says_so() -> None:
    with pytest.raises(MalformedTicketError, match="that link has no ticket in it"):
        parse_ticket(f"{HOST}/leads/143")


@pytest.mark.parametrize(
    ("command", "ticket", "rest"),
    [
        ("143 hello", "143", "hello"),
        ("  #143   hello  ", "143", "hello"),
        ("\n143\nhello\n", "143", "hello"),
        ("143\thello", "143", "hello"),
        ("<#C1|143> hello", "143", "hello"),
        (f"<{HOST}/tickets/143> hello", "143", "hello"),
        (f"<{HOST}/tickets/143|ticket of Anna> hello", "143", "hello"),
        (f"<{HOST}/tickets/143|acme.leadsquared.com/tickets/143>\nhello", "143", "hello"),
        (f"<{HOST}/details?tab=2&amp;ticketId=143> hello", "143", "hello"),
        (f"<{HOST}/app#/ticket/143> hello", "143", "hello"),
        (f"{HOST}/tickets/143 hello", "143", "hello"),
        ("143 <@U1|anna> &amp; <#C1|143>", "143", "<@U1|anna> &amp; <#C1|143>"),
        ("143", "143", ""),
        *(
            (f"{word} hello", "143", "hello")
            for word in ("“143”", "143:", "143,", "(143)", "*143*", "`143`")
        ),
        ("\u200b 143\u200b hello", "143", "hello"),
        ("\u3164143\u2800 hello", "143", "hello"),
        ("\uff03\uff11\uff14\uff13\uff1a hello", "143", "hello"),
        ("„143“ hello", "143", "hello"),
        (f"<{HOST}/tickets/143>; hello", "143", "hello"),
        ("&lt;143&gt; hello", "143", "hello"),
        ("(<#C1|143>): hello", "143", "hello"),
        *(
            (f"{before}<{HOST}/tickets/143{label}>{behind} (hello)", "143", "(hello)")
            for before, behind in (
                ("(", ")"),
                ("[", "]"),
                ("", ":"),
                ("", ","),
                ("“", "”,"),
                ("*", "*"),
                ("\u200b", "\ufeff"),
            )
            for label in ("", "|ticket of Anna")
        ),
        (f"<{HOST}/tickets/143>。hello", "143", "hello"),
    ],
)
def test_the_first_word_of_a_command_is_the_ticket_and_slacks_encoding_of_it_is_undone(
    command: str, ticket: str, rest: str
) -> None:
    assert ticket_named_by(command) == ticket
    assert take_apart(command).rest == rest


def test_the_label_of_a_link_does_not_choose_the_ticket() -> None:
    assert ticket_named_by(f"<{HOST}/tickets/143|{HOST}/tickets/999> hello") == "143"


@pytest.mark.parametrize("command", ["", " ", "\n\t "])
def test_a_command_without_words_names_no_ticket(command: str) -> None:
    words = take_apart(command)
    assert (words.ticket, words.rest) == ("", "")


@pytest.mark.parametrize(
    "word",
    [
        "",
        "0",
        "#0",
        "00143",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "0x8f",
        "1" * 20,
        "#",
        "##143",
        "143#",
        "143;x",
        "143-",
        "143,144",
        "143\n",
        " 143",
        "143 ",
        "143\x00",
        "143/..",
        "../143",
        "../../x",
        "..",
        ".",
        "143?x=1",
        "143%2e",
        "%31",
        "\u0661\u0664\u0663",
        "\u00b9",
        "\u2460",
        GUID[:-1],
        f"{GUID}0",
        GUID.replace("-", ""),
        GUID.replace("0", "\u0660"),
        f"{GUID}/..",
        "abc",
        "://143",
        "143://143",
    ],
)
def test_what_is_no_ticket_is_refused(word: str) -> None:
    with pytest.raises(MalformedTicketError):
        parse_ticket(word)


@pytest.mark.parametrize(
    "word", ["0", "#0", "00143", "-1", "+1", "1.0", "1" * 20, "(0)", "1,430", "\u0661\u0664"]
)
def test_a_number_that_no_ticket_has_is_refused_as_a_number(word: str) -> None:
    with pytest.raises(MalformedTicketError) as refused:
        parse_ticket(word)
    assert refused.value.number


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("1,430", "enter only the digits 0 to 9"),
        ("+143", "enter only the digits 0 to 9"),
        ("-143", "enter only the digits 0 to 9"),
        ("1.0", "enter only the digits 0 to 9"),
        ("\u0661\u0664\u0663", "enter only the digits 0 to 9"),
        ("0", "ticket numbers start at 1"),
        ("#000", "ticket numbers start at 1"),
        ("00143", "ticket numbers don't start with 0"),
        ("1" * 20, "ticket numbers have at most 19 digits"),
        ("143-2", "it has more in it than a number"),
        ("ticket143", "it has more in it than a number"),
        ("#", "it is not a number, a GUID or a link"),
        ("abc", "it is not a number, a GUID or a link"),
        (GUID[:-1], "a GUID has 8, 4, 4, 4 and 12 characters"),
        (GUID.replace("-", ""), "a GUID has 8, 4, 4, 4 and 12 characters"),
        (f"{{{GUID}", "both braces or none"),
        (f"{HOST}/tickets/143/..", "that link has “..” in its path"),
        (f"{HOST}/tickets/./143", "that link has “.” in its path"),
        ("https://[", "that link cannot be read"),
    ],
)
def test_a_refusal_says_what_is_wrong_with_this_word(word: str, why: str) -> None:
    with pytest.raises(MalformedTicketError) as refused:
        parse_ticket(word)
    assert why in str(refused.value)


@pytest.mark.parametrize("mark", ["(", ")", "*", "\u200b", ".", "<"])
def test_a_long_run_of_marks_is_read_at_once(mark: str) -> None:
    words = take_apart(f"{mark * 40_000}x{mark * 40_000}x")
    with pytest.raises(MalformedTicketError):
        parse_ticket(words.ticket)


@pytest.mark.parametrize("word", [f"{{{GUID}", f"{GUID}}}"])
def test_a_guid_with_half_its_braces_is_a_slip_and_refused(word: str) -> None:
    with pytest.raises(MalformedTicketError):
        parse_ticket(word)


@pytest.mark.parametrize(
    "command",
    [
        "<#C1|general> hello",
        "<#C1> hello",
        "<@U1> hello",
        "<@U1|143> hello",
        "<!channel> hello",
        "<mailto:143@x.y|143> hello",
    ],
)
def test_what_slack_encodes_and_is_no_ticket_is_refused(command: str) -> None:
    with pytest.raises(MalformedTicketError):
        ticket_named_by(command)


@pytest.mark.parametrize(
    "link",
    [
        "https://example.com/tickets/143",
        "https://leadsquared.com.evil.example/tickets/143",
        "https://acme.leadsquared.com.evil.example/tickets/143",
        "https://evilleadsquared.com/tickets/143",
        "https://leadsquared.co/tickets/143",
        "https://acme.leadsquared.com@evil.example/tickets/143",
        "https://acme.leadsquared.com:443@evil.example/tickets/143",
        "https://acme.leadsquared.com\\@evil.example/tickets/143",
        "https://evil.example/acme.leadsquared.com/tickets/143",
        "https://evil.example/?x=.leadsquared.com&ticketId=143",
        "https://evil.example/#.leadsquared.com/ticket/143",
        "https://acme.leadsquared.com%2eevil.example/tickets/143",
        "https://acme\u3002leadsquared.com.evil.example/tickets/143",
        "https://localhost.evil.example/tickets/143",
        "https://127.0.0.1.evil.example/tickets/143",
        "http://10.0.0.1/tickets/143",
        "https:///tickets/143",
        "file:///tickets/143",
    ],
)
def test_a_link_to_another_host_is_refused_however_much_it_looks_like_leadsquareds(
    link: str,
) -> None:
    with pytest.raises(MalformedTicketError, match="does not lead to LeadSquared"):
        parse_ticket(link)


def test_a_link_whose_host_a_browser_would_read_otherwise_is_refused() -> None:
    with pytest.raises(MalformedTicketError):
        parse_ticket("https://evil.example\\.leadsquared.com/tickets/143")


@pytest.mark.parametrize(
    "link",
    [
        f"{HOST}/",
        HOST,
        f"{HOST}/tickets",
        f"{HOST}/leads/555",  # a lead's page, not a ticket's
        f"{HOST}/reports/2024",
        f"{HOST}/details?id=555",
        f"{HOST}/ticket/143#/ticket/144",  # which of them?
        f"{HOST}/details?ticketId=143&ticketId=144",
        f"{HOST}/tickets/0",
        f"{HOST}/tickets/new",
        f"{HOST}/tickets/143%00",
        f"{HOST}/tickets/143%0a",
        f"{HOST}/tickets/143%2f..",
        f"{HOST}/tickets/%2e%2e",
        f"{HOST}/tickets/%2e%2e%2f143",
        f"{HOST}/tickets/%d9%a1",
        f"{HOST}/tickets/{'1' * 20}",
        f"{HOST}/details?ticketId=../143",
        f"{HOST}/details?ticketId=%2e%2e",
        f"{HOST}/details?ticketId=",
        f"{HOST}/app#/ticket/..",
        f"{HOST}/app#/ticket/143%2f..",
    ],
)
def test_a_link_that_names_no_ticket_is_refused(link: str) -> None:
    with pytest.raises(MalformedTicketError):
        parse_ticket(link)


@pytest.mark.parametrize(
    "link",
    [
        f"{HOST}/tickets/143/../144",
        f"{HOST}/tickets/143/..",
        f"{HOST}/tickets/143/%2e%2e",
        f"{HOST}/tickets/143/%2E./144",
        f"{HOST}/app#/ticket/143/../144",
    ],
)
def test_a_link_that_climbs_out_of_the_ticket_it_names_is_refused(link: str) -> None:
    # A browser opens another page than the segment after /tickets/ says.
    with pytest.raises(MalformedTicketError):
        parse_ticket(link)


@pytest.mark.parametrize(
    "link", ["https://[::1/tickets/143", f"{HOST}/app#//[", f"{HOST}/app#//[x]/ticket/143"]
)
def test_a_link_that_cannot_be_read_is_refused_in_words(link: str) -> None:
    with pytest.raises(MalformedTicketError):
        parse_ticket(link)


SEGMENT = st.sampled_from(
    [
        "ticket", "tickets", "details", "143", "0143", "#143", "%23143", "..", ".", "%2e%2e",
        "%2f", "143%2f..", "143%0a", GUID, f"{{{GUID}}}", f"{GUID.upper()}%00", "%f0%9f%98%80",
        "\uff11", "1" * 20, "[", "]", ":", "@", "\\", "",
    ]
)  # fmt: skip
ROUTE = st.lists(SEGMENT, max_size=5).map("/".join)
QUERY = st.lists(
    st.tuples(st.sampled_from(["ticketId", "ticket", "id", "x"]), SEGMENT), max_size=3
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))
LINK = st.builds(
    lambda host, path, query, mark, route, inner: f"{host}/{path}?{query}#{mark}{route}?{inner}",
    st.sampled_from([HOST, "http://localhost:1", "https://[::1]"]),
    ROUTE,
    QUERY,
    st.sampled_from(["", "/", "!/", "//"]),
    ROUTE,
    QUERY,
)


@settings(deadline=None, max_examples=500)
@given(WRITTEN | SEGMENT | LINK | st.builds(str.__add__, LINK, WRITTEN))
def test_whatever_is_taken_for_a_ticket_is_a_plain_number_or_a_guid(word: str) -> None:
    try:
        ticket = parse_ticket(word)
    except MalformedTicketError:
        return
    assert TICKET.fullmatch(ticket)


@PATIENT
@given(
    st.integers(min_value=1, max_value=10**19 - 1),
    st.sampled_from(["{}", "#{}", HOST + "/tickets/{}"]),
)
def test_every_number_of_up_to_19_digits_is_its_own_ticket(number: int, form: str) -> None:
    assert parse_ticket(form.format(number)) == str(number)


@PATIENT
@given(st.uuids(), st.booleans(), st.sampled_from(["{}", "{{{}}}", HOST + "/app#/ticket/{}"]))
def test_every_guid_is_its_own_ticket_in_lower_case(guid: object, upper: bool, form: str) -> None:  # noqa: FBT001
    word = str(guid).upper() if upper else str(guid)
    assert parse_ticket(form.format(word)) == str(guid)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.text(
    "&<>;#|@!ampltg \n\r\t\u00a0\u2028e\u0301\U0001f469\u200d\U0001f467"
)


@PATIENT
@given(
    st.sampled_from(
        ["143", "#143", f"<{HOST}/tickets/143>", f"<{HOST}/tickets/143|a ticket>", "<#C1|143>"]
    ),
    st.sampled_from([" ", "\n", "  \n\n "]),
    TEXT.map(str.strip).filter(bool),
)
def test_the_text_after_the_ticket_arrives_unchanged(ticket: str, gap: str, text: str) -> None:
    words = take_apart(f"{ticket}{gap}{encode(text)}")
    assert parse_ticket(words.ticket) == "143"
    assert to_plain(words.rest) == text
