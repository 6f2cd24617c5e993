"""Portals, the tenants: one row for each Bitrix24, with its status, its lease and its limits."""

from datetime import datetime, timedelta
from hmac import compare_digest

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.crypto import salted_hmac

from b24app import vault


class Portal(models.Model):
    """A tenant: one Bitrix24, identified by its `member_id`. Its address may change."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        SUSPENDED = "suspended"  # an uninstall was reported and is not confirmed yet
        UNINSTALLED = "uninstalled"  # confirmed, and the data is erased

    class Dialect(models.TextChoices):
        MODERN = "modern"  # tasks.task.*
        LEGACY = "legacy"  # task.item.*, in old boxes that have nothing else

    member_id = models.CharField(max_length=64, unique=True)
    endpoint = models.URLField(max_length=300)  # "https://acme.bitrix24.com/rest/", by the authorization server
    oauth_url = models.URLField(max_length=200)  # the portal's authorization server, one of B24_OAUTH_URLS
    status = models.CharField(max_length=12, choices=Status, default=Status.ACTIVE)
    plan = models.CharField(max_length=20, blank=True)  # app.info LICENSE_FAMILY; "ent" has the larger bucket
    sealed_application_token = models.TextField(blank=True)
    sealed_previous_token = models.TextField(blank=True)  # still accepted for a day after it was replaced
    token_learned_at = models.DateTimeField(null=True)
    epoch = models.PositiveIntegerField(default=1)  # rises when the app loses access: older tickets are void
    created_at = models.DateTimeField(auto_now_add=True)

    # Uninstalling (portals/uninstall.py): first reported, then confirmed by the authorization server.
    uninstall_reported_at = models.DateTimeField(null=True)
    uninstall_is_clean = models.BooleanField(default=False)  # the administrator asked to keep nothing
    uninstall_refuted_at = models.DateTimeField(null=True)  # when the last report turned out to be forged
    uninstall_checked_at = models.DateTimeField(null=True)  # when we last asked for a confirmation
    uninstalled_at = models.DateTimeField(null=True)
    # A digest of the erased application token: a late event can still prove itself and ask to keep nothing.
    uninstalled_token_digest = models.CharField(max_length=64, blank=True, default="", db_default="")
    bindings_checked_at = models.DateTimeField(null=True)

    # The portal rejects the app for all users (portals/access.py). No job calls it before `parked_until`, unless a call
    # succeeds earlier.
    parked_until = models.DateTimeField(null=True)
    parked_reason = models.CharField(max_length=10, blank=True)  # a Job.WaitReason
    parked_code = models.CharField(max_length=100, blank=True)  # the portal's error code, for support
    admitted_at = models.DateTimeField(null=True)  # when a call last unparked the portal, and whose call
    admitted_user = models.PositiveBigIntegerField(null=True)

    # One slice at a time (portals/lease.py).
    lease_until = models.DateTimeField(null=True)
    lease_owner = models.UUIDField(null=True)
    lease_fence = models.PositiveBigIntegerField(default=0)  # rises with every lease; a stale lease writes nothing
    last_slice_at = models.DateTimeField(null=True)
    message_due_at = models.DateTimeField(null=True)  # when the message that is already enqueued will be read

    # The last call for a page, and the two limits (bitrix/limits.py). Pages have precedence over jobs.
    used_at = models.FloatField(default=0, db_default=0)  # unix seconds
    bucket_level = models.FloatField(default=0)  # requests
    bucket_at = models.FloatField(default=0)  # unix seconds, by the database clock
    operating = models.JSONField(default=dict)  # method -> [seconds used, unix time of the reset]
    seconds_per_command = models.FloatField(null=True)  # smoothed average

    # The methods for tasks that the portal understands (portals/clients.py, engine/batches.py).
    dialect = models.CharField(max_length=6, choices=Dialect, default=Dialect.MODERN)
    defers_directly = models.BooleanField(null=True)  # a task in progress needs no pause; None: not known yet

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
        """A portal counts as in use for settings.ENGINE_IN_USE seconds after a page has called it."""
        return bool(now.timestamp() - self.used_at < settings.ENGINE_IN_USE)

    def knows_application_token(self, token: str, now: datetime) -> bool:
        """Whether `token` is the application token, or was until a day ago at most. Constant time."""
        known = [self.sealed_application_token]
        if self.token_learned_at and now - self.token_learned_at < timedelta(days=1):
            known.append(self.sealed_previous_token)
        secrets = [self._unsealed(sealed) for sealed in known]
        return any(compare_digest(secret.encode(), token.encode()) for secret in secrets if secret)

    def knew_application_token(self, token: str) -> bool:
        """Whether `token` is the application token that was erased. Constant time."""
        known = self.uninstalled_token_digest
        return bool(known) and compare_digest(known.encode(), self._digest_of(token).encode())

    def digest_of_application_token(self) -> str:
        """The digest to keep when the application token is erased; "" if there is no token."""
        token = self._unsealed(self.sealed_application_token)
        return self._digest_of(token) if token else ""

    def _digest_of(self, token: str) -> str:
        return salted_hmac("b24app.removed", f"{self.member_id}:{token}", algorithm="sha256").hexdigest()

    def learn_application_token(self, token: str, now: datetime) -> None:
        """Seal `token` as the current one, and keep the one before it for a day. Does not save the row."""
        current = self.sealed_application_token
        if self._unsealed(current) == token:
            return
        self.sealed_previous_token, self.token_learned_at = current, now
        self.sealed_application_token = vault.seal(token, self.member_id)

    def _unsealed(self, sealed: str) -> str | None:
        """The unsealed application token. None if there is none, or if its key is gone: the next token replaces it."""
        try:
            return vault.unseal(sealed, self.member_id) if sealed else None
        except vault.NotOurs:
            return None
