"""The replay server gives back what providers once sent, byte for byte, and leaves nothing behind."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.replay import RECORDINGS, events_of, replay_server

ALL = sorted(RECORDINGS.glob("*.json"))


def recorded(recording: Path) -> list[dict[str, Any]]:
    return [interaction["response"] for interaction in json.loads(recording.read_text())["interactions"]]


def test_there_are_recordings_and_each_names_its_source() -> None:
    assert len(ALL) >= 7
    assert all("pydantic-ai (MIT)" in json.loads(recording.read_text())["source"] for recording in ALL)


@pytest.mark.parametrize("recording", ALL, ids=lambda path: path.stem)
def test_a_recording_is_replayed_byte_for_byte(recording: Path) -> None:
    with replay_server([recording]) as server, httpx.Client(base_url=server.url) as client:
        for response in recorded(recording):
            answer = client.post("/any/path?alt=sse", json={"asked": 1})
            assert answer.status_code == response["status"]
            assert answer.headers["content-type"] == response["content_type"]
            assert answer.content == response["body"].encode()


def test_events_are_split_at_blank_lines_of_either_kind() -> None:
    assert events_of("a\n\nb: 1\nc\n\n") == [b"a\n\n", b"b: 1\nc\n\n"]
    assert events_of("a\r\n\r\nb\r\n\r\n") == [b"a\r\n\r\n", b"b\r\n\r\n"]
    assert events_of("unfinished") == [b"unfinished"]
    assert events_of("") == []


def test_each_event_is_a_write_of_its_own() -> None:
    (recording,) = [path for path in ALL if path.stem == "openai_chat_text"]
    with replay_server([recording]) as server:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            raw = b"".join(iter(lambda: connection.recv(65536), b""))
    body = recorded(recording)[0]["body"]
    chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in events_of(body)]
    assert raw.endswith(b"".join(chunks) + b"0\r\n\r\n")


def test_requests_are_kept_in_their_order_over_several_recordings() -> None:
    with replay_server(ALL[:2]) as server:
        httpx.post(server.url + "/v1/first", json={"n": 1}, headers={"X-Key": "k"})
        httpx.get(server.url + "/v1/second")
    first, second = server.requests
    assert (first.method, first.path, first.body, first.headers["x-key"]) == (
        "POST",
        "/v1/first",
        {"n": 1},
        "k",
    )
    assert (second.method, second.path, second.body) == ("GET", "/v1/second", None)


def test_a_request_too_many_is_an_error_that_says_so() -> None:
    with replay_server([]) as server:
        answer = httpx.post(server.url, json={})
        assert answer.status_code == 500
        assert "0 interactions were recorded" in answer.text
        assert len(server.requests) == 1


def test_no_thread_is_left_even_when_the_client_leaves_early_or_the_test_fails() -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), replay_server(ALL) as server:
        with httpx.stream("POST", server.url, json={}) as response:
            next(response.iter_raw(1))
        raise ZeroDivisionError
    assert threading.active_count() == before
