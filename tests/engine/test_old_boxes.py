"""Boxes that defer a task in progress directly, and boxes that have only task.item.*: the app learns and forgets it."""

import pytest

from b24app.bitrix.errors import NoSuchMethod
from b24app.bitrix.payloads import read_opening
from b24app.bitrix.tasks import TaskFilter
from b24app.engine import saving, selections
from b24app.models import Deferral, Job, JobItem, Portal, Selection
from b24app.portals import openings
from b24app.web.active import Listing
from tests.engine.work import outcomes, work

S, Code = JobItem.State, JobItem.Code
LEGACY, MODERN = Portal.Dialect.LEGACY, Portal.Dialect.MODERN


@pytest.fixture
def direct_box(sandbox):
    """acme defers a task in progress directly, but not for a person who only created it."""
    sandbox.turn({"acme/old_defer_rule": True})


@pytest.fixture
def oldest_box(sandbox, direct_box):
    """acme also has no tasks.task.* methods, and its openings have the fields of such boxes."""
    sandbox.turn({"acme/no_new_tasks": True, "acme/old_post": True})


def changes(sandbox):
    return sorted((change["task"], change["before"], change["after"]) for change in sandbox.truth("acme"))


def methods(sandbox):
    """The methods that were called, in batches and alone."""
    requests = sandbox.requests("acme")
    return {r["method"] for r in requests} | {c[1] for r in requests for c in r["commands"] or []}


def open_list(sandbox, person, **changes):
    opening = sandbox.open("acme", person.user_id)
    read = read_opening(opening["query"], opening["fields"] | changes)
    return openings.open_page(read, Listing.of_opening(read).command(), timeout=10)


def learned(person):
    return Portal.objects.values_list("dialect", "defers_directly").get(pk=person.portal_id)


# -- Direct defers


def test_a_direct_box_gets_no_pauses(sandbox, direct_box, person, tasks, job_for):
    ids = tasks(30)
    job = job_for(ids)
    work(person)
    assert outcomes(job) == dict.fromkeys(ids, (S.DONE, ""))
    assert changes(sandbox) == [(id, 3, 6) for id in ids]
    assert learned(person) == (MODERN, True)
    assert {deferral.previous_status for deferral in Deferral.objects.all()} == {3}


def test_a_current_portal_is_asked_once(sandbox, person, tasks, job_for):
    job_for(first := tasks(2))
    work(person)
    job_for(second := tasks(2))
    work(person)
    asked = [c for r in sandbox.requests("acme") for c in r["commands"] or [] if c[1] == "tasks.task.getaccess"]
    assert len(asked) == 1
    assert learned(person) == (MODERN, False)
    assert changes(sandbox) == sorted(step for id in first + second for step in ((id, 3, 2), (id, 2, 6)))


def test_a_box_that_ends_direct_defers_gets_pauses(sandbox, direct_box, person, tasks, job_for):
    job_for(tasks(1))
    work(person)
    sandbox.turn({"acme/old_defer_rule": None})
    before = len(sandbox.truth("acme"))
    ids = tasks(30)
    job = job_for(ids)
    work(person)
    assert outcomes(job) == dict.fromkeys(ids, (S.DONE, ""))
    assert learned(person) == (MODERN, False)
    assert len(sandbox.truth("acme")) - before == 60


def test_a_direct_box_gives_each_task_one_outcome(sandbox, direct_box, person, tasks, job_for):
    eve = sandbox.user("acme", name="Eve")
    progressing, pending, deferred, completed, deleted = tasks(24), tasks(2, status=2), tasks(1, status=6), *_two(tasks)
    merely_created = tasks(2, responsible=eve)
    job = job_for(progressing + pending + deferred + completed + deleted + merely_created)
    sandbox.change_task("acme", completed[0], status=5)
    sandbox.change_task("acme", deleted[0], delete=True)
    work(person)
    assert outcomes(job) == {
        **dict.fromkeys(progressing + pending, (S.DONE, "")),
        deferred[0]: (S.SKIPPED, Code.ALREADY_DEFERRED),
        completed[0]: (S.SKIPPED, Code.COMPLETED),
        deleted[0]: (S.SKIPPED, Code.GONE),
        **dict.fromkeys(merely_created, (S.FAILED, Code.NOT_PERMITTED)),
    }
    assert set(sandbox.states("acme", merely_created).values()) == {3}
    assert not [change for change in changes(sandbox) if change[0] in merely_created]
    assert learned(person) == (MODERN, True)


