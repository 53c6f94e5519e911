"""What a worker process tells Prometheus, and an orchestrator that asks whether it is well.

With `CHATD_WORKER_PORT` set, the process answers `/metrics` and `/healthz` there, from a thread of its own: it answers
also when everything else hangs, and says so. Healthy is a worker whose event loop takes turns; one that drains is
healthy until it ends, and so is one whose servers are away, because a restart would not bring them back.
"""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

from chat.metrics import REGISTRY

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

RUNNING_CHATS = Gauge("chatd_running_chats", "Chats that this process runs.", registry=REGISTRY)
ACQUISITION_WAIT = Histogram(
    "chatd_acquisition_wait_seconds",
    "From runnable and nobody's to acquired, by the database's clock.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
TAKEOVERS = Counter("chatd_takeovers", "Chats taken over from an owner whose lease had ended.", registry=REGISTRY)
FENCE_FAILURES = Counter("chatd_fence_failures", "Work that lost its right to commit.", registry=REGISTRY)
LEASES_LOST = Counter("chatd_leases_lost", "Leases that a heartbeat could not renew.", registry=REGISTRY)
HEARTBEAT_LATENESS = Histogram(
    "chatd_heartbeat_lateness_seconds", "Beyond the interval since the last one.", buckets=_SECONDS, registry=REGISTRY
)
HEARTBEAT_FAILURES = Counter("chatd_heartbeat_failures", "Heartbeats that the database refused.", registry=REGISTRY)
STEP_RETRIES = Counter("chatd_step_retries", "Steps begun again after an unexpected error.", registry=REGISTRY)
COMMIT_RETRIES = Counter("chatd_commit_retries", "Transactions tried again after an outage.", registry=REGISTRY)
GENERATION_RETRIES = Counter(
    "chatd_generation_retries", "Model calls that failed and are tried again.", ["kind"], registry=REGISTRY
)
GENERATION_FAILURES = Counter(
    "chatd_generation_failures", "Model calls that ended their turn with an error.", ["kind"], registry=REGISTRY
)
GENERATIONS = Counter("chatd_generations", "Model calls that were answered.", registry=REGISTRY)
FIRST_PART = Histogram(
    "chatd_first_part_seconds", "From the model call to its first part.", buckets=_SECONDS, registry=REGISTRY
)


Health = Callable[[], dict[str, Any]]
"""What `/healthz` answers; healthy if its "status" is "ok" or "draining"."""


class HealthServer:
    """Serves `/healthz` and `/metrics` until stopped."""

    def __init__(self, port: int, health: Health, *, host: str = "0.0.0.0") -> None:
        self._server = ThreadingHTTPServer((host, port), _handler(health))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="chat-worker-health", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
            elif self.path == "/healthz":
                found = health()
                status = 200 if found["status"] in ("ok", "draining") else 503
                self._answer(status, "application/json", json.dumps(found).encode())
            else:
                self._answer(404, "text/plain", b"/healthz or /metrics\n")

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """A probe every few seconds is nothing to log."""

    return Handler
