"""Uninstalling: what is believed, and what is erased.

Anybody who can open the app can read its application token in their browser and report an uninstall with it. So
a report stops the work at once, and is confirmed at the authorization server before anything is erased:

    active --report, or a dead token--> suspended --"not installed"--> uninstalled (erased)
                                        suspended --a refresh works--> active (forged reports ignored a while)
                                        suspended --no answer for a day--> suspended (tokens erased)
"""

import logging
from datetime import timedelta

from django.db import transaction

from b24app import credentials, dates
from b24app.bitrix.errors import BitrixError, CredentialRefused, NotInstalled
from b24app.bitrix.payloads import Event
from b24app.models import Credential, Deferral, JobItem, OwedReturn, Person, Portal, RestCall, Selection

logger = logging.getLogger(__name__)

UNCONFIRMED_LIFE = timedelta(hours=24)  # of tokens, while nobody can tell whether the app is still installed
OWED_LIFE = timedelta(days=90)
CREDENTIALS_TRIED = 5  # the newest ones; each is one call to the authorization server


def report(event: Event) -> Portal | None:
    """Suspend the portal that an uninstall event names, if the event carries its application token.

    Returns the portal whose removal is to be confirmed, None when the event is not to be believed.
    """
    now = dates.now()
    portal = Portal.objects.filter(member_id=event.member_id).exclude(status=Portal.Status.UNINSTALLED).first()
    if not portal or not portal.knows_application_token(event.application_token, now):
        logger.warning("security: uninstall reported with a wrong token, or for nobody")
        return None
    if portal.removal_refuted_at and now - portal.removal_refuted_at < credentials.REFUTATION_HOLDS:
        logger.warning("security: portal %s: another uninstall reported right after a forged one", portal.pk)
        return None
    credentials.suspend(portal, now)
    if event.data.get("CLEAN") == "1":  # also when a dead token was faster than this event
        Portal.objects.filter(pk=portal.pk, status=Portal.Status.SUSPENDED).update(removal_is_clean=True)
    logger.info("portal %s: uninstall reported; suspended until it is confirmed", portal.pk)
    return portal


def unconfirmed() -> list[int]:
    """The portals whose removal is still to be confirmed."""
    return list(Portal.objects.filter(status=Portal.Status.SUSPENDED).values_list("pk", flat=True))


def confirm(portal_id: int) -> None:
    """Ask the authorization server, by trading a stored refresh token, whether the app is still installed.

    May be repeated, and is until somebody has answered. Raises nothing.
    """
    portal = Portal.objects.filter(pk=portal_id, status=Portal.Status.SUSPENDED).first()
    if portal is None:
        return None
    stored = Credential.objects.filter(person__portal=portal, state=Credential.State.USABLE)
    for credential in stored.select_related("person__portal").order_by("-obtained_at")[:CREDENTIALS_TRIED]:
        try:
            credentials.renew_now(credential)
        except NotInstalled:
            return erase(portal)
        except CredentialRefused:
            continue  # this one is dead for another reason; somebody else's may still tell
        except BitrixError as error:
            logger.info("portal %s: removal not confirmed yet (%s)", portal.pk, error.code)
            return _erase_stale_tokens(portal)
        else:
            return _refute(portal)
    return _erase_stale_tokens(portal)


def _refute(portal: Portal) -> None:
    """The app is still installed: somebody forged the report. Nothing was lost."""
    Portal.objects.filter(pk=portal.pk, status=Portal.Status.SUSPENDED).update(
        status=Portal.Status.ACTIVE, removal_reported_at=None, removal_refuted_at=dates.now()
    )
    logger.warning("security: portal %s: the reported uninstall was forged", portal.pk)


def _erase_stale_tokens(portal: Portal) -> None:
    """After a day without an answer we keep no key to a portal that has probably thrown us out."""
    if portal.removal_reported_at and dates.now() - portal.removal_reported_at > UNCONFIRMED_LIFE:
        deleted, _ = Credential.objects.filter(person__portal=portal).delete()
        if deleted:
            logger.info("portal %s: removal never confirmed; its tokens are erased", portal.pk)


