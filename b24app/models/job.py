"""What a person asked for, and the outcome for each task."""

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
        """Jobs that a slice could work on at `now`: of each person, the first that does not wait."""
        active = [Job.State.QUEUED, Job.State.RUNNING]
        waited = Q(state=Job.State.WAITING, wait_until__lte=now)
        # Whoever came back in whatever way: what a job waited for is the state of the credential, not an event.
        waited |= Q(
            state=Job.State.WAITING,
            wait_reason=Job.WaitReason.PERSON,
            person__credential__state=Credential.State.USABLE,
        )
        earlier = Job.objects.filter(person=OuterRef("person"), pk__lt=OuterRef("pk"), state__in=active)
        return self.filter(Q(state__in=active) | waited).exclude(Exists(earlier))


class Job(models.Model):
    """One request of one person over a frozen list of tasks: defer them, or return them to what they were."""

    class Kind(models.TextChoices):
        DEFER = "defer"
        RETURN = "return"

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        WAITING = "waiting"
        FINISHED = "finished"

    class WaitReason(models.TextChoices):
        """What a job waits for, or the jobs of a whole portal do."""

        PERSON = "person"  # to open the app again: the credential was refused
        PORTAL = "portal"  # to answer
        LIMIT = "limit"  # of requests or operating time to pass
        ERROR = "error"  # us to mend something
        # The portal refuses the app, to this person or to everybody (refusals.py).
        DISMISSED = "dismissed"  # this person works there no more
        RESTRICTED = "restricted"  # this person may not use the app
        PLAN = "plan"  # the portal's plan has no apps
        PAYMENT = "payment"  # the app's subscription has ended
        SCOPE = "scope"  # a permission was taken from the app
        CONFIRM = "confirm"  # an administrator to confirm a method
        OVERLOAD = "overload"  # the portal has blocked the app for a while
        DELETED = "deleted"  # the portal
        ACCESS = "access"  # for a reason that we do not know

    portal = models.ForeignKey(Portal, models.CASCADE, related_name="jobs")
    person = models.ForeignKey(Person, models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.DEFER, db_default=Kind.DEFER)
    key = models.CharField(max_length=64)  # made by the page: the same request twice is one job
    digest = models.CharField(max_length=64)  # of what was asked: the same key for something else is refused
    original = models.ForeignKey("self", models.SET_NULL, null=True, related_name="+")  # whose rest this goes on with
    reason = models.CharField(max_length=500, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    wait_reason = models.CharField(max_length=10, choices=WaitReason, blank=True)
    wait_until = models.DateTimeField(null=True)  # None while waiting: until somebody acts
    wait_code = models.CharField(max_length=100, blank=True)  # the portal's word for it, for support
    setbacks = models.PositiveSmallIntegerField(default=0)  # in a row; waits grow with it
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
        """How many items have their outcome."""
        return self.done + self.skipped + self.failed + self.cancelled


class JobItem(models.Model):
    """One task of a job. `state` moves forward only; back from sent to pending only when nothing was applied."""

    class State(models.TextChoices):
        PENDING = "pending"
        SENT = "sent"
        DONE = "done"
        SKIPPED = "skipped"
        FAILED = "failed"
        CANCELLED = "cancelled"  # the person stopped the job before this one was touched

    class Step(models.TextChoices):
        """How far a two-step change got."""

        NONE = "none"
        PAUSED = "paused"  # by us; still to be deferred
        RESTORING = "restoring"  # by us, and deferring was refused: to be started again
        RENEWED = "renewed"  # by us; still to be started

    class Code(models.TextChoices):
        """Why an item was skipped or failed, or is not wholly what it was asked to be."""

        ALREADY_DEFERRED = "already_deferred"
        COMPLETED = "completed"
        AWAITING_CONTROL = "awaiting_control"
        DECLINED = "declined"
        GONE = "gone"
        NOT_PERMITTED = "not_permitted"
        CHANGING = "changing"  # somebody else kept changing it
        REFUSED = "refused"  # for a reason that we do not know
        LEFT_PAUSED = "left_paused"  # neither deferred nor started again
        STOPPED = "stopped"  # by the person who asked for the job
        AWAKE = "awake"  # somebody else has taken it up again
        DEFERRED_ANEW = "deferred_anew"  # by somebody else, since we deferred it
        NOT_STARTED = "not_started"  # it is back, and was in progress before, and may not be started

    ENDED = (State.DONE, State.SKIPPED, State.FAILED, State.CANCELLED)

    job = models.ForeignKey(Job, models.CASCADE, related_name="items")
    task_id = models.PositiveBigIntegerField()
    title = models.CharField(max_length=300, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    step = models.CharField(max_length=10, choices=Step, default=Step.NONE)
    status_seen = models.PositiveSmallIntegerField(null=True)  # the real status at the last reading
    seen_at = models.DateTimeField(null=True)
    # What the task was when we first touched it; of a task to be returned, before it was deferred.
    status_before = models.PositiveSmallIntegerField(null=True)
    # What a return is to end.
    returns = models.ForeignKey("Deferral", models.SET_NULL, null=True, related_name="+", db_index=False)
    direct = models.BooleanField(default=False)  # from in progress without a pause: last sent, or next
    sends = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    refusal = models.CharField(max_length=100, blank=True)  # the code of an answer that awaits its reading
    code = models.CharField(max_length=20, choices=Code, blank=True)
    vendor_code = models.CharField(max_length=100, blank=True)  # what the portal called it, for support
    changed_at = models.DateTimeField(null=True)  # when somebody else changed the status, by the portal's clock
    # Who changed it, or may change it where our person may not.
    changed_by = models.CharField(max_length=200, blank=True, default="", db_default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "task_id"], name="one_item_per_task")]
        indexes = [
            models.Index(fields=["job", "state", "id"], name="items_by_state"),
            models.Index(fields=["returns"], condition=Q(returns__isnull=False), name="items_that_return"),
        ]

    def __str__(self) -> str:
        return f"item {self.pk}"

    @classmethod
    def copy_selected(cls, job: Job, selection: Selection) -> None:
        """Make an item of a new job for each task of a selection, in its order.

        By the database alone: preparing 5,000 rows here would take longer than anything else that starts a job.
        """
        values = {
            str(field.column): field.get_default() for field in cls._meta.concrete_fields if not field.primary_key
        }
        values["job_id"] = job.pk
        copied = {"task_id", "title"}
        chosen = [column if column in copied else "%s" for column in values]
        source, target = SelectedTask._meta.db_table, cls._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {target} ({', '.join(values)}) SELECT {', '.join(chosen)} FROM {source}"  # noqa: S608
                " WHERE selection_id = %s ORDER BY id",  # only names of ours stand in it
                [*(values[column] for column in values if column not in copied), _database_id(selection.pk)],
            )


def _database_id(id: uuid.UUID) -> str:
    """A UUID as this database keeps it."""
    return str(Selection._meta.pk.get_db_prep_value(id, connection))
