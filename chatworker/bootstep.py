"""The chat worker inside a Celery worker: started after the pool, stopped before it.

Only a process that consumes the queue `chats` gets one. The remote-control commands `chatd_heartbeat` and `chatd_sync`
reach every process at once, however busy its pool is.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from celery import bootsteps
from celery.worker.control import control_command, inspect_command
from django.conf import settings

from chatworker import metrics
from chatworker.queues import CHATS_QUEUE
from chatworker.worker import ChatWorker

logger = structlog.get_logger(__name__)

_worker: ChatWorker | None = None


def this_worker() -> ChatWorker | None:
    """The chat worker of this process; None in a process that runs no chats."""
    return _worker


class ChatWorkerStep(bootsteps.StartStopStep):
    requires = {"celery.worker.components:Pool"}

    _health: metrics.HealthServer | None = None

    def include_if(self, worker: Any) -> bool:
        return CHATS_QUEUE in worker.app.amqp.queues.consume_from

    def start(self, worker: Any) -> None:
        global _worker
        if _worker is not None:
            logger.error("chat worker started more than once")
            return
        _worker = ChatWorker(slots=worker.concurrency)
        _worker.start()
        metrics.RUNNING_CHATS.set_function(lambda: len(_worker.running_chats()) if _worker else 0)
        if settings.CHATD_WORKER_PORT:
            self._health = metrics.HealthServer(settings.CHATD_WORKER_PORT, _health)
            self._health.start()

    def stop(self, worker: Any) -> None:
        global _worker
        if _worker is not None:
            with _a_second_signal_calls(_worker.hand_over_now):
                _worker.stop(drain_timeout=settings.CHATD_DRAIN_TIMEOUT)
            _worker = None

        if self._health is not None:
            self._health.stop()
            self._health = None

    def terminate(self, worker: Any) -> None:
        global _worker
        if _worker is not None:
            _worker.stop(drain_timeout=0)
            _worker = None


def _health() -> dict[str, Any]:
    return _worker.health() if _worker else {"status": "stopped"}


@contextmanager
def _a_second_signal_calls(hand_over: Callable[[], None]) -> Iterator[None]:
    """Whoever sends SIGTERM or SIGINT again while chats drain is out of patience."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: Any) -> None:
        logger.warning("worker.second_signal", signal=signal.Signals(number).name)
        hand_over()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@control_command()
def chatd_heartbeat(state: Any, **_newer: Any) -> None:
    """Renew the leases of this process's chats now."""
    if _worker is not None:
        _worker.heartbeat_now()


@control_command()
def chatd_sync(state: Any, **_newer: Any) -> None:
    """Compare this process's runners with the database now."""
    if _worker is not None:
        _worker.sync_now()


@inspect_command()
def chatd_running(state: Any, **_newer: Any) -> dict[str, Any]:
    """The chats that this process runs."""
    if _worker is None:
        return {"worker_id": None, "chats": []}
    return {"worker_id": str(_worker.worker_id), "chats": _worker.running_chats()}
