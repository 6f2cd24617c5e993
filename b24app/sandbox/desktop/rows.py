"""Tasks on the desktop: which ones a person sees, and their texts."""

import json
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

from ..portal import clock
from ..portal.models import Task, User
from ..portal.statuses import AWAITING_CONTROL, COMPLETED, status_name
from ..tasks.reading import visible
from . import words
from .desk import Desk

# The actions in a row's menu, and the real statuses that offer each.
ACTIONS = {"start": (1, 2), "pause": (3,), "defer": (1, 2), "renew": (5, 6), "complete": (1, 2, 3, 6)}


def visible_tasks(user: User) -> QuerySet[Task]:
    """The tasks that the person may read, without duplicates."""
    tasks = Task.objects.filter(portal=user.portal)
    return tasks.filter(pk__in=tasks.filter(visible(user)).values("pk"))


class Button:
    """A button for an action, in the reader's language."""

    def __init__(self, name: str, desk: Desk) -> None:
        self.name = name
        self.label = desk.words[name]


class TaskRow:
    """A task in the reader's language."""

    def __init__(self, task: Task, desk: Desk, page: str) -> None:
        self.task = task
        self.desk = desk
        self.options = json.dumps({"ID": str(task.number), "URI": page})  # of the apps in the row's menu
        self.status = status_name(task.status, desk.language)
        # By the status alone. If the rules do not allow it, the person learns it after the click.
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
        return moment is not None and moment < clock.now() and self.task.status not in (AWAITING_CONTROL, COMPLETED)


def card_path(task: Task, user: User) -> str:
    return f"/company/personal/user/{user.number}/tasks/task/view/{task.number}/"


def local_words(moment: datetime, desk: Desk) -> str:
    zone = ZoneInfo(desk.user.zone or desk.portal.zone)
    return words.date_words(moment.astimezone(zone), clock.now().astimezone(zone), desk.language)
