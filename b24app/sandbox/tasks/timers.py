"""Time tracking: one running timer a person, and what changes of status do to it."""

from django.db.models import F

from ..portal import clock, truth
from ..portal.models import Request, Task, Timer, Token, User
from .rights import Relation

DEFERRED, PENDING, IN_PROGRESS = 6, 2, 3
ENDS_ALL = (4, 5)
ENDS_OWN = (4, 5, 6)  # not 2: a paused task's timer runs on


def change_status(
    task: Task, after: int, method: str, user: User | None, token: Token | None, request: Request | None
) -> None:
    """Change the real status, and stop the timers that this stops.

    Deferring stops the acting person's own timer only; the others' run on.
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
    """Let the person's timer run on this task and on no other. A deferred task is renewed and started by that."""
    for other in Timer.objects.filter(user=user).exclude(task=task):
        stop(other)
    Timer.objects.get_or_create(user=user, task=task, defaults={"started_at": clock.seconds()})
    if task.status == DEFERRED:
        truth.set_status(task, PENDING, method, user, token, request)
    if task.status in (1, PENDING):
        truth.set_status(task, IN_PROGRESS, method, user, token, request)


def stop(timer: Timer) -> None:
    """Log the seconds it ran."""
    seconds = max(0, round(clock.seconds() - timer.started_at))
    Task.objects.filter(pk=timer.task_id).update(time_spent=F("time_spent") + seconds)
    timer.delete()


def info(task: Task, user: User) -> dict[str, object]:
    """What params[WITH_TIMER_INFO] adds to a row."""
    timer = Timer.objects.filter(task=task, user=user).first()
    running = round(clock.seconds() - timer.started_at) if timer is not None else 0
    return {"timeElapsed": task.time_spent + running, "timerIsRunningForCurrentUser": timer is not None}


def may_track(who: Relation, task: Task) -> bool:
    return task.allow_time_tracking and (who.responsible or who.accomplice)
