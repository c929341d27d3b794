"""The HTTP edge: one POST to LeadSquared, told as an Outcome."""

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeVar

import httpx
import structlog

from bot.leadsquared.address import Address, InvalidAddressError, parse_address
from bot.leadsquared.outcome import (
    CannotRead,
    Conversation,
    NotBegun,
    NoTicket,
    NotSent,
    Outcome,
    Problem,
    RateLimited,
    Rejected,
    Ticket,
    TicketForm,
    Unknown,
)
from bot.leadsquared.pages import server_page
from bot.leadsquared.reading import read_answer, read_conversations, read_keys, read_ticket
from bot.leadsquared.tenant import Tenant

# An answer is a hundred bytes; a proxy's error page a few thousand. More than this is no answer of
# LeadSquared's.
_LONGEST_ANSWER = 256 * 1024

_Answer = tuple[int, bytes | None]
"""A status, and the body unless it is too long."""

_PAGE_AT_MOST = 2000
"""Bytes of a page that are searched for its pattern."""

_log = structlog.get_logger(__name__)

GOES_OUT = "http11.send_request_headers.started"
"""httpcore's word for the moment when the connection stands and nothing of the request has been
written.

https://www.encode.io/httpcore/extensions/#trace; tests/front/test_begin.py holds it.
"""

GONE_OUT = "http11.send_request_headers.complete"
"""And for the moment when its first bytes are the kernel's."""

BEGINNING_AT_ONCE = 8
"""Calls between the commit of their beginning and their first byte.

A crash leaves no more than these unknown without having sent them. They share a commit. With 4 one
process on PostgreSQL did not use 20 tenants' rate limits: it takes a few tens of ms when the
database is busy.
"""

E = TypeVar("E", bound=BaseException)
Begin = Callable[[], Awaitable[bool]]

POOLS = 16
"""Connection pools of a process. httpx goes through every connection of a pool at the
beginning and at the end of every request.
"""

TRIED_TICKET = "1"
"""The ticket that is asked for when only the keys are tried. Every account numbers from there.

A 0 could be read as "no ticket given", which asks for every ticket's conversations.
A number that no account has reached may be answered with 404, which proves nothing about keys.
"""

KEPT = 16
"""Idle connections that a pool keeps."""


class _NotBegunError(Exception):
    """The request may not go out."""


