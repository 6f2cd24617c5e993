"""Events that a portal sends to the app's handlers: form-encoded, strings only, sent once."""

import logging
import threading
import time
from typing import Any

import requests
from django.conf import settings

from ..portal import clock, knobs
from ..portal.models import Comment, EventHandler, Installation, Portal, Task, User
from . import tokens

logger = logging.getLogger(__name__)
DELIVERY_TIMEOUT = 10  # seconds
ACCESSIBLE = {"IS_ACCESSIBLE_BEFORE": "N", "IS_ACCESSIBLE_AFTER": "undefined"}

KNOWN = {
    "ONAPPINSTALL",
    "ONAPPUNINSTALL",
    "ONAPPUPDATE",
    "ONAPPPAYMENT",
    "ONTASKADD",
    "ONTASKUPDATE",
    "ONTASKDELETE",
    "ONTASKCOMMENTADD",
}


def task_added(task: Task, user: User | None) -> None:
    tell(task.portal, "ONTASKADD", ids(None, task.number), user)


def task_changed(task: Task, user: User | None) -> None:
    tell(task.portal, "ONTASKUPDATE", ids(task.number, task.number), user)


def task_deleted(portal: Portal, number: int) -> None:
    tell(portal, "ONTASKDELETE", ids(number, None), None)


def commented(comment: Comment) -> None:
    """A comment on the current task card is a chat message: its event has the id 0 and a message id."""
    after = {"ID": "0", "MESSAGE_ID": str(comment.pk), "TASK_ID": str(comment.task.number)}
    data = {"FIELDS_BEFORE": "undefined", "FIELDS_AFTER": after, **ACCESSIBLE}
    tell(comment.task.portal, "ONTASKCOMMENTADD", data, comment.user)


def ids(before: int | None, after: int | None) -> dict[str, Any]:
    """The fields of a task event: only the task's number, or "undefined" for none. The app must read what changed."""
    told = {"FIELDS_BEFORE": before, "FIELDS_AFTER": after}
    fields = {name: "undefined" if number is None else {"ID": str(number)} for name, number in told.items()}
    return {**fields, **ACCESSIBLE}


def tell(portal: Portal, event: str, data: dict[str, Any], user: User | None) -> None:
    """Send the event to every app with a handler for it. `user` None: no person caused it, so no tokens are sent."""
    found = portal.installations.filter(active=True, installed=True, event_handlers__event=event).distinct()
    for installation in found.select_related("portal", "app"):
        send(installation, event, data, user, bare=user is None)


def send(
    installation: Installation,
    event: str,
    data: dict[str, Any],
    user: User | None,
    *,
    with_refresh: bool = False,
    bare: bool = False,
) -> None:
    """Start the delivery to every handler of `event`. `user` None: without tokens."""
    key = installation.portal.key
    if knobs.knob("events.never", key):
        return
    delay, times = float(knobs.knob("events.delay", key)), int(knobs.knob("events.times", key))
    for handler in installation.event_handlers.filter(event=event):
        fields = {"event": event, "event_handler_id": str(handler.pk)}
        fields |= flattened("data", data)
        fields["ts"] = str(int(clock.seconds()))
        tokens_of = user and acting(handler, user)
        fields |= flattened("auth", auth_fields(installation, tokens_of, with_refresh=with_refresh, bare=bare))
        for _ in range(times):
            threading.Thread(target=deliver, args=(handler.handler, fields, delay), daemon=True).start()


def acting(handler: EventHandler, user: User) -> User:
    """The person whose tokens the event carries: the one of the handler's auth_type, if it has one."""
    chosen = user.portal.users.filter(number=handler.auth_type).first() if handler.auth_type else None
    return chosen or user


def auth_fields(installation: Installation, user: User | None, *, with_refresh: bool, bare: bool) -> dict[str, str]:
    """The `auth` part of an event; `user` None: without tokens, `bare`: without endpoints."""
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
    """A nested map as form fields with PHP's brackets: `data[FIELDS][ID]`."""
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
    except requests.RequestException as error:  # a real portal does not retry either
        logger.warning("Event %s was not delivered: %s", fields["event"], type(error).__name__)
