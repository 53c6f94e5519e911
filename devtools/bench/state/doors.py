"""What is measured: each transition through a door of its own, and the bare minimum beside `commit_step`.

`CYCLE` leads a running, owned chat through its life and back, so that it can be repeated for ever. Missing is what no
door leads to (`reconcile_invalid_state`). To measure a new transition, add a row where its state occurs; a name may
occur more than once.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import connection

from chat import transitions
from chat.transitions import NewMessage
from chat.update import ChatUpdate, chat_update
from devtools.bench.state.seeds import MODEL, PARTS, USAGE, Subject

CALL = {"type": "tool_call", "tool_call_id": "c1", "tool_name": "ask", "args": {}}
RESULT = {"tool_call_id": "c1", "output": "yes"}
ANSWER = NewMessage("assistant", PARTS, model=MODEL, usage=USAGE)
ASKS = NewMessage("assistant", [CALL], model=MODEL, usage=USAGE)
BOUNDARY = NewMessage("user", PARTS, visibility="model")
ERROR = {"message": "The model answered 529.", "kind": "overloaded", "retryable": True}
RETRY = {"attempt": 1, "message": "The model answered 529.", "until": "2030-01-01T00:00:00Z"}

Act = Callable[[Subject], None]


@dataclass(frozen=True)
class Door:
    """One `chat_update` with one transition in it."""

    body: Callable[[ChatUpdate, Subject], object]
    fenced: bool = True
    """Runners' doors are; people and new owners rely on nothing."""

    def __call__(self, subject: Subject) -> None:
        with chat_update(subject.id, fence=subject.fence() if self.fenced else None) as update:
            self.body(update, subject)
        subject.history_version, subject.status = update.chat.history_version, update.chat.status


def _runner(body: Callable[[ChatUpdate], object]) -> Door:
    return Door(lambda update, _: body(update))


def _person(body: Callable[[ChatUpdate], object]) -> Door:
    return Door(lambda update, _: body(update), fenced=False)


def _send(behaviour: str = "queue") -> Door:
    def body(update: ChatUpdate, subject: Subject) -> None:
        subject.said = transitions.send_message(update, parts=PARTS, author=subject.author, busy_behavior=behaviour)

    return Door(body, fenced=False)


def _edit(update: ChatUpdate, subject: Subject) -> None:
    message_id = subject.said.pk
    subject.said = transitions.edit_message(update, message_id=message_id, parts=PARTS, author=subject.author)


def _acquire(update: ChatUpdate, subject: Subject) -> None:
    transitions.acquire(update, worker_id=subject.worker_id, runner_id=subject.runner_id)


def _create(subject: Subject) -> None:
    transitions.create_chat(owner=subject.author, parts=PARTS)


def _head(update: ChatUpdate) -> Any:
    return next(iter(update.queue)).pk


commit_step = _runner(lambda update: transitions.commit_step(update, [ANSWER]))
_interrupted = _runner(lambda update: transitions.finish_interruption(update, [ANSWER]))
_asks = _runner(lambda update: transitions.commit_step(update, [ASKS]))
_waits = _runner(transitions.enter_requires_action)

CYCLE: tuple[tuple[str, Act], ...] = (
    # running (R0)
    ("record_generation_attempt", _runner(transitions.record_generation_attempt)),
    ("record_retry_state", _runner(lambda update: transitions.record_retry_state(update, RETRY))),
    ("commit_step", commit_step),
    ("send_message to running", _send("steer")),
    ("absorb_steering", _runner(transitions.absorb_steering)),
    ("send_message to running", _send()),
    ("update_queued_message", _person(
        lambda update: transitions.update_queued_message(update, queued_id=_head(update), parts=[*PARTS, *PARTS]))),
    ("delete_queued_message", _person(
        lambda update: transitions.delete_queued_message(update, queued_id=_head(update)))),
    # the client's calls (A0)
    ("commit_step with a call", _asks),
    ("enter_requires_action", _waits),
    ("complete_requires_action", _person(lambda update: transitions.complete_requires_action(update, [RESULT]))),
    ("commit_step with a call", _asks),
    ("enter_requires_action", _waits),
    ("cancel_requires_action", _person(transitions.cancel_requires_action)),
    # the queue goes first (I1), and is followed (R1)
    ("send_message to running", _send()),
    ("promote_queued_message", _person(
        lambda update: transitions.promote_queued_message(update, queued_id=_head(update)))),
    ("finish_interruption", _interrupted),
    ("send_message as interrupt", _send("interrupt")),
    ("finish_interruption", _interrupted),
    ("send_message to running", _send()),
    ("finish_turn with a queue", _runner(transitions.finish_turn)),
    ("finish_turn", _runner(transitions.finish_turn)),
    # waiting (W), for a while archived (XW) and nobody's
    ("abandon", _runner(transitions.abandon)),
    ("set_archived", _person(lambda update: transitions.set_archived(update, archived=True))),
    ("set_archived", _person(lambda update: transitions.set_archived(update, archived=False))),
    ("clear_context", _person(lambda update: transitions.clear_context(update, [BOUNDARY]))),
    ("send_message to waiting", _send()),  # with a wake-up, as no other in this cycle but the next two
    ("edit_message", Door(_edit, fenced=False)),
    ("create", _create),
    ("acquire", Door(_acquire, fenced=False)),
    ("interrupt", _person(transitions.interrupt)),
    ("finish_interruption", _interrupted),
    ("request_compaction", _person(transitions.request_compaction)),
    ("acquire", Door(_acquire, fenced=False)),
    ("finish_error", _runner(lambda update: transitions.finish_error(update, ERROR))),
    ("send_message to error", _send()),
)  # fmt: skip


class BareMinimum:
    """The least that a step can cost: one row updated, one added, one commit; no lock, no state, no hint."""

    UPDATE = """UPDATE chat_chat SET snapshot_version = snapshot_version + 1, history_version = snapshot_version + 1,
        generation_attempt = 0 WHERE id = %s RETURNING snapshot_version"""
    INSERT = """INSERT INTO chat_chatmessage (chat_id, role, parts, content_version, visibility, compressed, deleted,
        interrupted, revision, model, usage, created_by_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
    ROW = ("assistant", json.dumps(PARTS), 1, "both", False, False, False, 0, MODEL, json.dumps(USAGE), None)

    def __init__(self) -> None:
        ours = {"cursor_factory", "context"}  # Django's; the rest are the database's own settings
        settings = connection.get_connection_params()
        self._connection = psycopg.connect(**{name: settings[name] for name in settings if name not in ours})

    def __call__(self, subject: Subject) -> None:
        cursor = self._connection.execute(self.UPDATE, [subject.id])
        row: Any = cursor.fetchone()
        cursor.execute(self.INSERT, [subject.id, *self.ROW])
        self._connection.commit()
        subject.history_version = row[0]

    def close(self) -> None:
        self._connection.close()
