"""Which portals have work, and when; at most one message about each."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Min, Q

from b24app import clock
from b24app.clock import shared_now
from b24app.engine import selections
from b24app.models import Job, Portal, Selection
from b24app.portals.lease import Lease


def portals_with_work() -> list[int]:
    """The portals that have work now and no worker, the one that waited longest first."""
    now = clock.now()
    of_jobs = Job.objects.runnable(now).exclude(portal__parked_until__gt=now).values("portal")
    of_selections = selections.collecting(now).values("person__portal")
    # A union of two short lists: with OR the database would scan every portal.
    waiting = Portal.objects.filter(Lease.free(), pk__in=of_jobs.union(of_selections), status=Portal.Status.ACTIVE)
    return list(waiting.order_by(F("last_slice_at").asc(nulls_first=True)).values_list("pk", flat=True))


def not_parked(now: datetime) -> Q:
    """Condition: portals that are not parked. Requests made for an open page ignore parking."""
    return Q(parked_until=None) | Q(parked_until__lte=now)


def seconds_until_work(portal_id: int) -> float | None:
    """Seconds until the next slice of this portal is due: 0 for immediately, None if there is no work."""
    now = clock.now()
    jobs = Job.objects.filter(portal=portal_id)
    of_portal = Selection.objects.filter(person__portal=portal_id, state=Selection.State.COLLECTING)
    if selections.collecting(now).filter(pk__in=of_portal).exists():
        return 0.0
    if not Portal.objects.filter(not_parked(now), pk=portal_id).exists():
        return None  # the sweep will find it when the parking is over
    if jobs.runnable(now).exists():
        return 0.0
    job_at = jobs.filter(state=Job.State.WAITING, wait_until__gt=now).aggregate(at=Min("wait_until"))
    selection_at = of_portal.filter(try_at__gt=now).aggregate(at=Min("try_at"))
    moments = [found["at"] for found in (job_at, selection_at) if found["at"]]
    return float((min(moments) - now).total_seconds()) if moments else None


def claim_message(portal_id: int, seconds: float) -> bool:
    """Return True if a message about this portal, due in `seconds`, should be sent now.

    False if a message that is due by then is under way. A message counts as lost if it is overdue by
    ENGINE_MESSAGE_LOST_AFTER seconds.
    """
    now = shared_now()
    due = now + timedelta(seconds=seconds)
    lost = Q(message_due_at__lte=now - timedelta(seconds=settings.ENGINE_MESSAGE_LOST_AFTER))
    free = Portal.objects.filter(Q(message_due_at=None) | Q(message_due_at__gt=due) | lost, pk=portal_id)
    return free.update(message_due_at=due) == 1


def message_received(portal_id: int) -> bool:
    """A worker has read a message about this portal, so the next may be sent. Return True if work is due.

    False if the message under way is due later: the sender's clock was behind ours.
    """
    early = timedelta(seconds=1)  # a broker may deliver slightly early
    is_due = Q(message_due_at=None) | Q(message_due_at__lte=shared_now() + early)
    return Portal.objects.filter(is_due, pk=portal_id).update(message_due_at=None) == 1


def release_message(portal_id: int) -> None:
    """The message that was claimed could not be sent."""
    Portal.objects.filter(pk=portal_id).update(message_due_at=None)
