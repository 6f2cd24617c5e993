"""What goes wrong on purpose.

A Fault names a method: exact, "*" (every request), or "batch/*" (every command inside a batch). Kinds:

  before a request or command runs
    delay        {seconds}                            wait, then go on as usual
    cut          {}                                   drop the connection; what ran before stays done
    error        {code, description?, status?}        refuse it; what goes with a code is in errors.USUAL
    change_task  {task, status | responsible | delete} someone else is faster
    do           {verb, given}                        run a control verb: uninstall, rename, revoke, expire, …
    respond      {status, body, type, headers}        answer this and run nothing (requests only)
  after it ran
    late         {seconds}                            keep the answer back
    drop         {}                                   cut the connection instead of answering
    error_after  {code, description?, status?}        say that it failed, though it did not
    replace      {status, body, type, headers}        answer this instead (requests only)
    truncate     {bytes}                              cut the answer's body short (requests only)

A rule fires `times` times (-1: until removed), each time with `probability`; with a `seed` its dice fall alike in
every run. At the authorization server the methods are "oauth/token" and "oauth/app.info".

`skip` lets so many matching calls pass first: cut on "batch/*" with skip=7 cuts after seven commands.
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
armed = threading.Event()  # unset while there surely is no rule: every command would ask the database otherwise
armed.set()
dice: dict[int, random.Random] = {}  # by rule, so that no other rule's throws change what a seeded one does


def firing(portal: Portal | None, method: str, kinds: tuple[str, ...], *, inside: bool = False) -> list[Fault]:
    """The faults that hit this call, each counted down; usually none."""
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
    """Let happen what comes before a call; a response stands in for the whole call.

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
    """Let happen what comes after a request ran. Raises ConnectionCut or RestError."""
    for fault in firing(portal, method, AFTER):
        strike_late(fault)
        if fault.kind == "replace":
            response = canned(fault.options)
        elif fault.kind == "truncate":
            response.content = response.content[: int(fault.options.get("bytes", len(response.content) // 2))]
    return response


def strike_after_command(portal: Portal, method: str) -> None:
    """The same for a command inside a batch, whose answer is only a part. Raises ConnectionCut or RestError."""
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
    """Change a task behind the app's back: by hand, as far as anyone can tell."""
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
    """Really drop the TCP connection, with a reset, so that no answer can be mistaken for one."""
    connection = request.META["gunicorn.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)
