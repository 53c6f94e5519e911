"""The catalogue: whether new chats have a model, and whether the keys of the providers can be read."""

from collections.abc import Iterator

from chat.doctor.finding import Finding, Level, ok, problem
from chat.doctor.site import Site
from chat.models import ChatModel, ModelProvider
from chat.secrets import SecretUnreadable

SET_KEY = "Set it again: manage.py add_model {}:NAME --api-key-env VAR, or in the admin."


def models(site: Site) -> Iterator[Finding]:
    default = ChatModel.objects.select_related("provider").filter(is_default=True).first()
    set_another = "manage.py add_model PROVIDER:NAME --default"
    enabled = ChatModel.objects.filter(enabled=True, provider__enabled=True).count()
    fine = False
    if default is None:
        yield problem("No model is the default: chats that name none are refused.", set_another)
    elif not (default.enabled and default.provider.enabled):
        what = "The default model" if default.provider.enabled else "The provider of the default model"
        todo = f"Enable it in the admin, or choose another: {set_another}"
        yield problem(f"{what}, {default.full_name}, is disabled: chats that name none are refused.", todo)
    else:
        fine = True
    complaints = [finding for provider in _providers() for finding in _key(provider, default)]
    yield from complaints
    if fine and default and not complaints:
        yield ok(f"{enabled} enabled, {default.full_name} is the default; every key can be read.", enabled=enabled)


def _providers() -> list[ModelProvider]:
    """Those that an enabled model needs."""
    return list(ModelProvider.objects.filter(enabled=True, models__enabled=True).distinct().order_by("name"))


def _key(provider: ModelProvider, default: ChatModel | None) -> Iterator[Finding]:
    level = Level.PROBLEM if default and default.provider_id == provider.pk else Level.WARNING
    try:
        key = provider.api_key
    except SecretUnreadable:
        says = f"The key of {provider.name} cannot be read: SECRET_KEY changed since it was saved."
        yield Finding(level, says, SET_KEY.format(provider.name), {"provider": provider.name})
        return
    if not key and not provider.base_url:
        says = f"{provider.name} has no key: its chats end in an error."
        yield Finding(level, says, SET_KEY.format(provider.name), {"provider": provider.name})
