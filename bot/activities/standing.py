"""What stands in the database, for the metrics. One process at a time tells it."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy.engine import Connection

from bot.database.statement import Row, Statement
from bot.database.writer import Database, DatabaseUnavailableError

ON_DUTY = 60.0
"""Seconds for which the process that told it last goes on alone. Two scrapes fit in."""

ANSWER_WITHIN = 2.0
"""Seconds that a scrape waits for the database."""

NAMED = 10
"""Tenants that are named, the longest waiting first. The rest are counted together."""

OTHERS = "(others)"

COUNTED = 50
"""Undecided outcomes that are counted at most: a person has long been needed by then."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What has no outcome yet, and what needs a person. Ages are in seconds."""

    waiting: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by tenant and state
    oldest: Mapping[str, float] = field(default_factory=dict)
    slots: Mapping[str, int] = field(default_factory=dict)
    undecided: int = 0
    untold: int = 0


class Standings:
    """Reads what stands in the database, as one of several processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    _TAKE_DUTY = Statement(
        "This process tells it, if it did before or no other process does.",
        """
        INSERT INTO duties (name, holder, until)
        VALUES ('metrics', :process, bot_now() + :seconds)
        ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
        WHERE duties.holder = excluded.holder OR duties.until < bot_now()
        RETURNING name
        """,
    )
    _WAITING = Statement(
        "What has no outcome yet, by tenant and state.",
        """
        SELECT tenant_id, max(tenant_name) AS tenant, state, count(*) AS number,
            bot_now() - min(accepted_at) AS age
        FROM deliveries WHERE state IN ('accepted', 'claimed', 'sending')
        GROUP BY tenant_id, state
        """,
        index=("ix_deliveries_open",),
    )
    _SLOTS = Statement(
        "How many slots of a rate limit are in use, where something waits. An account with several"
        " tenants has the name of one.",
        """
        SELECT tenant,
            (SELECT count(*) FROM attempts
             WHERE attempts.account_id = waiting.account_id
             AND occupied_until > (SELECT bot_now())) AS number
        FROM (
            SELECT account_id, max(tenant_name) AS tenant FROM deliveries
            WHERE state IN ('accepted', 'claimed', 'sending') GROUP BY account_id
        ) AS waiting
        """,
        index=("ix_deliveries_open", "ix_attempts_window"),
    )
    _UNDECIDED = Statement(
        f"How many unknown outcomes no person has decided; {COUNTED} stands for more, too.",
        f"""
        SELECT count(*) AS number FROM (
            SELECT seq FROM deliveries WHERE state = 'unknown' AND resolution IS NULL
            LIMIT {COUNTED}
        ) AS undecided
        """,
        index=("ix_deliveries_undecided",),
    )
    _UNTOLD = Statement(
        "How many outcomes Slack has not taken yet.",
        """
        SELECT count(*) AS number FROM deliveries
        WHERE tell_at IS NOT NULL AND settled_at IS NOT NULL AND replied_at IS NULL
        """,
        index=("ix_deliveries_untold",),
    )

    async def read(self) -> Standing | None:
        """Return what stands there.

        None: another process tells it, or the database does not answer.
        """
        try:
            return await self._database.run(self._read, answer_within=ANSWER_WITHIN)
        except DatabaseUnavailableError:
            return None

    def _read(self, connection: Connection) -> Standing | None:
        duty = {"process": self._database.process, "seconds": ON_DUTY}
        if self._TAKE_DUTY.one(connection, **duty) is None:
            return None
        waiting = self._WAITING.all(connection)
        ages: dict[str, float] = {}
        for row in waiting:
            ages[row["tenant"]] = max(ages.get(row["tenant"], 0.0), row["age"])
        named = frozenset(sorted(ages, key=lambda tenant: -ages[tenant])[:NAMED])
        numbers: dict[tuple[str, str], int] = defaultdict(int)
        oldest: dict[str, float] = defaultdict(float)
        slots: dict[str, int] = defaultdict(int)
        for row in waiting:
            tenant = _label(row, named)
            numbers[tenant, row["state"]] += row["number"]
            oldest[tenant] = max(oldest[tenant], row["age"])
        for row in self._SLOTS.all(connection):
            slots[_label(row, named)] += row["number"]
        (undecided,) = self._UNDECIDED.all(connection)
        (untold,) = self._UNTOLD.all(connection)
        return Standing(numbers, oldest, slots, undecided["number"], untold["number"])


def _label(row: Row, named: Collection[str]) -> str:
    tenant: str = row["tenant"]
    return tenant if tenant in named else OTHERS
