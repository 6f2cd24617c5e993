"""The two curl examples on the manual's page of task.item.defer, and what a portal really does with them.

The page says that the task must be in progress. In fact a portal refuses to defer a task in progress.
"""

import json

import pytest

TASK = 13
REFUSED = {"error": "ERROR_CORE", "error_description": "Action on the task is not allowed<br>"}


def curl(sandbox, path, body):
    """curl -X POST -H "Content-Type: application/json" -H "Accept: application/json" -d BODY URL"""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    return sandbox.post(sandbox.url("acme", path), data=json.dumps(body), headers=headers)


@pytest.fixture(params=["webhook", "oauth"])
def defer(acme, request):
    """Call task.item.defer for task 13 in one of the two forms."""
    if request.param == "webhook":
        hook = acme.sandbox.control("webhook", portal="acme", user=acme.bob)
        return lambda **more: curl(acme.sandbox, f"rest/{hook}/task.item.defer", {**more, "TASKID": TASK})
    body = {"TASKID": TASK, "auth": acme.token}
    return lambda **more: curl(acme.sandbox, "rest/task.item.defer", {**more, **body})


def test_a_task_in_progress_is_refused(acme, defer):
    acme.sandbox.task("acme", number=TASK, creator=acme.bob, status=3)

    answer = defer()

    assert (answer.status_code, answer.json()) == (400, REFUSED)
    assert acme.sandbox.states("acme") == {TASK: 3}


def test_a_pending_task_is_deferred(acme, defer):
    acme.sandbox.task("acme", number=TASK, creator=acme.bob, status=2)

    answer = defer()

    assert answer.status_code == 200
    assert answer.json()["result"] is None
    assert acme.sandbox.states("acme") == {TASK: 6}


def test_a_missing_task_is_refused_alike(acme, defer):
    answer = defer()

    assert (answer.status_code, answer.json()) == (400, REFUSED)


def test_an_extra_parameter_breaks_the_call(acme, defer):
    acme.sandbox.task("acme", number=TASK, creator=acme.bob, status=2)

    answer = defer(bx24_request_id="x")

    assert answer.json()["error"] == "ERROR_CORE"
    assert "WRONG_ARGUMENTS" in answer.json()["error_description"]
    assert acme.sandbox.states("acme") == {TASK: 2}
