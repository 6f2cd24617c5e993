"""The engine: short slices of work, at most one at a time per portal.

A slice makes steps until its time is over: collect a selection that somebody waits for, or move a job on by one
batch (batches.py). Whatever stops a job is written on it, with the time to try again.
"""

import logging
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, Min, Q

from b24app import batches, credentials, dates, deferrals, refusals, selections
from b24app.bitrix.errors import (
    AccessLost,
    BitrixError,
    CredentialRefused,
    Expired,
    OperatingLimit,
    TooManyRequests,
    error_for,
)
from b24app.models import Job, Lease, LeaseLost, PendingOpening, Portal, RestCall, Selection, shared_now

logger = logging.getLogger(__name__)

RENEWALS = 3  # in a row, that the portal did not take; then the person has to come back
LONGEST_WAIT = 3600.0  # waits double with every setback up to this
MOST_DOUBLINGS = 20  # setbacks that are counted: far beyond the longest wait
JOURNAL_LIFE = timedelta(days=7)


# -- What is to do ------------------------------------------------------------------------------------


def portals_with_work() -> list[int]:
    """The portals that a slice could do something for now, longest neglected first."""
    now = dates.now()
    of_jobs = Job.objects.runnable(now).exclude(portal__parked_until__gt=now).values("portal")
    of_selections = selections.collecting(now).values("person__portal")
    # Two short lists made one: with an OR the database would look at every portal.
    waiting = Portal.objects.filter(Lease.free(), pk__in=of_jobs.union(of_selections), status=Portal.Status.ACTIVE)
    return list(waiting.order_by(F("last_slice_at").asc(nulls_first=True)).values_list("pk", flat=True))


def _not_parked(now: datetime) -> Q:
    """Portals whose jobs may ask, as a condition. What somebody waits for at a page asks in any case."""
    return Q(parked_until=None) | Q(parked_until__lte=now)


def _seconds_until_work(portal_id: int) -> float | None:
    """When a slice should look at this portal again: 0 for at once, None when nothing is to be expected."""
    now = dates.now()
    jobs = Job.objects.filter(portal=portal_id)
    of_portal = Selection.objects.filter(person__portal=portal_id, state=Selection.State.COLLECTING)
    if selections.collecting(now).filter(pk__in=of_portal).exists():
        return 0.0
    if not Portal.objects.filter(_not_parked(now), pk=portal_id).exists():
        return None  # the sweep looks again when its time has come
    if jobs.runnable(now).exists():
        return 0.0
    job_at = jobs.filter(state=Job.State.WAITING, waiting_until__gt=now).aggregate(at=Min("waiting_until"))
    selection_at = of_portal.filter(try_at__gt=now).aggregate(at=Min("try_at"))
    moments = [found["at"] for found in (job_at, selection_at) if found["at"]]
    return float((min(moments) - now).total_seconds()) if moments else None


def claim_hint(portal_id: int, seconds: float) -> bool:
    """Whether to send a message about this portal for in `seconds`: not while one is under way that is due by then.

    One that should have been read long ago is taken for lost.
    """
    now = shared_now()
    due = now + timedelta(seconds=seconds)
    lost = Q(hint_due_at__lte=now - timedelta(seconds=settings.HINT_LOST))
    free = Portal.objects.filter(Q(hint_due_at=None) | Q(hint_due_at__gt=due) | lost, pk=portal_id)
    return free.update(hint_due_at=due) == 1


def note_hint_read(portal_id: int) -> bool:
    """A message about this portal has been read: the next may be sent. Says whether it is time to work.

    It is not when the only message under way is due later: the sender's clock was behind ours.
    """
    early = timedelta(seconds=1)  # a broker may be early a little
    is_due = Q(hint_due_at=None) | Q(hint_due_at__lte=shared_now() + early)
    return Portal.objects.filter(is_due, pk=portal_id).update(hint_due_at=None) == 1


def give_hint_up(portal_id: int) -> None:
    """No message about this portal could be sent."""
    Portal.objects.filter(pk=portal_id).update(hint_due_at=None)


def forget_expired() -> None:
    """Delete what is kept for a time only: the journal, selections, openings that nobody came back for."""
    now = dates.now()
    RestCall.objects.filter(at__lt=now - JOURNAL_LIFE).delete()
    Selection.objects.filter(created_at__lt=now - 2 * selections.LIFE).delete()
    PendingOpening.objects.filter(expires_at__lt=now).delete()


