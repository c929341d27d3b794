"""Acceptance: a submission becomes a delivery, once and durably.

It also records what a person decides about a delivery.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import structlog
from sqlalchemy.engine import Connection

from bot.activities.delivery import Delivery, Resolution, Route, Rows, State, Submission
from bot.activities.policy import ANCHOR_AFTER, DOUBLE_WITHIN
from bot.database.announcements import CHANNEL
from bot.database.statement import Row, Statement
from bot.database.writer import Database, DatabaseUnavailableError
from bot.encryption import Keyring
from bot.leadsquared.tenant import Attribution
from bot.tenants.directory import TENANT_OF_CONVERSATION
from bot.tenants.rules import MEMBER, AskGroup, Kind, NotAllowed, Recorder, read_rules, verdict

ANSWER_WITHIN = 2.0
"""Seconds after which the person is answered, even when the database is silent: Slack waits 3."""

BY_ALL_MEANS = 2.7
"""The same counted from the request, where Slack was asked about the person first."""

BEGIN_WITHIN = 1.5
"""Seconds within which a transaction must begin. After that, the person reads that nothing was
stored.
"""

DESPITE_ALL = 2**62
"""For `despite`: the person wants it, even if it doubles something."""

_SAME_TICKET = """
    earlier.account_id = tenant.account_id AND earlier.ticket_id = :ticket_id
    AND earlier.state != 'rejected' AND earlier.seq > :despite
"""
"""What was rejected is surely not on the ticket, and is no reason to ask."""

_SAME_WORDS = f"""
    earlier.fingerprint = :fingerprint AND earlier.accepted_at > bot_now() - {DOUBLE_WITHIN}
    AND {_SAME_TICKET}
"""
"""`earlier` brought the same words to the ticket just now, or may have."""

_SAME_MESSAGE = f"""
    earlier.team_id = :team_id AND earlier.channel_id = :channel_id
    AND earlier.thread_ts = :thread_ts
    AND (earlier.message_ts = :message_ts OR earlier.through_ts >= :message_ts)
    AND {_SAME_TICKET}
"""
"""`earlier` brought the same message to the ticket, or may have."""

_log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Accepted:
    """Committed. `again`: it had been accepted before, under the same key."""

    id: str
    tenant_id: int
    again: bool = False
    untitled: "Numbered | None" = None  # its ticket, where the tenant shows titles: it has none yet


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Nothing was stored: no tenant is mapped for this workspace."""


NotDone = Unmapped | NotAllowed | AskGroup
"""Why nothing was stored or changed: the conversation has no tenant, or its rules say no."""


@dataclass(frozen=True, slots=True)
class Double:
    """Nothing was stored, because an earlier delivery may have recorded the same.

    `delivery` is the earlier one, accepted `seconds_ago`. To record anyway, pass its ID as
    `despite`.
    """

    delivery: Delivery
    seconds_ago: float


@dataclass(frozen=True, slots=True)
class Numbered:
    """A ticket of a tenant's account, by its number or GUID."""

    tenant_id: int
    account_id: int
    ticket_id: str


@dataclass(frozen=True, slots=True)
class Mapped:
    """The tenant of a conversation, and how it wants its activities recorded."""

    tenant_id: int
    account_id: int
    attribution: Attribution
    show_ticket: bool

    def ticket(self, ticket_id: str) -> Numbered:
        return Numbered(self.tenant_id, self.account_id, ticket_id)


