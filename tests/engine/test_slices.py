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


def test_it_defers_120_tasks_each_with_one_pause_and_one_defer(sandbox, person, tasks, job_for):
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


def test_every_deferred_task_is_owed_a_return_to_what_it_was(person, tasks, job_for):
    progressing, pending = tasks(1), tasks(1, status=2)
    job = job_for(progressing + pending)
    work(person)
    owed = {deferral.task_id: deferral for deferral in Deferral.objects.live()}
    assert {id: owed[id].previous_status for id in owed} == {progressing[0]: 3, pending[0]: 2}
    assert all(deferral.status_changed_at and deferral.item.job == job for deferral in owed.values())


def test_a_mixed_selection_gets_one_truthful_outcome_per_task(sandbox, person, tasks, job_for):
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


def test_a_boss_who_may_pause_but_not_defer_pauses_nothing(sandbox, at_sandbox, open_as):
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


def test_a_task_paused_but_not_deferred_is_in_progress_again(sandbox, person, tasks, job_for):
    (task,) = tasks(1)
    job = job_for([task])
    sandbox.fault("tasks.task.defer", "error", code="1048582", status=400, times=-1)
    work(person)
    assert outcomes(job) == {task: (S.FAILED, Code.NOT_PERMITTED)}
    assert [(c["before"], c["after"]) for c in sandbox.truth("acme")] == [(3, 2), (2, 3)]


def test_a_defer_refused_once_is_asked_again_in_a_fresh_request(sandbox, person, tasks, job_for):
    (task,) = tasks(1)
    job = job_for([task])
    sandbox.fault("tasks.task.defer", "error", code="1048582", status=400, times=1)
    work(person)
    assert outcomes(job) == {task: (S.DONE, "")}
    assert [(c["before"], c["after"]) for c in sandbox.truth("acme")] == [(3, 2), (2, 6)]


def test_a_task_that_can_be_neither_deferred_nor_started_again_is_reported_as_left_paused(
    sandbox, person, tasks, job_for
):
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
def test_a_lost_answer_is_settled_by_reading_and_nothing_is_sent_twice(
    sandbox, person, tasks, job_for, settings, kind, options
):
    settings.READ_TIMEOUT = 1.5 if kind == "late" else 10.0
    settings.SETTLE_AFTER = 4.0 if kind == "late" else 1.0
    ids = tasks(30)
    job = job_for(ids)
    sandbox.fault("batch", kind, skip=2, **options)  # the portal is probed, then a first batch is sent
    work(person)
    job.refresh_from_db()
    assert RestCall.objects.filter(method="batch", job=job).exclude(code="").count() == 1
    assert (job.state, job.done) == (Job.State.FINISHED, 30)
    assert len(sandbox.truth("acme")) == 60


def test_a_request_cut_in_the_middle_leaves_a_prefix_that_is_kept(sandbox, person, tasks, job_for):
    ids = tasks(30)
    job = job_for(ids)
    sandbox.fault("tasks.task.defer", "cut", skip=12)
    work(person)
    job.refresh_from_db()
    assert RestCall.objects.filter(method="batch", code="connection_lost").count() == 1
    assert job.done == 30
    assert len(sandbox.truth("acme")) == 60


def test_a_slice_whose_time_is_over_asks_for_the_next_at_once_until_nothing_is_left(person, tasks, job_for, settings):
    settings.SLICE_SECONDS = 0
    job = job_for(tasks(3))
    said = list(iter(lambda: slices.run(person.portal_id), None))
    assert said == [0.0, 0.0, 0.0]  # to read, to send, to finish
    job.refresh_from_db()
    assert (job.state, job.done) == (Job.State.FINISHED, 3)


def test_a_token_that_expires_between_batches_is_renewed_once(sandbox, person, tasks, job_for, settings):
    job = job_for(tasks(60))
    settings.SLICE_SECONDS = 0
    while not sandbox.truth("acme"):
        slices.run(person.portal_id)
    Credential.objects.update(expires_at=clock.now())
    work(person, slices_at_most=99)
    job.refresh_from_db()
    assert (job.state, job.done) == (Job.State.FINISHED, 60)
    assert len([r for r in sandbox.requests(None) if r["method"] == "oauth/token"]) == 1
    assert Credential.objects.get().version == 2


