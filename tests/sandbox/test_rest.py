"""The REST transport and its methods, except what tables of other tests cover."""

import time
from datetime import datetime

import pytest
import requests

FULL_TASK = 5000  # characters, at least


def error_of(answer):
    return answer.status_code, answer.json()["error"]


# -- Parameters -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        {"json": {"filter": {"REAL_STATUS": [2, 3]}, "select": ["ID"]}},
        {"data": {"filter[REAL_STATUS][]": ["2", "3"], "select[0]": "ID"}},
        {"params": {"filter[REAL_STATUS][0]": "2", "filter[REAL_STATUS][1]": "3", "select[]": "ID"}},
        {"files": {"filter[REAL_STATUS][0]": (None, "2"), "filter[REAL_STATUS][1]": (None, "3")}},
    ],
    ids=["json", "form", "query", "multipart"],
)
def test_parameters_may_be_json_or_form(acme, sent):
    tasks = sandbox_tasks(acme, [2, 3, 5])

    answer = acme.sandbox.post(
        acme.sandbox.url("acme", "rest/tasks.task.list.json"),
        headers={"Authorization": f"bearer {acme.token}"},
        **sent,
    )

    assert {row["id"] for row in answer.json()["result"]["tasks"]} == {str(tasks[0]), str(tasks[1])}


def sandbox_tasks(acme, statuses, **common):
    return acme.sandbox.tasks("acme", [{"status": status} for status in statuses], creator=acme.bob, **common)


def test_the_body_overrides_the_query(acme):
    url = acme.sandbox.url("acme", "rest/profile/?auth=nonsense")

    assert acme.sandbox.post(url, data={"auth": acme.token}).json()["result"]["NAME"] == "Bob"


@pytest.mark.parametrize("name", ["auth", "access_token"])
def test_the_token_may_be_a_parameter(acme, name):
    url = acme.sandbox.url("acme", "rest/profile")

    assert acme.sandbox.session.get(url, params={name: acme.token}).json()["result"]["NAME"] == "Bob"


def test_an_array_is_no_token(acme):
    answer = acme.sandbox.rest("acme", "profile", {"auth": [acme.token]})

    assert error_of(answer) == (401, "NO_AUTH_FOUND")


def test_core_arguments_ignore_case(acme):
    answer = acme.sandbox.rest("acme", "batch", {"Cmd": {"me": "PROFILE"}, "HALT": 0}, acme.token)

    assert answer.json()["result"]["result"]["me"]["NAME"] == "Bob"


def test_method_names_ignore_case(acme):
    assert acme.sandbox.rest("acme", "Profile", {}, acme.token).status_code == 200


# -- Who may call -----------------------------------------------------------------------------------------


def test_another_portals_token_is_unknown(acme):
    acme.sandbox.user("umbrella", number=acme.bob)
    acme.sandbox.install("umbrella")
    foreign = acme.sandbox.access("umbrella", acme.bob)

    assert error_of(acme.sandbox.rest("acme", "profile", {}, foreign)) == (401, "invalid_token")


def test_an_expired_token_runs_nothing(acme):
    [task] = sandbox_tasks(acme, [2])
    acme.sandbox.expire("acme", user=acme.bob)

    answer = acme.sandbox.batch("acme", {"d1": f"tasks.task.defer?taskId={task}"}, acme.token)

    assert error_of(answer) == (401, "expired_token")
    assert acme.sandbox.look("acme", task)["changes"] == []


def test_a_knob_sets_the_token_lifetime(acme):
    acme.sandbox.settings(access_lifetime=0)

    answer = acme.sandbox.rest("acme", "profile", {}, acme.sandbox.access("acme", acme.bob))

    assert error_of(answer) == (401, "expired_token")


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"active": False}, (401, "authorization_error")),
        ({"may_use_app": False}, (403, "user_access_error")),
    ],
)
def test_a_person_without_access_is_refused(acme, changes, expected):
    acme.sandbox.user("acme", number=acme.bob, **changes)

    assert error_of(acme.sandbox.rest("acme", "profile", {}, acme.token)) == expected


