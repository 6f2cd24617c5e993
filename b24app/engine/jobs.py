"""What a person can do with a job: start, stop, retry, undo, dismiss."""

import hashlib
from collections.abc import Callable, Collection, Sequence

from django.db import IntegrityError, transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, When

from b24app import clock
from b24app.engine import deferrals, saving, selections
from b24app.models import Deferral, Job, JobItem, Person, Selection
from b24app.portals import access
from b24app.portals.lease import Lease, LeaseLost, is_neglected

ADOPTED = "taken over "  # the keys of jobs that return adopted tasks begin with this
UNTOUCHED = Q(state=JobItem.State.PENDING, step=JobItem.Step.NONE, sends=0)
MAX_UNFINISHED = 4  # jobs of one person; one runs, the others wait in line


class KeyReused(Exception):
    """The same idempotency key came with another request."""


class NotReady(Exception):
    """The selection is not collected yet, too old, or empty; or the job has no tasks for this."""


class TooManyJobs(Exception):
    """The person has MAX_UNFINISHED unfinished jobs."""


def start(person: Person, selection: Selection, reason: str, key: str) -> Job:
    """Start a job that defers a selection. The same `key` again returns the same job.

    One transaction saves the job and its items. Raises NotReady, TooManyJobs, or KeyReused if the key was used for
    another request.
    """
    digest = _digest(f"{selection.pk}", reason)
    if existing := Job.objects.filter(person=person, key=key).first():
        return _same(existing, digest)
    if selection.state != Selection.State.READY or not selections.is_alive(selection):
        raise NotReady
    total = selection.tasks.count()
    job = Job(person=person, kind=Job.Kind.DEFER, key=key, digest=digest, reason=reason, total=total)
    return _create(job, lambda: JobItem.objects.copy_selected(job, selection))


def retry(job: Job, states: Collection[JobItem.State], key: str) -> Job:
    """Start a new job over those tasks of a finished job that ended in `states`: failed ones, or cancelled ones.

    The same `key` again returns the same job. Raises as `start`; NotReady if there is no such task.
    """
    digest = _digest(f"job {job.pk}", *sorted(states))
    if existing := Job.objects.filter(person=job.person_id, key=key).first():
        return _same(existing, digest)
    left = job.items.filter(state__in=states, job__state=Job.State.FINISHED).order_by("id")
    first = job.original_id or job.pk
    again = Job(person=job.person, kind=job.kind, key=key, digest=digest, original_id=first, reason=job.reason)
    return _create_of([_retry_item(item) for item in left], again)


def undo(job: Job, key: str) -> Job:
    """Start a job that returns the tasks that a finished job deferred, and the jobs that it continued.

    The same `key` again returns the same job. Raises as `start`; NotReady before the job has finished, or if none of
    its tasks is still deferred.
    """
    digest = _digest(f"undo {job.pk}")
    if existing := Job.objects.filter(person=job.person_id, key=key).first():
        return _same(existing, digest)
    if job.state != Job.State.FINISHED:
        raise NotReady
    deferred = _still_deferred(job).select_related("item").order_by("task_id")
    items = [_return_item(deferral) for deferral in deferred]
    return _create_of(items, Job(person=job.person, kind=Job.Kind.RETURN, key=key, digest=digest))


def return_adopted(admin: Person) -> Job:
    """Start a job that returns the tasks that this administrator adopted. While one runs, return that one.

    Raises TooManyJobs, or NotReady if none of the tasks is still deferred.
    """
    deferred = list(deferrals.adopted(admin).select_related("item").order_by("pk"))
    mine = Job.objects.filter(person=admin, key__startswith=ADOPTED)
    if existing := mine.unfinished().first():
        return existing
    key = f"{ADOPTED}{mine.count()}"
    items = [_return_item(deferral) for deferral in deferred]
    return _create_of(items, Job(person=admin, kind=Job.Kind.RETURN, key=key, digest=_digest(key)))


def can_undo(job: Job) -> bool:
    """True if tasks are still deferred because of a finished job or the jobs that it continued. One query."""
    return _still_deferred(job).exists()


def stop(job: Job) -> bool:
    """Stop a job: no further task is changed. Return True if a slice must still finish the job.

    Untouched tasks are cancelled, sent tasks are settled, and paused tasks are started again. A task that was sent and
    found unchanged is read once more: the request may have come late. Safe to repeat.
    """
    Job.objects.unfinished().filter(pk=job.pk, stop_asked_at=None).update(stop_asked_at=clock.shared_now())
    Job.objects.filter(pk=job.pk, state=Job.State.WAITING).update(wait_until=clock.now())
    lease = Lease.acquire(job.portal_id)
    if lease is None:
        return True  # the worker that holds the lease sees `stop_asked_at` before its next batch
    try:
        return not cancel_untouched(job, lease)
    except LeaseLost:
        return True
    finally:
        lease.release()


def finish_stopped(portal_id: int) -> None:
    """Finish stopped jobs of this portal that still have pending, untouched items."""
    untouched = JobItem.objects.filter(UNTOUCHED, job=OuterRef("pk"))
    stopped = Job.objects.unfinished().filter(portal=portal_id).exclude(stop_asked_at=None)
    for job in stopped.filter(Exists(untouched)):
        stop(job)


