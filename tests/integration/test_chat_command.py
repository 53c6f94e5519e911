"""`manage.py chat`: what it prints (from scripted events), and what it does with a real worker and model."""

import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command

from chat import hints, transitions
from chat.catalogue import register_model
from chat.execution import State
from chat.management.commands import chat as command
from chat.models import Chat
from chat.terminal import follow, narrator
from chat.terminal.narrator import Narrator, Piece, Style
from chat.terminal.printer import Printer
from chat.update import ChatUpdate, chat_read, chat_update
from chatworker.worker import ChatWorker
from demomodel.testing import demo_model_process

# --- what is said: pure ----------------------------------------------------------------------------------------------

Told = list[tuple[str, dict[str, Any]]]


def part(text: str, *, kind: str = "text", index: int = 0) -> tuple[str, dict[str, Any]]:
    return "message_part", {"part": {"type": kind, "index": index, "text": text}}


def message(*parts: dict[str, Any], role: str = "assistant", interrupted: bool = False) -> tuple[str, dict[str, Any]]:
    return "message", {"message": {"role": role, "parts": list(parts), "interrupted": interrupted}}


def text(value: str, kind: str = "text") -> dict[str, Any]:
    return {"type": kind, "text": value}


RESET = ("preview_reset", {"history_version": 3, "generation_attempt": 0})
CALL = {"type": "tool_call", "tool_call_id": "c1", "tool_name": "weather", "args": {"city": "Oslo"}}
RESULT = {"type": "tool_result", "tool_call_id": "c1", "tool_name": "weather", "output": "rain", "is_error": False}


def tell(*events: tuple[str, dict[str, Any]], own_message: bool = False) -> list[Piece]:
    teller = Narrator(own_message=own_message)
    return [piece for name, data in events for piece in teller.tell(name, data)]


def test_parts_are_told_as_they_come_and_the_commit_repeats_nothing() -> None:
    told = tell(part("Hel"), part("lo"), message(text("Hello")), RESET)
    assert told == [Piece(Style.ANSWER, "Hel"), Piece(Style.ANSWER, "lo", begins=False)]


def test_what_was_not_streamed_is_told_at_the_commit() -> None:
    told = tell(part("Hel"), message(text("Hello")), message(text("again")))
    assert told == [
        Piece(Style.ANSWER, "Hel"),
        Piece(Style.ANSWER, "lo", begins=False),
        Piece(Style.ANSWER, "again"),
    ]


def test_reasoning_and_answer_are_told_apart() -> None:
    told = tell(
        part("hmm", kind="reasoning"), part("yes", index=1), message(text("hmm", "reasoning"), text("yes")), RESET
    )
    assert told == [Piece(Style.REASONING, "hmm"), Piece(Style.ANSWER, "yes")]


def test_a_restarted_attempt_says_that_the_answer_begins_again() -> None:
    told = tell(part("One two"), RESET, part("One two three"), message(text("One two three")))
    assert told == [
        Piece(Style.ANSWER, "One two"),
        Piece(Style.NOTE, narrator.RESTARTED),
        Piece(Style.ANSWER, "One two three"),
    ]


def test_a_saved_answer_that_differs_from_the_streamed_one_is_told_whole() -> None:
    told = tell(part("One"), message(text("Two")))
    assert told == [Piece(Style.ANSWER, "One"), Piece(Style.NOTE, narrator.AS_SAVED), Piece(Style.ANSWER, "Two")]


def test_a_retry_says_why_and_how_long_and_is_over_when_text_comes() -> None:
    teller = Narrator(own_message=False)
    retry = {"attempt": 1, "delay_ms": 4000, "error": "It is busy.", "retrying_at": "2025-01-01T00:00:04Z"}
    teller.tell(*part("Hel"))
    [note] = teller.tell("retry", {"retry": retry})
    assert note.text == (
        "Attempt 1 failed: It is busy. Trying again in 4 s. The answer begins again then; what stands above was not "
        "saved."
    )
    assert teller.tell(*RESET) == []
    assert teller.retry is not None
    assert teller.retry.seconds_left(datetime(2025, 1, 1, 0, 0, 1, tzinfo=UTC)) == 3
    assert teller.tell(*part("Hello")) == [Piece(Style.ANSWER, "Hello")]
    assert teller.retry is None


def test_tool_calls_and_results_are_told_once() -> None:
    delta = ("message_part", {"part": {"type": "tool_call_delta", "index": 0, "args_delta": '{"ci'}})
    call = ("message_part", {"part": {**CALL, "index": 0}})
    told = tell(delta, call, message(CALL), RESET, message(RESULT, role="tool"))
    assert told == [
        Piece(Style.CALL, '→ weather({"city": "Oslo"})'),
        Piece(Style.RESULT, "← weather: rain"),
    ]


def test_an_error_says_what_to_do() -> None:
    [told] = tell(("error", {"error": {"message": "No.", "kind": "auth", "detail": "401"}}))
    assert told.style is Style.ERROR
    assert told.text.splitlines() == ["Error: No.", "The provider said: 401", narrator.ADVICE["auth"]]


