"""The catalogue: which model providers there are, how to reach them, and which models they offer."""

from django.core.validators import URLValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from chat import secrets


class ModelProvider(models.Model):
    class Kind(models.TextChoices):
        OPENAI = "openai", "OpenAI or compatible"
        ANTHROPIC = "anthropic", "Anthropic"
        GOOGLE = "google", "Google"

    name = models.SlugField(unique=True, help_text="The part of a model's name before the colon.")
    kind = models.CharField(max_length=20, choices=Kind)
    base_url = models.CharField(
        max_length=200, blank=True, validators=[URLValidator(["http", "https"])], help_text="Empty: the provider's own."
    )
    encrypted_key = models.TextField(blank=True, editable=False)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="provider_is_of_a_known_kind", condition=Q(kind__in=["openai", "anthropic", "google"])
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def api_key(self) -> str:
        """The key in clear; "" if there is none. Raises `chat.secrets.SecretUnreadable`."""
        return secrets.decrypt(self.encrypted_key)

    @api_key.setter
    def api_key(self, key: str) -> None:
        self.encrypted_key = secrets.encrypt(key)


class ChatModel(models.Model):
    provider = models.ForeignKey(ModelProvider, on_delete=models.CASCADE, related_name="models")
    name = models.CharField(max_length=150, help_text="As the provider calls it.")
    context_limit = models.PositiveIntegerField(null=True, blank=True, help_text="Tokens.")
    input_price = models.DecimalField(
        max_digits=12, decimal_places=6, null=True, blank=True, help_text="Per million input tokens."
    )
    output_price = models.DecimalField(
        max_digits=12, decimal_places=6, null=True, blank=True, help_text="Per million output tokens."
    )
    options = models.JSONField(default=dict, blank=True, help_text="Sent with every request, e.g. temperature.")
    enabled = models.BooleanField(default=True)
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider", "name"], name="model_is_named_once_per_provider"),
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="one_model_is_the_default"
            ),
        ]

    def __str__(self) -> str:
        return self.full_name

    @property
    def full_name(self) -> str:
        """`PROVIDER:NAME`, as everywhere."""
        return f"{self.provider.name}:{self.name}"
