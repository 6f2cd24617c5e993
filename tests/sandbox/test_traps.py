"""Each trap has a check, and the check fails if the trap is switched off."""

import json

import pytest

CHECKS = {}
HANDLER = "http://127.0.0.1:8000/handler/"
DAY = 86400  # seconds


def check(function):
    """Register a check. Its function has the name of the trap."""
    CHECKS[function.__name__] = function
    return function


def task_of(acme, status=2, **more):
    return acme.sandbox.task("acme", creator=acme.bob, status=status, **more)


def call(acme, method, params=None, token=None):
    return acme.sandbox.rest("acme", method, params, token or acme.token)


def refusal(answer):
    return answer.json().get("error")


def rows(acme, **params):
    answer = call(acme, "tasks.task.list", params)
    return answer.json()["result"]["tasks"]


@check
def strings_for_numbers(acme):
    task = task_of(acme, 3)
    [row] = rows(acme, select=["ID", "STATUS", "RESPONSIBLE_ID"])
    assert (row["id"], row["status"], row["responsibleId"]) == (str(task), "3", str(acme.bob))


@check
def empty_map_is_list(acme):
    result = acme.sandbox.batch("acme", {"k": "profile"}, acme.token).json()["result"]
    assert result["result_error"] == []


@check
def list_for_numeric_keys(acme):
    result = acme.sandbox.batch("acme", {"0": "user.admin", "1": "user.admin"}, acme.token).json()["result"]
    assert result["result"] == [False, False]


@check
def single_use_refresh(acme):
    refresh = acme.sandbox.open("acme", acme.bob)["refresh"]
    acme.sandbox.refresh(refresh)
    assert refusal(acme.sandbox.refresh(refresh)) == "invalid_grant"


@check
def access_dies_with_refresh(acme):
    opening = acme.sandbox.open("acme", acme.bob)
    acme.sandbox.refresh(opening["refresh"])
    assert refusal(call(acme, "profile", token=opening["access"])) == "invalid_token"


@check
def one_code_for_all(acme):
    foreign = acme.sandbox.task("acme", creator=acme.ann)
    boss = acme.sandbox.user("acme")
    acme.sandbox.user("acme", number=acme.zoe, boss=boss)
    by_boss = acme.sandbox.access("acme", boss)
    answers = [
        call(acme, "tasks.task.defer", {"taskId": 404}),
        call(acme, "tasks.task.defer", {"taskId": foreign}),
        call(acme, "tasks.task.defer", {"taskId": task_of(acme, 5)}),
        call(acme, "tasks.task.defer", {"taskId": task_of(acme, 2, responsible=acme.zoe)}, by_boss),
    ]
    assert {refusal(answer) for answer in answers} == {"1048582"}


@check
def start_has_its_own_code(acme):
    assert refusal(call(acme, "tasks.task.start", {"taskId": task_of(acme, 6)})) == "0"


@check
def meta_status_shortcut(acme):
    task = task_of(acme, 6, deadline=-DAY)
    assert refusal(call(acme, "tasks.task.defer", {"taskId": task})) == "1048582"


@check
def defer_only_from_pending(acme):
    assert refusal(call(acme, "tasks.task.defer", {"taskId": task_of(acme, 3)})) == "1048582"


@check
def silent_get(acme):
    answer = call(acme, "tasks.task.get", {"taskId": 404})
    assert (answer.status_code, answer.json().get("result")) == (200, [])


@check
def method_before_token(acme):
    assert call(acme, "no.such.method", token="0" * 70).status_code == 404


@check
def exact_argument_names(acme):
    assert refusal(call(acme, "tasks.task.defer", {"TASKID": task_of(acme)})) == "100"


@check
def localized_errors(acme):
    acme.sandbox.control("portal", portal="acme", language="de")
    answer = call(acme, "tasks.task.defer", {"taskId": 404}).json()
    assert answer["error_description"] == "Die Aktion mit der Aufgabe ist nicht erlaubt"


@check
def positional_legacy(acme):
    answer = call(acme, "task.item.defer", {"bx24_request_id": "x", "TASKID": task_of(acme)})
    assert refusal(answer) == "ERROR_CORE"


@check
def bad_json_is_nothing(acme):
    body = json.dumps({"auth": acme.token})[:-1]
    headers = {"Content-Type": "application/json"}
    answer = acme.sandbox.post(acme.sandbox.url("acme", "rest/profile"), data=body, headers=headers)
    assert refusal(answer) == "NO_AUTH_FOUND"


