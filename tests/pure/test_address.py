"""Where keys and customers' words may be sent: every disguise of a foreign host is refused."""

import re
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bot.leadsquared.address import (
    Address,
    InvalidAddressError,
    host_allowed,
    is_loopback,
    parse_address,
    parse_host_pattern,
)

HOSTS = ("*.leadsquared.com", "crm.example.com")
PATIENT = settings(deadline=None)


@pytest.mark.parametrize(
    ("text", "url", "host"),
    [
        ("https://a.leadsquared.com", "https://a.leadsquared.com", "a.leadsquared.com"),
        ("  https://a.leadsquared.com/\n", "https://a.leadsquared.com", "a.leadsquared.com"),
        ("HTTPS://A.LeadSquared.COM", "https://a.leadsquared.com", "a.leadsquared.com"),
        ("https://a.b.leadsquared.com//", "https://a.b.leadsquared.com", "a.b.leadsquared.com"),
        ("https://a.leadsquared.com/api", "https://a.leadsquared.com", "a.leadsquared.com"),
        (
            "https://a.leadsquared.com/api/tenants/",
            "https://a.leadsquared.com",
            "a.leadsquared.com",
        ),
        ("https://a.leadsquared.com:443", "https://a.leadsquared.com", "a.leadsquared.com"),
        ("https://a.leadsquared.com:8443/", "https://a.leadsquared.com:8443", "a.leadsquared.com"),
        ("https://crm.example.com", "https://crm.example.com", "crm.example.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1"),
        ("http://localhost:8080", "http://localhost:8080", "localhost"),
        ("http://LOCALHOST", "http://localhost", "localhost"),
        ("https://localhost:8443", "https://localhost:8443", "localhost"),
        ("http://[::1]:8080", "http://[::1]:8080", "::1"),
    ],
)
def test_an_address_is_its_scheme_host_and_port(text: str, url: str, host: str) -> None:
    assert parse_address(text, HOSTS) == Address(url, host)


def test_a_trailing_dot_hides_no_host_and_is_no_reason_to_refuse_one() -> None:
    assert parse_address("https://a.leadsquared.com.", HOSTS).host == "a.leadsquared.com"
    with pytest.raises(InvalidAddressError, match=r"evil\.example"):
        parse_address("https://evil.example.", HOSTS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("https://evil.example", "not among LEADSQUARED_ALLOWED_HOSTS"),
        ("https://leadsquared.com", "not among LEADSQUARED_ALLOWED_HOSTS"),
        ("https://leadsquared.com.evil.example", "not among LEADSQUARED_ALLOWED_HOSTS"),
        ("https://a.leadsquared.com.evil.example", "not among LEADSQUARED_ALLOWED_HOSTS"),
        ("https://evilleadsquared.com", "not among LEADSQUARED_ALLOWED_HOSTS"),
        ("https://a.crm.example.com", "not among LEADSQUARED_ALLOWED_HOSTS"),
        ("https://a.leadsquared.com%2eevil.example", "not among LEADSQUARED_ALLOWED_HOSTS"),
        ("https://a.leadsquared.com%00.evil.example", "not among LEADSQUARED_ALLOWED_HOSTS"),
        ("https://169.254.169.254", "not among LEADSQUARED_ALLOWED_HOSTS"),
        ("https://localhost.evil.example", "not among LEADSQUARED_ALLOWED_HOSTS"),
        ("https://a.leadsquared.com@evil.example", "user name"),
        ("https://a.leadsquared.com:443@evil.example", "user name"),
        ("https://key:secret@a.leadsquared.com", "user name"),
        ("https://a.leadsquared.com\\@evil.example", "user name"),
        ("https://a.leadsquared.com?x=1", "query"),
        ("https://evil.example?.leadsquared.com", "query"),
        ("https://a.leadsquared.com#x", "fragment"),
        ("https://evil.example#.leadsquared.com", "fragment"),
        ("https://evil.example/.leadsquared.com", "must end after the host"),
        ("https://a.leadsquared.com/api/tenants/22824", "must end after the host"),
        ("https://a.leadsquared.com/%2e%2e/", "must end after the host"),
        ("http://a.leadsquared.com", "must be https"),
        ("http://evil.example", "must be https"),
        ("http://127.0.0.1.evil.example", "must be https"),
        ("http://0.0.0.0", "must be https"),
        ("http://2130706433", "must be https"),
        ("http://10.0.0.1", "must be https"),
        ("ftp://a.leadsquared.com", "must start with https://"),
        ("javascript://a.leadsquared.com", "must start with https://"),
        ("file:///etc/passwd", "must start with https://"),
        ("a.leadsquared.com", "must start with https://"),
        ("//a.leadsquared.com", "must start with https://"),
        ("https://", "must start with https://"),
        ("https:///api", "must start with https://"),
        ("", "must start with https://"),
        ("https://a.leadsquared.com:abc", "is not an address"),
        ("https://[::1", "is not an address"),
        ("https://a.lead\nsquared.com", "is not an address"),
        ("https://a.leadsquared.com\x00", "is not an address"),
    ],
)
def test_any_other_address_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(InvalidAddressError, match=says):
        parse_address(text, HOSTS)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example\\.leadsquared.com",
        "evil.example%2f.leadsquared.com",
        "evil.example%23.leadsquared.com",
        "evil .leadsquared.com",
        "*.leadsquared.com",
        ".leadsquared.com",
        "a..leadsquared.com",
    ],
)
def test_what_can_be_no_host_is_refused_even_below_an_allowed_domain(host: str) -> None:
    with pytest.raises(InvalidAddressError):
        parse_address(f"https://{host}", HOSTS)


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
def test_a_port_that_does_not_exist_is_refused(port: str) -> None:
    with pytest.raises(InvalidAddressError):
        parse_address(f"https://a.leadsquared.com:{port}", HOSTS)


