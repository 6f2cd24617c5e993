"""System checks: a configuration that would be unsafe, or could not work, does not start quietly."""

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
def production_meets_no_local_portal(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.B24_ALLOW_LOCAL_PORTALS:
        return [Warning("B24_ALLOW_LOCAL_PORTALS lets portals be anywhere, this machine included.", id="defer.W001")]
    return []


@register()
def production_keeps_real_time(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.CLOCK_FILE and not settings.DEBUG and not settings.B24_ALLOW_LOCAL_PORTALS:
        hint = "Unset it; or, in a demo, set B24_ALLOW_LOCAL_PORTALS."
        return [Error("CLOCK_FILE moves the clock: it is for a demo only.", hint=hint, id="defer.E003")]
    return []


@register()
def production_does_not_kill_itself(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if settings.FAILPOINTS and not settings.B24_ALLOW_LOCAL_PORTALS:
        return [Error("FAILPOINTS ends workers on purpose: it is for tests only.", hint="Unset it.", id="defer.E004")]
    return []


@register(deploy=True)
def the_app_is_registered(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    missing = [name for name in ("B24_CLIENT_ID", "B24_CLIENT_SECRET", "B24_APP_CODE") if not getattr(settings, name)]
    if missing:
        return [Error(f"Not set: {', '.join(missing)}.", hint="They stand on the app's card.", id="defer.E002")]
    return []
