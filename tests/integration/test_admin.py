"""The admin: everything can be looked at, chats cannot be changed, secrets do not come out."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from chat import transitions
from chat.admin.catalogue import KEY_STAYS_BEHIND
from chat.catalogue import register_model
from chat.execution import State
from chat.models import ApiToken, Chat, ChatModel, ModelProvider, RunnerLease
from chat.models.token import digest
from chat.update import chat_read, chat_update

WINDOWS = ["chat", "chatmessage", "queuedmessage", "runnerlease"]
ALL = [*WINDOWS, "modelprovider", "chatmodel", "apitoken"]
KEY = "sk-very-secret-key"


@pytest.fixture
def chat(user: Any, published: Any) -> Chat:
    """Running, owned, with a queued message."""
    chat = transitions.create_chat(owner=user, parts=[{"type": "text", "text": "Hello <b>you</b>"}])
    with chat_update(chat.pk) as update:
        transitions.acquire(update, worker_id=chat.pk, runner_id=chat.pk)
        transitions.send_message(update, parts=[{"type": "text", "text": "and then?"}], author=user)
    chat.refresh_from_db()
    return chat


@pytest.fixture
def rows(chat: Chat, user: Any) -> dict[str, Any]:
    """One row of each kind, by its model's name."""
    register_model("openai:gpt-5", api_key=KEY)
    return {
        "chat": chat,
        "chatmessage": chat.messages.get(),
        "queuedmessage": chat.queue.get(),
        "runnerlease": RunnerLease.objects.get(),
        "modelprovider": ModelProvider.objects.get(name="openai"),
        "chatmodel": ChatModel.objects.get(name="gpt-5"),
        "apitoken": ApiToken.issue(user, "a script")[0],
    }


def list_of(name: str) -> str:
    return reverse(f"admin:chat_{name}_changelist")


def detail_of(name: str, row: Any, page: str = "change") -> str:
    return reverse(f"admin:chat_{name}_{page}", args=[row.pk])


@pytest.mark.parametrize("name", ALL)
def test_a_superuser_sees_every_list_and_detail(superuser: Client, rows: dict[str, Any], name: str) -> None:
    assert superuser.get(list_of(name)).status_code == 200
    assert superuser.get(list_of(name), {"q": "a"}).status_code == 200
    page = superuser.get(detail_of(name, rows[name]))
    assert page.status_code == 200
    assert "Chatd" in page.content.decode()


def test_a_chat_shows_its_state_in_words_and_the_age_of_its_lease(superuser: Client, rows: dict[str, Any]) -> None:
    page = superuser.get(list_of("chat")).content.decode()
    assert "R1: running, with a queue" in page
    assert "0 s" in page


def test_a_chat_is_found_by_its_id(superuser: Client, rows: dict[str, Any], user: Any) -> None:
    other = transitions.create_chat(owner=user, parts=[{"type": "text", "text": "other"}])
    page = superuser.get(list_of("chat"), {"q": str(other.pk)}).content.decode()
    assert str(other.pk) in page
    assert str(rows["chat"].pk) not in page


def test_what_a_message_says_is_text_not_markup(superuser: Client, rows: dict[str, Any]) -> None:
    for page in (list_of("chatmessage"), detail_of("chatmessage", rows["chatmessage"])):
        assert "Hello &lt;b&gt;you" in superuser.get(page).content.decode()


@pytest.mark.parametrize("name", WINDOWS)
def test_nobody_adds_changes_or_deletes_what_transitions_own(
    superuser: Client, rows: dict[str, Any], name: str
) -> None:
    row = rows[name]
    before = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    assert superuser.get(reverse(f"admin:chat_{name}_add")).status_code == 403
    assert superuser.post(reverse(f"admin:chat_{name}_add"), {"title": "x"}).status_code == 403
    assert superuser.post(detail_of(name, row), {"title": "x"}).status_code == 403
    assert superuser.post(detail_of(name, row, "delete"), {"post": "yes"}).status_code == 403
    assert "delete_selected" not in superuser.get(list_of(name)).content.decode()
    row.refresh_from_db()
    assert {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields} == before


@pytest.mark.parametrize("name", ALL)
def test_staff_without_rights_see_nothing(staff: Client, rows: dict[str, Any], name: str) -> None:
    assert staff.get(list_of(name)).status_code == 403
    assert staff.get(detail_of(name, rows[name])).status_code == 403


@pytest.mark.parametrize("name", ALL)
def test_a_list_costs_the_same_queries_for_one_row_and_for_many(
    superuser: Client, rows: dict[str, Any], user: Any, name: str, django_assert_max_num_queries: Any
) -> None:
    for number in range(5):
        chat = transitions.create_chat(owner=user, parts=[{"type": "text", "text": f"more {number}"}])
        with chat_update(chat.pk) as update:
            transitions.acquire(update, worker_id=chat.pk, runner_id=chat.pk)
            transitions.send_message(update, parts=[{"type": "text", "text": "queued"}], author=user)
        ApiToken.issue(user, "more")
        register_model(f"provider-{number}:model")
    with django_assert_max_num_queries(7):
        superuser.get(list_of(name))


def test_interrupting_is_the_transition_with_its_refusals(superuser: Client, chat: Chat, user: Any) -> None:
    idle = transitions.create_chat(owner=user, parts=[{"type": "text", "text": "idle"}])
    with chat_update(idle.pk) as update:
        transitions.finish_turn(update)
    page = superuser.post(
        list_of("chat"), {"action": "interrupt", "_selected_action": [chat.pk, idle.pk]}, follow=True
    ).content.decode()
    assert chat_read(chat.pk).state is State.I1
    assert chat_read(idle.pk).state is State.W
    assert "1 chat interrupted." in page
    assert f"1 chat refused: A chat in state W (waiting) cannot be interrupted. ({idle.pk})" in page