def test_an_access_token_that_the_portal_calls_expired_is_renewed_and_the_batch_sent_again(
    sandbox, person, tasks, job_for
):
    job = job_for(tasks(20))
    sandbox.expire("acme")
    work(person)
    job.refresh_from_db()
    assert (job.state, job.done) == (Job.State.FINISHED, 20)
    renewals = [r for r in sandbox.requests(None) if r["method"] == "oauth/token"]
    assert len(renewals) == 1


def test_a_credential_that_is_refused_gets_no_calls_until_the_person_opens_the_app_again(
    sandbox, person, tasks, job_for, open_as
):
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


def test_a_portal_that_limits_requests_is_left_alone_and_the_job_says_so(sandbox, person, tasks, job_for):
    job = job_for(tasks(3))
    sandbox.fault("tasks.task.list", "error", code="QUERY_LIMIT_EXCEEDED", status=503)
    assert 1 < slices.run(person.portal_id) <= 10
    job.refresh_from_db()
    assert (job.state, job.wait_reason) == (Job.State.WAITING, Job.WaitReason.LIMIT)


def test_the_operating_limit_inside_a_batch_leaves_paused_tasks_to_be_deferred_first(sandbox, person, tasks, job_for):
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


def test_two_slices_of_one_portal_never_run_at_once(person):
    lease = Lease.acquire(person.portal_id)
    assert lease
    assert Lease.acquire(person.portal_id) is None
    assert slices.run(person.portal_id) is None
    lease.release()
    assert Lease.acquire(person.portal_id)


def test_a_lease_that_was_taken_over_writes_nothing(person):
    stale = Lease.acquire(person.portal_id)
    Portal.objects.update(lease_until=None)
    assert Lease.acquire(person.portal_id)
    with pytest.raises(LeaseLost):
        stale.renew()


def test_who_was_frozen_while_renewing_a_lease_has_lost_it(person, settings):
    settings.LEASE = 0.1
    lease = Lease.acquire(person.portal_id)

    def answered_late(execute, *arguments):
        result = execute(*arguments)
        time.sleep(settings.LEASE)
        return result

    with connection.execute_wrapper(answered_late), pytest.raises(LeaseLost):
        outgoing.reserve_request(person.portal, 1.0, lease)


def test_work_for_a_portal_stops_at_once_when_it_is_suspended(sandbox, person, tasks, job_for):
    job = job_for(tasks(3))
    Portal.objects.update(status=Portal.Status.SUSPENDED)
    assert queue.portals_with_work() == []
    assert slices.run(person.portal_id) is None
    job.refresh_from_db()
    assert job.settled == 0
    assert sandbox.truth("acme") == []


def test_the_sweep_finds_a_portal_with_work_and_no_other(person, tasks, job_for):
    assert queue.portals_with_work() == []
    job_for(tasks(1))
    assert queue.portals_with_work() == [person.portal_id]
    Portal.objects.update(lease_until=None)
    work(person)
    assert queue.portals_with_work() == []


def test_a_job_that_we_cannot_work_on_is_put_aside_and_the_next_one_goes_on(person, tasks, job_for, monkeypatch):
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


def test_the_jobs_of_two_people_take_turns(sandbox, person, tasks, job_for, open_as):
    eve = open_as("acme", sandbox.user("acme", name="Eve"))
    theirs = sandbox.tasks("acme", count=2, status=3, creator=eve.user_id)
    big = job_for(tasks(60))
    small = jobs.start(eve, selections.select_ticked(eve, theirs), "", "k")
    seen = []
    for _ in range(4):
        lease = Lease.acquire(person.portal_id)
        slices._run_step(lease)
        lease.release()
        seen.append(Job.objects.order_by("-last_slice_at").first().pk)
    assert seen == [big.pk, small.pk, big.pk, small.pk]


def test_the_jobs_of_one_person_run_one_after_the_other(person, tasks, job_for):
    first, second = job_for(tasks(60), "k1"), job_for(tasks(2), "k2")
    assert list(Job.objects.runnable(clock.now())) == [first]
    Job.objects.filter(pk=first.pk).update(state=Job.State.WAITING, wait_until=None)
    assert list(Job.objects.runnable(clock.now())) == [second]


@pytest.mark.parametrize("inside", [True, False])
def test_what_a_task_was_before_is_what_it_was_when_we_touched_it(sandbox, person, tasks, job_for, inside):
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


