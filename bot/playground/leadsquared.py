"""A stand-in for LeadSquared Service CRM.

It checks keys and the shape of a body, keeps the sliding window, and can fail in every way.
"""

import asyncio
import html
import json
import time
from collections import defaultdict, deque
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from aiohttp import web

from bot.playground.server import StandIn

CALLS, WINDOW = 25, 5.0
_MX_RATE_LIMIT = {
    "Status": "Error",
    "ExceptionType": "MXAPIRateLimitExceededException",
    "ExceptionMessage": "API calls exceeded the limit of 25 in 5 second(s)",
}


class Behaviour(StrEnum):
    """How a ticket (or the whole stand-in) answers."""

    FINE = "fine"
    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    RATE_LIMITED = "rate_limited"
    RATE_LIMITED_AS_403 = "rate_limited_as_403"
    RATE_LIMITED_AS_200 = "rate_limited_as_200"
    BUSY_AT_FIRST = "busy_at_first"
    REFUSED = "refused"
    FAILED = "failed"
    SERVER_ERROR = "server_error"
    HTML = "html"
    WITHOUT_ID = "without_id"
    REDIRECT = "redirect"
    HANG = "hang"
    DROP = "drop"
    DROP_MID_ANSWER = "drop_mid_answer"
    TRICKLE = "trickle"
    HUGE = "huge"
    GARBLED = "garbled"


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant of the stand-in."""

    org_id: str
    access_key: str
    secret_key: str


class ReadForm(StrEnum):
    """In which form a ticket can be read: the documentation leaves that open."""

    PATH = "path"  # /tickets/143
    QUERY = "query"  # /tickets?ticketId=143
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a ticket shows of itself."""

    title: str
    status: str = "Open"


