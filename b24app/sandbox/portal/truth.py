"""The logs: every request that reached the sandbox, and every change of a real status with the token used."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from . import clock
from .models import Change, History, Portal, Request, Task, Token, User
from .statuses import COMPLETED, IN_PROGRESS

SECRETS = {"auth", "access_token", "refresh_token", "client_secret", "code"}


def note_request(portal: Portal | None, method: str, params: Mapping[str, Any]) -> Request:
    """Log a request before it is processed, without its secrets."""
    return Request.objects.create(
        at=clock.seconds(),
        portal=portal,
        method=method[:100],
        params={key: value for key, value in params.items() if key.lower() not in SECRETS},
    )


def note_answer(request: Request, status: int | None, code: str) -> None:
    """Complete the logged request with its answer; `status` is None if the connection was cut."""
    request.status = status
    request.code = code[:100]
    request.milliseconds = round((clock.seconds() - request.at) * 1000, 1)
    request.save(update_fields=["status", "code", "milliseconds", "token", "user", "commands"])


def set_status(
    task: Task,
    after: int,
    method: str,
    user: User | None = None,
    token: Token | None = None,
    request: Request | None = None,
) -> None:
    """Change a task's real status and the dates that depend on it, and log the change."""
    before, now = task.status, clock.now()
    task.status = after
    task.status_changed_by = user
    task.status_changed_date = task.changed_date = task.activity_date = now
    task.closed_date = now if after == COMPLETED else None
    if after == IN_PROGRESS and task.date_start is None:
        task.date_start = now
    with transaction.atomic():
        task.save()
        History.objects.create(task=task, user=user, field="STATUS", before=str(before), after=str(after))
        Change.objects.create(
            at=clock.seconds(),
            portal_id=task.portal_id,
            task=task.number,
            before=before,
            after=after,
            user=user,
            token=token,
            method=method,
            request=request,
        )
