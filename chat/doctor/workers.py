"""Chat workers: which are alive, what they can take, and whether wake-ups reach them."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings

from chat.doctor.finding import Finding, Level, ok, problem, warning
from chat.doctor.site import Site
from chat.explain.situation import count
from chat.fleet import Fleet, WorkerSeen, read_fleet

QUEUE = "chats"
BACKLOG = 500
"""Wake-ups that wait: as many as a sweep sends at most; with more, sweeps send none."""
START = "Start one: celery -A config worker -Q chats, or ./dev up."
THREADS = "celery.concurrency.thread:TaskPool"


def chat_workers(site: Site) -> Iterator[Finding]:
    yield from judged(read_fleet())


def judged(fleet: Fleet) -> Iterator[Finding]:
    figures = {"workers": [_figures(worker) for worker in fleet.workers], "slots": fleet.slots, "taken": fleet.taken}
    draining = f", {len(fleet.draining)} told to stop" if fleet.draining else ""
    dead = f", {len(fleet.dead)} dead" if fleet.dead else ""
    most = settings.CHATD_MAX_CHATS + settings.CHATD_MAX_SUB_AGENTS
    if not fleet.taking:
        says = f"No chat worker is alive that takes chats{draining}{dead}: no message is answered."
        yield problem(says, START, **figures)
        if fleet.taken:
            says = f"Yet {count(fleet.taken, 'chat')} have fresh heartbeats: workers whose locks nobody sees."
            todo = "If a pooler shares sessions (pgbouncer in transaction mode), let workers connect past it."
            yield warning(says, todo)
        return
    says = f"{len(fleet.taking)} alive{draining}{dead}; {fleet.taken} of {count(fleet.slots, 'slot')} are taken."
    if fleet.taken >= fleet.slots:
        yield warning(says, "Further chats wait in line: start another chat worker.", **figures)
    elif 0 < fleet.slots < most:
        todo = "Start more workers, raise CHATD_WORKER_SLOTS, or lower the limits."
        yield warning(f"{says} The limits allow {most} chats at a time, which cannot be reached.", todo, **figures)
    else:
        yield ok(says, **figures)


def wake_ups(site: Site) -> Iterator[Finding]:
    look = site.first_look
    names, waiting = look.consuming(QUEUE), look.backlog[QUEUE]
    fleet = read_fleet()
    alive = len(fleet.taking) + len(fleet.draining)
    figures = {"workers": names, "backlog": waiting, "alive": alive}
    others = [name for name in names if look.workers[name].pool != THREADS]
    if not alive and not names:
        says = f"not checked: there is no chat worker to take them; {waiting} wait."
        yield Finding(Level.SKIPPED, says, figures=figures)
    elif not names:
        says = f'No worker answers that consumes "{QUEUE}"; {waiting} wake-ups wait.'
        yield problem(
            says, "They hang, or consume other queues: see their log, or end them and start new ones.", **figures
        )
    elif others:
        pool = look.workers[others[0]].pool
        says = f"{', '.join(others)} has the pool {pool}: it takes wake-ups and does nothing."
        yield problem(says, "Start it with --pool threads, or without --pool.", **figures)
    elif alive > len(names):
        says = f"{len(names)} of the {alive} chat workers that are alive answer Celery: the others hang, or only start."
        todo = "Look again in a moment, then end those that hang. Each needs a name of its own (-n)."
        yield warning(says, todo, **figures)
    elif waiting > BACKLOG:
        says = f"{waiting} wake-ups wait: the workers do not keep up, and sweeps send no more."
        yield warning(says, "Start another chat worker, or see their logs for what is slow.", **figures)
    else:
        yield ok(f"{', '.join(names)} answers; {waiting or 'nothing'} waits in its queue.", **figures)


def _figures(worker: WorkerSeen) -> dict[str, Any]:
    return {
        "worker_id": str(worker.worker_id),
        "host": worker.host,
        "pid": worker.pid,
        "slots": worker.slots,
        "taken": worker.taken,
        "alive": worker.alive,
        "draining": worker.draining,
    }
