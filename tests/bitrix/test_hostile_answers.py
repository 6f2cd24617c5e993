"""Answers of a hostile or broken portal: each costs little, and one odd thing concerns only its own row."""

import json
import time
import tracemalloc

import pytest

from b24app.bitrix import bounds, http, tasks
from b24app.bitrix.client import Answer, Client, Command
from b24app.bitrix.errors import BitrixError, Refused, Unknown
from b24app.bitrix.tasks import Act

CPU, MEMORY, ROW = 0.2, 50 * 1024 * 1024, 16 * 1024  # seconds; bytes; bytes
MEGABYTE = 1024 * 1024


def small_rows(number):
    row = b'{"id":"31","title":"T","status":"3","deadline":null}'
    return b'{"result":{"tasks":[' + b",".join([row] * number) + b'],"total":1}}'


def padded(fields):
    """An answer with these fields, filled up to a little less than two megabytes."""
    return json.dumps({"result": {"tasks": []}, **fields}).encode()


HUGE = {
    "280,000 rows": small_rows(280_000),
    "rows of a full page": small_rows(35_000),
    "empty maps": b'{"result":{"tasks":[' + b",".join([b"{}"] * 600_000) + b"]}}",
    "empty lists": b'{"result":[' + b",".join([b"[]"] * 600_000) + b"]}",
    "numbers": b'{"result":[' + b",".join([b"1e9"] * 500_000) + b"]}",
    "a long time": padded({"time": {"x": "y" * 1_900_000}}),
    "many times": padded({"time": {f"operating{n}": n for n in range(90_000)}}),
    "a long error": padded({"error": "E" * 1_900_000}),
    "an error of lines": padded({"error": "E\n\0\x1b[31m" * 100, "error_description": "x" * 900_000}),
    "an error that is a map": padded({"error": {f"k{n}": n for n in range(90_000)}}),
    "a long title": padded({"result": {"tasks": [{"id": 31, "status": 3, "title": "\u0000" * 300_000}]}}),
    "a batch of strange keys": padded(
        {"result": {"result": {f"k{n}": 1 for n in range(30_000)}, "result_error": {f"e{n}": 1 for n in range(30_000)}}}
    ),
    "long errors in a batch": padded(
        {
            "result": {
                "result": [],
                "result_error": {"page": {"error": "E" * 900_000, "error_description": "x" * 900_000}},
            }
        }
    ),
    "times without end in a batch": padded(
        {"result": {"result": {"page": True}, "result_time": {"page": {"operating": 1e308, "operating_reset_at": 9}}}}
    ),
    "no JSON": b"\x00\xff" * 900_000,
}


@pytest.mark.parametrize("ask", ["list", "batch"])
@pytest.mark.parametrize("body", HUGE.values(), ids=HUGE.keys())
def test_a_huge_answer_costs_little(httpserver, egress, answering, body, ask):
    answering(body=body)
    exchanges = []
    client = Client(httpserver.url_for("/rest/"), "the-access-token", egress, after=exchanges.append)
    (seconds, memory), found = measured(lambda: asked(client, ask))
    assert seconds < CPU
    assert memory < MEMORY
    exchange = exchanges[0]
    row = json.dumps([exchange.params, exchange.outcome, exchange.code, exchange.method])
    assert len(row) <= ROW
    assert "\0" not in str(exchange.outcome.get("body"))
    assert "x" * 101 not in str(exchange.outcome.get("errors"))
    assert not isinstance(found, tasks.Page) or len(found.tasks) <= tasks.PAGE_SIZE
    assert all(len(task.title) <= bounds.LONGEST_TITLE for task in getattr(found, "tasks", []))
    assert len(getattr(found, "code", "")) <= 100


def asked(client, ask):
    try:
        if ask == "list":
            return tasks.page_of(client.call("tasks.task.list"))
        return client.batch([Command("page", "tasks.task.list")])["page"]
    except BitrixError as error:
        return error


def measured(work):
    """CPU seconds of this thread, and how much more memory was in use at the peak, and the result."""
    began = time.thread_time()
    result = work()
    seconds = time.thread_time() - began
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (seconds, peak), result


def test_a_batch_may_be_larger_than_a_page(httpserver, egress, answering):
    answering(body=b'{"result": "' + b"x" * (3 * MEGABYTE) + b'"}')
    page = Client(httpserver.url_for("/rest/"), "t" * 10, egress)
    with pytest.raises(Unknown, match="answer_too_large"):
        page.call("profile")
    slice_ = Client(httpserver.url_for("/rest/"), "t" * 10, egress, longest_answer=http.LONGEST_BATCH)
    assert len(slice_.call("profile").result) == 3 * MEGABYTE


def test_a_code_is_short_and_printable():
    error = Refused("A\nB\0C\x1b[31m" + "x" * 1000, "d\0" * 1000)
    assert error.code.startswith("ABC[31mxxx")
    assert len(error.code) == 100
    assert "\0" not in error.detail


def test_long_parameters_fit_into_the_journal(httpserver, egress, answering):
    answering(body={"result": {"result": []}})
    exchanges = []
    client = Client(httpserver.url_for("/rest/"), "t" * 10, egress, after=exchanges.append)
    with_ids = {"filter": {"ID": [10**12 + n for n in range(50)]}}
    client.batch([Command(f"l{n}", "tasks.task.list", with_ids) for n in range(50)])
    assert len(json.dumps(exchanges[0].params)) <= ROW
    assert exchanges[0].params["cmd"]["l49"].startswith("tasks.task.list?filter[ID][0]=1000000000000")


