"""Chats that should have moved on: runnable and nobody's, invalid, waiting beyond a deadline; and old leases."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from django.conf import settings
from django.db import connection

from chat import capacity
from chat.doctor.finding import Finding, ok, problem, warning
from chat.doctor.site import Site
from chat.execution import State, Status, classify
from chat.explain.situation import count, seconds
from chat.fleet import read_fleet

SLACK = 5.0
"""Seconds beyond the end of a lease, and beyond a client's deadline, in which somebody should have acted."""
REAPED_WITHIN = 30.0
"""Seconds after its end in which a lease should have been deleted; the reaper comes every 10 s."""
LIMIT = 1000
"""Chats that are looked at; the oldest."""


def waiting_chats(site: Site) -> Iterator[Finding]:
    """Runnable, and nobody's or left by their owner. Waiting in line for capacity is no problem, but worth a line."""
    waiting = _rows(_WAITING)
    fleet = read_fleet()
    free = max(0, fleet.slots - fleet.taken)
    may_start = {
        chat_id for sub_agents in (False, True) for chat_id in capacity.next_in_line(sub_agents=sub_agents, limit=free)
    }
    in_line = [(chat_id, age) for chat_id, is_new, age in waiting if is_new and chat_id not in may_start]
    others = [(chat_id, age) for chat_id, is_new, age in waiting if not is_new or chat_id in may_start]
    overdue = [(chat_id, age) for chat_id, age in others if age > settings.CHATD_LEASE_TTL + SLACK]
    figures = {"waiting": len(waiting), "overdue": len(overdue), "oldest_seconds": waiting[0][2] if waiting else None}
    if waiting and not fleet.slots:
        chat_id, _, age = waiting[0]
        says = f"{count(len(waiting), 'chat')} and no worker to take them, the oldest for {seconds(age)}: {chat_id}."
        yield problem(says, "Start a chat worker: celery -A config worker -Q chats", **figures, oldest=str(chat_id))
        return
    if overdue:
        chat_id, age = overdue[0]
        says = f"{count(len(overdue), 'chat')} that nobody has taken, the oldest for {seconds(age)}: {chat_id}."
        yield problem(says, f"manage.py explain_chat {chat_id}", **figures, oldest=str(chat_id))
    if in_line:
        chat_id, age = in_line[0]
        says = f"{count(len(in_line), 'chat')} in line for capacity, the oldest for {seconds(age)}: {chat_id}."
        yield warning(says, "Start another chat worker, or raise the limits.", **figures, oldest=str(chat_id))
    if not overdue and not in_line:
        yield ok(f"{count(len(others), 'chat')}, for {seconds(others[0][1])}." if others else "None.", **figures)


# The age: since it began to wait, or since its owner's last sign of life. A lease that is gone was deleted by whoever
# found the worker dead.
_WAITING = f"""SELECT chat.id, chat.runner_id IS NULL AND chat.status = 'running',
        extract(epoch FROM statement_timestamp()
            - coalesce(chat.waiting_since, lease.heartbeat_at, chat.updated_at))::float AS age
    FROM chat_chat chat LEFT JOIN chat_runnerlease lease
        ON lease.chat_id = chat.id AND lease.runner_id = chat.runner_id
    WHERE NOT chat.archived AND chat.status IN ('running', 'interrupting')
    AND (lease.heartbeat_at IS NULL OR lease.heartbeat_at <= now() - %(ttl)s * interval '1 second')
    ORDER BY age DESC, chat.id LIMIT {LIMIT}"""


def leases(site: Site) -> Iterator[Finding]:
    number, expired, oldest = _rows(
        """SELECT count(*), count(*) FILTER (WHERE heartbeat_at <= now() - %(ttl)s * interval '1 second'),
           extract(epoch FROM statement_timestamp() - min(heartbeat_at))::float FROM chat_runnerlease"""
    )[0]
    figures = {"leases": number, "expired": expired, "oldest_seconds": oldest}
    if expired and oldest > settings.CHATD_LEASE_TTL + REAPED_WITHIN:
        says = f"{count(expired, 'lease')} expired and not deleted; the oldest heartbeat is {seconds(oldest)} old."
        todo = "Look at beat and the maintenance worker. Chats do not suffer: an expired lease counts as none."
        yield warning(says, todo, **figures)
    else:
        yield ok(f"{count(number, 'lease')}, {expired} of them expired." if number else "None.", **figures)


def invalid_chats(site: Site) -> Iterator[Finding]:
    found = [str(row[0]) for row in _rows(_INVALID)]
    if found:
        number = f"{'at least ' if len(found) == LIMIT else ''}{count(len(found), 'chat')}"
        says = (
            f"{number} in a combination of status, archived and queue that the state machine does not know: {found[0]}."
        )
        todo = f"manage.py explain_chat {found[0]} says which, and how to put it right."
        yield problem(says, todo, chats=found)
    else:
        yield ok("None.", chats=[])


_VALID = ", ".join(
    f"('{status}', {archived}, {queued})"
    for status, archived, queued in product(Status, (False, True), (False, True))
    if classify(status, archived, queued) is not State.INVALID
)
_INVALID = f"""SELECT id FROM chat_chat chat WHERE (status, archived,
        EXISTS (SELECT FROM chat_queuedmessage queued WHERE queued.chat_id = chat.id)) NOT IN ({_VALID})
    ORDER BY updated_at LIMIT {LIMIT}"""


def client_calls(site: Site) -> Iterator[Finding]:
    waiting, late, by, chat_id = _rows(
        """SELECT count(*), count(*) FILTER (WHERE deadline <= now() - %(slack)s * interval '1 second'),
           extract(epoch FROM statement_timestamp() - min(deadline))::float, (array_agg(id ORDER BY deadline))[1]
           FROM (SELECT id, requires_action_deadline_at AS deadline FROM chat_chat
               WHERE status = 'requires_action' AND NOT archived) waiting"""
    )[0]
    figures = {"waiting": waiting, "late": late}
    if late:
        says = f"{count(late, 'chat')} whose client is late, by up to {seconds(by)}: {chat_id}."
        todo = "Look at beat and the maintenance worker, who should have ended that wait."
        yield problem(says, todo, **figures, latest=str(chat_id))
    else:
        yield ok(f"{count(waiting, 'chat')} in wait for a client, none late." if waiting else "None.", **figures)


def _rows(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, {"ttl": settings.CHATD_LEASE_TTL, "slack": SLACK})
        return list(cursor.fetchall())
