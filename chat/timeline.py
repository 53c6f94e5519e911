"""From what a client has seen to what it should see: a view and a snapshot in, stream events out. Pure.

A `View` is what one client knows: it is the cursor that every event carries, and it comes back on reconnect. Each
event moves the view by exactly what the event tells, so a client that is cut off anywhere resumes with the next event,
misses nothing and gets nothing twice. The proof is in the tests: events applied to an empty client give what a fresh
reading gives.
"""

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Protocol

from chat import rendering

IDLE_STATES = frozenset({"W", "E0", "E1", "A0", "A1", "XW", "XE0", "XE1"})
STREAMING_STATUSES = frozenset({"running", "interrupting"})
DISCARDED = -1
"""`View.seq` of an episode whose parts the client was told to forget: none of them is wanted any more."""


class Snapshot(Protocol):
    """What `chat.snapshot` reads; `messages` hold all rows, deleted ones too, from the view's revision on."""

    @property
    def chat(self) -> Any: ...
    @property
    def messages(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def queue(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def state(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class View:
    """What a client knows of one chat; the defaults: nothing at all.

    `revision`, `message_id`: the last message it got, in the order (revision, id). `reset_at`: it knows of deletions
    up to this snapshot. `queue_version`; `state` of its last `status`, told at history version
    `status_at`; `error` and `action`: marks of the error and
    the pending calls it was shown, 0 for none; `retry`: retry_state_version. `history_version`, `attempt`, `seq`: the
    episode whose parts it gets, and the last of them.
    """

    revision: int = 0
    message_id: int = 0
    reset_at: int = 0
    queue_version: int = 0
    state: str = ""
    error: int = 0
    action: int = 0
    retry: int = 0
    history_version: int = 0
    attempt: int = 0
    seq: int = 0
    status_at: int = 0

    @property
    def episode(self) -> tuple[int, int]:
        return self.history_version, self.attempt


NOTHING = View()
LOST = View(reset_at=-1, queue_version=-1, seq=1)
"""The view of a client whose cursor means nothing to us: whatever it shows, it is told to forget first."""


@dataclass(frozen=True, slots=True)
class Event:
    """`view`: that of a client that has received this event."""

    name: str
    data: dict[str, Any]
    view: View


def encode_cursor(view: View) -> str:
    return base64.urlsafe_b64encode(json.dumps(astuple(view), separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> View:
    """The view that a cursor stands for; `LOST` for what we never issued."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(values, list) or len(values) != len(astuple(NOTHING)):
            return LOST
        view = View(*values)
        kinds = all(
            type(value) is type(default) for value, default in zip(astuple(view), astuple(NOTHING), strict=True)
        )
        in_range = all(-1 <= value < 2**63 for value in astuple(view) if isinstance(value, int))
    except (ValueError, TypeError, RecursionError):
        return LOST
    return view if kinds and in_range else LOST


def is_of_this_past(view: View, snapshot: Snapshot) -> bool:
    """False for the cursor of another chat, or of a database that was restored since."""
    return max(view.revision, view.reset_at, view.queue_version, view.retry, view.history_version) <= (
        snapshot.chat.snapshot_version
    )


def forgets_messages(view: View, snapshot: Snapshot) -> bool:
    """Whether the client must drop its messages and get all of them: one that it may have is deleted, or it is lost."""
    known_until = max(view.revision, view.reset_at)
    return view.reset_at < 0 or (
        view.revision > 0
        and any(
            row["deleted"] and row["visibility"] != "model" and row["revision"] > known_until
            for row in snapshot.messages
        )
    )


def needs_all_messages(view: View, snapshot: Snapshot) -> bool:
    """Whether those from the view's revision on are not enough: it starts anew, or open calls are told, which may be
    older than what the client has.
    """
    return (
        not is_of_this_past(view, snapshot)
        or forgets_messages(view, snapshot)
        or _action_mark(snapshot.chat) not in (0, view.action)
    )


def events_between(view: View, snapshot: Snapshot) -> tuple[list[Event], View]:
    """What brings a client with `view` to `snapshot`, in the contract's order, and its view afterwards.

    Where `needs_all_messages` says so, `snapshot` must hold all messages.
    """
    events: list[Event] = []
    known = view
    for step in (_messages, _queue, _status, _error, _action, _retry, _preview):
        for name, data, after in step(known, snapshot):
            known = after
            if name:
                events.append(Event(name, data, known))
    return events, known


def part_event(view: View, seq: int, role: str, part: Mapping[str, Any]) -> Event:
    """The next live part of the view's episode."""
    data = {
        "history_version": view.history_version,
        "generation_attempt": view.attempt,
        "seq": seq,
        "role": role,
        "part": part,
    }
    return Event("message_part", data, replace(view, seq=seq))


_Step = Iterator[tuple[str, dict[str, Any], View]]


def _messages(view: View, snapshot: Snapshot) -> _Step:
    if forgets_messages(view, snapshot):
        view = replace(view, revision=0, message_id=0, reset_at=snapshot.chat.snapshot_version)
        yield "history_reset", {"history_version": snapshot.chat.history_version}, view
    for row in sorted(snapshot.messages, key=lambda row: (row["revision"], row["id"])):
        place = row["revision"], row["id"]
        if place > (view.revision, view.message_id) and not row["deleted"] and row["visibility"] != "model":
            # A client that has nothing yet gets nothing that is deleted by now.
            reset_at = view.reset_at if view.revision else snapshot.chat.snapshot_version
            view = replace(view, revision=row["revision"], message_id=row["id"], reset_at=reset_at)
            yield "message", {"message": rendering.message(row)}, view


def _queue(view: View, snapshot: Snapshot) -> _Step:
    version = snapshot.chat.queue_version
    if version != view.queue_version:
        first_and_empty = not snapshot.queue and view.queue_version == 0
        view = replace(view, queue_version=version)
        data = {"queue_version": version, "queue": rendering.queue(snapshot.queue)}
        yield "" if first_and_empty else "queue_update", data, view


def _status(view: View, snapshot: Snapshot) -> _Step:
    chat, state = snapshot.chat, str(snapshot.state)
    # "Invalid" is many states: a client that knows one of them must hear of another.
    known_as = f"{state}/{chat.status}/{chat.archived}" if state == "Invalid" else state
    # Also where only the history moved on: a whole turn may lie between two readings, and who waits for its end
    # must hear "waiting" again.
    if (known_as, chat.history_version) != (view.state, view.status_at):
        gone_error = 0 if chat.last_error is None else view.error
        view = replace(view, state=known_as, status_at=chat.history_version, error=gone_error)
        yield "status", rendering.status(chat, state), view


def _error(view: View, snapshot: Snapshot) -> _Step:
    error = snapshot.chat.last_error
    mark = zlib.crc32(json.dumps(error, sort_keys=True).encode()) or 1 if error is not None else 0
    if mark != view.error:
        view = replace(view, error=mark)
        yield "error" if mark else "", {"error": error}, view


def _action(view: View, snapshot: Snapshot) -> _Step:
    chat = snapshot.chat
    mark = _action_mark(chat)
    if mark != view.action:
        view = replace(view, action=mark)
        data = {
            "deadline_at": rendering.time(chat.requires_action_deadline_at),
            "calls": rendering.client_calls(chat, snapshot.messages),
        }
        yield "action_required" if mark else "", data, view


def _action_mark(chat: Any) -> int:
    return int(chat.history_version) if chat.status == "requires_action" else 0


def _retry(view: View, snapshot: Snapshot) -> _Step:
    version = snapshot.chat.retry_state_version
    if version != view.retry:
        view = replace(view, retry=version)
        yield "retry" if snapshot.chat.retry_state else "", {"retry": snapshot.chat.retry_state}, view


def _preview(view: View, snapshot: Snapshot) -> _Step:
    chat = snapshot.chat
    current = chat.history_version, chat.generation_attempt
    over = chat.status not in STREAMING_STATUSES or chat.retry_state is not None
    seq = DISCARDED if over else (max(view.seq, 0) if view.episode == current and view.seq >= 0 else 0)
    if over and view.episode == current and view.seq == DISCARDED:
        return
    if view.episode != current or seq != view.seq:
        shown = view.seq > 0
        view = replace(view, history_version=current[0], attempt=current[1], seq=seq)
        data = {"history_version": current[0], "generation_attempt": current[1]}
        yield "preview_reset" if shown else "", data, view
