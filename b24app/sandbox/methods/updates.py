"""tasks.task.update: changes fields of a task. It can also set a status without the rules of the status methods."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from ..app import events
from ..portal.errors import RestError
from ..portal.models import History, Label, Task, User
from ..portal.statuses import DEFERRED, PENDING
from ..tasks import actions, timers
from ..tasks.actions import Found, Refused
from ..wire import php
from ..wire.call import Call
from . import texts
from .filters import parse_moment

Write = Callable[[Call, Task, Any], None]


@dataclass(frozen=True)
class Field:
    """How to write a field, and how to read its value."""

    write: Write
    read: Callable[[Task], Any]


def number(column: str) -> Field:
    return Field(
        lambda call, task, value: setattr(task, column, php.integer(value)), lambda task: getattr(task, column)
    )


def text(column: str) -> Field:
    return Field(lambda call, task, value: setattr(task, column, str(value)), lambda task: getattr(task, column))


def flag(column: str) -> Field:
    return Field(lambda call, task, value: setattr(task, column, value == "Y"), lambda task: getattr(task, column))


def people(column: str) -> Field:
    def write(call: Call, task: Task, value: Any) -> None:
        numbers = [php.integer(item) for item in php.members(value)]
        getattr(task, column).set(User.objects.filter(portal=call.portal, number__in=numbers))

    return Field(write, lambda task: sorted(getattr(task, column).values_list("number", flat=True)))


def labels(kind: str) -> Field:
    def write(call: Call, task: Task, value: Any) -> None:
        task.labels.filter(kind=kind).delete()
        Label.objects.bulk_create([Label(task=task, kind=kind, name=str(name)) for name in php.members(value) if name])

    return Field(write, lambda task: list(task.labels.filter(kind=kind).values_list("name", flat=True)))


def write_title(call: Call, task: Task, value: Any) -> None:
    if not str(value).strip():
        raise core_error("no_title", call)
    task.title = str(value)


def write_deadline(call: Call, task: Task, value: Any) -> None:
    task.deadline = parse_moment(str(value), call.user) if value else None


def write_responsible(call: Call, task: Task, value: Any) -> None:
    found = User.objects.filter(portal=call.portal, number=php.integer(value), active=True).first()
    if found is None:
        raise core_error("bad_responsible", call)
    task.responsible = found


def write_project(call: Call, task: Task, value: Any) -> None:
    task.project = call.portal.projects.filter(number=php.integer(value)).first()


def write_parent(call: Call, task: Task, value: Any) -> None:
    task.parent = call.portal.tasks.filter(number=php.integer(value)).first()


FIELDS = {
    "TITLE": Field(write_title, lambda task: task.title),
    "DESCRIPTION": text("description"),
    "DEADLINE": Field(write_deadline, lambda task: task.deadline),
    "RESPONSIBLE_ID": Field(write_responsible, lambda task: task.responsible.number),
    "GROUP_ID": Field(write_project, lambda task: task.project.number if task.project else 0),
    "PARENT_ID": Field(write_parent, lambda task: task.parent.number if task.parent else 0),
    "PRIORITY": number("priority"),
    "STAGE_ID": number("stage"),
    "MARK": text("mark"),
    "TASK_CONTROL": flag("task_control"),
    "ALLOW_TIME_TRACKING": flag("allow_time_tracking"),
    "ACCOMPLICES": people("accomplices"),
    "AUDITORS": people("auditors"),
    "TAGS": labels(Label.TAG),
    "UF_CRM_TASK": labels(Label.CRM),
}


def update(call: Call, task_number: int, fields: dict[str, Any]) -> Found | None:
    """Change the known fields and ignore the others. Return the task, or None if the person can no longer read it.

    Raises Refused, or RestError for a bad value.
    """
    wanted = {name: value for name, value in fields.items() if name in FIELDS}
    status = checked_status(call, fields["STATUS"]) if "STATUS" in fields else None
    with transaction.atomic():
        found = actions.find(call.user, task_number)
        if found is None:
            raise Refused("missing")
        permitted = found.who.may_edit or not wanted
        if not permitted or (status is not None and not found.who.may_change_status):
            raise Refused("right")
        for name, value in wanted.items():
            write(call, found.task, name, value)
        found.task.save()
        if status is not None and status != found.task.status:
            timers.change_status(found.task, status, call.method, call.user, call.token, call.request)
    if wanted or status is not None:
        events.task_changed(found.task, call.user)
    return actions.find(call.user, task_number)


def checked_status(call: Call, value: Any) -> int:
    """The requested status, one of PENDING..DEFERRED. Transitions are not checked. Raises ERROR_CORE otherwise."""
    if not php.is_numeric(value) or php.integer(value) not in range(PENDING, DEFERRED + 1):
        raise core_error("bad_status", call)
    return php.integer(value)


def core_error(name: str, call: Call) -> RestError:
    return RestError(400, "ERROR_CORE", f"{texts.text(name, call.user)}<br>")


def write(call: Call, task: Task, name: str, value: Any) -> None:
    """Write one field, and note the change in the task's history."""
    field = FIELDS[name]
    before = str(field.read(task))
    field.write(call, task, value)
    after = str(field.read(task))
    if before != after:
        History.objects.create(task=task, user=call.user, field=name, before=before, after=after)
