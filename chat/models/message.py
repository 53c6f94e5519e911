"""Messages: the history of a chat, and the queue of what is still to be said.

Written by `chat_update` only; a trigger refuses everything else. `parts` is a list of typed parts
(`chat/content.py`); `content_version` says which shape they have.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from chat.models import triggers
from chat.models.chat import Chat


class HasParts(models.Func):
    """True for a JSON list with at least one element."""

    template = "(jsonb_typeof(%(expressions)s) = 'array' AND %(expressions)s <> '[]'::jsonb)"
    output_field = models.BooleanField()
    arity = 1


class Role(models.TextChoices):
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    SYSTEM = "system"


class Visibility(models.TextChoices):
    BOTH = "both"
    MODEL = "model"
    USER = "user"


class ChatMessage(models.Model):
    id = models.BigAutoField(primary_key=True)
    # The database cascades by itself (migration 0002): Django would delete the rows one door too early.
    chat = models.ForeignKey(Chat, on_delete=models.DO_NOTHING, related_name="messages", db_index=False)
    role = models.CharField(max_length=10, choices=Role)
    parts = models.JSONField()
    content_version = models.SmallIntegerField(default=1)
    visibility = models.CharField(max_length=5, choices=Visibility, default=Visibility.BOTH)
    compressed = models.BooleanField(default=False)
    deleted = models.BooleanField(default=False)
    interrupted = models.BooleanField(default=False, help_text="Cut short; holds what had been streamed.")
    revision = models.BigIntegerField(default=0, help_text="The snapshot in which the row last changed.")
    model = models.CharField(max_length=200, blank=True)
    usage = models.JSONField(null=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(name="message_has_a_known_role", condition=Q(role__in=Role.values)),
            models.CheckConstraint(
                name="message_has_a_known_visibility", condition=Q(visibility__in=Visibility.values)
            ),
            models.CheckConstraint(name="message_has_parts", condition=HasParts("parts")),
        ]
        indexes = [
            # What was hidden by an edit costs nothing any more: neither reading the history nor finding its end.
            models.Index(fields=["chat", "id"], name="message_of_history", condition=Q(deleted=False)),
            models.Index(fields=["chat", "id"], name="answer_of_history", condition=Q(deleted=False, role="assistant")),
            models.Index(fields=["chat", "revision", "id"], name="message_of_chat_by_revision"),
        ]
        triggers = [triggers.message_versions, triggers.message_delete_guard]

    def __str__(self) -> str:
        return f"{self.role} message {self.pk} of {self.chat_id}"


class QueuedMessage(models.Model):
    id = models.BigAutoField(primary_key=True)
    chat = models.ForeignKey(Chat, on_delete=models.DO_NOTHING, related_name="queue", db_index=False)
    parts = models.JSONField()
    position = models.BigIntegerField(help_text="Order in the queue, then id; gaps mean nothing.")
    model = models.CharField(max_length=200, blank=True)
    options = models.JSONField(default=dict, db_default={}, blank=True)
    steering = models.BooleanField(
        default=False, db_default=False, help_text="Joins the running turn before its next model call."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.CheckConstraint(name="queued_message_has_parts", condition=HasParts("parts"))]
        indexes = [models.Index(fields=["chat", "position", "id"], name="queue_of_chat")]
        triggers = [triggers.queue_versions, triggers.queue_delete_versions]

    def __str__(self) -> str:
        return f"queued message {self.pk} of {self.chat_id}"
