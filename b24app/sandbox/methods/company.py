"""Methods of other parts of the portal: notifications, projects, the company's calendar."""

from typing import Any

from django.db.models import Q

from ..portal.errors import RestError
from ..portal.models import Notification, Project, User
from ..wire import php
from ..wire.call import Call, Page, Params, method

PAGE_SIZE = 50


@method("im.notify.personal.add", "im")
def notify_personal(call: Call, params: Params) -> int:
    return notify(call, params, call.user)


@method("im.notify.system.add", "im")
def notify_system(call: Call, params: Params) -> int:
    return notify(call, params, None)


def notify(call: Call, params: Params, sender: User | None) -> int:
    """Add a notification for a person; return its number. It replaces an earlier one with the same TAG."""
    upper = {name.upper(): value for name, value in params.items()}
    receiver = call.portal.users.filter(number=php.integer(upper.get("USER_ID", upper.get("TO")))).first()
    message, tag = str(upper.get("MESSAGE") or "").strip(), str(upper.get("TAG") or "")
    if receiver is None:
        raise RestError(400, "USER_ID_EMPTY", "User ID can't be empty")
    if not message:
        raise RestError(400, "MESSAGE_EMPTY", "Message can't be empty")
    if tag:
        receiver.notifications.filter(tag=tag).delete()
    return Notification.objects.create(user=receiver, sender=sender, message=message, tag=tag).pk


@method("sonet_group.get", "sonet_group")
def sonet_group_get(call: Call, params: Params) -> Page:
    """The person's projects; all projects for an administrator who passes IS_ADMIN=Y."""
    upper = {name.upper(): value for name, value in params.items()}
    wanted = upper.get("FILTER") if isinstance(upper.get("FILTER"), dict) else {}
    found = call.portal.projects.filter(project_condition(wanted or {})).order_by("number")
    if not (call.user.is_admin and upper.get("IS_ADMIN") == "Y"):
        own = Q(pk__in=call.user.projects.values("pk")) | Q(pk__in=call.user.edited_projects.values("pk"))
        found = found.filter(own)
    first = max(call.start, 0) // PAGE_SIZE * PAGE_SIZE
    last, total = first + PAGE_SIZE, found.count()
    rows = [project_shape(project) for project in found.prefetch_related("members")[first:last]]
    return Page(rows, next=last if last < total else None, total=total)


def project_condition(wanted: dict[str, Any]) -> Q:
    whole = Q()
    if "ID" in wanted:
        whole &= Q(number__in=[php.integer(item) for item in php.members(wanted["ID"])])
    if "NAME" in wanted:
        whole &= Q(name=wanted["NAME"])
    if "%NAME" in wanted:
        whole &= Q(name__icontains=wanted["%NAME"])
    return whole


def project_shape(project: Project) -> dict[str, Any]:
    return {
        "ID": str(project.number),
        "SITE_ID": "s1",
        "NAME": project.name,
        "DESCRIPTION": "",
        "ACTIVE": "Y",
        "VISIBLE": "Y",
        "OPENED": "N",
        "CLOSED": "N",
        "SUBJECT_ID": "1",
        "OWNER_ID": "1",
        "NUMBER_OF_MEMBERS": str(len(project.members.all())),
        "IMAGE": "",
        "PROJECT": "Y",
        "IS_EXTRANET": "N",
    }


@method("calendar.settings.get", "calendar")
def calendar_settings_get(call: Call, params: Params) -> dict[str, Any]:
    """Working hours and holidays of the company, in the Russian-style strings of a real portal."""
    return {
        "work_time_start": "9",
        "work_time_end": "19",
        "year_holidays": "1.01,2.01,7.01,23.02,8.03,1.05,9.05,12.06,4.11",
        "year_workdays": "31.12",
        "week_holidays": ["SA", "SU"],
        "week_start": "MO",
        "user_name_template": "#NAME# #LAST_NAME#",
        "sync_by_push": False,
        "user_show_login": True,
        "path_to_user": "/company/personal/user/#user_id#/",
        "rm_iblock_type": "",
        "rm_iblock_id": "",
        "dep_manager_sub": True,
        "denied_superpose_types": [],
    }
