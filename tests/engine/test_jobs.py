"""Start, stop, continue and retry a job."""

import pytest

from b24app.bitrix.errors import AccessLost, OperatingLimit
from b24app.bitrix.tasks import TaskFilter
from b24app.engine import batches, jobs, saving, selections, slices
from b24app.models import Deferral, Job, JobItem, Portal
from b24app.portals.lease import Lease
from tests.engine.work import outcomes, work

S, Code = JobItem.State, JobItem.Code


def one_step(person):
    lease = Lease.acquire(person.portal_id)
    slices._do_next(lease)
    lease.release()


@pytest.fixture
def half_done(sandbox, person, tasks, job_for):
    """A job of 12 tasks of which the first batch, five tasks, is done."""
    job = job_for(tasks(12))
    while not sandbox.truth("acme"):
        one_step(person)
    return job


def test_stop_cancels_only_untouched_tasks(sandbox, person, half_done):
    assert not jobs.stop(half_done)
    half_done.refresh_from_db()
    assert (half_done.state, half_done.done, half_done.cancelled) == (Job.State.FINISHED, 5, 7)
    work(person)
    assert len(sandbox.truth("acme")) == 10


def test_a_second_stop_changes_nothing(person, half_done):
    jobs.stop(half_done)
    half_done.refresh_from_db()
    finished_at = half_done.finished_at
    jobs.stop(half_done)
    half_done.refresh_from_db()
    assert half_done.finished_at == finished_at


def test_a_stop_settles_sent_tasks(sandbox, person, tasks, job_for):
    job = job_for(tasks(5))
    sandbox.fault("batch", "drop", skip=1)
    while not sandbox.truth("acme"):
        one_step(person)
    assert jobs.stop(job)
    work(person)
    job.refresh_from_db()
    assert (job.state, job.done, job.cancelled) == (Job.State.FINISHED, 5, 0)


def test_a_stop_starts_paused_tasks_again(sandbox, person, tasks, job_for):
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
def test_a_stop_does_not_wait_for_a_waiting_job(person, half_done, monkeypatch, error):
    def stop_and_refuse(job, *_):
        jobs.stop(job)
        raise error

    monkeypatch.setattr(batches, "run", stop_and_refuse)
    slices.run(person.portal_id)
    half_done.refresh_from_db()
    assert (half_done.state, half_done.done, half_done.cancelled) == (Job.State.FINISHED, 5, 7)


def test_nothing_is_sent_after_a_stop(sandbox, person, half_done, monkeypatch):
    claim = saving.claim

    def stop_first(job, lease, items):
        jobs.stop(job)
        return claim(job, lease, items)

    monkeypatch.setattr(saving, "claim", stop_first)
    work(person)
    half_done.refresh_from_db()
    assert (half_done.state, half_done.done, half_done.cancelled) == (Job.State.FINISHED, 5, 7)
    assert len(sandbox.truth("acme")) == 10


def test_continue_takes_the_cancelled_tasks(sandbox, person, half_done):
    jobs.stop(half_done)
    half_done.refresh_from_db()
    rest = jobs.retry(half_done, [S.CANCELLED], "again")
    assert jobs.retry(half_done, [S.CANCELLED], "again") == rest
    work(person)
    rest.refresh_from_db()
    assert (rest.total, rest.done, rest.reason) == (7, 7, half_done.reason)
    assert len(sandbox.truth("acme")) == 24


def test_retry_takes_only_failed_tasks(sandbox, person, tasks, job_for):
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


def test_retry_needs_a_finished_job_and_failures(person, half_done):
    with pytest.raises(jobs.NotReady):
        jobs.retry(half_done, [S.FAILED], "again")
    with pytest.raises(jobs.NotReady):
        jobs.retry(half_done, [S.CANCELLED], "again")


def test_a_fifth_unfinished_job_is_refused(person, tasks):
    selection = selections.select_ticked(person, tasks(2))
    four = [jobs.start(person, selection, "", f"key-{number}") for number in range(4)]
    with pytest.raises(jobs.TooManyJobs):
        jobs.start(person, selection, "", "key-5")
    assert jobs.start(person, selection, "", "key-0") == four[0]
    jobs.stop(four[0])
    assert jobs.start(person, selection, "", "key-5")


def test_two_tabs_start_the_fourth_job_once(person, tasks, monkeypatch):
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


def test_the_same_request_twice_is_one_job(person, tasks):
    selection = selections.select_ticked(person, tasks(2))
    first = jobs.start(person, selection, "why", "key")
    assert jobs.start(person, selection, "why", "key") == first
    assert JobItem.objects.count() == 2


def test_a_reused_key_is_refused(person, tasks):
    selection = selections.select_ticked(person, tasks(2))
    jobs.start(person, selection, "why", "key")
    with pytest.raises(jobs.KeyReused):
        jobs.start(person, selection, "because", "key")


def test_a_selection_must_be_ready(person):
    selection = selections.select_matching(person, TaskFilter())
    with pytest.raises(jobs.NotReady):
        jobs.start(person, selection, "", "key")


@pytest.fixture
def left_paused(sandbox, person, tasks, job_for):
    """A finished job whose task was paused and could not be deferred or started again. The faults are still set."""
    (task,) = tasks(1)
    job = job_for([task])
    sandbox.fault("tasks.task.defer", "error", code="1048582", status=400, times=-1)
    sandbox.fault("tasks.task.start", "error", code="0", status=400, times=-1)
    work(person)
    assert outcomes(job) == {task: (S.FAILED, Code.LEFT_PAUSED)}
    job.refresh_from_db()
    return job


def test_a_retry_that_leaves_it_paused_says_so(person, left_paused):
    again = jobs.retry(left_paused, [S.FAILED], "again")
    work(person)
    assert outcomes(again) == outcomes(left_paused)


def test_a_retry_keeps_the_original_status(sandbox, person, left_paused):
    sandbox.clear_faults()
    again = jobs.retry(left_paused, [S.FAILED], "again")
    work(person)
    assert outcomes(again) == dict.fromkeys(outcomes(left_paused), (S.DONE, ""))
    assert Deferral.objects.live().get().previous_status == 3


def test_a_denied_task_stops_no_other(sandbox, person, tasks, job_for):
    ids = tasks(4, status=2)
    job = job_for(ids)
    sandbox.fault("tasks.task.defer", "error", code="ACCESS_DENIED", status=403, times=1)
    work(person)
    ends = sorted(outcomes(job).values())
    assert ends == [("done", "")] * 3 + [("failed", "not_permitted")]
    assert Portal.objects.get().parked_until is None
