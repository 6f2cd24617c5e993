"""The ledger: tasks that the app has deferred and must be able to return."""

from typing import Self

from django.db import models
from django.db.models import Q

from b24app.models.job import JobItem
from b24app.models.people import Person
from b24app.models.portal import Portal


class DeferralQuerySet(models.QuerySet["Deferral"]):
    def live(self) -> Self:
        return self.filter(state__in=Deferral.LIVE)


class Deferral(models.Model):
    """A task that the app has deferred, and that it must be able to return. It stays after its job has finished."""

    class State(models.TextChoices):
        SLEEPING = "sleeping"
        RETURNED = "returned"
        OVERTAKEN = "overtaken"  # another user has changed the task since

    LIVE = [State.SLEEPING]

    portal = models.ForeignKey(Portal, models.CASCADE, related_name="deferrals")
    person = models.ForeignKey(Person, models.CASCADE, related_name="deferrals")
    # None if it was adopted after a reinstall.
    item = models.OneToOneField(JobItem, models.CASCADE, null=True, related_name="deferral")
    task_id = models.PositiveBigIntegerField()
    previous_status = models.PositiveSmallIntegerField()
    # By our call, by the portal's clock. A later time at the portal means that another user has changed the task.
    status_changed_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=16, choices=State, default=State.SLEEPING)
    created_at = models.DateTimeField()

    objects = DeferralQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["portal", "task_id"], condition=Q(state="sleeping"), name="one_live_deferral_per_task"
            )
        ]

    def __str__(self) -> str:
        return f"deferral {self.pk}"


class OrphanedDeferral(models.Model):
    """A task that was still deferred by the app when the app was uninstalled. It holds no names.

    After a reinstall an administrator adopts or discards it. It is deleted after 90 days.
    """

    portal = models.ForeignKey(Portal, models.CASCADE, related_name="orphans")
    task_id = models.PositiveBigIntegerField()
    previous_status = models.PositiveSmallIntegerField()
    status_changed_at = models.DateTimeField(null=True)
    deferred_at = models.DateTimeField()
    kept_until = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["portal", "task_id"], name="one_orphan_per_task")]
