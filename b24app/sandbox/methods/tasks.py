"""tasks.task.*: reading tasks, changing their fields and status, and their timers."""

from typing import Any

from django.db.models import QuerySet

from ..portal import knobs
from ..portal.errors import RestError
from ..portal.models import History, Task, User
from ..tasks import rights, timers
from ..tasks.actions import ACTIONS, Refused, find, perform
from ..tasks.reading import visible
from ..wire import php
from ..wire.call import Call, Page, Params, method
from . import filters, orders, shapes, texts, updates

PAGE_SIZE = 50
MISSING_TASK_ID = "CTaskItem All parameters in the constructor must have real class type (internal error)"


@method("tasks.task.list", "task")
def task_list(call: Call, params: Params) -> Page:
    viewer = shapes.Viewer(call.user)
    names = asked_fields(params.get("select"), viewer.key)
    wanted = filters.condition(mapping(params.get("filter")), call.user)
    found = Task.objects.filter(visible(call.user), wanted, portal=call.portal)
    tasks = rights.with_people(found).order_by(*orders.ordering(mapping(params.get("order")), viewer.key), "number")
    extras = {name.upper() for name, value in mapping(params.get("params")).items() if value == "Y"}
    if call.start == -1 and knobs.trap("minus_one_counts_nothing", viewer.key):
        return Page({"tasks": rows(tasks[:PAGE_SIZE], names, viewer, extras)})
    first = max(call.start, 0) // PAGE_SIZE * PAGE_SIZE
    last, total = first + PAGE_SIZE, tasks.count()
    page = rows(tasks[first:last], names, viewer, extras)
    return Page({"tasks": page}, next=last if last < total else None, total=total)


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def asked_fields(select: Any, portal_key: str) -> list[str]:
    """The known fields among the selected ones, ID first; all fields if none is selected."""
    asked = php.members(select) if select else list(shapes.FIELDS)
    if not all(isinstance(name, str) for name in asked):
        raise RestError(400, "0", "Invalid select data")
    if "UF_*" in asked:
        asked = [*asked, *shapes.CUSTOM]
    if "*" in asked or not knobs.trap("only_selected_fields", portal_key):
        asked = list(shapes.FIELDS)
    return ["ID", *(name for name in dict.fromkeys(asked) if name in shapes.SELECTABLE and name != "ID")]


def rows(tasks: QuerySet[Task], names: list[str], viewer: shapes.Viewer, extras: set[str]) -> list[dict[str, Any]]:
    """The rows of one page: the selected fields, and the extras that `params` asks for."""
    found = []
    for task in tasks:
        row = shapes.selected(task, names, viewer)
        if "RETURN_ACCESS" in extras or not knobs.trap("only_selected_fields", viewer.key):
            row["action"] = rights.actions(rights.relation(viewer.user, task), task.status, viewer.key)
        if "WITH_TIMER_INFO" in extras:
            row |= timers.info(task, viewer.user)
        if "WITH_RESULT_INFO" in extras:
            row |= {"taskRequireResult": "N", "taskHasResult": "N", "taskHasOpenResult": "N"}
        found.append(row)
    return found


@method("tasks.task.get", "task")
def task_get(call: Call, params: Params) -> Any:
    """The task, or `[]` if it does not exist or cannot be read: a portal reports no error then."""
    viewer = shapes.Viewer(call.user)
    found = find(call.user, task_number(call, params))
    if found is None:
        if knobs.trap("silent_get", viewer.key):
            return []
        raise not_allowed(call)
    task = found.task
    call.seen.setdefault(task.number, task.status)
    if not params.get("select"):
        return {"task": shapes.full(task, found.who, viewer)}
    row = shapes.selected(task, asked_fields(params["select"], viewer.key), viewer)
    row["action"] = rights.actions(found.who, task.status, viewer.key)
    return {"task": row}


@method("tasks.task.getaccess", "task")
def task_getaccess(call: Call, params: Params) -> dict[str, Any]:
    """The actions that the caller, or each of `users`, may do to a task."""
    key, found = call.portal.key, find(call.user, task_number(call, params))
    if found is None:
        return {"allowedActions": php.array({}, key)}
    people = [php.integer(item) for item in php.members(params.get("users") or [call.user.number])]
    allowed = {}
    for user in User.objects.filter(portal=call.portal, number__in=people):
        actions = rights.actions(rights.relation(user, found.task), found.task.status, key)
        allowed[str(user.number)] = {upper(name): may for name, may in actions.items()}
    return {"allowedActions": php.array(allowed, key)}


def upper(name: str) -> str:
    """changeDeadline -> CHANGE_DEADLINE"""
    return "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name)


