"""The HTTP API as a client sees it: who may, what comes back, and that no input ends in a 5xx."""

import json
import threading
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chat import transitions
from chat.execution import State
from chat.models import ApiToken, Chat, ChatMessage, QueuedMessage
from chat.transitions import NewMessage
from chat.update import chat_update
from tests.api_client import CHATS, HELLO, Api, api_of
from tests.factories import chat_in, photograph

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("published")]


@pytest.fixture
def api(user: Any) -> Api:
    return api_of(user)


@pytest.fixture
def chat_id(user: Any) -> str:
    return str(transitions.create_chat(owner=user, parts=[HELLO]).pk)


# --- chats -----------------------------------------------------------------------------------------------------------


def test_a_chat_begins_with_its_first_message_and_runs_at_once(api: Api, published: list[Any]) -> None:
    status, chat = api.post(CHATS, {"message": {"text": "hello"}, "title": "T", "labels": ["a"], "system": "Be kind."})
    assert status == 201
    assert (chat["status"], chat["state"], chat["title"], chat["labels"]) == ("running", "R0", "T", ["a"])
    assert (chat["model"], chat["archived"], chat["pinned"], chat["last_error"]) == ("demo:demo", False, False, None)
    assert chat["created_at"].endswith("Z")
    row = Chat.objects.get(pk=chat["id"])
    assert (row.system, str(row.owner)) == ("Be kind.", "ann")
    again = api.get(f"{CHATS}/{chat['id']}")
    assert again == (200, chat | {"updated_at": again[1]["updated_at"]})


def test_a_chat_without_a_title_is_named_by_its_message(api: Api) -> None:
    assert api.post(CHATS, {"message": {"text": "hello"}})[1]["title"] == "hello"


def test_the_history_and_the_queue_are_listed_oldest_first(api: Api, chat_id: str) -> None:
    status, sent = api.post(f"{CHATS}/{chat_id}/messages", {"text": "and?"})
    assert status == 202
    assert sent["queued_message"]["parts"] == [{"type": "text", "text": "and?"}]
    status, listed = api.get(f"{CHATS}/{chat_id}/messages")
    assert status == 200
    assert [message["parts"] for message in listed["items"]] == [[HELLO]]
    assert [queued["id"] for queued in listed["queue"]] == [sent["queued_message"]["id"]]


def test_messages_are_paged_and_those_for_the_model_alone_are_not_shown(api: Api, user: Any) -> None:
    history = tuple(("user" if n % 2 == 0 else "assistant", [{"type": "text", "text": str(n)}]) for n in range(6))
    chat_id = chat_in(State.W, user, history=history)
    ChatMessage.objects.filter(chat_id=chat_id).first()
    path = f"{CHATS}/{chat_id}/messages"
    everything = api.get(path)[1]["items"]
    assert [message["parts"][0]["text"] for message in everything] == list("012345")
    assert api.get(f"{path}?limit=2")[1]["items"] == everything[:2]
    assert api.get(f"{path}?after_id={everything[3]['id']}")[1]["items"] == everything[4:]
    assert api.get(f"{path}?after_id={everything[5]['id']}")[1]["items"] == []


def test_what_only_the_provider_needs_is_not_shown(api: Api, user: Any) -> None:
    part = {"type": "text", "text": "hi", "meta": {"signature": "secret"}}
    chat_id = chat_in(State.W, user, history=(("assistant", [part]),))
    assert api.get(f"{CHATS}/{chat_id}/messages")[1]["items"][0]["parts"] == [{"type": "text", "text": "hi"}]


def test_a_message_to_an_idle_chat_is_answered_with_the_message(api: Api, user: Any) -> None:
    chat_id = chat_in(State.W, user)
    status, sent = api.post(f"{CHATS}/{chat_id}/messages", {"parts": [HELLO]})
    assert (status, sent["message"]["role"], sent["message"]["parts"]) == (201, "user", [HELLO])
    assert api.get(f"{CHATS}/{chat_id}")[1]["state"] == "R0"