ROWS = {
    "a status of the moon": {"id": "32", "status": "8"},
    "a negative status": {"id": "32", "status": "-1"},
    "a status that does not fit": {"id": "32", "status": "99999"},
    "a status in other digits": {"id": "32", "status": "\u00b2"},
    "a status that is true": {"id": "32", "status": True},
    "a changer without end": {"id": "32", "status": "3", "statusChangedBy": "9" * 5000},
    "a responsible without end": {"id": "32", "status": "3", "responsibleId": "9" * 30},
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_an_odd_row_concerns_one_task(client, answering, row):
    answering(body={"result": {"tasks": [{"id": "31", "status": "3"}, row]}})
    found = tasks.read_states(client, [31, 32])
    assert found[31].status == 3
    assert found[32] is tasks.UNREADABLE


@pytest.mark.parametrize("row", [*ROWS.values(), {"id": "0"}, {"id": "9" * 30}, {"id": "\u00b2"}, None, "x", {}])
def test_an_odd_row_hides_no_other(client, answering, row):
    answering(body={"result": {"tasks": [row, {"id": "31", "title": "Read me", "status": "3"}], "total": 2}})
    rows = {task.id: task for task in tasks.page_of(client.call("tasks.task.list")).tasks}
    assert (rows[31].title, rows[31].status) == ("Read me", 3)
    assert set(rows) <= {31, 32}


def test_texts_of_a_row_are_cleaned(client, answering):
    person = {"id": "5", "name": "A\0n\x1bn\u0085 " + "x" * 5000}
    row = {"id": "31", "status": "3", "title": "a\0b\nc\td" + "x" * 5000, "responsible": person, "group": person}
    answering(body={"result": {"tasks": [row]}})
    (task,) = tasks.page_of(client.call("tasks.task.list")).tasks
    assert task.title.startswith("ab c dxxx")
    assert len(task.title) == bounds.LONGEST_TITLE
    assert task.responsible == task.project
    assert task.responsible.startswith("Ann x")
    assert len(task.responsible) == bounds.LONGEST_NAME


@pytest.mark.parametrize(
    "moment",
    [
        *("9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59-12:00"),
        *("2026-10-01T19:00:00", "2026-10-01", "no date", 5, [], {"date": "2026-10-01"}, "2" * 5000),
    ],
)
def test_an_odd_date_is_unknown(client, answering, moment):
    row = {"id": "31", "status": "3", "deadline": moment, "activityDate": moment, "statusChangedDate": moment}
    answering(body={"result": {"tasks": [row]}})
    (task,) = tasks.page_of(client.call("tasks.task.list")).tasks
    assert (task.deadline, task.active_at) == (None, None)
    assert tasks.read_states(client, [31])[31].status_changed_at is None


def test_only_rows_that_were_asked_for_count(client, answering):
    rows = [{"id": str(id), "status": "3"} for id in range(100, 200)]
    answering(body={"result": {"tasks": rows}})
    found = tasks.read_states(client, [100, 101, 999])
    assert set(found) == {100, 101, 999}
    assert found[999] is tasks.UNREADABLE  # it may be among the rows that were not read
    assert len(tasks.read_listed(client_of_batches(client, rows), [100])) <= tasks.PAGE_SIZE


def client_of_batches(client, rows):
    class Batches:
        def batch(self, commands):
            return {command.key: Answer({"tasks": rows}) for command in commands}

    return Batches()


def test_collecting_takes_each_task_once(client):
    rows = [{"id": id, "status": 3} for id in (7, 5, 5, 9, 4, 3)]
    found, ended = tasks.collect_after(client_of_batches(client, rows), tasks.TaskFilter(), 4)
    assert [row.id for row in found] == [5, 7, 9]
    assert ended


def test_collecting_ends_without_progress(client):
    rows = [{"id": id, "status": 3} for id in range(1, 51)]
    assert tasks.collect_after(client_of_batches(client, rows), tasks.TaskFilter(), 50) == ([], True)


@pytest.mark.parametrize("shown", ["999", None, "x", 0])
def test_an_answer_about_another_task_is_lost(client, answering, shown):
    task = {"id": shown, "status": "6", "statusChangedBy": "5"}
    answering(body={"result": {"result": {"d31": {"task": task}}, "result_error": []}})
    reply = tasks.send(client, [(31, Act.DEFER)])[31, Act.DEFER]
    assert isinstance(reply, Unknown)


@pytest.mark.parametrize("numbers", [{"total": "\u00b2"}, {"total": "9" * 5000}, {"next": -5}, {"total": 1e300}])
def test_odd_counts_are_unknown(client, answering, numbers):
    answering(body={"result": {"tasks": []}, **numbers})
    answer = client.call("tasks.task.list")
    assert (answer.total, answer.next) == (None, None)


@pytest.mark.parametrize("operating", [-1, 1e300, True, "x", None, [1]])
def test_odd_times_are_unknown(client, answering, operating):
    spent = {"duration": operating, "operating": operating, "operating_reset_at": operating}
    answering(body={"result": {}, "time": spent})
    answer = client.call("profile")
    assert (answer.seconds, answer.operating) == (None, None)
