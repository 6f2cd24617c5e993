"""Task lists and task cards of the desktop, and what a person does to a task by hand."""

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_POST

from ..methods import filters
from ..portal import clock
from ..portal.models import Change, Task, User
from ..tasks import actions, rights
from . import words
from .apps import MenuItem, placement_items
from .desk import Desk, at_desk, back, last_change, show

PER_PAGE = 50
# What a row's menu offers, and for which real statuses.
ACTIONS = {"start": (1, 2), "pause": (3,), "defer": (1, 2), "renew": (5, 6), "complete": (1, 2, 3, 6)}
PRESETS = {"in_progress": (1, 2, 3, 4), "deferred": (6,), "completed": (5, 7), "all": (1, 2, 3, 4, 5, 6, 7)}


@require_GET
@at_desk
def user_tasks(request: HttpRequest, desk: Desk, number: int) -> HttpResponse:
    owner = get_object_or_404(desk.portal.users, number=number)
    tasks = visible_tasks(desk.user).filter(_takes_part(owner))
    mine = owner == desk.user
    title = desk.words["my_tasks"] if mine else desk.words["user_tasks"].format(owner.full_name)
    options = {"USER_ID": str(owner.number), "URI": request.path}
    return _task_list(request, desk, tasks, title, "TASK_USER_LIST_TOOLBAR", options, "tasks")


@require_GET
@at_desk
def group_tasks(request: HttpRequest, desk: Desk, number: int) -> HttpResponse:
    project = get_object_or_404(desk.portal.projects, number=number)
    tasks = visible_tasks(desk.user).filter(project=project)
    options = {"GROUP_ID": str(project.number), "URI": request.path}
    return _task_list(request, desk, tasks, project.name, "TASK_GROUP_LIST_TOOLBAR", options, "projects")


@require_GET
@at_desk
def projects(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Every project, with how many of its tasks the person may read."""
    tasks = visible_tasks(desk.user)
    every = desk.portal.projects.prefetch_related("members").order_by("number")
    rows = [(project, tasks.filter(project=project).count()) for project in every]
    return show(request, desk, "projects.html", {"rows": rows, "section": "projects"})


def visible_tasks(user: User) -> QuerySet[Task]:
    """What the person may read, each once."""
    tasks = Task.objects.filter(portal=user.portal)
    return tasks.filter(pk__in=tasks.filter(filters.visible(user)).values("pk"))


def _takes_part(user: User) -> Q:
    helps = Q(pk__in=Task.accomplices.through.objects.filter(user=user).values("task"))
    watches = Q(pk__in=Task.auditors.through.objects.filter(user=user).values("task"))
    return Q(creator=user) | Q(responsible=user) | helps | watches


def _task_list(
    request: HttpRequest,
    desk: Desk,
    tasks: QuerySet[Task],
    title: str,
    placement: str,
    options: dict[str, str],
    section: str,
) -> HttpResponse:
    preset = request.GET.get("preset", "in_progress")
    find = request.GET.get("find", "").strip()
    rows = tasks.filter(status__in=PRESETS.get(preset, PRESETS["all"]))
    if find:
        rows = rows.filter(title__icontains=find)
    rows = rows.select_related("creator", "responsible", "project").order_by("-activity_date", "-number")
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "title": title,
        "page": page,
        "rows": [TaskRow(task, desk, request.path) for task in page],
        "preset": preset,
        "presets": [(name, desk.words[name]) for name in PRESETS],
        "find": find,
        "section": section,
        "refused": "refused" in request.GET,
        "toolbar": placement_items(desk, placement, options),
        "row_items": placement_items(desk, "TASK_LIST_CONTEXT_MENU", {}),
    }
    return show(request, desk, "tasks.html", context)


class Button:
    """An action of the desktop's own, in the reader's language."""

    def __init__(self, name: str, desk: Desk) -> None:
        self.name = name
        self.label = desk.words[name]


class TaskRow:
    """A task in the words of the reader."""

    def __init__(self, task: Task, desk: Desk, page: str) -> None:
        self.task = task
        self.desk = desk
        self.options = json.dumps({"ID": str(task.number), "URI": page})  # of the row menu's apps
        self.status = words.status_name(task.status, desk.language)
        # By the status alone: what the rules say to this person shows when it is tried.
        self.actions = [Button(name, desk) for name, statuses in ACTIONS.items() if task.status in statuses]
        self.tick_label = desk.words["select_row"].format(task.title)
        self.menu_label = desk.words["row_menu"].format(task.title)
        self.path = card_path(task, desk.user)

    @property
    def deadline(self) -> str:
        moment = self.task.deadline
        if moment is None:
            return self.desk.words["no_deadline"]
        if self.overdue:
            return words.overdue_words((clock.now() - moment).days, self.desk.language)
        return local_words(moment, self.desk)

    @property
    def overdue(self) -> bool:
        moment = self.task.deadline
        return moment is not None and moment < clock.now() and self.task.status not in (4, 5)


def card_path(task: Task, user: User) -> str:
    return f"/company/personal/user/{user.number}/tasks/task/view/{task.number}/"


def local_words(moment: datetime, desk: Desk) -> str:
    zone = ZoneInfo(desk.user.zone or desk.portal.zone)
    return words.date_words(moment.astimezone(zone), clock.now().astimezone(zone), desk.language)


# -- One task -----------------------------------------------------------------------------------------------


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
    """The apps of the card, without those that asked for other projects only."""
    options = {"taskId": str(task.number), "URI": path}
    items = placement_items(desk, "TASK_VIEW_TAB", options)
    group = str(task.project.number) if task.project else ""
    return [item for item in items if group in _groups(item) or not _groups(item)]


def _groups(item: MenuItem) -> list[str]:
    options = item.placement.options
    wanted = str(options.get("groupId", "")) if isinstance(options, dict) else ""  # an empty PHP map is a list
    return [number.strip() for number in wanted.split(",") if number.strip()]


class HistoryLine:
    """One status change in the words of the reader."""

    def __init__(self, change: Change, desk: Desk) -> None:
        self.when = local_words(datetime.fromtimestamp(change.at, UTC), desk)
        self.who = change.user.full_name if change.user else ""
        self.before = words.status_name(change.before, desk.language)
        self.after = words.status_name(change.after, desk.language)
        self.how = desk.words["by_hand"] if change.token is None else desk.words["by_app"].format(change.method)


@require_POST
@at_desk
def act(request: HttpRequest, desk: Desk, number: int, action: str) -> HttpResponse:
    """Do it by hand, as far as the portal's rules let this person."""
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
    """What an open page compares to learn that a task changed meanwhile."""
    return JsonResponse({"last_change": last_change(desk.portal)})