@check
def halt_is_truthiness(acme):
    cmd = {"a": "no.such.method", "b": "profile"}
    result = acme.sandbox.batch("acme", cmd, acme.token, halt="false").json()["result"]
    assert result["result"] == []


@check
def batch_of_fifty(acme):
    cmd = {f"k{number}": "user.admin" for number in range(51)}
    result = acme.sandbox.batch("acme", cmd, acme.token).json()["result"]
    assert list(result["result_error"]) == ["k50"]


@check
def empty_scope_text(acme):
    acme.sandbox.install("acme", scope="placement")
    result = acme.sandbox.batch("acme", {"k": "tasks.task.list"}, acme.token).json()["result"]
    assert result["result_error"] == {"k": {"error": "insufficient_scope", "error_description": ""}}


@check
def wrong_client_is_200(acme):
    answer = acme.sandbox.refresh("x", client_id="app.nobody")
    assert (answer.status_code, refusal(answer)) == (200, "wrong_client")


@check
def minus_one_counts_nothing(acme):
    acme.sandbox.tasks("acme", count=60, creator=acme.bob)
    answer = call(acme, "tasks.task.list", {"start": -1}).json()
    assert "total" not in answer
    assert "next" not in answer


@check
def pages_beside_result(acme):
    acme.sandbox.tasks("acme", count=60, creator=acme.bob)
    answer = call(acme, "tasks.task.list").json()
    assert (answer.get("next"), answer.get("total")) == (50, 60)


@check
def only_selected_fields(acme):
    task_of(acme)
    [row] = rows(acme, select=["ID", "TITLE"])
    assert set(row) == {"id", "title", "group"}


@check
def order_keys_are_checked(acme):
    assert refusal(call(acme, "tasks.task.list", {"order": {"NOBODY": "asc"}})) == "0"


@check
def unknown_filter_is_ignored(acme):
    task_of(acme)
    assert call(acme, "tasks.task.list", {"filter": {"realStatus": 5}}).json().get("total") == 1


@check
def binding_twice_fails(acme):
    bind = {"PLACEMENT": "TASK_VIEW_TAB", "HANDLER": HANDLER}
    call(acme, "placement.bind", bind, acme.admin_token)
    assert refusal(call(acme, "placement.bind", bind, acme.admin_token)) == "ERROR_CORE"


@check
def admin_binds_placements(acme):
    bind = {"PLACEMENT": "TASK_VIEW_TAB", "HANDLER": HANDLER}
    assert refusal(call(acme, "placement.bind", bind)) == "ACCESS_DENIED"


@check
def uninstall_revokes_tokens(acme):
    acme.sandbox.uninstall("acme")
    acme.sandbox.install("acme")
    assert refusal(call(acme, "profile")) == "invalid_token"


@check
def token_checks_are_cached(acme):
    acme.sandbox.uninstall("acme")
    assert refusal(call(acme, "profile")) == "ERROR_OAUTH"


@check
def install_event_is_asked_for_again(acme):
    bind = {"event": "ONAPPINSTALL", "handler": HANDLER}
    call(acme, "event.bind", bind, acme.admin_token)
    acme.sandbox.control("update", portal="acme")
    assert acme.sandbox.control("installation", portal="acme")["events"] == []


@check
def no_event_before_finish(acme, mailbox):
    acme.sandbox.install("acme", finished=False)
    call(acme, "event.bind", {"event": "ONAPPUNINSTALL", "handler": mailbox.url}, acme.admin_token)
    acme.sandbox.uninstall("acme")
    assert mailbox.is_empty(2)


@check
def token_parameter_is_a_link(acme):
    assert refusal(call(acme, "profile", {"token": "anything"})) == "invalid_token"


def run(name, acme, request):
    if name == "no_event_before_finish":
        CHECKS[name](acme, request.getfixturevalue("mailbox"))
    else:
        CHECKS[name](acme)


@pytest.mark.parametrize("name", CHECKS)
def test_the_trap_works(name, acme, request):
    run(name, acme, request)


@pytest.mark.parametrize("name", CHECKS)
def test_its_check_fails_when_it_is_off(name, acme, request):
    acme.sandbox.turn({f"trap.{name}": False})

    with pytest.raises(AssertionError):
        run(name, acme, request)


def test_every_trap_has_a_check(sandbox):
    assert set(sandbox.control("traps")) == set(CHECKS)
