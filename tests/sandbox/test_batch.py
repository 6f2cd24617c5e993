"""The batch method: fifty commands, one PHP process, PHP's maps."""

import pytest
import requests

from tests.processes import wait_until


def make(acme, statuses):
    return acme.sandbox.tasks("acme", [{"status": status} for status in statuses], creator=acme.bob)


def result_of(answer):
    assert answer.status_code == 200
    return answer.json()["result"]


def test_commands_run_in_order_each_alone(acme):
    busy, pending = make(acme, [3, 2])

    result = result_of(
        acme.sandbox.batch(
            "acme",
            {
                "d1": f"tasks.task.defer?taskId={busy}",
                "p1": f"tasks.task.pause?taskId={busy}",
                "d2": f"tasks.task.defer?taskId={busy}",
                "d3": f"tasks.task.defer?taskId={pending}",
                "x": "tasks.task.defer?taskId=99999",
            },
            acme.token,
        )
    )

    assert set(result["result"]) == set(result["result_time"]) == {"p1", "d2", "d3"}
    assert {key: error["error"] for key, error in result["result_error"].items()} == {
        "d1": "1048582",
        "x": "1048582",
    }
    assert acme.sandbox.states("acme") == {busy: 6, pending: 6}
    assert [row["method"] for row in acme.sandbox.truth("acme")] == [
        "tasks.task.pause",
        "tasks.task.defer",
        "tasks.task.defer",
    ]
    commands = acme.sandbox.requests("acme")[-1]["commands"]
    assert [code for _, _, _, code in commands] == ["1048582", "", "", "", "1048582"]


def test_paging_is_under_the_commands_key(acme):
    make(acme, [3] * 60)

    result = result_of(
        acme.sandbox.batch(
            "acme",
            {"a": "tasks.task.list?select[]=ID", "b": "tasks.task.list?select[]=ID&start=50", "c": "profile"},
            acme.token,
        )
    )

    assert result["result_total"] == {"a": 60, "b": 60}
    assert result["result_next"] == {"a": 50}


def test_halt_stops_at_the_first_error(acme):
    cmd = {"a": "profile", "b": "no.such.method", "c": "profile"}

    result = result_of(acme.sandbox.batch("acme", cmd, acme.token, halt=1))

    assert set(result["result"]) == {"a"}
    assert result["result_error"]["b"]["error"] == "ERROR_METHOD_NOT_FOUND"


@pytest.mark.parametrize("halt", [0, "0", "", None, False])
def test_php_false_does_not_halt(acme, halt):
    result = result_of(acme.sandbox.batch("acme", {"b": "no.such.method", "c": "profile"}, acme.token, halt=halt))

    assert set(result["result"]) == {"c"}


def test_the_51st_command_is_refused(acme):
    result = result_of(acme.sandbox.batch("acme", {f"k{n}": "user.admin" for n in range(52)}, acme.token))

    assert len(result["result"]) == 50
    assert {key: error["error"] for key, error in result["result_error"].items()} == {
        "k50": "ERROR_BATCH_LENGTH_EXCEEDED",
        "k51": "ERROR_BATCH_LENGTH_EXCEEDED",
    }


@pytest.mark.parametrize("method", ["batch", "download", "upload"])
def test_some_methods_refuse_a_batch(acme, method):
    result = result_of(acme.sandbox.batch("acme", {"k": f"{method}?x=1"}, acme.token))

    assert result["result_error"]["k"]["error"] == "ERROR_BATCH_METHOD_NOT_ALLOWED"


def test_other_types_are_silently_skipped(acme):
    result = result_of(acme.sandbox.batch("acme", {"a": {"method": "profile"}, "b": "user.admin"}, acme.token))

    assert result["result"] == {"b": False}
    assert result["result_error"] == []


def test_numeric_keys_become_a_list(acme):
    all_well = result_of(acme.sandbox.batch("acme", ["user.admin", "user.admin"], acme.token))
    one_failed = result_of(acme.sandbox.batch("acme", ["user.admin", "no.such", "user.admin"], acme.token))

    assert all_well["result"] == [False, False]
    assert one_failed["result"] == {"0": False, "2": False}
    assert set(one_failed["result_error"]) == {"1"}


