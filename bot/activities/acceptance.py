"""Acceptance: a submission becomes a delivery, once and durably; and what a person decides about one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from sqlalchemy.engine import Connection

from bot.activities.delivery import Delivery, Resolution, Route, State
from bot.activities.rows import Rows
from bot.activities.statements import DESPITE_ALL, AcceptanceStatements
from bot.activities.submission import Submission
from bot.database.writer import Database, DatabaseUnavailableError
from bot.encryption import Keyring

ANSWER_WITHIN = 2.0
"""Seconds after which the person is answered, even when the database is silent: Slack waits 3."""

BEGIN_WITHIN = 1.5
"""Seconds after which what has not begun is not begun any more: then the person reads that nothing was stored."""

_log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Accepted:
    """Committed. `again`: it had been accepted before, under the same key."""

    id: str
    tenant_id: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Nothing was stored: no tenant is mapped for this workspace."""


@dataclass(frozen=True, slots=True)
class Double:
    """Nothing was stored: this delivery, accepted so many seconds ago, may have brought the same to the ticket already.

    Whoever wants it all the same says so, by `despite`.
    """

    delivery: Delivery
    seconds_ago: float


@dataclass(frozen=True, slots=True)
class Place:
    """A message in a conversation, as the outbox knows it. `thread_ts` is the message's own where it stands in no thread."""

    enterprise_id: str | None
    team_id: str
    channel_id: str
    thread_ts: str
    message_ts: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was changed: the delivery is not this workspace's (`delivery` is None), or past what was asked of it."""

    delivery: Delivery | None


