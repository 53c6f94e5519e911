"""What the catalogue says about a model, as a value; read in a database thread, kept for a few seconds."""

import time
from dataclasses import dataclass, field
from typing import Any

from chat.models import ChatModel
from chat.secrets import SecretUnreadable
from chatworker.models.protocol import ModelError

KEPT = 5.0
"""Seconds after which a changed key, address or switch is noticed."""


@dataclass(frozen=True)
class ModelSpec:
    """How to reach one model; hashable by what a connection depends on."""

    full_name: str
    name: str
    kind: str
    base_url: str
    api_key: str = field(repr=False)
    options: dict[str, Any] = field(compare=False, hash=False, default_factory=dict)


_kept: dict[str, tuple[float, ModelSpec]] = {}


def model_spec(full_name: str) -> ModelSpec:
    """Raises `ModelError` (kinds config, provider_disabled, missing_key) where the model cannot be called."""
    found = _kept.get(full_name)
    if found and time.monotonic() - found[0] < KEPT:
        return found[1]
    spec = _read(full_name)
    _kept[full_name] = (time.monotonic(), spec)
    return spec


def _read(full_name: str) -> ModelSpec:
    provider_name, _, name = full_name.partition(":")
    row = ChatModel.objects.select_related("provider").filter(provider__name=provider_name, name=name).first()
    if row is None:
        raise ModelError(f"The catalogue has no model {full_name!r}: choose another.", kind="config")
    if not (row.enabled and row.provider.enabled):
        raise ModelError(f"{full_name} is disabled: choose another model.", kind="provider_disabled")
    try:
        key = row.provider.api_key
    except SecretUnreadable as error:
        raise ModelError(f"The key of {provider_name} cannot be read: {error}", kind="missing_key") from None
    if not key and not row.provider.base_url:
        raise ModelError(f"The provider {provider_name} has no API key: set one.", kind="missing_key")
    return ModelSpec(
        full_name=full_name,
        name=name,
        kind=row.provider.kind,
        base_url=row.provider.base_url,
        api_key=key,
        options=row.options,
    )
