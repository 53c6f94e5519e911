"""The chat worker inside a Celery worker: started after the pool, stopped before it.

At SIGTERM or SIGINT it stops taking chats at once, not only when Celery's consumer has ended, up to a second later. The
wake-ups that this process still receives in between are for others: they are passed on when it consumes no more.

Only a process that consumes the queue `chats` gets one. The remote-control commands `chatd_heartbeat` and `chatd_sync`
reach every process at once, however busy its pool is.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import structlog
from celery import bootsteps
from celery.signals import worker_shutting_down
from celery.worker.control import control_command, inspect_command
from django.conf import settings

from chat import hints
from chatworker import metrics
from chatworker.queues import CHATS_QUEUE
from chatworker.worker import ChatWorker

logger = structlog.get_logger(__name__)

_worker: ChatWorker | None = None
_was_told = False
_consumes_no_more = threading.Event()
CONSUMES_AT_MOST = 5.0
"""Seconds that a wake-up waits for the end of Celery's consumer, which is a matter of one."""


def run_chat(chat_id: UUID) -> None:
    """Run one chat in the chat worker of this process; if it takes no more, some other process shall look at it."""
    if _worker is None or not _worker.run_chat(chat_id):
        _consumes_no_more.wait(CONSUMES_AT_MOST)
        hints.publish_wake_up(chat_id)


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
        worker_shutting_down.connect(_told_to_stop)
        metrics.RUNNING_CHATS.set_function(lambda: len(_worker.running_chats()) if _worker else 0)
        if settings.CHATD_WORKER_PORT:
            self._health = metrics.HealthServer(settings.CHATD_WORKER_PORT, _health)
            self._health.start()

    def stop(self, worker: Any) -> None:
        global _worker
        _consumes_no_more.set()
        if _worker is not None:
            with _a_second_signal_calls(_worker.hand_over_now):
                _worker.stop(drain_timeout=settings.CHATD_DRAIN_TIMEOUT)
            _worker = None
        if self._health is not None:
            self._health.stop()
            self._health = None

    def terminate(self, worker: Any) -> None:
        global _worker
        _consumes_no_more.set()
        if _worker is not None:
            _worker.hand_over_now()
            _worker.stop(drain_timeout=0)
            _worker = None


def _health() -> dict[str, Any]:
    return _worker.health() if _worker else {"status": "stopped"}


def _told_to_stop(**_of_celery: Any) -> None:
    """Called inside Celery's handlers of SIGTERM and SIGINT; whoever sends a second one is out of patience.

    From then on the signals are ours: Celery would cancel its requests, which a pool of threads cannot.
    """
    global _was_told
    if _worker is not None and _was_told:
        _worker.hand_over_now()
    elif _worker is not None:
        if threading.current_thread() is threading.main_thread():
            _signals_call(_worker.hand_over_now)
        _worker.begin_stop(drain_timeout=settings.CHATD_DRAIN_TIMEOUT)
    _was_told = True


def _signals_call(hand_over: Callable[[], None]) -> dict[int, Any]:
    """The handlers that stood before, by the numbers of their signals."""
    return {number: signal.signal(number, lambda *_: hand_over()) for number in (signal.SIGTERM, signal.SIGINT)}


@contextmanager
def _a_second_signal_calls(hand_over: Callable[[], None]) -> Iterator[None]:
    """While `stop` waits, in place of Celery's handlers, which would cancel its tasks or end the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    before = _signals_call(hand_over)
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