def test_a_message_may_interrupt(api: Api, chat_id: str) -> None:
    status, _ = api.post(f"{CHATS}/{chat_id}/messages", {"text": "stop that", "busy_behavior": "interrupt"})
    assert (status, api.get(f"{CHATS}/{chat_id}")[1]["state"]) == (202, "I1")


def test_a_chat_tells_its_usage_and_the_calls_that_wait_for_the_client(api: Api, user: Any) -> None:
    chat_id = chat_in(State.A0, user)
    chat = api.get(f"{CHATS}/{chat_id}")[1]
    assert chat["requires_action"]["deadline_at"] == "2026-01-02T03:04:05Z"
    assert chat["requires_action"]["calls"] == [{"tool_call_id": "c1", "tool_name": "ask", "args": {}}]
    chat_id = chat_in(State.R0, user, history=(("user", [HELLO]),))
    step = NewMessage("assistant", [HELLO], usage={"input_tokens": 3, "output_tokens": 4})
    for _ in range(2):
        with chat_update(chat_id) as update:
            transitions.commit_step(update, [step])
    assert api.get(f"{CHATS}/{chat_id}")[1]["usage"] == {"input_tokens": 6, "output_tokens": 8}


# --- refusals --------------------------------------------------------------------------------------------------------


def test_what_the_state_does_not_allow_is_a_conflict_that_changes_nothing(api: Api, user: Any) -> None:
    chat_id = chat_in(State.W, user)
    before = photograph()
    status, problem = api.post(f"{CHATS}/{chat_id}/interrupt")
    assert (status, problem["code"]) == (409, "transition_not_allowed")
    assert (problem["state"], problem["transition"]) == ("W", "interrupt")
    assert photograph() == before


def test_a_full_queue_is_a_conflict(api: Api, user: Any, settings: Any) -> None:
    settings.CHATD_QUEUE_LIMIT = 1
    chat_id = chat_in(State.R1, user)
    status, problem = api.post(f"{CHATS}/{chat_id}/messages", {"text": "more"})
    assert (status, problem["code"], problem["limit"]) == (409, "queue_full", 1)
    assert QueuedMessage.objects.count() == 1


ENDPOINTS: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("GET", "/messages", None),
    ("POST", "/messages", {"text": "hello"}),
    ("GET", "/stream", None),
    ("PATCH", "", {"title": "mine"}),
    ("DELETE", "", None),
    ("PATCH", "/messages/1", {"text": "hello"}),
    ("PATCH", "/queue/1", {"position": 1}),
    ("DELETE", "/queue/1", None),
    ("POST", "/queue/1/promote", None),
    ("POST", "/interrupt", None),
    ("POST", "/tool-results", {"results": []}),
    ("POST", "/reconcile-invalid", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS, ids=lambda value: str(value)[:20])
def test_another_users_chat_does_not_exist(other_user: Any, chat_id: str, method: str, path: str, body: Any) -> None:
    before = photograph()
    mine, none = f"{CHATS}/{chat_id}{path}", f"{CHATS}/{uuid4()}{path}"
    (status, foreign), (_, missing) = (api_of(other_user).send(method, where, body) for where in (mine, none))
    assert (status, foreign["code"]) == (404, "not_found")
    assert foreign | {"instance": ""} == missing | {"instance": ""}
    assert photograph() == before


