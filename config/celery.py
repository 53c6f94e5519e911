"""The Celery app: two queues (`chats`, `maintenance`), thread pools, and the chat worker as a bootstep."""

import gc
import os
from functools import cached_property
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_init, worker_ready
from kombu import Queue

COLLECT_AFTER = (10_000, 20, 20)
"""New objects before the garbage collector looks at the youngest, and passes before it looks at older ones as well.

With Python's own figures it looks at everything half a dozen times while a worker starts, and as often while 500 chats
begin: for up to 0.4 s each, in which nothing streams.
"""

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


class Chatd(Celery):
    Beat = cached_property(lambda self: self.subclass_with_self("config.beat:Beat"))


app = Chatd("chatd")
app.config_from_object("django.conf:settings", namespace="CELERY")
# No acknowledgement at all: a task is a wake-up, lost ones are found again, and two round trips each are saved.
app.conf.task_queues = [Queue("chats", no_ack=True), Queue("maintenance", no_ack=True)]
app.autodiscover_tasks(["chatworker"])


@setup_logging.connect
def keep_our_logging(**_newer: object) -> None:
    """Celery leaves the logging alone when somebody listens here; `config/logs.py` has set it up."""


@worker_init.connect
def collect_garbage_seldom(**_newer: object) -> None:
    gc.set_threshold(*COLLECT_AFTER)


@worker_ready.connect
def never_look_at_what_is_there_already(**_newer: object) -> None:
    gc.freeze()


@worker_init.connect
def add_chat_worker(sender: Any, **_newer: object) -> None:
    """Imported only in a worker: the web process has no use for model clients."""
    from chatworker.bootstep import ChatWorkerStep

    app.steps["worker"].add(ChatWorkerStep)
