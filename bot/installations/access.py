"""Whether the bot may speak in a workspace, and with which token. Values, and one Protocol."""

from dataclasses import dataclass, field
from typing import Protocol

from bot.tenants.directory import Scope


@dataclass(frozen=True, slots=True)
class Granted:
    """The bot speaks with this token."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unidentified:
    """It is not known yet.

    Slack has not said whose the token is, the database was away, or the token has expired.
    """


@dataclass(frozen=True, slots=True)
class TokenRefused:
    """Slack rejects SLACK_BOT_TOKEN, and `error` is its word."""

    error: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The workspace had installed the bot. `because` is Slack's word, such as app_uninstalled."""

    because: str


@dataclass(frozen=True, slots=True)
class TokenUnreadable:
    """The stored token cannot be decrypted with ENCRYPTION_KEYS."""


@dataclass(frozen=True, slots=True)
class NotInstalled:
    """There is no token for this workspace, and there never was.

    `by_oauth`: the workspace can install the bot at its own address.
    """

    by_oauth: bool = False


Access = Granted | Unidentified | TokenRefused | Ended | TokenUnreadable | NotInstalled


class Installations(Protocol):
    """Knows for each workspace whether the bot may speak there. It asks nobody: no call waits.

    `scope`: the part of Slack that this process can tell anything. None: it is not known yet.
    """

    @property
    def scope(self) -> Scope | None: ...

    def access(self, enterprise_id: str | None, team_id: str) -> Access: ...

    def refuse(self, token: str | None, error: str) -> None:
        """Take in that Slack rejects a token, in Slack's word. Ignore an unknown token."""
        ...


def token_of(access: Access) -> str | None:
    """Return the token; None where there is none to speak with."""
    return access.token if isinstance(access, Granted) else None
