"""Lists, states and rights of tasks, also if an answer is garbled."""

import pytest

from b24app.bitrix import tasks
from b24app.bitrix.errors import Unknown
from tests.bitrix.conftest import PAYLOADS


def test_a_list_page_is_read(client, answering):
    answering("tasks_task_list_page")
    page = tasks.page_of(client.call("tasks.task.list"))
    assert page.total == 51
    first, second = page.tasks
    assert (first.id, first.title, first.status, first.project) == (31, "Call the supplier", 2, "Purchasing")
    assert first.deadline.isoformat() == "2026-10-01T19:00:00+02:00"
    assert (second.status, second.project, second.responsible) == (3, "", "Bob Worker")


def test_a_garbled_list_is_unknown(client, answering):
    answering("tasks_task_get_unreadable")
    with pytest.raises(Unknown):
        tasks.read_states(client, [31])


def test_rights_are_read_for_the_user(client, answering, httpserver):
    inside = PAYLOADS["getaccess"]
    answering(body={"result": {"result": {"a31": inside["body"]["result"]}, "result_error": []}})
    assert tasks.read_access(client, [31]) == {31: frozenset({"PAUSE", "COMPLETE", "EDIT"})}


def test_no_rights_are_an_empty_list(client, answering):
    answering(body={"result": {"result": {"a31": {"allowedActions": []}}, "result_error": []}})
    assert tasks.read_access(client, [31]) == {31: frozenset()}


def listed(*rows):
    return {"result": {"tasks": list(rows)}}


READABLE, GARBLED = {"id": "31", "status": "3"}, {"id": "32", "status": "asleep"}


def test_a_garbled_row_spoils_no_other(client, answering):
    answering(body=listed(READABLE, GARBLED))
    found = tasks.read_states(client, [31, 32, 33])
    assert (found[31].status, found[32]) == (3, tasks.UNREADABLE)
    assert 33 not in found


@pytest.mark.parametrize("row", [{"status": "3"}, {"id": [], "status": "3"}, "oops", None])
def test_a_row_without_an_id_may_be_any(client, answering, row):
    answering(body=listed(READABLE, row))
    found = tasks.read_states(client, [31, 32, 33])
    assert (found[31].status, found[32], found[33]) == (3, tasks.UNREADABLE, tasks.UNREADABLE)


def test_a_lost_answer_tells_no_rights(client, answering):
    allowed = {"allowedActions": {"5": {"PAUSE": True, "EDIT": True}}}
    lost = {"a32": {"error": "INTERNAL_SERVER_ERROR", "error_description": ""}}
    answering(body={"result": {"result": {"a31": allowed}, "result_error": lost}})
    assert tasks.read_access(client, [31, 32, 33]) == {31: frozenset({"PAUSE", "EDIT"})}
