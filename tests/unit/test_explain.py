"""What is said of a chat, from values alone: every state, whoever owns it, whatever the workers do."""

import json
import re
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from chat.execution import RUNNABLE, State
from chat.explain.meaning import MEANING, why_invalid
from chat.explain.situation import Call, Limits, Owner, Retry, Situation, Workers, count, seconds
from chat.explain.story import as_json, tell
from chat.explain.turn import NOBODY, NOTHING, whose_turn
from tests.factories import INVALID_ROWS, LIVE_STATES, ROWS, has_queue

ALIVE = Owner("aaaaaaaa-1", "bbbbbbbb-2", "box", 4711, True, True, False, 2.0, True)
DRAINING = replace(ALIVE, draining=True)
DEAD = replace(ALIVE, host=None, pid=None, holds_lock=False, alive=False)
MOMENTARY = replace(ALIVE, holds_lock=False, heartbeat_age=0.4)
HANGING = replace(ALIVE, heartbeat_age=25.0, lease_is_fresh=False)
EXPIRED = replace(DEAD, heartbeat_age=25.0, lease_is_fresh=False)
FOUND_DEAD = replace(DEAD, heartbeat_age=None, lease_is_fresh=False)
OWNERS = (None, ALIVE, DRAINING, DEAD, MOMENTARY, HANGING, EXPIRED, FOUND_DEAD)

FREE, FULL, GONE, LEAVING = Workers(2, 0, 8, 3), Workers(2, 0, 8, 8), Workers(0, 0, 0, 0), Workers(0, 1, 0, 1)
ONE = Workers(1, 0, 4, 1)
FLEETS = (FREE, FULL, GONE, LEAVING, ONE)

NEGATIVE = re.compile(r"[ (]-\d+(\.\d)? (s|min|h|days)")
SERVER, CLIENT = Call("s1", "search", False), Call("c1", "ask", True)
LATE_RETRY = Retry("OpenAI is rate limiting requests.", 12.2)
CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"retry": LATE_RETRY, "place": 3, "waiting_since": 34.0},
    {"retry": Retry("It broke", -1.0), "last_error": {"message": "It broke", "kind": "auth"}},
    {"retry": Retry("It broke", None), "place": 1, "limits": Limits(0, 1), "root_id": "0100"},
    {"calls": (SERVER,), "deadline_in": 30.0, "last_error": {}},
    {"calls": (SERVER, CLIENT), "deadline_in": 30.0, "compaction_asked_since": 90.0},
    {"calls": (CLIENT,), "deadline_in": -2.0, "attempt": 0, "title": ""},
    {"calls": (CLIENT,), "deadline_in": -60.0, "last_error": {"message": "It broke."}},
    {"calls": (CLIENT,), "root_id": "0100", "steering": 1},
)


def chat_in(state: State, owner: Owner | None = None, **changes: Any) -> Situation:
    """A chat that has just begun to wait where it can wait, two workers alive, nothing wrong."""
    status, archived = ROWS[state]
    known: dict[str, Any] = {
        "chat_id": "0193", "title": "a chat", "user": "ann", "model": "demo:demo", "root_id": None,
        "status": status, "archived": archived, "state": state, "queued": 2 if has_queue(state) else 0, "steering": 0,
        "owner": owner, "attempt": 1, "max_attempts": 25, "retry": None, "calls": (), "deadline_in": None,
        "last_error": None, "compaction_asked_since": None,
        "waiting_since": 0.3 if state in RUNNABLE and owner is None else None, "place": None,
        "limits": Limits(5, 2), "workers": FREE, "lease_lasts": 20.0, "drain_lasts": 15.0,
    }  # fmt: skip
    return Situation(**(known | changes))


def every_situation() -> list[Situation]:
    return [
        chat_in(state, owner, workers=fleet, **changes)
        for state, owner, fleet, changes in product(LIVE_STATES, OWNERS, FLEETS, CHANGES)
    ]


def test_every_situation_is_told_in_whole_sentences() -> None:
    for chat in every_situation():
        turn = whose_turn(chat)
        lines = dict(tell(chat))
        assert lines["State"].startswith(f"{chat.state}: ")
        assert list(lines)[-2:] == ["Next", "To do"]
        assert lines["Next"] == f"{turn.who}: {turn.what}"
        for text in (turn.what, turn.todo, *lines.values()):
            assert text.endswith("."), text
            assert "None" not in text, text
            assert not NEGATIVE.search(text), text
            assert "  " not in text and ".." not in text, text


def test_where_nobody_acts_the_operator_hears_what_to_do() -> None:
    turns = [whose_turn(chat) for chat in every_situation()]
    assert {turn.todo for turn in turns if turn.who == NOBODY}.isdisjoint({NOTHING})
    assert NOTHING in {turn.todo for turn in turns if turn.who != NOBODY}


def test_a_chat_that_a_living_worker_has_needs_nothing() -> None:
    for state in RUNNABLE:
        turn = whose_turn(chat_in(state, ALIVE))
        assert (turn.who, turn.todo) == ("its worker, aaaaaaaa (process 4711 on box)", NOTHING)


