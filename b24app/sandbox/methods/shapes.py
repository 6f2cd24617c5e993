"""Tasks in the form of REST answers: camelCase, every scalar a string, empty maps as lists."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ..portal import knobs
from ..portal.models import Label, Project, Task, User
from ..tasks import rights
from ..wire import php

AVATAR = "/bitrix/images/tasks/default_avatar.png"
GROUP_IMAGE = "/bitrix/images/socialnetwork/workgroup/bag.png"
CHECKLIST = (
    "Collect what is known",
    "Ask those who did it last time",
    "Agree on who does what",
    "Write the result down",
)


class Viewer:
    """The person who reads the answer: determines the time zone and which tasks are unviewed."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.key = user.portal.key
        self.zone = ZoneInfo(user.zone or user.portal.zone)

    def moment(self, value: datetime | None) -> str | None:
        return value.astimezone(self.zone).isoformat(timespec="seconds") if value is not None else None


def number_of(row: User | Project | None) -> int:
    return row.number if row is not None else 0


def flag(value: bool) -> str:
    return "Y" if value else "N"


Read = Callable[[Task, Viewer], Any]

# The fields that can be selected. A field that the sandbox does not imitate is a constant.
FIELDS: dict[str, Read] = {
    "ID": lambda task, viewer: task.number,
    "PARENT_ID": lambda task, viewer: task.parent.number if task.parent else 0,
    "TITLE": lambda task, viewer: task.title,
    "DESCRIPTION": lambda task, viewer: task.description,
    "MARK": lambda task, viewer: task.mark or None,
    "PRIORITY": lambda task, viewer: task.priority,
    "MULTITASK": lambda task, viewer: "N",
    "NOT_VIEWED": lambda task, viewer: flag(viewer.user in task.unviewed_by.all()),
    "REPLICATE": lambda task, viewer: "N",
    "STAGE_ID": lambda task, viewer: task.stage,
    "SPRINT_ID": lambda task, viewer: task.sprint,
    "BACKLOG_ID": lambda task, viewer: task.backlog,
    "CREATED_BY": lambda task, viewer: task.creator.number,
    "CREATED_DATE": lambda task, viewer: viewer.moment(task.created_date),
    "RESPONSIBLE_ID": lambda task, viewer: task.responsible.number,
    "CHANGED_BY": lambda task, viewer: number_of(task.status_changed_by) or task.creator.number,
    "CHANGED_DATE": lambda task, viewer: viewer.moment(task.changed_date),
    "STATUS_CHANGED_BY": lambda task, viewer: number_of(task.status_changed_by) or task.creator.number,
    "STATUS_CHANGED_DATE": lambda task, viewer: viewer.moment(task.status_changed_date),
    "CLOSED_BY": lambda task, viewer: number_of(task.status_changed_by) if task.closed_date else 0,
    "CLOSED_DATE": lambda task, viewer: viewer.moment(task.closed_date),
    "ACTIVITY_DATE": lambda task, viewer: viewer.moment(task.activity_date),
    "DATE_START": lambda task, viewer: viewer.moment(task.date_start),
    "DEADLINE": lambda task, viewer: viewer.moment(task.deadline),
    "START_DATE_PLAN": lambda task, viewer: None,
    "END_DATE_PLAN": lambda task, viewer: None,
    "GUID": lambda task, viewer: f"{{{task.portal_id:08x}-0000-4000-8000-{task.number:012x}}}",
    "XML_ID": lambda task, viewer: None,
    "COMMENTS_COUNT": lambda task, viewer: 0,
    "SERVICE_COMMENTS_COUNT": lambda task, viewer: 1,
    "ALLOW_CHANGE_DEADLINE": lambda task, viewer: "N",
    "ALLOW_TIME_TRACKING": lambda task, viewer: flag(task.allow_time_tracking),
    "TASK_CONTROL": lambda task, viewer: flag(task.task_control),
    "ADD_IN_REPORT": lambda task, viewer: "N",
    "FORKED_BY_TEMPLATE_ID": lambda task, viewer: None,
    "TIME_ESTIMATE": lambda task, viewer: 0,
    "TIME_SPENT_IN_LOGS": lambda task, viewer: task.time_spent or None,
    "MATCH_WORK_TIME": lambda task, viewer: "N",
    "FORUM_TOPIC_ID": lambda task, viewer: None,
    "FORUM_ID": lambda task, viewer: None,
    "SITE_ID": lambda task, viewer: "s1",
    "SUBORDINATE": lambda task, viewer: "N",
    "EXCHANGE_MODIFIED": lambda task, viewer: None,
    "EXCHANGE_ID": lambda task, viewer: None,
    "OUTLOOK_VERSION": lambda task, viewer: 4,
    "VIEWED_DATE": lambda task, viewer: viewer.moment(task.created_date),
    "SORTING": lambda task, viewer: None,
    "DURATION_PLAN": lambda task, viewer: None,
    "DURATION_FACT": lambda task, viewer: None,
    "DURATION_TYPE": lambda task, viewer: "days",
    "IS_MUTED": lambda task, viewer: "N",
    "IS_PINNED": lambda task, viewer: "N",
    "IS_PINNED_IN_GROUP": lambda task, viewer: "N",
    "FLOW_ID": lambda task, viewer: None,
    "DESCRIPTION_IN_BBCODE": lambda task, viewer: "Y",
    "STATUS": lambda task, viewer: task.status,
    "GROUP_ID": lambda task, viewer: number_of(task.project),
    "FAVORITE": lambda task, viewer: "N",
    "ACCOMPLICES": lambda task, viewer: numbers(task.accomplices.all()),
    "AUDITORS": lambda task, viewer: numbers(task.auditors.all()),
    "TAGS": lambda task, viewer: php.array(
        {str(tag.pk): tag_shape(tag) for tag in labels(task, Label.TAG)}, viewer.key
    ),
}
# Fields that are only in the answer if they are selected, by name or all of them by UF_*.
CUSTOM: dict[str, Read] = {
    "UF_CRM_TASK": lambda task, viewer: [label.name for label in labels(task, Label.CRM)] or False,
}
SELECTABLE = FIELDS | CUSTOM


