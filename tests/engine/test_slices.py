"""The engine against the sandbox, slices called as functions."""

import time
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.db import connection

from b24app import clock
from b24app.bitrix.errors import CredentialRefused, Refused, TokenExpired, Unknown
from b24app.bitrix.tasks import Status, TaskFilter
from b24app.engine import batches, jobs, queue, selections, slices
from b24app.models import Credential, Deferral, Job, JobItem, Person, Portal, RestCall, Selection
from b24app.portals import clients, credentials, outgoing, people
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
    owed = {deferral.task_id: deferral for deferral in Deferral.objects.live()}
    assert {id: owed[id].previous_status for id in owed} == {progressing[0]: 3, pending[0]: 2}
    assert all(deferral.status_changed_at and deferral.item.job == job for deferral in owed.values())


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
    said = list(iter(lambda: slices.run(person.portal_id), None))
    assert said == [0.0, 0.0, 0.0]  # to read, to send, to finish
    job.refresh_from_db()
    assert (job.state, job.done) == (Job.State.FINISHED, 3)


def test_a_token_is_renewed_between_batches(sandbox, person, tasks, job_for, settings):
    job = job_for(tasks(60))
    settings.ENGINE_SLICE_SECONDS = 0
    while not sandbox.truth("acme"):
        slices.run(person.portal_id)
    Credential.objects.update(expires_at=clock.now())
    work(person, slices_at_most=99)
    job.refresh_from_db()
    assert (job.state, job.done) == (Job.State.FINISHED, 60)
    assert len([r for r in sandbox.requests(None) if r["method"] == "oauth/token"]) == 1
    assert Credential.objects.get().version == 2


def test_a_rejected_token_is_renewed_and_sent_again(sandbox, person, tasks, job_for):
    job = job_for(tasks(20))
    sandbox.expire("acme")
    work(person)
    job.refresh_from_db()
    assert (job.state, job.done) == (Job.State.FINISHED, 20)
    renewals = [r for r in sandbox.requests(None) if r["method"] == "oauth/token"]
    assert len(renewals) == 1


def test_a_refused_credential_waits_for_its_person(sandbox, person, tasks, job_for, open_as):
    job = job_for(tasks(3))
    sandbox.revoke("acme")
    slices.run(person.portal_id)
    job.refresh_from_db()
    assert (job.state, job.wait_reason) == (Job.State.WAITING, Job.WaitReason.PERSON)
    asked = len(sandbox.requests("acme")) + len(sandbox.requests(None))
    slices.run(person.portal_id)
    assert len(sandbox.requests("acme")) + len(sandbox.requests(None)) == asked
    assert open_as("acme", person.user_id) == person
    assert jobs.resume_waiting(person)
    work(person)
    job.refresh_from_db()
    assert job.done == 3


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


# -- Selections


def test_all_matches_are_collected_and_frozen(person, tasks):
    ids = tasks(130)
    tasks(5, status=2)
    selection = selections.select_matching(person, TaskFilter(member_id=person.user_id))
    assert selection.state == Selection.State.COLLECTING
    work(person)
    selection.refresh_from_db()
    assert selection.state == Selection.State.READY
    assert sorted(selection.tasks.values_list("task_id", flat=True)) == ids
    assert selections.forecast(selection) == selections.Forecast(130, 130, [])


def test_a_selection_of_full_pages_ends(person, tasks):
    tasks(100)
    selection = selections.select_matching(person, TaskFilter(member_id=person.user_id))
    work(person)
    selection.refresh_from_db()
    assert (selection.state, selection.collected) == (Selection.State.READY, 100)


def test_a_selection_stops_at_its_limit(person, tasks, monkeypatch):
    monkeypatch.setattr(selections, "MAX_TASKS", 70)
    tasks(130)
    selection = selections.select_matching(person, TaskFilter(member_id=person.user_id))
    work(person)
    selection.refresh_from_db()
    assert (selection.state, selection.collected) == (Selection.State.READY, 70)


def test_a_worker_reads_many_ticked_tasks(person, tasks, monkeypatch):
    monkeypatch.setattr(selections, "READ_AT_ONCE", 20)
    ids = tasks(60)
    selection = selections.select_ticked(person, [*ids, 999_999])
    assert selection.state == Selection.State.COLLECTING
    work(person)
    selection.refresh_from_db()
    assert selections.forecast(selection) == selections.Forecast(61, 60, [(Code.GONE, 1)])


def test_the_forecast_counts_skipped_tasks(person, tasks):
    selection = selections.select_ticked(
        person, tasks(2) + tasks(1, status=Status.PENDING) + tasks(3, status=6) + tasks(1, status=5)
    )
    assert selections.forecast(selection) == selections.Forecast(
        7, 3, [(Code.ALREADY_DEFERRED, 3), (Code.COMPLETED, 1)]
    )


# -- Asking


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


# -- Credentials that change under a running job


def test_a_pair_renewed_meanwhile_stays_usable(sandbox, person, tasks, job_for):
    job = job_for(tasks(3))
    credential, _ = credentials.usable(person, 0)

    def refused(client):
        credentials.renew_now(credential)
        raise CredentialRefused("NO_AUTH_FOUND")

    with pytest.raises(TokenExpired):
        clients.act(person, lambda: None, job.pk, refused)
    assert Credential.objects.get().state == Credential.State.USABLE
    work(person)
    job.refresh_from_db()
    assert job.done == 3


