"""Methods about people: profile and user.*."""

from typing import Any

from django.db.models import Q

from ..portal.models import User
from ..wire import php
from ..wire.call import Call, Page, Params, method

PAGE_SIZE = 50


@method("profile")
def profile(call: Call, params: Params) -> dict[str, Any]:
    user = call.user
    return {
        "ID": str(user.number),
        "ADMIN": user.is_admin,
        "NAME": user.name,
        "LAST_NAME": user.last_name,
        "PERSONAL_GENDER": "",
        "TIME_ZONE": user.zone,
    }


@method("user.admin")
def user_admin(call: Call, params: Params) -> bool:
    return call.user.is_admin


@method("user.current", "user", "user_basic", "user_brief")
def user_current(call: Call, params: Params) -> dict[str, Any]:
    return shape(call.user)


def shape(user: User) -> dict[str, Any]:
    return {
        "ID": str(user.number),
        "XML_ID": "",
        "ACTIVE": user.active,
        "NAME": user.name,
        "LAST_NAME": user.last_name,
        "SECOND_NAME": "",
        "TITLE": "",
        "IS_ONLINE": "Y",
        "TIME_ZONE": user.zone,
        "TIME_ZONE_OFFSET": "0",
        "PERSONAL_GENDER": "",
        "PERSONAL_PHOTO": None,
        "WORK_POSITION": user.position,
        "UF_DEPARTMENT": [1],
        "USER_TYPE": "employee",
    }


@method("user.get", "user", "user_basic", "user_brief")
def user_get(call: Call, params: Params) -> Page:
    """People of the portal, 50 per page. Filter keys may stand in FILTER or beside it."""
    upper = {name.upper(): value for name, value in params.items()}
    inner = upper.get("FILTER")
    wanted = {**upper, **{name.upper(): value for name, value in (inner.items() if isinstance(inner, dict) else [])}}
    people = call.portal.users.filter(condition(wanted)).order_by("number")
    if str(upper.get("ORDER", "")).lower() == "desc":
        people = people.reverse()
    first = max(call.start, 0) // PAGE_SIZE * PAGE_SIZE
    last, total = first + PAGE_SIZE, people.count()
    rows = [shape(user) | {"TIMESTAMP_X": {}} for user in people[first:last]]  # a PHP object as JSON
    return Page(rows, next=last if last < total else None, total=total)


def condition(wanted: dict[str, Any]) -> Q:
    """The known filter keys as a condition; others have no effect."""
    whole = Q()
    if "ID" in wanted:
        whole &= Q(number__in=[php.integer(item) for item in php.members(wanted["ID"])])
    if "ACTIVE" in wanted:
        whole &= Q(active=php.truthy(wanted["ACTIVE"]) and wanted["ACTIVE"] != "N")
    for name, column in (("NAME", "name"), ("LAST_NAME", "last_name"), ("WORK_POSITION", "position")):
        if name in wanted:
            whole &= Q(**{column: wanted[name]})
        if f"%{name}" in wanted:
            whole &= Q(**{f"{column}__icontains": wanted[f"%{name}"]})
    return whole
