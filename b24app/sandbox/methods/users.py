"""Who am I."""

from typing import Any

from ..call import Call, Params, method


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
    user = call.user
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
