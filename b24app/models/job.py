"""Jobs: what a person asked for, and the outcome for each task."""

import uuid
from datetime import datetime
from typing import Self

from django.db import connection, models
from django.db.models import Exists, OuterRef, Q

from b24app.models.people import Credential, Person
from b24app.models.portal import Portal
from b24app.models.selection import SelectedTask, Selection


class JobQuerySet(models.QuerySet["Job"]):
    def unfinished(self) -> Self:
        return self.exclude(state=Job.State.FINISHED)

    def runnable(self, now: datetime) -> Self:
        """Jobs that a slice can work on at `now`: for each person, the first one that does not wait."""
        active = [Job.State.QUEUED, Job.State.RUNNING]
        waited = Q(state=Job.State.WAITING, wait_until__lte=now)
        # A job that waits for its person becomes runnable as soon as the credential is usable, however that happened.
        waited |= Q(
            state=Job.State.WAITING,
            wait_reason=Job.WaitReason.PERSON,
            person__credential__state=Credential.State.USABLE,
        )
        earlier = Job.objects.filter(person=OuterRef("person"), pk__lt=OuterRef("pk"), state__in=active)
        return self.filter(Q(state__in=active) | waited).exclude(Exists(earlier))


class Job(models.Model):
    """One request of one person for a frozen list of tasks: defer them, or return them to their previous status."""

    class Kind(models.TextChoices):
        DEFER = "defer"
        RETURN = "return"

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        WAITING = "waiting"
        FINISHED = "finished"

    class WaitReason(models.TextChoices):
        """What a job waits for, or all jobs of a portal."""

        PERSON = "person"  # must open the app again: the credential was rejected
        PORTAL = "portal"  # does not answer
        LIMIT = "limit"  # of requests or operating time is reached
        ERROR = "error"  # in the app or its registration: we must fix it
        # The portal rejects the app, for this person or for all users (portals/access.py).
        DISMISSED = "dismissed"  # this person no longer works there
        RESTRICTED = "restricted"  # this person may not use the app
        PLAN = "plan"  # the portal's plan does not include apps
        PAYMENT = "payment"  # the app's subscription has ended
        SCOPE = "scope"  # the app has lost a permission
        CONFIRM = "confirm"  # an administrator must confirm a method
        OVERLOAD = "overload"  # the portal has blocked the app for a while
        DELETED = "deleted"  # the portal was deleted
        ACCESS = "access"  # rejected for an unknown reason

    portal = models.ForeignKey(Portal, models.CASCADE, related_name="jobs")
    person = models.ForeignKey(Person, models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.DEFER, db_default=Kind.DEFER)
    key = models.CharField(max_length=64)  # made by the page: sending the same request twice creates one job
    digest = models.CharField(max_length=64)  # of the request: the same key with another request is an error
    original = models.ForeignKey("self", models.SET_NULL, null=True, related_name="+")  # this job continues it
    reason = models.CharField(max_length=500, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    wait_reason = models.CharField(max_length=10, choices=WaitReason, blank=True)
    wait_until = models.DateTimeField(null=True)  # None while waiting: until a person acts
    wait_code = models.CharField(max_length=100, blank=True)  # the portal's error code, for support
    setbacks = models.PositiveSmallIntegerField(default=0)  # in a row; each makes the next wait longer
    total = models.PositiveIntegerField()
    done = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    cancelled = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    last_slice_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    stop_asked_at = models.DateTimeField(null=True)
    dismissed_at = models.DateTimeField(null=True)  # the person has seen the result and closed it

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["person", "key"], name="one_job_per_key")]
        indexes = [
            models.Index(
                fields=["portal", "last_slice_at"],
                condition=~Q(state="finished"),
                name="unfinished_jobs",
            )
        ]

    def __str__(self) -> str:
        return f"job {self.pk}"

    @property
    def settled(self) -> int:
        """How many items have an outcome."""
        return self.done + self.skipped + self.failed + self.cancelled