@dataclass(frozen=True, slots=True)
class Activity:
    """A portal activity as it stands on a ticket."""

    id: str
    org_id: str
    ticket_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A request that arrived, and the status it was answered with (0: none)."""

    at: float
    org_id: str
    ticket_id: str
    body: Any
    status: int


@dataclass
class Ledger:
    """All that happened to the stand-in, for the terminal and for tests to read."""

    activities: list[Activity] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    lookups: list[Any] = field(default_factory=list)  # bodies of the filter over conversations
    reads: list[str] = field(default_factory=list)  # addresses under which a ticket was read
    strays: list[str] = field(default_factory=list)  # paths that the API does not have


class LeadSquaredStandIn(StandIn):
    """Serves "Add Portal Activities to Tickets".

    `tickets` are those that exist: by number, with how each answers. `shown` is what they show of
    themselves; the others have a title with their number.
    """

    name = "LeadSquared"

    def __init__(self, accounts: list[Account], tickets: dict[str, Behaviour]) -> None:
        super().__init__()
        self.accounts = {account.org_id: account for account in accounts}
        self.tickets = dict(tickets)
        self.ledger = Ledger()
        self.latency = 0.0
        self.filter_is = Behaviour.FINE  # how the filter over conversations answers good keys
        self.fault: Behaviour | None = None  # how every ticket answers instead, while it is set
        self.shown: dict[str, Shown] = {}
        self.read_form = ReadForm.PATH
        self.read_is = Behaviour.FINE  # how a ticket that exists is shown to good keys
        self.read_latency = 0.0
        self.hides = False  # the filter over conversations does not show portal activities (yet)
        self.calls_per_window = CALLS
        self._arrivals: dict[str, deque[float]] = defaultdict(deque)
        self._busy_for: set[tuple[str, str]] = set()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(
                "/api/tenants/{org_id}/ticket/{ticket_id}/portal/activity", self._portal_activity
            ),
            web.post("/api/tenants/{org_id}/conversation/filter", self._conversations),
            web.get("/api/tenants/{org_id}/tickets", self._ticket),
            web.get("/api/tenants/{org_id}/tickets/{ticket_id}", self._ticket),
            web.get("/_state", self._state),
            web.post("/_tickets", self._set_tickets),
            web.route("*", "/{path:.*}", self._stray),
        ]

    def on(self, ticket_id: str) -> list[Activity]:
        """Return a ticket's activities, oldest first."""
        return [activity for activity in self.ledger.activities if activity.ticket_id == ticket_id]

    def arrivals(self, org_id: str) -> list[float]:
        """Return when the calls that count against an account's limit came, by time.monotonic."""
        return list(self._arrivals[org_id])

    async def _state(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "tickets": self.tickets,
                "activities": [asdict(activity) for activity in self.ledger.activities],
            }
        )

    async def _set_tickets(self, request: web.Request) -> web.Response:
        changes: dict[str, str] = await request.json()
        self.tickets |= {ticket_id: Behaviour(name) for ticket_id, name in changes.items()}
        return web.json_response(self.tickets)

    async def _stray(self, request: web.Request) -> web.Response:
        if request.method != "HEAD":
            self.ledger.strays.append(request.path)
        return _error(404, "MXResourceNotFoundException", "The API could not be found")

    async def _portal_activity(self, request: web.Request) -> web.StreamResponse:
        arrived = time.monotonic()
        org_id, ticket_id = request.match_info["org_id"], request.match_info["ticket_id"]
        raw = await request.read()
        response = await self._answer(request, org_id, ticket_id, raw, arrived)
        status = response.status if response.status is not None else 0
        self.ledger.calls.append(Call(arrived, org_id, ticket_id, _json(raw), status))
        if isinstance(response, Hang):
            await response.hang(request)
        return response

    async def _conversations(self, request: web.Request) -> web.StreamResponse:
        arrived, org_id = time.monotonic(), request.match_info["org_id"]
        asked = _json(await request.read())
        self.ledger.lookups.append(asked)
        if self.latency:
            await asyncio.sleep(self.latency)
        refused = self._refused(request, org_id, arrived)
        if refused is not None:
            return refused
        if not isinstance(asked, dict) or asked.get("ActivityType") != ["PortalInbound"]:
            return _error(400, "MXInvalidInputException", "The request body is not as specified")
        behaviour = self.fault or self.filter_is
        if behaviour in (Behaviour.HANG, Behaviour.DROP):
            await Hang(drop=behaviour is Behaviour.DROP).hang(request)
        if behaviour is not Behaviour.FINE:
            return _refusal(behaviour, f"{self.url}/elsewhere{request.path}")
        found = [
            one
            for one in self.on(str(asked.get("TicketId")))
            if one.org_id == org_id and not self.hides
        ]
        return web.json_response(
            {"Total": len(found), "ConversationList": [_listed(one) for one in found]}
        )

    async def _ticket(self, request: web.Request) -> web.StreamResponse:
        arrived, org_id = time.monotonic(), request.match_info["org_id"]
        self.ledger.reads.append(request.path_qs)
        if self.latency or self.read_latency:
            await asyncio.sleep(self.latency + self.read_latency)
        refused = self._refused(request, org_id, arrived)
        if refused is not None:
            return refused
        in_path = request.match_info.get("ticket_id")
        asked = {ReadForm.PATH: in_path, ReadForm.QUERY: request.query.get("ticketId")}
        ticket_id = asked.get(self.read_form)
        if (in_path is None) is (self.read_form is ReadForm.PATH) or ticket_id is None:
            return _error(404, "MXResourceNotFoundException", "The API could not be found")
        behaviour = self.fault or self.read_is
        if behaviour in (Behaviour.HANG, Behaviour.DROP):
            await Hang(drop=behaviour is Behaviour.DROP).hang(request)
        if behaviour is not Behaviour.FINE:
            return _refusal(behaviour, f"{self.url}/elsewhere{request.path}")
        found = next((one for one in self.tickets if ticket_id in (one, guid_of(one))), None)
        if found is None:
            return _error(404, "MXResourceNotFoundException", "The ticket does not exist")
        return web.json_response(self._shown(found))

    def _shown(self, ticket_id: str) -> dict[str, Any]:
        shown = self.shown.get(ticket_id, Shown(f"About {ticket_id}"))
        fields = {"Title": shown.title, "TicketKey": f"#{ticket_id}", "Status": shown.status}
        return {
            "Id": ticket_id,
            "TicketId": guid_of(ticket_id),
            "LeadId": "5",
            "Fields": [{"SchemaName": name, "Value": value} for name, value in fields.items()],
        }

    def _refused(self, request: web.Request, org_id: str, arrived: float) -> web.Response | None:
        """Refuse what has no account, the wrong keys, or comes too often."""
        account = self.accounts.get(org_id)
        if account is None:
            return _error(404, "MXResourceNotFoundException", "The API could not be found")
        keys = (request.headers.get("X-LSQ-ACCESS-KEY"), request.headers.get("X-LSQ-SECRET-KEY"))
        if keys != (account.access_key, account.secret_key):
            return _error(401, "MXUnauthorizedException", "Invalid access key or secret key")
        if not self._within_limit(org_id, arrived):
            return _error(429, _MX_RATE_LIMIT["ExceptionType"], _MX_RATE_LIMIT["ExceptionMessage"])
        return None

    async def _answer(
        self, request: web.Request, org_id: str, ticket_id: str, raw: bytes, arrived: float
    ) -> web.Response:
        refused = self._refused(request, org_id, arrived)
        if refused is not None:
            return refused
        body = _json(raw)
        if request.content_type != "application/json" or not _documented(body):
            return _error(400, "MXInvalidInputException", "The request body is not as specified")
        if self.latency:
            await asyncio.sleep(self.latency)
        behaviour = self.fault or self.tickets.get(ticket_id, Behaviour.NOT_FOUND)
        return self._behave(behaviour, request, Activity("", org_id, ticket_id, body["Text"]))

    def _within_limit(self, org_id: str, arrived: float) -> bool:
        arrivals = self._arrivals[org_id]
        while arrivals and arrivals[0] <= arrived - WINDOW:
            arrivals.popleft()
        if len(arrivals) >= self.calls_per_window:
            return False
        arrivals.append(arrived)
        return True

    def _behave(self, behaviour: Behaviour, request: web.Request, asked: Activity) -> web.Response:
        match behaviour:
            case Behaviour.BUSY_AT_FIRST if (asked.ticket_id, asked.text) not in self._busy_for:
                self._busy_for.add((asked.ticket_id, asked.text))
                return _error(
                    429, _MX_RATE_LIMIT["ExceptionType"], _MX_RATE_LIMIT["ExceptionMessage"]
                )
            case Behaviour.FINE | Behaviour.BUSY_AT_FIRST:
                return web.json_response(
                    {"Id": self._record(asked), "Status": "Success", "Message": None}
                )
            case Behaviour.HANG:
                self._record(asked)  # a hang after which the activity is there
                return Hang()
            case Behaviour.DROP | Behaviour.DROP_MID_ANSWER | Behaviour.TRICKLE:
                return Hang(
                    drop=behaviour is not Behaviour.TRICKLE,
                    first=b""
                    if behaviour is Behaviour.DROP
                    else b'HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{"Id"',
                    more=b" " if behaviour is Behaviour.TRICKLE else b"",
                )
            case _:
                return _refusal(behaviour, f"{self.url}/elsewhere{request.path}")

    def _record(self, asked: Activity) -> str:
        id_ = str(len(self.ledger.activities) + 1)
        self.ledger.activities.append(Activity(id_, asked.org_id, asked.ticket_id, asked.text))
        return id_


