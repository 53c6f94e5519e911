"""The injections as an app of Django's, so that every process of a fault run distorts its own hints."""

from django.apps import AppConfig


class InjectionConfig(AppConfig):
    name = "devtools.chaos.injection"
    label = "chaos_injection"

    def ready(self) -> None:
        from devtools.chaos.injection import distortion

        distortion.install()