@pytest.mark.parametrize("bad_id", ["1", "none", "%00", "%F0%9F%98%80", "{}", "-" * 36, "0" * 5000])
@pytest.mark.parametrize(("method", "path", "body"), ENDPOINTS, ids=lambda value: str(value)[:20])
def test_what_is_no_id_is_not_found(api: Api, method: str, path: str, body: Any, bad_id: str) -> None:
    answer = api._client.generic(
        method,
        f"{CHATS}/{bad_id}{path}",
        "" if body is None else json.dumps(body),
        content_type="application/json",
        headers=api._headers,
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/chats/1/2/3", "/api/v1/chats/", "/api/v1/%00"])
def test_a_path_that_leads_nowhere_is_a_problem_as_well(api: Api, path: str) -> None:
    status, problem = api.get(path)
    assert (status, problem["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", CHATS, "POST, GET"),
        ("POST", f"{CHATS}/1", "GET, PATCH, DELETE"),
        ("GET", f"{CHATS}/1/messages/1", "PATCH"),
        ("DELETE", f"{CHATS}/1/stream", "GET"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_a_problem_as_well(
    api: Api, method: str, path: str, allowed: str
) -> None:
    status, problem = api.send(method, path, {})
    assert (status, problem["code"], problem["allowed"]) == (405, "method_not_allowed", allowed.split(", "))
    assert api._client.generic(method, path)["Allow"] == allowed


# --- who may ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer"}, {"Authorization": "Basic YTpi"}],
    ids=str,
)
@pytest.mark.parametrize(("method", "path"), [("GET", CHATS + "/x"), ("POST", CHATS)])
def test_who_is_not_known_is_told_so_first(model: str, headers: dict[str, str], method: str, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    assert Api(client, **headers).send(method, path, {"message": {"text": "hi"}})[1]["code"] == "unauthenticated"
    answer = client.generic(method, path, headers=headers)
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")


def test_the_token_of_an_inactive_user_is_worth_nothing(user: Any, api: Api, chat_id: str) -> None:
    user.is_active = False
    user.save()
    assert api.get(f"{CHATS}/{chat_id}")[0] == 401


@pytest.mark.parametrize("cookie", [r'"\000\000\000\000\000\000\000\000\000"', "unknownunknownunknown", "\xff;=;"])
def test_a_cookie_of_no_session_is_nobodys(chat_id: str, cookie: str) -> None:
    assert Api(Client(), Cookie=f"sessionid={cookie}").get(f"{CHATS}/{chat_id}")[0] == 401


def test_a_session_may_read_and_with_the_csrf_token_also_write(user: Any, chat_id: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert Api(client).get(f"{CHATS}/{chat_id}")[0] == 200
    status, problem = Api(client).post(f"{CHATS}/{chat_id}/interrupt")
    assert (status, problem["code"]) == (403, "forbidden")
    assert Chat.objects.get(pk=chat_id).status == "running"
    client.get("/admin/login/")  # sets the cookie
    token = client.cookies["csrftoken"].value
    assert Api(client, **{"X-CSRFToken": token}).post(f"{CHATS}/{chat_id}/interrupt")[0] == 200


def test_a_token_needs_no_csrf_token(user: Any, chat_id: str) -> None:
    token = ApiToken.issue(user)[1]
    strict = Api(Client(enforce_csrf_checks=True), Authorization=f"Bearer {token}")
    assert strict.post(f"{CHATS}/{chat_id}/interrupt")[0] == 200


# --- input that nobody should send -----------------------------------------------------------------------------------

BAD_TEXT = ["", " ", "\x00", "a\x00b", "\ud83d", "x\udc00", 1, None, True, [], {}, 1e999, "x" * 1_000_001]
BAD_BODIES: list[Any] = [
    None,
    [],
    7,
    "text",
    {},
    {"text": "a", "parts": [HELLO]},
    {"text": "a", "unknown": 1},
    {"text": "a", "busy_behavior": "explode"},
    {"text": "a", "model": "no:such"},
    {"text": "a", "model": "\x00"},
    {"text": "a", "model": "\ud83d"},
    {"text": "a", "model": "m" * 201},
    {"text": "a", "model": 10**30},
    {"parts": []},
    {"parts": "abc"},
    {"parts": [7]},
    {"parts": [{"type": "text", "text": 10**400}]},
    {"parts": [{"type": "nothing"}]},
    {"parts": [{"type": "file", "file_id": "\x00"}]},
    {"parts": [{"type": "file", "file_id": "f", "name": "\ud83d"}]},
    {"parts": [{"type": "tool_result", "tool_call_id": "1"}]},
    {"parts": [HELLO] * 101},
    *({"text": bad} for bad in BAD_TEXT),
    *({"parts": [{"type": "text", "text": bad}]} for bad in BAD_TEXT),
]


def test_a_body_that_is_not_understood_is_refused_with_a_reason_and_changes_nothing(api: Api, chat_id: str) -> None:
    before = photograph()
    for body in BAD_BODIES:
        for path, wrapped in ((f"{CHATS}/{chat_id}/messages", body), (CHATS, {"message": body})):
            status, problem = api.post(path, wrapped)
            assert (status, problem["code"]) == (422, "invalid"), ascii(body)[:80]
    assert photograph() == before


def test_a_field_that_is_wrong_is_named(api: Api, chat_id: str) -> None:
    _, problem = api.post(f"{CHATS}/{chat_id}/messages", {"text": "a", "busy_behavior": "explode"})
    assert [field["field"] for field in problem["fields"]] == ["body.busy_behavior"]


@pytest.mark.parametrize(
    "field",
    [
        {"title": "t" * 201},
        {"title": "\x00"},
        {"title": "\ud83d"},
        {"title": 5},
        {"labels": "abc"},
        {"labels": ["\x00"]},
        {"labels": ["l"] * 21},
        {"system": "\x00"},
        {"system": "\ud83d"},
        {"system": "s" * 100_001},
        {"model": "no:such"},
        {"owner": 1},
    ],
    ids=lambda field: ascii(field)[:30],
)
def test_a_chat_with_a_wrong_field_is_refused(api: Api, field: dict[str, Any]) -> None:
    status, problem = api.post(CHATS, {"message": {"text": "hi"}} | field)
    assert (status, problem["code"]) == (422, "invalid")
    assert not Chat.objects.exists()


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff\xfe", b'{"text": "\xed\xa0\x80"}', b"[" * 100_000, b'{"text": ' + b"9" * 5000 + b"}", b"NaN"],
    ids=lambda raw: repr(raw[:12]),
)
def test_what_is_not_json_is_refused(api: Api, chat_id: str, raw: bytes) -> None:
    for path in (f"{CHATS}/{chat_id}/messages", CHATS):
        assert api.post(path, raw=raw)[1]["code"] == "invalid"


@pytest.mark.parametrize(
    "query",
    ["after_id=-1", f"after_id={2**63}", "after_id=x", "after_id=" + "9" * 5000, "limit=0", "limit=1001", "limit=%00"],
    ids=lambda query: query[:30],
)
def test_a_query_out_of_range_is_refused(api: Api, chat_id: str, query: str) -> None:
    assert api.get(f"{CHATS}/{chat_id}/messages?{query}")[1]["code"] == "invalid"


FIELDS = [
    "text", "parts", "type", "message", "busy_behavior", "model", "file_id", "title", "archived", "pinned", "labels",
    "position", "results", "tool_call_id", "output", "is_error", "options", "temperature", "seed",
]  # fmt: skip
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(), max_size=5),
        st.sampled_from(["text", "file", "queue", "\x00", "\ud83d"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(FIELDS), inner),
    ),
    max_leaves=8,
)


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(body=json_values)
def test_no_body_is_too_strange(api: Api, user: Any, chat_id: str, body: Any) -> None:
    assert api.post(f"{CHATS}/{chat_id}/messages", body)[0] in (202, 409, 422)
    assert api.post(CHATS, body)[0] in (201, 422)
    waiting = chat_in(State.A1, user)
    said, queued = ChatMessage.objects.filter(chat=waiting).first(), QueuedMessage.objects.get(chat=waiting)
    assert said is not None
    assert api.patch(f"{CHATS}/{waiting}", body)[0] in (200, 409, 422)
    assert api.patch(f"{CHATS}/{waiting}/queue/{queued.pk}", body)[0] in (200, 422)
    assert api.post(f"{CHATS}/{waiting}/tool-results", body)[0] == 422
    assert api.patch(f"{CHATS}/{waiting}/messages/{said.pk}", body)[0] in (200, 422)


# --- what describes and what watches ---------------------------------------------------------------------------------


def test_openapi_lists_every_endpoint_with_what_it_answers() -> None:
    answer = Client().get("/api/v1/openapi.json")
    paths = answer.json()["paths"]
    assert answer.status_code == 200
    operations = {(method.upper(), path): one for path, methods in paths.items() for method, one in methods.items()}
    numbered = {"/messages/1": "/messages/{message_id}", "/queue/1": "/queue/{queued_id}"}
    expected = {("POST", CHATS), ("GET", CHATS)}
    for method, path, _ in ENDPOINTS:
        for number, name in numbered.items():
            path = path.replace(number, name)
        expected.add((method, CHATS + "/{chat_id}" + path))
    assert set(operations) == expected
    for (method, path), one in operations.items():
        assert one["summary"]
        assert {"401", "404", "409", "422", "503"} <= one["responses"].keys(), (method, path)
        for status, said in one["responses"].items():
            assert status == "204" or path.endswith("/stream") or said["content"]["application/json"]["schema"]
    assert Client().get("/api/v1/docs").status_code == 200


def test_openapi_says_what_results_and_options_look_like() -> None:
    shapes = Client().get("/api/v1/openapi.json").json()["components"]["schemas"]
    assert shapes["ToolResult"]["properties"].keys() == {"tool_call_id", "output", "is_error"}
    assert shapes["GenerationOptions"]["properties"].keys() >= {"temperature", "top_p", "max_tokens", "seed"}


def test_a_stream_without_the_asgi_server_says_what_is_missing(api: Api, chat_id: str) -> None:
    answer = api._client.get(f"{CHATS}/{chat_id}/stream", headers=api._headers)
    assert b"ASGI" in answer.content


def test_a_living_process_is_healthy() -> None:
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_process_with_its_database_its_redis_and_all_migrations_is_ready() -> None:
    answer = Client().get("/readyz")
    assert answer.json() == {"status": "ok", "checks": {"database": "ok", "redis": "ok", "migrations": "ok"}}
    assert answer.status_code == 200


def test_without_redis_a_process_is_not_ready(settings: Any) -> None:
    settings.CHATD_REDIS_URL = "redis://127.0.0.1:9/0"
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": "ok", "redis": "failed: ConnectionError", "migrations": "ok"}


@pytest.mark.django_db(transaction=True)
def test_without_its_database_a_process_is_alive_but_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    with monkeypatch.context() as patched:
        patched.setitem(connection.settings_dict, "HOST", "/nowhere")
        ready, alive = Client().get("/readyz"), Client().get("/healthz")
    connection.close()
    assert alive.status_code == 200
    assert ready.status_code == 503
    assert ready.json()["checks"]["database"] == "failed: OperationalError"


@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_holds_for_too_long_is_no_server_error(api: Api, user: Any, published: Any) -> None:
    chat_id = transitions.create_chat(owner=user, parts=[{"type": "text", "text": "Hello"}]).pk
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Chat.objects.select_for_update().get(pk=chat_id)
            held.set()
            let_go.wait(10)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(10)
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'")
        api.database_is_away = True
        answer = api.post(f"/api/v1/chats/{chat_id}/messages", {"text": "more"})
    finally:
        let_go.set()
        holder.join()
        connection.close()
    status, problem = answer
    assert (status, problem["code"]) == (503, "unavailable")


@pytest.mark.django_db(transaction=True)
def test_without_its_database_a_request_is_told_to_come_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    with monkeypatch.context() as patched:
        patched.setitem(connection.settings_dict, "HOST", "/nowhere")
        api.database_is_away = True
        answer = api.get("/api/v1/chats/1")
    connection.close()
    status, problem = answer
    assert (status, problem["code"]) == (503, "unavailable")