class Hang(web.Response):
    """No answer, or the beginning of one.

    The stand-in writes to the connection itself, then drops it or leaves it hanging.
    """

    def __init__(self, *, drop: bool = False, first: bytes = b"", more: bytes = b"") -> None:
        super().__init__(status=200)
        self._drop, self._first, self._more = drop, first, more

    async def hang(self, request: web.Request) -> None:
        transport = request.transport
        while transport is not None and not transport.is_closing():
            if self._first:
                transport.write(self._first)
            if self._drop:
                transport.close()
                return
            self._first = self._more
            await asyncio.sleep(0.05)


def guid_of(ticket_id: str) -> str:
    """Return a ticket's TicketId."""
    return str(uuid5(NAMESPACE_OID, ticket_id))


def _refusal(behaviour: Behaviour, elsewhere: str) -> web.Response:
    match behaviour:
        case Behaviour.BAD_REQUEST:
            return _error(400, "MXInvalidInputException", "Text is not valid for this ticket")
        case Behaviour.GARBLED:
            return _error(422, "MXException", "The text\0 is \ud83dnot\u2028valid here")
        case Behaviour.UNAUTHORIZED:
            return _error(401, "MXUnauthorizedException", "Invalid access key or secret key")
        case Behaviour.FORBIDDEN:
            return _error(403, "MXForbiddenException", "Access from this address is not allowed")
        case Behaviour.RATE_LIMITED:
            return _error(429, _MX_RATE_LIMIT["ExceptionType"], _MX_RATE_LIMIT["ExceptionMessage"])
        case Behaviour.RATE_LIMITED_AS_403:
            return _error(403, "MXException", _MX_RATE_LIMIT["ExceptionMessage"])
        case Behaviour.RATE_LIMITED_AS_200:
            return web.json_response(_MX_RATE_LIMIT)
        case Behaviour.REFUSED:
            return web.json_response(
                {"Id": None, "Status": "Error", "Message": "The ticket is closed"}
            )
        case Behaviour.FAILED:
            return _error(500, "MXObjectReferenceException", "The activity could not be saved")
        case Behaviour.SERVER_ERROR:
            return web.Response(
                status=502, text="<html><h1>Bad gateway</h1></html>", content_type="text/html"
            )
        case Behaviour.HTML:
            return web.Response(text="<html>Please sign in</html>", content_type="text/html")
        case Behaviour.WITHOUT_ID:
            return web.json_response({"Id": None, "Status": "Success", "Message": None})
        case Behaviour.REDIRECT:
            return web.Response(status=307, headers={"Location": elsewhere})
        case Behaviour.HUGE:
            return web.Response(text=" " * 1024 * 1024, content_type="application/json")
        case _:
            return _error(404, "MXResourceNotFoundException", "The ticket does not exist")


def _error(status: int, exception: str, message: str) -> web.Response:
    return web.json_response(
        {"Status": "Error", "ExceptionType": exception, "ExceptionMessage": message}, status=status
    )


def _listed(activity: Activity) -> dict[str, Any]:
    words = {"Text": activity.text, "Html": f"<div>{html.escape(activity.text)}</div>"}
    return {
        "Id": int(activity.id),
        "RelatedActivityType": "PortalInbound",
        "CreatedBy": "Portal",
        **words,
    }


def _documented(body: Any) -> bool:  # noqa: ANN401 - JSON
    return (
        isinstance(body, dict)
        and body.keys() == {"Text", "Direction"}
        and isinstance(body["Text"], str)
        and bool(body["Text"])
        and body["Direction"] == "INBOUND"
    )


def _json(raw: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(raw)
    except ValueError:
        return None
