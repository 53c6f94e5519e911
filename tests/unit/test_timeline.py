"""A client that applies the events it gets, wherever it is cut off, ends with what a fresh reading shows."""

import base64
import copy
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat.execution import State, classify
from chat.timeline import (
    DISCARDED,
    LOST,
    NOTHING,
    Event,
    View,
    decode_cursor,
    encode_cursor,
    events_between,
    is_of_this_past,
    needs_all_messages,
    part_event,
)

ORDER = ["history_reset", "message", "queue_update", "status", "error", "action_required", "retry", "preview_reset"]
CALL = {"type": "tool_call", "tool_call_id": "c1", "tool_name": "pick", "args": {"from": "list"}}
ERROR = {"message": "No.", "kind": "auth", "retryable": False}
RETRY = {"attempt": 1, "delay_ms": 1000, "error": "Busy.", "kind": "overloaded"}


@dataclass
class Reading:
    """What `chat.snapshot` reads, made by hand."""

    chat: Any
    messages: list[dict[str, Any]]
    queue: list[dict[str, Any]]

    @property
    def state(self) -> State:
        return classify(self.chat.status, self.chat.archived, len(self.queue))


class History:
    """A chat that grows by the rules of the door; versions move as the database moves them."""

    def __init__(self) -> None:
        self.chat = SimpleNamespace(
            status="running",
            archived=False,
            snapshot_version=0,
            history_version=0,
            queue_version=0,
            generation_attempt=0,
            retry_state=None,
            retry_state_version=0,
            last_error=None,
            requires_action_deadline_at=None,
            client_tools=[{"name": "pick"}],
        )
        self.messages: list[dict[str, Any]] = []
        self.queue: list[dict[str, Any]] = []
        self.parts: dict[tuple[int, int], list[dict[str, Any]]] = {}
        self.change(message="user")

    @property
    def episode(self) -> tuple[int, int]:
        return self.chat.history_version, self.chat.generation_attempt

    def change(
        self,
        *,
        message: str = "",
        parts: Sequence[dict[str, Any]] = ({"type": "text", "text": "hi"},),
        visibility: str = "both",
        delete: int | None = None,
        enqueue: bool = False,
        dequeue: bool = False,
        reorder: bool = False,
        attempt: bool = False,
        retry: Any = ...,
        **columns: Any,
    ) -> None:
        """One transaction."""
        chat = self.chat
        chat.snapshot_version += 1
        if delete is not None and self.messages:
            self.messages[delete % len(self.messages)].update(deleted=True, revision=chat.snapshot_version)
        if message:
            self.messages.append(
                {
                    "id": len(self.messages) + 1,
                    "role": message,
                    "parts": list(parts),
                    "visibility": visibility,
                    "deleted": False,
                    "interrupted": False,
                    "revision": chat.snapshot_version,
                    "model": "",
                    "usage": None,
                    "created_at": "2026-01-02T03:04:05+00:00",
                }
            )
        if message or delete is not None:
            chat.history_version = chat.snapshot_version
            chat.generation_attempt = 0
            self._retry(None)
        if attempt:
            chat.generation_attempt += 1
            self._retry(None)
        if retry is not ...:
            self._retry(retry)
        if enqueue:
            row = {"id": chat.snapshot_version, "position": chat.snapshot_version, "model": "", "parts": list(parts)}
            steering = bool(self.queue)
            self.queue.append(row | {"steering": steering, "created_at": "2026-01-02T03:04:05+00:00"})
        if dequeue and self.queue:
            self.queue.pop(0)
        if reorder:
            self.queue.reverse()
        if enqueue or dequeue or reorder:
            chat.queue_version = chat.snapshot_version
        for name, value in columns.items():
            setattr(chat, name, value)
        if chat.status != "error":
            chat.last_error = None

    def _retry(self, retry_state: Any) -> None:
        if retry_state != self.chat.retry_state:
            self.chat.retry_state, self.chat.retry_state_version = retry_state, self.chat.snapshot_version

    def stream(self, text: str) -> None:
        if self.chat.generation_attempt and self.chat.status == "running" and self.chat.retry_state is None:
            self.parts.setdefault(self.episode, []).append({"type": "text", "index": 0, "text": text})

    def reading(self, view: View = NOTHING) -> Reading:
        """As the feed reads: from the view's revision on, or all where that is not enough."""
        recent = [row for row in self.messages if row["revision"] >= view.revision]
        reading = Reading(copy.copy(self.chat), recent, list(self.queue))
        if needs_all_messages(view, reading):
            reading.messages = self.messages
        return copy.deepcopy(reading)


