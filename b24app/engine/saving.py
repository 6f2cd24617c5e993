"""What a batch writes: the intent before the request, the outcomes after it. All of it needs the portal's lease."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, Min, Q
from django.db.models.functions import Coalesce

from b24app import clock
from b24app.clock import shared_now
from b24app.engine import choosing
from b24app.models import Job, JobItem
from b24app.portals.lease import Lease, LeaseLost

State, Step = JobItem.State, JobItem.Step

OUTCOME = [
    *("state", "step", "status_seen", "status_before", "sends", "direct"),
    *("refusal", "code", "vendor_code", "changed_at", "changed_by"),
]


def claim(job: Job, lease: Lease, items: Sequence[JobItem]) -> bool:
    """Mark the items as sent before the request leaves. Return False if the job was stopped in the meantime.

    Raises LeaseLost.
    """
    unchanged = Job.objects.unfinished().filter(pk=job.pk, stop_asked_at=job.stop_asked_at)
    mine = JobItem.objects.filter(pk__in=[item.pk for item in items], state=State.PENDING)
    with transaction.atomic():
        if not lease.try_renew(Q(Exists(unchanged))):
            lease.renew()
            return False
        claimed = mine.update(
            state=State.SENT,
            sent_at=shared_now(),
            sends=F("sends") + 1,
            status_before=Coalesce("status_before", "status_seen"),
        )
        if claimed != len(items):
            raise LeaseLost(f"job {job.pk}: another worker changed its items")
    for item in items:
        item.state, item.sends = State.SENT, item.sends + 1
        item.status_before = item.status_before or item.status_seen
    return True


def unclaim(lease: Lease, items: Sequence[JobItem]) -> None:
    """Mark the items as not sent: the answer proves that no command ran. Raises LeaseLost."""
    mine = JobItem.objects.filter(pk__in=[item.pk for item in items], state=State.SENT)
    with transaction.atomic():
        lease.renew()
        # The original status counts from the first change on, and nothing was changed yet.
        mine.filter(sends=1, step=Step.NONE, status_before=F("status_seen")).update(status_before=None)
        mine.update(state=State.PENDING, sends=F("sends") - 1)


def save_items(items: Sequence[JobItem], also: Mapping[str, object] | None) -> None:
    """Save the outcomes of `items`. `also` holds further values, the same for all; None if items differ in more.

    Most often all items have the same outcome: then one statement saves it.
    """
    outcomes = {tuple(getattr(item, name) for name in OUTCOME) for item in items}
    if also is not None and len(outcomes) == 1:
        (outcome,) = outcomes
        alike = JobItem.objects.filter(pk__in=[item.pk for item in items])
        alike.update(**dict(zip(OUTCOME, outcome, strict=True)), **also)
    else:
        # Not bulk_update: building its CASE WHEN for 50 rows takes longer than the rest of the batch.
        fields = [*OUTCOME, "title", "seen_at"]
        JobItem.objects.bulk_create(items, update_conflicts=True, update_fields=fields, unique_fields=["id"])


def save_progress(job: Job, items: Sequence[JobItem]) -> None:
    """Count the outcomes of `items` in the job: it runs, and whatever it waited for is over."""
    ended = Counter(item.state for item in items if item.state in JobItem.ENDED)
    Job.objects.filter(pk=job.pk).update(
        **{state: F(state) + number for state, number in ended.items()},
        state=Job.State.RUNNING,
        setbacks=0,
        wait_reason="",
        wait_code="",
        last_slice_at=clock.now(),
    )


def counts(job: Job) -> dict[str, int]:
    """How many items of a job ended in each state, by the fields of Job. One query."""
    found = dict(job.items.values_list("state").annotate(Count("id")))
    return {end.value: found.get(end, 0) for end in JobItem.ENDED}


def finish_or_wait(job: Job, lease: Lease) -> None:
    """Nothing can be sent or read now: finish the job, or let it wait.

    It waits until lost answers can be settled, or for tasks that another job has under way. Raises LeaseLost.
    """
    now = clock.now()
    wait = _wait_for_lost(job, now) or _wait_for_others(job, now)
    with transaction.atomic():
        lease.renew()
        end = {"state": Job.State.FINISHED, "finished_at": now, "wait_reason": ""}
        changes = wait or (end | counts(job))
        Job.objects.unfinished().filter(pk=job.pk).update(last_slice_at=now, **changes)


def _wait_for_lost(job: Job, now: datetime) -> dict[str, object] | None:
    """The fields of a job that waits for lost answers. None if it has none."""
    lost = job.items.filter(state=State.SENT).order_by("sent_at").annotate(at=shared_now())
    oldest = lost.values_list("sent_at", "at").first()
    if oldest is None:
        return None
    sent_at, at = oldest
    until = now + timedelta(seconds=settings.ENGINE_SETTLE_AFTER) - (at - sent_at)
    return {"state": Job.State.WAITING, "wait_reason": Job.WaitReason.PORTAL, "wait_until": until}


def _wait_for_others(job: Job, now: datetime) -> dict[str, object] | None:
    """The fields of a job whose remaining tasks other jobs have under way. None if no task remains.

    It looks again when the first of those jobs continues, but not at once, and after ENGINE_SETTLE_AFTER at the latest:
    a person may stop that job. There is no wait reason, because there is nothing to show or to remove.
    """
    pending = job.items.filter(state=State.PENDING)
    if not pending.exists():
        return None
    blockers = choosing.under_way_elsewhere(job).filter(task_id__in=pending.values("task_id"))
    continues = blockers.aggregate(at=Min(Coalesce("job__wait_until", now)))["at"] or now
    soon, latest = (
        now + timedelta(seconds=wait) for wait in (settings.ENGINE_LOOK_AGAIN, settings.ENGINE_SETTLE_AFTER)
    )
    return {"state": Job.State.WAITING, "wait_reason": "", "wait_until": min(max(soon, continues), latest)}
