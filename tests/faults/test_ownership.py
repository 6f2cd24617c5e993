"""Whose change is it: two jobs over one task, and changes that were made although their answer said no."""

import pytest

from b24app.engine import batches, jobs, slices
from b24app.models import Credential, Deferral, Job, JobItem, Portal
from b24app.portals.lease import Lease
from tests.faults.engine import outcomes

DONE, SKIPPED = {("done", ""): 1}, {("skipped", "already_deferred"): 1}


@pytest.fixture
def ann(engine, worker, open_as):
    """A colleague of Bob at acme."""
    return open_as("acme", engine.sandbox.user("acme", name="Ann"))


@pytest.fixture
def paused(engine, worker):
    """A task of Bob whose batch was cut after the pause; his job waits for the answer."""
    (task,) = engine.tasks(worker, 1)
    job = engine.defer(worker, [task])
    Portal.objects.update(defers_directly=False)
    engine.sandbox.fault("tasks.task.defer", "cut")
    engine.work(worker, until=lambda: job.items.filter(state="sent").exists())
    assert engine.sandbox.states("acme", [task]) == {task: 2}
    return task, job


def step(person):
    """One thing that a slice does."""
    lease = Lease.acquire(person.portal_id)
    try:
        return slices._do_next(lease)
    finally:
        lease.release()


def undo(engine, job):
    job.refresh_from_db()
    back = jobs.undo(job, f"undo {job.pk}")
    engine.work(job.person)
    return back


# -- Two jobs over one task --------------------------------------------------------------------------------------


def test_f56_a_task_under_way_waits_in_a_second_job(engine, worker, paused):
    task, first = paused
    engine.wait(40)
    others = engine.tasks(worker, 59)
    second = engine.defer(worker, [*others[:44], task, *others[44:]])
    engine.work(worker)
    assert outcomes(first) == DONE
    assert outcomes(second) == {("done", ""): 59, **SKIPPED}
    assert Deferral.objects.live().get(task_id=task).previous_status == 3
    assert outcomes(undo(engine, first)) == DONE
    assert engine.sandbox.states("acme", [task]) == {task: 3}


def test_a_colleagues_job_waits_too(engine, worker, ann, paused):
    task, first = paused
    engine.sandbox.change_task("acme", task, responsible=ann.user_id)
    second = engine.defer(ann, [task])
    engine.work(worker)
    assert (outcomes(first), outcomes(second)) == (DONE, SKIPPED)
    assert Deferral.objects.live().get().previous_status == 3


def test_a_job_that_waits_asks_nothing(engine, worker, paused):
    task, _ = paused
    second = engine.defer(worker, [task])
    before = len(engine.sandbox.requests("acme"))
    waits = []
    while engine.waited < 60:
        waits.append(engine.slice(worker))
        engine.wait(waits[-1] + 0.01)
    second.refresh_from_db()
    assert (second.state, second.settled, second.wait_reason) == (Job.State.WAITING, 0, "")
    assert len(waits) <= 5
    assert len(engine.sandbox.requests("acme")) == before


def test_an_absent_colleague_is_not_waited_for(engine, worker, ann, paused):
    task, _ = paused
    engine.sandbox.change_task("acme", task, responsible=ann.user_id)
    Credential.objects.filter(person=worker).update(state=Credential.State.NEEDS_REOPEN)
    second = engine.defer(ann, [task])
    engine.work(worker, until=lambda: Job.objects.get(pk=second.pk).state == Job.State.FINISHED)
    assert outcomes(second) == DONE


def test_a_stop_does_not_wait_for_the_other_job(engine, worker, paused):
    task, _ = paused
    second = engine.defer(worker, [task])
    assert not jobs.stop(second)
    second.refresh_from_db()
    assert (second.state, second.cancelled) == (Job.State.FINISHED, 1)


def test_two_jobs_that_wait_for_each_other_end(engine, worker, paused):
    task, first = paused
    (other,) = engine.tasks(worker, 1)
    second = engine.defer(worker, [other])
    engine.sandbox.fault("tasks.task.defer", "cut")
    engine.work(worker, until=lambda: second.items.filter(state="sent").exists())
    JobItem.objects.create(job=first, task_id=other)
    JobItem.objects.create(job=second, task_id=task)
    Job.objects.update(total=2)
    engine.work(worker)
    assert outcomes(first) == outcomes(second) == {**DONE, **SKIPPED}


def test_f56_one_change_is_one_deferral(engine, worker):
    (task,) = engine.tasks(worker, 1)
    Portal.objects.update(defers_directly=False)
    first, second = engine.defer(worker, [task]), engine.defer(worker, [task])
    Job.objects.filter(pk=first.pk).update(state=Job.State.WAITING)
    step(worker)
    assert second.items.get().status_seen == 3
    Job.objects.filter(pk=first.pk).update(state=Job.State.QUEUED)
    engine.work(worker)
    assert (outcomes(first), outcomes(second)) == (DONE, SKIPPED)
    assert Deferral.objects.get().item.job == first


# -- Refused after it was done -----------------------------------------------------------------------------------

CODES = ["1048582", "1048584", "0"]


@pytest.mark.parametrize("status", [3, 2])
@pytest.mark.parametrize("code", CODES)
def test_f57_a_refused_deferral_is_ours(engine, worker, code, status):
    job = engine.defer(worker, engine.tasks(worker, 5, status=status))
    engine.sandbox.fault("tasks.task.defer", "error_after", code=code, status=400, times=2)
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 5}
    assert outcomes(undo(engine, job)) == {("done", ""): 5}
    assert set(engine.sandbox.states("acme").values()) == {status}