def test_an_uninstalled_app_is_not_found(acme):
    acme.sandbox.rest("acme", "profile", {}, acme.token)
    acme.sandbox.uninstall("acme")

    assert error_of(acme.sandbox.rest("acme", "profile", {}, acme.token)) == (401, "APPLICATION_NOT_FOUND")


def test_tokens_are_checked_in_order(acme):
    def code():
        return error_of(acme.sandbox.rest("acme", "tasks.task.list", {}, acme.token))[1]

    acme.sandbox.install("acme", scope="placement")
    acme.sandbox.user("acme", number=acme.bob, active=False, may_use_app=False)
    acme.sandbox.expire("acme")
    found = [code()]
    acme.token = acme.sandbox.access("acme", acme.bob)
    found.append(code())
    acme.sandbox.install("acme", scope="task,placement")
    found.append(code())
    acme.sandbox.user("acme", number=acme.bob, active=True)
    found.append(code())
    assert found == ["expired_token", "insufficient_scope", "authorization_error", "user_access_error"]


def test_a_narrow_scope_is_refused(acme):
    acme.sandbox.install("acme", scope="placement")

    answer = acme.sandbox.rest("acme", "tasks.task.list", {}, acme.token)

    assert error_of(answer) == (401, "insufficient_scope")


def test_a_webhook_has_no_application(acme):
    hook = acme.sandbox.control("webhook", portal="acme", user=acme.ann, scope="task,placement")

    assert error_of(acme.sandbox.rest("acme", f"{hook}/placement.get")) == (403, "WRONG_AUTH_TYPE")
    assert error_of(acme.sandbox.rest("acme", f"{hook}/app.info")) == (403, "ACCESS_DENIED")
    assert error_of(acme.sandbox.rest("acme", f"{hook}x/profile")) == (401, "INVALID_CREDENTIALS")


def test_an_unknown_host_is_no_portal(sandbox):
    answer = sandbox.post(sandbox.url("acme", "rest/profile"), headers={"Host": "elsewhere"})

    assert answer.status_code == 404


# -- Limits -----------------------------------------------------------------------------------------------


def test_the_bucket_overflows_and_drains(acme):
    acme.sandbox.settings(limits__bucket_size=5, limits__bucket_drain=0.01)

    answers = [acme.sandbox.rest("acme", "profile", {}, acme.token) for _ in range(7)]
    acme.sandbox.move_clock(300)
    later = acme.sandbox.rest("acme", "profile", {}, acme.token)

    assert [answer.status_code for answer in answers[:5]] == [200] * 5
    assert error_of(answers[-1]) == (503, "QUERY_LIMIT_EXCEEDED")
    assert later.status_code == 200


def test_each_portal_has_its_own_bucket(acme):
    acme.sandbox.turn({"limits.bucket_size": 1, "limits.bucket_drain": 0.001})

    acme.sandbox.rest("acme", "profile")
    assert error_of(acme.sandbox.rest("acme", "profile")) == (503, "QUERY_LIMIT_EXCEEDED")
    assert error_of(acme.sandbox.rest("umbrella", "profile")) == (401, "NO_AUTH_FOUND")


def test_operating_time_blocks_one_method(acme):
    acme.sandbox.turn({"limits.operating": 60, "cost.profile": 40, "cost.sleep": 0})

    first, second, third = (acme.sandbox.rest("acme", "profile", {}, acme.token) for _ in range(3))

    assert first.json()["time"]["operating"] == 40
    assert second.json()["time"]["operating"] == 80  # the call that crosses completes
    assert error_of(third) == (429, "OPERATION_TIME_LIMIT")
    assert acme.sandbox.rest("acme", "user.current", {}, acme.token).status_code == 200


