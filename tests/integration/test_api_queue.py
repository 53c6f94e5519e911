"""What is said to a chat over HTTP: options, steering, editing, and the queue of what is still to be said."""

from typing import Any
from uuid import UUID

import pytest

from chat.execution import State
from chat.models import Chat, ChatMessage, QueuedMessage
from chat.update import chat_update
from tests.api_client import CHATS, Api, api_of
from tests.factories import ANSWERED, LIVE_STATES, SAID, SOME_DAY, chat_in, has_queue, history_of, photograph, queue_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("published")]
PLAIN = (SAID, ANSWERED)
STRANGE_IDS = ["0", "-1", "x", "1.0", "%00", "٣", "9" * 18, str(2**63), "9" * 5000, "1e3", "%20"]


@pytest.fixture
def api(user: Any) -> Api:
    return api_of(user)


def queued_ids(chat_id: UUID) -> list[int]:
    return list(QueuedMessage.objects.filter(chat_id=chat_id).order_by("position").values_list("id", flat=True))


def first_message(chat_id: UUID) -> ChatMessage:
    message = ChatMessage.objects.filter(chat_id=chat_id).order_by("id").first()
    assert message is not None
    return message


# --- options and steering --------------------------------------------------------------------------------------------

OPTIONS = {"temperature": 0.5, "top_p": 1, "max_tokens": 7, "seed": -3, "presence_penalty": -2, "frequency_penalty": 2}


def test_options_hold_for_the_turn_that_they_came_with(api: Api, user: Any) -> None:
    chat = api.post(CHATS, {"message": {"text": "hi"}, "options": OPTIONS})[1]
    assert Chat.objects.get(pk=chat["id"]).options == OPTIONS
    idle = chat_in(State.W, user)
    assert api.post(f"{CHATS}/{idle}/messages", {"text": "hi", "options": {"seed": 1, "top_p": None}})[0] == 201
    assert Chat.objects.get(pk=idle).options == {"seed": 1}
    assert api.post(f"{CHATS}/{idle}/messages", {"text": "hi", "options": {"seed": 2}})[0] == 202
    assert QueuedMessage.objects.get(chat_id=idle).options == {"seed": 2}
    edited = f"{CHATS}/{idle}/messages/{first_message(idle).pk}"
    assert api.patch(edited, {"text": "hi", "options": {"seed": 3}})[0] == 200
    assert Chat.objects.get(pk=idle).options == {"seed": 3}


@pytest.mark.parametrize(
    "options",
    [
        [],
        "hot",
        7,
        {"temperature": 2.1},
        {"temperature": "\x00"},
        {"temperature": 1e999},
        {"temperature": [[]]},
        {"top_p": -0.1},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"max_tokens": 10**400},
        {"seed": 2**31},
        {"presence_penalty": -3},
        {"frequency_penalty": 3},
        {"magic": 1},
    ],
    ids=lambda options: ascii(options)[:30],
)
def test_options_that_no_model_takes_are_refused(api: Api, user: Any, options: Any) -> None:
    chat_id = chat_in(State.W, user)
    before = photograph()
    for method, path, body in (
        ("POST", CHATS, {"message": {"text": "hi"}}),
        ("POST", f"{CHATS}/{chat_id}/messages", {"text": "hi"}),
        ("PATCH", f"{CHATS}/{chat_id}/messages/{first_message(chat_id).pk}", {"text": "hi"}),
    ):
        status, problem = api.send(method, path, body | {"options": options})
        assert (status, problem["code"]) == (422, "invalid")
        assert problem["fields"][0]["field"].startswith("body.options")
    assert photograph() == before


def test_a_message_may_steer_the_running_turn(api: Api, user: Any) -> None:
    chat_id = chat_in(State.R0, user)
    status, sent = api.post(f"{CHATS}/{chat_id}/messages", {"text": "also", "busy_behavior": "steer"})
    assert (status, sent["queued_message"]["steering"], sent["queued_message"]["position"]) == (202, True, 1)
    assert [queued["steering"] for queued in api.get(f"{CHATS}/{chat_id}/messages")[1]["queue"]] == [True]
    assert api.get(f"{CHATS}/{chat_id}")[1]["state"] == "R1"
    idle = chat_in(State.W, user)
    assert api.post(f"{CHATS}/{idle}/messages", {"text": "also", "busy_behavior": "steer"})[0] == 201


# --- editing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", LIVE_STATES)
def test_an_edit_puts_new_words_in_place_of_the_message_and_all_that_followed(
    api: Api, user: Any, state: State
) -> None:
    chat_id = chat_in(state, user)
    target, before = first_message(chat_id), photograph()
    status, answer = api.patch(f"{CHATS}/{chat_id}/messages/{target.pk}", {"text": "said otherwise"})
    if str(state).startswith("X") or state is State.INVALID:
        assert (status, answer["state"], photograph()) == (409, str(state), before)
        return
    assert status == 200
    assert answer["message"]["id"] != str(target.pk)
    assert answer["message"]["parts"] == [{"type": "text", "text": "said otherwise"}]
    assert api.get(f"{CHATS}/{chat_id}/messages")[1] == {"items": [answer["message"]], "queue": []}
    assert api.get(f"{CHATS}/{chat_id}")[1]["state"] == "R0"


