"""`/metrics` of the web process, for Prometheus: what this process did, and what the database says of all chats.

What the database says is read at each scrape, by indexes alone: how many chats are under way or wait, never how many
there are. A database that is away costs these figures, not the answer: `chatd_database_up` is 0 then.
"""

from collections.abc import Iterator

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from chat.models import TaskRun

REGISTRY = CollectorRegistry()
"""Of this process: web, worker or command; a worker adds its own figures (`chatworker/metrics.py`)."""

TRANSITIONS = Counter("chatd_transitions", "Transitions committed by this process.", ["transition"], registry=REGISTRY)
NOT_PUBLISHED = Counter(
    "chatd_not_published", "Hints and wake-ups that Redis did not take.", ["what"], registry=REGISTRY
)
DEAD_WORKER_LEASES = Counter("chatd_dead_worker_leases", "Leases taken from workers found dead.", registry=REGISTRY)
ARCHIVED = Counter("chatd_archived_chats", "Chats archived because nothing happened in them.", registry=REGISTRY)
PURGED = Counter("chatd_purged_rows", "Rows deleted because their retention was over.", ["table"], registry=REGISTRY)


class ChatsInDatabase(Collector):
    """Chats that somebody works on or should, and the workers who could."""

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("chatd_database_up", "1: the database answered this scrape.")
        try:
            found, task_runs = _read(), list(_task_runs())
        except (DatabaseError, InterfaceError):
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        chats = GaugeMetricFamily("chatd_chats", "Chats that are not at rest, by status.", labels=["status"])
        for status in ("running", "interrupting", "requires_action"):
            chats.add_metric([status], found[status])
        yield chats
        for name, help_text in _GAUGES.items():
            yield GaugeMetricFamily(f"chatd_{name}", help_text, value=found[name])
        yield from task_runs


_GAUGES = {
    "waiting_chats": "Runnable chats that belong to nobody.",
    "oldest_wait_seconds": "How long the first of them has been waiting.",
    "fresh_leases": "Chats with a living owner.",
    "stale_leases": "Leases whose heartbeat has expired.",
    "worker_processes": "Chat workers that are registered.",
    "worker_slots": "Chats that they can run at the same time.",
}


def _read() -> dict[str, float]:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT
                (SELECT count(*) FROM chat_chat WHERE NOT archived AND status IN ('running', 'interrupting')
                    AND status = 'running') AS running,
                (SELECT count(*) FROM chat_chat WHERE NOT archived AND status IN ('running', 'interrupting')
                    AND status = 'interrupting') AS interrupting,
                (SELECT count(*) FROM chat_chat WHERE status = 'requires_action') AS requires_action,
                waiting.chats AS waiting_chats, waiting.oldest AS oldest_wait_seconds,
                leases.fresh AS fresh_leases, leases.stale AS stale_leases,
                workers.processes AS worker_processes, workers.slots AS worker_slots
            FROM
                (SELECT count(*) AS chats, coalesce(extract(epoch FROM now() - min(waiting_since)), 0)::float AS oldest
                    FROM chat_chat WHERE waiting_since IS NOT NULL) waiting,
                (SELECT count(*) FILTER (WHERE heartbeat_at > now() - %(ttl)s * interval '1 second') AS fresh,
                    count(*) FILTER (WHERE heartbeat_at <= now() - %(ttl)s * interval '1 second') AS stale
                    FROM chat_runnerlease) leases,
                (SELECT count(*) AS processes, coalesce(sum(slots), 0) AS slots
                    FROM chat_workerprocess WHERE draining_since IS NULL) workers""",
            {"ttl": settings.CHATD_LEASE_TTL},
        )
        names = [column.name for column in cursor.description]
        return dict(zip(names, cursor.fetchone(), strict=True))


def _task_runs() -> Iterator[Metric]:
    """How the last runs went of the tasks that take their time, and what all runs did."""
    began = GaugeMetricFamily("chatd_task_last_run_timestamp_seconds", "When the last run began.", labels=["task"])
    took = GaugeMetricFamily("chatd_task_last_run_seconds", "How long the last run took.", labels=["task"])
    done = CounterMetricFamily("chatd_task_done", "What all runs did.", labels=["task", "what"])
    for run in TaskRun.objects.all():
        began.add_metric([run.task], run.started_at.timestamp())
        if run.finished_at is not None:
            took.add_metric([run.task], (run.finished_at - run.started_at).total_seconds())
        for what, number in run.totals.items():
            done.add_metric([run.task, what], number)
    yield from (began, took, done)


_EVERYTHING = CollectorRegistry()
_EVERYTHING.register(ChatsInDatabase())


def metrics(request: HttpRequest) -> HttpResponse:
    """All figures in Prometheus' text format."""
    return HttpResponse(generate_latest(REGISTRY) + generate_latest(_EVERYTHING), content_type=CONTENT_TYPE_LATEST)
