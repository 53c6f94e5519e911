"""`manage.py seed_chats`: what it makes is what the door would have made, the same for the same seed."""

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from chat import transitions
from chat.content import outstanding_calls
from chat.execution import State
from chat.management.commands import seed_chats
from chat.models import Chat, ChatMessage, ChatModel, QueuedMessage
from chat.rows.clock import database_now
from chat.rows.invalid import invalid_chats
from chat.seeding import database
from chat.seeding.database import owners_of, seed
from chat.seeding.wish import Wish
from chat.update import chat_read, chat_update
from tests.surroundings import Screen

pytestmark = pytest.mark.django_db(transaction=True)


def seeded(*arguments: str) -> str:
    screen = Screen()
    call_command("seed_chats", *arguments, stdout=screen, stderr=Screen())
    return screen.text


def photograph() -> list[Any]:
    """What was made, but for times and serial numbers."""
    with connection.cursor() as cursor:
        cursor.execute("""SELECT chat.id::text, title, status, archived, pin_order, labels::text, root_id::text,
            (SELECT string_agg(role || parts::text, ' ' ORDER BY id) FROM chat_chatmessage WHERE chat_id = chat.id)
            FROM chat_chat chat ORDER BY id""")
        return list(cursor.fetchall())


def delete_all() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM chat_chat")


def test_there_are_as_many_as_were_asked_for() -> None:
    said = json.loads(seeded("--chats", "700", "--messages", "5000", "--owners", "9", "--json"))
    assert (said["chats"], said["messages"], said["owners"]) == (700, 5000, 9)
    assert (Chat.objects.count(), ChatMessage.objects.count()) == (700, 5000)
    assert get_user_model().objects.filter(chats__isnull=False).distinct().count() <= 9


def test_every_chat_is_in_a_state_that_the_machine_knows_with_versions_that_agree() -> None:
    seeded("--chats", "3000", "--messages", "12000")
    assert list(invalid_chats()) == []
    for chat in Chat.objects.all():
        assert chat.history_version <= chat.snapshot_version
        assert chat.created_at <= chat.updated_at
    with connection.cursor() as cursor:
        cursor.execute("""SELECT count(*) FROM chat_chatmessage message JOIN chat_chat chat ON chat.id = chat_id
            WHERE revision > history_version OR message.created_at > chat.updated_at + interval '1 second'""")
        assert cursor.fetchone()[0] == 0
        cursor.execute("""SELECT count(*) FROM chat_chat WHERE (waiting_since IS NOT NULL)
            <> (runner_id IS NULL AND NOT archived AND status IN ('running', 'interrupting'))""")
        assert cursor.fetchone()[0] == 0


def test_every_history_is_well_formed_and_only_a_client_is_waited_for() -> None:
    seeded("--chats", "4000", "--messages", "20000")
    waiting = 0
    for chat in Chat.objects.prefetch_related("messages"):
        rows = sorted(chat.messages.all(), key=lambda row: row.pk)
        assert rows[0].role == "user"
        calls = outstanding_calls([(row.role, row.parts) for row in rows])
        assert bool(calls) == (chat.status == "requires_action")
        waiting += bool(calls)
    assert waiting


def test_all_that_happens_to_chats_is_there() -> None:
    seeded("--chats", "4000", "--messages", "20000")
    states = {chat_read(chat_id).state for chat_id in Chat.objects.values_list("pk", flat=True)}
    assert states >= {State.W, State.E0, State.XW, State.XE0, State.R0, State.R1, State.A0}
    assert Chat.objects.filter(root__isnull=False).exists()
    assert Chat.objects.filter(pin_order__gt=0).exists()
    assert QueuedMessage.objects.exists()
    archived_apart = (
        "SELECT count(*) FROM chat_chat c JOIN chat_chat r ON r.id = c.root_id WHERE c.archived <> r.archived"
    )
    with connection.cursor() as cursor:
        cursor.execute(archived_apart)
        assert cursor.fetchone()[0] == 0, "a family is archived as one"


def test_a_chat_goes_on_from_what_was_made(user: Any, published: list[Any]) -> None:
    seeded("--chats", "50", "--at-rest")
    chat_id = Chat.objects.filter(status="waiting", archived=False).values_list("pk", flat=True)[0]
    with chat_update(chat_id) as update:
        transitions.send_message(update, parts=[{"type": "text", "text": "and then?"}], author=user)
    assert chat_read(chat_id).state is State.R0


def test_the_same_seed_makes_the_same_chats_and_another_one_others() -> None:
    seeded("--chats", "200", "--seed", "3")
    first = photograph()
    delete_all()
    seeded("--chats", "200", "--seed", "3")
    assert photograph() == first
    delete_all()
    seeded("--chats", "200", "--seed", "4")
    assert photograph() != first