class Acceptance:
    """What a person asks for, committed before the person hears of it; what was asked for before.

    After a commit it calls `on_accepted` with the tenant that has a new delivery, and `on_decided`
    when a person has decided about an earlier one. So no caller has to remember to wake the worker
    or the teller.
    """

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        *,
        on_accepted: Callable[[int], None] = lambda _: None,
        on_decided: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._on_accepted = on_accepted
        self._on_decided = on_decided
        self._rows = Rows(keyring)
        self._accepting = AcceptanceStatements(database.engine, database.process)

    async def accept(self, submission: Submission, *, despite: str | None = None) -> Accepted | Unmapped | Double:
        """Commit a submission, unless it would double what was recorded before.

        `despite` is the id of the delivery that the person was shown as the double, and wants doubled. Raises
        DatabaseUnavailableError when it could not be committed; nothing is stored then.
        """
        row = self._rows.given(submission) | {"_route": Route.THREAD}
        if despite is None:
            accepted = await self._promptly(
                lambda connection: self._insert(connection, row, despite=0), waits_for_rows=False
            )
            return self._announced(accepted, submission)

        def write(connection: Connection) -> Accepted | Unmapped | Double:
            return self._insert(connection, row, despite=self._shown(connection, row, despite))

        return self._announced(await self._promptly(write), submission)

    async def last_ticket(self, place: Place) -> str | Unmapped | None:
        """Return the ticket that a message's thread was last recorded on; that its workspace has no tenant comes first."""

        def read(connection: Connection) -> str | Unmapped | None:
            asked = _conversation(place.enterprise_id, place.team_id, place.channel_id)
            if self._accepting.find_tenant(connection, **asked).fetchone() is None:
                return Unmapped()
            last = self._accepting.last_ticket(connection, **asked, **_thread(place)).fetchone()
            return None if last is None else str(last[0])

        return await self._promptly(read)

    async def is_mapped(self, enterprise_id: str | None, team_id: str, channel_id: str) -> bool:
        """Say whether a conversation has a tenant."""
        asked = _conversation(enterprise_id, team_id, channel_id)
        return await self._promptly(
            lambda connection: self._accepting.find_tenant(connection, **asked).fetchone() is not None
        )

    async def recorded_before(self, place: Place, ticket_id: str) -> Double | None:
        """Return the newest delivery that brought this very message to this ticket, or may have."""

        def read(connection: Connection) -> Double | None:
            asked = _conversation(place.enterprise_id, place.team_id, place.channel_id)
            message = {"_message_ts": place.message_ts, "_ticket_id": ticket_id, "_fingerprint": None}
            return self._double(connection, {**asked, **_thread(place), **message}, despite=0)

        return await self._promptly(read)

    async def send_again(
        self, shown: Delivery, submission: Submission, *, by: str | None = None
    ) -> Accepted | Unmapped | Refused:
        """Accept a delivery anew, in its old place in Slack, and mark the old one as sent again.

        Once: whoever clicks first. `by` decided it, unless it was the submission's own person.
        """
        row = self._rows.given(submission)
        by = by or submission.user_id

        def write(connection: Connection) -> Accepted | Unmapped | Refused | Double:
            return self._send_again(connection, shown.id, row, DESPITE_ALL, by)

        again = await self._promptly(write)
        if isinstance(again, Double):
            return Unmapped()  # despite all, nothing is a double
        return self._announced(again, submission, retry_of=shown.id)

    async def send_edited(
        self, shown: Delivery, submission: Submission, *, despite: str | None = None
    ) -> Accepted | Unmapped | Refused | Double:
        """Accept a delivery anew as a person has changed it: like `send_again`, and asked about like any acceptance."""
        row = self._rows.given(submission)

        def write(connection: Connection) -> Accepted | Unmapped | Refused | Double:
            wanted = self._shown(connection, row, despite)
            return self._send_again(connection, shown.id, row, wanted, submission.user_id)

        result = await self._promptly(write)
        return self._announced(result, submission, retry_of=shown.id)

    def _send_again(
        self, connection: Connection, old_id: str, row: dict[str, Any], despite: int, by: str
    ) -> Accepted | Unmapped | Refused | Double:
        old = self._lock(connection, row["_team_id"], old_id)
        if old is None or not old.resendable:
            return Refused(old)
        alone = old.route is Route.DIRECT_MESSAGE and row["_response_url"] is not None
        place = {  # without the anchor's mark: it is to show this delivery's ticket and text
            "_retry_of": old.id,
            "_channel_id": old.channel_id,
            "_thread_ts": old.thread_ts,
            "_message_ts": old.message_ts,
            "_through_ts": old.through_ts,
            "_anchor_ts": old.anchor_ts,
            "_route": Route.RESPONSE_URL if alone else old.route,
        }
        accepted = self._insert(connection, row | place, despite=despite)
        if isinstance(accepted, Accepted) and not accepted.again:
            self._resolve(connection, old, Resolution.SENT_AGAIN, by)
        return accepted

    def _shown(self, connection: Connection, row: dict[str, Any], despite: str | None) -> int:
        """Return the seq up to which a person has seen what would be doubled; what was shown of one ticket says nothing of another."""
        shown = None if despite is None else self._find(connection, row["_team_id"], despite)
        return shown.seq if shown is not None and shown.ticket_id == row["_ticket_id"] else 0

    async def confirm(self, team_id: str, shown: Delivery, user_id: str) -> Delivery | Refused:
        """Close an unknown delivery because a person saw it on the ticket."""

        def write(connection: Connection) -> Delivery | Refused:
            old = self._lock(connection, team_id, shown.id)
            if old is None or old.state is not State.UNKNOWN or old.resolution is not None:
                return Refused(old)
            self._resolve(connection, old, Resolution.CONFIRMED, user_id)
            return old

        confirmed = await self._promptly(write)
        if isinstance(confirmed, Delivery):
            self._on_decided()
        return confirmed

    async def find(
        self,
        team_id: str,
        id_: str,
        *,
        enterprise_id: str | None = None,
    ) -> Delivery | None:
        """Return a workspace's own delivery, or its organisation's; another one's is not there."""

        def read(connection: Connection) -> Delivery | None:
            return self._find(connection, team_id, id_, enterprise_id)

        return await self._promptly(read)

    async def renew_response_url(self, delivery: Delivery, response_url: str) -> None:
        """Keep a younger response_url for what follows this delivery."""
        renewed = self._keyring.encrypt(response_url)

        def write(connection: Connection) -> None:
            self._accepting.renew(connection, _seq=delivery.seq, _response_url=renewed)

        await self._promptly(write)

    def _announced(self, result: T, submission: Submission, *, retry_of: str | None = None) -> T:
        """Log what was just committed, and wake who acts on it."""
        if not isinstance(result, Accepted):
            return result
        if not result.again:  # what was accepted before was logged then
            where = {"team": submission.team_id, "ticket": submission.ticket_id}
            more = {} if retry_of is None else {"retry_of": retry_of}
            _log.info("accepted", delivery=result.id, **where, **more)
        # `again`, too: when the answer to a commit is lost, the database's unit of work runs again,
        # and finds its own row.
        self._on_accepted(result.tenant_id)
        if retry_of is not None:
            self._on_decided()
        return result

    async def _promptly(self, do: Callable[[Connection], T], *, waits_for_rows: bool = True) -> T:
        # Each of these is repeatable: the key, the resolution or the state decides what a second run still changes.
        try:
            return await self._database.run(
                do,
                repeatable=True,
                waits_for_rows=waits_for_rows,
                within=BEGIN_WITHIN,
                answer_within=ANSWER_WITHIN,
            )
        except DatabaseUnavailableError as error:
            _log.warning("not_carried_out", reason=str(error))
            raise

    def _insert(self, connection: Connection, row: dict[str, Any], *, despite: int) -> Accepted | Unmapped | Double:
        """Store a row, or say why not. `despite` is the seq up to which doubles are wanted."""
        return self._accepted(connection, row, self._store(connection, row, despite=despite), despite=despite)

    def _store(self, connection: Connection, row: dict[str, Any], *, despite: int) -> Any:  # noqa: ANN401 - the driver's cursor
        asked = _conversation(row["_enterprise_id"], row["_team_id"], row["_channel_id"])
        return self._accepting.accept(connection, **row, **asked, despite=despite)

    def _accepted(
        self,
        connection: Connection,
        row: dict[str, Any],
        stored_by: Any,  # noqa: ANN401 - the driver's cursor
        *,
        despite: int,
    ) -> Accepted | Unmapped | Double:
        """Read what storing a row brought, or find out why it was not stored."""
        stored = stored_by.fetchone()
        if stored is not None:
            return Accepted(row["_id"], stored[0])
        asked = _conversation(row["_enterprise_id"], row["_team_id"], row["_channel_id"])
        before = self._accepting.accepted_before(connection, _team_id=row["_team_id"], _key=row["_key"]).fetchone()
        if before is not None:
            return Accepted(before[0], before[1], again=True)
        if despite == DESPITE_ALL or self._accepting.find_tenant(connection, **asked).fetchone() is None:
            return Unmapped()
        names = ("_team_id", "_channel_id", "_thread_ts", "_message_ts", "_ticket_id", "_fingerprint")
        double = self._double(connection, {**asked, **{name: row[name] for name in names}}, despite=despite)
        # What stood in the way may have been rejected a moment ago, by another process.
        return double or self._insert(connection, row, despite=DESPITE_ALL)

    def _double(self, connection: Connection, asked: dict[str, Any], *, despite: int) -> Double | None:
        row = self._accepting.double(connection, **asked, despite=despite).fetchone()
        return None if row is None else Double(self._rows.delivery(row[:-1]), row[-1])

    def _find(
        self, connection: Connection, team_id: str, id_: str, enterprise_id: str | None = None
    ) -> Delivery | None:
        asked = {"_id": id_, "_team_id": team_id, "_enterprise_id": enterprise_id}
        found = self._found(self._accepting.find(connection, **asked))
        return found and self._rows.with_successor(found, connection, self._accepting.accepted_before)

    def _lock(self, connection: Connection, team_id: str, id_: str) -> Delivery | None:
        """Find a delivery that is then changed: two clicks at once follow each other."""
        return self._found(self._accepting.lock(connection, _id=id_, _team_id=team_id))

    def _found(self, by: Any) -> Delivery | None:  # noqa: ANN401 - the driver's cursor
        row = by.fetchone()
        return None if row is None else self._rows.delivery(row)

    def _resolve(self, connection: Connection, old: Delivery, resolution: Resolution, user_id: str) -> None:
        self._accepting.resolve(connection, _seq=old.seq, _resolution=resolution, _resolved_by=user_id)


def _conversation(enterprise_id: str | None, team_id: str, channel_id: str) -> dict[str, str | None]:
    """Name a conversation to FIND_TENANT."""
    return {"enterprise": enterprise_id or None, "team": team_id, "channel": channel_id}


def _thread(place: Place) -> dict[str, str]:
    return {"_team_id": place.team_id, "_channel_id": place.channel_id, "_thread_ts": place.thread_ts}
