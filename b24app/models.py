"""What we keep: portals, their people and credentials, what was asked for, and what became of it.

PostgreSQL (or SQLite) is the truth; a Celery message only hints that a portal may have something to do.
"""

import time
import uuid
from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.db import connection, models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now
from django.utils.crypto import constant_time_compare, salted_hmac

from b24app import dates, vault


def database_now() -> Now:
    """The database's clock, in a query: the one clock that all machines share."""
    return Now()


def shared_now() -> models.expressions.Combinable:
    """The same clock, moved as a demo's is: for what one machine notes and another one measures."""
    return Now() + dates.offset()


class UnixNow(models.Func):
    """The same clock in unix seconds, at the moment when a row is looked at and not when it was waited for."""

    output_field = models.FloatField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "extract(epoch from clock_timestamp())::double precision"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "((julianday('now') - 2440587.5) * 86400.0)"
        return self.as_sql(compiler, connection, template=template, **context)


class Portal(models.Model):
    """A tenant: one Bitrix24, known by its `member_id`; its address may change."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        SUSPENDED = "suspended"  # uninstalling was reported and is not confirmed yet
        UNINSTALLED = "uninstalled"  # confirmed, and erased

    class Dialect(models.TextChoices):
        MODERN = "modern"  # tasks.task.*
        LEGACY = "legacy"  # task.item.*, in boxes that have nothing else

    member_id = models.CharField(max_length=64, unique=True)
    endpoint = models.URLField(max_length=300)  # "https://acme.bitrix24.com/rest/", learned from the OAuth host
    oauth_url = models.URLField(max_length=200)  # the portal's authorization server, one of B24_OAUTH_URLS
    status = models.CharField(max_length=12, choices=Status, default=Status.ACTIVE)
    plan = models.CharField(max_length=20, blank=True)  # app.info LICENSE_FAMILY; "ent" has the larger bucket
    sealed_application_token = models.TextField(blank=True)
    sealed_previous_token = models.TextField(blank=True)  # valid for a day after it was replaced
    token_learned_at = models.DateTimeField(null=True)
    epoch = models.PositiveIntegerField(default=1)  # rises when access is lost: older tickets are void
    created_at = models.DateTimeField(auto_now_add=True)

    # Uninstalling (removals.py): reported, and not believed before the authorization server says so.
    removal_reported_at = models.DateTimeField(null=True)
    removal_is_clean = models.BooleanField(default=False)  # the admin asked for nothing to be kept
    removal_refuted_at = models.DateTimeField(null=True)  # the last report was a forgery
    removal_tried_at = models.DateTimeField(null=True)  # to be confirmed, last
    removed_at = models.DateTimeField(null=True)
    # Recognises the application token after it was erased: a late event may still ask for nothing to be kept.
    removed_token_digest = models.CharField(max_length=64, blank=True, default="", db_default="")
    bindings_checked_at = models.DateTimeField(null=True)

    # It refuses the app to everybody (refusals.py): no job asks before then, unless somebody was let in.
    parked_until = models.DateTimeField(null=True)
    parked_why = models.CharField(max_length=10, blank=True)  # a Job.Why
    parked_code = models.CharField(max_length=100, blank=True)  # the portal's word for it, for support
    let_in_at = models.DateTimeField(null=True)  # when that ended last, and for whom it was seen to
    let_in_user = models.PositiveBigIntegerField(null=True)

    # One slice at a time, whoever runs it.
    lease_until = models.DateTimeField(null=True)
    lease_owner = models.UUIDField(null=True)
    lease_fence = models.PositiveBigIntegerField(default=0)  # rises with every lease; a stale one writes nothing
    last_slice_at = models.DateTimeField(null=True)
    hint_due_at = models.DateTimeField(null=True)  # when a message about it that is under way will be read

    # The two budgets (bitrix/limits.py), and when a page asked the portal something last: people come first.
    used_at = models.FloatField(default=0, db_default=0)  # unix seconds
    bucket_level = models.FloatField(default=0)  # requests
    bucket_at = models.FloatField(default=0)  # unix seconds, by the database's clock
    operating = models.JSONField(default=dict)  # method -> [seconds used, unix time of the reset]
    seconds_per_command = models.FloatField(null=True)  # measured, smoothed

    # How tasks are spoken of there, learned and relearned (credentials.py, batches.py).
    dialect = models.CharField(max_length=6, choices=Dialect, default=Dialect.MODERN)
    defers_directly = models.BooleanField(null=True)  # a task in progress without a pause; None: not known yet

    class Meta:
        indexes = [models.Index(fields=["status"], condition=~Q(status="active"), name="portals_without_us")]

    def __str__(self) -> str:
        return f"portal {self.pk}"

    @property
    def origin(self) -> str:
        """Scheme and host of the portal: "https://acme.bitrix24.com"."""
        return self.endpoint.removesuffix("/").removesuffix("/rest")

    @property
    def is_enterprise(self) -> bool:
        return self.plan == "ent"

    def is_in_use(self, now: datetime) -> bool:
        """Whether somebody uses the app there, as far as its pages have asked the portal something lately."""
        return bool(now.timestamp() - self.used_at < settings.IN_USE)

    def is_left_alone(self, due: datetime, now: datetime) -> bool:
        """Whether no worker is at it by `now`, for longer than any healthy one would let work wait since `due`."""
        silent_since = max(due, self.last_slice_at or due)
        if now - silent_since < timedelta(seconds=settings.SWEEP_EVERY):
            return False
        return Portal.objects.filter(Lease.free(), pk=self.pk).exists()

    def knows_application_token(self, token: str, now: datetime) -> bool:
        """Whether `token` is the portal's application token, or was within the last day. Constant time."""
        from hmac import compare_digest

        known = [self.sealed_application_token]
        if self.token_learned_at and now - self.token_learned_at < timedelta(days=1):
            known.append(self.sealed_previous_token)
        secrets = [self._unsealed(sealed) for sealed in known]
        return any(compare_digest(secret.encode(), token.encode()) for secret in secrets if secret)

    def knew_application_token(self, token: str) -> bool:
        """Whether `token` was the portal's application token when that was erased. Constant time."""
        known = self.removed_token_digest
        return bool(known) and constant_time_compare(known, self._digest_of(token))

    def digest_of_application_token(self) -> str:
        """What to keep of the application token when it is erased; "" when there is none."""
        token = self._unsealed(self.sealed_application_token)
        return self._digest_of(token) if token else ""

    def _digest_of(self, token: str) -> str:
        return salted_hmac("b24app.removed", f"{self.member_id}:{token}", algorithm="sha256").hexdigest()

    def learn_application_token(self, token: str, now: datetime) -> None:
        """Keep `token` as the current one, and the one before it for a day. Changes the object only."""
        current = self.sealed_application_token
        if self._unsealed(current) == token:
            return
        self.sealed_previous_token, self.token_learned_at = current, now
        self.sealed_application_token = vault.seal(token, self.member_id)

    def _unsealed(self, sealed: str) -> str | None:
        """The application token, None when there is none or its key was lost: the next one replaces it."""
        try:
            return vault.unseal(sealed, self.member_id) if sealed else None
        except vault.NotOurs:
            return None


