"""Retention in the admin: the policy that counts, and what the last runs did."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from chat.models import RetentionPolicy, TaskRun
from chat.retention.policy import current_policy
from chat.task_runs import exclusive_run, noted_tick

pytestmark = pytest.mark.django_db
POLICY, RUNS, TASKS = "/admin/chat/retentionpolicy/", "/admin/chat/taskrun/", "/admin/django_celery_beat/periodictask/"


def test_the_only_policy_is_its_own_list_and_says_what_is_in_effect(superuser: Client, settings: Any) -> None:
    settings.CHATD_AUTO_ARCHIVE_DAYS, settings.CHATD_RETENTION_DAYS, settings.CHATD_ARCHIVE_DIGEST = 90, 30, False
    page = superuser.get(POLICY, follow=True).content.decode()
    assert "archived after 90 days (nobody is told), archived ones deleted 30 days later" in page
    assert "DatabaseDefault" not in page
    assert "as the setting says" in page
    assert not RetentionPolicy.objects.exists(), "who only looks changes nothing"


def test_what_is_said_here_counts_more_than_the_settings(superuser: Client, settings: Any) -> None:
    settings.CHATD_RETENTION_DAYS = 30
    answer = superuser.post(f"{POLICY}1/change/", {"retention_days": "7", "archive_digest": "unknown"}, follow=True)
    assert answer.status_code == 200
    assert current_policy().retention_days == 7
    superuser.post(f"{POLICY}1/change/", {"retention_days": "", "archive_digest": "unknown"})
    assert (current_policy().retention_days, RetentionPolicy.objects.count()) == (30, 1)


def test_who_may_only_look_sees_the_policy_before_anybody_saved_one(viewer: Client, settings: Any) -> None:
    settings.CHATD_RETENTION_DAYS = 30
    assert "deleted 30 days later" in viewer.get(POLICY, follow=True).content.decode()
    assert viewer.post(f"{POLICY}1/change/", {"retention_days": "7"}).status_code == 403
    assert not RetentionPolicy.objects.exists()


def test_the_last_run_is_shown_with_what_it_did(superuser: Client) -> None:
    with exclusive_run("purge") as run:
        run.did = {"chats": 12}
        assert "running" in superuser.get(RUNS).content.decode()
    for page in (RUNS, TASKS):
        assert "chats 12" in superuser.get(page).content.decode()


def test_a_run_that_was_killed_is_shown_as_such(superuser: Client) -> None:
    TaskRun.objects.create(task="purge", outcome="running", started_at=timezone.now())
    for page in (RUNS, TASKS):
        assert "killed" in superuser.get(page).content.decode()


def test_ticks_and_failures_are_in_the_schedule_s_list(superuser: Client) -> None:
    with noted_tick("acquire_waiting_chats") as did:
        did["woken"] = 3
    with pytest.raises(ZeroDivisionError), noted_tick("reap_stale_leases"):
        raise ZeroDivisionError
    page = superuser.get(TASKS).content.decode()
    assert "woken 3" in page
    assert "ZeroDivisionError" in page
