"""Tenants: one row for each Bitrix24, with its access, its lease and its budgets."""

from datetime import datetime, timedelta
from hmac import compare_digest

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.crypto import constant_time_compare, salted_hmac

from b24app import vault


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
    uninstall_reported_at = models.DateTimeField(null=True)
    uninstall_is_clean = models.BooleanField(default=False)  # the admin asked for nothing to be kept
    uninstall_refuted_at = models.DateTimeField(null=True)  # the last report was a forgery
    uninstall_checked_at = models.DateTimeField(null=True)  # to be confirmed, last
    uninstalled_at = models.DateTimeField(null=True)
    # Recognises the application token after it was erased: a late event may still ask for nothing to be kept.
    uninstalled_token_digest = models.CharField(max_length=64, blank=True, default="", db_default="")
    bindings_checked_at = models.DateTimeField(null=True)

    # It refuses the app to everybody (refusals.py): no job asks before then, unless somebody was let in.
    parked_until = models.DateTimeField(null=True)
    parked_reason = models.CharField(max_length=10, blank=True)  # a Job.WaitReason
    parked_code = models.CharField(max_length=100, blank=True)  # the portal's word for it, for support
    admitted_at = models.DateTimeField(null=True)  # when that ended last, and for whom it was seen to
    admitted_user = models.PositiveBigIntegerField(null=True)

    # One slice at a time, whoever runs it.
    lease_until = models.DateTimeField(null=True)
    lease_owner = models.UUIDField(null=True)
    lease_fence = models.PositiveBigIntegerField(default=0)  # rises with every lease; a stale one writes nothing
    last_slice_at = models.DateTimeField(null=True)
    message_due_at = models.DateTimeField(null=True)  # when a message about it that is under way will be read

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
        indexes = [models.Index(fields=["status"], condition=~Q(status="active"), name="portals_not_active")]

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

    def knows_application_token(self, token: str, now: datetime) -> bool:
        """Whether `token` is the portal's application token, or was within the last day. Constant time."""
        known = [self.sealed_application_token]
        if self.token_learned_at and now - self.token_learned_at < timedelta(days=1):
            known.append(self.sealed_previous_token)
        secrets = [self._unsealed(sealed) for sealed in known]
        return any(compare_digest(secret.encode(), token.encode()) for secret in secrets if secret)

    def knew_application_token(self, token: str) -> bool:
        """Whether `token` was the portal's application token when that was erased. Constant time."""
        known = self.uninstalled_token_digest
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
