"""Running one method: a whole request, or one command of a batch."""

import time
from typing import Any

from ..portal import clock, knobs
from ..portal.errors import RestError, TimeUp
from ..portal.models import Portal
from ..weather import faults, limits
from . import php
from .answers import envelope, timing
from .call import METHODS, Call, Method, Params
from .callers import check_scope


def find_method(portal: Portal, name: str) -> Method:
    """The method of this name, in any case. Raises ERROR_METHOD_NOT_FOUND."""
    if not exists(portal, name.lower()):
        raise RestError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!")
    return METHODS[name.lower()]


def exists(portal: Portal, name: str) -> bool:
    """Whether this portal has the method. An old box has no tasks.task.*."""
    return name in METHODS and not (name.startswith("tasks.task.") and knobs.knob("no_new_tasks", portal.key))


def run_command(call: Call, method: Method, params: Params, *, outer: bool) -> dict[str, Any]:
    """Run the method of a request (`outer`) or of a batch command; return its envelope. Raises RestError or TimeUp."""
    key = call.portal.key
    check_scope(method, call.scope, quiet=not outer and knobs.trap("empty_scope_text", key))
    counted = method.name != "batch"
    if counted:
        limits.check_operating(call.portal, call.app_id, method.name)
    if not outer:
        faults.strike_before(call.portal, method.name, inside=True)
    started = clock.seconds()
    cost = knobs.cost(method.name, key)
    sleep(cost * float(knobs.knob("cost.sleep")), call)
    call.method, call.start = method.name, php.integer(params.get("start", 0))
    arguments = {name: value for name, value in params.items() if name not in ("start", "state")}
    result = method.run(call, arguments)
    if time.monotonic() > call.ends_at:
        raise TimeUp
    if not outer:
        faults.strike_after_command(call.portal, method.name)
    time_ = timing(call.portal, started, cost)
    if counted and limits.are_counted(call.portal):
        spent, reset_at = limits.spend_operating(call.portal, call.app_id, method.name, time_["processing"])
        time_ |= {"operating_reset_at": reset_at, "operating": spent}
    return envelope(result, key) | {"time": time_}


def sleep(seconds: float, call: Call) -> None:
    """Sleep for the cost of a command, but not beyond the end of the request. A command that began runs anyway."""
    left = call.ends_at - time.monotonic()
    if left <= 0:
        raise TimeUp
    time.sleep(min(seconds, left))