def test_a_refusal_during_a_refresh_is_forgotten(person, monkeypatch):
    credential, _ = credentials.usable(person, 0)
    refresh = credentials._refreshed

    def refused_meanwhile(*renewing):
        renewed = refresh(*renewing)
        credentials.mark_refused(credential)
        return renewed

    monkeypatch.setattr(credentials, "_refreshed", refused_meanwhile)
    credentials.renew_now(credential)
    assert Credential.objects.get().state == Credential.State.USABLE


def test_a_usable_credential_resumes_the_job(person, tasks, job_for):
    job = job_for(tasks(1))
    Job.objects.update(state=Job.State.WAITING, wait_reason=Job.WaitReason.PERSON, wait_until=None)
    assert queue.portals_with_work() == [person.portal_id]
    work(person)
    job.refresh_from_db()
    assert job.done == 1


def test_renewals_in_a_row_are_limited(sandbox, person, tasks, job_for):
    job = job_for(tasks(1))
    sandbox.fault("tasks.task.list", "error", code="expired_token", status=401, times=-1)
    for _ in range(12):
        Job.objects.filter(wait_until__isnull=False).update(wait_until=clock.now())
        slices.run(person.portal_id)
    job.refresh_from_db()
    assert (job.state, job.wait_reason) == (Job.State.WAITING, Job.WaitReason.PERSON)
    assert len([r for r in sandbox.requests(None) if r["method"] == "oauth/token"]) <= 4


def test_other_setbacks_are_no_renewals(sandbox, person, tasks, job_for):
    job = job_for(tasks(1))
    Job.objects.update(setbacks=slices.RENEWALS, wait_code="QUERY_LIMIT_EXCEEDED")
    sandbox.fault("tasks.task.list", "error", code="expired_token", status=401)
    work(person)
    job.refresh_from_db()
    assert (job.state, job.done) == (Job.State.FINISHED, 1)


def test_progress_resets_the_count_of_renewals(sandbox, person, tasks, job_for):
    job = job_for(tasks(5))
    slices._do_next(lease := Lease.acquire(person.portal_id))
    Job.objects.update(setbacks=slices.RENEWALS, wait_code="expired_token")
    sandbox.fault("tasks.task.defer", "error", code="expired_token", status=401, skip=2)
    slices._do_next(lease)
    job.refresh_from_db()
    assert (job.wait_reason, job.setbacks, job.done) == (Job.WaitReason.PORTAL, 1, 4)


def test_any_number_of_setbacks_is_counted(sandbox, person, tasks, job_for):
    job = job_for(tasks(1))
    Job.objects.update(setbacks=32_767)  # the most that the field holds
    sandbox.fault("tasks.task.list", "cut")
    slices.run(person.portal_id)
    job.refresh_from_db()
    assert (job.state, job.wait_reason) == (Job.State.WAITING, Job.WaitReason.PORTAL)


def test_a_new_pair_is_not_given_up(sandbox, person, tasks, job_for, open_as, monkeypatch):
    job = job_for(tasks(1))
    Job.objects.update(setbacks=slices.RENEWALS, wait_code="expired_token")

    def open_and_refuse(*_):
        open_as("acme", person.user_id)
        raise TokenExpired("expired_token")

    with monkeypatch.context() as refusing:
        refusing.setattr(batches, "run", open_and_refuse)
        slices._do_next(Lease.acquire(person.portal_id))
    assert Credential.objects.get().state == Credential.State.USABLE
    Portal.objects.update(lease_until=None)
    work(person)
    job.refresh_from_db()
    assert job.done == 1


def test_a_lost_key_makes_the_job_wait(sandbox, person, tasks, job_for, settings):
    job = job_for(tasks(1))
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    assert slices.run(person.portal_id) is None
    job.refresh_from_db()
    assert (job.wait_reason, job.wait_code, job.setbacks) == (Job.WaitReason.PERSON, "unreadable", 1)


def test_a_failing_selection_blocks_no_job(person, tasks, job_for, monkeypatch):
    job = job_for(tasks(1))
    selection = selections.select_matching(person, TaskFilter(member_id=person.user_id))

    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(selections, "_collect_more", fail)
    work(person)
    job.refresh_from_db()
    selection.refresh_from_db()
    assert (job.done, selection.state, selection.failure_code) == (1, Selection.State.FAILED, "internal")


@pytest.mark.parametrize("error", [Unknown("timeout"), Refused("ERROR_CORE")])
def test_a_late_slice_leaves_the_selection_alone(person, monkeypatch, error):
    selection = selections.select_matching(person, TaskFilter(member_id=person.user_id))

    def lose_the_lease(*_):
        Portal.objects.update(lease_until=None)
        Lease.acquire(person.portal_id)
        Selection.objects.update(state=Selection.State.READY)
        raise error

    monkeypatch.setattr(selections, "_collect_more", lose_the_lease)
    slices.run(person.portal_id)
    selection.refresh_from_db()
    assert (selection.state, selection.try_at) == (Selection.State.READY, None)


@pytest.fixture
def left_paused(sandbox, person, tasks, job_for):
    """A finished job that could neither defer its task nor start it again, and cannot yet."""
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


def spend(method, seconds, used_at=0.0):
    """The portal has counted so many seconds of a method, and was asked by a page at `used_at`, last."""
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
