"""The card of one task, its history, and the actions that a person does by hand."""

from datetime import UTC, datetime

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_POST

from ..portal.models import Change, Task
from ..portal.statuses import status_name
from ..tasks import actions, rights
from .desk import Desk, at_desk, back, last_change, show
from .menus import MenuItem, placement_items
from .rows import ACTIONS, Button, TaskRow, local_words, visible_tasks


@require_GET
@at_desk
def user_task(request: HttpRequest, desk: Desk, owner: int, number: int) -> HttpResponse:
    get_object_or_404(desk.portal.users, number=owner)
    return _card(request, desk, number)


@require_GET
@at_desk
def group_task(request: HttpRequest, desk: Desk, group: int, number: int) -> HttpResponse:
    get_object_or_404(desk.portal.projects, number=group)
    return _card(request, desk, number)


def _card(request: HttpRequest, desk: Desk, number: int) -> HttpResponse:
    tasks = visible_tasks(desk.user).select_related("creator", "responsible", "project")
    task = tasks.filter(number=number).first()
    if task is None:
        return show(request, desk, "no_task.html", {})
    changes = desk.portal.changes.filter(task=number).select_related("user", "token").order_by("-pk")
    context = {
        "row": TaskRow(task, desk, request.path),
        "task": task,
        "actions": [Button(name, desk) for name in ACTIONS if _allowed(desk, task)[name]],
        "created": local_words(task.created_date, desk),
        "history": [HistoryLine(change, desk) for change in changes],
        "tabs": _tabs(desk, task, request.path),
        "refused": "refused" in request.GET,
    }
    return show(request, desk, "task.html", context)


def _allowed(desk: Desk, task: Task) -> dict[str, bool]:
    return rights.actions(rights.relation(desk.user, task), task.status, desk.portal.key)


def _tabs(desk: Desk, task: Task, path: str) -> list[MenuItem]:
    """The apps in the card's tabs, without those that are bound to other projects only."""
    options = {"taskId": str(task.number), "URI": path}
    items = placement_items(desk, "TASK_VIEW_TAB", options)
    group = str(task.project.number) if task.project else ""
    return [item for item in items if group in _groups(item) or not _groups(item)]


def _groups(item: MenuItem) -> list[str]:
    options = item.placement.options
    wanted = str(options.get("groupId", "")) if isinstance(options, dict) else ""  # an empty PHP map is a list
    return [number.strip() for number in wanted.split(",") if number.strip()]


class HistoryLine:
    """One change of status in the reader's language."""

    def __init__(self, change: Change, desk: Desk) -> None:
        self.when = local_words(datetime.fromtimestamp(change.at, UTC), desk)
        self.who = change.user.full_name if change.user else ""
        self.before = status_name(change.before, desk.language)
        self.after = status_name(change.after, desk.language)
        self.how = desk.words["by_hand"] if change.token is None else desk.words["by_app"].format(change.method)


@require_POST
@at_desk
def act(request: HttpRequest, desk: Desk, number: int, action: str) -> HttpResponse:
    """Do an action by hand, if the portal's rules allow it to this person."""
    if action not in ACTIONS:
        raise Http404("No such action.")
    try:
        actions.perform(action, desk.user, number)
    except actions.Refused:
        return back(request, refused=True)
    return back(request)


@require_GET
@at_desk
def pulse(request: HttpRequest, desk: Desk) -> HttpResponse:
    """A number that an open page polls to notice that a task has changed."""
    return JsonResponse({"last_change": last_change(desk.portal)})
