"""What a person can do with a job: start, stop, retry, undo, dismiss."""

import hashlib
from collections.abc import Callable, Collection, Sequence

from django.db import IntegrityError, transaction
from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, When

from b24app import clock
from b24app.engine import deferrals, selections
from b24app.models import Deferral, Job, JobItem, Person, Selection
from b24app.portals import access
from b24app.portals.lease import Lease, LeaseLost, is_neglected

ADOPTED = "taken over "  # begins the keys of jobs that return what was
MAX_UNFINISHED = 4  # jobs of one person: one is worked on, the others queue


class KeyReused(Exception):
    """The same idempotency key came with another request."""


class NotReady(Exception):
    """This selection is still being collected, too old, or empty."""


class TooManyJobs(Exception):
    """This person's earlier jobs have to end first."""


def undo(job: Job, key: str) -> Job:
    """A new job that returns what a finished one, and those before that it went on with, have put to sleep.

    The same `key` again returns the same job. Raises as `start`; NotReady before the job has finished, and when
    nothing sleeps any more.
    """
    digest = _digest(f"undo {job.pk}")
    if existing := Job.objects.filter(person=job.person_id, key=key).first():
        return _same(existing, digest)
    if job.state != Job.State.FINISHED:
        raise NotReady
    asleep = _still_deferred(job).select_related("item").order_by("task_id")
    items = [_return_item(deferral) for deferral in asleep]
    return _create_of(items, Job(person=job.person, kind=Job.Kind.RETURN, key=key, digest=digest))


def return_adopted(admin: Person) -> Job:
    """The job that returns what this admin has taken over; asked for again before it has finished, the same one.

    Raises NotReady when nothing sleeps any more, or TooManyJobs.
    """
    asleep = list(deferrals.adopted(admin).select_related("item").order_by("pk"))
    mine = Job.objects.filter(person=admin, key__startswith=ADOPTED)
    if existing := mine.unfinished().first():
        return existing
    key = f"{ADOPTED}{mine.count()}"
    items = [_return_item(deferral) for deferral in asleep]
    return _create_of(items, Job(person=admin, kind=Job.Kind.RETURN, key=key, digest=_digest(key)))


def _return_item(deferral: Deferral) -> JobItem:
    title = deferral.item.title if deferral.item else ""
    return JobItem(task_id=deferral.task_id, title=title, status_before=deferral.previous_status, returns=deferral)


def can_undo(job: Job) -> bool:
    """Whether tasks still sleep because of a finished job, or of those that it went on with. One query."""
    return _still_deferred(job).exists()


def _still_deferred(job: Job) -> QuerySet[Deferral]:
    """What still sleeps because of this job and those before it: a Continue or a Retry closes their results."""
    original = job.original_id or job.pk
    chain = Job.objects.filter(Q(pk=original) | Q(original=original), pk__lte=job.pk)
    return Deferral.objects.live().filter(item__job__in=chain)


