"""Structured logs that never hold a secret or a customer's words."""

import logging
import math
import sys
import time
import traceback
from dataclasses import dataclass, replace
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

# Libraries that log addresses, headers or bodies below this level; what they say from here on goes
# through `_foreign`.
_QUIET = ("slack_sdk", "httpx", "httpcore", "aiohttp", "asyncio", "sqlalchemy", "alembic")


SOCKET_LOGGER = "slack_bolt.socket"
"""What the client of each websocket says of it. Whether it stands is told by `sockets.py`."""

COUNTED_FOR = 30.0
"""Seconds for which the same trouble is counted instead of printed."""

_TROUBLE = ("warning", "error", "exception", "critical")
_SAME = (
    "event",
    "reason",
    "error",
    "places",
    "host",
    "tenant",
    "status",
    "loop",
    "connection",
    "step",
)
"""Fields in which two events must agree to be the same trouble."""

_EACH = ("telling_given_up",)
"""Events of which each one is a person's: none may be left out."""


def configure_logging(level: str, format_: str) -> None:
    """Send structlog's and the libraries' events to standard error, as console lines or as JSON."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _place_of_exception,
    ]
    repeats = Repeats()
    renderer = (
        structlog.processors.JSONRenderer()
        if format_ == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, repeats, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=False,
    )
    handler = _ToStandardError(repeats)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _foreign],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Bolt's warnings advise the developer of an app, at every start.
    logging.getLogger("slack_bolt").setLevel(logging.ERROR)
    logging.getLogger("aiohttp.server").filters[:] = [_is_ours]
    logging.getLogger(SOCKET_LOGGER).filters[:] = [_is_not_about_connecting]
    for name in _QUIET:
        logging.getLogger(name).setLevel(
            max(logging.WARNING, logging.getLevelNamesMapping()[level])
        )


def _is_ours(record: logging.LogRecord) -> bool:
    """Say whether an event of aiohttp's server is worth a line of the log.

    It is not when a client sent bytes that are no HTTP, or broke off a body. Those are answered
    with 400. Anybody can send them, as often as they like, and no admin can fix it.
    """
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not (
        kind.__module__ == "aiohttp.http_exceptions" or kind.__name__ == "RequestPayloadError"
    )


def _is_not_about_connecting(record: logging.LogRecord) -> bool:
    """Drop a websocket client's events that it could not connect.

    The client logs one at each retry.
    """
    return record.funcName not in ("connect", "issue_new_wss_url")


class Repeats:
    """Prints a trouble once, and counts it while the same part meets it again for the same reason.

    How many were left out stands in the next one that is printed, or in a line `repeated`.
    """

    def __init__(self) -> None:
        self._counting: dict[tuple[str, ...], _Counted] = {}

    def __call__(self, logger: WrappedLogger, level: str, event: EventDict) -> EventDict:
        moment = time.monotonic()
        if not _is_counted(level, event):
            self.print_counted(moment)
            return event
        same = (logger.name, *(str(event.get(name)) for name in _SAME))
        counted = self._counting.pop(same, None)
        if counted is not None and moment < counted.until:
            self._counting[same] = replace(counted, left_out=counted.left_out + 1, last=event)
            raise structlog.DropEvent
        self.print_counted(moment)
        self._counting[same] = _Counted(logger, level, moment + COUNTED_FOR, event)
        if counted is not None and counted.left_out:
            event["left_out"] = counted.left_out
        return event

    def print_counted(self, moment: float = math.inf) -> None:
        """Print what was left out of those whose time is up."""
        for same, counted in list(self._counting.items()):
            if moment < counted.until:
                continue
            del self._counting[same]
            if counted.left_out:
                event = {**counted.last, "event": "repeated", "what": counted.last["event"]}
                event["left_out"] = counted.left_out
                as_structlogs = {"_logger": counted.logger, "_name": counted.level}
                level = logging.getLevelNamesMapping()[event["level"].upper()]
                counted.logger.log(level, event, extra=as_structlogs)


def _is_counted(level: str, event: EventDict) -> bool:
    has_reason = "reason" in event or "error" in event
    return level in _TROUBLE and has_reason and event["event"] not in _EACH


@dataclass(frozen=True, slots=True)
class _Counted:
    logger: WrappedLogger
    level: str
    until: float  # by time.monotonic()
    last: EventDict
    left_out: int = 0


class _ToStandardError(logging.StreamHandler[Any]):
    """Prints what is still counted when `logging` closes its handlers, at the process's end."""

    def __init__(self, repeats: Repeats) -> None:
        super().__init__(sys.stderr)
        self._repeats = repeats

    def close(self) -> None:
        if not self.stream.closed:
            self._repeats.print_counted()
        super().close()


def _foreign(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Keep of a library's event where it came from, not its words.

    The words may quote addresses, headers or bodies.
    """
    record: logging.LogRecord = event["_record"]
    event["event"] = "library_warning"
    event["source"] = f"{record.name}:{record.funcName}:{record.lineno}"
    return event


def _place_of_exception(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Turn an exception into its type and the places it passed.

    Messages and values can hold customers' words.
    """
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        frames = traceback.extract_tb(error.__traceback__)
        event["error"] = type(error).__qualname__
        event["places"] = [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]
        ]
    return event
