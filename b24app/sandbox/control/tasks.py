"""Verbs about tasks, timers and notifications."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import models, transaction

from ..app import events
from ..portal.models import Change, EventHandler, Label, Portal, Project, Task, User
from ..portal.statuses import PENDING
from ..tasks import timers
from ..weather import faults
from ..weather.verbs import Body, verb
from .rows import moment, next_number, portal_of, user_of

# Columns that a spec sets directly.
PLAIN = ("task_control", "allow_time_tracking", "mark", "stage", "sprint", "backlog", "priority")


@verb
def tasks(body: Body) -> list[int]:
    """Create tasks; return their numbers.

    {portal, tasks: [{…}, …]}, or {portal, count, …} for equal tasks. A task has creator, responsible,
    project, parent, accomplices, auditors, unviewed_by, depends_on (all numbers), number, status, title,
    description, mark, stage, sprint, backlog, task_control, allow_time_tracking, tags, crm and deadline (ISO, or
    seconds from now).
    """
    portal = portal_of(body)
    common = {name: value for name, value in body.items() if name not in ("portal", "tasks", "count")}
    specs = [common | spec for spec in body.get("tasks", [{}] * body.get("count", 0))]
    with transaction.atomic():
        made = create_tasks(portal, specs)
    if EventHandler.objects.filter(installation__portal=portal, event="ONTASKADD").exists():
        for row in made:
            events.task_added(row, None)
    return [row.number for row in made]


def create_tasks(portal: Portal, specs: list[Body]) -> list[Task]:
    """Create a task for each spec, with its people, dependencies and labels."""
    people: dict[Any, User] = {row.number: row for row in portal.users.all()}
    projects: dict[Any, Project] = {row.number: row for row in portal.projects.all()}
    free = next_number(portal.tasks.all())
    made = [
        task_from(portal, spec, spec.get("number") or free + index, people, projects)
        for index, spec in enumerate(specs)
    ]
    Task.objects.bulk_create(made)
    pairs = list(zip(made, specs, strict=True))
    for name in ("accomplices", "auditors", "unviewed_by"):
        join(
            getattr(Task, name).through, [(row, people[number]) for row, spec in pairs for number in spec.get(name, [])]
        )
    for row, spec in pairs:
        if spec.get("depends_on"):
            row.depends_on.set(portal.tasks.filter(number__in=spec["depends_on"]))
    Label.objects.bulk_create(label for row, spec in pairs for label in labels_from(row, spec))
    return made


def task_from(
    portal: Portal, spec: Body, number: int, people: Mapping[Any, User], projects: Mapping[Any, Project]
) -> Task:
    """A task that is not saved yet."""
    return Task(
        portal=portal,
        number=number,
        title=spec.get("title", f"Task {number}"),
        description=spec.get("description", ""),
        status=spec.get("status", PENDING),
        creator=people[spec["creator"]],
        responsible=people[spec.get("responsible", spec["creator"])],
        project=projects[spec["project"]] if spec.get("project") else None,
        deadline=moment(spec.get("deadline")),
        parent=portal.tasks.get(number=spec["parent"]) if spec.get("parent") else None,
        **{name: spec[name] for name in PLAIN if name in spec},
        status_changed_by=people[spec["creator"]],
    )


def labels_from(row: Task, spec: Body) -> list[Label]:
    given = ((Label.TAG, spec.get("tags", [])), (Label.CRM, spec.get("crm", [])))
    return [Label(task=row, kind=kind, name=name) for kind, names in given for name in names]


def join(through: Any, pairs: Iterable[tuple[Task, User]]) -> None:
    through.objects.bulk_create([through(task_id=task.pk, user_id=person.pk) for task, person in pairs])


@verb
def change_task(body: Body) -> None:
    """Change a task by hand: {portal, task, status? | responsible? | deadline? | delete?}."""
    options = dict(body)
    if "deadline" in options:
        options["deadline"] = moment(options["deadline"])
    faults.change_task(portal_of(body), options)


@verb
def task_states(body: Body) -> dict[str, int]:
    """{portal, tasks?: [numbers]} -> the real statuses by task number (a string, as JSON keys are)."""
    rows = portal_of(body).tasks.all()
    if "tasks" in body:
        rows = rows.filter(number__in=body["tasks"])
    return {str(number): status for number, status in rows.values_list("number", "status").order_by("number")}


@verb
def task(body: Body) -> Body:
    """{portal, task} -> {status, changes: [{before, after, method, person, …}], …}, oldest first."""
    row = portal_of(body).tasks.get(number=body["task"])
    changes = Change.objects.filter(portal=row.portal_id, task=row.number).order_by("pk")
    names = ("before", "after", "method", "token", "request")
    return {
        "status": row.status,
        "changes": list(changes.values(*names, person=models.F("user__number"))),
        "comments": list(row.comments.order_by("pk").values("text", person=models.F("user__number"))),
        "timers": list(row.timers.values_list("user__number", flat=True)),
        "time_spent": row.time_spent,
    }


@verb
def timer(body: Body) -> None:
    """Start a person's timer by hand: {portal, task, user}; {stop: true} stops it."""
    row = portal_of(body).tasks.get(number=body["task"])
    person = user_of(row.portal, body["user"])
    if not body.get("stop"):
        timers.start(row, person)
        return
    for running in row.timers.filter(user=person):
        timers.stop(running)


@verb
def notifications(body: Body) -> list[Body]:
    """{portal, user} -> the person's notifications, oldest first."""
    rows = user_of(portal_of(body), body["user"]).notifications.order_by("pk").select_related("sender")
    return [{"message": row.message, "tag": row.tag, "from": row.sender.number if row.sender else None} for row in rows]