def labels(task: Task, kind: str) -> list[Label]:
    return [label for label in task.labels.all() if label.kind == kind]


def tag_shape(tag: Label) -> dict[str, Any]:
    return {"id": tag.pk, "title": tag.name}


def numbers(people: Iterable[User]) -> list[int]:
    return sorted(person.number for person in people)


def camel(name: str) -> str:
    head, *tail = name.lower().split("_")
    return head + "".join(part.capitalize() for part in tail)


def strings(value: Any, key: str) -> Any:
    """Numbers as strings, also inside lists."""
    if not knobs.trap("strings_for_numbers", key):
        return value
    if isinstance(value, list):
        return [strings(item, key) for item in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def selected(task: Task, names: list[str], viewer: Viewer) -> dict[str, Any]:
    """The selected fields, and those that a portal adds to them."""
    row: dict[str, Any] = {}
    for name in names:
        row[camel(name)] = strings(SELECTABLE[name](task, viewer), viewer.key)
    if "CREATED_BY" in names:
        row["creator"] = person(task.creator, viewer.key)
    if "RESPONSIBLE_ID" in names:
        row["responsible"] = person(task.responsible, viewer.key)
    if "ACCOMPLICES" in names:
        row["accomplicesData"] = people(task.accomplices.all(), viewer.key)
    if "AUDITORS" in names:
        row["auditorsData"] = people(task.auditors.all(), viewer.key)
    row["group"] = group(task.project if "GROUP_ID" in names else None, viewer.key)
    if "STATUS" in names:
        row["subStatus"] = strings(rights.meta_status(task, viewer.user), viewer.key)
    return row


def person(user: User, key: str) -> dict[str, Any]:
    return {
        "id": strings(user.number, key),
        "name": user.full_name,
        "link": f"/company/personal/user/{user.number}/",
        "icon": AVATAR,
        "workPosition": user.position,
    }


def people(users: Iterable[User], key: str) -> Any:
    rows = sorted(users, key=lambda user: user.number)
    return php.array({str(user.number): person(user, key) for user in rows}, key)


def group(project: Project | None, key: str) -> Any:
    if project is None:
        return php.array({}, key)
    return {
        "id": strings(project.number, key),
        "name": project.name,
        "opened": False,
        "membersCount": len(project.members.all()),
        "image": GROUP_IMAGE,
        "additionalData": [],
    }


def full(task: Task, who: rights.Relation, viewer: Viewer) -> dict[str, Any]:
    """A whole task (about 6 KB), as `get` and the status methods return it."""
    row = selected(task, list(FIELDS), viewer)
    row["newCommentsCount"] = 0
    row["checklist"], row["checkListTree"] = checklist(task, viewer)
    row["checkListCanAdd"] = who.takes_part or who.may_edit
    row["chatId"] = 10_000 + task.number
    row["action"] = rights.actions(who, task.status, viewer.key)
    return row


def checklist(task: Task, viewer: Viewer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same entries flat and as a tree. They make up most of the size of a whole task."""
    flat = {}
    branches = []
    for index, title in enumerate(CHECKLIST):
        node = task.number * 10 + index
        fields = {
            "id": strings(node, viewer.key),
            "taskId": strings(task.number, viewer.key),
            "createdBy": strings(task.creator.number, viewer.key),
            "parentId": strings(task.number * 10 + 9, viewer.key),
            "title": title,
            "sortIndex": strings(index, viewer.key),
            "isComplete": "N",
            "isImportant": "N",
            "toggledBy": None,
            "toggledDate": "",
            "uselessNode": None,
            "members": [],
            "attachments": [],
            "entityId": strings(task.number, viewer.key),
            "displaySortIndex": str(index + 1),
        }
        flat[str(node)] = fields
        branches.append({"nodeId": node, "fields": fields, "action": node_actions(), "descendants": []})
    return flat, {"nodeId": 0, "fields": {"id": None, "title": "BX_CHECKLIST_1"}, "descendants": branches}


def node_actions() -> dict[str, bool]:
    return {
        "modify": True,
        "remove": True,
        "toggle": True,
        "add": True,
        "addAccomplice": True,
        "drag": True,
    }