def test_everything_that_matches_is_collected_and_frozen(person, tasks):
    ids = tasks(130)
    tasks(5, status=2)
    selection = selections.select_matching(person, TaskFilter(member_id=person.user_id))
    assert selection.state == Selection.State.COLLECTING
    work(person)
    selection.refresh_from_db()
    assert selection.state == Selection.State.READY
    assert sorted(selection.tasks.values_list("task_id", flat=True)) == ids
    assert selections.forecast(selection) == selections.Forecast(130, 130, [])


def test_a_selection_of_exactly_full_pages_ends(person, tasks):
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


def test_many_ticked_tasks_are_read_by_a_worker(person, tasks, monkeypatch):
    monkeypatch.setattr(selections, "READ_AT_ONCE", 20)
    ids = tasks(60)
    selection = selections.select_ticked(person, [*ids, 999_999])
    assert selection.state == Selection.State.COLLECTING
    work(person)
    selection.refresh_from_db()
    assert selections.forecast(selection) == selections.Forecast(61, 60, [(Code.GONE, 1)])


def test_the_forecast_tells_what_will_be_skipped(person, tasks):
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


def test_the_same_key_for_something_else_is_refused(person, tasks):
    selection = selections.select_ticked(person, tasks(2))
    jobs.start(person, selection, "why", "key")
    with pytest.raises(jobs.KeyReused):
        jobs.start(person, selection, "because", "key")


def test_a_selection_that_is_not_ready_makes_no_job(person):
    selection = selections.select_matching(person, TaskFilter())
    with pytest.raises(jobs.NotReady):
        jobs.start(person, selection, "", "key")


def test_the_journal_holds_every_exchange_and_no_secret(sandbox, person, tasks, job_for):
    job = job_for(tasks(3))
    work(person)
    secrets = {person.credential.access_token, person.credential.refresh_token}
    calls = RestCall.objects.filter(job=job)
    assert {call.method for call in calls} == {"batch", "tasks.task.list"}
    for call in RestCall.objects.all():
        text = f"{call.params}{call.outcome}"
        assert not any(secret in text for secret in secrets)
        assert "auth" not in call.params


def test_people_of_two_portals_with_the_same_ids_do_not_meet(sandbox, person, open_as):
    other = sandbox.user("umbrella", name="Bob")
    sandbox.install("umbrella")
    twin = open_as("umbrella", other)
    assert twin.user_id == person.user_id
    assert twin != person
    assert Person.objects.count() == 2
    assert people.person_of(person.portal_id, twin.pk, 1) is None


# -- Credentials that change under a running job


def test_a_pair_renewed_while_a_call_was_refused_stays_usable(sandbox, person, tasks, job_for):
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


def test_a_refusal_during_a_refresh_does_not_outlive_it(person, monkeypatch):
    credential, _ = credentials.usable(person, 0)
    refresh = credentials._refreshed

    def refused_meanwhile(*renewing):
        renewed = refresh(*renewing)
        credentials.mark_refused(credential)
        return renewed

    monkeypatch.setattr(credentials, "_refreshed", refused_meanwhile)
    credentials.renew_now(credential)
    assert Credential.objects.get().state == Credential.State.USABLE


def test_a_job_that_waits_for_a_person_goes_on_when_their_credential_is_good_whoever_noticed(person, tasks, job_for):
    job = job_for(tasks(1))
    Job.objects.update(state=Job.State.WAITING, wait_reason=Job.WaitReason.PERSON, wait_until=None)
    assert queue.portals_with_work() == [person.portal_id]
    work(person)
    job.refresh_from_db()
    assert job.done == 1


def test_a_portal_that_never_takes_a_renewed_token_is_not_asked_for_ever(sandbox, person, tasks, job_for):
    job = job_for(tasks(1))
    sandbox.fault("tasks.task.list", "error", code="expired_token", status=401, times=-1)
    for _ in range(12):
        Job.objects.filter(wait_until__isnull=False).update(wait_until=clock.now())
        slices.run(person.portal_id)
    job.refresh_from_db()
    assert (job.state, job.wait_reason) == (Job.State.WAITING, Job.WaitReason.PERSON)
    assert len([r for r in sandbox.requests(None) if r["method"] == "oauth/token"]) <= 4


def test_a_token_that_expires_after_other_setbacks_is_renewed(sandbox, person, tasks, job_for):
    job = job_for(tasks(1))
    Job.objects.update(setbacks=slices.RENEWALS, wait_code="QUERY_LIMIT_EXCEEDED")
    sandbox.fault("tasks.task.list", "error", code="expired_token", status=401)
    work(person)
    job.refresh_from_db()
    assert (job.state, job.done) == (Job.State.FINISHED, 1)