@pytest.mark.parametrize("code", CODES)
def test_a_pause_that_was_refused_is_ours(engine, worker, code):
    (task,) = engine.tasks(worker, 1)
    job = engine.defer(worker, [task])
    engine.sandbox.fault("tasks.task.pause", "error_after", code=code, status=400)
    engine.sandbox.fault("tasks.task.defer", "error", code=code, status=400, times=-1)
    engine.work(worker)
    assert job.items.get().state == "failed"
    assert engine.sandbox.states("acme", [task]) == {task: 3}


@pytest.mark.parametrize("method", ["renew", "start"])
@pytest.mark.parametrize("code", CODES)
def test_a_return_that_was_refused_is_ours(engine, worker, code, method):
    job = engine.defer(worker, engine.tasks(worker, 3))
    engine.work(worker)
    engine.sandbox.fault(f"tasks.task.{method}", "error_after", code=code, status=400, times=2)
    assert outcomes(undo(engine, job)) == {("done", ""): 3}
    assert set(engine.sandbox.states("acme").values()) == {3}


def test_a_renewal_that_was_refused_is_ours(engine, worker):
    job = engine.defer(worker, engine.tasks(worker, 1))
    engine.work(worker)
    engine.sandbox.fault("tasks.task.renew", "error_after", code="1048584", status=400)
    engine.sandbox.fault("tasks.task.start", "error", code="1048582", status=400)
    assert outcomes(undo(engine, job)) == DONE
    assert set(engine.sandbox.states("acme").values()) == {3}


def test_a_colleagues_deferral_stays_theirs(engine, worker, ann):
    (task,) = engine.tasks(worker, 1, status=2, creator=ann.user_id, responsible=worker.user_id)
    job = engine.defer(worker, [task])
    change = {"task": task, "status": 6, "portal": "acme"}
    engine.sandbox.fault("tasks.task.defer", "do", verb="change_task", given=change)
    engine.sandbox.fault("tasks.task.defer", "error", code="1048582", status=400)
    engine.work(worker)
    assert outcomes(job) == SKIPPED
    assert not jobs.can_undo(job)


# -- What came late ----------------------------------------------------------------------------------------------


def by_hand(engine, person, method, task):
    """The person's own token changes a task, as bytes do that were under way for very long."""
    token = engine.sandbox.access("acme", person.user_id)
    assert engine.sandbox.rest("acme", f"tasks.task.{method}", {"taskId": task}, token).status_code == 200


@pytest.mark.parametrize("acts, restored", [(["pause", "defer"], 3), (["pause"], 3)])
def test_f59_a_late_change_is_found(engine, worker, acts, restored):
    (task,) = engine.tasks(worker, 1)
    job = engine.defer(worker, [task])
    Portal.objects.update(defers_directly=False)
    engine.sandbox.fault("tasks.task.pause", "cut")
    engine.work(worker, until=lambda: job.items.filter(state="sent").exists())
    engine.wait(80)
    step(worker)
    assert job.items.get().state == "pending"
    for act in acts:
        by_hand(engine, worker, act, task)
    job.items.update(seen_at=None)  # as after a minute
    engine.work(worker)
    assert outcomes(job) == DONE
    assert outcomes(undo(engine, job)) == DONE
    assert engine.sandbox.states("acme", [task]) == {task: restored}


def test_a_stop_reads_what_was_sent_before(engine, worker):
    arrived, lost = engine.tasks(worker, 2)
    job = engine.defer(worker, [arrived, lost])
    Portal.objects.update(defers_directly=False)
    engine.sandbox.fault("tasks.task.pause", "cut")
    engine.work(worker, until=lambda: job.items.filter(state="sent").exists())
    engine.wait(80)
    step(worker)
    by_hand(engine, worker, "pause", arrived)
    by_hand(engine, worker, "defer", arrived)
    assert jobs.stop(job)
    engine.work(worker)
    assert outcomes(job) == {("done", ""): 1, ("cancelled", "stopped"): 1}
    assert engine.sandbox.states("acme", [arrived, lost]) == {arrived: 6, lost: 3}


def test_a_retry_finds_a_late_deferral(engine, worker):
    (task,) = engine.tasks(worker, 1)
    job = engine.defer(worker, [task])
    for method in ("defer", "start"):
        engine.sandbox.fault(f"tasks.task.{method}", "error", code="1048582", status=400, times=-1)
    engine.work(worker)
    assert outcomes(job) == {("failed", "left_paused"): 1}
    engine.sandbox.clear_faults()
    by_hand(engine, worker, "defer", task)
    job.refresh_from_db()
    again = jobs.retry(job, [JobItem.State.FAILED], "again")
    engine.work(worker)
    assert outcomes(again) == DONE
    assert outcomes(undo(engine, again)) == DONE
    assert engine.sandbox.states("acme", [task]) == {task: 3}


def test_a_garbled_row_of_a_sent_task_is_read_again(engine, worker):
    (task,) = engine.tasks(worker, 1)
    job = engine.defer(worker, [task])
    Portal.objects.update(defers_directly=False)
    engine.sandbox.fault("tasks.task.pause", "cut")
    engine.work(worker, until=lambda: job.items.filter(state="sent").exists())
    engine.wait(80)
    step(worker)
    item = job.items.get()
    assert item.state == "pending"
    batches.deferring.mark_garbled(item)
    assert item.state == "pending"
