"""How long chats are kept: what an operator says in the admin, over what the settings say."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from chat.models import triggers


class RetentionPolicy(models.Model):
    """A single row. An empty field means that the setting counts; `chat.retention.policy` puts the two together."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    auto_archive_days = models.PositiveIntegerField(
        null=True, blank=True,
        help_text="Chats without activity for so many days are archived. 0: never. Empty: CHATD_AUTO_ARCHIVE_DAYS.",
    )  # fmt: skip
    retention_days = models.PositiveIntegerField(
        null=True, blank=True,
        help_text="Archived chats are deleted for good after so many days. 0: never. Empty: CHATD_RETENTION_DAYS.",
    )  # fmt: skip
    archive_digest = models.BooleanField(
        null=True, blank=True,
        help_text="Tell owners by mail what was archived. Empty: CHATD_ARCHIVE_DIGEST.",
    )  # fmt: skip
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name = "retention policy"
        verbose_name_plural = "retention policy"
        constraints = [models.CheckConstraint(name="there_is_one_retention_policy", condition=Q(id=1))]
        triggers = [triggers.touch_updated_at]

    def __str__(self) -> str:
        return "retention policy"
