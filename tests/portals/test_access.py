"""A portal that rejects the app: whose jobs wait for what, how often they try again, and what unparks the portal."""

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

FOR_ALL = [
    ("ACCESS_DENIED", WaitReason.PLAN, DAY),
    ("PAYMENT_REQUIRED", WaitReason.PAYMENT, DAY),
    ("insufficient_scope", WaitReason.SCOPE, DAY),
    ("METHOD_CONFIRM_WAITING", WaitReason.CONFIRM, HOUR),
    ("OVERLOAD_LIMIT", WaitReason.OVERLOAD, HOUR),
    ("PORTAL_DELETED", WaitReason.DELETED, DAY),
]
FOR_ONE = [
    ("authorization_error", WaitReason.DISMISSED),
    ("user_access_error", WaitReason.RESTRICTED),
    ("ALLOWED_ONLY_INTRANET_USER", WaitReason.RESTRICTED),
]


@pytest.fixture
def job_of(sandbox):
    """Start a job over two new tasks of a person: `job_of(person)`."""

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


def reject(sandbox, code, method="*", **options):
    sandbox.fault(method, "error", portal="acme", code=code, times=-1, **options)


def asked(sandbox):
    return len(sandbox.requests("acme"))


def reason(job):
    job = Job.objects.get(pk=job.pk)
    return jobs.waits_for(job)


def sweep():
    """Run a slice of each portal that has work, as the sweep and a worker do."""
    for portal_id in queue.portals_with_work():
        slices.run(portal_id)


def after(moment):
    return time_machine.travel(clock.now() + moment, tick=True)


@pytest.mark.parametrize("code, expected, pause", FOR_ALL)
def test_a_general_rejection_parks_the_portal(sandbox, person, eve, job_of, code, expected, pause):
    mine = [job_of(person, f"k{n}") for n in range(3)]
    hers = job_of(eve)
    reject(sandbox, code)
    before = asked(sandbox)
    sweep()
    sweep()
    assert [reason(job) for job in [*mine, hers]] == [expected] * 4
    assert asked(sandbox) - before == 1
    with after(pause - timedelta(minutes=5)):
        sweep()
        assert asked(sandbox) - before == 1
    sandbox.clear_faults()
    with after(pause + timedelta(minutes=1)):
        for _ in range(8):
            sweep()
    assert {each.state for each in Job.objects.all()} == {Job.State.FINISHED}
    assert Portal.objects.get().parked_until is None


@pytest.mark.parametrize("code, expected", FOR_ONE)
def test_a_rejected_person_waits_alone(sandbox, person, eve, job_of, code, expected):
    mine, hers = job_of(person), job_of(eve)
    sandbox.fault("*", "error", code=code, times=1)
    for _ in range(6):
        sweep()
    assert reason(mine) == expected
    assert Job.objects.get(pk=hers.pk).state == Job.State.FINISHED
    with after(HOUR + timedelta(minutes=1)):
        for _ in range(6):
            sweep()
    assert Job.objects.get(pk=mine.pk).state == Job.State.FINISHED


def test_a_blocked_person_is_probed_hourly(sandbox, person, job_of):
    jobs = [job_of(person, f"k{n}") for n in range(3)]
    reject(sandbox, "user_access_error")
    before = asked(sandbox)
    sweep()
    with after(HOUR + timedelta(minutes=1)):
        sweep()
    assert asked(sandbox) - before == 2
    assert {reason(job) for job in jobs} == {WaitReason.RESTRICTED}


@pytest.mark.parametrize("code", [code for code, _, _ in FOR_ALL])
def test_any_opening_unparks_the_portal(sandbox, person, eve, job, open_as, code):
    reject(sandbox, code)
    sweep()
    assert reason(job)
    sandbox.clear_faults()
    assert jobs.resume_waiting(open_as("acme", eve.user_id))
    assert reason(job) is None
    for _ in range(6):
        sweep()
    assert Job.objects.get(pk=job.pk).state == Job.State.FINISHED


def test_a_call_for_a_page_unparks_too(sandbox, person, job):
    reject(sandbox, "PAYMENT_REQUIRED")
    sweep()
    sandbox.clear_faults()
    person.portal.refresh_from_db()
    clients.ask(person, lambda client: client.call("profile"))
    assert reason(job) is None


def test_a_rejected_refresh_parks_too(sandbox, person, job):
    sandbox.expire("acme")
    person.credential.expires_at = clock.now()
    person.credential.save()
    sandbox.fault("oauth/token", "error", code="PAYMENT_REQUIRED", status=401, times=-1)
    sweep()
    assert reason(job) == WaitReason.PAYMENT
    sandbox.clear_faults()
    with after(DAY + timedelta(minutes=1)):
        for _ in range(6):
            sweep()
    assert Job.objects.get(pk=job.pk).state == Job.State.FINISHED


def test_a_vague_code_concerns_one_person(sandbox, person, eve, job_of, open_as):
    mine, hers = job_of(person), job_of(eve)
    sandbox.fault("*", "error", code="ACCESS_DENIED", times=1)
    sweep()
    jobs.resume_waiting(open_as("acme", eve.user_id))
    sandbox.fault("*", "error", code="ACCESS_DENIED", times=1)
    for _ in range(6):
        sweep()
    assert reason(mine) == WaitReason.PLAN
    assert Job.objects.get(pk=hers.pk).state == Job.State.FINISHED


def test_a_rejected_method_is_resumed(sandbox, person, job):
    reject(sandbox, "METHOD_CONFIRM_WAITING", method="tasks.task.defer")
    sweep()
    assert reason(job) == WaitReason.CONFIRM
    sandbox.clear_faults()
    with after(HOUR + timedelta(minutes=1)):
        for _ in range(6):
            sweep()
    done = Job.objects.get(pk=job.pk)
    assert (done.state, done.done) == (Job.State.FINISHED, 2)
    assert (
        sorted(change["method"] for change in sandbox.truth("acme"))
        == ["tasks.task.defer"] * 2 + ["tasks.task.pause"] * 2
    )


def test_a_parked_portal_serves_pages(sandbox, person, job):
    reject(sandbox, "OVERLOAD_LIMIT")
    sweep()
    before = asked(sandbox)
    person.portal.refresh_from_db()
    with pytest.raises(AccessLost):
        selections.select_ticked(person, [1])
    assert asked(sandbox) == before + 1
