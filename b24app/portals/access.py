"""The portal rejects the app itself, not one task: what each code means, whose jobs wait, and when to try again.

If the portal rejects the app for all users, park the portal: one job probes it for all. If it rejects one person,
only that person's jobs wait. Any successful call unparks the portal.
Source: manual, system-errors.md.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q

from b24app import clock
from b24app.bitrix.errors import AccessLost, PersonBlocked
from b24app.models import Job, Person, Portal

HOURLY, DAILY = timedelta(hours=1), timedelta(days=1)
WaitReason = Job.WaitReason


@dataclass(frozen=True)
class LostAccess:
    """What a code means, and how long to wait before a job tries again."""

    reason: Job.WaitReason
    pause: timedelta
    is_vague: bool = False  # the code has several meanings: it may concern only this person


# By lower-cased code. UNKNOWN stands for every other code.
MEANINGS = {
    "access_denied": LostAccess(WaitReason.PLAN, DAILY, is_vague=True),  # apps need a commercial plan
    "payment_required": LostAccess(WaitReason.PAYMENT, DAILY),
    "insufficient_scope": LostAccess(WaitReason.SCOPE, DAILY),
    "invalid_scope": LostAccess(WaitReason.SCOPE, DAILY),
    "method_confirm_waiting": LostAccess(WaitReason.CONFIRM, HOURLY),
    "overload_limit": LostAccess(WaitReason.OVERLOAD, HOURLY),
    "portal_deleted": LostAccess(WaitReason.DELETED, DAILY),
    "wrong_client": LostAccess(WaitReason.ERROR, HOURLY),  # our own registration is wrong
    "invalid_client": LostAccess(WaitReason.ERROR, HOURLY),
    "authorization_error": LostAccess(WaitReason.DISMISSED, HOURLY),
    "user_access_error": LostAccess(WaitReason.RESTRICTED, HOURLY),
    "allowed_only_intranet_user": LostAccess(WaitReason.RESTRICTED, HOURLY),
}
UNKNOWN = LostAccess(WaitReason.ACCESS, HOURLY, is_vague=True)
# Reasons that concern one person: their jobs wait, not the portal's.
PERSONAL_REASONS = (WaitReason.PERSON, WaitReason.DISMISSED, WaitReason.RESTRICTED, WaitReason.PLAN, WaitReason.ACCESS)


def meaning(code: str) -> LostAccess:
    return MEANINGS.get(code.lower(), UNKNOWN)


def record(person: Person, error: AccessLost) -> None:
    """Make the person's jobs wait, or park the portal, depending on what the error means. Safe to repeat."""
    lost = meaning(error.code)
    until = clock.now() + lost.pause
    if isinstance(error, PersonBlocked) or (lost.is_vague and _others_have_access(person)):
        Job.objects.unfinished().filter(person=person).update(
            state=Job.State.WAITING, wait_reason=lost.reason, wait_code=error.code[:100], wait_until=until
        )
    else:
        Portal.objects.filter(pk=person.portal_id).update(
            parked_until=until, parked_reason=lost.reason, parked_code=error.code[:100]
        )


def _others_have_access(person: Person) -> bool:
    """Whether the portal was unparked within the last hour by a successful call of another person."""
    unparked = Portal.objects.filter(pk=person.portal_id, admitted_at__gt=clock.now() - HOURLY)
    return unparked.exclude(admitted_user=person.user_id).exists()


def readmit(person: Person) -> bool:
    """The portal accepts this person again: resume their jobs that waited for it, and unpark the portal.

    Return whether this changed anything. Jobs of other people that wait for a personal reason keep waiting.
    """
    waited = Job.objects.filter(person=person, state=Job.State.WAITING, wait_reason__in=PERSONAL_REASONS)
    resumed = waited.update(state=Job.State.QUEUED, wait_reason="", wait_code="", wait_until=None, setbacks=0)
    return unpark(person) or resumed > 0


def unpark(person: Person) -> bool:
    """The portal accepts this person, so it does not reject all users. Return whether it was parked."""
    parked = Portal.objects.filter(pk=person.portal_id).exclude(parked_until=None)
    admitted = {"admitted_at": clock.now(), "admitted_user": person.user_id}
    return parked.update(parked_until=None, parked_reason="", parked_code="", **admitted) > 0


REFUTATION_HOLDS = timedelta(minutes=10)  # after the authorization server confirmed the installation


def suspend(portal: Portal, now: datetime) -> None:
    """Stop all work for a portal that seems to have uninstalled the app, until the authorization server confirms it.

    Tickets that were issued before become void. Safe to repeat. For REFUTATION_HOLDS after the authorization server
    confirmed the installation, ignore all other reports.
    """
    refuted_long_ago = Q(uninstall_refuted_at=None) | Q(uninstall_refuted_at__lte=now - REFUTATION_HOLDS)
    active = Portal.objects.filter(refuted_long_ago, pk=portal.pk, status=Portal.Status.ACTIVE)
    active.update(
        status=Portal.Status.SUSPENDED,
        epoch=F("epoch") + 1,
        uninstall_reported_at=now,
        uninstall_is_clean=False,
    )
