"""The application and the checks that refuse a dangerous configuration."""

from django.apps import AppConfig


class DeferConfig(AppConfig):
    name = "b24app"
    label = "defer"
    verbose_name = "Defer"

    def ready(self) -> None:
        from b24app import checks  # noqa: F401  (registers itself; models are not loaded before this moment)
