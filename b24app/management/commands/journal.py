"""`manage.py journal --portal ‹member id or id› [--task N] [--job N]`: the requests to a portal and its answers.

A support bundle, one JSON object per line: the portal, the items and deferrals of the task, then the recorded requests
about it, oldest first. It contains no credential. It contains titles and names of people only if the portal put them
into an error message.
"""

import json
import re
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q, QuerySet

from b24app.models import Deferral, JobItem, Portal, RestCall

Line = dict[str, Any]

ITEM_FIELDS = [
    *("job", "state", "step", "status_before", "status_seen", "seen_at", "sends", "sent_at"),
    *("code", "vendor_code", "changed_at", "returns"),
]
DEFERRAL_FIELDS = ["state", "previous_status", "status_changed_at", "created_at"]
MASK = "***"
TITLE_IN_COMMAND = re.compile(r"(?<=\[%25TITLE\]=)[^&]*")  # as Client.batch writes it


class Command(BaseCommand):
    help = "Print the recorded requests to a portal, and its answers, as a support bundle."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--portal", required=True, help="the member_id of the portal, or its id in our database")
        parser.add_argument("--task", type=int, help="only items, deferrals and requests of this task")
        parser.add_argument("--job", type=int, help="only requests of this job")

    def handle(self, *args: Any, **options: Any) -> None:
        portal = find_portal(options["portal"])
        for line in bundle(portal, options["task"], options["job"]):
            self.stdout.write(json.dumps(line, default=str, ensure_ascii=False))


def find_portal(name: str) -> Portal:
    """The portal with this member_id or id. Raises CommandError."""
    number = Q(pk=int(name)) if name.isascii() and name.isdigit() and len(name) < 16 else Q()
    portal = Portal.objects.filter(Q(member_id=name) | number if number else Q(member_id=name)).first()
    if portal is None:
        raise CommandError(f"No portal has the member_id or id {name!r}.")
    return portal


def bundle(portal: Portal, task: int | None, job: int | None) -> Iterator[Line]:
    """The lines of the bundle: of one task, if `task` is its id; of one job, if `job` is its id."""
    yield {
        "portal": portal.pk,
        "member_id": portal.member_id,
        "status": portal.status,
        "plan": portal.plan,
        "endpoint": portal.endpoint,
        "bindings_checked_at": portal.bindings_checked_at,
    }
    if task is not None:
        items = JobItem.objects.filter(job__portal=portal, task_id=task)
        yield from ({"item": row} for row in items.values(*ITEM_FIELDS))
        deferrals = Deferral.objects.filter(portal=portal, task_id=task)
        yield from ({"deferral": row} for row in deferrals.values(*DEFERRAL_FIELDS))
    for call in exchanges(portal, job):
        if task is None or names(call.params, task):
            yield {
                "at": call.at,
                "request_id": call.request_id,
                "job": call.job_id,
                "method": call.method,
                "status": call.status,
                "code": call.code,
                "milliseconds": call.milliseconds,
                "params": masked(call.params),
                "outcome": call.outcome,
            }


def exchanges(portal: Portal, job: int | None) -> QuerySet[RestCall]:
    calls = RestCall.objects.filter(portal=portal).order_by("at", "pk")
    return calls if job is None else calls.filter(job=job)


def masked(params: Any) -> Any:
    """The parameters without the words of a title search."""
    if isinstance(params, dict):
        return {key: MASK if key == "%TITLE" else masked(value) for key, value in params.items()}
    if isinstance(params, list):
        return [masked(value) for value in params]
    return TITLE_IN_COMMAND.sub(MASK, params) if isinstance(params, str) else params


def names(params: Any, task: int) -> bool:
    """True if the parameters of a request name this task: as taskId, in a filter by ID, or in a command of a batch."""
    if isinstance(params, dict):
        return any(names_here(key, value, task) or names(value, task) for key, value in params.items())
    if isinstance(params, list):
        return any(names(value, task) for value in params)
    if isinstance(params, str) and "?" in params:
        return any(names_here(key, value, task) for key, value in parse_qsl(params.partition("?")[2]))
    return False


def names_here(key: str, value: Any, task: int) -> bool:
    key = key.lower()  # the legacy dialect writes names in capitals
    if key in ("taskid", "id") or key.startswith("filter[id]"):
        return str(task) in map(str, value if isinstance(value, list) else [value])
    return False
