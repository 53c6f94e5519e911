"""Server-sent events as bytes (https://html.spec.whatwg.org/multipage/server-sent-events.html). Pure."""

import json

from chat.timeline import Event, encode_cursor

PING = b": ping\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


def encode(chat_id: str, event: Event) -> bytes:
    """One event of a chat; its id is the cursor of a client that has received it."""
    body = json.dumps({"chat_id": chat_id, **event.data}, ensure_ascii=False, separators=(",", ":"))
    # JSON has no raw line breaks, so one `data:` line is enough.
    return f"id: {encode_cursor(event.view)}\nevent: {event.name}\ndata: {body}\n\n".encode()
