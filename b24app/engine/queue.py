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
    """The portals that a slice could do something for now, longest neglected first."""
    now = clock.now()
    of_jobs = Job.objects.runnable(now).exclude(portal__parked_until__gt=now).values("portal")
    of_selections = selections.collecting(now).values("person__portal")
    # Two short lists made one: with an OR the database would look at every portal.
    waiting = Portal.objects.filter(Lease.free(), pk__in=of_jobs.union(of_selections), status=Portal.Status.ACTIVE)
    return list(waiting.order_by(F("last_slice_at").asc(nulls_first=True)).values_list("pk", flat=True))


def not_parked(now: datetime) -> Q:
    """Portals whose jobs may ask, as a condition. What somebody waits for at a page asks in any case."""
    return Q(parked_until=None) | Q(parked_until__lte=now)


def seconds_until_work(portal_id: int) -> float | None:
    """When a slice should look at this portal again: 0 for at once, None when nothing is to be expected."""
    now = clock.now()
    jobs = Job.objects.filter(portal=portal_id)
    of_portal = Selection.objects.filter(person__portal=portal_id, state=Selection.State.COLLECTING)
    if selections.collecting(now).filter(pk__in=of_portal).exists():
        return 0.0
    if not Portal.objects.filter(not_parked(now), pk=portal_id).exists():
        return None  # the sweep looks again when its time has come
    if jobs.runnable(now).exists():
        return 0.0
    job_at = jobs.filter(state=Job.State.WAITING, wait_until__gt=now).aggregate(at=Min("wait_until"))
    selection_at = of_portal.filter(try_at__gt=now).aggregate(at=Min("try_at"))
    moments = [found["at"] for found in (job_at, selection_at) if found["at"]]
    return float((min(moments) - now).total_seconds()) if moments else None


def claim_message(portal_id: int, seconds: float) -> bool:
    """Whether to send a message about this portal for in `seconds`: not while one is under way that is due by then.

    One that should have been read long ago is taken for lost.
    """
    now = shared_now()
    due = now + timedelta(seconds=seconds)
    lost = Q(message_due_at__lte=now - timedelta(seconds=settings.MESSAGE_LOST))
    free = Portal.objects.filter(Q(message_due_at=None) | Q(message_due_at__gt=due) | lost, pk=portal_id)
    return free.update(message_due_at=due) == 1


def message_received(portal_id: int) -> bool:
    """A message about this portal has been read: the next may be sent. Says whether it is time to work.

    It is not when the only message under way is due later: the sender's clock was behind ours.
    """
    early = timedelta(seconds=1)  # a broker may be early a little
    is_due = Q(message_due_at=None) | Q(message_due_at__lte=shared_now() + early)
    return Portal.objects.filter(is_due, pk=portal_id).update(message_due_at=None) == 1


def release_message(portal_id: int) -> None:
    """No message about this portal could be sent."""
    Portal.objects.filter(pk=portal_id).update(message_due_at=None)
