"""`manage.py explain_chat`: every state as real rows, read in one moment, told on a terminal, in a pipe and as JSON."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from chat import transitions
from chat.execution import State
from chat.explain import reading
from chat.explain.meaning import MEANING
from chat.explain.reading import read_situation
from chat.models import Chat, RunnerLease
from chat.update import chat_update
from tests.factories import (
    ANSWERED,
    CALLING,
    CLIENT_CALL,
    INVALID_ROWS,
    LIVE_STATES,
    RUNNER,
    SAID,
    SERVER_CALL,
    VALID_STATES,
    WORKER,
    chat_in,
    has_queue,
    photograph,
)
from tests.surroundings import Screen, age_heartbeats, alive, pass_time
from tests.threads import Threads

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.django_db
real_transactions = pytest.mark.django_db(transaction=True)


def explain(chat_id: UUID | str, *arguments: str, terminal: bool = False) -> str:
    screen = Screen(terminal=terminal)
    call_command("explain_chat", str(chat_id), *arguments, stdout=screen)
    return screen.text


def told(chat_id: UUID) -> dict[str, str]:
    """Label → text."""
    return {line[:12].strip(): line[12:] for line in explain(chat_id).splitlines()}


# --- every state -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("owned", [True, False], ids=["owned", "nobody's"])
@pytest.mark.parametrize("state", LIVE_STATES)
def test_every_state_is_explained_and_nothing_is_changed(user: Any, state: State, owned: bool) -> None:
    chat_id = chat_in(state, user, owned=owned)
    before = photograph()
    lines = told(chat_id)
    assert lines["Chat"] == f'{chat_id}, "a chat", of ann, model demo:demo.'
    assert lines["State"].startswith(f"{state}: {MEANING[state]}")
    assert lines["Worker"].startswith(f"worker {str(WORKER)[:8]}" if owned else "nobody.")
    assert lines.get("Queue") == ("1 message." if has_queue(state) else None)
    assert lines["Last error"] == "it broke."
    assert lines["Next"]
    assert photograph() == before


@pytest.mark.parametrize("name", INVALID_ROWS)
def test_every_invalid_row_is_explained_with_the_way_out(user: Any, name: str) -> None:
    status, archived, queued = INVALID_ROWS[name]
    chat_id = chat_in(State.INVALID, user, row=(status, archived), queued=queued)
    lines = told(chat_id)
    assert lines["State"].startswith("Invalid: ")
    assert lines["Next"].startswith("nobody: ")
    assert f"POST /api/v1/chats/{chat_id}/reconcile-invalid, as ann" in lines["To do"]


def test_the_way_out_that_is_named_leads_out(user: Any, published: Any) -> None:
    chat_id = chat_in(State.INVALID, user)
    with chat_update(chat_id) as update:
        transitions.reconcile_invalid_state(update)
    assert told(chat_id)["State"].startswith("E0: ")


def test_a_command_that_puts_invalid_chats_right_is_named_where_it_exists(
    user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_id = chat_in(State.INVALID, user)
    for commands in ({"reconcile_chats": "chat"}, {}):
        monkeypatch.setattr(reading, "get_commands", lambda commands=commands: commands)
        assert ("reconcile_chats" in told(chat_id)["To do"]) == bool(commands)


# --- owner and lease ---------------------------------------------------------------------------------------------


def test_a_living_owner_is_told_with_its_process_and_the_age_of_its_heartbeat(user: Any) -> None:
    chat_id = chat_in(State.R0, user, history=(SAID,))
    with alive():
        age_heartbeats(3)
        lines = told(chat_id)
    assert f"process {os.getpid()} on " in lines["Worker"]
    assert "alive: it holds its lock" in lines["Worker"]
    assert lines["Lease"].startswith("fresh, the last heartbeat is 3.")
    assert lines["Next"].startswith("its worker, 00000000 (process ")
    assert lines["To do"] == "Nothing."


def test_an_owner_that_was_told_to_stop_is_told_so(user: Any) -> None:
    chat_id = chat_in(State.R0, user)
    with alive(draining=True):
        lines = told(chat_id)
    assert lines["Worker"].split(", ")[-1].startswith("told to stop")
    assert lines["All workers"] == "none takes chats; 1 told to stop."
    assert "hands the chat over" in lines["Next"]


def test_a_dead_owner_is_told_before_its_lease_has_expired(user: Any) -> None:
    chat_id = chat_in(State.R0, user)
    age_heartbeats(3)
    with alive(uuid4()):
        lines = told(chat_id)
    assert "dead: nobody holds its lock" in lines["Worker"]
    assert lines["Next"].startswith("another chat worker: it takes the chat over as soon as it is sure")


def test_an_expired_lease_is_told_with_who_takes_over(user: Any) -> None:
    chat_id = chat_in(State.I1, user)
    age_heartbeats(25)
    assert told(chat_id)["Lease"].startswith("expired, the last heartbeat is 25 s old")
    assert told(chat_id)["Next"].startswith("nobody: no other chat worker takes chats.")
    with alive(uuid4()):
        assert told(chat_id)["Next"].startswith("another chat worker: it takes the chat over now.")


def test_an_owner_whose_lease_was_deleted_is_told_as_such(user: Any) -> None:
    chat_id = chat_in(State.R0, user)
    RunnerLease.objects.all().delete()
    assert told(chat_id)["Lease"].startswith("none: ")


def test_a_lease_of_an_earlier_runner_is_not_the_owners(user: Any) -> None:
    chat_id = chat_in(State.R0, user)
    RunnerLease.objects.filter(runner_id=RUNNER).update(runner_id=uuid4())
    assert told(chat_id)["Lease"].startswith("none: ")


# --- waiting for a worker ----------------------------------------------------------------------------------------


def test_without_a_worker_it_says_how_to_start_one(user: Any) -> None:
    lines = told(chat_in(State.R0, user, owned=False))
    assert lines["Next"] == "nobody: no chat worker is alive."
    assert lines["To do"].startswith("Start one: celery -A config worker -Q chats")


def test_a_worker_with_a_free_slot_takes_it_soon(user: Any) -> None:
    chat_id = chat_in(State.R0, user, owned=False)
    with alive():
        assert told(chat_id)["Next"].startswith("a chat worker: it takes the chat. A wake-up is on its way")
        pass_time(chat_id, "waiting_since", 40)
        lines = told(chat_id)
    assert lines["Waits"].startswith("for a chat worker, for 40 s")
    assert "should have taken" in lines["Next"]
    assert "chat_doctor" in lines["To do"]


def test_a_limit_that_keeps_it_waiting_is_named_with_the_place_in_line(user: Any, settings: Any) -> None:
    settings.CHATD_MAX_CHATS_PER_OWNER = 1
    chat_in(State.R0, user)
    first, second = (chat_in(State.R0, user, owned=False) for _ in range(2))
    with alive():
        assert "number 1 in line" in told(first)["Next"]
        lines = told(second)
    assert lines["Waits"].endswith(", number 2 in line.")
    assert lines["Next"].endswith("the chat is number 2 in line. CHATD_MAX_CHATS_PER_OWNER is 1.")


def test_a_chat_of_a_sub_agent_is_held_up_by_limits_of_its_own(user: Any, settings: Any) -> None:
    settings.CHATD_MAX_CHATS, settings.CHATD_MAX_SUB_AGENTS = 5, 1
    root = chat_in(State.R0, user)
    chat_in(State.R0, user, parent=root)
    with alive():
        lines = told(chat_in(State.R0, user, parent=root, owned=False))
    assert lines["Chat"].endswith(f"a sub-agent in the family of {root}.")
    assert lines["Next"].endswith("CHATD_MAX_SUB_AGENTS is 1.")


def test_full_workers_are_told_by_their_slots(user: Any) -> None:
    chat_in(State.R0, user)
    chat_id = chat_in(State.R0, user, owned=False)
    with alive(slots=1):
        assert told(chat_id)["Next"].endswith("All 1 slot of 1 chat worker are taken.")


# --- what the chat waits for -------------------------------------------------------------------------------------


def test_a_retry_is_told_with_its_reason_and_the_time_that_is_left(user: Any) -> None:
    chat_id = chat_in(State.R0, user, history=(SAID,))
    at = (datetime.now(UTC) + timedelta(seconds=12.4)).isoformat().replace("+00:00", "Z")
    Chat.objects.filter(pk=chat_id).update(
        retry_state={"attempt": 2, "error": "OpenAI is rate limiting requests.", "retrying_at": at}
    )
    with alive():
        lines = told(chat_id)
    assert lines["Next"].split(": ", 1)[1] == "it tries again in 12 s, because: OpenAI is rate limiting requests."
    assert lines["Attempt"].startswith("2 of at most 25. The last one failed, the next is due in 12 s: ")


@pytest.mark.parametrize("state", [{"attempt": 2}, {"retrying_at": "soon"}, {"retrying_at": 3, "kind": "timeout"}])
def test_a_retry_state_of_another_release_is_told_as_far_as_it_goes(user: Any, state: dict[str, Any]) -> None:
    chat_id = chat_in(State.R0, user, history=(SAID,))
    Chat.objects.filter(pk=chat_id).update(retry_state=state)
    with alive():
        assert "it tries again now, because: " in told(chat_id)["Next"]


def test_the_clients_calls_are_told_apart_with_their_deadline(user: Any) -> None:
    chat_id = chat_in(State.A0, user, owned=False, history=(SAID, CALLING))
    pass_time(chat_id, "requires_action_deadline_at", -90)
    lines = told(chat_id)
    assert lines["Open calls"] == "search (server), ask (client). They time out in 90 s."
    assert lines["Next"].startswith("its client: it answers ask, or the calls time out in ")
    pass_time(chat_id, "requires_action_deadline_at", 90)
    assert told(chat_id)["Next"].startswith("nobody: a maintenance worker should have given the open calls an error.")


def test_calls_that_have_results_are_not_open(user: Any) -> None:
    result = {"type": "tool_result", "output": 1, "is_error": False, "synthetic": False, "tool_name": "x"}
    answers = [{**result, "tool_call_id": call["tool_call_id"]} for call in (SERVER_CALL, CLIENT_CALL)]
    chat_id = chat_in(State.R0, user, history=(SAID, CALLING, ("tool", answers)))
    assert read_situation(chat_id).calls == ()


def test_messages_that_steer_are_counted(user: Any) -> None:
    assert told(chat_in(State.R1, user, queued=3, steering=(1, 3)))["Queue"] == (
        "3 messages, 2 of which steer the running turn."
    )


def test_a_compaction_that_was_asked_for_is_told(user: Any) -> None:
    chat_id = chat_in(State.W, user, history=(SAID, ANSWERED))
    pass_time(chat_id, "compaction_requested_at", 30)
    assert told(chat_id)["Compaction"].startswith("asked for 30 s ago")


# --- the reading, and how it is told -----------------------------------------------------------------------------


@real_transactions
def test_one_moment_is_read_whatever_happens_meanwhile(
    user: Any, published: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_id = chat_in(State.R0, user)
    look = reading._surroundings

    def while_another_lets_it_go(known: UUID) -> Any:
        def let_go() -> None:
            with chat_update(known) as update:
                transitions.abandon(update)

        with Threads() as threads:
            threads.start(let_go)
        return look(known)

    monkeypatch.setattr(reading, "_surroundings", while_another_lets_it_go)
    situation = read_situation(chat_id)
    assert situation.owner is not None
    assert situation.owner.heartbeat_age is not None, "the lease is still there at the moment of the reading"
    assert situation.waiting_since is None
    monkeypatch.undo()
    assert read_situation(chat_id).owner is None


@real_transactions
def test_the_reading_leaves_the_connection_as_it_was(user: Any) -> None:
    read_situation(chat_in(State.W, user))
    assert not connection.in_atomic_block
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("read committed",)


@pytest.mark.parametrize("state", VALID_STATES)
def test_as_json_every_state_is_one_object(user: Any, state: State) -> None:
    chat_id = chat_in(state, user)
    known = json.loads(explain(chat_id, "--json"))
    assert (known["chat_id"], known["state"]) == (str(chat_id), str(state))
    assert known["owner"]["worker_id"] == str(WORKER)
    assert known["owner"]["lease_is_fresh"] is True
    assert 0 <= known["owner"]["heartbeat_age"] < 10
    assert set(known["next"]) == {"who", "what", "todo"}


def test_on_a_terminal_no_line_is_too_long_and_no_title_takes_over(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    chat_id = chat_in(State.A1, user)
    Chat.objects.filter(pk=chat_id).update(title="red \x1b[31m\n" + "and long " * 20)
    screen = explain(chat_id, terminal=True)
    assert max(map(len, screen.splitlines())) <= 80
    assert "\x1b" not in screen
    assert all(line[:12].strip() or line.startswith(" " * 12) for line in screen.splitlines())


def test_colours_are_asked_for_or_kept_out(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.core.management.color.supports_color", lambda: True)
    chat_id = chat_in(State.W, user)
    assert "\x1b[1mState\x1b[0m" in explain(chat_id, terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in explain(chat_id, terminal=True)
    assert "\x1b[1mState\x1b[0m" in explain(chat_id, "--force-color", terminal=True)


@pytest.mark.parametrize(
    ("chat_id", "why"),
    [
        ("nonsense", "'nonsense' is no chat id: it looks like "),
        ("", "'' is no chat id"),
        ("00000000-0000-0000-0000-000000000000", "There is no chat 00000000-0000-0000-0000-000000000000."),
    ],
)
def test_a_chat_that_is_not_there_is_one_line(chat_id: str, why: str) -> None:
    with pytest.raises(CommandError, match=r"^[^\n]+$") as refused:
        explain(chat_id)
    assert str(refused.value).startswith(why)
    assert refused.value.returncode == 1


def test_a_database_that_is_down_is_one_line_and_the_exit_code_1() -> None:
    nobody = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "manage.py", "explain_chat", str(uuid4())],
        cwd=ROOT,
        env={**os.environ, **nobody, "SECRET_KEY": "of a test"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("CommandError: The database does not answer: ")
    assert done.stderr.count("\n") == 1