def test_a_refused_host_is_answered_with_the_allowed_hosts_and_the_fix() -> None:
    with pytest.raises(InvalidAddressError) as refused:
        parse_address("https://evil.example", HOSTS)
    words = str(refused.value)
    assert "evil.example" in words
    assert all(host in words for host in HOSTS)
    assert "LEADSQUARED_ALLOWED_HOSTS" in words


def test_a_refused_address_does_not_repeat_the_password_in_it() -> None:
    with pytest.raises(InvalidAddressError) as refused:
        parse_address("https://user:hunter2@a.leadsquared.com", HOSTS)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "ending", ["", "/", "?", "/?", "#", "/#", "/?#", "/api/#", "/api/tenants?"]
)
def test_an_empty_query_or_fragment_leads_no_call_astray(ending: str) -> None:
    address = parse_address(f"https://a.leadsquared.com{ending}", HOSTS)
    assert (
        httpx.URL(address.portal_activity("22824", "143")).raw_path
        == b"/api/tenants/22824/ticket/143/portal/activity"
    )


def test_the_call_is_the_documented_address() -> None:
    address = parse_address("https://apigw.service-in.leadsquared.com/", HOSTS)
    assert (
        address.portal_activity("22824", "143")
        == "https://apigw.service-in.leadsquared.com/api/tenants/22824/ticket/143/portal/activity"
    )


@pytest.mark.parametrize(
    ("part", "encoded"),
    [
        ("a/b", "a%2Fb"),
        ("../../x", "..%2F..%2Fx"),
        ("%2e%2e", "%252e%252e"),
        ("1?x=1#y", "1%3Fx%3D1%23y"),
        ("a b", "a%20b"),
        ("é", "%C3%A9"),
        ("@:;&", "%40%3A%3B%26"),
    ],
)
def test_each_part_of_the_path_is_percent_encoded(part: str, encoded: str) -> None:
    address = Address("https://a.leadsquared.com", "a.leadsquared.com")
    beginning = "https://a.leadsquared.com/api/tenants"
    assert (
        address.portal_activity(part, "143") == f"{beginning}/{encoded}/ticket/143/portal/activity"
    )
    assert (
        address.portal_activity("22824", part)
        == f"{beginning}/22824/ticket/{encoded}/portal/activity"
    )


def _path_as_sent(org_id: str, ticket_id: str) -> list[str]:
    address = Address("https://a.leadsquared.com", "a.leadsquared.com")
    return httpx.URL(address.portal_activity(org_id, ticket_id)).raw_path.decode("ascii").split("/")


@pytest.mark.parametrize("part", [".", ".."])
def test_dots_do_not_climb_in_the_path(part: str) -> None:
    assert len(_path_as_sent(part, "143")) == len(_path_as_sent("22824", "143"))
    assert len(_path_as_sent("22824", part)) == len(_path_as_sent("22824", "143"))


