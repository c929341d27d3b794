"""Structured logs that never hold a secret or a customer's words."""

import logging
import sys
import traceback
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

# Libraries that log addresses, headers or bodies below this level; what they say from here on goes through `_foreign`.
_QUIET = ("slack_sdk", "httpx", "httpcore", "aiohttp", "asyncio", "sqlalchemy", "alembic")


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
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
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
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))


def _is_ours(record: logging.LogRecord) -> bool:
    """Say whether an event of aiohttp's server is more than a client's bytes that are no HTTP, or a body that broke off.

    Those are answered with 400. Anybody can send them, as often as they like, and nobody here can mend it.
    """
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not (kind.__module__ == "aiohttp.http_exceptions" or kind.__name__ == "RequestPayloadError")


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