def _two(tasks):
    return tasks(1), tasks(1)


def test_a_lost_direct_defer_is_read(sandbox, direct_box, person, tasks, job_for):
    ids = tasks(30)
    job = job_for(ids)
    sandbox.fault("tasks.task.defer", "cut", skip=12)
    work(person)
    assert outcomes(job) == dict.fromkeys(ids, (S.DONE, ""))
    assert changes(sandbox) == [(id, 3, 6) for id in ids]


# -- The legacy dialect


def test_an_opening_learns_the_dialect(sandbox, oldest_box, person, tasks):
    ids = tasks(3)
    opened = open_list(sandbox, person)
    assert {task["id"] for task in opened.answer.result["tasks"]} == {str(id) for id in ids}
    assert opened.answer.total == 3
    assert learned(person) == (LEGACY, True)
    asked = len(sandbox.requests("acme"))
    assert open_list(sandbox, person).answer.total == 3
    assert len(sandbox.requests("acme")) - asked == 1


@pytest.fixture
def mixed(sandbox, tasks):
    eve = sandbox.user("acme", name="Eve")
    kinds = {
        "progressing": tasks(23),
        "pending": tasks(2, status=2),
        "deferred": tasks(1, status=6),
        "overdue": tasks(1, status=6, deadline="2020-01-01T00:00:00Z"),
        "completed": tasks(1),
        "deleted": tasks(1),
        "merely_created": tasks(1, responsible=eve),
    }
    return kinds, [id for ids in kinds.values() for id in ids]


def test_the_oldest_box_gives_each_task_one_outcome(sandbox, oldest_box, person, mixed, job_for):
    kinds, ids = mixed
    job = job_for(ids)
    sandbox.change_task("acme", kinds["completed"][0], status=5)
    sandbox.change_task("acme", kinds["deleted"][0], delete=True)
    work(person)
    assert outcomes(job) == {
        **dict.fromkeys(kinds["progressing"] + kinds["pending"], (S.DONE, "")),
        **dict.fromkeys(kinds["deferred"] + kinds["overdue"], (S.SKIPPED, Code.ALREADY_DEFERRED)),
        kinds["completed"][0]: (S.SKIPPED, Code.COMPLETED),
        kinds["deleted"][0]: (S.SKIPPED, Code.GONE),
        kinds["merely_created"][0]: (S.FAILED, Code.NOT_PERMITTED),
    }
    steps = [(id, 3, 6) for id in kinds["progressing"]] + [(id, 2, 6) for id in kinds["pending"]]
    assert changes(sandbox) == sorted([*steps, (kinds["completed"][0], 3, 5)])
    assert {item.vendor_code for item in job.items.filter(state=S.FAILED)} == {"ERROR_CORE"}
    assert all(deferral.status_changed_at for deferral in Deferral.objects.all())


def test_a_lost_answer_of_the_oldest_box_is_read(sandbox, oldest_box, person, tasks, job_for):
    ids = tasks(30)
    job = job_for(ids)
    sandbox.fault("task.item.defer", "cut", skip=12)
    work(person)
    assert outcomes(job) == dict.fromkeys(ids, (S.DONE, ""))
    assert changes(sandbox) == [(id, 3, 6) for id in ids]


def test_anothers_success_in_the_oldest_box_is_not_ours(sandbox, oldest_box, person, tasks, job_for):
    ann = sandbox.user("acme", name="Ann")
    (task,) = tasks(1, accomplices=[ann])
    job = job_for([task])
    token = sandbox.access("acme", ann)
    claim = saving.claim

    def overtaken(job, lease, items):
        sandbox.rest("acme", "task.item.defer", {"TASKID": task}, token)
        return claim(job, lease, items)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "claim", overtaken)
        work(person)
    assert outcomes(job) == {task: (S.SKIPPED, Code.ALREADY_DEFERRED)}