# -- A slice ------------------------------------------------------------------------------------------


def run(portal_id: int) -> float | None:
    """Work on one portal for about settings.SLICE_SECONDS, unless another slice is at it.

    Returns in how many seconds the next slice should look at this portal: 0 for at once, None when nothing is to be
    expected, or somebody else is at it. May be called any number of times, by any number of workers: the lease lets
    one in. Waiting is written on the job and never slept here.
    """
    lease = Lease.take(portal_id)
    if lease is None:
        return None
    is_time_over = False
    try:
        is_time_over = _work(lease)
    except LeaseLost:
        logger.warning("portal %s: the lease was lost; another slice goes on", portal_id)
    finally:
        lease.release()
    # Who pressed Stop during the last request found the portal leased, and the job may wait for long now.
    deferrals.stop_unseen(portal_id)
    return 0.0 if is_time_over else _seconds_until_work(portal_id)


def _work(lease: Lease) -> bool:
    """Make steps until nothing is left to do; say whether the time was over first."""
    started = time.monotonic()
    while _run_step(lease):
        if time.monotonic() - started >= settings.SLICE_SECONDS:
            return True  # there is more to do, most likely; others first
    return False


def _run_step(lease: Lease) -> bool:
    """Do the next thing: a selection that somebody waits for, then the job that was left alone longest."""
    now = dates.now()
    collecting = selections.collecting(now).filter(person__portal=lease.portal_id)
    runnable = Job.objects.runnable(now).filter(~Exists(collecting), portal=lease.portal_id)
    jobs = runnable.exclude(person__portal__parked_until__gt=now).select_related("person__portal")
    if job := jobs.order_by(F("last_slice_at").asc(nulls_first=True), "id").first():
        _advance(job, lease)
        return True
    if selection := collecting.select_related("person__portal").order_by("created_at").first():
        selections.advance(selection, lease)
        return True
    return False


def _advance(job: Job, lease: Lease) -> None:
    """One step of one job; whatever stops it is written on the job, with the time to try again."""
    if job.stop_asked_at and deferrals.wind_up(job, lease):
        return
    try:
        credentials.act(job.person, lease, job.pk, lambda client: batches.run(job, client, lease))
    except LeaseLost:
        raise
    except CredentialRefused as error:
        _wait(job, lease, Job.Why.PERSON, error.code, None)
    except AccessLost as error:
        logger.warning("job %s: the portal refuses the app (%s)", job.pk, error.code)
        with transaction.atomic():
            lease.renew()
            refusals.note(job.person, error)
    except BitrixError as error:
        if isinstance(error, Expired):
            if not isinstance(error_for(job.waiting_code), Expired):
                job.setbacks = 0  # those before had other reasons
            elif job.setbacks >= RENEWALS:
                credentials.give_up(job.person)
                error = CredentialRefused(error.code)
        _wait(job, lease, *_reason_to_wait(job, error))
    except Exception:
        # A job that we cannot work on must neither stop the others of its portal nor come round at once.
        logger.exception("job %s cannot go on", job.pk)
        _wait(job, lease, Job.Why.ERROR, "internal", _backoff(job, 60.0))


def _reason_to_wait(job: Job, error: BitrixError) -> tuple[Job.Why, str, float]:
    """Why a job waits after an error that passes by itself, the vendor's word for it, and for how many seconds."""
    if isinstance(error, (TooManyRequests, OperatingLimit)):
        return Job.Why.LIMIT, error.code, error.delay
    if isinstance(error, Expired) and not job.setbacks:
        return Job.Why.PORTAL, error.code, 0.0  # the token is renewed by the next step
    return Job.Why.PORTAL, error.code, max(_backoff(job, 5.0), getattr(error, "delay", 0.0))


def _backoff(job: Job, seconds: float) -> float:
    scale: float = settings.TIME_SCALE
    return min(LONGEST_WAIT, seconds * 2.0 ** min(job.setbacks, MOST_DOUBLINGS)) / scale


def _wait(job: Job, lease: Lease, why: Job.Why, code: str, seconds: float | None) -> None:
    now = dates.now()
    with transaction.atomic():
        lease.renew()
        Job.objects.unfinished().filter(pk=job.pk).update(
            state=Job.State.WAITING,
            waiting_why=why,
            waiting_code=code[:100],
            waiting_until=None if seconds is None else now + timedelta(seconds=seconds),
            setbacks=min(job.setbacks + 1, MOST_DOUBLINGS),
            last_slice_at=now,
        )