@dataclass
class Screen:
    """The smallest client that is right: it applies events and knows nothing else."""

    messages: dict[str, Any] = field(default_factory=dict)
    queue: list[Any] = field(default_factory=list)
    state: str = ""
    error: Any = None
    calls: Any = None
    retry: Any = None
    preview: list[Any] = field(default_factory=list)

    def apply(self, event: Event) -> None:
        data = event.data
        match event.name:
            case "history_reset":
                self.messages = {}
            case "message":
                shown = self.messages.get(data["message"]["id"])
                assert shown is None or shown["revision"] < data["message"]["revision"], "told twice"
                self.messages[data["message"]["id"]] = data["message"]
            case "queue_update":
                self.queue = data["queue"]
            case "status":
                self.state = data["state"]
                self.error = self.error if data["status"] == "error" else None
                self.calls = self.calls if data["status"] == "requires_action" else None
            case "error":
                self.error = data["error"]
            case "action_required":
                self.calls = data["calls"]
            case "retry":
                self.retry = data["retry"]
            case "preview_reset":
                self.preview = []
            case "message_part":
                assert data["seq"] == len(self.preview) + 1, "a hole, or twice"
                self.preview.append(data["part"])
            case unknown:
                raise AssertionError(unknown)

    def shows(self, history: History) -> None:
        """Asserts that it is what a fresh reading gives."""
        fresh = Screen()
        for event in events_between(NOTHING, history.reading())[0]:
            fresh.apply(event)
        assert dict(sorted(self.messages.items())) == dict(sorted(fresh.messages.items()))
        assert (self.queue, self.state, self.error, self.calls) == (fresh.queue, fresh.state, fresh.error, fresh.calls)
        if history.chat.retry_state is not None:
            assert self.retry == history.chat.retry_state


def sync(view: View, history: History) -> list[Event]:
    """What the feed tells a client with `view`: the synchronisation, then the parts of the episode."""
    reading = history.reading(view)
    known = view if is_of_this_past(view, reading) else LOST
    events, known = events_between(known, reading)
    for part in history.parts.get(known.episode, [])[known.seq :] if known.seq >= 0 else []:
        events.append(part_event(known, known.seq + 1, "assistant", part))
        known = events[-1].view
    return events


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


def up_to_date(history: History) -> View:
    return events_between(NOTHING, history.reading())[1]


def streaming(parts: int) -> tuple[History, View]:
    """A chat in the middle of an answer, and a client that has seen `parts` of it."""
    history = History()
    history.change(attempt=True)
    for number in range(parts):
        history.stream(f"word{number}")
    return history, sync(NOTHING, history)[-1].view


# --- situations ------------------------------------------------------------------------------------------------------


def test_a_first_connection_gets_all_visible_messages_then_the_status() -> None:
    history = History()
    history.change(message="assistant", visibility="model")
    history.change(message="assistant", visibility="user", status="waiting")
    events, _ = events_between(NOTHING, history.reading())
    assert names(events) == ["message", "message", "status"]
    assert [event.data["message"]["id"] for event in events[:2]] == ["1", "3"]


def test_a_first_connection_is_told_of_a_queue_only_if_there_is_one() -> None:
    history = History()
    history.change(enqueue=True)
    assert names(events_between(NOTHING, history.reading())[0]) == ["message", "queue_update", "status"]
    history.change(dequeue=True)
    assert names(events_between(NOTHING, history.reading())[0]) == ["message", "status"]


def test_a_queue_is_told_in_its_order_with_places_from_1_whatever_the_rows_say() -> None:
    history = History()
    for _ in range(3):
        history.change(enqueue=True)
    history.change(dequeue=True)
    history.change(reorder=True)
    [told] = [event.data for event in events_between(NOTHING, history.reading())[0] if event.name == "queue_update"]
    assert [(one["id"], one["position"], one["steering"]) for one in told["queue"]] == [("4", 1, True), ("3", 2, True)]


def test_error_and_retry_come_between_status_and_preview_reset() -> None:
    history, view = streaming(parts=1)
    history.change(status="error", last_error=ERROR, retry=RETRY, enqueue=True)
    events, _ = events_between(view, history.reading(view))
    assert names(events) == ["queue_update", "status", "error", "retry", "preview_reset"]