PART = st.text(st.characters(exclude_categories=["Cs"])) | st.text("./%2eE\\?#;@: ", max_size=6)


@PATIENT
@given(PART, PART)
def test_no_part_reaches_beyond_its_own_segment(org_id: str, ticket_id: str) -> None:
    assume(not {org_id, ticket_id} & {".", ".."})  # they have a test of their own
    _, api, tenants, org, ticket, number, *rest = _path_as_sent(org_id, ticket_id)
    assert (api, tenants, unquote(org), ticket, unquote(number)) == (
        "api",
        "tenants",
        org_id,
        "ticket",
        ticket_id,
    )
    assert rest == ["portal", "activity"]


LOOK_ALIKE = st.builds(
    "".join,
    st.lists(
        st.sampled_from(
            ["https://", "http://", "a", ".leadsquared.com", "evil.example", "localhost",
             "127.0.0.1", "[::1]", "@", ":", ":443", "/", "\\", "?", "#", "%2e", "%40", ".", "..",
             " ", "\t", "/api", "\u3002", "ß"]
        ),
        max_size=6,
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=500)
@given(
    st.sampled_from(["", "https://", "https://a.leadsquared.com", "http://127.0.0.1"]),
    LOOK_ALIKE | st.text(),
)
def test_what_is_accepted_is_called_at_the_allowed_host_and_nowhere_else(
    beginning: str, rest: str
) -> None:
    try:
        address = parse_address(beginning + rest, HOSTS)
    except InvalidAddressError:
        return
    called = httpx.URL(address.portal_activity("22824", "143"))
    assert called.path == "/api/tenants/22824/ticket/143/portal/activity"
    assert not called.userinfo
    host = called.host.rstrip(".")
    assert host.endswith(".leadsquared.com") or re.fullmatch(
        r"crm\.example\.com|localhost|127(\.[0-9]+){3}|::1", host
    )
    assert called.scheme == "https" or not host.endswith(".com")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("a.leadsquared.com", True),
        ("a.b.leadsquared.com", True),
        ("A.LEADSQUARED.COM", True),
        ("a.leadsquared.com.", True),
        ("crm.example.com", True),
        ("leadsquared.com", False),
        ("a.crm.example.com", False),
        ("example.com", False),
        ("evilleadsquared.com", False),
        ("leadsquared.com.evil.example", False),
        ("a.leadsquared.com.evil.example", False),
        (".leadsquared.com", False),
        ("", False),
    ],
)
def test_a_pattern_covers_what_is_below_its_domain_and_nothing_else(
    host: str,
    allowed: bool,  # noqa: FBT001
) -> None:
    assert host_allowed(host, HOSTS) is allowed


def test_without_patterns_no_host_is_allowed() -> None:
    assert not host_allowed("a.leadsquared.com", ())


@pytest.mark.parametrize(
    ("host", "this_machine"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("128.0.0.1", False),
        ("10.0.0.1", False),
        ("192.168.0.1", False),
        ("2130706433", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("notlocalhost", False),
        ("", False),
    ],
)
def test_this_machine_is_known_by_its_very_name(host: str, this_machine: bool) -> None:  # noqa: FBT001
    assert is_loopback(host) is this_machine


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("*.leadsquared.com", "*.leadsquared.com"),
        (" *.LeadSquared.COM. ", "*.leadsquared.com"),
        ("crm.example.com", "crm.example.com"),
        ("localhost", "localhost"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_a_host_pattern_is_a_host_or_what_is_below_a_domain(text: str, pattern: str) -> None:
    assert parse_host_pattern(text) == pattern


@pytest.mark.parametrize(
    "text",
    ["", " ", "*", "*.", ".", "*.*", "a.*.com", "a*.com", "https://a.example", "a.example/x", "a b",
     "-a.example", "a.example-", "user@a.example", "a.example:443", "ä.example"],
)  # fmt: skip
def test_anything_else_is_no_host_pattern(text: str) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        parse_host_pattern(text)


@pytest.mark.parametrize("text", ["a..example", "[::1"])
def test_a_pattern_that_no_host_can_match_is_refused_instead_of_allowing_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="not a host name"):
        parse_host_pattern(text)
