"""An event on the wire is one `id`, one `event`, one `data` line, whatever its text holds."""

import json

from hypothesis import given
from hypothesis import strategies as st

from chat import sse
from chat.timeline import NOTHING, Event, decode_cursor, part_event

VIEW = NOTHING.__class__(revision=3, history_version=3, attempt=1)


def test_an_event_has_the_cursor_of_a_client_that_has_received_it() -> None:
    event = part_event(VIEW, 1, "assistant", {"type": "text", "index": 0, "text": "hé"})
    identity, name, data = sse.encode("c1", event).decode().removesuffix("\n\n").split("\n")
    assert decode_cursor(identity.removeprefix("id: ")) == event.view
    assert name == "event: message_part"
    assert json.loads(data.removeprefix("data: ")) == {
        "chat_id": "c1",
        "history_version": 3,
        "generation_attempt": 1,
        "seq": 1,
        "role": "assistant",
        "part": {"type": "text", "index": 0, "text": "hé"},
    }


@given(st.text(st.characters(codec="utf-8")))
def test_no_text_breaks_the_frame(text: str) -> None:
    lines = sse.encode("c1", Event("message", {"text": text}, VIEW)).split(b"\n")
    assert [line.partition(b":")[0] for line in lines] == [b"id", b"event", b"data", b"", b""]
    assert b"\r" not in lines[2]
    assert json.loads(lines[2].removeprefix(b"data: "))["text"] == text


def test_proxies_are_told_not_to_buffer() -> None:
    assert dict(sse.HEADERS) == {
        b"content-type": b"text/event-stream; charset=utf-8",
        b"cache-control": b"no-cache, no-transform",
        b"x-accel-buffering": b"no",
    }


def test_a_ping_is_a_comment() -> None:
    assert sse.PING.startswith(b":")
    assert sse.PING.endswith(b"\n\n")