def test_requires_action_tells_each_open_call_of_a_client_tool() -> None:
    history, view = streaming(parts=1)
    other = CALL | {"tool_call_id": "c2", "tool_name": "server_side"}
    history.change(message="assistant", parts=[CALL, other], status="requires_action")
    events, _ = events_between(view, history.reading(view))
    assert names(events) == ["message", "status", "action_required", "preview_reset"]
    assert events[2].data["calls"] == [{"tool_call_id": "c1", "tool_name": "pick", "args": {"from": "list"}}]


def test_the_open_calls_are_told_also_when_the_message_that_made_them_is_long_known() -> None:
    history = History()
    other = CALL | {"tool_call_id": "c2", "tool_name": "server_side"}
    history.change(message="assistant", parts=[CALL, other])
    result = {"type": "tool_result", "tool_call_id": "c2", "tool_name": "server_side", "output": "", "is_error": False}
    history.change(message="tool", parts=[result])
    view = up_to_date(history)
    history.change(status="requires_action")
    events, _ = events_between(view, history.reading(view))
    assert names(events) == ["status", "action_required"]
    assert [call["tool_call_id"] for call in events[1].data["calls"]] == ["c1"]


def test_a_whole_turn_between_two_readings_is_told_with_its_status_though_that_is_the_same() -> None:
    history = History()
    history.change(message="assistant", status="waiting")
    view = up_to_date(history)
    history.change(message="user", status="running")
    history.change(message="assistant", status="waiting")
    assert names(events_between(view, history.reading(view))[0]) == ["message", "message", "status"]


def test_a_retry_that_is_over_makes_no_event() -> None:
    history = History()
    history.change(attempt=True, retry=RETRY)
    view = up_to_date(history)
    history.change(attempt=True)
    assert events_between(view, history.reading(view))[0] == []


def test_nothing_new_makes_no_event_and_moves_nothing() -> None:
    history, view = streaming(parts=2)
    assert events_between(view, history.reading(view)) == ([], view)


def test_another_attempt_resets_a_preview_that_was_shown_and_only_that() -> None:
    history, view = streaming(parts=2)
    history.change(attempt=True)
    assert names(events_between(view, history.reading(view))[0]) == ["preview_reset"]
    assert names(events_between(replace(view, seq=0), history.reading(view))[0]) == []


def test_an_interrupt_goes_on_showing_the_parts_until_it_is_done() -> None:
    history, view = streaming(parts=2)
    history.change(status="interrupting")
    assert names(events_between(view, history.reading(view))[0]) == ["status"]
    history.change(message="assistant", status="waiting")
    assert names(events_between(view, history.reading(view))[0]) == ["message", "status", "preview_reset"]


def test_a_deleted_message_resets_the_history_of_who_may_have_it_and_of_nobody_else() -> None:
    history = History()
    history.change(message="assistant", visibility="model")
    view = up_to_date(history)
    history.change(delete=1)
    assert names(events_between(view, history.reading(view))[0]) == ["status"]
    history.change(delete=0, message="user")
    events, after = events_between(view, history.reading(view))
    assert names(events) == ["history_reset", "message", "status"]
    assert events_between(after, history.reading(after))[0] == []
    assert names(events_between(NOTHING, history.reading())[0]) == ["message", "status"]


def test_who_came_after_a_deletion_is_not_told_to_forget() -> None:
    history = History()
    history.change(message="assistant")
    history.change(delete=1)
    view = up_to_date(history)
    assert events_between(view, history.reading(view))[0] == []


# --- cursors ---------------------------------------------------------------------------------------------------------

views = st.builds(
    View,
    state=st.sampled_from([str(state) for state in State]),
    **{
        name: st.integers(0, 2**62)
        for name, default in zip(View.__slots__, astuple(NOTHING), strict=True)
        if default == 0 and name != "seq"
    },
    seq=st.integers(DISCARDED, 2**62),
)