class Person(models.Model):
    """One user of one portal."""

    portal = models.ForeignKey(Portal, models.CASCADE, related_name="people")
    user_id = models.PositiveBigIntegerField()
    name = models.CharField(max_length=200, blank=True)
    zone = models.CharField(max_length=50, blank=True)  # IANA
    is_admin = models.BooleanField(default=False)
    language = models.CharField(max_length=10, default="en")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["portal", "user_id"], name="one_person_per_user")]

    def __str__(self) -> str:
        return f"person {self.pk}"


class Credential(models.Model):
    """One person's OAuth token pair at one portal, sealed. `version` rises with every new pair."""

    class State(models.TextChoices):
        USABLE = "usable"
        NEEDS_REOPEN = "needs_reopen"  # refused: no calls until the person opens the app again

    person = models.OneToOneField(Person, models.CASCADE, related_name="credential")
    sealed_access = models.TextField()
    sealed_refresh = models.TextField()
    expires_at = models.DateTimeField()
    obtained_at = models.DateTimeField()
    version = models.PositiveBigIntegerField(default=1)
    refreshing_until = models.DateTimeField(null=True)
    state = models.CharField(max_length=12, choices=State, default=State.USABLE)

    def __str__(self) -> str:
        return f"credential {self.pk}"

    @property
    def owner(self) -> str:
        """Whom the pair is sealed for."""
        return f"{self.person.portal.member_id}:{self.person.user_id}"

    @property
    def access_token(self) -> str:
        return vault.unseal(self.sealed_access, self.owner)

    @property
    def refresh_token(self) -> str:
        return vault.unseal(self.sealed_refresh, self.owner)