def test_a_cost_may_exceed_the_duration(acme):
    acme.sandbox.turn({"cost.profile": 40, "cost.sleep": 0, "cost.told": 0.05})

    told = acme.sandbox.rest("acme", "profile", {}, acme.token).json()["time"]

    assert (told["duration"], told["processing"], told["operating"]) == (2, 40, 40)


# -- Tasks ------------------------------------------------------------------------------------------------


def listed(acme, token=None, **params):
    answer = acme.sandbox.rest("acme", "tasks.task.list", params, token or acme.token)
    assert answer.status_code == 200, answer.text
    return [int(row["id"]) for row in answer.json()["result"]["tasks"]]


def test_pages_have_fifty_rows(acme):
    tasks = sandbox_tasks(acme, [3] * 120)

    def page(start):
        params = {"order": {"ID": "asc"}, "select": ["ID"], "start": start}
        return acme.sandbox.rest("acme", "tasks.task.list", params, acme.token).json()

    assert [int(row["id"]) for row in page(0)["result"]["tasks"]] == tasks[:50]
    assert (page(0)["next"], page(0)["total"]) == (50, 120)
    assert [int(row["id"]) for row in page(77)["result"]["tasks"]] == tasks[50:100]
    assert "next" not in page(100)
    assert len(page(100)["result"]["tasks"]) == 20


@pytest.mark.parametrize(
    "condition, expected",
    [
        ({"REAL_STATUS": 3}, "p"),
        ({"REAL_STATUS": [3, 6]}, "pd"),
        ({"!REAL_STATUS": ["3", "6"]}, "lc"),
        ({">=REAL_STATUS": 5}, "cd"),
        ({"STATUS": -1}, "l"),
        ({"STATUS": 2}, ""),
        ({"%TITLE": "ДОГОВОР"}, "p"),
        ({"TITLE": "late"}, "l"),
        ({"<DEADLINE": "2020-01-01"}, "l"),
        ({">DEADLINE": "2020-01-01T00:00:00+00:00"}, ""),
        ({"DEADLINE": ""}, "pcd"),
        ({"!DEADLINE": ""}, "l"),
        ({"::LOGIC": "OR", "::SUBFILTER-1": {"REAL_STATUS": 6}, "::SUBFILTER-2": {"TITLE": "late"}}, "ld"),
        ({"REAL_STATUS": 3, "::SUBFILTER-1": {"TITLE": "late"}}, ""),
        ({"GROUP_ID": 0}, "pcd"),
        ({"GROUP_ID": 11}, "l"),
        ({"no such key": 1}, "lpcd"),
    ],
)
def test_filters(acme, condition, expected):
    acme.sandbox.project("acme", number=11, members=[])
    names = dict(
        zip(
            acme.sandbox.tasks(
                "acme",
                [
                    {"title": "late", "status": 2, "deadline": "2019-05-05T12:00:00Z", "project": 11},
                    {"title": "Подписать договор с поставщиком", "status": 3},
                    {"title": "completed", "status": 5},
                    {"title": "deferred", "status": 6},
                ],
                creator=acme.bob,
            ),
            "lpcd",
            strict=True,
        )
    )

    found = listed(acme, filter=condition, select=["ID"])

    assert {names[number] for number in found} == set(expected)


def test_the_default_order_is_newest_first(acme):
    first, second, third = acme.sandbox.tasks(
        "acme",
        [{"title": "b", "deadline": 500}, {"title": "c", "deadline": None}, {"title": "a", "deadline": 100}],
        creator=acme.bob,
    )

    assert listed(acme) == [third, second, first]
    assert listed(acme, order={"TITLE": "asc"}) == [third, first, second]
    assert listed(acme, order={"DEADLINE": "desc"}) == [first, third, second]
    acme.sandbox.change_task("acme", second, status=3)
    assert listed(acme, order={"ACTIVITY_DATE": "desc"})[0] == second


