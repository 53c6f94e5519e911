"""The chat row: what it is about, its execution state, and its versions.

Written by `chat_update` only (`chat/update.py`). `status`, `archived` and the queue together are the state
(`chat/execution.py`); it is read off the row, never stored beside it.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from chat.models import triggers

IMPOSSIBLE = Q(archived=True, status__in=["running", "interrupting", "requires_action"]) | ~Q(
    status__in=["waiting", "running", "interrupting", "requires_action", "error"]
)
"""Rows that no queue could make valid (`chat/execution.py`). There should be none, and an index finds them at once."""


class Chat(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="chats")
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="children",
        help_text="The chat that started this one as a sub-agent.",
    )  # fmt: skip
    root = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="descendants", db_index=False,
        help_text="The chat that began the family; empty for that chat itself.",
    )  # fmt: skip
    title = models.CharField(max_length=200, blank=True)
    model = models.CharField(max_length=200, help_text="PROVIDER:NAME, as in the catalogue.")
    options = models.JSONField(
        default=dict, db_default={}, blank=True, help_text="For the model, in the turn that runs or ran last."
    )
    system = models.TextField(blank=True, help_text="Instructions that precede the conversation.")
    labels = models.JSONField(default=list, blank=True)
    pin_order = models.IntegerField(default=0, help_text="0: not pinned.")
    client_tools = models.JSONField(default=list, blank=True, help_text="Tools that the client executes.")

    status = models.CharField(max_length=20)
    archived = models.BooleanField(default=False)
    worker_id = models.UUIDField(null=True)
    runner_id = models.UUIDField(null=True)
    snapshot_version = models.BigIntegerField(default=1)
    history_version = models.BigIntegerField(default=1)
    queue_version = models.BigIntegerField(default=0)
    generation_attempt = models.IntegerField(default=0)
    retry_state = models.JSONField(null=True)
    retry_state_version = models.BigIntegerField(default=0)
    requires_action_deadline_at = models.DateTimeField(null=True)
    compaction_requested_at = models.DateTimeField(null=True)
    last_error = models.JSONField(null=True)
    waiting_since = models.DateTimeField(null=True, editable=False, help_text="Runnable, and nobody's, since then.")
    snapshot_xid = models.BigIntegerField(default=0, editable=False)

    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="chat_is_owned_by_worker_and_runner_or_by_nobody",
                condition=Q(worker_id__isnull=True, runner_id__isnull=True)
                | Q(worker_id__isnull=False, runner_id__isnull=False),
            ),
            models.CheckConstraint(
                name="sub_agent_has_a_parent_and_a_root",
                condition=Q(parent__isnull=True, root__isnull=True) | Q(parent__isnull=False, root__isnull=False),
            ),
            models.CheckConstraint(
                name="chat_is_not_its_own_ancestor", condition=~Q(parent=F("id")) & ~Q(root=F("id"))
            ),
            models.CheckConstraint(
                name="chat_versions_do_not_pass_the_snapshot",
                condition=Q(
                    snapshot_version__gte=1,
                    history_version__lte=F("snapshot_version"),
                    queue_version__lte=F("snapshot_version"),
                    retry_state_version__lte=F("snapshot_version"),
                ),
            ),
            models.CheckConstraint(
                name="chat_generation_attempt_is_not_negative", condition=Q(generation_attempt__gte=0)
            ),
        ]
        indexes = [
            models.Index(fields=["owner", "-updated_at"], name="chat_of_owner_by_activity"),
            models.Index(
                fields=["waiting_since"], name="chat_waiting_for_worker", condition=Q(waiting_since__isnull=False)
            ),
            models.Index(
                fields=["requires_action_deadline_at"],
                name="chat_waiting_for_client",
                condition=Q(status="requires_action"),
            ),
            models.Index(fields=["root", "id"], name="chat_of_family", condition=Q(root__isnull=False)),
            models.Index(fields=["-updated_at"], name="chat_by_activity"),
            models.Index(
                fields=["-updated_at"],
                name="chat_stopped_on_error",
                condition=Q(archived=False, status="error"),
            ),
            models.Index(fields=["-updated_at"], name="chat_archived_by_activity", condition=Q(archived=True)),
            models.Index(
                fields=["-updated_at"],
                name="chat_idle_by_activity",
                condition=Q(archived=False, status="waiting"),
            ),
            models.Index(fields=["id"], name="chat_in_an_impossible_state", condition=IMPOSSIBLE),
            models.Index(
                fields=["updated_at"],
                name="chat_with_work_to_do",
                condition=Q(archived=False, status__in=["running", "interrupting"]),
            ),
            models.Index(
                fields=["updated_at", "id"],
                name="chat_that_may_be_archived",
                condition=Q(root__isnull=True, archived=False, pin_order__lte=0, status__in=["waiting", "error"]),
            ),
            models.Index(
                fields=["updated_at", "id"],
                name="chat_that_may_be_purged",
                condition=Q(root__isnull=True, archived=True, status__in=["waiting", "error"]),
            ),
        ]
        triggers = [triggers.chat_versions, triggers.chat_family, triggers.touch_updated_at]

    def __str__(self) -> str:
        return f"{self.id} ({self.title or 'untitled'})"