class PendingOpening(models.Model):
    """An opening whose portal had not answered in time: the page asks again, once, with a 60-second code."""

    code_digest = models.CharField(max_length=64, unique=True)
    sealed_payload = models.TextField()
    expires_at = models.DateTimeField()


class FailedProof(models.Model):
    """An opening that nobody confirmed (attempts.py): which portal it named, and where it came from."""

    member_id = models.CharField(max_length=64)  # a claim
    network = models.CharField(max_length=50)
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["network", "at"], name="failed_proofs_by_network")]


class Selection(models.Model):
    """What a person selected, made definite: a frozen list of tasks with what was known of each. Lives an hour."""

    class State(models.TextChoices):
        COLLECTING = "collecting"
        READY = "ready"
        FAILED = "failed"  # the portal refused to list; `why` holds its code

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    person = models.ForeignKey(Person, models.CASCADE, related_name="selections")
    state = models.CharField(max_length=12, choices=State, default=State.COLLECTING)
    wanted_ids = models.JSONField(default=list)  # ticked one by one
    filter = models.JSONField(default=dict)  # or everything that matches (TaskFilter.as_json)
    collected = models.PositiveIntegerField(default=0)
    after_id = models.PositiveBigIntegerField(default=0)  # everything up to this task id is collected
    why = models.CharField(max_length=50, blank=True)
    created_at = models.DateTimeField()
    try_at = models.DateTimeField(null=True)  # the portal asked for patience until then


class SelectedTask(models.Model):
    """One task of a selection, as it was read while collecting."""

    selection = models.ForeignKey(Selection, models.CASCADE, related_name="tasks")
    task_id = models.PositiveBigIntegerField()
    title = models.CharField(max_length=300, blank=True)
    status = models.PositiveSmallIntegerField(null=True)  # None: the portal does not show it (any more)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["selection", "task_id"], name="task_selected_once")]


class JobQuerySet(models.QuerySet["Job"]):
    def unfinished(self) -> Self:
        return self.exclude(state=Job.State.FINISHED)

    def runnable(self, now: datetime) -> Self:
        """Jobs that a slice could work on at `now`: of each person, the first that does not wait."""
        active = [Job.State.QUEUED, Job.State.RUNNING]
        waited = Q(state=Job.State.WAITING, waiting_until__lte=now)
        # Whoever came back in whatever way: what a job waited for is the state of the credential, not an event.
        waited |= Q(
            state=Job.State.WAITING,
            waiting_why=Job.Why.PERSON,
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

    class Why(models.TextChoices):
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
    first = models.ForeignKey("self", models.SET_NULL, null=True, related_name="+")  # whose rest this goes on with
    reason = models.CharField(max_length=500, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    waiting_why = models.CharField(max_length=10, choices=Why, blank=True)
    waiting_until = models.DateTimeField(null=True)  # None while waiting: until somebody acts
    waiting_code = models.CharField(max_length=100, blank=True)  # the portal's word for it, for support
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
    wakes = models.ForeignKey("Deferral", models.SET_NULL, null=True, related_name="+", db_index=False)
    directly = models.BooleanField(default=False)  # from in progress without a pause: last sent, or next
    sends = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    refusal = models.CharField(max_length=100, blank=True)  # the code of an answer that awaits its reading
    code = models.CharField(max_length=20, choices=Code, blank=True)
    vendor_code = models.CharField(max_length=100, blank=True)  # what the portal called it, for support
    changed_at = models.DateTimeField(null=True)  # when somebody else changed the status, by the portal's clock
    # Who changed it, or may change it where our person may not.
    who = models.CharField(max_length=200, blank=True, default="", db_default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "task_id"], name="one_item_per_task")]
        indexes = [
            models.Index(fields=["job", "state", "id"], name="items_by_state"),
            models.Index(fields=["wakes"], condition=Q(wakes__isnull=False), name="items_that_wake"),
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


class OwedReturn(models.Model):
    """A task that slept because of us when the app was removed: what we owed, without anybody's name.

    An admin takes it over or deletes it after installing the app again; else it is deleted after 90 days.
    """

    portal = models.ForeignKey(Portal, models.CASCADE, related_name="owed_returns")
    task_id = models.PositiveBigIntegerField()
    previous_status = models.PositiveSmallIntegerField()
    status_changed_at = models.DateTimeField(null=True)
    deferred_at = models.DateTimeField()
    kept_until = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["portal", "task_id"], name="one_owed_return_per_task")]


