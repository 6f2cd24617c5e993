"""Events to the app's handlers: form-encoded, strings only, tried once."""

import logging
import threading
import time
from typing import Any

import requests
from django.conf import settings

from . import clock, knobs, tokens
from .models import EventHandler, Installation, Task, User

logger = logging.getLogger(__name__)
DELIVERY_TIMEOUT = 10  # seconds

KNOWN = {
    "ONAPPINSTALL",
    "ONAPPUNINSTALL",
    "ONAPPUPDATE",
    "ONAPPPAYMENT",
    "ONTASKADD",
    "ONTASKUPDATE",
    "ONTASKDELETE",
}


def finish_installation(installation: Installation) -> None:
    """What installFinish does: from now on placements are shown and events delivered."""
    installation.installed = True
    installation.save(update_fields=["installed"])
    user = installation.portal.users.filter(is_admin=True).order_by("number").first()
    data = {
        "VERSION": str(installation.version),
        "ACTIVE": "Y",
        "INSTALLED": "Y",
        "LANGUAGE_ID": installation.portal.language,
    }
    send(installation, "ONAPPINSTALL", data, user, with_refresh=True)


def uninstall(installation: Installation, *, clean: bool = True) -> None:
    """Remove the app from the portal. An installation that was never finished vanishes without an event."""
    finished = installation.installed or not knobs.trap("no_event_before_finish", installation.portal.key)
    if installation.active and finished and not installation.payment_expired:
        data = {"LANGUAGE_ID": installation.portal.language, "CLEAN": "1" if clean else "0"}
        send(installation, "ONAPPUNINSTALL", data, user=None)
    installation.placements.all().delete()
    installation.event_handlers.all().delete()
    installation.active = installation.installed = False
    installation.save(update_fields=["active", "installed"])


def task_changed(task: Task, user: User | None, *, by_person: bool) -> None:
    """Tell every app that asked. Only ids travel; what changed has to be read."""
    data = {
        "FIELDS_BEFORE": {"ID": str(task.number)},
        "FIELDS_AFTER": {"ID": str(task.number)},
        "IS_ACCESSIBLE_BEFORE": "N",
        "IS_ACCESSIBLE_AFTER": "undefined",
    }
    handlers = EventHandler.objects.filter(
        event="ONTASKUPDATE",
        installation__portal=task.portal_id,
        installation__active=True,
        installation__installed=True,
    )
    for installation_id in set(handlers.values_list("installation", flat=True)):
        installation = Installation.objects.get(pk=installation_id)
        if by_person:
            send(installation, "ONTASKUPDATE", data, user)
        else:
            send(installation, "ONTASKUPDATE", data, user=None, bare=True)


def send(
    installation: Installation,
    event: str,
    data: dict[str, Any],
    user: User | None,
    *,
    with_refresh: bool = False,
    bare: bool = False,
) -> None:
    """Start the delivery to every handler of `event`; `user` None means without tokens."""
    key = installation.portal.key
    if knobs.knob("events.never", key):
        return
    for handler in installation.event_handlers.filter(event=event):
        fields = {"event": event, "event_handler_id": str(handler.pk)}
        fields |= flattened("data", data)
        fields["ts"] = str(int(clock.seconds()))
        fields |= flattened("auth", auth_fields(installation, user, with_refresh=with_refresh, bare=bare))
        delay = float(knobs.knob("events.delay", key))
        threading.Thread(target=deliver, args=(handler.handler, fields, delay), daemon=True).start()


def auth_fields(
    installation: Installation, user: User | None, *, with_refresh: bool, bare: bool
) -> dict[str, str]:
    portal = installation.portal
    fields: dict[str, str] = {}
    if user is not None:
        token = tokens.open_chain(installation, user)
        fields["access_token"] = token.access
        fields["expires"] = str(int(token.expires))
        fields["expires_in"] = str(round(token.expires - clock.seconds()))
        fields["scope"] = installation.scope
    fields["domain"] = portal.host
    if not bare:
        fields["server_endpoint"] = f"http://{settings.OAUTH_HOST}/rest/"
        fields["client_endpoint"] = f"http://{portal.host}/rest/"
    fields["member_id"] = portal.member_id
    if user is not None:
        fields["status"] = installation.status
        fields["user_id"] = str(user.number)
        if with_refresh:
            fields["refresh_token"] = token.refresh
    fields["application_token"] = installation.application_token
    return fields


def flattened(name: str, value: Any) -> dict[str, str]:
    """A tree as PHP's bracketed form fields."""
    if not isinstance(value, dict):
        return {name: str(value)}
    fields: dict[str, str] = {}
    for key, inner in value.items():
        fields |= flattened(f"{name}[{key}]", inner)
    return fields


def deliver(url: str, fields: dict[str, str], delay: float) -> None:
    time.sleep(delay)
    try:
        requests.post(url, data=fields, timeout=DELIVERY_TIMEOUT, allow_redirects=False)
    except requests.RequestException as error:  # a portal does not try again either
        logger.warning("Event %s was not delivered: %s", fields["event"], type(error).__name__)
