"""placement.bind, get, list, unbind: for apps only, called by an administrator."""

from typing import Any

from django.db import transaction

from ..portal import knobs
from ..portal.errors import RestError, access_denied
from ..portal.models import Installation
from ..wire import php
from ..wire.call import Call, Params, method
from .handlers import check_handler, required

# Code -> the scope that it needs in addition to `placement`. DEFAULT cannot be bound.
PLACEMENTS = {
    "TASK_USER_LIST_TOOLBAR": "task",
    "TASK_GROUP_LIST_TOOLBAR": "task",
    "TASK_LIST_CONTEXT_MENU": "task",
    "TASK_VIEW_TAB": "task",
    "TASK_VIEW_SIDEBAR": "task",
    "TASK_VIEW_TOP_PANEL": "task",
    "LEFT_MENU": "placement",
    "REST_APP_URI": "placement",
}


def administered(call: Call) -> Installation:
    """The installation that calls. Raises access_denied unless an administrator calls."""
    installation = call.in_app()
    if not call.user.is_admin and knobs.trap("admin_binds_placements", call.portal.key):
        raise access_denied()
    return installation


@method("placement.bind", "placement")
@transaction.atomic  # of two identical calls at the same time, one is refused
def placement_bind(call: Call, params: Params) -> bool:
    installation = administered(call)
    upper = {name.upper(): value for name, value in params.items()}
    code = required(upper, "PLACEMENT").upper()
    handler = check_handler(required(upper, "HANDLER"))
    if PLACEMENTS.get(code) not in call.scope:
        raise RestError(400, "ERROR_PLACEMENT_NOT_FOUND", "Placement not found")
    bound = installation.placements.filter(placement=code, handler=handler)
    if bound.exists() and knobs.trap("binding_twice_fails", call.portal.key):
        raise RestError(400, "ERROR_CORE", "Unable to set placement handler: Handler already binded")
    installation.placements.create(
        placement=code,
        handler=handler,
        title=str(upper.get("TITLE") or installation.app.name),
        lang_all=mapping(upper.get("LANG_ALL")),
        options=mapping(upper.get("OPTIONS")),
    )
    return True


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


@method("placement.get", "placement")
def placement_get(call: Call, params: Params) -> list[dict[str, Any]]:
    key = call.portal.key
    return [
        {
            "placement": row.placement,
            "userId": 0,
            "handler": row.handler,
            "options": php.array(row.options, key),
            "title": row.title,
            "description": "",
            "langAll": php.array(row.lang_all, key),
        }
        for row in administered(call).placements.order_by("pk")
    ]


@method("placement.list", "placement")
def placement_list(call: Call, params: Params) -> list[str]:
    administered(call)
    return [code for code, scope in PLACEMENTS.items() if scope in call.scope]


@method("placement.unbind", "placement")
def placement_unbind(call: Call, params: Params) -> dict[str, int]:
    upper = {name.upper(): value for name, value in params.items()}
    bound = administered(call).placements.filter(placement=required(upper, "PLACEMENT").upper())
    if upper.get("HANDLER"):
        bound = bound.filter(handler=upper["HANDLER"])
    return {"count": bound.delete()[0] * 2}  # a portal counts every removed row twice
