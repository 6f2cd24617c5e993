"""The legacy dialect: which requests a client sends, and how it translates the answers."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qsl

import pytest

from b24app.bitrix import tasks
from b24app.bitrix.client import Command
from b24app.bitrix.dialects import Dialect
from b24app.bitrix.errors import NoSuchMethod, Refused, Unknown
from b24app.bitrix.tasks import Act, Sort, TaskFilter

ROW = {
    "ID": "31",
    "TITLE": "Call",
    "STATUS": "-1",
    "REAL_STATUS": "3",
    "DEADLINE": "2026-10-01T19:00:00+02:00",
    "CHANGED_DATE": "2026-09-01T10:00:00+00:00",
    "CREATED_BY": "1",
    "RESPONSIBLE_ID": "5",
    "RESPONSIBLE_NAME": "Bob",
    "RESPONSIBLE_LAST_NAME": "Worker",
    "STATUS_CHANGED_BY": "5",
    "STATUS_CHANGED_DATE": "2026-09-01T10:00:00+00:00",
}


@pytest.fixture
def legacy(client):
    return replace(client, dialect=Dialect.LEGACY)


def sent(httpserver):
    request, _ = httpserver.log[-1]
    return request.path.removeprefix("/rest/"), json.loads(request.data)


def batch_of(**answers):
    errors = {key: answers.pop(key) for key, answer in list(answers.items()) if isinstance(answer, dict)}
    return {"result": {"result": answers or [], "result_error": errors or [], "result_total": [], "result_next": []}}


@pytest.mark.parametrize(
    "act, method",
    [
        (Act.PAUSE, "task.item.pauseexecution"),
        (Act.DEFER, "task.item.defer"),
        (Act.START, "task.item.startexecution"),
    ],
)
def test_a_change_takes_only_the_id(legacy, answering, httpserver, act, method):
    answering(body=batch_of(**{act.key(31): None}))
    replies = tasks.send(legacy, [(31, act)])
    assert replies[31, act].result is None
    _, body = sent(httpserver)
    spelled, _, query = body["cmd"][act.key(31)].partition("?")
    assert (spelled, [value for _, value in parse_qsl(query)]) == (method, ["31"])


def test_returning_renews_and_starts(legacy, answering, httpserver):
    answering(body={"result": None})
    legacy.call("tasks.task.renew", {"taskId": 31})
    assert sent(httpserver) == ("task.item.renew", {"TASKID": 31, "auth": "the-access-token"})
    legacy.call("tasks.task.start", {"taskId": 31})
    assert sent(httpserver)[0] == "task.item.startexecution"


def test_a_list_has_four_arguments(legacy, answering, httpserver):
    answering(body={"result": [ROW], "total": 120})
    command = tasks.list_command("page", TaskFilter(member_id=5), Sort.ACTIVITY, True, 3)
    page = tasks.page_of(legacy.call(command.method, command.params))
    method, body = sent(httpserver)
    assert (method, list(body)) == ("task.item.list", ["ORDER", "FILTER", "PARAMS", "SELECT", "auth"])
    assert body["ORDER"] == {"CHANGED_DATE": "desc", "ID": "desc"}
    assert body["FILTER"]["REAL_STATUS"] == [3]
    assert body["PARAMS"] == {"NAV_PARAMS": {"nPageSize": 50, "iNumPage": 3}}
    assert "REAL_STATUS" in body["SELECT"]
    assert "STATUS" not in body["SELECT"]
    assert all(body.values())
    assert page.total == 120


def test_a_row_reads_like_a_modern_one(legacy, answering):
    answering(body={"result": [ROW], "total": 1})
    command = tasks.list_command("page", TaskFilter(), Sort.TITLE, False, 1)
    (row,) = tasks.page_of(legacy.call(command.method, command.params)).tasks
    assert row == tasks.TaskRow(
        id=31,
        title="Call",
        status=3,
        deadline=datetime(2026, 10, 1, 19, tzinfo=timezone(timedelta(hours=2))),
        responsible="Bob Worker",
        project="",
        responsible_id=5,
        active_at=datetime(2026, 9, 1, 10, tzinfo=UTC),
    )


def test_states_tell_who_changed_them(legacy, answering):
    answering(body={"result": [ROW], "total": 1})
    state = tasks.read_states(legacy, [31])[31]
    assert (state.status, state.status_changed_by, state.participants) == (3, 5, frozenset({1, 5}))


def test_each_page_starts_after_the_last(legacy, answering, httpserver):
    answering(body=batch_of(c0=[ROW]))
    rows, ended = tasks.collect_after(legacy, TaskFilter(), 7)
    assert ([row.id for row in rows], ended) == ([31], True)
    _, body = sent(httpserver)
    filters = [dict(parse_qsl(body["cmd"][key].partition("?")[2]))["FILTER[>ID]"] for key in ("c0", "c1")]
    assert filters == ["7", "$result[c0][49][ID]"]


@pytest.mark.parametrize("body", [{"result": {}}, {"result": None}, {"result": "no"}])
def test_a_garbled_list_is_unknown(legacy, answering, body):
    answering(body=body)
    with pytest.raises(Unknown):
        tasks.read_states(legacy, [31])


def test_a_legacy_code_is_a_refusal(legacy, answering):
    answering(body=batch_of(d31={"error": "ERROR_CORE", "error_description": "Action is not allowed<br>"}))
    assert isinstance(tasks.send(legacy, [(31, Act.DEFER)])[31, Act.DEFER], Refused)


def test_a_missing_method_ran_nothing(client, answering):
    answering("rest_error_method_not_found")
    with pytest.raises(NoSuchMethod):
        client.call("tasks.task.list")


def test_a_garbled_row_hides_no_task(legacy, answering):
    answering(body={"result": ["oops"]})
    assert tasks.read_states(legacy, [31]) == {31: tasks.UNREADABLE}


def test_rights_are_not_asked_for(legacy, httpserver):
    assert tasks.read_access(legacy, [31]) == {31: frozenset()}
    assert httpserver.log == []


def test_other_methods_keep_their_names(legacy, answering, httpserver):
    answering(body=batch_of(me=[]))
    legacy.batch([Command("me", "profile")])
    assert sent(httpserver)[1]["cmd"] == {"me": "profile?"}
