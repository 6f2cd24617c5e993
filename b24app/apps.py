"""The Django application."""

from django.apps import AppConfig


class DeferConfig(AppConfig):
    name = "b24app"
    label = "defer"
    verbose_name = "Defer"

    def ready(self) -> None:
        from b24app import checks  # noqa: F401  (importing registers the checks)
