"""Who runs a chat, and when they last said that they are alive.

The chat row's `worker_id` and `runner_id` are the ownership; the lease row beside it carries the heartbeat, so that
a renewal of many leases never touches, locks or bumps a chat. Its clock is the database's.
"""

from django.db import models
from django.db.models.functions import Now

from chat.models import triggers
from chat.models.chat import Chat


class RunnerLease(models.Model):
    chat = models.ForeignKey(Chat, on_delete=models.DO_NOTHING, related_name="leases", db_index=False)
    runner_id = models.UUIDField()
    worker_id = models.UUIDField()
    acquired_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["chat", "runner_id"], name="runner_has_one_lease_of_a_chat"),
        ]
        indexes = [
            models.Index(fields=["worker_id"], name="lease_of_worker"),
            models.Index(fields=["heartbeat_at"], name="lease_by_heartbeat"),
        ]
        triggers = [triggers.touch_updated_at]

    def __str__(self) -> str:
        return f"lease of runner {self.runner_id} on {self.chat_id}"
