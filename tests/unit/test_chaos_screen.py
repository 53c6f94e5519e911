"""What the fault suite's people see: events applied as a browser would, and what the contract forbids is noted."""

from typing import Any

from devtools.chaos.load.screen import Replaced, Screen, TakenBack
from devtools.chaos.load.wording import Wording, key_of


def part(seq: int, text: str, *, history: int = 1, attempt: int = 1) -> tuple[str, dict[str, Any]]:
    data = {"history_version": history, "generation_attempt": attempt, "seq": seq, "role": "assistant"}
    return "message_part", {**data, "part": {"type": "text", "text": text}}


def message(number: int, role: str, text: str, *, revision: int) -> tuple[str, dict[str, Any]]:
    parts = [{"type": "text", "text": text}]
    shown = {"id": str(number), "role": role, "parts": parts, "revision": revision, "interrupted": False}
    return "message", {"message": shown}


def status(name: str) -> tuple[str, dict[str, Any]]:
    return "status", {"status": name}


RESET: tuple[str, dict[str, Any]] = ("preview_reset", {})


def shown(*events: tuple[str, dict[str, Any]]) -> Screen:
    screen = Screen()
    for name, data in events:
        screen.receive(name, data)
    return screen


def test_parts_add_up_and_their_answer_replaces_them() -> None:
    screen = shown(
        message(1, "user", "Hi", revision=1), status("running"), part(1, "one"), part(2, " two"),
        message(2, "assistant", "one two", revision=5), status("waiting"), RESET,
    )  # fmt: skip
    assert screen.replaced == [Replaced("2", "one two")]
    assert (screen.live, screen.taken_back, screen.wrong) == ("", [], [])
    assert screen.is_idle


def test_an_attempt_that_is_begun_again_is_taken_back_first() -> None:
    screen = shown(part(1, "one"), RESET, part(1, "one", attempt=2), part(2, " two", attempt=2))
    assert (screen.live, screen.taken_back, screen.wrong) == ("one two", [TakenBack((1, 1), "one")], [])


def test_a_second_attempt_on_top_of_the_first_is_wrong() -> None:
    screen = shown(part(1, "one"), part(1, "one", attempt=2))
    assert screen.wrong == ["parts of episode (1, 2) after those of (1, 1), without preview_reset"]


def test_a_hole_and_a_repetition_are_wrong() -> None:
    assert shown(part(1, "one"), part(3, " three")).wrong == ["part 3 of episode (1, 1) came after part 1"]
    assert shown(part(1, "one"), part(1, "one")).wrong == ["part 1 of episode (1, 1) came after part 1"]


def test_a_part_after_its_answer_is_wrong() -> None:
    screen = shown(part(1, "one"), message(2, "assistant", "one", revision=5), part(2, " more"))
    assert screen.wrong == ["part 2 of episode (1, 1) came after its answer was saved"]


def test_a_chat_is_not_idle_before_the_status_that_follows_a_message() -> None:
    screen = shown(status("waiting"), message(1, "user", "Hi", revision=1))
    assert not screen.is_idle
    screen.receive(*status("running"))
    assert not screen.is_idle
    screen.receive(*status("waiting"))
    assert screen.is_idle


def test_a_chat_with_a_queue_is_not_idle() -> None:
    assert not shown(status("waiting"), ("queue_update", {"queue": [{}]})).is_idle
    assert shown(status("waiting"), ("queue_update", {"queue": []})).is_idle


def test_a_snapshot_begins_with_forgetting() -> None:
    assert not shown(message(1, "user", "Hi", revision=1), ("history_reset", {})).messages


def test_a_message_decides_its_whole_answer() -> None:
    wording = Wording("a-7", 3, 0.1)
    assert wording.message == "a-7 [say a-7] [long 3] [interval 0.1]"
    assert wording.answer == "a-7 word1 word2 word3"
    assert key_of(wording.message) == key_of(wording.answer) == key_of("a-7") == "a-7"


def test_the_demo_model_gives_that_answer() -> None:
    from demomodel.answer import script_for
    from demomodel.conversation import read_conversation

    wording = Wording("kill-worker-1785-3-12", 40, 0.1)
    script = script_for(read_conversation([{"role": "user", "content": wording.message}]))
    assert "".join(script.text) == wording.answer
    assert script.interval == 0.1


def test_a_stream_that_is_refused_is_wrong_once_unless_the_server_cannot_serve() -> None:
    screen = Screen()
    for code in (503, 404, 404, 500, 503):
        screen.refuse(code)
    assert screen.wrong == ["the stream was refused with 404", "the stream was refused with 500"]