@dataclass(frozen=True, slots=True)
class Place:
    """A message in a conversation, as the outbox knows it.

    `thread_ts` is the message's own where it stands in no thread.
    """

    enterprise_id: str | None
    team_id: str
    channel_id: str
    thread_ts: str
    message_ts: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was changed.

    The delivery is not this workspace's (`delivery` is None), or its state no longer allows this.
    """

    delivery: Delivery | None


class Acceptance:
    """Commits what a person asks for before the person hears of it.

    After a commit it calls `on_accepted` with the tenant that has a new delivery, and `on_decided`
    with an earlier delivery about which a person has decided, and `on_untitled` with the ID and the
    ticket of a new delivery that has no title, where the tenant shows titles. So no caller has to
    remember to wake the worker or the teller.
    """

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        *,
        on_accepted: Callable[[int], None] = lambda _: None,
        on_decided: Callable[[Delivery], None] = lambda _: None,
        on_untitled: Callable[[str, Numbered], None] = lambda _id, _ticket: None,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._on_accepted = on_accepted
        self._on_decided = on_decided
        self._on_untitled = on_untitled
        self._rows = Rows(keyring)

    async def accept(
        self, submission: Submission, *, despite: str | None = None
    ) -> Accepted | NotDone | Double:
        """Commit a submission, unless it would double what was recorded before.

        `despite` is the id of the delivery that the person was shown as the double, and wants
        doubled. Raises DatabaseUnavailableError when it could not be committed; nothing is stored
        then.
        """
        row, recorder = self._new(submission), submission.recorder
        if despite is None:
            accepted = await self._promptly(
                lambda connection: self._insert(connection, row, recorder, despite=0),
                row=0,
                waited=recorder.waited,
            )
            return self._announced(accepted, submission)

        def write(connection: Connection) -> Accepted | NotDone | Double:
            shown = self._shown(connection, row, despite)
            return self._insert(connection, row, recorder, despite=shown)

        accepted = await self._promptly(write, waited=recorder.waited)
        return self._announced(accepted, submission)

    _FIND_TENANT = Statement(
        "The tenant of a conversation.",
        TENANT_OF_CONVERSATION,
        index=("uq_workspaces_team_id_channel_id_enterprise_id", "pk_tenants"),
    )
    # A query for each kind of thread, so that each has its index.
    _LAST_TICKET = Statement(
        "The ticket that a thread was last recorded on."
        " A message began the thread, or the bot's own anchor.",
        f"""
        WITH tenant AS ({TENANT_OF_CONVERSATION})
        SELECT ticket_id FROM deliveries
        WHERE seq = (
            SELECT max(seq) FROM (
                SELECT earlier.seq FROM tenant, deliveries AS earlier
                WHERE earlier.team_id = :team_id AND earlier.channel_id = :channel_id
                AND earlier.thread_ts = :thread_ts AND earlier.account_id = tenant.account_id
                AND (earlier.state = 'recorded' OR earlier.resolution = 'confirmed')
                UNION ALL
                SELECT earlier.seq FROM tenant, deliveries AS earlier
                WHERE earlier.team_id = :team_id AND earlier.channel_id = :channel_id
                AND earlier.anchor_ts = :thread_ts AND earlier.account_id = tenant.account_id
                AND (earlier.state = 'recorded' OR earlier.resolution = 'confirmed')
            ) AS found
        )
        """,
        index=(
            "uq_workspaces_team_id_channel_id_enterprise_id",
            "pk_tenants",
            "ix_deliveries_thread",
            "ix_deliveries_anchor",
            "pk_deliveries",
        ),
    )

    async def last_ticket(self, place: Place) -> str | Unmapped | None:
        """Return the ticket that a message's thread was last recorded on.

        Return Unmapped first of all when its workspace has no tenant.
        """

        def read(connection: Connection) -> str | Unmapped | None:
            asked = _conversation(place.enterprise_id, place.team_id, place.channel_id)
            if self._FIND_TENANT.one(connection, **asked) is None:
                return Unmapped()
            last = self._LAST_TICKET.one(connection, **asked, thread_ts=place.thread_ts)
            return None if last is None else str(last["ticket_id"])

        return await self._promptly(read)

    async def tenant_of(
        self, enterprise_id: str | None, team_id: str, channel_id: str
    ) -> Mapped | None:
        """Return the tenant of a conversation; None where there is none."""
        asked = _conversation(enterprise_id, team_id, channel_id)
        row = await self._promptly(lambda connection: self._FIND_TENANT.one(connection, **asked))
        if row is None:
            return None
        attribution, show_ticket = Attribution(row["attribution"]), bool(row["show_ticket"])
        return Mapped(row["id"], row["account_id"], attribution, show_ticket)

    async def is_mapped(self, enterprise_id: str | None, team_id: str, channel_id: str) -> bool:
        """Say whether a conversation has a tenant."""
        asked = _conversation(enterprise_id, team_id, channel_id)
        return await self._promptly(
            lambda connection: self._FIND_TENANT.one(connection, **asked) is not None
        )

    async def why_not(
        self,
        enterprise_id: str | None,
        team_id: str,
        channel_id: str,
        user_id: str,
        recorder: Recorder,
    ) -> NotDone | None:
        """Say why a person may not record in a conversation; None: they may.

        For what only opens or shows something: what stores or decides asks once more.
        """
        who = _conversation(enterprise_id, team_id, channel_id) | {"user_id": user_id}
        return await self._promptly(
            lambda connection: self._why_not(connection, who, recorder), row=0
        )

    _RECORDED_BEFORE = Statement(
        "Whether a person has recorded something in a workspace.",
        """
        SELECT seq FROM deliveries
        WHERE team_id = :team_id AND user_id = :user_id AND settled_at IS NOT NULL
        ORDER BY seq LIMIT 1
        """,
        index=("ix_deliveries_person",),
    )

    def _why_not(self, connection: Connection, who: Row, recorder: Recorder) -> NotDone | None:
        """Say what the conversation's tenant has against a person."""
        asked = {name: who[name] for name in ("enterprise_id", "team_id", "channel_id")}
        tenant = self._FIND_TENANT.one(connection, **asked)
        if tenant is None:
            return Unmapped()
        known = {"team_id": who["team_id"], "user_id": who["user_id"]}
        before = bool(recorder.away) and self._RECORDED_BEFORE.one(connection, **known) is not None
        rules, channel_id = read_rules(tenant), who["channel_id"]
        return verdict(rules, recorder, channel_id, recorded_before=before)

    async def recorded_before(self, place: Place, ticket_id: str) -> Double | None:
        """Return the newest delivery that brought this very message to this ticket, or may have."""

        def read(connection: Connection) -> Double | None:
            asked = _conversation(place.enterprise_id, place.team_id, place.channel_id)
            message: dict[str, str | None] = {
                "thread_ts": place.thread_ts,
                "message_ts": place.message_ts,
            }
            return self._double(connection, asked | message, ticket_id, fingerprint=None, despite=0)

        return await self._promptly(read)

    async def send_again(
        self, shown: Delivery, submission: Submission, *, by: str | None = None
    ) -> Accepted | NotDone | Refused:
        """Accept a delivery anew, in its old place in Slack, and mark the old one as sent again.

        Only the first click does so. `by` decided it, unless it was the submission's own person.
        """
        row, recorder = self._new(submission), submission.recorder
        by = by or submission.user_id

        def write(connection: Connection) -> Accepted | NotDone | Refused | Double:
            return self._send_again(connection, shown.id, row, recorder, DESPITE_ALL, by)

        again = await self._promptly(write, waited=recorder.waited)
        if isinstance(again, Double):
            return Unmapped()  # despite all, nothing is a double
        return self._announced(again, submission, retry_of=shown)

    async def send_edited(
        self, shown: Delivery, submission: Submission, *, despite: str | None = None
    ) -> Accepted | NotDone | Refused | Double:
        """Accept a delivery anew as a person has changed it.

        It works like `send_again`, and finds doubles like any acceptance.
        """
        row, recorder = self._new(submission), submission.recorder

        def write(connection: Connection) -> Accepted | NotDone | Refused | Double:
            wanted = self._shown(connection, row, despite)
            return self._send_again(connection, shown.id, row, recorder, wanted, submission.user_id)

        result = await self._promptly(write, waited=recorder.waited)
        return self._announced(result, submission, retry_of=shown)

    def _send_again(
        self,
        connection: Connection,
        old_id: str,
        row: Row,
        recorder: Recorder,
        despite: int,
        by: str,
    ) -> Accepted | NotDone | Refused | Double:
        old = self._lock(connection, row["team_id"], old_id)
        if old is None or not old.resendable:
            return Refused(old)
        alone = old.route is Route.DIRECT_MESSAGE and row["response_url"] is not None
        place = {  # without the anchor's mark: it is to show this delivery's ticket and text
            "retry_of": old.id,
            "channel_id": old.channel_id,
            "thread_ts": old.thread_ts,
            "message_ts": old.message_ts,
            "through_ts": old.through_ts,
            "anchor_ts": old.anchor_ts,
            "route": Route.RESPONSE_URL if alone else old.route,
        }
        accepted = self._insert(connection, row | place, recorder, despite=despite)
        if isinstance(accepted, Accepted) and not accepted.again:
            self._resolve(connection, old, Resolution.SENT_AGAIN, by)
        return accepted

    def _shown(self, connection: Connection, row: Row, despite: str | None) -> int:
        """Return the seq up to which a person has seen the possible doubles.

        A double on another ticket does not count: the person saw nothing of this one.
        """
        shown = None if despite is None else self._find(connection, row["team_id"], despite)
        return shown.seq if shown is not None and shown.ticket_id == row["ticket_id"] else 0

    async def confirm(
        self, team_id: str, shown: Delivery, user_id: str, recorder: Recorder = MEMBER
    ) -> Delivery | NotDone | Refused:
        """Close an unknown delivery because a person saw it on the ticket.

        `recorder` is what Slack says of the person, who must be allowed to record there.
        """

        def write(connection: Connection) -> Delivery | NotDone | Refused:
            old = self._lock(connection, team_id, shown.id)
            if old is None or old.state is not State.UNKNOWN or old.resolution is not None:
                return Refused(old)
            where = _conversation(old.enterprise_id, old.team_id, old.channel_id)
            why_not = self._why_not(connection, where | {"user_id": user_id}, recorder)
            if isinstance(why_not, NotAllowed | AskGroup):
                return why_not
            self._resolve(connection, old, Resolution.CONFIRMED, user_id)
            return old

        confirmed = await self._promptly(write, waited=recorder.waited)
        if isinstance(confirmed, Delivery):
            self._on_decided(confirmed)
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

    _RENEW = Statement(
        "A younger response_url for what follows a delivery.",
        "UPDATE deliveries SET response_url = :response_url WHERE seq = :seq",
        index=("pk_deliveries",),
    )

    async def renew_response_url(self, delivery: Delivery, response_url: str) -> None:
        """Keep a younger response_url for what follows this delivery."""
        renewed = self._keyring.encrypt(response_url)

        def write(connection: Connection) -> None:
            self._RENEW.run(connection, seq=delivery.seq, response_url=renewed)

        await self._promptly(write)

    def _announced(
        self, result: T, submission: Submission, *, retry_of: Delivery | None = None
    ) -> T:
        """Log what was just committed, and wake who acts on it."""
        if not isinstance(result, Accepted):
            return result
        if not result.again:  # what was accepted before was logged then
            where = {"team": submission.team_id, "ticket": submission.ticket_id}
            more = {} if retry_of is None else {"retry_of": retry_of.id}
            _log.info("accepted", delivery=result.id, **where, **more)
        if result.untitled is not None:
            self._on_untitled(result.id, result.untitled)
        # `again`, too: when the answer to a commit is lost, the database's unit of work runs again,
        # and finds its own row.
        self._on_accepted(result.tenant_id)
        if retry_of is not None:
            self._on_decided(retry_of)
        return result

    async def _promptly(
        self, do: Callable[[Connection], T], *, row: int | None = None, waited: float = 0.0
    ) -> T:
        within = min(ANSWER_WITHIN, BY_ALL_MEANS - waited)
        # Each of these is repeatable: the key, the resolution or the state decides what a second
        # run still changes.
        try:
            return await self._database.run(
                do,
                repeatable=True,
                row=row,
                within=min(BEGIN_WITHIN, within),
                answer_within=within,
            )
        except DatabaseUnavailableError as error:
            _log.warning("not_carried_out", reason=str(error))
            raise

    def _new(self, submission: Submission) -> Row:
        """Return a new delivery's row, as far as a submission decides it."""
        return self._rows.new(submission) | {
            "route": Route.THREAD,
            "retry_of": None,
            "anchor_ts": None,
        }

    # PostgreSQL tells the other processes at the commit which process accepted something, and for
    # which tenant.
    _ACCEPT = Statement(
        "Find the tenant and store a delivery, of a member where nothing limits who may record, or"
        " of a person whom the rules allow. Store nothing when there is no tenant, the key is"
        " known, or a delivery after `despite` is a double.",
        f"""
        WITH tenant AS ({TENANT_OF_CONVERSATION})
        INSERT INTO deliveries (
            id, enterprise_id, team_id, channel_id, user_id, key, ticket_id, text, title,
            response_url, thread_ts, message_ts, through_ts, fingerprint, retry_of, state, route,
            anchor_ts, tenant_id, tenant_name, account_id, attribution, accepted_at, due_at, tell_at
        )
        SELECT
            :id, :enterprise_id, :team_id, :channel_id, :user_id, :key, :ticket_id, :text, :title,
            :response_url, :thread_ts, :message_ts, :through_ts, :fingerprint, :retry_of,
            'accepted', :route, :anchor_ts, tenant.id, tenant.name, tenant.account_id,
            tenant.attribution, bot_now(), bot_now(), bot_now() + {ANCHOR_AFTER}
        FROM tenant
        WHERE (:is_allowed OR (:is_member AND record_group = '' AND record_channels = ''))
        AND NOT EXISTS (SELECT 1 FROM deliveries AS earlier WHERE {_SAME_WORDS})
        AND NOT EXISTS (SELECT 1 FROM deliveries AS earlier WHERE {_SAME_MESSAGE})
        ON CONFLICT DO NOTHING
        RETURNING tenant_id, account_id, (
            SELECT tenants.show_ticket FROM tenants WHERE tenants.id = deliveries.tenant_id
        ) AS show_ticket, pg_notify('{CHANNEL}', :process || ' ' || tenant_id)
        """,
        index=(
            "uq_workspaces_team_id_channel_id_enterprise_id",
            "pk_tenants",
            "ix_deliveries_fingerprint",
            "ix_deliveries_thread",
        ),
    )

    def _insert(
        self,
        connection: Connection,
        row: Row,
        recorder: Recorder,
        *,
        despite: int,
        is_allowed: bool = False,
    ) -> Accepted | NotDone | Double:
        """Store a row, or say why not. `despite` is the seq up to which doubles are wanted.

        `is_allowed`: the tenant's rules were read in this transaction, and allow it.
        """
        stored = self._ACCEPT.one(
            connection,
            **row,
            despite=despite,
            process=self._database.process,
            is_allowed=is_allowed,
            is_member=recorder.kind is Kind.MEMBER,
        )
        if stored is not None:
            ticket = Numbered(stored["tenant_id"], stored["account_id"], row["ticket_id"])
            untitled = ticket if stored["show_ticket"] and row["title"] is None else None
            return Accepted(row["id"], stored["tenant_id"], untitled=untitled)
        before = self._rows.UNDER_KEY.one(connection, team_id=row["team_id"], key=row["key"])
        if before is not None:
            return Accepted(before["id"], before["tenant_id"], again=True)
        if not is_allowed:
            why_not = self._why_not(connection, row, recorder)
            return why_not or self._insert(
                connection, row, recorder, despite=despite, is_allowed=True
            )
        asked = _conversation(row["enterprise_id"], row["team_id"], row["channel_id"])
        if despite == DESPITE_ALL or self._FIND_TENANT.one(connection, **asked) is None:
            return Unmapped()
        message = {"thread_ts": row["thread_ts"], "message_ts": row["message_ts"]}
        double = self._double(
            connection, asked | message, row["ticket_id"], row["fingerprint"], despite
        )
        # What stood in the way may have been rejected a moment ago, by another process.
        return double or self._insert(
            connection, row, recorder, despite=DESPITE_ALL, is_allowed=True
        )

    # A query for each kind of double, so that each has its index.
    _DOUBLE = Statement(
        "The newest delivery that this one would double, and how many seconds ago it was accepted.",
        f"""
        WITH tenant AS ({TENANT_OF_CONVERSATION})
        SELECT deliveries.*, bot_now() - accepted_at AS seconds_ago FROM deliveries
        WHERE seq = (
            SELECT max(seq) FROM (
                SELECT earlier.seq FROM tenant, deliveries AS earlier WHERE {_SAME_WORDS}
                UNION ALL
                SELECT earlier.seq FROM tenant, deliveries AS earlier WHERE {_SAME_MESSAGE}
            ) AS found
        )
        """,
        index=(
            "uq_workspaces_team_id_channel_id_enterprise_id",
            "pk_tenants",
            "ix_deliveries_fingerprint",
            "ix_deliveries_thread",
            "pk_deliveries",
        ),
    )

    def _double(
        self,
        connection: Connection,
        place: dict[str, str | None],
        ticket_id: str,
        fingerprint: bytes | None,
        despite: int,
    ) -> Double | None:
        asked = {**place, "ticket_id": ticket_id, "fingerprint": fingerprint, "despite": despite}
        row = self._DOUBLE.one(connection, **asked)
        return None if row is None else Double(self._rows.delivery(row), row["seconds_ago"])

    _FIND = Statement(
        "A workspace's own delivery, or its organisation's.",
        """
        SELECT * FROM deliveries
        WHERE id = :id AND (team_id = :team_id OR enterprise_id = :enterprise_id)
        """,
        index=("uq_deliveries_id",),
    )

    def _find(
        self, connection: Connection, team_id: str, id_: str, enterprise_id: str | None = None
    ) -> Delivery | None:
        row = self._FIND.one(connection, id=id_, team_id=team_id, enterprise_id=enterprise_id)
        return (
            None if row is None else self._rows.with_successor(self._rows.delivery(row), connection)
        )

    _LOCK = Statement(
        "A workspace's own delivery, which is then changed.",
        "SELECT * FROM deliveries WHERE id = :id AND team_id = :team_id FOR UPDATE",
        index=("uq_deliveries_id",),
    )

    def _lock(self, connection: Connection, team_id: str, id_: str) -> Delivery | None:
        """Find a delivery that is then changed: two clicks at once follow each other."""
        row = self._LOCK.one(connection, id=id_, team_id=team_id)
        return None if row is None else self._rows.delivery(row)

    _RESOLVE = Statement(
        "A person has decided.",
        """
        UPDATE deliveries
        SET resolution = :resolution, resolved_by = :resolved_by, resolved_at = bot_now(),
            tell_at = bot_now()
        WHERE seq = :seq
        """,
        index=("pk_deliveries",),
    )

    def _resolve(
        self, connection: Connection, old: Delivery, resolution: Resolution, user_id: str
    ) -> None:
        self._RESOLVE.run(connection, seq=old.seq, resolution=resolution, resolved_by=user_id)


def _conversation(
    enterprise_id: str | None, team_id: str, channel_id: str
) -> dict[str, str | None]:
    """Name a conversation to a statement."""
    return {"enterprise_id": enterprise_id or None, "team_id": team_id, "channel_id": channel_id}
