"""The engine: short slices of work, at most one at a time per portal.

A slice makes steps until its time is over: collect a selection that somebody waits for, or move a job on by one
batch (batches.py). Whatever stops a job is written on it, with the time to try again.
"""

import logging
import time
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F

from b24app import clock
from b24app.bitrix.errors import (
    AccessLost,
    BitrixError,
    CredentialRefused,
    OperatingLimit,
    TokenExpired,
    TooManyRequests,
    error_for,
)
from b24app.engine import batches, jobs, queue, selections
from b24app.models import Job
from b24app.portals import access, clients, credentials
from b24app.portals.lease import Lease, LeaseLost

logger = logging.getLogger(__name__)
RENEWALS = 3  # in a row, that the portal did not take; then the person has to come back
LONGEST_WAIT = 3600.0  # waits double with every setback up to this
MOST_DOUBLINGS = 20  # setbacks that are counted: far beyond the longest wait


def run(portal_id: int) -> float | None:
    """Work on one portal for about settings.SLICE_SECONDS, unless another slice is at it.

    Returns in how many seconds the next slice should look at this portal: 0 for at once, None when nothing is to be
    expected, or somebody else is at it. May be called any number of times, by any number of workers: the lease lets
    one in. Waiting is written on the job and never slept here.
    """
    lease = Lease.acquire(portal_id)
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
    jobs.finish_stopped(portal_id)
    return 0.0 if is_time_over else queue.seconds_until_work(portal_id)


def _work(lease: Lease) -> bool:
    """Make steps until nothing is left to do; say whether the time was over first."""
    started = time.monotonic()
    while _run_step(lease):
        if time.monotonic() - started >= settings.SLICE_SECONDS:
            return True  # there is more to do, most likely; others first
    return False


def _run_step(lease: Lease) -> bool:
    """Do the next thing: a selection that somebody waits for, then the job that was left alone longest."""
    now = clock.now()
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
    if job.stop_asked_at and jobs.cancel_untouched(job, lease):
        return
    try:
        clients.act(job.person, lease, job.pk, lambda client: batches.run(job, client, lease))
    except LeaseLost:
        raise
    except CredentialRefused as error:
        _wait(job, lease, Job.WaitReason.PERSON, error.code, None)
    except AccessLost as error:
        logger.warning("job %s: the portal refuses the app (%s)", job.pk, error.code)
        with transaction.atomic():
            lease.renew()
            access.record(job.person, error)
    except BitrixError as error:
        if isinstance(error, TokenExpired):
            if not isinstance(error_for(job.wait_code), TokenExpired):
                job.setbacks = 0  # those before had other reasons
            elif job.setbacks >= RENEWALS:
                credentials.give_up(job.person)
                error = CredentialRefused(error.code)
        _wait(job, lease, *_reason_to_wait(job, error))
    except Exception:
        # A job that we cannot work on must neither stop the others of its portal nor come round at once.
        logger.exception("job %s cannot go on", job.pk)
        _wait(job, lease, Job.WaitReason.ERROR, "internal", _backoff(job, 60.0))


def _reason_to_wait(job: Job, error: BitrixError) -> tuple[Job.WaitReason, str, float]:
    """Why a job waits after an error that passes by itself, the vendor's word for it, and for how many seconds."""
    if isinstance(error, (TooManyRequests, OperatingLimit)):
        return Job.WaitReason.LIMIT, error.code, error.delay
    if isinstance(error, TokenExpired) and not job.setbacks:
        return Job.WaitReason.PORTAL, error.code, 0.0  # the token is renewed by the next step
    return Job.WaitReason.PORTAL, error.code, max(_backoff(job, 5.0), getattr(error, "delay", 0.0))


def _backoff(job: Job, seconds: float) -> float:
    scale: float = settings.TIME_SCALE
    return min(LONGEST_WAIT, seconds * 2.0 ** min(job.setbacks, MOST_DOUBLINGS)) / scale


def _wait(job: Job, lease: Lease, why: Job.WaitReason, code: str, seconds: float | None) -> None:
    now = clock.now()
    with transaction.atomic():
        lease.renew()
        Job.objects.unfinished().filter(pk=job.pk).update(
            state=Job.State.WAITING,
            wait_reason=why,
            wait_code=code[:100],
            wait_until=None if seconds is None else now + timedelta(seconds=seconds),
            setbacks=min(job.setbacks + 1, MOST_DOUBLINGS),
            last_slice_at=now,
        )
