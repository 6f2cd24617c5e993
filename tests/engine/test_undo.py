"""Undo: the engine returns what a job has deferred, against the sandbox."""

import pytest

from b24app.engine import batches, jobs, slices
from b24app.models import Deferral, Job, JobItem
from tests.engine.work import outcomes, work

S, Code = JobItem.State, JobItem.Code


@pytest.fixture
def deferred_job(person, tasks, job_for):
    """A finished job that has deferred new tasks: `deferred_job(3, status=2)`."""

    def defer(count, **fields):
        job = job_for(tasks(count, **fields))
        work(person)
        job.refresh_from_db()
        assert job.done == count
        return job

    return defer


def ids_of(job):
    return sorted(job.items.values_list("task_id", flat=True))


def undo(job, key="undo"):
    return jobs.undo(job, key)


def states_of_deferrals():
    return set(Deferral.objects.values_list("state", flat=True))


def test_60_tasks_return_with_two_commands_each(sandbox, person, deferred_job):
    job = deferred_job(60)
    before = len(sandbox.truth("acme"))
    back = undo(job)
    work(person)
    back.refresh_from_db()
    assert (back.kind, back.state, back.done, back.total) == (Job.Kind.RETURN, Job.State.FINISHED, 60, 60)
    changes = sorted((c["task"], c["before"], c["after"]) for c in sandbox.truth("acme")[before:])
    assert changes == sorted(step for id in ids_of(job) for step in [(id, 6, 2), (id, 2, 3)])
    assert states_of_deferrals() == {Deferral.State.RETURNED}
    assert not jobs.can_undo(job)


def test_pending_tasks_return_to_pending(sandbox, person, deferred_job):
    job = deferred_job(3, status=2)
    undo(job)
    work(person)
    assert set(sandbox.states("acme", ids_of(job)).values()) == {2}


def test_undo_covers_the_continued_job(sandbox, person, deferred_job, tasks):
    job = deferred_job(2)
    more = tasks(3)
    JobItem.objects.bulk_create(JobItem(job=job, task_id=id, state=S.CANCELLED, code=Code.STOPPED) for id in more)
    rest = jobs.retry(job, [S.CANCELLED], "again")
    work(person)
    rest.refresh_from_db()
    assert jobs.can_undo(rest)
    back = undo(rest)
    work(person)
    back.refresh_from_db()
    assert (back.total, back.done) == (5, 5)
    assert set(sandbox.states("acme", ids_of(job)).values()) == {3}


def test_undo_needs_a_finished_job(person, deferred_job, tasks):
    job = deferred_job(2)
    JobItem.objects.create(job=job, task_id=tasks(1)[0], state=S.CANCELLED, code=Code.STOPPED)
    rest = jobs.retry(job, [S.CANCELLED], "again")
    with pytest.raises(jobs.NotReady):
        undo(rest)
    work(person)
    rest.refresh_from_db()
    assert undo(rest).total == 3


def test_undo_ignores_later_jobs(person, deferred_job, tasks):
    job = deferred_job(2)
    JobItem.objects.create(job=job, task_id=tasks(1)[0], state=S.CANCELLED, code=Code.STOPPED)
    jobs.retry(job, [S.CANCELLED], "again")
    work(person)
    assert undo(job).total == 2


def test_undo_twice_is_one_job(person, deferred_job):
    job = deferred_job(2)
    assert undo(job) == undo(job)
    work(person)
    with pytest.raises(jobs.NotReady):
        undo(job, "again")


def test_changes_of_others_stay(sandbox, person, deferred_job):
    job = deferred_job(5)
    completed, started, deleted, again, ours = ids_of(job)
    sandbox.change_task("acme", completed, status=5)
    sandbox.change_task("acme", started, status=3)
    sandbox.change_task("acme", deleted, delete=True)
    sandbox.move_clock(60)
    sandbox.change_task("acme", again, status=2)
    sandbox.change_task("acme", again, status=6)
    before = len(sandbox.truth("acme"))
    back = undo(job)
    work(person)
    assert outcomes(back) == {
        completed: (S.SKIPPED, Code.COMPLETED),
        started: (S.SKIPPED, Code.AWAKE),
        deleted: (S.SKIPPED, Code.GONE),
        again: (S.SKIPPED, Code.DEFERRED_ANEW),
        ours: (S.DONE, ""),
    }
    assert {change["task"] for change in sandbox.truth("acme")[before:]} == {ours}
    assert sandbox.states("acme", [completed, again]) == {completed: 5, again: 6}
    assert states_of_deferrals() == {Deferral.State.RETURNED, Deferral.State.OVERTAKEN}