def test_a_step_that_got_on_begins_the_count_of_renewals_anew(sandbox, person, tasks, job_for):
    job = job_for(tasks(5))
    slices._run_step(lease := Lease.acquire(person.portal_id))
    Job.objects.update(setbacks=slices.RENEWALS, wait_code="expired_token")
    sandbox.fault("tasks.task.defer", "error", code="expired_token", status=401, skip=2)
    slices._run_step(lease)
    job.refresh_from_db()
    assert (job.wait_reason, job.setbacks, job.done) == (Job.WaitReason.PORTAL, 1, 4)


def test_a_job_may_be_put_off_any_number_of_times(sandbox, person, tasks, job_for):
    job = job_for(tasks(1))
    Job.objects.update(setbacks=32_767)  # the most that the field holds
    sandbox.fault("tasks.task.list", "cut")
    slices.run(person.portal_id)
    job.refresh_from_db()
    assert (job.state, job.wait_reason) == (Job.State.WAITING, Job.WaitReason.PORTAL)


def test_a_pair_that_an_opening_brought_during_the_last_refused_call_is_not_given_up(
    sandbox, person, tasks, job_for, open_as, monkeypatch
):
    job = job_for(tasks(1))
    Job.objects.update(setbacks=slices.RENEWALS, wait_code="expired_token")

    def open_and_refuse(*_):
        open_as("acme", person.user_id)
        raise TokenExpired("expired_token")

    with monkeypatch.context() as refusing:
        refusing.setattr(batches, "run", open_and_refuse)
        slices._run_step(Lease.acquire(person.portal_id))
    assert Credential.objects.get().state == Credential.State.USABLE
    Portal.objects.update(lease_until=None)
    work(person)
    job.refresh_from_db()
    assert job.done == 1


def test_a_pair_whose_key_was_lost_lets_the_job_wait_for_the_person_and_asks_nobody_over_and_over(
    sandbox, person, tasks, job_for, settings
):
    job = job_for(tasks(1))
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    assert slices.run(person.portal_id) is None
    job.refresh_from_db()
    assert (job.wait_reason, job.wait_code, job.setbacks) == (Job.WaitReason.PERSON, "unreadable", 1)


def test_a_selection_that_we_cannot_collect_does_not_stop_the_jobs(person, tasks, job_for, monkeypatch):
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
def test_a_slice_that_was_overtaken_leaves_the_selection_alone(person, monkeypatch, error):
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


def test_a_task_that_stays_paused_when_it_is_tried_again_says_so_again(person, left_paused):
    again = jobs.retry(left_paused, [S.FAILED], "again")
    work(person)
    assert outcomes(again) == outcomes(left_paused)


def test_a_task_that_was_left_paused_is_owed_what_it_was_before_when_it_is_tried_again(sandbox, person, left_paused):
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
def test_nothing_is_paused_that_could_not_be_deferred_and_the_other_way_round(sandbox, person, tasks, job_for, method):
    job = job_for(tasks(3))
    reset_at = spend(method, 480)
    slices.run(person.portal_id)
    job.refresh_from_db()
    assert (job.state, job.wait_reason) == (Job.State.WAITING, Job.WaitReason.LIMIT)
    assert job.wait_until.timestamp() == pytest.approx(reset_at + 1, abs=2)
    assert sandbox.truth("acme") == []


def test_what_needs_no_pause_goes_on_while_pauses_have_to_wait(sandbox, person, tasks, job_for):
    progressing, pending = tasks(2), tasks(2, status=2)
    job = job_for(progressing + pending)
    spend("tasks.task.pause", 480)
    slices.run(person.portal_id)
    assert set(sandbox.states("acme", pending).values()) == {6}
    assert set(sandbox.states("acme", progressing).values()) == {3}
    job.refresh_from_db()
    assert (job.state, job.done) == (Job.State.WAITING, 2)


def test_people_have_the_last_part_of_the_operating_time_while_they_use_the_app(person, tasks, job_for):
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


def test_a_page_that_asks_the_portal_says_that_the_app_is_used(person):
    Portal.objects.update(used_at=0)
    clients.ask(person, lambda client: client.call("profile"))
    portal = Portal.objects.get()
    assert portal.is_in_use(clock.now())
    assert not portal.is_in_use(clock.now() + timedelta(seconds=301))


def test_a_few_tasks_left_over_are_sent_with_the_next_ones(sandbox, person, tasks, job_for, settings):
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
