"""Slices, called as functions, against the sandbox: outcomes, lost answers, leases, and whose turn it is."""

import time

import pytest
from django.db import connection

from b24app import clock
from b24app.engine import batches, jobs, queue, selections, slices
from b24app.models import Deferral, Job, JobItem, Person, Portal, RestCall
from b24app.portals import outgoing, people
from b24app.portals.lease import Lease, LeaseLost
from tests.engine.work import outcomes, work

S, Code = JobItem.State, JobItem.Code


def test_120_tasks_get_one_pause_and_one_defer(sandbox, person, tasks, job_for):
    ids = tasks(120)
    job = job_for(ids)
    asked_before = len(sandbox.requests("acme"))
    work(person)
    job.refresh_from_db()
    assert (job.state, job.done, job.skipped, job.failed) == (Job.State.FINISHED, 120, 0, 0)
    truth = sandbox.truth("acme")
    assert sorted((c["task"], c["before"], c["after"]) for c in truth) == sorted(
        change for id in ids for change in [(id, 3, 2), (id, 2, 6)]
    )
    assert {c["person"] for c in truth} == {person.user_id}
    assert len(sandbox.requests("acme")) - asked_before <= 12


def test_every_deferred_task_has_a_deferral(person, tasks, job_for):
    progressing, pending = tasks(1), tasks(1, status=2)
    job = job_for(progressing + pending)
    work(person)
    deferrals = {deferral.task_id: deferral for deferral in Deferral.objects.live()}
    assert {id: deferrals[id].previous_status for id in deferrals} == {progressing[0]: 3, pending[0]: 2}
    assert all(deferral.status_changed_at and deferral.item.job == job for deferral in deferrals.values())


def test_each_task_gets_one_true_outcome(sandbox, person, tasks, job_for):
    stranger = sandbox.user("acme", name="Eve")
    progressing, pending, deferred, overdue = (
        tasks(3),
        tasks(2, status=2),
        tasks(1, status=6),
        tasks(1, status=6, deadline="2020-01-01T00:00:00Z"),
    )
    meanwhile_completed, meanwhile_deleted = tasks(1), tasks(1)
    not_mine = sandbox.tasks("acme", count=1, status=3, creator=stranger, auditors=[person.user_id])
    job = job_for(progressing + pending + deferred + overdue + meanwhile_completed + meanwhile_deleted + not_mine)
    sandbox.change_task("acme", meanwhile_completed[0], status=5)
    sandbox.change_task("acme", meanwhile_deleted[0], delete=True)
    work(person)
    assert outcomes(job) == {
        **dict.fromkeys(progressing + pending, (S.DONE, "")),
        **dict.fromkeys(deferred + overdue, (S.SKIPPED, Code.ALREADY_DEFERRED)),
        meanwhile_completed[0]: (S.SKIPPED, Code.COMPLETED),
        meanwhile_deleted[0]: (S.SKIPPED, Code.GONE),
        not_mine[0]: (S.FAILED, Code.NOT_PERMITTED),
    }
    assert sandbox.states("acme", not_mine) == {not_mine[0]: 3}


def test_a_boss_without_defer_pauses_nothing(sandbox, at_sandbox, open_as):
    boss = sandbox.user("acme", name="Ann")
    worker = sandbox.user("acme", name="Bob", boss=boss)
    other = sandbox.user("acme", name="Eve")
    sandbox.install("acme")
    person = open_as("acme", boss)
    (task,) = sandbox.tasks("acme", count=1, status=3, creator=other, responsible=worker)
    job = jobs.start(person, selections.select_ticked(person, [task]), "", "k1")
    work(person)
    assert outcomes(job) == {task: (S.FAILED, Code.NOT_PERMITTED)}
    assert sandbox.truth("acme") == []


def test_a_paused_task_is_started_if_defer_fails(sandbox, person, tasks, job_for):
    (task,) = tasks(1)
    job = job_for([task])
    sandbox.fault("tasks.task.defer", "error", code="1048582", status=400, times=-1)
    work(person)
    assert outcomes(job) == {task: (S.FAILED, Code.NOT_PERMITTED)}
    assert [(c["before"], c["after"]) for c in sandbox.truth("acme")] == [(3, 2), (2, 3)]


