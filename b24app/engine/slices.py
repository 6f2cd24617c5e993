"""Short slices of work, at most one at a time per portal.

A slice does one thing after the other until its time is over: one batch of a job (batches.py), or one request for a
selection that a person waits for. If an error stops a job, the job gets the reason and the time of the next attempt.
"""

import logging
import time
from dataclasses import dataclass
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

RENEWALS = 3  # renewed tokens in a row that the portal rejects; then the person must open the app again
LONGEST_WAIT = 3600.0  # seconds; pauses double with every setback up to this
MOST_DOUBLINGS = 20  # setbacks that count; far more than the longest wait needs


def run(portal_id: int) -> float | None:
    """Work on one portal for about ENGINE_SLICE_SECONDS, unless another worker holds its lease.

    Return the seconds until the next slice is due: 0 for immediately, None if there is no work or another worker holds
    the lease. Safe to call at any time, by any number of workers. It never sleeps: a wait is a time on the job.
    """
    lease = Lease.acquire(portal_id)
    if lease is None:
        return None
    is_time_over = False
    try:
        is_time_over = _work(lease)
    except LeaseLost:
        logger.warning("portal %s: lease lost; another worker continues", portal_id)
    finally:
        lease.release()
    # If Stop was pressed during the last request, it could not take the lease. Finish that job now; otherwise it could
    # wait for hours.
    jobs.finish_stopped(portal_id)
    return 0.0 if is_time_over else queue.seconds_until_work(portal_id)


def _work(lease: Lease) -> bool:
    """Do what is due until nothing is left. Return True if the time was over first."""
    started = time.monotonic()
    while _do_next(lease):
        if time.monotonic() - started >= settings.ENGINE_SLICE_SECONDS:
            return True  # more is probably due; other portals get their turn first
    return False


def _do_next(lease: Lease) -> bool:
    """Do the next thing: a batch of the job that waited longest, unless a person waits for a selection."""
    now = clock.now()
    collecting = selections.collecting(now).filter(person__portal=lease.portal_id)
    runnable = Job.objects.runnable(now).filter(~Exists(collecting), portal=lease.portal_id)
    due = runnable.exclude(person__portal__parked_until__gt=now).select_related("person__portal")
    if job := due.order_by(F("last_slice_at").asc(nulls_first=True), "id").first():
        _advance(job, lease)
        return True
    if selection := collecting.select_related("person__portal").order_by("created_at").first():
        selections.advance(selection, lease)
        return True
    return False


def _advance(job: Job, lease: Lease) -> None:
    """Run one batch of a job. If an error stops it, save the reason and the time of the next attempt.

    A failing job must not block the other jobs of the portal, and must not be tried again immediately.
    """
    if job.stop_asked_at and jobs.cancel_untouched(job, lease):
        return
    try:
        clients.act(job.person, lease, job.pk, lambda client: batches.run(job, client, lease))
    except LeaseLost:
        raise
    except Exception as error:
        _save_stop(job, lease, error)


def _save_stop(job: Job, lease: Lease, error: Exception) -> None:
    """Save on the job, or on its portal, what stopped it. Raises LeaseLost."""
    if isinstance(error, AccessLost) and not isinstance(error, CredentialRefused):
        logger.warning("job %s: the portal rejects the app (%s)", job.pk, error.code)
        with transaction.atomic():
            lease.renew()
            access.record(job.person, error)
        return
    if not isinstance(error, BitrixError):
        logger.error("job %s: stopped by an internal error", job.pk, exc_info=error)
    wait = stopped_by(job, error)
    if isinstance(error, TokenExpired) and wait.reason == Job.WaitReason.PERSON:
        credentials.give_up(job.person)
    _save_wait(job, lease, wait)


@dataclass(frozen=True)
class Wait:
    """Why a job waits, the portal's error code, for how long, and how many setbacks there were in a row.

    `seconds` is None if the job waits until its person acts.
    """

    reason: Job.WaitReason
    code: str
    seconds: float | None
    setbacks: int


def stopped_by(job: Job, error: Exception) -> Wait:
    """How long a job waits after this error, and why."""
    setbacks = job.setbacks
    if isinstance(error, TokenExpired) and not isinstance(error_for(job.wait_code), TokenExpired):
        setbacks = 0  # the setbacks before had other reasons
    match error:
        case TokenExpired() if setbacks >= RENEWALS:
            return Wait(Job.WaitReason.PERSON, error.code, None, setbacks)
        case CredentialRefused():
            return Wait(Job.WaitReason.PERSON, error.code, None, setbacks)
        case TokenExpired() if setbacks == 0:  # the next attempt renews the token
            return Wait(Job.WaitReason.PORTAL, error.code, 0.0, setbacks)
        case TooManyRequests() | OperatingLimit():
            return Wait(Job.WaitReason.LIMIT, error.code, error.delay, setbacks)
        case BitrixError():
            seconds = max(_backoff(setbacks, 5.0), getattr(error, "delay", 0.0))
            return Wait(Job.WaitReason.PORTAL, error.code, seconds, setbacks)
        case _:
            return Wait(Job.WaitReason.ERROR, "internal", _backoff(setbacks, 60.0), setbacks)


def _backoff(setbacks: int, seconds: float) -> float:
    """A pause of `seconds` that doubles with every setback."""
    scale: float = settings.TIME_SCALE
    return min(LONGEST_WAIT, seconds * 2.0 ** min(setbacks, MOST_DOUBLINGS)) / scale


def _save_wait(job: Job, lease: Lease, wait: Wait) -> None:
    now = clock.now()
    with transaction.atomic():
        lease.renew()
        Job.objects.unfinished().filter(pk=job.pk).update(
            state=Job.State.WAITING,
            wait_reason=wait.reason,
            wait_code=wait.code[:100],
            wait_until=None if wait.seconds is None else now + timedelta(seconds=wait.seconds),
            setbacks=min(wait.setbacks + 1, MOST_DOUBLINGS),
            last_slice_at=now,
        )