def test_a_seed_that_is_there_already_is_refused_and_changes_nothing() -> None:
    seeded("--chats", "100")
    before = photograph()
    with pytest.raises(CommandError, match="--seed 0 has been made here already"):
        seeded("--chats", "200")
    assert photograph() == before
    seeded("--chats", "100", "--seed", "1")
    assert Chat.objects.count() == 200


@pytest.mark.parametrize("rebuilds", [True, False], ids=["indexes made anew", "indexes kept"])
def test_who_is_interrupted_leaves_nothing(rebuilds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WORTH_REBUILDING", 0 if rebuilds else 10**9)
    monkeypatch.setattr(database, "BLOCK", 100)
    before = indexes()

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    wish = Wish(300, 1000, database_now())
    owners = owners_of(wish, 2)
    with pytest.raises(KeyboardInterrupt):
        seed(wish, owners, interrupt)
    assert Chat.objects.count() == 0
    assert indexes() == before


def interrupted(monkeypatch: pytest.MonkeyPatch, name: str) -> str:
    """What is said where Ctrl-C comes when the command does this."""

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(seed_chats, name, interrupt)
    screen = Screen()
    with pytest.raises(SystemExit, match="130"):
        call_command("seed_chats", "--chats", "50", stdout=Screen(), stderr=screen)
    return screen.text


def test_who_interrupts_the_command_leaves_no_owner_either(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Nothing was made" in interrupted(monkeypatch, "seed")
    assert not get_user_model().objects.exists()
    assert not ChatModel.objects.exists()


def test_who_interrupts_the_statistics_is_told_that_the_chats_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "All chats were made" in interrupted(monkeypatch, "settle")
    assert Chat.objects.count() == 50


def test_a_block_has_as_many_messages_as_fit_into_memory_and_no_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BLOCK", 100)
    seen: list[tuple[int, str]] = []

    def look(chats: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            seen.append((ChatMessage.objects.count(), cursor.fetchone()[0]))

    wish = Wish(200, 2000, database_now())
    seed(wish, owners_of(wish, 2), look)
    before, longest = 0, max(Chat.objects.values_list("history_version", flat=True))
    for messages, limit in seen:
        assert messages - before <= max(100, longest)
        assert limit == "0"
        before = messages
    assert before == 2000


def indexes() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT split_part(indexdef, ' WHERE ', 1) FROM pg_indexes WHERE tablename LIKE 'chat_%'")
        return {row[0] for row in cursor.fetchall()}


def test_indexes_and_triggers_are_all_there_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WORTH_REBUILDING", 0)
    before = indexes()
    seeded("--chats", "100")
    assert indexes() == before
    chat = Chat.objects.filter(archived=False, status="waiting")[0]
    Chat.objects.filter(pk=chat.pk).update(title="new")
    assert Chat.objects.get(pk=chat.pk).updated_at > chat.updated_at, "the trigger is awake"


def test_a_role_that_may_not_switch_triggers_off_makes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded("--chats", "200")
    before = photograph()
    delete_all()
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE seeder; GRANT ALL ON ALL TABLES IN SCHEMA public TO seeder;"
                       " GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO seeder")  # fmt: skip
        try:
            cursor.execute("SET ROLE seeder")
            monkeypatch.setattr(database, "settle", lambda: None)
            wish = Wish(200, 2000, database_now())
            seed(wish, owners_of(wish, 2))
        finally:
            cursor.execute("RESET ROLE; DROP OWNED BY seeder; DROP ROLE seeder")
    assert photograph() == before


def test_all_may_belong_to_one_user(user: Any) -> None:
    seeded("--chats", "20", "--owner", "ann")
    assert Chat.objects.filter(owner=user).count() == 20
    with pytest.raises(CommandError, match="no user 'nobody'"):
        seeded("--chats", "20", "--owner", "nobody", "--seed", "2")


def test_a_dry_run_makes_nothing() -> None:
    assert seeded("--chats", "2000", "--dry-run") == "Would make 2,000 chats with 20,000 messages of 11 owners.\n"
    assert not Chat.objects.exists()
    assert not get_user_model().objects.filter(username__startswith="seed-").exists()


@pytest.mark.parametrize(
    "wrong",
    [["--chats", "0"], ["--chats", "9", "--messages", "8"], ["--days", "0"], ["--owners", "-5"], ["--owners", "0"]],
)
def test_what_cannot_be_made_is_refused(wrong: list[str]) -> None:
    with pytest.raises(CommandError, match="at least one"):
        seeded(*wrong)
    assert not Chat.objects.exists()