def test_a_form_encodes_commands_twice(acme):
    [task] = acme.sandbox.tasks("acme", [{"title": "Fish & chips"}], creator=acme.bob)
    data = {"auth": acme.token, "cmd[k]": "tasks.task.list?filter[%25TITLE]=Fish%20%26%20chips&select[]=ID"}

    answer = acme.sandbox.post(acme.sandbox.url("acme", "rest/batch"), data=data)

    assert answer.json()["result"]["result"]["k"]["tasks"][0]["id"] == str(task)


def test_commands_can_use_earlier_results(acme):
    [task] = make(acme, [2])
    result = result_of(
        acme.sandbox.batch(
            "acme",
            {
                "me": "profile",
                "mine": "tasks.task.list?filter[RESPONSIBLE_ID]=$result[me][ID]&select[]=ID",
                "d": "tasks.task.defer?taskId=$result[mine][tasks][0][id]",
                "found": "tasks.task.list?filter[%25TITLE]=Task%20$result[mine][tasks][0][id]&select[]=ID",
            },
            acme.token,
        )
    )

    assert result["result"]["d"]["task"]["status"] == "6"
    assert [row["id"] for row in result["result"]["found"]["tasks"]] == [str(task)]


def test_a_batch_counts_as_one_request(acme):
    acme.sandbox.turn({"limits.bucket_size": 2, "limits.bucket_drain": 0.001})

    answer = acme.sandbox.batch("acme", {f"k{n}": "user.admin" for n in range(30)}, acme.token)

    assert len(result_of(answer)["result"]) == 30


def test_a_cut_keeps_finished_commands(acme):
    tasks = make(acme, [2] * 6)
    acme.sandbox.fault("batch/*", "cut", skip=4)

    with pytest.raises(requests.ConnectionError):
        acme.sandbox.batch("acme", {f"d{task}": f"tasks.task.defer?taskId={task}" for task in tasks}, acme.token)

    assert list(acme.sandbox.states("acme").values()) == [6, 6, 6, 6, 2, 2]
    # The sandbox cuts the connection before it logs the request.
    assert wait_until(lambda: len(acme.sandbox.requests("acme")[-1]["commands"]), what="the log") == 5


def test_another_user_can_act_mid_batch(acme):
    first, second = make(acme, [2, 2])
    acme.sandbox.fault("tasks.task.defer", "change_task", skip=1, task=second, status=5)

    cmd = {f"d{task}": f"tasks.task.defer?taskId={task}" for task in (first, second)}
    result = result_of(acme.sandbox.batch("acme", cmd, acme.token))

    assert set(result["result_error"]) == {f"d{second}"}
    assert acme.sandbox.look("acme", second)["changes"][0]["method"] == "control"


def test_a_command_can_fail(acme):
    tasks = make(acme, [2, 2])
    acme.sandbox.fault("tasks.task.defer", "error", code="INTERNAL_SERVER_ERROR", description="Oops", status=500)

    cmd = {f"d{task}": f"tasks.task.defer?taskId={task}" for task in tasks}
    result = result_of(acme.sandbox.batch("acme", cmd, acme.token))

    assert result["result_error"] == {f"d{tasks[0]}": {"error": "INTERNAL_SERVER_ERROR", "error_description": "Oops"}}


def test_a_stale_status_can_be_remembered(acme):
    acme.sandbox.settings(stale_task_cache=True)
    [task] = make(acme, [3])

    cmd = {"p": f"tasks.task.pause?taskId={task}", "d": f"tasks.task.defer?taskId={task}"}
    result = result_of(acme.sandbox.batch("acme", cmd, acme.token))
    fresh = acme.sandbox.rest("acme", "tasks.task.defer", {"taskId": task}, acme.token)

    assert set(result["result_error"]) == {"d"}
    assert fresh.status_code == 200
