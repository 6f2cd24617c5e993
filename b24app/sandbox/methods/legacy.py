"""task.item.*: positional. The first parameter is the task, whatever its name; a second one breaks it."""

from typing import Any

from .. import knobs, php
from ..actions import Refused, perform
from ..call import Call, Params, method
from ..errors import RestError


@method("task.item.defer", "task")
def task_item_defer(call: Call, params: Params) -> None:
    act(call, "defer", params)


@method("task.item.renew", "task")
def task_item_renew(call: Call, params: Params) -> None:
    act(call, "renew", params)


@method("task.item.startexecution", "task")
def task_item_startexecution(call: Call, params: Params) -> None:
    act(call, "start", params)


@method("task.item.pauseexecution", "task")
def task_item_pauseexecution(call: Call, params: Params) -> None:
    act(call, "pause", params)


def act(call: Call, action: str, params: Params) -> None:
    number = positional_task(call, params)
    try:
        perform(action, call.user, number, call.method, call.token, call.request, call.seen)
    except Refused:
        raise core_error("Action on the task is not allowed<br>") from None


def positional_task(call: Call, params: Params) -> int:
    """The task's number: the first and only parameter. Raises ERROR_CORE for anything else."""
    values: list[Any] = list(params.values())
    if not knobs.trap("positional_legacy", call.portal.key):
        values = [value for name, value in params.items() if name.upper() == "TASKID"]
    for index, value in enumerate(values or [None]):
        if index or not php.is_numeric(value):
            raise core_error(
                f"TASKS_ERROR_EXCEPTION_#256; Param #{index} (taskId) for method {call.method}() expected"
                ' to be of type "integer", but given something else.; 256/TE/WRONG_ARGUMENTS<br>'
            )
    return php.integer(values[0])


def core_error(text: str) -> RestError:
    return RestError(400, "ERROR_CORE", text)
