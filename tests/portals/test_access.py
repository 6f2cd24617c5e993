"""A portal that refuses the app: who waits for what, how often anybody asks again, and what ends it."""

from datetime import timedelta

import pytest
import time_machine

from b24app import clock
from b24app.bitrix.errors import AccessLost
from b24app.engine import jobs, queue, selections, slices
from b24app.models import Job, Portal
from b24app.portals import clients

WaitReason = Job.WaitReason
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

FOR_EVERYBODY = [
    ("ACCESS_DENIED", WaitReason.PLAN, DAY),
    ("PAYMENT_REQUIRED", WaitReason.PAYMENT, DAY),
    ("insufficient_scope", WaitReason.SCOPE, DAY),
    ("METHOD_CONFIRM_WAITING", WaitReason.CONFIRM, HOUR),
    ("OVERLOAD_LIMIT", WaitReason.OVERLOAD, HOUR),
    ("PORTAL_DELETED", WaitReason.DELETED, DAY),
]
FOR_A_PERSON = [
    ("authorization_error", WaitReason.DISMISSED),
    ("user_access_error", WaitReason.RESTRICTED),
    ("ALLOWED_ONLY_INTRANET_USER", WaitReason.RESTRICTED),
]


@pytest.fixture
def job_of(sandbox):
    """A job over two fresh tasks of a person's own: `job_of(person)`."""

    def make(person, key="k1"):
        ids = sandbox.tasks("acme", count=2, status=3, creator=person.user_id)
        return jobs.start(person, selections.select_ticked(person, ids), "", key)

    return make


@pytest.fixture
def job(person, job_of):
    return job_of(person)


@pytest.fixture
def eve(sandbox, person, open_as):
    return open_as("acme", sandbox.user("acme", name="Eve"))


def refuse(sandbox, code, method="*", **options):
    sandbox.fault(method, "error", portal="acme", code=code, times=-1, **options)


def asked(sandbox):
    return len(sandbox.requests("acme"))


def why(job):
    job = Job.objects.get(pk=job.pk)
    return jobs.waits_for(job)


def sweep():
    """What the sweep and a worker do about portals that have work."""
    for portal_id in queue.portals_with_work():
        slices.run(portal_id)


def let_pass(moment):
    return time_machine.travel(clock.now() + moment, tick=True)


@pytest.mark.parametrize("code, expected, pause", FOR_EVERYBODY)
def test_what_is_refused_to_everybody_parks_the_portal_and_costs_one_call_a_time(
    sandbox, person, eve, job_of, code, expected, pause
):
    mine = [job_of(person, f"k{n}") for n in range(3)]
    hers = job_of(eve)
    refuse(sandbox, code)
    before = asked(sandbox)
    sweep()
    sweep()
    assert [why(job) for job in [*mine, hers]] == [expected] * 4
    assert asked(sandbox) - before == 1
    with let_pass(pause - timedelta(minutes=5)):
        sweep()
        assert asked(sandbox) - before == 1
    sandbox.clear_faults()
    with let_pass(pause + timedelta(minutes=1)):
        for _ in range(8):
            sweep()
    assert {each.state for each in Job.objects.all()} == {Job.State.FINISHED}
    assert Portal.objects.get().parked_until is None


@pytest.mark.parametrize("code, expected", FOR_A_PERSON)
def test_what_is_refused_to_one_person_leaves_the_others_working(sandbox, person, eve, job_of, code, expected):
    mine, hers = job_of(person), job_of(eve)
    sandbox.fault("*", "error", code=code, times=1)
    for _ in range(6):
        sweep()
    assert why(mine) == expected
    assert Job.objects.get(pk=hers.pk).state == Job.State.FINISHED
    with let_pass(HOUR + timedelta(minutes=1)):
        for _ in range(6):
            sweep()
    assert Job.objects.get(pk=mine.pk).state == Job.State.FINISHED


def test_one_blocked_person_costs_one_call_an_hour_however_many_jobs_wait(sandbox, person, job_of):
    jobs = [job_of(person, f"k{n}") for n in range(3)]
    refuse(sandbox, "user_access_error")
    before = asked(sandbox)
    sweep()
    with let_pass(HOUR + timedelta(minutes=1)):
        sweep()
    assert asked(sandbox) - before == 2
    assert {why(job) for job in jobs} == {WaitReason.RESTRICTED}


@pytest.mark.parametrize("code", [code for code, _, _ in FOR_EVERYBODY])
def test_anybodys_opening_shows_that_it_is_over(sandbox, person, eve, job, open_as, code):
    refuse(sandbox, code)
    sweep()
    assert why(job)
    sandbox.clear_faults()
    assert jobs.resume_waiting(open_as("acme", eve.user_id))
    assert why(job) is None
    for _ in range(6):
        sweep()
    assert Job.objects.get(pk=job.pk).state == Job.State.FINISHED


def test_a_call_from_a_page_that_is_still_open_shows_it_too(sandbox, person, job):
    refuse(sandbox, "PAYMENT_REQUIRED")
    sweep()
    sandbox.clear_faults()
    person.portal.refresh_from_db()
    clients.ask(person, lambda client: client.call("profile"))
    assert why(job) is None


def test_a_refusal_at_the_authorization_server_is_the_same_state(sandbox, person, job):
    sandbox.expire("acme")
    person.credential.expires_at = clock.now()
    person.credential.save()
    sandbox.fault("oauth/token", "error", code="PAYMENT_REQUIRED", status=401, times=-1)
    sweep()
    assert why(job) == WaitReason.PAYMENT
    sandbox.clear_faults()
    with let_pass(DAY + timedelta(minutes=1)):
        for _ in range(6):
            sweep()
    assert Job.objects.get(pk=job.pk).state == Job.State.FINISHED


def test_a_vague_refusal_soon_after_others_were_let_in_concerns_only_who_met_it(sandbox, person, eve, job_of, open_as):
    mine, hers = job_of(person), job_of(eve)
    sandbox.fault("*", "error", code="ACCESS_DENIED", times=1)
    sweep()
    jobs.resume_waiting(open_as("acme", eve.user_id))
    sandbox.fault("*", "error", code="ACCESS_DENIED", times=1)
    for _ in range(6):
        sweep()
    assert why(mine) == WaitReason.PLAN
    assert Job.objects.get(pk=hers.pk).state == Job.State.FINISHED


def test_a_refusal_of_one_method_keeps_what_was_done_and_goes_on_from_there(sandbox, person, job):
    refuse(sandbox, "METHOD_CONFIRM_WAITING", method="tasks.task.defer")
    sweep()
    assert why(job) == WaitReason.CONFIRM
    sandbox.clear_faults()
    with let_pass(HOUR + timedelta(minutes=1)):
        for _ in range(6):
            sweep()
    done = Job.objects.get(pk=job.pk)
    assert (done.state, done.done) == (Job.State.FINISHED, 2)
    assert (
        sorted(change["method"] for change in sandbox.truth("acme"))
        == ["tasks.task.defer"] * 2 + ["tasks.task.pause"] * 2
    )


def test_a_parked_portal_still_answers_who_selects_tasks(sandbox, person, job):
    refuse(sandbox, "OVERLOAD_LIMIT")
    sweep()
    before = asked(sandbox)
    person.portal.refresh_from_db()
    with pytest.raises(AccessLost):
        selections.select_ticked(person, [1])
    assert asked(sandbox) == before + 1
