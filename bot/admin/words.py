"""How an administrator's terminal shows what the database holds. Pure."""

from collections.abc import Sequence

from bot.activities.delivery import Waiting

WAITS = {
    Waiting.TURN: "waits for its turn",
    Waiting.RATE_LIMITED: "waits for LeadSquared's rate limit",
    Waiting.UNREACHABLE: "LeadSquared cannot be reached; the bot tries again",
    Waiting.UNDECIPHERABLE: "cannot be decrypted; waits for the earlier secret",
}
"""Why an activity is not sent right now."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_UNITS = ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"))


def shown(text: str) -> str:
    """Return a text that cannot control a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def printable(text: str) -> str:
    """Return a text of several lines that cannot control a terminal."""
    return "".join(one if one.isprintable() or one in "\r\n" else "?" for one in text)


def duration(seconds: float) -> str:
    """Return seconds in the largest unit that they fill."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"


def ago(seconds: float | None) -> str:
    return "-" if seconds is None else f"{duration(seconds)} ago"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table's lines; each column is as wide as its longest cell."""
    safe = [[shown(cell) or "-" for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*safe, strict=True)]
    padded = [[f"{row[at]:<{width}}" for at, width in enumerate(widths)] for row in safe]
    return ["  ".join(row).rstrip() for row in padded]
