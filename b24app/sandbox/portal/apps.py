from django.apps import AppConfig


class PortalConfig(AppConfig):
    """The sandbox as a Django app, under whatever package name its folder has."""

    name = __name__.rpartition(".")[0]
    label = "sandbox"
    default_auto_field = "django.db.models.BigAutoField"