def test_people_see_their_own_tasks(acme):
    boss = acme.sandbox.user("acme", name="Boss")
    acme.sandbox.user("acme", number=acme.bob, boss=boss)
    own, watched, others = acme.sandbox.tasks(
        "acme",
        [{"responsible": acme.bob}, {"auditors": [acme.bob]}, {}],
        creator=acme.ann,
    )

    assert set(listed(acme)) == {own, watched}
    assert listed(acme, acme.sandbox.access("acme", boss)) == [own]
    assert listed(acme, acme.sandbox.access("acme", acme.zoe)) == []
    assert set(listed(acme, acme.admin_token)) == {own, watched, others}


def test_an_unviewed_task_has_a_meta_status(acme):
    [task] = acme.sandbox.tasks("acme", count=1, creator=acme.ann, responsible=acme.bob, unviewed_by=[acme.bob])

    params = {"filter": {"STATUS": -2}, "select": ["STATUS"]}
    [row] = acme.sandbox.rest("acme", "tasks.task.list", params, acme.token).json()["result"]["tasks"]
    pause = acme.sandbox.rest("acme", "tasks.task.pause", {"taskId": task}, acme.token)

    assert (row["status"], row["subStatus"]) == ("2", "-2")
    assert error_of(pause) == (400, "1048582")


def test_a_whole_task_has_its_actions(acme):
    [task] = sandbox_tasks(acme, [3])

    answer = acme.sandbox.rest("acme", "tasks.task.get", {"taskId": task}, acme.token)

    actions = answer.json()["result"]["task"]["action"]
    assert len(answer.text) > FULL_TASK
    assert (actions["pause"], actions["defer"], actions["start"]) == (True, False, False)


@pytest.mark.parametrize(
    "params, code",
    [({}, "100"), ({"TASKID": 1}, "100"), ({"taskId": "x"}, "0"), ({"taskId": 0}, "0")],
)
def test_bad_and_missing_ids_differ(acme, params, code):
    for method in ("tasks.task.get", "tasks.task.defer", "tasks.task.getaccess"):
        assert error_of(acme.sandbox.rest("acme", method, params, acme.token)) == (400, code)


def test_access_is_told_for_each_person(acme):
    [task] = sandbox_tasks(acme, [2])

    def allowed(token, **params):
        answer = acme.sandbox.rest("acme", "tasks.task.getaccess", {"taskId": task, **params}, token)
        return answer.json()["result"]["allowedActions"]

    own = allowed(acme.token)[str(acme.bob)]
    assert (own["DEFER"], own["PAUSE"], own["EDIT.ORIGINATOR"]) == (True, False, False)
    assert allowed(acme.token, users=[acme.zoe])[str(acme.zoe)]["DEFER"] is False
    assert allowed(acme.sandbox.access("acme", acme.zoe)) == []


def test_completing_may_need_approval(acme):
    [task] = acme.sandbox.tasks("acme", count=1, creator=acme.ann, responsible=acme.bob, task_control=True, status=3)

    acme.sandbox.rest("acme", "tasks.task.complete", {"taskId": task}, acme.token)
    assert acme.sandbox.states("acme") == {task: 4}
    refused = acme.sandbox.rest("acme", "tasks.task.complete", {"taskId": task}, acme.token)
    assert error_of(refused) == (400, "0")
    acme.sandbox.rest("acme", "tasks.task.complete", {"taskId": task}, acme.admin_token)
    assert acme.sandbox.states("acme") == {task: 5}


def test_an_old_box_has_another_defer_rule(acme):
    acme.sandbox.turn({"acme/old_defer_rule": True})
    own, given = acme.sandbox.tasks(
        "acme", [{"creator": acme.ann}, {"creator": acme.zoe}], responsible=acme.bob, status=3
    )

    zoe = acme.sandbox.access("acme", acme.zoe)
    assert acme.sandbox.rest("acme", "tasks.task.defer", {"taskId": own}, acme.token).status_code == 200
    assert error_of(acme.sandbox.rest("acme", "tasks.task.defer", {"taskId": given}, zoe)) == (400, "1048582")


