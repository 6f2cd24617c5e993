"""A configuration that is unsafe, or cannot work, does not start: web, worker, beat and `manage.py check` refuse it.

A PUBLIC_URL on this machine means a demo, a test, or development. Any other address is production.
"""

import base64
import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

KEY_BYTES = 32
SHORTEST_SECRET = 32  # characters of SECRET_KEY
WIDEST_NETWORK = {4: 8, 6: 32}  # prefix length: B24_PORTAL_NETWORKS are private networks, never the internet
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Problem:
    """What is wrong with a setting, and what to do."""

    setting: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.setting} {self.text} {self.hint}".rstrip()


def problems() -> list[Problem]:
    """Everything that is wrong with the settings of this process. No problem contains the value of a secret."""
    rules = (_names, _addresses, _secrets, _networks, _numbers, _switches_of_demos, _registration)
    return [problem for rule in rules for problem in rule()]


def refuse_unsafe_settings() -> None:
    """Call this at the start of a process. Raises ImproperlyConfigured that names every problem."""
    if found := problems():
        raise ImproperlyConfigured("\n".join(["This configuration is refused:", *map(str, found)]))


@register()
def settings_are_safe(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    return [Error(f"{found.setting} {found.text}", hint=found.hint or None, id="defer.E001") for found in problems()]


def _is_production() -> bool:
    return _host(settings.PUBLIC_URL) not in LOCAL_HOSTS


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _names() -> Iterator[Problem]:
    for name, meant in settings.UNKNOWN_SETTINGS.items():
        yield Problem(name, "is not a setting.", f"Did you mean {meant}?" if meant else ".env.example lists them.")


def _addresses() -> Iterator[Problem]:
    if not _is_origin(settings.PUBLIC_URL):
        yield Problem("PUBLIC_URL", "must be an address without a path, like https://defer.example.")
    elif _is_production() and not settings.PUBLIC_URL.startswith("https://"):
        yield Problem("PUBLIC_URL", "must begin with https://.", "Bitrix24 opens the app in a frame over https.")
    if "*" in settings.ALLOWED_HOSTS:
        yield Problem("ALLOWED_HOSTS", "must not contain *.", "Name the hosts of the app.")
    elif _is_production() and not _is_allowed(_host(settings.PUBLIC_URL)):
        yield Problem("ALLOWED_HOSTS", "must contain the host of PUBLIC_URL.")
    for server in settings.B24_OAUTH_URLS:
        if not _is_origin(server) or not (server.startswith("https://") or settings.B24_ALLOW_LOCAL_PORTALS):
            yield Problem("B24_OAUTH_URLS", "must contain only https addresses without a path.")


def _is_origin(address: str) -> bool:
    """True for an http(s) address of a host, without user, path, or blanks."""
    try:
        parts = urlsplit(address)
        is_host = bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return False
    return is_host and parts.scheme in ("http", "https") and address == f"{parts.scheme}://{parts.netloc}"


def _is_allowed(host: str) -> bool:
    return any(host == name or (name[:1] == "." and f".{host}".endswith(name)) for name in settings.ALLOWED_HOSTS)


def _secrets() -> Iterator[Problem]:
    if len(settings.SECRET_KEY) < SHORTEST_SECRET or len(set(settings.SECRET_KEY)) < 8:
        yield Problem("SECRET_KEY", f"must have at least {SHORTEST_SECRET} random characters.")
    if not all(map(_is_key, settings.CREDENTIAL_KEYS)):
        hint = ".env.example shows how to make one."
        yield Problem("CREDENTIAL_KEYS", f"must contain keys of {KEY_BYTES} random bytes in URL-safe base64.", hint)


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == KEY_BYTES
    except ValueError:
        return False


def _networks() -> Iterator[Problem]:
    for text in settings.B24_PORTAL_NETWORKS:
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            yield Problem("B24_PORTAL_NETWORKS", "must contain networks like 10.1.0.0/16.")
        else:
            if network.prefixlen < WIDEST_NETWORK[network.version]:
                yield Problem("B24_PORTAL_NETWORKS", "must not contain half the internet.", "Name private networks.")


def _numbers() -> Iterator[Problem]:
    if settings.PROXY_COUNT < 0:
        yield Problem("PROXY_COUNT", "must not be negative.")
    if not settings.TIME_SCALE > 0:
        yield Problem("TIME_SCALE", "must be greater than 0.")


def _switches_of_demos() -> Iterator[Problem]:
    """Settings that are for demos and tests only."""
    if _is_production():
        for name in ("DEBUG", "B24_ALLOW_LOCAL_PORTALS"):
            if getattr(settings, name):
                yield Problem(name, "must not be on in production.")
    is_demo = settings.B24_ALLOW_LOCAL_PORTALS and not _is_production()
    switches = {
        "CLOCK_FILE": "moves the clock",
        "FAILPOINTS": "kills workers on purpose",
        "TIME_SCALE": "shortens waits",
    }
    for name, effect in switches.items():
        is_set = settings.TIME_SCALE != 1 if name == "TIME_SCALE" else bool(getattr(settings, name))
        if is_set and not is_demo:
            yield Problem(name, f"{effect}. It is for demos and tests only.", "Unset it.")


def _registration() -> Iterator[Problem]:
    """Without its registration, the app could start in production, but no administrator could install it."""
    for name in ("B24_CLIENT_ID", "B24_CLIENT_SECRET", "B24_APP_CODE"):
        if _is_production() and not getattr(settings, name):
            yield Problem(name, "must be set in production.", "The app's card in Bitrix24 shows it.")
