"""Credentials that are renewed, refused or replaced while a job runs."""

import pytest
from cryptography.fernet import Fernet

from b24app import clock
from b24app.bitrix.errors import CredentialRefused, TokenExpired
from b24app.engine import batches, jobs, queue, slices
from b24app.models import Credential, Job, Portal
from b24app.portals import clients, credentials
from b24app.portals.lease import Lease
from tests.engine.work import work


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