def task_number(call: Call, params: Params) -> int:
    """The argument `taskId`. Raises error 100 if it is missing, and error 0 if it is not an id."""
    if not knobs.trap("exact_argument_names", call.portal.key):
        params = {"taskId" if name.lower() == "taskid" else name: value for name, value in params.items()}
    if "taskId" not in params:
        raise RestError(400, "100", MISSING_TASK_ID)
    number = php.integer(params["taskId"]) if php.is_numeric(params["taskId"]) else 0
    if number <= 0:
        raise RestError(400, "0", "wrong task id")
    return number


@method("tasks.task.defer", "task")
def task_defer(call: Call, params: Params) -> Any:
    return act(call, "defer", params)


@method("tasks.task.pause", "task")
def task_pause(call: Call, params: Params) -> Any:
    return act(call, "pause", params)


@method("tasks.task.start", "task")
def task_start(call: Call, params: Params) -> Any:
    return act(call, "start", params)


@method("tasks.task.renew", "task")
def task_renew(call: Call, params: Params) -> Any:
    return act(call, "renew", params)


@method("tasks.task.complete", "task")
def task_complete(call: Call, params: Params) -> Any:
    return act(call, "complete", params)


def act(call: Call, action: str, params: Params) -> Any:
    """Change a status; answer with the whole task."""
    number = task_number(call, params)
    try:
        done = perform(action, call.user, number, call.method, call.token, call.request, call.seen)
    except Refused as refused:
        raise not_allowed(call, refusal_code(action, refused, call.portal.key)) from None
    return {"task": shapes.full(done.task, done.who, shapes.Viewer(call.user))}


def not_allowed(call: Call, code: str = "1048582") -> RestError:
    return RestError(400, code, texts.text("not_allowed", call.user))


def refusal_code(action: str, refused: Refused, portal_key: str) -> str:
    if not knobs.trap("one_code_for_all", portal_key):
        return f"ERROR_{refused.reason.upper()}"
    return ACTIONS[action].code if knobs.trap("start_has_its_own_code", portal_key) else "1048582"


@method("tasks.task.update", "task")
def task_update(call: Call, params: Params) -> Any:
    number, fields = task_number(call, params), mapping(params.get("fields"))
    try:
        done = updates.update(call, number, fields)
    except Refused:
        raise not_allowed(call) from None
    return {"task": shapes.full(done.task, done.who, shapes.Viewer(call.user))} if done is not None else []


@method("tasks.task.getfields", "task")
def task_getfields(call: Call, params: Params) -> dict[str, Any]:
    """The fields of a task, by their names in filters and selects."""
    return {"fields": {name: field_of(name) for name in shapes.SELECTABLE}}


def field_of(name: str) -> dict[str, Any]:
    kind = "datetime" if name in filters.MOMENTS else "integer" if name in filters.NUMBERS else "string"
    if name == "STATUS":
        values = {"2": "Pending", "3": "In progress", "4": "Supposedly completed", "5": "Completed", "6": "Deferred"}
        return {"title": name, "type": "enum", "values": values, "default": 2}
    return {"title": name, "type": kind, **({"primary": True} if name == "ID" else {})}


@method("tasks.task.history.list", "task")
def task_history_list(call: Call, params: Params) -> dict[str, Any]:
    """The changes of a task, oldest first unless `order` says otherwise; `filter` may name one FIELD."""
    found = find(call.user, task_number(call, params))
    if found is None:
        raise not_allowed(call)
    lines = found.task.history.select_related("user").order_by("pk")
    if field := mapping(params.get("filter")).get("FIELD"):
        lines = lines.filter(field=field)
    if str(next(iter(mapping(params.get("order")).values()), "")).lower() == "desc":
        lines = lines.reverse()
    viewer = shapes.Viewer(call.user)
    return {"list": [history_line(line, viewer) for line in lines]}


def history_line(line: History, viewer: shapes.Viewer) -> dict[str, Any]:
    by = line.user
    return {
        "id": str(line.pk),
        "createdDate": viewer.moment(line.at),
        "field": line.field,
        "value": {"from": line.before, "to": line.after},
        "user": {
            "id": str(shapes.number_of(by)),
            "name": by.name if by else "",
            "lastName": by.last_name if by else "",
            "secondName": "",
            "login": f"user{shapes.number_of(by)}",
        },
    }


@method("tasks.task.starttimer", "task")
def task_start_timer(call: Call, params: Params) -> Any:
    return track(call, params, running=True)


@method("tasks.task.pausetimer", "task")
def task_pause_timer(call: Call, params: Params) -> Any:
    return track(call, params, running=False)


def track(call: Call, params: Params, *, running: bool) -> Any:
    """Start or stop the person's timer; null if the task does not track time. (From code, not from the manual.)"""
    found = find(call.user, task_number(call, params))
    if found is None:
        raise not_allowed(call)
    if not timers.may_track(found.who, found.task):
        return None
    if running:
        timers.start(found.task, call.user, call.method, call.token, call.request)
    else:
        for timer in found.task.timers.filter(user=call.user):
            timers.stop(timer)
    return task_get(call, params)
