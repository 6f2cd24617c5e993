"""The task lists of the desktop, and the list of projects."""

from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from ..portal.models import Task, User
from .desk import Desk, at_desk, show
from .menus import placement_items
from .rows import TaskRow, visible_tasks

PER_PAGE = 50
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
    """All projects, each with the number of its tasks that the person may read."""
    tasks = visible_tasks(desk.user)
    every = desk.portal.projects.prefetch_related("members").order_by("number")
    rows = [(project, tasks.filter(project=project).count()) for project in every]
    return show(request, desk, "projects.html", {"rows": rows, "section": "projects"})


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
