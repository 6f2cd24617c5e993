"""The lease of a portal: one worker at a time runs its slices, and a worker that lost the lease writes nothing."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from b24app import clock
from b24app.bitrix import stopwatch
from b24app.models.portal import Portal


class Lease:
    """The right to run the slices of one portal. It lasts settings.ENGINE_LEASE seconds and can be renewed."""

    def __init__(self, portal_id: int, owner: uuid.UUID, fence: int) -> None:
        self.portal_id, self.owner, self.fence = portal_id, owner, fence

    @classmethod
    def acquire(cls, portal_id: int) -> "Lease | None":
        """Acquire the lease; None if another slice holds it. Uses the database clock."""
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
        """Condition on Portal: no slice holds the lease."""
        return Q(lease_until=None) | Q(lease_until__lte=clock.database_now())

    def held(self) -> models.QuerySet[Portal]:
        """The portal as a query, which is empty once the lease is lost."""
        return Portal.objects.filter(
            pk=self.portal_id,
            lease_owner=self.owner,
            lease_fence=self.fence,
            lease_until__gt=clock.database_now(),
            status=Portal.Status.ACTIVE,
        )

    def renew(self, **saved: Any) -> None:
        """Extend the lease to its full length, and save these fields of the portal in the same UPDATE.

        Raises LeaseLost; the caller must not send or save anything after that.

        Inside a transaction the UPDATE also locks the portal's row until the end of the transaction. So its other
        writes cannot interleave with those of another slice.
        """
        if not self.try_renew(Q(), **saved):
            raise LeaseLost(f"portal {self.portal_id}")

    def try_renew(self, condition: Q, **saved: Any) -> bool:
        """Renew only if the portal also matches `condition`.

        Return False if it does not match, if the lease was lost, or if the query took longer than a lease lasts:
        another worker may own the portal by then.
        """
        asked_at = stopwatch.now()
        renewed = self.held().filter(condition).update(lease_until=_lease_end(), **saved) == 1
        return renewed and stopwatch.now() - asked_at < settings.ENGINE_LEASE

    def release(self) -> None:
        """Give the lease back. Does nothing if another slice has acquired it since."""
        Portal.objects.filter(pk=self.portal_id, lease_owner=self.owner).update(lease_until=None, lease_owner=None)


def is_neglected(portal: Portal, due: datetime, now: datetime) -> bool:
    """True if work has been due since `due`, and no worker took it for ENGINE_SWEEP_EVERY seconds. One query."""
    silent_since = max(due, portal.last_slice_at or due)
    if now - silent_since < timedelta(seconds=settings.ENGINE_SWEEP_EVERY):
        return False
    return Portal.objects.filter(Lease.free(), pk=portal.pk).exists()


class LeaseLost(Exception):
    """Another slice has acquired the lease, or the portal was suspended."""


def _lease_end() -> models.expressions.Combinable:
    return clock.database_now() + timedelta(seconds=settings.ENGINE_LEASE)