class RestCall(models.Model):
    """The journal: one row per exchange with a portal or an authorization server, kept seven days."""

    portal = models.ForeignKey(Portal, models.SET_NULL, null=True, related_name="calls")
    job = models.ForeignKey(Job, models.SET_NULL, null=True, related_name="calls")
    at = models.DateTimeField(db_index=True)
    method = models.CharField(max_length=100)
    params = models.JSONField()  # without credentials
    outcome = models.JSONField(default=dict)  # allow-listed fields of the answer
    status = models.PositiveSmallIntegerField(null=True)  # None: no answer
    code = models.CharField(max_length=100, blank=True)
    milliseconds = models.PositiveIntegerField()
    request_id = models.UUIDField(null=True)  # sent as X-Request-Id; None in rows of the version before


class LastSweep(models.Model):
    """One row: when a worker began the last sweep, by the database's clock."""

    at = models.DateTimeField()


class Lease:
    """The right to run one portal's slice, held for settings.LEASE seconds at a time."""

    def __init__(self, portal_id: int, owner: uuid.UUID, fence: int) -> None:
        self.portal_id, self.owner, self.fence = portal_id, owner, fence

    @classmethod
    def take(cls, portal_id: int) -> "Lease | None":
        """Lease the portal, unless another slice holds it. Uses the database's clock."""
        owner = uuid.uuid4()
        taken = Portal.objects.filter(cls.free(), pk=portal_id, status=Portal.Status.ACTIVE).update(
            lease_owner=owner, lease_until=_lease_end(), lease_fence=F("lease_fence") + 1
        )
        if not taken:
            return None
        fence = Portal.objects.values_list("lease_fence", flat=True).get(pk=portal_id, lease_owner=owner)
        return cls(portal_id, owner, fence)

    @staticmethod
    def free() -> Q:
        """Portals that no slice holds, as a condition on Portal."""
        return Q(lease_until=None) | Q(lease_until__lte=database_now())

    def held(self) -> models.QuerySet[Portal]:
        """The portal, in a query, for as long as the lease is held."""
        return Portal.objects.filter(
            pk=self.portal_id,
            lease_owner=self.owner,
            lease_fence=self.fence,
            lease_until__gt=database_now(),
            status=Portal.Status.ACTIVE,
        )

    def renew(self, **saved: Any) -> None:
        """Prolong the lease by its full length, and save these fields of the portal with it.

        Raises LeaseLost, and then nothing more may be sent or saved.

        Inside a transaction this also locks the portal's row until the end of it, so that what is saved with it
        cannot interleave with another slice's work.
        """
        if not self.try_renew(Q(), **saved):
            raise LeaseLost(f"portal {self.portal_id}")

    def try_renew(self, condition: Q, **saved: Any) -> bool:
        """The same where the portal meets a condition; says whether that was so, and the lease is still held.

        It is not where the answer took as long as a lease lasts: who was frozen meanwhile may have been taken over.
        """
        asked_at = time.monotonic()
        renewed = self.held().filter(condition).update(lease_until=_lease_end(), **saved) == 1
        return renewed and time.monotonic() - asked_at < settings.LEASE

    def release(self) -> None:
        Portal.objects.filter(pk=self.portal_id, lease_owner=self.owner).update(lease_until=None, lease_owner=None)


class LeaseLost(Exception):
    """Another slice has taken this portal over, or its work was stopped."""


def _database_id(id: uuid.UUID) -> str:
    """A UUID as this database keeps it."""
    return str(Selection._meta.pk.get_db_prep_value(id, connection))


def _lease_end() -> models.expressions.Combinable:
    return database_now() + timedelta(seconds=settings.LEASE)