def test_a_box_may_lack_the_new_methods(acme):
    acme.sandbox.turn({"acme/no_new_tasks": True})

    assert error_of(acme.sandbox.rest("acme", "tasks.task.list", {}, acme.token)) == (
        404,
        "ERROR_METHOD_NOT_FOUND",
    )


# -- Placements and events --------------------------------------------------------------------------------


def test_placements_are_bound_and_unbound(acme):
    bind = {
        "PLACEMENT": "TASK_USER_LIST_TOOLBAR",
        "HANDLER": "http://127.0.0.1:8000/placement/",
        "TITLE": "Defer…",
        "LANG_ALL": {"ru": {"TITLE": "Отложить…"}},
    }

    assert acme.sandbox.rest("acme", "placement.bind", bind, acme.admin_token).json()["result"] is True
    [row] = acme.sandbox.rest("acme", "placement.get", {}, acme.admin_token).json()["result"]
    assert (row["placement"], row["title"]) == ("TASK_USER_LIST_TOOLBAR", "Defer…")
    assert row["langAll"] == {"ru": {"TITLE": "Отложить…"}}
    assert row["options"] == []
    unbind = acme.sandbox.rest("acme", "placement.unbind", {"PLACEMENT": bind["PLACEMENT"]}, acme.admin_token)
    assert unbind.json()["result"] == {"count": 2}
    assert acme.sandbox.rest("acme", "placement.get", {}, acme.admin_token).json()["result"] == []


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"PLACEMENT": "DEFAULT"}, "ERROR_PLACEMENT_NOT_FOUND"),
        ({"PLACEMENT": "CRM_LEAD_LIST_MENU"}, "ERROR_PLACEMENT_NOT_FOUND"),
        ({"HANDLER": "ftp://example.com/"}, "ERROR_UNSUPPORTED_PROTOCOL"),
        ({"HANDLER": "http://intranet/"}, "ERROR_WRONG_HANDLER_URL"),
        ({"HANDLER": None}, "ERROR_ARGUMENT"),
    ],
)
def test_a_bad_placement_is_refused(acme, changes, expected):
    bind = {"PLACEMENT": "TASK_VIEW_TAB", "HANDLER": "http://127.0.0.1:8000/"} | changes

    assert error_of(acme.sandbox.rest("acme", "placement.bind", bind, acme.admin_token)) == (400, expected)


def test_events_are_bound_and_unbound(acme):
    bind = {"event": "onAppUninstall", "handler": "http://127.0.0.1:8000/events/"}

    assert acme.sandbox.rest("acme", "event.bind", bind, acme.admin_token).json()["result"] is True
    assert acme.sandbox.rest("acme", "event.get", {}, acme.admin_token).json()["result"] == [
        {"event": "ONAPPUNINSTALL", "handler": bind["handler"], "auth_type": "0", "offline": 0}
    ]
    unbind = acme.sandbox.rest("acme", "event.unbind", bind, acme.admin_token)
    assert unbind.json()["result"] == {"count": 1}
    unknown = acme.sandbox.rest("acme", "event.bind", bind | {"event": "ONTEA"}, acme.admin_token)
    assert error_of(unknown) == (400, "ERROR_EVENT_NOT_FOUND")


# -- Weather ----------------------------------------------------------------------------------------------


def test_a_renamed_portal_redirects(acme):
    old, port = acme.sandbox.portals["acme"], acme.sandbox.portals["acme"].partition(":")[2]
    acme.sandbox.control("rename", portal="acme", host=f"127.0.0.1:{port}")

    answer = acme.sandbox.rest("acme", "profile", {}, acme.token)
    acme.sandbox.control("rename", portal="acme", host=old)

    assert answer.status_code == 302
    assert answer.headers["Location"] == f"http://127.0.0.1:{port}/rest/profile"
    assert answer.text == ""
    assert acme.sandbox.rest("acme", "profile", {}, acme.token).status_code == 200