class JobItemQuerySet(models.QuerySet["JobItem"]):
    def under_way(self) -> Self:
        """Items whose outcome is open and whose task the app may have changed: sent, sent before, or half done."""
        return self.filter(JobItem.UNDER_WAY)

    def copy_selected(self, job: Job, selection: Selection) -> None:
        """Create an item of a new job for each task of a selection, in the same order.

        One INSERT … SELECT: preparing 5,000 rows in Python would take longer than the rest of starting a job.
        """
        fields = [field for field in self.model._meta.concrete_fields if not field.primary_key]
        values = {str(field.column): field.get_default() for field in fields}
        values["job_id"] = job.pk
        copied = {"task_id", "title"}
        chosen = [column if column in copied else "%s" for column in values]
        source, target = SelectedTask._meta.db_table, self.model._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {target} ({', '.join(values)}) SELECT {', '.join(chosen)} FROM {source}"  # noqa: S608
                " WHERE selection_id = %s ORDER BY id",  # safe: it contains only our own table and column names
                [*(values[column] for column in values if column not in copied), _database_id(selection.pk)],
            )


def _database_id(id: uuid.UUID) -> str:
    """A UUID in the form that this database stores."""
    return str(Selection._meta.pk.get_db_prep_value(id, connection))


class JobItem(models.Model):
    """One task of a job. `state` only moves forward, except from sent to pending if nothing was applied."""

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        DONE = "done"
        SKIPPED = "skipped"
        FAILED = "failed"
        CANCELLED = "cancelled"  # the person stopped the job before this one was touched

    class Step(models.TextChoices):
        """How far a change that takes two calls has got."""

        NONE = "none"
        PAUSED = "paused"  # by us; defer it next
        RESTORING = "restoring"  # paused by us, and deferring was refused: start it again
        RENEWED = "renewed"  # by us; start it next

    class Code(models.TextChoices):
        """Why an item was skipped or failed, or is done only in part."""

        ALREADY_DEFERRED = "already_deferred"
        COMPLETED = "completed"
        AWAITING_CONTROL = "awaiting_control"
        DECLINED = "declined"
        GONE = "gone"
        NOT_PERMITTED = "not_permitted"
        CHANGING = "changing"  # another user kept changing it
        REFUSED = "refused"  # for an unknown reason
        LEFT_PAUSED = "left_paused"  # neither deferred nor started again
        STOPPED = "stopped"  # by the person who asked for the job
        AWAKE = "awake"  # another user has resumed it
        DEFERRED_ANEW = "deferred_anew"  # by another user, after we deferred it
        NOT_STARTED = "not_started"  # returned, but the person may not start it, and it was in progress before

    ENDED = (State.DONE, State.SKIPPED, State.FAILED, State.CANCELLED)
    UNDER_WAY = Q(state=State.SENT) | Q(Q(sends__gt=0) | ~Q(step=Step.NONE), state=State.PENDING)

    job = models.ForeignKey(Job, models.CASCADE, related_name="items")
    task_id = models.PositiveBigIntegerField()
    title = models.CharField(max_length=300, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    step = models.CharField(max_length=10, choices=Step, default=Step.NONE)
    status_seen = models.PositiveSmallIntegerField(null=True)  # the real status when the task was last read
    seen_at = models.DateTimeField(null=True)
    # The status before our first change; for a task to return, the status before it was deferred.
    status_before = models.PositiveSmallIntegerField(null=True)
    # The deferral that a return ends.
    returns = models.ForeignKey("Deferral", models.SET_NULL, null=True, related_name="+", db_index=False)
    direct = models.BooleanField(default=False)  # the last send, or the next one, defers without a pause
    sends = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    refusal = models.CharField(max_length=100, blank=True)  # the code of a refusal, until the task is read
    code = models.CharField(max_length=20, choices=Code, blank=True)
    vendor_code = models.CharField(max_length=100, blank=True)  # the portal's error code, for support
    changed_at = models.DateTimeField(null=True)  # when another user changed the status, by the portal's clock
    # The user who changed it, or who may change it if our person may not.
    changed_by = models.CharField(max_length=200, blank=True, default="", db_default="")

    objects = JobItemQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "task_id"], name="one_item_per_task")]
        indexes = [
            models.Index(fields=["job", "state", "id"], name="items_by_state"),
            models.Index(fields=["returns"], condition=Q(returns__isnull=False), name="items_that_return"),
            models.Index(
                fields=["job"],
                condition=Q(state="sent") | Q(Q(sends__gt=0) | ~Q(step="none"), state="pending"),
                name="items_under_way",
            ),
        ]

    def __str__(self) -> str:
        return f"item {self.pk}"
