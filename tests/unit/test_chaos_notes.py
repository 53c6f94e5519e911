"""What the processes of a stack note themselves: read as they write it."""

from pathlib import Path

from chat.crash import chaos_of, rules_in
from devtools.chaos import notes
from devtools.chaos.notes import Refusal


def test_a_stack_notes_what_the_fence_refuses_and_nothing_else_happens(tmp_path: Path) -> None:
    chaos = chaos_of({**notes.environment(tmp_path), "CHATD_PROCESS": "chat-worker-1"})
    assert chaos is not None
    assert [chaos.hit(notes.REFUSAL) for _ in range(3)] == [False] * 3
    chaos.record("hints.dropped")
    assert len(notes.refusals(tmp_path, since=0)) == 3


def test_chat_workers_that_are_to_linger_do_so_at_every_fourth_answer_and_others_never(tmp_path: Path) -> None:
    points = notes.environment(tmp_path, lingers=True)["CHATD_CRASH_POINTS"]
    assert rules_in(points, role="web").keys() == {notes.REFUSAL}
    rule = rules_in(points, role="chat-worker-1")[notes.LINGERS_AT]
    assert (rule.action, rule.seconds, rule.nth, rule.times) == ("sleep", 0.2, 4, None)


def test_how_often_a_process_lingered_is_read_of_that_process(tmp_path: Path) -> None:
    for process in ("chat-worker-1", "chat-worker-2", "chat-worker-2"):
        with (tmp_path / notes.FILE).open("a") as file:
            print(f'{{"at": 1.0, "process": "{process}", "point": "{notes.LINGERS_AT}"}}', file=file)
    assert notes.times_lingered(tmp_path, "chat-worker-2") == 2
    assert notes.times_lingered(tmp_path, "chat-worker-3") == 0


def test_only_what_was_noted_in_the_time_of_a_fault_counts(tmp_path: Path) -> None:
    (tmp_path / notes.FILE).write_text(
        '{"at": 1.0, "fault": "crash_point", "process": "chat-worker-1", "pid": 7, "point": "door.fence_refused"}\n'
        '{"at": 3.0, "fault": "crash_point", "process": "chat-worker-2", "pid": 8, "point": "door.fence_refused"}\n'
    )
    assert notes.refusals(tmp_path, since=2.0) == [Refusal(3.0, "chat-worker-2")]


def test_a_stack_in_which_nothing_was_refused_has_no_notes(tmp_path: Path) -> None:
    assert notes.refusals(tmp_path, since=0) == []