def test_a_completed_task_is_not_reopened(sandbox, person, deferred_job, monkeypatch):
    job = deferred_job(60)
    last = ids_of(job)[-1]
    back = undo(job)
    save, saved = batches.Batch._save, []

    def complete_after_the_first_batch(step, items, shown, replies=None, **also):
        save(step, items, shown, replies, **also)
        if replies and not saved:
            saved.append(sandbox.change_task("acme", last, status=5))

    monkeypatch.setattr(batches.Batch, "_save", complete_after_the_first_batch)
    work(person)
    assert outcomes(back)[last] == (S.SKIPPED, Code.COMPLETED)
    assert sandbox.states("acme", [last]) == {last: 5}


@pytest.mark.parametrize("method, skip", [("batch", 0), ("tasks.task.start", 2), ("tasks.task.renew", 3)])
def test_a_lost_answer_is_read(sandbox, person, deferred_job, method, skip):
    job = deferred_job(5)
    before = len(sandbox.truth("acme"))
    sandbox.fault(method, "drop" if method == "batch" else "cut", skip=skip)
    back = undo(job)
    work(person)
    assert outcomes(back) == dict.fromkeys(ids_of(job), (S.DONE, ""))
    assert len(sandbox.truth("acme")) - before == 10


def test_a_task_that_cannot_start_says_so(sandbox, person, deferred_job):
    job = deferred_job(3)
    sandbox.fault("tasks.task.start", "error", code="1048582", status=400, times=-1)
    back = undo(job)
    work(person)
    assert outcomes(back) == dict.fromkeys(ids_of(job), (S.DONE, Code.NOT_STARTED))
    assert set(sandbox.states("acme", ids_of(job)).values()) == {2}
    assert states_of_deferrals() == {Deferral.State.RETURNED}


def test_a_refused_return_can_be_retried(sandbox, person, deferred_job):
    job = deferred_job(3)
    sandbox.fault("tasks.task.renew", "error", code="1048582", status=400, times=3)
    back = undo(job)
    work(person)
    assert outcomes(back) == dict.fromkeys(ids_of(job), (S.FAILED, Code.NOT_PERMITTED))
    assert states_of_deferrals() == {Deferral.State.SLEEPING}
    back.refresh_from_db()
    again = jobs.retry(back, [S.FAILED], "again")
    work(person)
    assert outcomes(again) == dict.fromkeys(ids_of(job), (S.DONE, ""))
    assert set(sandbox.states("acme", ids_of(job)).values()) == {3}


def test_a_stopped_return_starts_renewed_tasks(sandbox, person, deferred_job):
    job = deferred_job(40)
    back = undo(job)
    sandbox.fault("tasks.task.start", "error", code="OPERATION_TIME_LIMIT", status=429, times=25)
    slices.run(person.portal_id)
    renewed = {id for id, status in sandbox.states("acme", ids_of(job)).items() if status == 2}
    assert 0 < len(renewed) < 40
    assert jobs.stop(back)
    sandbox.clear_faults()
    Job.objects.update(wait_until=back.created_at)
    work(person)
    back.refresh_from_db()
    assert (back.state, back.done, back.cancelled) == (Job.State.FINISHED, len(renewed), 40 - len(renewed))
    states = sandbox.states("acme", ids_of(job))
    assert {id for id, status in states.items() if status == 3} == renewed
    assert set(states.values()) == {3, 6}


def test_undo_in_the_oldest_box(sandbox, person, tasks, job_for):
    sandbox.turn({"acme/old_defer_rule": True, "acme/no_new_tasks": True, "acme/old_post": True})
    ids = tasks(30)
    job = job_for(ids)
    work(person)
    job.refresh_from_db()
    assert set(sandbox.states("acme", ids).values()) == {6}
    before = len(sandbox.truth("acme"))
    back = undo(job)
    work(person)
    assert outcomes(back) == dict.fromkeys(ids, (S.DONE, ""))
    changes = sandbox.truth("acme")[before:]
    assert {change["method"] for change in changes} == {"task.item.renew", "task.item.startexecution"}
    assert sorted((c["task"], c["before"], c["after"]) for c in changes) == sorted(
        step for id in ids for step in [(id, 6, 2), (id, 2, 3)]
    )


def test_a_retried_return_spares_a_new_deferral(person, tasks, job_for, deferred_job):
    job = deferred_job(1)
    (task,) = ids_of(job)
    undo(job)
    work(person)
    again = job_for([task], "again")
    work(person)
    assert outcomes(again) == {task: (S.DONE, "")}
    with pytest.raises(jobs.NotReady):
        undo(job, "once more")
    assert jobs.can_undo(again)
