"""System checks: they report a configuration that is unsafe or cannot work."""

from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from b24app import vault


@register()
def credential_keys_open_what_they_seal(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    try:
        vault.unseal(vault.seal("canary", "check"), "check")
    except (ValueError, vault.NotOurs) as error:
        return [
            Error(
                f"CREDENTIAL_KEYS cannot be used: {error}",
                hint="Each key is 32 random bytes in URL-safe base64; .env.example shows how to make one.",
                id="defer.E001",
            )
        ]
    return []


@register(deploy=True)
def only_a_demo_has_local_portals(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.B24_ALLOW_LOCAL_PORTALS:
        return [Warning("B24_ALLOW_LOCAL_PORTALS allows portals at any address, also local ones.", id="defer.W001")]
    return []


@register()
def only_a_demo_moves_the_clock(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.CLOCK_FILE and not settings.DEBUG and not settings.B24_ALLOW_LOCAL_PORTALS:
        hint = "Unset it. In a demo, set B24_ALLOW_LOCAL_PORTALS."
        return [Error("CLOCK_FILE moves the clock. It is for demos only.", hint=hint, id="defer.E003")]
    return []


@register()
def only_tests_have_failpoints(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.FAILPOINTS and not settings.B24_ALLOW_LOCAL_PORTALS:
        return [Error("FAILPOINTS kills workers on purpose. It is for tests only.", hint="Unset it.", id="defer.E004")]
    return []


@register(deploy=True)
def the_app_is_registered(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    missing = [name for name in ("B24_CLIENT_ID", "B24_CLIENT_SECRET", "B24_APP_CODE") if not getattr(settings, name)]
    if missing:
        return [Error(f"Not set: {', '.join(missing)}.", hint="The app's card shows them.", id="defer.E002")]
    return []
