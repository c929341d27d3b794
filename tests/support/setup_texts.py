"""What can be read while LeadSquared is connected inside Slack, by the name of what says it."""

from bot.leadsquared.tenant import Tenant
from bot.slack import setup_words as words
from bot.slack.answers import Message
from bot.tenants.changes import Change, What
from bot.tenants.connections import Connected

MAYA, BEN = "U0MAYA", "U0BEN"
TENANT = Tenant("slack-T0", "https://apigw.service-in.leadsquared.com", "22824", "", "")
HERE, CHANNEL = words.WORKSPACE, words.THIS_CHANNEL


def connected(*, waiting: int = 0, is_own: bool = True) -> Connected:
    return Connected(TENANT, is_own=is_own, is_exact=True, waiting=waiting, keys=(b"", b""))


OPERATORS = (What.ADDED, What.REMOVED, What.MAPPED, What.UNMAPPED)
"""What only the operator does."""


def change(what: What) -> Change:
    user_id = None if what in OPERATORS else MAYA
    detail = BEN if what in (What.NAMED, What.UNNAMED) else "org ID 22824 → 22825"
    return Change("T0", 1, 0.0, user_id, "slack-T0", what, detail)


def setup_shown() -> dict[str, list[Message | str]]:
    """Return by the name of the function (or constant) what it can say."""
    constants: dict[str, list[Message | str]] = {
        name: [value]
        for name, value in vars(words).items()
        if isinstance(value, str) and name.isupper() and name != "COMMAND"
    }
    return constants | {
        "host_not_allowed": [words.host_not_allowed("leadsquared.example.com")],
        "loading": [words.loading()],
        "checking": [words.checking()],
        "not_allowed": [words.not_allowed(()), words.not_allowed((MAYA, BEN))],
        "not_for_guests": [words.not_for_guests()],
        "role_unknown": [words.role_unknown()],
        "no_workspace": [words.no_workspace()],
        "not_opened": [words.not_opened()],
        "database_away": [words.database_away()],
        "maybe_saved": [words.maybe_saved()],
        "expired": [words.expired()],
        "failed": [words.failed()],
        "setup_usage": [words.setup_usage()],
        "only_admins_name": [words.only_admins_name()],
        "cannot_be_named": [words.cannot_be_named(BEN)],
        "named": [words.named(BEN)],
        "unnamed": [words.unnamed(BEN)],
        "was_not_named": [words.was_not_named(BEN)],
        "state": [
            words.state(HERE, None),
            words.state(HERE, connected()),
            words.state(HERE, connected(is_own=False)),
            words.state(CHANNEL, connected()),
        ],
        "change": [words.change(change(what)) for what in What],
        "rejected": [words.rejected()],
        "changed_since": [words.changed_since((change(What.MOVED),))],
        "unproved": [words.unproved("status 404")],
        "moves": [
            *(words.moves(HERE, connected(waiting=number), "22825") for number in (0, 1, 1234)),
            words.moves(HERE, connected(is_own=False), "22825"),
        ],
        "disconnects": [
            *(words.disconnects(HERE, connected(waiting=number), None) for number in (0, 1, 1234)),
            words.disconnects(CHANNEL, connected(), connected()),
        ],
        "saved": [words.saved(HERE, "22824", proved=proved) for proved in (True, False)],
        "disconnected": [words.disconnected(HERE)],
    }
