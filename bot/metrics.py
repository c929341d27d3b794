"""What a process counts, in Prometheus's text format. It holds no words and no keys.

Counters are the process's own, so that a sum over all processes counts each thing once. The
gauges of what stands in the database come from one process (`standing.py`).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from bot import __version__
from bot.activities.policy import Decision, Repeat
from bot.activities.standing import Standing
from bot.activities.worker import Counts
from bot.leadsquared.outcome import Outcome, Problem

CONTENT_TYPE = CONTENT_TYPE_LATEST

PREFIX = "portal_activity"

# Slack waits 3 s. A database that answers takes milliseconds.
_ACK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0)
# LeadSquared's window is 5 s; the bot retries for 15 minutes by default.
_OUTCOME = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
_DATABASE = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0)


class Metrics(Counts):
    """The counters of one process. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(f"{PREFIX}_{name}", says, labels, registry=registry)

        def histogram(name: str, says: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"{PREFIX}_{name}", says, labels, buckets=buckets, registry=registry)

        build = Gauge(f"{PREFIX}_build_info", "The bot's version.", ["version"], registry=registry)
        build.labels(__version__).set(1)
        self._acknowledged = histogram(
            "ack_seconds", "From Slack's request to its acknowledgement.", _ACK, "way"
        )
        self._accepted = counter("accepted", "Activities that were stored.")
        self._attempts = counter("attempts", "Calls to LeadSquared, by how they ended.", "outcome")
        self._settled = counter("settled", "Activities with a final outcome.", "outcome", "problem")
        self._outcome = histogram(
            "outcome_seconds", "From acceptance to the final outcome.", _OUTCOME, "outcome"
        )
        self._slack = counter("slack_calls", "Calls to Slack.", "method", "result")
        self._websockets = counter("websockets", "Websockets to Slack, by event.", "event")
        self._database = histogram(
            "database_seconds",
            "From a unit of work's request to its commit.",
            _DATABASE,
            "waits",
        )

    @contextmanager
    def acknowledging(self, way: str) -> Iterator[None]:
        """Measure how long Slack waits for an acknowledgement; `way` is http or socket."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._acknowledged.labels(way).observe(time.monotonic() - began)

    def accepting(self, then: Callable[[int], None]) -> Callable[[int], None]:
        """Return what counts an acceptance, and passes its tenant on."""

        def accepted(tenant_id: int) -> None:
            self._accepted.inc()
            then(tenant_id)

        return accepted

    def attempted(self, outcome: Outcome, decision: Decision, age: float) -> None:
        """Count a call that ended, `age` seconds after its activity was accepted."""
        self._attempts.labels(type(outcome).__name__.lower()).inc()
        if isinstance(decision, Repeat):
            return
        problem = "" if decision.problem is None else decision.problem.value
        self._settled.labels(decision.state.value, problem).inc()
        self._outcome.labels(decision.state.value).observe(age)

    def ended(self, outcome: str, problem: Problem, number: int) -> None:
        """Count activities that were settled without an answer of LeadSquared."""
        self._settled.labels(outcome, problem.value).inc(number)

    def called_slack(self, method: str, result: str) -> None:
        self._slack.labels(method, result).inc()

    def websocket(self, event: str) -> None:
        self._websockets.labels(event).inc()

    def carried_out(self, is_a_persons: bool, seconds: float) -> None:  # noqa: FBT001 - a label
        self._database.labels("person" if is_a_persons else "process").observe(seconds)

    def page(self, standing: Standing | None) -> bytes:
        """Return the page; `standing` is what the database holds, if this process tells it."""
        return generate_latest(self._registry) + (
            b"" if standing is None else generate_latest(_gauges(standing))
        )


def _gauges(standing: Standing) -> CollectorRegistry:
    registry = CollectorRegistry()

    def gauge(name: str, says: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", says, labels, registry=registry)

    waiting = gauge("waiting", "Activities without an outcome.", "tenant", "state")
    for (tenant, state), number in standing.waiting.items():
        waiting.labels(tenant, state).set(number)
    oldest = gauge("oldest_waiting_seconds", "Age of the oldest without an outcome.", "tenant")
    for tenant, age in standing.oldest.items():
        oldest.labels(tenant).set(age)
    slots = gauge("slots_in_use", "Slots of LeadSquared's rate limit in use.", "tenant")
    for tenant, number in standing.slots.items():
        slots.labels(tenant).set(number)
    gauge("undecided", "Unknown outcomes that no person has decided.").set(standing.undecided)
    gauge("untold", "Outcomes that Slack has not taken yet.").set(standing.untold)
    return registry
