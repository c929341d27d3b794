"""What is surely a server's own page, and not a reason that an agent can act on. Pure."""

import re
from http import HTTPStatus

_PHRASES = frozenset(status.phrase.lower() for status in HTTPStatus)
_MARKUP = re.compile(r"\s*<(?:!doctype|html|head|title|body|h1|\?xml)\b|<title>", re.IGNORECASE)
_PATTERNS = {
    "no_http_resource": r"no http resource was found|no type was found that matches the controller",
    "no_action": r"no action was found on the controller|does not support http method",
    "generic_error": (
        r"^an (?:unhandled )?(?:error|exception) has occurred\b"
        r"|^the request is invalid\b"
    ),
    "null_reference": r"object reference not set|value cannot be null|nullreferenceexception",
    "stack_trace": (
        r"(?m)^\s*at [\w.<>`]+\(|exception of type '|unhandled exception"
        r"|\bsystem\.\w+[.\w]*exception\b"
    ),
    "server_error_page": r"^server error in '|^runtime error\b|^(?:error )?[45]\d\d\b",
    "gateway": (
        r"bad gateway|gateway time-?out|upstream (?:connect|request|timed)|no healthy upstream"
    ),
    "database": r"\bsqlexception\b|deadlock victim|execution timeout expired|cannot open database",
    "not_authorised": r"^authorization has been denied for this request",
}
_COMPILED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _PATTERNS.items()}


def server_page(words: str) -> str | None:
    """Return the name of the pattern that marks words as a server's own; None for a reason.

    The name may be logged. The words may quote a customer, and may not.
    """
    text = words.strip()
    if _MARKUP.search(text):
        return "html_page"
    if text.rstrip(".").lower() in _PHRASES:
        return "status_phrase"
    return next((name for name, pattern in _COMPILED.items() if pattern.search(text)), None)