def test_an_edit_may_change_parts_and_model_of_a_later_message(api: Api, user: Any) -> None:
    chat_id = chat_in(State.W, user, history=(*PLAIN, SAID, ANSWERED))
    third = api.get(f"{CHATS}/{chat_id}/messages")[1]["items"][2]["id"]
    body = {"parts": [{"type": "text", "text": "other"}], "model": "demo:demo"}
    assert api.patch(f"{CHATS}/{chat_id}/messages/{third}", body)[0] == 200
    assert history_of(chat_id) == [("user", "hello"), ("assistant", "good day"), ("user", "other")]


def test_only_a_users_message_can_be_edited(api: Api, user: Any) -> None:
    chat_id = chat_in(State.W, user, history=PLAIN)
    before, answer = photograph(), api.get(f"{CHATS}/{chat_id}/messages")[1]["items"][1]["id"]
    status, problem = api.patch(f"{CHATS}/{chat_id}/messages/{answer}", {"text": "no"})
    assert (status, problem["code"]) == (409, "not_a_user_message")
    assert photograph() == before


@pytest.mark.parametrize("strange", STRANGE_IDS, ids=lambda strange: strange[:10])
def test_a_message_that_there_is_not_cannot_be_edited(api: Api, user: Any, strange: str) -> None:
    chat_id = chat_in(State.W, user)
    before = photograph()
    assert api.patch(f"{CHATS}/{chat_id}/messages/{strange}", {"text": "x"})[1]["code"] == "not_found"
    assert photograph() == before


def test_a_message_of_another_chat_or_that_was_edited_away_is_not_found(api: Api, user: Any) -> None:
    chat_id, other = chat_in(State.W, user), chat_in(State.W, user)
    path = f"{CHATS}/{chat_id}/messages"
    assert api.patch(f"{path}/{first_message(other).pk}", {"text": "x"})[0] == 404
    gone = first_message(chat_id).pk
    api.patch(f"{path}/{gone}", {"text": "x"})
    assert api.patch(f"{path}/{gone}", {"text": "y"})[0] == 404


@pytest.mark.parametrize("body", [None, {}, {"text": ""}, {"text": "a", "parts": []}, {"text": "a", "model": "no:one"}])
def test_an_edit_that_says_nothing_is_refused(api: Api, user: Any, body: Any) -> None:
    chat_id = chat_in(State.W, user)
    before = photograph()
    assert api.patch(f"{CHATS}/{chat_id}/messages/{first_message(chat_id).pk}", body)[0] == 422
    assert photograph() == before


# --- the queue -------------------------------------------------------------------------------------------------------


def test_positions_count_from_the_head_whatever_the_rows_say(api: Api, user: Any) -> None:
    chat_id = chat_in(State.R1, user, queued=3)
    with chat_update(chat_id) as update:
        update.queue.remove(next(iter(update.queue)))
    assert [row["position"] for row in api.get(f"{CHATS}/{chat_id}/messages")[1]["queue"]] == [1, 2]
    assert api.post(f"{CHATS}/{chat_id}/messages", {"text": "new"})[1]["queued_message"]["position"] == 3


@pytest.mark.parametrize(
    ("move", "position", "order"),
    [(3, 1, [3, 1, 2, 4]), (1, 4, [2, 3, 4, 1]), (2, 3, [1, 3, 2, 4]), (4, 4, [1, 2, 3, 4])],
)
def test_a_queued_message_moves_to_a_position(api: Api, user: Any, move: int, position: int, order: list[int]) -> None:
    chat_id = chat_in(State.R1, user, queued=4)
    status, moved = api.patch(f"{CHATS}/{chat_id}/queue/{queued_ids(chat_id)[move - 1]}", {"position": position})
    assert (status, moved["queued_message"]["position"]) == (200, position)
    assert queue_of(chat_id) == [f"queued {number}" for number in order]


