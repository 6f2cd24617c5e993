"""Stopping a job, going on with it, and trying again what failed."""

import pytest

from b24app.bitrix.errors import AccessLost, OperatingLimit
from b24app.engine import batches, jobs, selections, slices
from b24app.models import Job, JobItem
from b24app.portals.lease import Lease
from tests.engine.work import outcomes, work

S, Code = JobItem.State, JobItem.Code


def one_step(person):
    lease = Lease.acquire(person.portal_id)
    slices._run_step(lease)
    lease.release()


@pytest.fixture
def half_done(sandbox, person, tasks, job_for):
    """A job of 12 tasks of which the first batch, five tasks, is done."""
    job = job_for(tasks(12))
    while not sandbox.truth("acme"):
        one_step(person)
    return job


def test_stopping_cancels_what_was_not_touched_and_keeps_what_was_done(sandbox, person, half_done):
    assert not jobs.stop(half_done)
    half_done.refresh_from_db()
    assert (half_done.state, half_done.done, half_done.cancelled) == (Job.State.FINISHED, 5, 7)
    work(person)
    assert len(sandbox.truth("acme")) == 10


def test_stopping_twice_and_stopping_a_finished_job_change_nothing(person, half_done):
    jobs.stop(half_done)
    half_done.refresh_from_db()
    finished_at = half_done.finished_at
    jobs.stop(half_done)
    half_done.refresh_from_db()
    assert half_done.finished_at == finished_at


def test_what_was_sent_when_the_job_was_stopped_is_settled(sandbox, person, tasks, job_for):
    job = job_for(tasks(5))
    sandbox.fault("batch", "drop", skip=1)
    while not sandbox.truth("acme"):
        one_step(person)
    assert jobs.stop(job)
    work(person)
    job.refresh_from_db()
    assert (job.state, job.done, job.cancelled) == (Job.State.FINISHED, 5, 0)


def test_what_we_paused_is_started_again_and_not_deferred(sandbox, person, tasks, job_for):
    ids = tasks(5)
    job = job_for(ids)
    sandbox.fault("tasks.task.defer", "error", code="OPERATION_TIME_LIMIT", status=429, times=5)
    slices.run(person.portal_id)
    assert set(sandbox.states("acme", ids).values()) == {2}
    assert jobs.stop(job)
    Job.objects.update(wait_until=job.created_at)
    work(person)
    job.refresh_from_db()
    assert set(sandbox.states("acme", ids).values()) == {3}
    assert (job.state, job.cancelled, job.failed) == (Job.State.FINISHED, 5, 0)


@pytest.mark.parametrize("error", [OperatingLimit("OPERATION_TIME_LIMIT", delay=9e5), AccessLost("PAYMENT_REQUIRED")])
def test_a_stop_during_a_request_that_ends_in_a_wait_is_not_kept_waiting(person, half_done, monkeypatch, error):
    def stop_and_refuse(job, *_):
        jobs.stop(job)
        raise error

    monkeypatch.setattr(batches, "run", stop_and_refuse)
    slices.run(person.portal_id)
    half_done.refresh_from_db()
    assert (half_done.state, half_done.done, half_done.cancelled) == (Job.State.FINISHED, 5, 7)


def test_a_batch_that_was_about_to_be_sent_is_not_sent_after_the_stop(sandbox, person, half_done, monkeypatch):
    claim = batches.Batch._claim

    def stop_first(step, items):
        jobs.stop(step.job)
        return claim(step, items)

    monkeypatch.setattr(batches.Batch, "_claim", stop_first)
    work(person)
    half_done.refresh_from_db()
    assert (half_done.state, half_done.done, half_done.cancelled) == (Job.State.FINISHED, 5, 7)
    assert len(sandbox.truth("acme")) == 10


def test_a_stopped_job_goes_on_as_a_new_one_over_what_was_left(sandbox, person, half_done):
    jobs.stop(half_done)
    half_done.refresh_from_db()
    rest = jobs.retry(half_done, [S.CANCELLED], "again")
    assert jobs.retry(half_done, [S.CANCELLED], "again") == rest
    work(person)
    rest.refresh_from_db()
    assert (rest.total, rest.done, rest.reason) == (7, 7, half_done.reason)
    assert len(sandbox.truth("acme")) == 24


def test_only_what_failed_is_tried_again(sandbox, person, tasks, job_for):
    ids = tasks(4)
    job = job_for(ids)
    sandbox.fault("tasks.task.pause", "error", code="1048582", status=400, times=2)
    work(person)
    failed = [id for id, outcome in outcomes(job).items() if outcome == (S.FAILED, Code.NOT_PERMITTED)]
    assert len(failed) == 2
    job.refresh_from_db()
    again = jobs.retry(job, [S.FAILED], "again")
    work(person)
    assert outcomes(again) == dict.fromkeys(failed, (S.DONE, ""))
    assert set(sandbox.states("acme", ids).values()) == {6}


def test_nothing_is_tried_again_where_nothing_failed_or_the_job_still_runs(person, half_done):
    with pytest.raises(jobs.NotReady):
        jobs.retry(half_done, [S.FAILED], "again")
    with pytest.raises(jobs.NotReady):
        jobs.retry(half_done, [S.CANCELLED], "again")


def test_a_fifth_job_of_one_person_has_to_wait_to_be_asked_for(person, tasks):
    selection = selections.select_ticked(person, tasks(2))
    four = [jobs.start(person, selection, "", f"key-{number}") for number in range(4)]
    with pytest.raises(jobs.TooManyJobs):
        jobs.start(person, selection, "", "key-5")
    assert jobs.start(person, selection, "", "key-0") == four[0]
    jobs.stop(four[0])
    assert jobs.start(person, selection, "", "key-5")


def test_the_fourth_job_asked_for_twice_at_once_is_one_job(person, tasks, monkeypatch):
    selection = selections.select_ticked(person, tasks(2))
    for number in range(3):
        jobs.start(person, selection, "", f"key-{number}")
    create, first = jobs._create, []

    def another_tab_is_faster(job, fill):
        monkeypatch.setattr(jobs, "_create", create)
        first.append(jobs.start(person, selection, "", job.key))
        return create(job, fill)

    monkeypatch.setattr(jobs, "_create", another_tab_is_faster)
    assert jobs.start(person, selection, "", "key-3") == first[0]
