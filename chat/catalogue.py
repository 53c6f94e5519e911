"""Which model a name means. The catalogue's rows are `ModelProvider` and `ChatModel`."""

from chat.errors import ModelUnknown
from chat.models import ChatModel, ModelProvider


def model_named(full_name: str | None) -> str:
    """`PROVIDER:NAME` as the catalogue has it; None: its default. Raises `ModelUnknown`."""
    enabled = ChatModel.objects.select_related("provider").filter(enabled=True, provider__enabled=True)
    if not full_name:
        default = enabled.filter(is_default=True).first()
        if default is None:
            raise ModelUnknown("There is no default model: `manage.py add_model PROVIDER:NAME --default` sets one.")
        return default.full_name
    provider, _, name = full_name.partition(":")
    if not enabled.filter(provider__name=provider, name=name).exists():
        raise ModelUnknown(f"The catalogue has no enabled model {full_name!r}.", model=full_name)
    return full_name


KINDS = {"openai": "openai", "anthropic": "anthropic", "google": "google", "gemini": "google"}
"""Providers whose name says which protocol they speak; every other one speaks OpenAI's."""


def register_model(
    full_name: str, *, kind: str | None = None, base_url: str = "", api_key: str | None = None, default: bool = False
) -> ChatModel:
    """The catalogue's row for `full_name`, made or brought up to date. Raises `ValueError` for a wrong name.

    `api_key` None, `base_url` "" leave what is stored.
    """
    provider_name, colon, name = full_name.partition(":")
    if not (colon and name and provider_name and provider_name.replace("-", "").replace("_", "").isalnum()):
        raise ValueError(f"A model is named PROVIDER:NAME, for example openai:gpt-5, not {full_name!r}.")
    provider, _ = ModelProvider.objects.get_or_create(
        name=provider_name, defaults={"kind": kind or KINDS.get(provider_name, "openai")}
    )
    provider.kind = kind or provider.kind
    provider.base_url = base_url or provider.base_url
    if api_key is not None:
        provider.api_key = api_key
    provider.save()
    model, _ = ChatModel.objects.get_or_create(provider=provider, name=name)
    if default and not model.is_default:
        ChatModel.objects.filter(is_default=True).update(is_default=False)
        model.is_default = True
        model.save(update_fields=["is_default"])
    return model
