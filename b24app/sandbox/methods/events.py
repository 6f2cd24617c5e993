"""event.bind, event.get, event.unbind: for apps only, not for webhooks."""

from typing import Any

from django.db import transaction

from ..app.events import KNOWN
from ..portal import knobs
from ..portal.errors import RestError, access_denied
from ..wire import php
from ..wire.call import Call, Params, method
from .handlers import check_handler, required


@method("event.bind")
@transaction.atomic  # of two identical calls at the same time, one is refused
def event_bind(call: Call, params: Params) -> bool:
    installation = call.in_app()
    upper = {name.upper(): value for name, value in params.items()}
    event = required(upper, "EVENT").upper()
    handler = check_handler(required(upper, "HANDLER"))
    auth_type = php.integer(upper.get("AUTH_TYPE", 0))
    if event not in KNOWN:
        raise RestError(400, "ERROR_EVENT_NOT_FOUND", "Event not found")
    if not call.user.is_admin:
        if auth_type not in (0, call.user.number):
            raise access_denied("Access denied! Event binding with AUTH_TYPE requires administrator access rights")
        auth_type = call.user.number
    bound = installation.event_handlers.filter(event=event, handler=handler, auth_type=auth_type)
    if bound.exists() and knobs.trap("binding_twice_fails", call.portal.key):
        raise RestError(400, "ERROR_CORE", "Unable to set event handler: Handler already binded")
    installation.event_handlers.create(event=event, handler=handler, auth_type=auth_type)
    return True


@method("event.get")
def event_get(call: Call, params: Params) -> list[dict[str, Any]]:
    return [
        {"event": row.event, "handler": row.handler, "auth_type": str(row.auth_type), "offline": 0}
        for row in call.in_app().event_handlers.order_by("pk")
    ]


@method("event.unbind")
def event_unbind(call: Call, params: Params) -> dict[str, int]:
    upper = {name.upper(): value for name, value in params.items()}
    event, handler = required(upper, "EVENT").upper(), required(upper, "HANDLER")
    bound = call.in_app().event_handlers.filter(event=event, handler=handler)
    if "AUTH_TYPE" in upper:
        bound = bound.filter(auth_type=php.integer(upper["AUTH_TYPE"]))
    return {"count": bound.delete()[0]}