def test_a_refused_defer_is_sent_once_more(sandbox, person, tasks, job_for):
    (task,) = tasks(1)
    job = job_for([task])
    sandbox.fault("tasks.task.defer", "error", code="1048582", status=400, times=1)
    work(person)
    assert outcomes(job) == {task: (S.DONE, "")}
    assert [(c["before"], c["after"]) for c in sandbox.truth("acme")] == [(3, 2), (2, 6)]


def test_a_task_left_paused_is_reported(sandbox, person, tasks, job_for):
    (task,) = tasks(1)
    job = job_for([task])
    sandbox.fault("tasks.task.defer", "error", code="1048582", status=400, times=-1)
    sandbox.fault("tasks.task.start", "error", code="0", status=400, times=-1)
    work(person)
    assert outcomes(job) == {task: (S.FAILED, Code.LEFT_PAUSED)}
    assert sandbox.states("acme", [task]) == {task: 2}


LOST_ANSWERS = [
    ("drop", {}),
    ("late", {"seconds": 3.0}),
    ("truncate", {}),
    ("replace", {"status": 502, "html": True}),
    ("replace", {"status": 200, "body": ""}),
    ("cut", {}),
]


@pytest.mark.parametrize("kind, options", LOST_ANSWERS)
def test_a_lost_answer_is_read_and_nothing_sent_twice(sandbox, person, tasks, job_for, settings, kind, options):
    settings.ENGINE_READ_TIMEOUT = 1.5 if kind == "late" else 10.0
    settings.ENGINE_SETTLE_AFTER = 4.0 if kind == "late" else 1.0
    ids = tasks(30)
    job = job_for(ids)
    sandbox.fault("batch", kind, skip=2, **options)  # the portal is probed, then a first batch is sent
    work(person)
    job.refresh_from_db()
    assert RestCall.objects.filter(method="batch", job=job).exclude(code="").count() == 1
    assert (job.state, job.done) == (Job.State.FINISHED, 30)
    assert len(sandbox.truth("acme")) == 60


def test_a_cut_request_keeps_what_was_done(sandbox, person, tasks, job_for):
    ids = tasks(30)
    job = job_for(ids)
    sandbox.fault("tasks.task.defer", "cut", skip=12)
    work(person)
    job.refresh_from_db()
    assert RestCall.objects.filter(method="batch", code="connection_lost").count() == 1
    assert job.done == 30
    assert len(sandbox.truth("acme")) == 60


def test_a_slice_asks_for_the_next_while_work_is_left(person, tasks, job_for, settings):
    settings.ENGINE_SLICE_SECONDS = 0
    job = job_for(tasks(3))
    delays = list(iter(lambda: slices.run(person.portal_id), None))
    assert delays == [0.0, 0.0, 0.0]  # to read, to send, to finish
    job.refresh_from_db()
    assert (job.state, job.done) == (Job.State.FINISHED, 3)


def test_two_slices_never_run_at_once(person):
    lease = Lease.acquire(person.portal_id)
    assert lease
    assert Lease.acquire(person.portal_id) is None
    assert slices.run(person.portal_id) is None
    lease.release()
    assert Lease.acquire(person.portal_id)


def test_a_lost_lease_writes_nothing(person):
    stale = Lease.acquire(person.portal_id)
    Portal.objects.update(lease_until=None)
    assert Lease.acquire(person.portal_id)
    with pytest.raises(LeaseLost):
        stale.renew()


def test_a_freeze_while_renewing_loses_the_lease(person, settings):
    settings.ENGINE_LEASE = 0.1
    lease = Lease.acquire(person.portal_id)

    def answered_late(execute, *arguments):
        result = execute(*arguments)
        time.sleep(settings.ENGINE_LEASE)
        return result

    with connection.execute_wrapper(answered_late), pytest.raises(LeaseLost):
        outgoing.reserve_request(person.portal, 1.0, lease)


def test_a_suspended_portal_gets_no_work(sandbox, person, tasks, job_for):
    job = job_for(tasks(3))
    Portal.objects.update(status=Portal.Status.SUSPENDED)
    assert queue.portals_with_work() == []
    assert slices.run(person.portal_id) is None
    job.refresh_from_db()
    assert job.settled == 0
    assert sandbox.truth("acme") == []