def test_a_queued_message_gets_other_words_another_place_or_both(api: Api, user: Any) -> None:
    chat_id = chat_in(State.A1, user, queued=2)
    first, second = queued_ids(chat_id)
    status, changed = api.patch(f"{CHATS}/{chat_id}/queue/{first}", {"text": "other"})
    assert (status, changed["queued_message"]["parts"]) == (200, [{"type": "text", "text": "other"}])
    assert queue_of(chat_id) == ["other", "queued 2"]
    parts = [{"type": "text", "text": "more"}]
    assert api.patch(f"{CHATS}/{chat_id}/queue/{second}", {"parts": parts, "position": 1})[0] == 200
    assert queue_of(chat_id) == ["more", "other"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"position": None},
        {"position": 0},
        {"position": 3},
        {"position": -1},
        {"position": 2**63},
        {"position": 10**400},
        {"position": 1.5},
        {"position": "1"},
        {"position": True},
        {"position": 1, "text": ""},
        {"position": 3, "text": "fine"},
        {"text": " "},
        {"text": "a", "parts": [{"type": "text", "text": "a"}]},
        {"parts": []},
        {"parts": [{"type": "text", "text": "\x00"}]},
        {"steering": True},
    ],
    ids=lambda body: ascii(body)[:30],
)
def test_a_change_of_the_queue_that_nobody_can_mean_is_refused(api: Api, user: Any, body: Any) -> None:
    chat_id = chat_in(State.R1, user, queued=2)
    before = photograph()
    status, problem = api.patch(f"{CHATS}/{chat_id}/queue/{queued_ids(chat_id)[0]}", body)
    assert (status, problem["code"]) == (422, "invalid")
    assert photograph() == before


def test_a_deleted_queued_message_is_never_said(api: Api, user: Any) -> None:
    chat_id = chat_in(State.E1, user, queued=2)
    first, second = queued_ids(chat_id)
    assert api.delete(f"{CHATS}/{chat_id}/queue/{first}") == (204, None)
    assert api.delete(f"{CHATS}/{chat_id}/queue/{first}")[0] == 404
    assert queue_of(chat_id) == ["queued 2"]
    assert api.delete(f"{CHATS}/{chat_id}/queue/{second}") == (204, None)
    assert api.get(f"{CHATS}/{chat_id}")[1]["state"] == "E0"


def test_a_busy_chat_stops_for_the_promoted_message(api: Api, user: Any) -> None:
    chat_id = chat_in(State.R1, user, queued=2)
    status, promoted = api.post(f"{CHATS}/{chat_id}/queue/{queued_ids(chat_id)[1]}/promote")
    assert (status, promoted["queued_message"]["position"]) == (200, 1)
    assert queue_of(chat_id) == ["queued 2", "queued 1"]
    assert api.get(f"{CHATS}/{chat_id}")[1]["state"] == "I1"


@pytest.mark.parametrize("state", [State.E1, State.A1])
def test_a_resting_chat_begins_with_the_promoted_message(api: Api, user: Any, state: State) -> None:
    chat_id = chat_in(state, user, queued=2)
    status, promoted = api.post(f"{CHATS}/{chat_id}/queue/{queued_ids(chat_id)[1]}/promote")
    assert (status, promoted["message"]["parts"][0]["text"]) == (200, "queued 2")
    assert history_of(chat_id)[-1] == ("user", "queued 2")
    assert api.get(f"{CHATS}/{chat_id}")[1]["state"] == "R1"


@pytest.mark.parametrize(
    ("method", "path", "body"), [("DELETE", "", None), ("PATCH", "", {"text": "x"}), ("POST", "/promote", None)]
)
class TestAQueuedMessageThatThereIsNot:
    @pytest.mark.parametrize("strange", STRANGE_IDS, ids=lambda strange: strange[:10])
    def test_is_not_found(self, api: Api, user: Any, method: str, path: str, body: Any, strange: str) -> None:
        chat_id = chat_in(State.R1, user)
        before = photograph()
        assert api.send(method, f"{CHATS}/{chat_id}/queue/{strange}{path}", body)[1]["code"] == "not_found"
        assert photograph() == before

    def test_is_not_found_in_another_chat(self, api: Api, user: Any, method: str, path: str, body: Any) -> None:
        chat_id, other = chat_in(State.R1, user), chat_in(State.R1, user)
        [queued] = queued_ids(other)
        before = photograph()
        assert api.send(method, f"{CHATS}/{chat_id}/queue/{queued}{path}", body)[0] == 404
        assert photograph() == before

    @pytest.mark.parametrize("state", [state for state in LIVE_STATES if not has_queue(state) or state is State.XE1])
    def test_is_a_conflict_where_the_state_has_no_queue_to_change(
        self, api: Api, user: Any, method: str, path: str, body: Any, state: State
    ) -> None:
        chat_id = chat_in(state, user)
        queued = (queued_ids(chat_id) or [1])[0]
        before = photograph()
        status, problem = api.send(method, f"{CHATS}/{chat_id}/queue/{queued}{path}", body)
        assert (status, problem["state"]) == (409, str(state))
        assert photograph() == before


def test_a_promoted_message_ends_the_wait_for_a_client(api: Api, user: Any) -> None:
    chat_id = chat_in(State.A1, user)
    assert Chat.objects.get(pk=chat_id).requires_action_deadline_at == SOME_DAY
    api.post(f"{CHATS}/{chat_id}/queue/{queued_ids(chat_id)[0]}/promote")
    chat = api.get(f"{CHATS}/{chat_id}")[1]
    assert (chat["state"], chat["requires_action"]) == ("R0", None)
