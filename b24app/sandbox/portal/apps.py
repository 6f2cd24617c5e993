"""The Django app with the tables of the sandbox."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Takes its name from the package, so that a copy of the sandbox works under any name."""

    name = __name__.rpartition(".")[0]
    label = "sandbox"
    default_auto_field = "django.db.models.BigAutoField"