def test_the_oldest_box_collects_all_matches(sandbox, oldest_box, person, tasks):
    ids = tasks(130)
    tasks(5, status=2)
    selection = selections.select_matching(person, TaskFilter(member_id=person.user_id))
    work(person)
    selection.refresh_from_db()
    assert selection.state == Selection.State.READY
    assert sorted(selection.tasks.values_list("task_id", flat=True)) == ids


def test_a_legacy_box_with_the_new_rule_gets_pauses(sandbox, person, tasks, job_for):
    sandbox.turn({"acme/no_new_tasks": True})
    ids = tasks(3)
    job = job_for(ids)
    work(person)
    assert outcomes(job) == dict.fromkeys(ids, (S.DONE, ""))
    assert learned(person) == (LEGACY, False)
    assert changes(sandbox) == sorted(step for id in ids for step in ((id, 3, 2), (id, 2, 6)))


def test_a_running_job_learns_the_dialect(sandbox, person, tasks, job_for):
    ids = tasks(30)
    job = job_for(ids)
    sandbox.turn({"acme/old_defer_rule": True, "acme/no_new_tasks": True})
    work(person)
    job.refresh_from_db()
    assert (job.state, job.done) == (Job.State.FINISHED, 30)
    assert learned(person) == (LEGACY, True)


def test_an_opening_notices_an_updated_box(sandbox, oldest_box, person, tasks, job_for):
    open_list(sandbox, person)
    sandbox.turn({"acme/no_new_tasks": None, "acme/old_defer_rule": None, "acme/old_post": None})
    (task,) = tasks(1)
    assert open_list(sandbox, person).answer.total == 1
    assert learned(person) == (MODERN, None)
    job = job_for([task])
    work(person)
    assert outcomes(job) == {task: (S.DONE, "")}
    assert "tasks.task.defer" in methods(sandbox)


def test_an_updated_box_keeps_the_dialect_until_opened(sandbox, oldest_box, person, tasks, job_for):
    open_list(sandbox, person)
    sandbox.turn({"acme/no_new_tasks": None, "acme/old_defer_rule": None})
    ids = tasks(3)
    job = job_for(ids)
    work(person)
    assert outcomes(job) == dict.fromkeys(ids, (S.DONE, ""))
    assert learned(person) == (LEGACY, False)


def test_a_portal_without_task_methods_teaches_nothing(sandbox, oldest_box, person, tasks, job_for):
    for method in ("tasks.task.list", "task.item.list"):
        sandbox.fault(method, "error", code="ERROR_METHOD_NOT_FOUND", status=404, times=-1)
    opened = open_list(sandbox, person)
    assert isinstance(opened.answer, NoSuchMethod)
    assert learned(person) == (MODERN, None)


JUNK = [
    {"SERVER_ENDPOINT": "", "APPLICATION_TOKEN": "", "APPLICATION_SCOPE": ""},
    {"PLACEMENT": "", "PLACEMENT_OPTIONS": "undefined"},
    {"PLACEMENT_OPTIONS": "[]", "AUTH_EXPIRES": "soon"},
    {"PLACEMENT_OPTIONS": '{"ID": {"a": [1]}, "USER_ID": "x", "taskId": null}', "status": "L"},
    {"PLACEMENT": "X" * 500, "SERVER_ENDPOINT": "not an address", "a[b][]": "1", "\u0000": "\ufffd"},
]


@pytest.mark.parametrize("junk", JUNK)
def test_odd_fields_break_no_opening(sandbox, person, tasks, junk):
    tasks(2)
    assert open_list(sandbox, person, **junk).answer.total == 2


@pytest.mark.parametrize("missing", ["SERVER_ENDPOINT", "APPLICATION_TOKEN", "AUTH_EXPIRES", "PLACEMENT_OPTIONS"])
def test_an_opening_needs_tokens_and_portal_only(sandbox, person, missing):
    opening = sandbox.open("acme", person.user_id)
    fields = {name: value for name, value in opening["fields"].items() if name != missing}
    read = read_opening({}, fields)
    assert openings.open_page(read, Listing.of_opening(read).command(), timeout=10).person == person
