"""task.item.* and task.commentitem.*: positional methods. The order of the parameters counts, not their names.

If a method expects one parameter, a second one breaks the call: for example, the telemetry of the SDKs.
"""

from typing import Any

from django.db import transaction

from ..app import events
from ..portal import knobs
from ..portal.errors import RestError
from ..portal.models import Comment, Task
from ..tasks import rights
from ..tasks.actions import Found, Refused, find, perform
from ..tasks.reading import visible
from ..wire import php
from ..wire.call import Call, Page, Params, method
from . import filters, orders, shapes, texts

PAGE_SIZE = 50  # rows, at most


@method("task.item.defer", "task")
def task_item_defer(call: Call, params: Params) -> None:
    act(call, "defer", params)


@method("task.item.renew", "task")
def task_item_renew(call: Call, params: Params) -> None:
    act(call, "renew", params)


@method("task.item.startexecution", "task")
def task_item_startexecution(call: Call, params: Params) -> None:
    act(call, "start", params)


@method("task.item.pauseexecution", "task")
def task_item_pauseexecution(call: Call, params: Params) -> None:
    act(call, "pause", params)


def act(call: Call, action: str, params: Params) -> None:
    number = positional_task(call, params)
    try:
        perform(action, call.user, number, call.method, call.token, call.request, call.seen)
    except Refused:
        raise core_error(f"{texts.text('not_allowed', call.user)}<br>") from None


def positional_task(call: Call, params: Params) -> int:
    """The task's number, which must be the only parameter. Raises ERROR_CORE otherwise."""
    values: list[Any] = list(params.values())
    if not knobs.trap("positional_legacy", call.portal.key):
        values = [value for name, value in params.items() if name.upper() == "TASKID"]
    for index, value in enumerate(values or [None]):
        if index or not php.is_numeric(value):
            raise wrong_argument(call, index, "taskId", "integer")
    return php.integer(values[0])


def wrong_argument(call: Call, index: int, name: str, kind: str) -> RestError:
    return core_error(
        f"TASKS_ERROR_EXCEPTION_#256; Param #{index} ({name}) for method {call.method}() expected"
        f' to be of type "{kind}", but given something else.; 256/TE/WRONG_ARGUMENTS<br>'
    )


def core_error(text: str) -> RestError:
    return RestError(400, "ERROR_CORE", text)


@method("task.item.getdata", "task")
def task_item_getdata(call: Call, params: Params) -> dict[str, Any]:
    """The whole task with upper-case names. STATUS is the meta status here; REAL_STATUS is the real one."""
    found = readable(call, positional_task(call, params))
    viewer = shapes.Viewer(call.user)
    return legacy_row(found.task, list(shapes.FIELDS), viewer)


def readable(call: Call, number: int) -> Found:
    found = find(call.user, number)
    if found is None:
        text = texts.text("not_found", call.user)
        raise core_error(f"TASKS_ERROR_EXCEPTION_#1048577; {text}; 1048577/TE/TASK_NOT_FOUND_OR_NOT_ACCESSIBLE<br>")
    return found


@method("task.item.list", "task")
def task_item_list(call: Call, params: Params) -> Page:
    """A page of tasks. By position: order, filter, params (with NAV_PARAMS), select."""
    order, wanted, extra, select = arguments(call, params)
    viewer = shapes.Viewer(call.user)
    asked = [name for name in php.members(select or []) if name in shapes.FIELDS] or list(shapes.FIELDS)
    found = Task.objects.filter(visible(call.user), filters.condition(wanted, call.user), portal=call.portal)
    tasks = rights.with_people(found).order_by(*orders.ordering(order, viewer.key), "number")
    pages = extra.get("NAV_PARAMS")
    pages = pages if isinstance(pages, dict) else {}
    size = min(php.integer(pages.get("nPageSize", PAGE_SIZE)) or PAGE_SIZE, PAGE_SIZE)
    first = (max(php.integer(pages.get("iNumPage", 1)), 1) - 1) * size or max(call.start, 0) // size * size
    total = tasks.count()
    rows = [legacy_row(task, ["ID", *asked], viewer) for task in tasks[first : first + size]]
    return Page(rows, next=first + size if first + size < total else None, total=total)


def arguments(call: Call, params: Params) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], Any]:
    """The four arguments of a list by position, each a PHP array. Raises ERROR_CORE otherwise."""
    given: list[Any] = list(params.values())[:4]
    if not knobs.trap("positional_legacy", call.portal.key):
        upper = {name.upper(): value for name, value in params.items()}
        given = [upper.get(name) or {} for name in ("ORDER", "FILTER", "PARAMS", "SELECT")]
    for index, value in enumerate(given):
        if not isinstance(value, dict | list):
            name = ("arOrder", "arFilter", "arParams", "arSelect")[index]
            raise wrong_argument(call, index, name, "array")
    given += [{}] * (4 - len(given))
    order, wanted, extra = (value if isinstance(value, dict) else {} for value in given[:3])
    return order, wanted, extra, given[3]


def legacy_row(task: Task, names: list[str], viewer: shapes.Viewer) -> dict[str, Any]:
    row = {name: shapes.strings(shapes.FIELDS[name](task, viewer), viewer.key) for name in names}
    if "STATUS" in row:
        row["STATUS"] = shapes.strings(rights.meta_status(task, viewer.user), viewer.key)
    row["REAL_STATUS"] = shapes.strings(task.status, viewer.key)
    if "RESPONSIBLE_ID" in row:
        row |= {"RESPONSIBLE_NAME": task.responsible.name, "RESPONSIBLE_LAST_NAME": task.responsible.last_name}
    if "CREATED_BY" in row:
        row |= {"CREATED_BY_NAME": task.creator.name, "CREATED_BY_LAST_NAME": task.creator.last_name}
    return row


@method("task.commentitem.add", "task")
def task_commentitem_add(call: Call, params: Params) -> int:
    """Add a comment; return its number. By position: the task, and a map with POST_MESSAGE."""
    task, fields = [*params.values(), None, None][:2]
    if not php.is_numeric(task):
        raise wrong_argument(call, 0, "taskId", "integer")
    if not isinstance(fields, dict) or not str(fields.get("POST_MESSAGE", "")).strip():
        raise wrong_argument(call, 1, "arFields", "array")
    found = readable(call, php.integer(task))
    with transaction.atomic():
        comment = Comment.objects.create(task=found.task, user=call.user, text=str(fields["POST_MESSAGE"]))
    events.commented(comment)
    return comment.pk