START, WAIT = "celery -A config worker -Q chats", "Wait, or "


@pytest.mark.parametrize(
    ("chat", "who", "what", "todo"),
    [
        # runnable, nobody's
        (chat_in(State.R0), "a chat worker", "A wake-up is on its way", NOTHING),
        (chat_in(State.R0, waiting_since=34.0), "a chat worker", "5 of 8 slots are free", "chat_doctor"),
        (chat_in(State.R0, workers=GONE), NOBODY, "no chat worker is alive", START),
        (chat_in(State.I1, workers=GONE), NOBODY, "no chat worker is alive", START),
        (chat_in(State.R0, workers=LEAVING), NOBODY, "has been told to stop", START),
        (chat_in(State.R1, workers=FULL, place=3), "a chat worker", "number 3 in line. All 8 slots of 2", WAIT),
        (chat_in(State.R1, place=1), "a chat worker", "CHATD_MAX_CHATS is 5. CHATD_MAX_CHATS_PER_OWNER is 2.", WAIT),
        (chat_in(State.R0, place=1, limits=Limits(0, 2)), "a chat worker", "CHATD_MAX_CHATS_PER_OWNER is 2", WAIT),
        (chat_in(State.R0, place=1, root_id="0100"), "a chat worker", "CHATD_MAX_SUB_AGENTS is 5", WAIT),
        # runnable, somebody's
        (chat_in(State.R0, ALIVE, attempt=3), "its worker, aaaaaaaa", "calling the model: attempt 3", NOTHING),
        (chat_in(State.R0, ALIVE, calls=(SERVER,)), "its worker, aaaaaaaa", "it executes search.", NOTHING),
        (
            chat_in(State.R0, ALIVE, retry=LATE_RETRY),
            "its worker, aaaaaaaa",
            "tries again in 12 s, because: OpenAI is rate limiting requests.",
            NOTHING,
        ),
        (chat_in(State.R0, ALIVE, retry=Retry("It broke.", -0.1)), "its worker", "tries again now", NOTHING),
        (chat_in(State.I0, ALIVE), "its worker, aaaaaaaa", "it saves what was streamed.", NOTHING),
        (chat_in(State.I1, ALIVE), "its worker, aaaaaaaa", "streamed, and goes on with the queue.", NOTHING),
        (chat_in(State.R0, MOMENTARY), "its worker, aaaaaaaa", "calling the model", NOTHING),
        (chat_in(State.R0, DRAINING), "its worker, aaaaaaaa", "within 15 s or hands the chat over", NOTHING),
        (chat_in(State.R0, DRAINING, workers=LEAVING), "its worker, aaaaaaaa", "told to stop", START),
        (chat_in(State.R0, DEAD), "another chat worker", "when the lease expires, in 18 s", NOTHING),
        (chat_in(State.R0, DEAD, workers=GONE), NOBODY, "no chat worker is alive. Its worker", START),
        (chat_in(State.R0, EXPIRED), "another chat worker", "takes the chat over now. Its worker", NOTHING),
        (chat_in(State.I0, FOUND_DEAD), "another chat worker", "(no longer registered), is dead", NOTHING),
        (chat_in(State.R0, EXPIRED, workers=FULL), "another chat worker", "when a slot is free", WAIT),
        (chat_in(State.R0, EXPIRED, workers=GONE), NOBODY, "is dead", START),
        (chat_in(State.R0, HANGING), "another chat worker", "hangs or is cut off", NOTHING),
        (chat_in(State.R0, HANGING, workers=ONE), NOBODY, "hangs or is cut off", "kill -9 4711 on box"),
        # at rest
        (chat_in(State.W), "its user", "the next message begins a turn", NOTHING),
        (chat_in(State.W, EXPIRED, workers=GONE), "its user", "the next message begins a turn", NOTHING),
        (chat_in(State.E0), "its user", "the next message begins a turn", "Send a message"),
        (chat_in(State.E0, last_error={"kind": "auth"}), "its user", "the next message", "manage.py add_model"),
        (chat_in(State.E1), "its user", "promoting a queued one, sets the queue going", "Send a message"),
        (chat_in(State.A0, calls=(SERVER, CLIENT), deadline_in=90), "its client", "ask, or the calls", NOTHING),
        (chat_in(State.A1, calls=(CLIENT,)), "its client", "no deadline", "/api/v1/chats/0193/interrupt"),
        (chat_in(State.A0, calls=(SERVER,), deadline_in=90), NOBODY, "no call is open", "/api/v1/chats/0193/interrupt"),
        (chat_in(State.A0, calls=(CLIENT,), deadline_in=-1), "a maintenance worker", "up for 1.0 s", NOTHING),
        (chat_in(State.A1, calls=(CLIENT,), deadline_in=-90), NOBODY, "up for 90 s", "celery -A config beat"),
        (chat_in(State.XW), "its user", "archived", 'PATCH /api/v1/chats/0193 with {"archived": false}'),
        (chat_in(State.XE1, root_id="0100"), "its user", "with its root", "PATCH /api/v1/chats/0100"),
        (chat_in(State.INVALID), NOBODY, "must be put right", "POST /api/v1/chats/0193/reconcile-invalid, as ann"),
        (
            chat_in(State.INVALID, commands=frozenset({"reconcile_chats"})),
            NOBODY,
            "must be put right",
            "manage.py reconcile_chats",
        ),
    ],
)  # fmt: skip
def test_who_acts_next_and_what_an_operator_can_do(chat: Situation, who: str, what: str, todo: str) -> None:
    turn = whose_turn(chat)
    assert turn.who.startswith(who)
    assert what in turn.what
    assert todo in turn.todo


