"""What the app must return: tasks that are deferred because of us."""

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
    """The standing fact that a task sleeps because of us. Lives longer than its job: it is what we owe."""

    class State(models.TextChoices):
        SLEEPING = "sleeping"
        RETURNED = "returned"
        OVERTAKEN = "overtaken"  # somebody else has changed the task since

    LIVE = [State.SLEEPING]

    portal = models.ForeignKey(Portal, models.CASCADE, related_name="deferrals")
    person = models.ForeignKey(Person, models.CASCADE, related_name="deferrals")
    # None for one that was taken over from before the app was installed anew.
    item = models.OneToOneField(JobItem, models.CASCADE, null=True, related_name="deferral")
    task_id = models.PositiveBigIntegerField()
    previous_status = models.PositiveSmallIntegerField()
    status_changed_at = models.DateTimeField(null=True)  # after our act, by the portal's clock: proves it was ours
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
    """A task that slept because of us when the app was removed: what we owed, without anybody's name.

    An admin takes it over or deletes it after installing the app again; else it is deleted after 90 days.
    """

    portal = models.ForeignKey(Portal, models.CASCADE, related_name="orphans")
    task_id = models.PositiveBigIntegerField()
    previous_status = models.PositiveSmallIntegerField()
    status_changed_at = models.DateTimeField(null=True)
    deferred_at = models.DateTimeField()
    kept_until = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["portal", "task_id"], name="one_orphan_per_task")]