def test_the_sweep_finds_portals_with_work(person, tasks, job_for):
    assert queue.portals_with_work() == []
    job_for(tasks(1))
    assert queue.portals_with_work() == [person.portal_id]
    Portal.objects.update(lease_until=None)
    work(person)
    assert queue.portals_with_work() == []


def test_a_failing_job_does_not_block_others(person, tasks, job_for, monkeypatch):
    poisoned, healthy = job_for(tasks(1), "k1"), job_for(tasks(1), "k2")
    run = batches.Batch.run

    def fail(step):
        if step.job == poisoned:
            raise ZeroDivisionError
        run(step)

    monkeypatch.setattr(batches.Batch, "run", fail)
    slices.run(person.portal_id)
    poisoned.refresh_from_db()
    healthy.refresh_from_db()
    assert (poisoned.state, poisoned.wait_reason) == (Job.State.WAITING, Job.WaitReason.ERROR)
    assert healthy.state == Job.State.FINISHED


def test_jobs_of_two_people_take_turns(sandbox, person, tasks, job_for, open_as):
    eve = open_as("acme", sandbox.user("acme", name="Eve"))
    theirs = sandbox.tasks("acme", count=2, status=3, creator=eve.user_id)
    big = job_for(tasks(60))
    small = jobs.start(eve, selections.select_ticked(eve, theirs), "", "k")
    seen = []
    for _ in range(4):
        lease = Lease.acquire(person.portal_id)
        slices._do_next(lease)
        lease.release()
        seen.append(Job.objects.order_by("-last_slice_at").first().pk)
    assert seen == [big.pk, small.pk, big.pk, small.pk]


def test_jobs_of_one_person_run_in_order(person, tasks, job_for):
    first, second = job_for(tasks(60), "k1"), job_for(tasks(2), "k2")
    assert list(Job.objects.runnable(clock.now())) == [first]
    Job.objects.filter(pk=first.pk).update(state=Job.State.WAITING, wait_until=None)
    assert list(Job.objects.runnable(clock.now())) == [second]


@pytest.mark.parametrize("inside", [True, False])
def test_the_original_status_is_the_last_one_read(sandbox, person, tasks, job_for, inside):
    (task,) = tasks(1)
    job = job_for([task])
    if inside:
        sandbox.fault("batch/*", "error", code="QUERY_LIMIT_EXCEEDED", status=503, times=2, skip=1)
    else:
        sandbox.fault("batch", "error", code="QUERY_LIMIT_EXCEEDED", status=503, skip=1)
    slices.run(person.portal_id)
    assert job.items.get().status_seen == 3
    sandbox.change_task("acme", task, status=2)
    Portal.objects.update(bucket_level=0)
    Job.objects.update(wait_until=job.created_at)
    job.items.update(seen_at=None)  # as after a minute
    work(person)
    assert outcomes(job) == {task: (S.DONE, "")}
    assert Deferral.objects.live().get().previous_status == 2


def test_the_journal_has_every_call_and_no_secret(sandbox, person, tasks, job_for):
    job = job_for(tasks(3))
    work(person)
    secrets = {person.credential.access_token, person.credential.refresh_token}
    calls = RestCall.objects.filter(job=job)
    assert {call.method for call in calls} == {"batch", "tasks.task.list"}
    for call in RestCall.objects.all():
        text = f"{call.params}{call.outcome}"
        assert not any(secret in text for secret in secrets)
        assert "auth" not in call.params


def test_two_portals_with_the_same_ids_stay_apart(sandbox, person, open_as):
    other = sandbox.user("umbrella", name="Bob")
    sandbox.install("umbrella")
    twin = open_as("umbrella", other)
    assert twin.user_id == person.user_id
    assert twin != person
    assert Person.objects.count() == 2
    assert people.person_of(person.portal_id, twin.pk, 1) is None


def test_any_number_of_setbacks_is_counted(sandbox, person, tasks, job_for):
    job = job_for(tasks(1))
    Job.objects.update(setbacks=32_767)  # the most that the field holds
    sandbox.fault("tasks.task.list", "cut")
    slices.run(person.portal_id)
    job.refresh_from_db()
    assert (job.state, job.wait_reason) == (Job.State.WAITING, Job.WaitReason.PORTAL)
