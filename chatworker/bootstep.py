"""The chat worker inside a Celery worker: started after the pool, stopped before it.

Only a process that consumes the queue `chats` gets one. The remote-control commands `chatd_heartbeat` and `chatd_sync`
reach every process at once, however busy its pool is.
"""

from typing import Any

import structlog
from celery import bootsteps
from celery.worker.control import control_command, inspect_command
from django.conf import settings

from chatworker.queues import CHATS_QUEUE
from chatworker.worker import ChatWorker

logger = structlog.get_logger(__name__)

_worker: ChatWorker | None = None


def this_worker() -> ChatWorker | None:
    """The chat worker of this process; None in a process that runs no chats."""
    return _worker


class ChatWorkerStep(bootsteps.StartStopStep):
    requires = {"celery.worker.components:Pool"}

    def include_if(self, worker: Any) -> bool:
        return CHATS_QUEUE in worker.app.amqp.queues.consume_from

    def start(self, worker: Any) -> None:
        global _worker
        if _worker is not None:
            logger.error("chat worker started more than once")
            return
        _worker = ChatWorker()
        _worker.start()

    def stop(self, worker: Any) -> None:
        global _worker
        if _worker is not None:
            _worker.stop(drain_timeout=settings.CHATD_DRAIN_TIMEOUT)
            _worker = None

    def terminate(self, worker: Any) -> None:
        global _worker
        if _worker is not None:
            _worker.stop(drain_timeout=0)
            _worker = None


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
