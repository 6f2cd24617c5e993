"""The status changes that a person can make to a task, by the portal's rules."""

from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction

from ..app import events
from ..portal import knobs
from ..portal.models import Request, Task, Token, User
from ..portal.statuses import AWAITING_CONTROL, COMPLETED, DEFERRED, IN_PROGRESS, PENDING
from . import rights, timers
from .rights import Relation


@dataclass(frozen=True)
class Action:
    target: int
    allowed: Callable[[Relation, int, str], bool]  # relation, real status, portal's key
    code: str = "1048582"  # of the refusal


ACTIONS = {
    "defer": Action(DEFERRED, rights.may_defer),
    "pause": Action(PENDING, rights.may_pause),
    "renew": Action(PENDING, rights.may_renew),
    "start": Action(IN_PROGRESS, rights.may_start, code="0"),
    "complete": Action(COMPLETED, rights.may_complete, code="0"),
}


@dataclass(frozen=True)
class Found:
    """A task that a person may read, and the person's relation to it."""

    task: Task
    who: Relation


class Refused(Exception):
    """The action is not allowed. `reason` is missing, right or status; a real portal does not tell it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def perform(
    name: str,
    user: User,
    number: int,
    method: str = "by hand",
    token: Token | None = None,
    request: Request | None = None,
    seen: dict[int, int] | None = None,
) -> Found:
    """Do one of ACTIONS to task `number` as `user`; return the task after it. Raises Refused.

    `seen` holds the statuses that this PHP process has read before. They count only if the knob
    `stale_task_cache` is on.
    """
    with transaction.atomic():
        found = find(user, number)
        if found is None:
            raise Refused("missing")
        changed = change(name, user, found, method, token, request, {} if seen is None else seen)
    if changed:
        events.task_changed(found.task, user)
    return found


def find(user: User, number: int) -> Found | None:
    """Task `number` of the person's portal, or None if it does not exist or the person may not read it."""
    tasks = Task.objects.filter(portal=user.portal_id, number=number)
    for task in rights.with_people(tasks):
        found = Found(task, rights.relation(user, task))
        return found if found.who.may_read else None
    return None


def change(
    name: str,
    user: User,
    found: Found,
    method: str,
    token: Token | None,
    request: Request | None,
    seen: dict[int, int],
) -> bool:
    """Change the status of the found task. Return False if there was nothing to change. Raises Refused."""
    task, who, action = found.task, found.who, ACTIONS[name]
    key = task.portal.key
    target = action.target if name != "complete" else completed_status(task, who)
    if nothing_to_do(task, user, target):
        return False
    first_read = seen.setdefault(task.number, task.status)
    status = first_read if knobs.knob("stale_task_cache", key) else task.status
    if not action.allowed(who, status, key):
        raise Refused("status" if some_status_allows(name, who, key) else "right")
    timers.change_status(task, target, method, user, token, request)
    return True


def nothing_to_do(task: Task, user: User, target: int) -> bool:
    """The portal's shortcut before it checks any right. It compares with the *meta* status."""
    if knobs.trap("meta_status_shortcut", task.portal.key):
        return rights.meta_status(task, user) == target
    return task.status == target


def completed_status(task: Task, who: Relation) -> int:
    """AWAITING_CONTROL if the creator must approve, else COMPLETED."""
    awaits = task.task_control and not who.creator and task.creator_id != task.responsible_id
    return AWAITING_CONTROL if awaits and task.status != AWAITING_CONTROL else COMPLETED


def some_status_allows(name: str, who: Relation, key: str) -> bool:
    return any(ACTIONS[name].allowed(who, status, key) for status in range(1, 8))