def cancel_untouched(job: Job, lease: Lease) -> bool:
    """Cancel the untouched tasks of a stopped job. Return True if the job has finished with this.

    Paused tasks will be started again. Requires the portal's lease: otherwise it could run while a worker is saving
    answers. Raises LeaseLost.
    """
    pending = job.items.filter(state=JobItem.State.PENDING)
    is_unchanged = UNTOUCHED | Q(step=JobItem.Step.NONE, seen_at__gt=F("job__stop_asked_at"))
    unfinished = Job.objects.unfinished().filter(pk=job.pk)
    with transaction.atomic():
        lease.renew()
        pending.filter(step=JobItem.Step.PAUSED).update(step=JobItem.Step.RESTORING, code=JobItem.Code.STOPPED)
        pending.filter(is_unchanged).update(state=JobItem.State.CANCELLED, code=JobItem.Code.STOPPED)
        pending.filter(step=JobItem.Step.NONE).update(seen_at=None)  # sent before: read it, do not send it
        unfinished.update(**saving.counts(job))
        if job.items.filter(state__in=[JobItem.State.PENDING, JobItem.State.SENT]).exists():
            return False
        unfinished.update(state=Job.State.FINISHED, finished_at=clock.now(), wait_reason="", wait_code="")
    return True


def resume_waiting(person: Person) -> bool:
    """The portal accepts this person again: resume their waiting jobs. Return True if there were any."""
    return access.readmit(person)


def dismiss(job: Job) -> None:
    """The person closed the result. Older results close too; otherwise one of them would take its place."""
    finished = Job.objects.filter(person=job.person_id, pk__lte=job.pk, state=Job.State.FINISHED)
    finished.filter(dismissed_at=None).update(dismissed_at=clock.now())


def latest_job(person: Person) -> Job | None:
    """The job to show when the page is opened: the oldest unfinished one, otherwise the last result not closed yet."""
    id_of_unfinished = Case(When(~Q(state=Job.State.FINISHED), then="id"))
    mine = Job.objects.filter(person=person, dismissed_at=None)
    return mine.order_by(id_of_unfinished.asc(nulls_last=True), "-id").first()


def waits_for(job: Job) -> Job.WaitReason | None:
    """Why an unfinished job waits: the reason of its portal, or its own. None if it does not wait."""
    portal = job.person.portal
    if portal.parked_until:
        return Job.WaitReason(portal.parked_reason)
    return Job.WaitReason(job.wait_reason) if job.state == Job.State.WAITING and job.wait_reason else None


def is_stalled(job: Job) -> bool:
    """True if an unfinished job is due and no worker has picked it up for longer than ENGINE_SWEEP_EVERY."""
    due = job.wait_until if job.state == Job.State.WAITING else job.last_slice_at or job.created_at
    if due is None:
        return False  # it waits for its person
    return is_neglected(job.portal, max(due, job.portal.parked_until or due), clock.now())


def paused(job: Job) -> int:
    """How many tasks an unfinished job has paused, and must still defer or start again."""
    under_way = job.items.filter(state__in=[JobItem.State.PENDING, JobItem.State.SENT])
    return under_way.exclude(step=JobItem.Step.NONE).count()


def _still_deferred(job: Job) -> QuerySet[Deferral]:
    """The live deferrals of a job and of the jobs that it continued: Continue and Retry close their results."""
    original = job.original_id or job.pk
    chain = Job.objects.filter(Q(pk=original) | Q(original=original), pk__lte=job.pk)
    return Deferral.objects.live().filter(item__job__in=chain)


def _return_item(deferral: Deferral) -> JobItem:
    title = deferral.item.title if deferral.item else ""
    return JobItem(task_id=deferral.task_id, title=title, status_before=deferral.previous_status, returns=deferral)


def _retry_item(item: JobItem) -> JobItem:
    """A new item for the same task.

    If we left the task paused or deferred, keep its original status, so it can still be restored.
    """
    is_changed = item.step != JobItem.Step.NONE or item.returns_id is not None
    before = item.status_before if is_changed else None
    step = JobItem.Step.PAUSED if item.step == JobItem.Step.RESTORING else item.step
    return JobItem(task_id=item.task_id, title=item.title, status_before=before, step=step, returns_id=item.returns_id)


def _create_of(items: Sequence[JobItem], job: Job) -> Job:
    """Save the new `job` over these items."""
    for item in items:
        item.job = job
    job.total = len(items)
    return _create(job, lambda: JobItem.objects.bulk_create(items))


def _create(job: Job, fill: Callable[[], object]) -> Job:
    """Save the new `job`, and its items with `fill`. If a request with the same key was faster, return its job."""
    if not job.total:
        raise NotReady
    job.portal_id, job.created_at = job.person.portal_id, clock.now()
    try:
        with transaction.atomic():
            # One request of a person at a time: two tabs cannot both start the last allowed job.
            Person.objects.select_for_update().get(pk=job.person_id)
            if faster := Job.objects.filter(person=job.person_id, key=job.key).first():
                return _same(faster, job.digest)
            if Job.objects.unfinished().filter(person=job.person_id).count() >= MAX_UNFINISHED:
                raise TooManyJobs
            job.save()
            fill()
    except IntegrityError:  # the same request came twice at the same moment
        return _same(Job.objects.get(person=job.person_id, key=job.key), job.digest)
    return job


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _same(job: Job, digest: str) -> Job:
    if job.digest != digest:
        raise KeyReused
    return job