class LeadSquared:
    """A few connection pools, to which the tenants of a process are spread.

    `connections` bounds each. `deadline` bounds a whole call in seconds, so that an answer that
    trickles in byte by byte cannot outlive the lease.
    """

    def __init__(
        self,
        allowed_hosts: tuple[str, ...],
        *,
        connect_timeout: float,
        read_timeout: float,
        deadline: float,
        connections: int = 500,
    ) -> None:
        self._allowed_hosts = allowed_hosts
        self._deadline = deadline
        self._beginning = asyncio.Semaphore(BEGINNING_AT_ONCE)
        certificates = httpx.create_ssl_context(trust_env=False)
        self._clients = [
            httpx.AsyncClient(
                verify=certificates,
                timeout=httpx.Timeout(read_timeout, connect=connect_timeout, pool=connect_timeout),
                limits=httpx.Limits(
                    max_connections=connections, max_keepalive_connections=KEPT, keepalive_expiry=5
                ),
                # A redirect would carry keys and customers' words to a host that no admin chose.
                # So would a proxy or a .netrc found in the environment.
                follow_redirects=False,
                trust_env=False,
                headers={"Accept": "application/json"},
            )
            for _ in range(POOLS)
        ]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for client in self._clients:
            await client.aclose()

    def _client_of(self, tenant: Tenant) -> httpx.AsyncClient:
        return self._clients[(tenant.id or 0) % POOLS]

    async def add_portal_activity(
        self, tenant: Tenant, ticket_id: str, text: str, begin: Begin
    ) -> Outcome:
        """POST one portal activity. Never raises for what a network or a server can do.

        `begin` is awaited right before the request goes out; unless it returns True, nothing does.
        So what fails before that was surely not sent.
        """
        try:
            address = parse_address(tenant.api_url, self._allowed_hosts)
        except InvalidAddressError as error:
            return _address_refused(f"The API address {error}")
        try:
            request = self._request(address, tenant, ticket_id, text)
        except (UnicodeEncodeError, httpx.InvalidURL):
            return _address_refused("The request cannot be written for this address or these keys")
        connected, begun, turn = False, False, AsyncExitStack()

        async def trace(event: str, _info: object) -> None:
            nonlocal connected, begun
            if event == GOES_OUT:
                connected = True
                await turn.enter_async_context(self._beginning)
                begun = await begin()
                if not begun:
                    raise _NotBegunError
            elif event == GONE_OUT:
                await turn.aclose()

        request.extensions["trace"] = trace
        try:
            async with turn, asyncio.timeout(self._deadline):
                return await self._exchange(self._client_of(tenant), request)
        except _NotBegunError:
            return NotBegun()
        except TimeoutError:
            if begun:
                return Unknown(Problem.NO_ANSWER, reason="call timeout")
            # Once connected it waits for our own database, which is no fault of the host's.
            return NotBegun() if connected else NotSent(address.host, "call timeout")
        except httpx.RequestError as error:
            return read_failure(error, address.host, begun=begun)

    def _request(
        self, address: Address, tenant: Tenant, ticket_id: str, text: str
    ) -> httpx.Request:
        url = address.portal_activity(tenant.org_id, ticket_id)
        return self._post(tenant, url, {"Text": text, "Direction": "INBOUND"})

    def _post(self, tenant: Tenant, url: str, body: Mapping[str, object]) -> httpx.Request:
        client = self._client_of(tenant)
        return client.build_request("POST", url, json=body, headers=_keys(tenant))

    async def portal_conversations(
        self, tenant: Tenant, ticket_id: str
    ) -> list[Conversation] | CannotRead:
        """Ask what portal activities a ticket has.

        Never raises for what a network or a server can do.
        """
        answer = await self._filter(tenant, ticket_id)
        return answer if isinstance(answer, CannotRead) else read_conversations(*answer)

    async def try_keys(self, tenant: Tenant) -> bool | CannotRead:
        """Say whether LeadSquared accepts a tenant's keys. It only reads, and never raises."""
        answer = await self._filter(tenant, TRIED_TICKET)
        return answer if isinstance(answer, CannotRead) else read_keys(*answer)

    async def _filter(self, tenant: Tenant, ticket_id: str) -> _Answer | CannotRead:
        """Call the filter over a ticket's conversations."""
        try:
            address = parse_address(tenant.api_url, self._allowed_hosts)
            asked = {
                "TicketId": _number(ticket_id),
                "OrgId": _number(tenant.org_id),
                "ActivityType": ["PortalInbound"],
            }
            request = self._post(tenant, address.conversations(tenant.org_id), asked)
            async with asyncio.timeout(self._deadline):
                status, _, body = await self._read(self._client_of(tenant), request)
        except (InvalidAddressError, UnicodeEncodeError, httpx.InvalidURL):
            return CannotRead("address refused")
        except (TimeoutError, httpx.RequestError) as error:
            return CannotRead(failure_reason(error))
        return status, body

    async def ticket(
        self, tenant: Tenant, ticket_id: str, form: TicketForm
    ) -> Ticket | NoTicket | RateLimited | CannotRead:
        """Ask what a ticket shows of itself.

        Never raises for what a network or a server can do. The caller bounds how long it takes.
        """
        try:
            address = parse_address(tenant.api_url, self._allowed_hosts)
            url = address.ticket(tenant.org_id, ticket_id, form)
            client = self._client_of(tenant)
            request = client.build_request("GET", url, headers=_keys(tenant))
            return read_ticket(*await self._read(client, request), ticket_id)
        except (InvalidAddressError, UnicodeEncodeError, httpx.InvalidURL):
            return CannotRead("address refused")
        except httpx.RequestError as error:
            return CannotRead(failure_reason(error))

    async def reach(self, tenant: Tenant) -> Rejected | NotSent | Unknown | None:
        """Try whether the tenant's host answers at all, and return None when it does.

        No key is sent and nothing is recorded.
        """
        try:
            address = parse_address(tenant.api_url, self._allowed_hosts)
            async with asyncio.timeout(self._deadline):
                client = self._client_of(tenant)
                await client.send(client.build_request("HEAD", address.url))
        except InvalidAddressError as error:
            return _address_refused(f"The API address {error}")
        except TimeoutError:
            return Unknown(Problem.NO_ANSWER, reason="call timeout")
        except httpx.RequestError as error:
            return read_failure(error, address.host, begun=True)
        return None

    async def _exchange(self, client: httpx.AsyncClient, request: httpx.Request) -> Outcome:
        status, headers, body = await self._read(client, request)
        if body is None:
            return Unknown(Problem.UNREADABLE, reason=f"status {status}, a body that is too long")
        outcome = read_answer(status, headers, body)
        _log_server_page(status, outcome, body)
        return outcome

    @staticmethod
    async def _read(
        client: httpx.AsyncClient, request: httpx.Request
    ) -> tuple[int, httpx.Headers, bytes | None]:
        """Send a request. Return the answer's status, headers and body.

        The body is None when it is too long to be an answer.
        """
        response = await client.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _LONGEST_ANSWER:
                    return response.status_code, response.headers, None
        finally:
            await response.aclose()
        return response.status_code, response.headers, bytes(body)