def start(person: Person, selection: Selection, reason: str, key: str) -> Job:
    """The job that defers a selection; the same `key` again returns the same job.

    Job and items exist together or not at all. Raises NotReady, TooManyJobs, or KeyReused when the key stood for
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
    """A new job over the tasks of a finished one that ended in these states: failed to retry, cancelled to go on.

    The same `key` again returns the same job. Raises as `start`; NotReady when there is nothing of the kind.
    """
    digest = _digest(f"job {job.pk}", *sorted(states))
    if existing := Job.objects.filter(person=job.person_id, key=key).first():
        return _same(existing, digest)
    left = job.items.filter(state__in=states, job__state=Job.State.FINISHED).order_by("id")
    first = job.original_id or job.pk
    again = Job(person=job.person, kind=job.kind, key=key, digest=digest, original_id=first, reason=job.reason)
    return _create_of([_retry_item(item) for item in left], again)


def _retry_item(item: JobItem) -> JobItem:
    """The same task for another job; one that we left paused, or put to sleep, is still owed what it was before."""
    is_owed = item.step != JobItem.Step.NONE or item.returns_id is not None
    before = item.status_before if is_owed else None
    step = JobItem.Step.PAUSED if item.step == JobItem.Step.RESTORING else item.step
    return JobItem(task_id=item.task_id, title=item.title, status_before=before, step=step, returns_id=item.returns_id)


def _create_of(items: Sequence[JobItem], job: Job) -> Job:
    """The new `job` over these items."""
    for item in items:
        item.job = job
    job.total = len(items)
    return _create(job, lambda: JobItem.objects.bulk_create(items))


def _create(job: Job, fill: Callable[[], object]) -> Job:
    """Save the new `job` together with its items, which `fill` makes; or the one that was faster with the same key."""
    if not job.total:
        raise NotReady
    job.portal_id, job.created_at = job.person.portal_id, clock.now()
    try:
        with transaction.atomic():
            # One request of a person at a time: two tabs cannot both be the fourth.
            Person.objects.select_for_update().get(pk=job.person_id)
            if faster := Job.objects.filter(person=job.person_id, key=job.key).first():
                return _same(faster, job.digest)
            if Job.objects.unfinished().filter(person=job.person_id).count() >= MAX_UNFINISHED:
                raise TooManyJobs
            job.save()
            fill()
    except IntegrityError:  # the same request, twice at the same moment
        return _same(Job.objects.get(person=job.person_id, key=job.key), job.digest)
    return job


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _same(job: Job, digest: str) -> Job:
    if job.digest != digest:
        raise KeyReused
    return job


def stop(job: Job) -> bool:
    """Stop a job: nothing more is begun; says whether a slice has to bring it to its end.

    What was not touched is cancelled, what was sent is settled, and what we paused is started again. May be
    repeated.
    """
    now = clock.now()
    Job.objects.unfinished().filter(pk=job.pk, stop_asked_at=None).update(stop_asked_at=now)
    Job.objects.filter(pk=job.pk, state=Job.State.WAITING).update(wait_until=now)
    lease = Lease.acquire(job.portal_id)
    if lease is None:
        return True  # whoever works on the portal sees it before its next step, or when it leaves
    try:
        return not cancel_untouched(job, lease)
    except LeaseLost:
        return True
    finally:
        lease.release()


def finish_stopped(portal_id: int) -> None:
    """Bring the stopped jobs of this portal to their end whose untouched tasks nobody has cancelled yet."""
    untouched = JobItem.objects.filter(job=OuterRef("pk"), state=JobItem.State.PENDING, step=JobItem.Step.NONE)
    stopped = Job.objects.unfinished().filter(portal=portal_id).exclude(stop_asked_at=None)
    for job in stopped.filter(Exists(untouched)):
        stop(job)


def cancel_untouched(job: Job, lease: Lease) -> bool:
    """Cancel a stopped job's tasks that we have not changed; say whether that was the end of it.

    Those that we paused are to be started again. Only the holder of the portal's lease does this, so that it
    cannot meet an answer half saved. Raises LeaseLost.
    """
    pending = job.items.filter(state=JobItem.State.PENDING)
    unfinished = Job.objects.unfinished().filter(pk=job.pk)
    with transaction.atomic():
        lease.renew()
        pending.filter(step=JobItem.Step.PAUSED).update(step=JobItem.Step.RESTORING, code=JobItem.Code.STOPPED)
        pending.filter(step=JobItem.Step.NONE).update(state=JobItem.State.CANCELLED, code=JobItem.Code.STOPPED)
        unfinished.update(**counts(job))
        if job.items.filter(state__in=[JobItem.State.PENDING, JobItem.State.SENT]).exists():
            return False
        unfinished.update(state=Job.State.FINISHED, finished_at=clock.now(), wait_reason="", wait_code="")
    return True


def counts(job: Job) -> dict[str, int]:
    """How many of a job's items ended in each way, by the job's fields. One query."""
    found = dict(job.items.values_list("state").annotate(Count("id")))
    return {end.value: found.get(end, 0) for end in JobItem.ENDED}


def resume_waiting(person: Person) -> bool:
    """Let the jobs go on that waited until the portal lets this person in again; say whether there were any."""
    return access.readmit(person)


def waits_for(job: Job) -> Job.WaitReason | None:
    """Why an unfinished job does not move at the moment, as far as the portal is concerned."""
    portal = job.person.portal
    if portal.parked_until:
        return Job.WaitReason(portal.parked_reason)
    return Job.WaitReason(job.wait_reason) if job.state == Job.State.WAITING and job.wait_reason else None


def latest_job(person: Person) -> Job | None:
    """The job to show when the page is opened: the oldest unfinished one, else the last result not yet closed."""
    id_of_unfinished = Case(When(~Q(state=Job.State.FINISHED), then="id"))
    mine = Job.objects.filter(person=person, dismissed_at=None)
    return mine.order_by(id_of_unfinished.asc(nulls_last=True), "-id").first()


def dismiss(job: Job) -> None:
    """The person has seen the results: this one, and any older one that would come up in its place."""
    finished = Job.objects.filter(person=job.person_id, pk__lte=job.pk, state=Job.State.FINISHED)
    finished.filter(dismissed_at=None).update(dismissed_at=clock.now())


def is_stalled(job: Job) -> bool:
    """Whether an unfinished job that could go on is left alone for longer than by any healthy worker."""
    due = job.wait_until if job.state == Job.State.WAITING else job.last_slice_at or job.created_at
    if due is None:
        return False  # it waits for a person, however long
    return is_neglected(job.portal, max(due, job.portal.parked_until or due), clock.now())


def paused(job: Job) -> int:
    """How many tasks of an unfinished job are paused because of it: still to be deferred, or started again."""
    under_way = job.items.filter(state__in=[JobItem.State.PENDING, JobItem.State.SENT])
    return under_way.exclude(step=JobItem.Step.NONE).count()