def test_ones_own_message_is_not_repeated_but_others_are() -> None:
    mine, yours = message(text("mine"), role="user"), message(text("yours\ntoo"), role="user")
    assert tell(mine, yours, own_message=True) == [Piece(Style.USER, "> yours\n> too")]


def test_an_interrupted_answer_says_so() -> None:
    told = tell(part("Hel"), message(text("Hel"), interrupted=True), RESET)
    assert told == [Piece(Style.ANSWER, "Hel"), Piece(Style.NOTE, narrator.INTERRUPTED)]


class Screen:
    """What Django hands to a command; `when(text)` is called after each write with all that was written."""

    def __init__(self, *, terminal: bool = False, when: Callable[[str], None] | None = None) -> None:
        self.text = ""
        self._terminal = terminal
        self._when = when

    def write(self, msg: str = "", style_func: object = None, ending: str | None = None) -> None:
        self.text += msg + (ending or "")
        if self._when:
            self._when(self.text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return self._terminal


STORY = [
    Piece(Style.REASONING, "hmm"),
    Piece(Style.CALL, "→ a({})"),
    Piece(Style.ANSWER, "Hel"),
    Piece(Style.ANSWER, "lo", begins=False),
    Piece(Style.NOTE, "a note"),
]


def test_into_a_pipe_goes_the_answer_alone() -> None:
    out, err = Screen(), Screen()
    printer = Printer(out, err)
    printer.show(STORY)
    printer.waiting("nobody sees this")
    printer.close()
    assert out.text == "Hello\n"
    assert err.text == "hmm\n→ a({})\na note\n"


def test_a_terminal_shows_everything_in_order() -> None:
    out, err = Screen(terminal=True), Screen(terminal=True)
    printer = Printer(out, err, colors=False)
    printer.show(STORY)
    printer.close()
    without_looks = narrator_text(out.text)
    assert without_looks == "hmm\n→ a({})\nHello\na note\n"
    assert err.text == ""


def narrator_text(screen: str) -> str:
    """What is readable of a screen."""
    for code in ("\x1b[0m", "\x1b[2;3m", "\x1b[1;31m", "\x1b[1m"):
        screen = screen.replace(code, "")
    return screen


def test_a_model_cannot_take_over_the_terminal() -> None:
    out = Screen(terminal=True)
    Printer(out, Screen(), colors=False).show([Piece(Style.ANSWER, "a\x1b[2Jb\rc\td\n")])
    assert "\x1b[2J" not in out.text
    assert "a\\x1b[2Jb\\x0dc" in out.text


def test_what_is_waited_for_goes_away_when_something_is_printed() -> None:
    out = Screen(terminal=True)
    printer = Printer(out, Screen(), colors=False)
    printer.waiting("trying again in 2 s …")
    assert "trying again in 2 s …" in out.text
    printer.show([Piece(Style.ANSWER, "x")])
    assert out.text.endswith("\r\x1b[2Kx")
    printer.waiting("not in the middle of an answer")
    assert out.text.endswith("x")


# --- what is done: a real worker, a real model -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_url() -> Iterator[str]:
    with demo_model_process() as process:
        yield process.url


@pytest.fixture
def admin(transactional_db: None, django_user_model: Any, model_url: str) -> Any:
    register_model("terminal:demo", kind="openai", base_url=model_url, default=True)
    return django_user_model.objects.create_superuser("admin", password="a password of hers")


@pytest.fixture
def wake_ups(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """What Celery would carry."""
    sent: list[UUID] = []
    monkeypatch.setattr(hints, "publish_wake_up", sent.append)
    return sent


@pytest.fixture
def worker(admin: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatWorker]:
    """A chat worker in this process; a wake-up reaches it through a thread instead of Celery's. Nobody polls."""
    monkeypatch.setattr(follow, "POLL_EVERY", 60.0)
    worker = ChatWorker(slots=8)
    with ThreadPoolExecutor(4, thread_name_prefix="pool-slot") as slots:
        monkeypatch.setattr(hints, "publish_wake_up", lambda chat_id: slots.submit(worker.run_chat, chat_id))
        worker.start()
        yield worker
        worker.stop(drain_timeout=0)


Run = tuple[int, str, str]


def run(*arguments: str, when: Callable[[str], None] | None = None) -> Run:
    """Exit code, standard output, standard error; `when` sees both."""
    out, err = Screen(when=when), Screen(when=when)
    code = 0
    try:
        call_command("chat", *arguments, stdout=out, stderr=err)
    except SystemExit as end:
        code = int(end.code or 0)
    return code, out.text, err.text


def press_ctrl_c_at(*needles: str) -> Callable[[str], None]:
    """Once for each of `needles`, when it is on the screen."""
    left = list(needles)

    def look(screen: str) -> None:
        if left and left[0] in screen:
            left.pop(0)
            os.kill(os.getpid(), signal.SIGINT)

    return look


def test_the_answer_is_printed_and_the_exit_code_is_0(worker: ChatWorker) -> None:
    assert run("[say all is well]") == (0, "all is well\n", "")
    assert run("[say all is well]", "--no-stream") == (0, "all is well\n", "")


def test_json_gives_the_events_of_the_stream(worker: ChatWorker) -> None:
    code, out, _ = run("[long 20]", "--json")
    events = [json.loads(line) for line in out.splitlines()]
    streamed = "".join(event["part"]["text"] for event in events if event["event"] == "message_part")
    saved = [event["message"] for event in events if event["event"] == "message"]
    assert code == 0
    assert [one["role"] for one in saved] == ["user", "assistant"]
    # A quick answer may be saved before the stream has heard of its attempt: then the message alone tells it.
    assert streamed in ("", saved[-1]["parts"][0]["text"])
    assert {event["chat_id"] for event in events} == {str(Chat.objects.get().pk)}


def test_json_without_stream_gives_one_object(worker: ChatWorker) -> None:
    code, out, _ = run("[say fine]", "--json", "--no-stream")
    answer = json.loads(out)
    assert (code, answer["chat_id"], answer["status"]) == (0, str(Chat.objects.get().pk), "waiting")
    assert answer["message"]["parts"] == [{"type": "text", "text": "fine"}]


def test_a_chat_goes_on_without_repeating_what_was_said(worker: ChatWorker) -> None:
    run("[say one]")
    chat = Chat.objects.get()
    assert run("[say two]", "--chat", str(chat.pk)) == (0, "two\n", "")
    assert len(chat_read(chat.pk).messages) == 4


def test_the_text_may_come_from_standard_input(worker: ChatWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("[say from a pipe]"))
    assert run("-", "--no-stream") == (0, "from a pipe\n", "")


def test_an_error_of_the_model_has_the_exit_code_1(worker: ChatWorker) -> None:
    code, out, err = run("[fail 401]")
    assert (code, out) == (1, "")
    assert "Authentication" in err
    assert narrator.ADVICE["auth"] in err


def test_ctrl_c_keeps_exactly_what_was_printed(worker: ChatWorker) -> None:
    code, out, err = run("[long 50] [stall after 5]", when=press_ctrl_c_at("word5"))
    snapshot = chat_read(Chat.objects.get().pk)
    assert code == 130
    assert narrator.INTERRUPTED in err
    assert snapshot.state is State.W
    assert snapshot.messages[-1]["interrupted"]
    assert snapshot.messages[-1]["parts"][0]["text"] == out.removesuffix("\n") == "word1 word2 word3 word4 word5"


def test_without_a_worker_it_says_so_and_ctrl_c_stops_the_chat_all_the_same(
    admin: Any, wake_ups: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "HINT_AFTER", 0.05)
    code, out, err = run("Hello", when=press_ctrl_c_at("no chat worker seems to run"))
    chat = Chat.objects.get()
    assert (code, out) == (130, "")
    assert "./dev up" in err
    assert "Interrupted before anything was written." in err
    assert chat_read(chat.pk).state is State.W
    assert wake_ups == [chat.pk], "the message asked for a worker, the stop did not"


def test_a_second_ctrl_c_leaves_at_once_and_a_worker_finishes_the_stop(
    admin: Any, wake_ups: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    def redis_was_away(chat_id: UUID) -> ChatUpdate:
        with chat_update(chat_id) as update:
            transitions.interrupt(update)
        return update

    monkeypatch.setattr(command, "HINT_AFTER", 0.05)
    monkeypatch.setattr(follow, "stop_chat", redis_was_away)
    code, out, err = run("Hello", when=press_ctrl_c_at("no chat worker seems to run", "Stopping"))
    assert (code, out) == (130, "")
    assert follow.LEFT in err
    assert chat_read(Chat.objects.get().pk).state is State.I0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["   "], "The message is empty"),
        (["Hello", "--model", "no:such"], "no enabled model 'no:such'"),
        (["Hello", "--chat", "nonsense"], "is no chat id"),
        (["Hello", "--chat", "00000000-0000-0000-0000-000000000000"], "There is no chat"),
        (["Hello", "--user", "nobody"], "no active user 'nobody'"),
    ],
)
def test_a_refusal_says_why_and_has_the_exit_code_1(
    admin: Any, wake_ups: list[UUID], arguments: list[str], why: str
) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert why in err
    assert not Chat.objects.exists()
    assert wake_ups == []


def test_another_users_chat_is_refused_with_the_way_out(
    admin: Any, wake_ups: list[UUID], django_user_model: Any
) -> None:
    ann = django_user_model.objects.create_user("ann")
    chat = transitions.create_chat(owner=ann, parts=[{"type": "text", "text": "Hello"}])
    code, _, err = run("Hello", "--chat", str(chat.pk))
    assert code == 1
    assert "--user ann" in err
    assert len(chat_read(chat.pk).messages) == 1