def test_a_cut_connection_has_no_answer(acme):
    [task] = sandbox_tasks(acme, [2])
    acme.sandbox.fault("tasks.task.defer", "drop")

    with pytest.raises(requests.ConnectionError):
        acme.sandbox.rest("acme", "tasks.task.defer", {"taskId": task}, acme.token)

    assert acme.sandbox.states("acme") == {task: 6}
    assert acme.sandbox.requests("acme")[-1]["status"] is None


def test_a_cut_before_a_call_runs_nothing(acme):
    [task] = sandbox_tasks(acme, [2])
    acme.sandbox.fault("tasks.task.defer", "cut")

    with pytest.raises(requests.ConnectionError):
        acme.sandbox.rest("acme", "tasks.task.defer", {"taskId": task}, acme.token)

    assert acme.sandbox.states("acme") == {task: 2}


def test_a_fault_can_replace_an_answer(acme):
    [task] = sandbox_tasks(acme, [2])
    acme.sandbox.fault("tasks.task.defer", "respond", status=502, body="<html>502</html>")
    acme.sandbox.fault("tasks.task.defer", "replace", status=200, body="")

    before = acme.sandbox.rest("acme", "tasks.task.defer", {"taskId": task}, acme.token)
    assert (before.status_code, before.text) == (502, "<html>502</html>")
    assert acme.sandbox.states("acme") == {task: 2}
    after = acme.sandbox.rest("acme", "tasks.task.defer", {"taskId": task}, acme.token)
    assert (after.status_code, after.text) == (200, "")
    assert acme.sandbox.states("acme") == {task: 6}


def test_faults_skip_count_and_end(acme):
    acme.sandbox.fault("profile", "error", code="INTERNAL_SERVER_ERROR", status=500, skip=1, times=2)

    answers = [acme.sandbox.rest("acme", "profile", {}, acme.token).status_code for _ in range(5)]

    assert answers == [200, 500, 500, 200, 200]


def test_a_truncated_answer_is_no_json(acme):
    acme.sandbox.fault("profile", "truncate")

    with pytest.raises(requests.JSONDecodeError):
        acme.sandbox.rest("acme", "profile", {}, acme.token).json()


def test_requests_are_logged_without_tokens(acme):
    acme.sandbox.rest("acme", "profile", {"x": 1}, acme.token)

    row = acme.sandbox.requests("acme")[-1]

    assert (row["method"], row["status"], row["person"], row["params"]) == (
        "profile",
        200,
        acme.bob,
        {"x": 1},
    )
    assert acme.token not in str(row)


# -- Time -------------------------------------------------------------------------------------------------


def test_moving_the_clock_expires_tokens(acme):
    [task] = acme.sandbox.tasks("acme", [{"deadline": 3 * 86400}], creator=acme.bob)

    acme.sandbox.move_clock(4 * 86400)

    assert error_of(acme.sandbox.rest("acme", "profile", {}, acme.token)) == (401, "expired_token")
    token = acme.sandbox.access("acme", acme.bob)
    assert listed(acme, token, filter={"STATUS": -1}) == [task]
    said = acme.sandbox.rest("acme", "server.time", {}, token).json()
    assert abs(datetime.fromisoformat(said["result"]).timestamp() - time.time() - 4 * 86400) < 10
    assert abs(said["time"]["start"] - time.time() - 4 * 86400) < 10


def test_the_clock_runs_on_from_an_instant(acme):
    acme.sandbox.clock_file.write_text("2031-02-03T04:05:06+00:00")

    assert acme.sandbox.control("time").startswith("2031-02-03T04:05:")


def test_an_unreadable_time_is_refused(acme):
    with pytest.raises(RuntimeError, match="tomorrow"):
        acme.sandbox.move_clock("tomorrow")