@given(views)
def test_a_cursor_comes_back_as_the_view_it_stands_for(view: View) -> None:
    assert decode_cursor(encode_cursor(view)) == view
    assert set(encode_cursor(view)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def packed(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


GARBAGE = {
    "words": "not a cursor",
    "not ascii": "é💥",
    "not utf-8": base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    "empty list": packed([]),
    "a number": packed(7),
    "an object": packed({"revision": 1}),
    "too few": packed([1, 2, 3]),
    "too many": packed([*astuple(NOTHING), 1]),
    "a truth": packed([True, *astuple(NOTHING)[1:]]),
    "a text where a number belongs": packed(["1", *astuple(NOTHING)[1:]]),
    "beyond 64 bits": packed([2**63, *astuple(NOTHING)[1:]]),
    "below -1": packed([-2, *astuple(NOTHING)[1:]]),
    "not a number": packed([float("nan"), *astuple(NOTHING)[1:]]),
    "deep": base64.urlsafe_b64encode(b"[" * 30_000).decode(),
}


@pytest.mark.parametrize("cursor", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_cursor_that_we_never_issued_means_that_the_client_is_lost(cursor: str) -> None:
    assert decode_cursor(cursor) == LOST


@given(st.text())
def test_no_cursor_raises(cursor: str) -> None:
    decode_cursor(cursor)


def test_a_lost_client_forgets_first_whatever_it_shows_and_ends_up_to_date() -> None:
    history, _ = streaming(parts=1)
    screen = Screen({"99": {}}, [{"id": "old"}], "E1", ERROR, [CALL], RETRY, [{"old": "part"}])
    events = sync(LOST, history)
    assert names(events) == ["history_reset", "message", "queue_update", "status", "preview_reset", "message_part"]
    for event in events:
        screen.apply(event)
    screen.shows(history)


def test_a_cursor_of_another_past_is_not_believed() -> None:
    history = History()
    view = replace(up_to_date(history), revision=10**9)
    assert not is_of_this_past(view, history.reading())
    assert names(sync(view, history))[0] == "history_reset"


# --- the proof -------------------------------------------------------------------------------------------------------

RUNNING = {"status": "running"}
STEPS: list[dict[str, Any]] = [
    {"attempt": True},
    {"retry": RETRY},
    {"message": "assistant"},
    {"message": "assistant", "status": "waiting"},
    {"message": "assistant", "parts": [CALL], "status": "requires_action"},
    {"message": "assistant", "parts": [CALL]},
    {"message": "user", **RUNNING},
    {"message": "assistant", "visibility": "model"},
    {"message": "tool", "visibility": "user"},
    {"enqueue": True},
    {"dequeue": True},
    {"reorder": True},
    {"dequeue": True, "message": "user", **RUNNING},
    {"delete": 0},
    {"delete": 1, "message": "user", **RUNNING},
    {"delete": 2},
    {"status": "error", "last_error": ERROR},
    {"status": "error", "last_error": ERROR | {"kind": "timeout"}},
    {"status": "interrupting"},
    {"status": "requires_action"},
    {"status": "waiting"},
    {"archived": True},
    {"archived": False},
    RUNNING,
]
"""More than the table of the state machine allows: what holds here holds there."""

steps = st.lists(
    st.one_of(
        st.sampled_from(STEPS),
        st.just("part"),
        st.just("sync"),
        st.integers(0, 12),  # a synchronisation that is cut off after so many events
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@example([{"status": "requires_action"}, {"archived": True}, "sync", {"status": "interrupting"}], False)
@given(steps, st.booleans())
def test_a_client_that_is_cut_off_anywhere_ends_with_what_a_fresh_reading_gives(steps: list[Any], lost: bool) -> None:
    history, screen, cursor = History(), Screen(), encode_cursor(LOST if lost else NOTHING)

    def synchronise(cut_after: int | None = None) -> None:
        nonlocal cursor
        events = sync(decode_cursor(cursor), history)
        told = [name for name in names(events) if name != "message_part"]
        assert told == sorted(told, key=ORDER.index), "the order of events within one synchronisation"
        for event in events[:cut_after]:
            screen.apply(event)
            cursor = encode_cursor(event.view)

    for step in steps:
        if step == "part":
            history.stream("word ")
        elif step == "sync":
            synchronise()
        elif isinstance(step, int):
            synchronise(cut_after=step)
        else:
            history.change(**step)
    synchronise()
    screen.shows(history)
    over = history.chat.status not in ("running", "interrupting") or history.chat.retry_state
    assert screen.preview == ([] if over else history.parts.get(history.episode, []))
    before = copy.deepcopy(screen)
    synchronise()
    assert screen == before, "a synchronisation without news changes nothing"