def test_a_command_is_named_only_where_it_exists() -> None:
    assert "reconcile_chats" not in whose_turn(chat_in(State.INVALID)).todo


def test_every_state_has_a_meaning_of_its_own() -> None:
    assert set(MEANING) == set(State)
    assert len(set(MEANING.values())) == len(State)


@pytest.mark.parametrize("name", INVALID_ROWS)
def test_an_invalid_row_is_told_by_what_is_wrong_with_it(name: str) -> None:
    status, archived, queued = INVALID_ROWS[name]
    why = why_invalid(status, archived, queued)
    expected = (
        "is none of" if "unknown" in name else "at the same time" if "while" in name else f"its queue holds {queued}"
    )
    assert expected in why
    chat = chat_in(State.INVALID, status=status, archived=archived, queued=queued)
    assert dict(tell(chat))["State"].endswith(why)


@pytest.mark.parametrize(
    ("owner", "life", "lease"),
    [
        (
            ALIVE,
            "alive: it holds its lock",
            "fresh, the last heartbeat is 2.0 s old. Without another it expires in 18 s.",
        ),
        (DRAINING, "told to stop", "fresh"),
        (MOMENTARY, "without its lock", "fresh"),
        (DEAD, "dead: nobody holds its lock", "fresh"),
        (
            HANGING,
            "holds its lock, but sends no heartbeat",
            "expired, the last heartbeat is 25 s old; a lease lasts 20 s.",
        ),
        (EXPIRED, "dead: nobody holds its lock", "expired"),
        (FOUND_DEAD, "dead: nobody holds its lock", "none: it expired, or its worker was found dead."),
    ],
)
def test_the_owner_and_the_lease_are_told(owner: Owner, life: str, lease: str) -> None:
    lines = dict(tell(chat_in(State.R0, owner)))
    assert life in lines["Worker"]
    assert lines["Lease"].startswith(lease)


def test_a_chat_without_owner_has_no_lease_to_tell_of() -> None:
    lines = dict(tell(chat_in(State.R0, waiting_since=7.0, place=4)))
    assert lines["Worker"] == "nobody."
    assert lines["Waits"] == "for a chat worker, for 7.0 s, number 4 in line."
    assert "Lease" not in lines


def test_what_does_not_apply_is_left_out() -> None:
    idle = chat_in(State.W, attempt=0)
    assert [label for label, _ in tell(idle)] == ["Chat", "State", "Worker", "All workers", "Next", "To do"]


def test_everything_that_applies_is_told() -> None:
    error = {"message": "It broke.", "kind": "timeout", "status_code": 504}
    chat = chat_in(
        State.A1, ALIVE, queued=3, steering=1, retry=LATE_RETRY, calls=(SERVER, CLIENT), deadline_in=42.0,
        last_error=error, compaction_asked_since=5.0, root_id="0100", title="",
    )  # fmt: skip
    lines = dict(tell(chat))
    assert lines["Chat"] == "0193, untitled, of ann, model demo:demo, a sub-agent in the family of 0100."
    assert lines["Queue"] == "3 messages, 1 of which steer the running turn."
    assert lines["Attempt"] == (
        "1 of at most 25. The last one failed, the next is due in 12 s: OpenAI is rate limiting requests."
    )
    assert lines["Open calls"] == "search (server), ask (client). They time out in 42 s."
    assert lines["Last error"] == "timeout, 504: It broke."
    assert lines["Compaction"] == "asked for 5.0 s ago, not done yet."
    assert lines["All workers"] == "2 chat workers, 3 of 8 slots taken."


def test_as_json_it_is_the_same_in_figures() -> None:
    told = json.loads(json.dumps(as_json(chat_in(State.R0, ALIVE, calls=(CLIENT,), retry=LATE_RETRY))))
    assert told["state"] == "R0"
    assert told["owner"]["heartbeat_age"] == 2.0
    assert told["calls"] == [{"tool_call_id": "c1", "tool_name": "ask", "by_client": True}]
    assert told["retry"]["after"] == 12.2
    assert told["workers"] == {"taking": 2, "draining": 0, "slots": 8, "taken": 3}
    assert set(told["next"]) == {"who", "what", "todo"}
    assert "commands" not in told


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.0 s"), (-3, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (99, "99 s"), (100, "2 min"), (5400, "90 min"),
     (6000, "2 h"), (172_799, "48 h"), (172_800, "2 days")],
)  # fmt: skip
def test_durations_are_for_people(value: float, text: str) -> None:
    assert seconds(value) == text


def test_one_is_singular() -> None:
    assert [count(n, "chat") for n in (0, 1, 2)] == ["0 chats", "1 chat", "2 chats"]
