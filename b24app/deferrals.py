"""What people asked for: jobs over frozen lists of tasks, and what we owe for every task put to sleep."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count

from b24app import dates, selections
from b24app.bitrix.tasks import TaskState
from b24app.models import Deferral, Job, JobItem, Lease, Person, Portal, Selection

MAX_UNFINISHED = 4  # jobs of one person: one is worked on, the others queue


class KeyReused(Exception):
    """The same idempotency key came with another request."""


class NotReady(Exception):
    """This selection is still being collected, too old, or empty."""


class TooManyJobs(Exception):
    """This person's earlier jobs have to end first."""


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
    selected = list(selection.tasks.order_by("id").values_list("task_id", "title"))
    return _create(person, selected, reason, key, digest)


def start_again(job: Job, states: Collection[JobItem.State], key: str) -> Job:
    """A new job over the tasks of a finished one that ended in these states: failed to retry, cancelled to go on.

    The same `key` again returns the same job. Raises as `start`; NotReady when there is nothing of the kind.
    """
    digest = _digest(f"job {job.pk}", *sorted(states))
    if existing := Job.objects.filter(person=job.person_id, key=key).first():
        return _same(existing, digest)
    left = job.items.filter(state__in=states, job__state=Job.State.FINISHED).order_by("id")
    return _create(job.person, list(left.values_list("task_id", "title")), job.reason, key, digest)


def _create(person: Person, selected: Sequence[tuple[int, str]], reason: str, key: str, digest: str) -> Job:
    if not selected:
        raise NotReady
    if Job.objects.unfinished().filter(person=person).count() >= MAX_UNFINISHED:
        raise TooManyJobs
    job = Job(portal_id=person.portal_id, person=person, key=key, digest=digest, reason=reason)
    job.total, job.created_at = len(selected), dates.now()
    try:
        with transaction.atomic():
            job.save()
            JobItem.objects.bulk_create(JobItem(job=job, task_id=id, title=title) for id, title in selected)
    except IntegrityError:  # the same request, twice at the same moment
        return _same(Job.objects.get(person=person, key=key), digest)
    return job


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _same(job: Job, digest: str) -> Job:
    if job.digest != digest:
        raise KeyReused
    return job


def stop(job: Job) -> bool:
    """Stop a job: what was not touched is cancelled at once; says whether a slice has more to do.

    What was sent is still settled, and what we paused is started again. May be repeated.
    """
    with transaction.atomic():
        stopped = Job.objects.unfinished().filter(pk=job.pk)
        stopped.filter(stop_asked_at=None).update(stop_asked_at=dates.now())
        cancel_untouched(job)
        unsettled = job.items.filter(state__in=[JobItem.State.PENDING, JobItem.State.SENT]).exists()
        stopped.update(**counts(job))
        if not unsettled:
            stopped.update(state=Job.State.FINISHED, finished_at=dates.now(), waiting_why="", waiting_code="")
    return unsettled


def cancel_untouched(job: Job) -> None:
    """Cancel a stopped job's tasks that we have not changed; those that we paused are to be started again."""
    pending = job.items.filter(state=JobItem.State.PENDING)
    pending.filter(step=JobItem.Step.PAUSED).update(step=JobItem.Step.RESTORING, code=JobItem.Code.STOPPED)
    pending.filter(step=JobItem.Step.NONE).update(state=JobItem.State.CANCELLED, code=JobItem.Code.STOPPED)


def counts(job: Job) -> dict[str, int]:
    """How many of a job's items ended in each way, by the job's fields. One query."""
    found = dict(job.items.values_list("state").annotate(Count("id")))
    return {end.value: found.get(end, 0) for end in JobItem.ENDED}


def resume_waiting(person: Person) -> bool:
    """Let the jobs go on that waited for this person's fresh credential; say whether there were any."""
    waited = Job.objects.filter(
        person=person, state=Job.State.WAITING, waiting_why__in=[Job.Why.PERSON, Job.Why.ACCESS]
    )
    return waited.update(state=Job.State.QUEUED, waiting_why="", waiting_code="", setbacks=0) > 0


def latest_job(person: Person) -> Job | None:
    """The job to show when the page is opened: the oldest unfinished one, else the last result not yet closed."""
    mine = Job.objects.filter(person=person, dismissed_at=None)
    return mine.unfinished().order_by("id").first() or mine.order_by("-id").first()


def dismiss(job: Job) -> None:
    """The person has seen the results: this one, and any older one that would come up in its place."""
    finished = Job.objects.filter(person=job.person_id, pk__lte=job.pk, state=Job.State.FINISHED)
    finished.filter(dismissed_at=None).update(dismissed_at=dates.now())


def is_stalled(job: Job) -> bool:
    """Whether a job that could go on has been left alone for longer than any healthy worker would."""
    if job.state not in (Job.State.QUEUED, Job.State.RUNNING):
        return False
    silent_since = job.last_slice_at or job.created_at
    if dates.now() - silent_since < timedelta(seconds=settings.SWEEP_EVERY):
        return False
    return Portal.objects.filter(Lease.free(), pk=job.portal_id).exists()


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