def test_who_may_only_look_cannot_interrupt(
    staff: Client, chat: Chat, django_user_model: Any, published: list[Any]
) -> None:
    clerk = django_user_model.objects.get(username="clerk")
    clerk.user_permissions.add(Permission.objects.get(codename="view_chat"))
    assert 'name="action"' not in staff.get(list_of("chat")).content.decode()
    staff.post(list_of("chat"), {"action": "interrupt", "_selected_action": [chat.pk]})
    assert chat_read(chat.pk).state is State.R1


@pytest.mark.parametrize("who", ["superuser", "viewer"])
def test_a_key_comes_out_for_nobody(request: pytest.FixtureRequest, rows: dict[str, Any], who: str) -> None:
    """To who may only look, Django shows a field's value instead of its input."""
    client, provider = request.getfixturevalue(who), rows["modelprovider"]
    pages = [detail_of("modelprovider", provider, page) for page in ("change", "history")]
    for page in (list_of("modelprovider"), list_of("chatmodel"), *pages):
        answer = client.get(page)
        assert answer.status_code == 200
        html = answer.content.decode()
        assert KEY not in html
        assert provider.encrypted_key not in html


def test_a_provider_s_page_says_whether_it_has_a_key(superuser: Client, viewer: Client, rows: dict[str, Any]) -> None:
    page = detail_of("modelprovider", rows["modelprovider"])
    for client in (superuser, viewer):
        assert "Has a key" in client.get(page).content.decode()
    assert "remove_key" in superuser.get(page).content.decode()
    assert "remove_key" not in superuser.get(reverse("admin:chat_modelprovider_add")).content.decode()


def test_a_key_goes_in_stays_is_replaced_and_is_removed(superuser: Client, rows: dict[str, Any]) -> None:
    provider = rows["modelprovider"]
    form = {"name": "openai", "kind": "openai", "base_url": "", "enabled": "on"}
    superuser.post(detail_of("modelprovider", provider), form)
    assert ModelProvider.objects.get(pk=provider.pk).api_key == KEY
    superuser.post(detail_of("modelprovider", provider), {**form, "api_key": "another"})
    assert ModelProvider.objects.get(pk=provider.pk).api_key == "another"
    superuser.post(detail_of("modelprovider", provider), {**form, "remove_key": "on"})
    assert ModelProvider.objects.get(pk=provider.pk).api_key == ""


@pytest.mark.parametrize(
    "moved", [{"base_url": "https://elsewhere.example/v1"}, {"kind": "anthropic"}, {"base_url": " "}]
)
def test_a_stored_key_is_sent_nowhere_else(superuser: Client, rows: dict[str, Any], moved: dict[str, str]) -> None:
    provider = rows["modelprovider"]
    ModelProvider.objects.filter(pk=provider.pk).update(base_url="https://here.example/v1")
    here = {"name": "openai", "kind": "openai", "base_url": "https://here.example/v1", "enabled": "on"}
    before = ModelProvider.objects.values().get(pk=provider.pk)
    answer = superuser.post(detail_of("modelprovider", provider), {**here, **moved})
    assert KEY_STAYS_BEHIND in answer.content.decode()
    assert ModelProvider.objects.values().get(pk=provider.pk) == before
    superuser.post(detail_of("modelprovider", provider), {**here, **moved, "api_key": "for the new place"})
    assert ModelProvider.objects.get(pk=provider.pk).api_key == "for the new place"
    superuser.post(detail_of("modelprovider", provider), {**here, "remove_key": "on"})
    there = ModelProvider.objects.get(pk=provider.pk)
    assert (there.api_key, there.kind, there.base_url) == ("", "openai", here["base_url"])
    superuser.post(detail_of("modelprovider", provider), {**here, **moved})
    moved_to = ModelProvider.objects.values(*moved).get(pk=provider.pk)
    assert moved_to == {name: value.strip() for name, value in moved.items()}, "without a key there is nothing to keep"


def test_a_provider_is_added_with_its_key(superuser: Client) -> None:
    form = {"name": "mistral", "kind": "openai", "base_url": "https://example.org", "enabled": "on", "api_key": KEY}
    superuser.post(reverse("admin:chat_modelprovider_add"), form)
    assert ModelProvider.objects.get(name="mistral").api_key == KEY


def test_who_deletes_a_token_is_back_at_the_tokens(superuser: Client, rows: dict[str, Any]) -> None:
    answer = superuser.post(detail_of("apitoken", rows["apitoken"], "delete"), {"post": "yes"})
    assert (answer.status_code, answer.url) == (302, list_of("apitoken"))
    assert not ApiToken.objects.exists()


def test_one_model_is_made_the_default(superuser: Client, rows: dict[str, Any]) -> None:
    superuser.post(list_of("chatmodel"), {"action": "make_default", "_selected_action": [rows["chatmodel"].pk]})
    assert [model.full_name for model in ChatModel.objects.filter(is_default=True)] == ["openai:gpt-5"]


def test_a_token_is_shown_once_and_can_be_deleted(superuser: Client, user: Any) -> None:
    answer = superuser.post(reverse("admin:chat_apitoken_add"), {"user": user.pk, "name": "a script"}, follow=True)
    row = ApiToken.objects.get()
    token = next(word for word in answer.content.decode().replace("<", " ").split() if word.startswith("chatd_"))
    assert (row.user, row.name, row.digest) == (user, "a script", digest(token))
    assert token not in superuser.get(list_of("apitoken")).content.decode()
    assert superuser.post(detail_of("apitoken", row), {"name": "x"}).status_code == 403
    superuser.post(detail_of("apitoken", row, "delete"), {"post": "yes"})
    assert not ApiToken.objects.exists()
