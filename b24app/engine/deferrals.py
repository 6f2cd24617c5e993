"""The ledger of what we must return: recorded, ended, orphaned by an uninstall, adopted by an administrator."""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from b24app.bitrix.tasks import TaskState
from b24app.models import (
    Deferral,
    Job,
    JobItem,
    OrphanedDeferral,
    Person,
)
from b24app.portals import uninstall


def adopted(admin: Person) -> QuerySet[Deferral]:
    """What this admin has taken over from before the app was installed anew, and what still sleeps of it."""
    return Deferral.objects.live().filter(person=admin, item=None)


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
        if item.returns_id:
            ended.setdefault(item.state, []).append(item.returns_id)
    if woken := ended.get(JobItem.State.DONE):
        live.filter(pk__in=woken).update(state=Deferral.State.RETURNED)
    if overtaken := ended.get(JobItem.State.SKIPPED):
        live.filter(pk__in=overtaken).update(state=Deferral.State.OVERTAKEN)


def count_orphans(person: Person) -> int:
    """How many tasks still sleep from before the app was installed anew; only admins are told."""
    is_told = person.is_admin and uninstall.was_uninstalled(person.portal)
    return OrphanedDeferral.objects.filter(portal=person.portal_id).count() if is_told else 0


def adopt(admin: Person) -> int:
    """What was owed before becomes this admin's to return; says how many tasks. May be repeated."""
    owed = list(OrphanedDeferral.objects.filter(portal=admin.portal_id))
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
                for task in owed
            ),
            ignore_conflicts=True,
        )
        OrphanedDeferral.objects.filter(pk__in=[task.pk for task in owed]).delete()
    return len(owed)


def discard(admin: Person) -> None:
    """The admin does not want the list of what was owed before: delete it. The tasks stay as they are."""
    OrphanedDeferral.objects.filter(portal=admin.portal_id).delete()
