"""Refusals of the app as such, not of one task: what each means, whom it stops, and when to ask again.

A refusal that meets everybody parks the portal, so that a hundred jobs cost one question and not a hundred. One
that meets a person stops that person's jobs only. Whoever is let in again, by whatever call, ends it at once.
Source: manual, system-errors.md.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q

from b24app import clock
from b24app.bitrix.errors import (
    AccessLost,
    PersonBlocked,
)
from b24app.models import Job, Person, Portal

HOURLY, DAILY = timedelta(hours=1), timedelta(days=1)
WaitReason = Job.WaitReason


@dataclass(frozen=True)
class LostAccess:
    """What a refusal means, and how long to wait until somebody's job asks again."""

    why: Job.WaitReason
    pause: timedelta
    is_vague: bool = False  # it may concern this person only: the code stands for several things


# By lower-cased code. What is not listed is a refusal that we have no words for.
MEANINGS = {
    "access_denied": LostAccess(WaitReason.PLAN, DAILY, is_vague=True),  # apps need a commercial plan
    "payment_required": LostAccess(WaitReason.PAYMENT, DAILY),
    "insufficient_scope": LostAccess(WaitReason.SCOPE, DAILY),
    "invalid_scope": LostAccess(WaitReason.SCOPE, DAILY),
    "method_confirm_waiting": LostAccess(WaitReason.CONFIRM, HOURLY),
    "overload_limit": LostAccess(WaitReason.OVERLOAD, HOURLY),
    "portal_deleted": LostAccess(WaitReason.DELETED, DAILY),
    "wrong_client": LostAccess(WaitReason.ERROR, HOURLY),  # our own registration
    "invalid_client": LostAccess(WaitReason.ERROR, HOURLY),
    "authorization_error": LostAccess(WaitReason.DISMISSED, HOURLY),
    "user_access_error": LostAccess(WaitReason.RESTRICTED, HOURLY),
    "allowed_only_intranet_user": LostAccess(WaitReason.RESTRICTED, HOURLY),
}
UNKNOWN = LostAccess(WaitReason.ACCESS, HOURLY, is_vague=True)
# What a person's own jobs may wait for.
OF_A_PERSON = (WaitReason.PERSON, WaitReason.DISMISSED, WaitReason.RESTRICTED, WaitReason.PLAN, WaitReason.ACCESS)


def meaning(code: str) -> LostAccess:
    return MEANINGS.get(code.lower(), UNKNOWN)


def record(person: Person, error: AccessLost) -> None:
    """Let what the refusal meets wait: the person's jobs, or the portal's. May be repeated."""
    refusal = meaning(error.code)
    until = clock.now() + refusal.pause
    if isinstance(error, PersonBlocked) or (refusal.is_vague and _others_have_access(person)):
        Job.objects.unfinished().filter(person=person).update(
            state=Job.State.WAITING, wait_reason=refusal.why, wait_code=error.code[:100], wait_until=until
        )
    else:
        Portal.objects.filter(pk=person.portal_id).update(
            parked_until=until, parked_reason=refusal.why, parked_code=error.code[:100]
        )


def _others_have_access(person: Person) -> bool:
    """Whether the portal was found open for somebody else lately, after it had refused everybody."""
    lately = Portal.objects.filter(pk=person.portal_id, admitted_at__gt=clock.now() - HOURLY)
    return lately.exclude(admitted_user=person.user_id).exists()


def readmit(person: Person) -> bool:
    """The portal answers this person: what waited for that goes on. Says whether something did.

    For the portal's other people this ends what kept everybody out, and nothing that concerns only them.
    """
    waited = Job.objects.filter(person=person, state=Job.State.WAITING, wait_reason__in=OF_A_PERSON)
    resumed = waited.update(state=Job.State.QUEUED, wait_reason="", wait_code="", wait_until=None, setbacks=0)
    return unpark(person) or resumed > 0


def unpark(person: Person) -> bool:
    """The portal answers this person, so it does not refuse everybody; say whether it was parked."""
    parked = Portal.objects.filter(pk=person.portal_id).exclude(parked_until=None)
    seen = {"admitted_at": clock.now(), "admitted_user": person.user_id}
    return parked.update(parked_until=None, parked_reason="", parked_code="", **seen) > 0


REFUTATION_HOLDS = timedelta(minutes=10)  # after the authorization server called the app installed


def suspend(portal: Portal, now: datetime) -> None:
    """Stop all work for a portal that seems to have removed the app, until the authorization server has spoken.

    Tickets issued before are void. May be repeated. Just after the authorization server has called the app
    installed, nobody else's word counts.
    """
    refuted_long_ago = Q(uninstall_refuted_at=None) | Q(uninstall_refuted_at__lte=now - REFUTATION_HOLDS)
    active = Portal.objects.filter(refuted_long_ago, pk=portal.pk, status=Portal.Status.ACTIVE)
    active.update(
        status=Portal.Status.SUSPENDED,
        epoch=F("epoch") + 1,
        uninstall_reported_at=now,
        uninstall_is_clean=False,
    )
