"""What people asked for: jobs over frozen lists of tasks, and what we owe for every task put to sleep."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, When

from b24app import dates, refusals, selections
from b24app.bitrix.tasks import TaskState
from b24app.models import Deferral, Job, JobItem, Lease, LeaseLost, Person, Selection

TAKEN_OVER = "taken over "  # begins the keys of jobs that return what was
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
    asleep = _asleep(job).select_related("item").order_by("task_id")
    items = [_way_back(deferral) for deferral in asleep]
    return _create_of(items, Job(person=job.person, kind=Job.Kind.RETURN, key=key, digest=digest))


def taken_over(admin: Person) -> QuerySet[Deferral]:
    """What this admin has taken over from before the app was installed anew, and what still sleeps of it."""
    return Deferral.objects.live().filter(person=admin, item=None)


def return_taken_over(admin: Person) -> Job:
    """The job that returns what this admin has taken over; asked for again before it has finished, the same one.

    Raises NotReady when nothing sleeps any more, or TooManyJobs.
    """
    asleep = list(taken_over(admin).select_related("item").order_by("pk"))
    mine = Job.objects.filter(person=admin, key__startswith=TAKEN_OVER)
    if existing := mine.unfinished().first():
        return existing
    key = f"{TAKEN_OVER}{mine.count()}"
    items = [_way_back(deferral) for deferral in asleep]
    return _create_of(items, Job(person=admin, kind=Job.Kind.RETURN, key=key, digest=_digest(key)))


def _way_back(deferral: Deferral) -> JobItem:
    title = deferral.item.title if deferral.item else ""
    return JobItem(task_id=deferral.task_id, title=title, status_before=deferral.previous_status, wakes=deferral)


def may_undo(job: Job) -> bool:
    """Whether tasks still sleep because of a finished job, or of those that it went on with. One query."""
    return _asleep(job).exists()


def _asleep(job: Job) -> QuerySet[Deferral]:
    """What still sleeps because of this job and those before it: a Continue or a Retry closes their results."""
    first = job.first_id or job.pk
    chain = Job.objects.filter(Q(pk=first) | Q(first=first), pk__lte=job.pk)
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
    return _create(job, lambda: JobItem.copy_selected(job, selection))


def start_again(job: Job, states: Collection[JobItem.State], key: str) -> Job:
    """A new job over the tasks of a finished one that ended in these states: failed to retry, cancelled to go on.

    The same `key` again returns the same job. Raises as `start`; NotReady when there is nothing of the kind.
    """
    digest = _digest(f"job {job.pk}", *sorted(states))
    if existing := Job.objects.filter(person=job.person_id, key=key).first():
        return _same(existing, digest)
    left = job.items.filter(state__in=states, job__state=Job.State.FINISHED).order_by("id")
    first = job.first_id or job.pk
    again = Job(person=job.person, kind=job.kind, key=key, digest=digest, first_id=first, reason=job.reason)
    return _create_of([_item_again(item) for item in left], again)


def _item_again(item: JobItem) -> JobItem:
    """The same task for another job; one that we left paused, or put to sleep, is still owed what it was before."""
    is_owed = item.step != JobItem.Step.NONE or item.wakes_id is not None
    before = item.status_before if is_owed else None
    step = JobItem.Step.PAUSED if item.step == JobItem.Step.RESTORING else item.step
    return JobItem(task_id=item.task_id, title=item.title, status_before=before, step=step, wakes_id=item.wakes_id)


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
    job.portal_id, job.created_at = job.person.portal_id, dates.now()
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
    now = dates.now()
    Job.objects.unfinished().filter(pk=job.pk, stop_asked_at=None).update(stop_asked_at=now)
    Job.objects.filter(pk=job.pk, state=Job.State.WAITING).update(waiting_until=now)
    lease = Lease.take(job.portal_id)
    if lease is None:
        return True  # whoever works on the portal sees it before its next step, or when it leaves
    try:
        return not wind_up(job, lease)
    except LeaseLost:
        return True
    finally:
        lease.release()


def stop_unseen(portal_id: int) -> None:
    """Bring the stopped jobs of this portal to their end whose untouched tasks nobody has cancelled yet."""
    untouched = JobItem.objects.filter(job=OuterRef("pk"), state=JobItem.State.PENDING, step=JobItem.Step.NONE)
    stopped = Job.objects.unfinished().filter(portal=portal_id).exclude(stop_asked_at=None)
    for job in stopped.filter(Exists(untouched)):
        stop(job)


def wind_up(job: Job, lease: Lease) -> bool:
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
        unfinished.update(state=Job.State.FINISHED, finished_at=dates.now(), waiting_why="", waiting_code="")
    return True


def counts(job: Job) -> dict[str, int]:
    """How many of a job's items ended in each way, by the job's fields. One query."""
    found = dict(job.items.values_list("state").annotate(Count("id")))
    return {end.value: found.get(end, 0) for end in JobItem.ENDED}


def resume_waiting(person: Person) -> bool:
    """Let the jobs go on that waited until the portal lets this person in again; say whether there were any."""
    return refusals.let_in(person)


def waits_for(job: Job) -> Job.Why | None:
    """Why an unfinished job does not move at the moment, as far as the portal is concerned."""
    portal = job.person.portal
    if portal.parked_until:
        return Job.Why(portal.parked_why)
    return Job.Why(job.waiting_why) if job.state == Job.State.WAITING and job.waiting_why else None


def latest_job(person: Person) -> Job | None:
    """The job to show when the page is opened: the oldest unfinished one, else the last result not yet closed."""
    id_of_unfinished = Case(When(~Q(state=Job.State.FINISHED), then="id"))
    mine = Job.objects.filter(person=person, dismissed_at=None)
    return mine.order_by(id_of_unfinished.asc(nulls_last=True), "-id").first()


def dismiss(job: Job) -> None:
    """The person has seen the results: this one, and any older one that would come up in its place."""
    finished = Job.objects.filter(person=job.person_id, pk__lte=job.pk, state=Job.State.FINISHED)
    finished.filter(dismissed_at=None).update(dismissed_at=dates.now())


def is_stalled(job: Job) -> bool:
    """Whether an unfinished job that could go on is left alone for longer than by any healthy worker."""
    due = job.waiting_until if job.state == Job.State.WAITING else job.last_slice_at or job.created_at
    if due is None:
        return False  # it waits for a person, however long
    return job.portal.is_left_alone(max(due, job.portal.parked_until or due), dates.now())


def paused(job: Job) -> int:
    """How many tasks of an unfinished job are paused because of it: still to be deferred, or started again."""
    under_way = job.items.filter(state__in=[JobItem.State.PENDING, JobItem.State.SENT])
    return under_way.exclude(step=JobItem.Step.NONE).count()


def record(job: Job, slept: Iterable[tuple[JobItem, TaskState | None]], now: datetime) -> None:
    """Note what we owe for items just deferred, in the transaction that saves their outcome.

    `slept` holds each item with its task as the portal showed it afterwards. A live deferral that a task still
    has from before is overtaken: somebody woke it since.
    """
    owed = [
        Deferral(
            portal_id=job.portal_id,
            person_id=job.person_id,
            item=item,
            task_id=item.task_id,
            previous_status=item.status_before,  # type: ignore[misc]  # set by the claim of every sent item
            status_changed_at=found.status_changed_at if found else None,
            created_at=now,
        )
        for item, found in slept
    ]
    if not owed:
        return
    ids = [deferral.task_id for deferral in owed]
    earlier = Deferral.objects.live().filter(portal=job.portal_id, task_id__in=ids)
    earlier.update(state=Deferral.State.OVERTAKEN)
    Deferral.objects.bulk_create(owed)


def record_ends(items: Iterable[JobItem]) -> None:
    """Close what we owed for items of a return that have ended, in the transaction that saves their outcome.

    A return that failed is still owed.
    """
    live = Deferral.objects.live()
    ended: dict[str, list[int]] = {}
    for item in items:
        if item.wakes_id:
            ended.setdefault(item.state, []).append(item.wakes_id)
    if woken := ended.get(JobItem.State.DONE):
        live.filter(pk__in=woken).update(state=Deferral.State.RETURNED)
    if overtaken := ended.get(JobItem.State.SKIPPED):
        live.filter(pk__in=overtaken).update(state=Deferral.State.OVERTAKEN)
