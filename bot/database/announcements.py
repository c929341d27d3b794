"""What other processes accept and change, heard at once: PostgreSQL's LISTEN and NOTIFY."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from bot.backoff import Backoff, jittered
from bot.database.engines import NOTICED_IN_SECONDS
from bot.database.statement import Statement
from bot.database.writer import Database, DatabaseUnavailableError

if TYPE_CHECKING:
    import psycopg

_log = structlog.get_logger(__name__)

CHANNEL = "portal_activity_accepted"
"""Where an acceptance is announced: the process that accepted, and the tenant's number.

And changes of installations: the process, and `INSTALLATIONS`. And channels that are shared with
another organisation, or no more: the process, `SHARING` and the channel's ID.
"""

INSTALLATIONS = "installations"
SHARING = "sharing"

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds between tries to listen again."""

HEARD_WITHIN = 10.0
"""Seconds in which this process must hear itself; behind a proxy that pools transactions no
process can listen.
"""

DEAF_FOR = 600.0
"""Seconds until the next try, where that is so."""

_HELLO = "hello"


class Announced:
    """Tells the other processes what this one has heard."""

    _SHARING = Statement(
        "A channel was shared with another organisation, or is no more.",
        f"SELECT pg_notify('{CHANNEL}', :process || ' {SHARING} ' || :channel_id)",
    )

    def __init__(self, database: Database) -> None:
        self._database = database

    async def channel(self, channel_id: str) -> None:
        """Announce that who reads a channel has changed. Raises DatabaseUnavailableError."""

        def write(connection: Connection) -> None:
            self._SHARING.all(connection, process=self._database.process, channel_id=channel_id)

        await self._database.run(write, repeatable=True, within=1.5, answer_within=2.0)


class Announcements:
    """Listens on its own connection for what other processes accept.

    `heard` is called with the tenant of each acceptance, `installations` when one has changed,
    `sharing` with a channel. Whenever listening has just begun, this process did not hear earlier
    announcements: `missed`, `installations` and `sharing` (None: any channel) are called.
    """

    def __init__(
        self,
        database: Database,
        heard: Callable[[int], None],
        missed: Callable[[], None],
        installations: Callable[[], None],
        sharing: Callable[[str | None], None],
    ) -> None:
        self._database = database
        self._heard = heard
        self._missed = missed
        self._installations = installations
        self._sharing = sharing

    async def run(self) -> None:
        """Listen until cancelled; while that is not possible, the workers' poll finds the work."""
        import psycopg

        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while True:
            deaf = False
            try:
                async with await self._connect() as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self._missed()
                    self._installations()
                    self._sharing(None)
                    if await self._hears_itself(connection):
                        _log.info("listening_for_announcements")
                        backoff.reset()
                        await self._listen(connection)
                    else:
                        _log.warning("announcements_not_heard", again_in=DEAF_FOR)
                        deaf = True
            except (psycopg.Error, DatabaseUnavailableError, OSError) as error:
                _log.warning("announcements_lost", reason=" ".join(str(error).split()))
            await asyncio.sleep(jittered(DEAF_FOR) if deaf else backoff.pause())

    async def _connect(self) -> "psycopg.AsyncConnection":
        import psycopg
        from psycopg.conninfo import make_conninfo

        url = self._database.engine.url.set(drivername="postgresql").render_as_string(
            hide_password=False
        )
        place = make_conninfo(
            url, application_name="portal-activity listening", **NOTICED_IN_SECONDS
        )
        return await psycopg.AsyncConnection.connect(place, autocommit=True, prepare_threshold=None)

    async def _hears_itself(self, connection: "psycopg.AsyncConnection") -> bool:
        words = f"{self._database.process} {_HELLO}"

        def say(writing: Connection) -> None:
            writing.execute(sa.select(sa.func.pg_notify(CHANNEL, words)))

        await self._database.run(say)
        async with contextlib.aclosing(connection.notifies(timeout=HEARD_WITHIN)) as notifies:
            async for said in notifies:
                if said.payload == words:
                    return True
                self._take(said.payload)
        return False

    async def _listen(self, connection: "psycopg.AsyncConnection") -> None:
        async for said in connection.notifies():
            self._take(said.payload)

    def _take(self, payload: str) -> None:
        process, _, what = payload.partition(" ")
        if process == self._database.process:
            return
        if what == INSTALLATIONS:
            self._installations()
        elif what.startswith(f"{SHARING} "):
            self._sharing(what.removeprefix(f"{SHARING} "))
        elif what.isdecimal():
            self._heard(int(what))
