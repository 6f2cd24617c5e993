"""The support bundle of `manage.py journal`."""

import json

import pytest
from django.core.management import CommandError, call_command

from b24app.bitrix.client import Command
from b24app.engine import jobs, selections, slices
from b24app.management.commands import journal
from b24app.models import RestCall
from b24app.portals import clients


def printed(capsys, *words):
    call_command("journal", *words)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def two_tasks(sandbox, person):
    ids = sandbox.tasks("acme", count=2, status=3, creator=person.user_id, title="Prepare the budget")
    for number, id in enumerate(ids):
        jobs.start(person, selections.select_ticked(person, [id]), "why", f"key-{number}")
    slices.run(person.portal_id)
    return ids


def test_a_tasks_bundle_is_complete(capsys, person, two_tasks):
    portal, item, deferral, *calls = printed(capsys, "--portal", person.portal.member_id, "--task", str(two_tasks[0]))
    assert portal["member_id"] == person.portal.member_id
    assert (item["item"]["state"], item["item"]["status_before"]) == ("done", 3)
    assert deferral["deferral"]["previous_status"] == 3
    assert [call["method"] for call in calls] == ["batch", "tasks.task.list", "batch", "batch"]
    assert len({call["request_id"] for call in calls}) == len(calls)
    assert {"tasks.task.pause", "tasks.task.defer"} <= calls[3]["outcome"]["operating"].keys()
    assert len({call["job"] for call in calls if call["job"]}) == 1


@pytest.mark.parametrize(
    "params",
    [
        {"taskId": 31},
        {"TASKID": 31},
        {"filter": {"ID": [7, "31"]}},
        {"FILTER": {"ID": 31}},
        {"cmd": {"d31": "tasks.task.defer?taskId=31"}},
        {"cmd": {"d31": "task.item.defer?TASKID=31"}},
        {"cmd": {"c0": "tasks.task.list?filter[ID][0]=7&filter[ID][1]=31"}},
        {"cmd": {"c0": "task.item.list?ORDER[ID]=asc&FILTER[ID][0]=31&SELECT[0]=ID"}},
    ],
)
def test_a_request_names_its_task(params):
    assert journal.names(params, 31)
    assert not journal.names(params, 3)


def test_a_jobs_bundle_has_only_its_calls(capsys, person, two_tasks):
    job = person.jobs.first()
    _, *calls = printed(capsys, "--portal", str(person.portal_id), "--job", str(job.pk))
    assert len(calls) == RestCall.objects.filter(job=job).count()


def test_no_secret_or_name_is_exported(capsys, person, two_tasks):
    text = json.dumps(printed(capsys, "--portal", str(person.portal_id)), ensure_ascii=False)
    secrets = [person.credential.access_token, person.credential.refresh_token]
    for word in [*secrets, "Prepare the budget", "Bob", "why"]:
        assert word not in text


def test_an_unknown_portal_is_explained(db):
    with pytest.raises(CommandError, match="No portal"):
        call_command("journal", "--portal", "12345678")


def test_no_search_text_is_exported(capsys, person):
    clients.ask(person, lambda client: client.call("tasks.task.list", {"filter": {"%TITLE": "budget & co"}}))
    command = Command("list", "tasks.task.list", {"filter": {"%TITLE": "budget & co", "REAL_STATUS": [3]}})
    clients.ask(person, lambda client: client.batch([command]))
    _, *calls = printed(capsys, "--portal", str(person.portal_id))
    assert "budget" not in str(calls)
    assert "[%25TITLE]=***&filter[REAL_STATUS][0]=3" in str(calls[-1]["params"])