def _keys(tenant: Tenant) -> dict[str, str]:
    """Return the headers that carry a tenant's keys."""
    return {"X-LSQ-ACCESS-KEY": tenant.access_key, "X-LSQ-SECRET-KEY": tenant.secret_key}


def read_failure(
    error: httpx.RequestError, host: str, *, begun: bool
) -> Rejected | NotSent | Unknown:
    """Decide what a failed exchange means.

    Only what failed before the request went out was surely not sent.
    """
    reason = failure_reason(error)
    match error:
        case httpx.ConnectError() if _first(error, ssl.SSLError):
            return Rejected(Problem.TLS, _tls_reason(error), reason)
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout():
            return NotSent(host, reason)
        case httpx.UnsupportedProtocol() | httpx.LocalProtocolError():
            return _address_refused("The request cannot be written for this address or these keys")
        case _ if not begun:
            return NotSent(host, reason)
        case httpx.ReadTimeout() | httpx.WriteTimeout():
            return Unknown(Problem.NO_ANSWER, reason=reason)
        case httpx.DecodingError():
            return Unknown(Problem.UNREADABLE, reason=reason)
        case _:
            return Unknown(Problem.DROPPED, reason=reason)


_REASONS: dict[type[Exception], str] = {
    httpx.ConnectTimeout: "connect timeout",
    httpx.PoolTimeout: "no connection free",
    httpx.ReadTimeout: "read timeout",
    httpx.WriteTimeout: "write timeout",
    httpx.DecodingError: "an unreadable body",
    TimeoutError: "call timeout",
}


def failure_reason(error: Exception) -> str:
    """Name in a few words why no answer came: what the network says, never what a server says."""
    if isinstance(error, httpx.ConnectError):
        return _connect_reason(error)
    return next((words for kind, words in _REASONS.items() if isinstance(error, kind)), "dropped")


def _connect_reason(error: httpx.ConnectError) -> str:
    if certificate := _first(error, ssl.SSLCertVerificationError):
        return f"tls: {certificate.verify_message}"
    if _first(error, ssl.SSLError):
        return "tls"
    if _first(error, socket.gaierror):
        return "dns"
    if _first(error, ConnectionRefusedError):
        return "refused"
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
    return "not connected"


def _address_refused(message: str) -> Rejected:
    return Rejected(Problem.ADDRESS_REFUSED, message, "address refused")


def _log_server_page(status: int, outcome: Outcome, body: bytes) -> None:
    """Log by its pattern's name what is a server's own page: a person in Slack reads nothing of it.

    What LeadSquared says otherwise may quote a customer, and is not logged.
    """
    if not isinstance(outcome, Rejected | Unknown):
        return
    page = server_page(outcome.message or body[:_PAGE_AT_MOST].decode("utf-8", "replace"))
    if page is not None:
        _log.info("server_page_answered", status=status, page=page)


def _number(id_: str) -> int | str:
    """Return an ID of digits as a number, as in LeadSquared's documentation."""
    return int(id_) if id_.isascii() and id_.isdecimal() else id_


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        if isinstance(cause, BaseExceptionGroup):  # one for each address of a host
            for one in cause.exceptions:
                yield from _causes(one)
        cause = cause.__cause__ or cause.__context__


def _first(error: BaseException, kind: type[E]) -> E | None:
    return next((cause for cause in _causes(error) if isinstance(cause, kind)), None)


def _tls_reason(error: httpx.ConnectError) -> str:
    if certificate := _first(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {certificate.verify_message}"
    return "the secure connection could not be set up"
