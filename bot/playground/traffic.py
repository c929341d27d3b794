"""What went between the bot and the stand-ins, with secrets masked.

A stand-in that has a `Traffic` writes into it; the tests' stand-ins have none.
"""

import itertools
import json
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

KEPT = 400
"""Exchanges. Older ones are dropped: a page shows what happened just now."""

LONGEST = 20_000
"""Characters of a body that are kept."""

MASK = "•••"
_SECRET_NAMES = frozenset({
    "access_key", "access_token", "authorization", "client_secret", "code", "cookie",
    "private_metadata", "refresh_token", "response_url", "secret_key", "set-cookie", "state",
    "token", "trigger_id", "url", "x-lsq-access-key", "x-lsq-secret-key",
    "x-slack-signature",
})  # fmt: skip
"""Fields and headers whose text is masked."""

_SECRET_BLOCKS = frozenset({"access_key", "secret_key"})
"""Blocks of a form in which a person types a secret."""

_SECRETS = re.compile(
    r"\b(?:xox[a-z]|xoxe(?:\.xox[a-z])?|xapp)-[\w.-]+"  # Slack's tokens
    r"|(?<=/response/)[\w-]+|(?<=/socket/)[\w-]+"
)


@dataclass(slots=True)
class Exchange:
    """A request and its answer. `status` is None while there is no answer."""

    number: int
    way: str  # such as "Slack → bot"
    what: str  # such as "POST /slack/events" or "chat.postMessage"
    at: float
    headers: dict[str, str]
    body: Any
    status: int | str | None = None
    answer: Any = None
    took: float | None = None


@dataclass
class Traffic:
    """The newest exchanges, and who is to hear of each change."""

    on_change: Callable[[], None] = lambda: None
    exchanges: deque[Exchange] = field(default_factory=lambda: deque(maxlen=KEPT))
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def begin(
        self, way: str, what: str, body: str | bytes, headers: Mapping[str, str] | None = None
    ) -> Exchange:
        """Note a request, as it goes out or comes in."""
        exchange = Exchange(
            next(self._numbers), way, shown(what), time.time(), masked_headers(headers), read(body)
        )
        self.exchanges.append(exchange)
        self.on_change()
        return exchange

    def end(self, exchange: Exchange, status: int | str, body: str | bytes = "") -> None:
        """Note its answer; a `status` in words says why there is none."""
        exchange.status, exchange.answer = status, read(body)
        exchange.took = time.time() - exchange.at
        self.on_change()


def read(body: str | bytes) -> Any:  # noqa: ANN401 - JSON
    """Read a body as a person wants to see it: JSON and forms as values, secrets masked."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    if not text:
        return None
    try:
        return masked(json.loads(text))
    except ValueError:
        pass
    if re.match(r"[\w.]+=", text) and "\n" not in text.strip():
        pairs = parse_qsl(text, keep_blank_values=True)
        return masked({name: _in_form(value) for name, value in pairs})
    return shown(text[:LONGEST])


def _in_form(value: str) -> Any:  # noqa: ANN401 - JSON
    """Read a form's field: Slack has JSON in some."""
    if value[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def masked(value: Any, name: str = "") -> Any:  # noqa: ANN401 - JSON
    """Return a value with each secret in it masked."""
    match value:
        case dict() if name in _SECRET_BLOCKS:
            return _masked_block(value)
        case dict():
            return {key: masked(one, str(key)) for key, one in value.items()}
        case list():
            return [masked(one, name) for one in value]
        case str():
            return hidden(value) if value and _is_secret(name.lower(), value) else shown(value)
        case _:
            return value


def _masked_block(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Mask what a person typed into a block, wherever it stands."""
    if isinstance(value, dict):
        return {
            key: hidden(one) if key == "value" and isinstance(one, str) else _masked_block(one)
            for key, one in value.items()
        }
    return value


def _is_secret(name: str, value: str) -> bool:
    """Say whether a field's name makes its text a secret."""
    if name == "url":  # a websocket's address opens it; another one opens nothing
        return value.startswith(("ws://", "wss://"))
    return name in _SECRET_NAMES


def hidden(text: str) -> str:
    """Mask a secret; a long one keeps its beginning, by which it is recognised."""
    scheme, _, rest = text.partition(" ")
    if rest and scheme in ("Bearer", "Basic"):
        return f"{scheme} {hidden(rest)}"
    return f"{text[: min(5, len(text) // 4)]}{MASK}"


def shown(text: str) -> str:
    """Mask what looks like a secret anywhere in a text."""
    return _SECRETS.sub(lambda found: hidden(found[0]), text)


def masked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers that say something, with secrets masked."""
    dull = {"host", "accept", "accept-encoding", "connection", "content-length", "user-agent"}
    return {
        name: masked(value, name)
        for name, value in (headers or {}).items()
        if name.lower() not in dull
    }
