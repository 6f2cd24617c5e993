"""Faults: errors, delays and lost answers that a test asks for.

A fault names a method: exact, "*" (every request), or "batch/*" (every command inside a batch). Kinds:

  before a request or command runs
    delay        {seconds}                             wait, then continue
    cut          {}                                    drop the connection; earlier commands stay done
    error        {code, description?, status?}         refuse it; errors.USUAL has the status and text of a code
    change_task  {task, status | responsible | delete} another user changes the task first
    do           {verb, given}                         run a control verb: uninstall, rename, revoke, expire, …
    respond      {status, body, type, headers}         answer this and run nothing (requests only)
  after it ran
    late         {seconds}                             delay the answer
    drop         {}                                    cut the connection instead of answering
    error_after  {code, description?, status?}         report a failure although it succeeded
    replace      {status, body, type, headers}         answer this instead (requests only)
    truncate     {bytes}                               cut the body of the answer short (requests only)

A fault fires `times` times (-1: until it is removed), each time with `probability`. With a `seed` its dice fall the
same way in every run. The methods of the authorization server are "oauth/token" and "oauth/app.info".

`skip` lets that many matching calls pass first: cut on "batch/*" with skip=7 cuts after seven commands.
"""

import random
import socket
import struct
import threading
import time
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.http import HttpRequest, HttpResponse

from ..app import events
from ..portal.errors import ConnectionCut, RestError, usual
from ..portal.models import Fault, Portal, Task, User
from ..tasks import timers
from .verbs import VERBS

BEFORE = ("delay", "cut", "error", "change_task", "do", "respond")
AFTER_COMMAND = ("late", "drop", "error_after")
AFTER = (*AFTER_COMMAND, "replace", "truncate")
armed = threading.Event()  # unset if there is surely no fault, which saves every command a query
armed.set()
dice: dict[int, random.Random] = {}  # per fault, so that a seeded fault does not depend on the throws of others


def firing(portal: Portal | None, method: str, kinds: tuple[str, ...], *, inside: bool = False) -> list[Fault]:
    """The faults that hit this call, usually none. Counts each of them down."""
    if not armed.is_set():
        return []
    names = [method, "batch/*" if inside else "*"]
    rules = Fault.objects.filter(Q(portal=portal) | Q(portal=None), method__in=names, kind__in=kinds)
    rules = rules.exclude(times=0).order_by("pk")
    if not rules:
        return []
    with transaction.atomic():
        return [rule for rule in rules.all() if fires(rule)]


def fires(rule: Fault) -> bool:
    counted = Fault.objects.filter(pk=rule.pk)
    if rule.skip > 0:
        counted.update(skip=F("skip") - 1)
        return False
    if dice.setdefault(rule.pk, random.Random(rule.seed)).random() >= rule.probability:  # noqa: S311 -- weather
        return False
    if rule.times > 0:
        counted.update(times=F("times") - 1)
    return True


def strike_before(portal: Portal | None, method: str, *, inside: bool = False) -> HttpResponse | None:
    """Run the faults that come before a call. A returned response replaces the whole call.

    Raises ConnectionCut or RestError.
    """
    for fault in firing(portal, method, BEFORE, inside=inside):
        options = fault.options
        if fault.kind == "delay":
            time.sleep(float(options["seconds"]))
        elif fault.kind == "cut":
            raise ConnectionCut
        elif fault.kind == "error":
            raise refusal(options)
        elif fault.kind == "do":
            VERBS[options["verb"]](options.get("given", {}))
        elif fault.kind == "change_task" and portal is not None:
            change_task(portal, options)
        elif fault.kind == "respond":
            return canned(options)
    return None


def strike_after(portal: Portal | None, method: str, response: HttpResponse) -> HttpResponse:
    """Run the faults that come after a request; return its response. Raises ConnectionCut or RestError."""
    for fault in firing(portal, method, AFTER):
        strike_late(fault)
        if fault.kind == "replace":
            response = canned(fault.options)
        elif fault.kind == "truncate":
            response.content = response.content[: int(fault.options.get("bytes", len(response.content) // 2))]
    return response


def strike_after_command(portal: Portal, method: str) -> None:
    """Run the faults that come after a command inside a batch. Raises ConnectionCut or RestError."""
    for fault in firing(portal, method, AFTER_COMMAND, inside=True):
        strike_late(fault)


def strike_late(fault: Fault) -> None:
    if fault.kind == "late":
        time.sleep(float(fault.options["seconds"]))
    elif fault.kind == "drop":
        raise ConnectionCut
    elif fault.kind == "error_after":
        raise refusal(fault.options)


def refusal(options: dict[str, Any]) -> RestError:
    return usual(options["code"], options.get("status"), options.get("description"))


def canned(options: dict[str, Any]) -> HttpResponse:
    return HttpResponse(
        options.get("body", ""),
        status=options.get("status", 200),
        content_type=options.get("type", "text/html"),
        headers=options.get("headers"),
    )


def change_task(portal: Portal, options: dict[str, Any]) -> None:
    """Change a task as if a person did it by hand. The truth log calls the method "control"."""
    task = Task.objects.select_related("portal").get(portal=portal, number=options["task"])
    if options.get("delete"):
        number = task.number
        task.delete()
        events.task_deleted(portal, number)
        return
    with transaction.atomic():
        if "responsible" in options:
            task.responsible = User.objects.get(portal=portal, number=options["responsible"])
        if "deadline" in options:
            task.deadline = options["deadline"]
        task.save()
        if "status" in options and options["status"] != task.status:
            timers.change_status(task, options["status"], "control", None, None, None)
    events.task_changed(task, None)


def cut(request: HttpRequest) -> None:
    """Reset the TCP connection, so that the caller gets no answer at all."""
    connection = request.META["gunicorn.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)
