"""The ledger of deferred tasks: recorded, ended, and after a reinstall adopted or discarded by an administrator."""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from b24app.bitrix.tasks import TaskState
from b24app.models import Deferral, Job, JobItem, OrphanedDeferral, Person
from b24app.portals import uninstall


def adopted(admin: Person) -> QuerySet[Deferral]:
    """The tasks from before a reinstall that this administrator adopted and that are still deferred."""
    return Deferral.objects.live().filter(person=admin, item=None)


def record(job: Job, deferred: Sequence[tuple[JobItem, TaskState | None]], now: datetime) -> list[JobItem]:
    """Record deferrals for items that were just deferred. Call it in the transaction that saves their outcome.

    `deferred` pairs each item with its task after the change, if the portal showed it. If the status has not changed
    since an earlier live deferral, that deferral stays and knows the original status; such items are returned. Any
    other live deferral of the task is overtaken: another user has resumed the task since.
    """
    live = Deferral.objects.live().filter(portal=job.portal_id, task_id__in=[item.task_id for item, _ in deferred])
    since = dict(live.values_list("task_id", "status_changed_at")) if deferred else {}
    repeated = [
        item for item, found in deferred if found and _is_same(found.status_changed_at, since.get(item.task_id))
    ]
    recorded = [
        Deferral(
            portal_id=job.portal_id,
            person_id=job.person_id,
            item=item,
            task_id=item.task_id,
            previous_status=item.status_before,  # type: ignore[misc]  # set by the claim of every sent item
            status_changed_at=found.status_changed_at if found else None,
            created_at=now,
        )
        for item, found in deferred
        if item not in repeated
    ]
    if since:
        live.filter(task_id__in=[one.task_id for one in recorded]).update(state=Deferral.State.OVERTAKEN)
    if recorded:
        Deferral.objects.bulk_create(recorded)
    return repeated


def _is_same(changed_at: datetime | None, since: datetime | None) -> bool:
    """True if both times are known and equal: no user has changed the status since."""
    return changed_at is not None and changed_at == since


def record_ends(items: Sequence[JobItem]) -> list[JobItem]:
    """End the deferrals of items whose return has ended. Call it in the transaction that saves their outcome.

    If the return failed, the deferral stays live. Returns the items that are done although their deferral had ended
    before: another item returned the task, and the command of this one changed nothing.
    """
    live = Deferral.objects.live()
    still_live: set[int | None] = set()
    ended: dict[str, list[int]] = {}
    for item in items:
        if item.returns_id:
            ended.setdefault(item.state, []).append(item.returns_id)
    if returned := ended.get(JobItem.State.DONE):
        still_live.update(live.filter(pk__in=returned).values_list("pk", flat=True))
        live.filter(pk__in=returned).update(state=Deferral.State.RETURNED)
    if overtaken := ended.get(JobItem.State.SKIPPED):
        live.filter(pk__in=overtaken).update(state=Deferral.State.OVERTAKEN)
    done = [item for item in items if item.state == JobItem.State.DONE and item.returns_id]
    return [item for item in done if item.returns_id not in still_live]


def count_orphans(person: Person) -> int:
    """How many tasks from before a reinstall are still deferred. 0 for people who are not administrators."""
    is_told = person.is_admin and uninstall.was_uninstalled(person.portal)
    return OrphanedDeferral.objects.filter(portal=person.portal_id).count() if is_told else 0


def adopt(admin: Person) -> int:
    """Make this administrator responsible for the orphaned deferrals. Return their number. Safe to repeat."""
    orphans = list(OrphanedDeferral.objects.filter(portal=admin.portal_id))
    with transaction.atomic():
        Deferral.objects.bulk_create(
            (
                Deferral(
                    portal_id=admin.portal_id,
                    person=admin,
                    task_id=task.task_id,
                    previous_status=task.previous_status,
                    status_changed_at=task.status_changed_at,
                    created_at=task.deferred_at,
                )
                for task in orphans
            ),
            ignore_conflicts=True,
        )
        OrphanedDeferral.objects.filter(pk__in=[task.pk for task in orphans]).delete()
    return len(orphans)


def discard(admin: Person) -> None:
    """Delete the orphaned deferrals: the administrator does not want to return them. The tasks stay as they are."""
    OrphanedDeferral.objects.filter(portal=admin.portal_id).delete()