def erase(portal: Portal) -> None:
    """The app was removed: tokens, names, titles and reasons go.

    Unless the admin asked for nothing to be kept, what we owed stays without anybody's name for OWED_LIFE, so
    that no task sleeps for ever unnoticed. May be repeated.
    """
    still_removed = Portal.objects.filter(pk=portal.pk, status=Portal.Status.SUSPENDED, epoch=portal.epoch)
    with transaction.atomic():
        # Whoever installs the app again while we were asking makes the portal active: then nothing is erased.
        if not still_removed.update(status=Portal.Status.SUSPENDED):
            return
        RestCall.objects.filter(portal=portal).update(params={}, outcome={}, job=None)
        if portal.removal_is_clean:
            portal.delete()
            logger.info("portal %s: erased", portal.pk)
            return
        _keep_what_we_owe(portal)
        Selection.objects.filter(person__portal=portal).delete()
        Person.objects.filter(portal=portal).delete()
        Portal.objects.filter(pk=portal.pk).update(
            status=Portal.Status.UNINSTALLED,
            removed_at=dates.now(),
            sealed_application_token="",
            sealed_previous_token="",
            operating={},
            bindings_checked_at=None,
        )
    logger.info("portal %s: people and tokens erased", portal.pk)


def _keep_what_we_owe(portal: Portal) -> None:
    """Tasks that sleep because of us, and those that we have paused on the way there."""
    now = dates.now()
    asleep = Deferral.objects.live().filter(portal=portal)
    owed = list(asleep.values_list("task_id", "previous_status", "status_changed_at", "created_at"))
    paused = JobItem.objects.filter(job__portal=portal, status_before__isnull=False)
    paused = paused.exclude(step=JobItem.Step.NONE).exclude(state=JobItem.State.DONE)
    owed += [(id, before, None, now) for id, before in paused.values_list("task_id", "status_before") if before]
    OwedReturn.objects.bulk_create(
        (
            OwedReturn(
                portal=portal,
                task_id=task_id,
                previous_status=previous_status,
                status_changed_at=changed_at,
                deferred_at=deferred_at,
                kept_until=now + OWED_LIFE,
            )
            for task_id, previous_status, changed_at, deferred_at in owed
        ),
        ignore_conflicts=True,
    )


def forget_expired() -> None:
    """Delete what a removed portal left behind, when its time is over."""
    now = dates.now()
    Portal.objects.filter(status=Portal.Status.UNINSTALLED, removed_at__lt=now - OWED_LIFE).delete()
    OwedReturn.objects.filter(kept_until__lt=now).delete()


# -- After installing again ---------------------------------------------------------------------------


def owed_before(person: Person) -> int:
    """How many tasks still sleep from before the app was installed anew; only admins are told."""
    return OwedReturn.objects.filter(portal=person.portal_id).count() if person.is_admin else 0


def take_over(admin: Person) -> int:
    """What was owed before becomes this admin's to return; says how many tasks. May be repeated."""
    owed = list(OwedReturn.objects.filter(portal=admin.portal_id))
    with transaction.atomic():
        Deferral.objects.bulk_create(
            (
                Deferral(
                    portal_id=admin.portal_id,
                    person=admin,
                    task_id=task.task_id,
                    previous_status=task.previous_status,
                    status_changed_at=task.status_changed_at,
                    created_at=task.deferred_at,
                )
                for task in owed
            ),
            ignore_conflicts=True,
        )
        OwedReturn.objects.filter(pk__in=[task.pk for task in owed]).delete()
    return len(owed)


def let_go(admin: Person) -> None:
    """The admin does not want the list of what was owed before: delete it. The tasks stay as they are."""
    OwedReturn.objects.filter(portal=admin.portal_id).delete()
