"""The limits of a portal: requests, operating time, and how many commands a batch contains."""

from datetime import timedelta

import pytest

from b24app import clock
from b24app.engine import slices
from b24app.models import Job, JobItem, Portal
from b24app.portals import clients
from tests.engine.work import work

S = JobItem.State


def test_a_request_limit_makes_the_job_wait(sandbox, person, tasks, job_for):
    job = job_for(tasks(3))
    sandbox.fault("tasks.task.list", "error", code="QUERY_LIMIT_EXCEEDED", status=503)
    assert 1 < slices.run(person.portal_id) <= 10
    job.refresh_from_db()
    assert (job.state, job.wait_reason) == (Job.State.WAITING, Job.WaitReason.LIMIT)


def test_an_operating_limit_defers_paused_tasks_first(sandbox, person, tasks, job_for):
    ids = tasks(5)
    job = job_for(ids)
    sandbox.fault("tasks.task.defer", "error", code="OPERATION_TIME_LIMIT", status=429, times=3)
    slices.run(person.portal_id)
    job.refresh_from_db()
    assert (job.state, job.wait_reason, job.done) == (Job.State.WAITING, Job.WaitReason.LIMIT, 2)
    assert set(job.items.exclude(state=S.DONE).values_list("state", "step")) == {(S.PENDING, "paused")}
    Job.objects.update(wait_until=job.created_at)
    work(person)
    job.refresh_from_db()
    assert (job.done, len(sandbox.truth("acme"))) == (5, 10)


def spend(method, seconds, used_at=0.0):
    """The portal has counted `seconds` of operating time of a method; a page called it last at `used_at`."""
    reset_at = clock.now().timestamp() + 500
    Portal.objects.update(operating={method: [seconds, reset_at]}, used_at=used_at, defers_directly=False)
    return reset_at


@pytest.mark.parametrize("method", ["tasks.task.pause", "tasks.task.defer"])
def test_pause_and_defer_share_a_plan(sandbox, person, tasks, job_for, method):
    job = job_for(tasks(3))
    reset_at = spend(method, 480)
    slices.run(person.portal_id)
    job.refresh_from_db()
    assert (job.state, job.wait_reason) == (Job.State.WAITING, Job.WaitReason.LIMIT)
    assert job.wait_until.timestamp() == pytest.approx(reset_at + 1, abs=2)
    assert sandbox.truth("acme") == []


def test_pending_tasks_pass_a_pause_limit(sandbox, person, tasks, job_for):
    progressing, pending = tasks(2), tasks(2, status=2)
    job = job_for(progressing + pending)
    spend("tasks.task.pause", 480)
    slices.run(person.portal_id)
    assert set(sandbox.states("acme", pending).values()) == {6}
    assert set(sandbox.states("acme", progressing).values()) == {3}
    job.refresh_from_db()
    assert (job.state, job.done) == (Job.State.WAITING, 2)


def test_people_keep_part_of_the_operating_time(person, tasks, job_for):
    job = job_for(tasks(3))
    spend("tasks.task.defer", 400, used_at=clock.now().timestamp())
    slices.run(person.portal_id)
    job.refresh_from_db()
    assert (job.state, job.done) == (Job.State.WAITING, 0)
    Job.objects.update(wait_until=clock.now())
    Portal.objects.update(used_at=clock.now().timestamp() - 301)
    work(person)
    job.refresh_from_db()
    assert job.done == 3


def test_a_page_marks_the_portal_as_used(person):
    Portal.objects.update(used_at=0)
    clients.ask(person, lambda client: client.call("profile"))
    portal = Portal.objects.get()
    assert portal.is_in_use(clock.now())
    assert not portal.is_in_use(clock.now() + timedelta(seconds=301))


def test_a_few_leftovers_join_the_next_batch(sandbox, person, tasks, job_for, settings):
    job = job_for(tasks(120))
    Portal.objects.update(seconds_per_command=0.33, defers_directly=False)
    sandbox.turn({"cost.sleep": 0, "cost.tasks.task.defer": 0.33, "cost.tasks.task.pause": 0.33})
    work(person)
    job.refresh_from_db()
    assert job.done == 120
    sizes = [len(r["commands"]) // 2 for r in sandbox.requests("acme") if is_change(r)]
    assert len(sizes) <= 1 + -(-120 // 22)
    assert min(sizes[1:-1]) >= 20


def is_change(request):
    return any(command[1] == "tasks.task.defer" for command in request["commands"] or [])
