"""Structured logs that never hold a secret or a customer's words."""

import logging
import sys
import time
import traceback
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

# Libraries that log addresses, headers or bodies below this level; what they say from here on goes through `_foreign`.
_QUIET = ("slack_sdk", "httpx", "httpcore", "aiohttp", "asyncio", "sqlalchemy", "alembic")


SOCKET_LOGGER = "slack_bolt.socket"
"""What the client of each websocket says of it. Whether it stands is told by `sockets.py`."""

SAID_AGAIN_AFTER = 30.0
"""Seconds until a loop's trouble with the database is logged again, while it stays the same."""


def configure_logging(level: str, format_: str) -> None:
    """Send structlog's and the libraries' events to standard error, as console lines or as JSON."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _place_of_exception,
    ]
    renderer = (
        structlog.processors.JSONRenderer()
        if format_ == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[_Once(), *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _foreign],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Bolt's warnings are advice to whoever writes an app, given at every start.
    logging.getLogger("slack_bolt").setLevel(logging.ERROR)
    logging.getLogger("aiohttp.server").filters[:] = [_is_ours]
    logging.getLogger(SOCKET_LOGGER).filters[:] = [_is_not_about_connecting]
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))


def _is_ours(record: logging.LogRecord) -> bool:
    """Say whether an event of aiohttp's server is more than a client's bytes that are no HTTP, or a body that broke off.

    Those are answered with 400. Anybody can send them, as often as they like, and nobody here can mend it.
    """
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not (kind.__module__ == "aiohttp.http_exceptions" or kind.__name__ == "RequestPayloadError")


def _is_not_about_connecting(record: logging.LogRecord) -> bool:
    """Say whether an event of a websocket's client is another than that it could not connect: it says so at each of its tries."""
    return record.funcName not in ("connect", "issue_new_wss_url")


class _Once:
    """Drops `database_unavailable` where the same part has said the same a moment ago: each loop tries twice a second."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], float] = {}

    def __call__(self, logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        if event["event"] == "database_unavailable":
            now = time.monotonic()
            what = (logger.name, str(event.get("reason")))
            self._said = {said: at for said, at in self._said.items() if now - at < SAID_AGAIN_AFTER}
            if what in self._said:
                raise structlog.DropEvent
            self._said[what] = now
        return event


def _foreign(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Keep of a library's event where it came from, not its words: they may quote addresses, headers or bodies."""
    record: logging.LogRecord = event["_record"]
    event["event"] = "library_warning"
    event["source"] = f"{record.name}:{record.funcName}:{record.lineno}"
    return event


def _place_of_exception(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Turn an exception into its type and the places it passed: messages and values can hold customers' words."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)
        event["error"] = type(error).__qualname__
        event["places"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]]
    return event
