"""Replays recorded provider traffic as a real HTTP server on a free local port.

    with replay_server([RECORDINGS / "openai_chat_text.json"]) as server:
        ...  # point a client at server.url; afterwards look at server.requests

The k-th request is answered with the k-th interaction, whatever it asks: whether it asked rightly is for the
test to say. A request too many is answered 500 and recorded like the others. Each event is its own write.
Every thread has ended when the block is left.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parent / "data" / "provider_streams"
GONE_WITHIN = 10.0

_EVENT = re.compile(r".*?(?:\r\n\r\n|\n\n|\Z)", re.S)


@dataclass(frozen=True)
class ReceivedRequest:
    """What a client sent: header names in lower case, `body` the parsed JSON or None if there was none."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class ReplayServer:
    """`url` has no trailing slash and no path; `requests` grows in the order of arrival."""

    url: str
    responses: list[dict[str, Any]]
    requests: list[ReceivedRequest] = field(default_factory=list)


@contextmanager
def replay_server(recordings: Sequence[Path]) -> Iterator[ReplayServer]:
    """Serve the interactions of these recordings, one after the other."""
    responses = [
        interaction["response"]
        for recording in recordings
        for interaction in json.loads(recording.read_text(encoding="utf-8"))["interactions"]
    ]
    threads_before = set(threading.enumerate())
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as http_server:
        http_server.daemon_threads = False  # so that leaving the block joins the threads of the connections
        replay = ReplayServer(f"http://127.0.0.1:{http_server.server_port}", responses)
        http_server.replay, http_server.lock = replay, threading.Lock()  # type: ignore[attr-defined]
        thread = threading.Thread(target=http_server.serve_forever, args=(0.01,), name="replay-server")
        thread.start()
        try:
            yield replay
        finally:
            http_server.shutdown()
            thread.join(GONE_WITHIN)
    left = [thread.name for thread in set(threading.enumerate()) - threads_before if "replay" in thread.name]
    assert not left, f"threads of the replay server are still there: {left}"


def events_of(body: str) -> list[bytes]:
    """A recorded body, split after each event; joined again it is the body."""
    return [event.encode() for event in _EVENT.findall(body) if event]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5  # a client that connects and says nothing does not hold the thread

    def setup(self) -> None:
        threading.current_thread().name = "replay-connection"
        super().setup()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        replay: ReplayServer = self.server.replay  # type: ignore[attr-defined]
        with self.server.lock:  # type: ignore[attr-defined]
            number = len(replay.requests)
            body = json.loads(content) if content else None
            replay.requests.append(ReceivedRequest(self.command, self.path, headers, body))
        if number < len(replay.responses):
            response = replay.responses[number]
        else:
            text = f"request {number + 1}, but {len(replay.responses)} interactions were recorded"
            response = {"status": 500, "content_type": "text/plain", "body": text}
        self.send_response(response["status"])
        self.send_header("Content-Type", response["content_type"])
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for event in events_of(response["body"]):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has read enough
