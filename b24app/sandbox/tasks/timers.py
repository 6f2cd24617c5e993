"""Time tracking: at most one running timer per person, and the effect of status changes on timers."""

from django.db.models import F

from ..portal import clock, truth
from ..portal.models import Request, Task, Timer, Token, User
from ..portal.statuses import AWAITING_CONTROL, COMPLETED, DEFERRED, IN_PROGRESS, NEW, PENDING
from .rights import Relation

ENDS_ALL = (AWAITING_CONTROL, COMPLETED)
ENDS_OWN = (AWAITING_CONTROL, COMPLETED, DEFERRED)  # not PENDING: the timer of a paused task runs on


def change_status(
    task: Task, after: int, method: str, user: User | None, token: Token | None, request: Request | None
) -> None:
    """Change the real status, and stop the timers that this status stops.

    Deferring stops only the timer of the person who defers; other timers run on.
    """
    truth.set_status(task, after, method, user, token, request)
    running = Timer.objects.filter(task=task)
    if after in ENDS_ALL:
        stopped = running
    elif after in ENDS_OWN and user is not None and takes_part(task, user):
        stopped = running.filter(user=user)
    else:
        return
    for timer in stopped:
        stop(timer)
    task.refresh_from_db(fields=["time_spent"])


def takes_part(task: Task, user: User) -> bool:
    return task.responsible_id == user.pk or user in task.accomplices.all()


def start(
    task: Task, user: User, method: str = "by hand", token: Token | None = None, request: Request | None = None
) -> None:
    """Start the person's timer on this task and stop it on any other. This also renews and starts a deferred task."""
    for other in Timer.objects.filter(user=user).exclude(task=task):
        stop(other)
    Timer.objects.get_or_create(user=user, task=task, defaults={"started_at": clock.seconds()})
    if task.status == DEFERRED:
        truth.set_status(task, PENDING, method, user, token, request)
    if task.status in (NEW, PENDING):
        truth.set_status(task, IN_PROGRESS, method, user, token, request)


def stop(timer: Timer) -> None:
    """Stop the timer and add its seconds to the task."""
    seconds = max(0, round(clock.seconds() - timer.started_at))
    Task.objects.filter(pk=timer.task_id).update(time_spent=F("time_spent") + seconds)
    timer.delete()


def info(task: Task, user: User) -> dict[str, object]:
    """The fields that params[WITH_TIMER_INFO] adds to a row."""
    timer = Timer.objects.filter(task=task, user=user).first()
    running = round(clock.seconds() - timer.started_at) if timer is not None else 0
    return {"timeElapsed": task.time_spent + running, "timerIsRunningForCurrentUser": timer is not None}


def may_track(who: Relation, task: Task) -> bool:
    return task.allow_time_tracking and (who.responsible or who.accomplice)
