"""Uninstalling: what is believed, and what is erased.

Anybody who can open the app can read its application token in their browser and report an uninstall with it. So
a report stops the work at once, and is confirmed at the authorization server before anything is erased:

    active --report, or a dead token--> suspended --"not installed"--> uninstalled (erased)
                                        suspended --a refresh works--> active (forged reports ignored a while)
                                        suspended --no answer for a day--> suspended (tokens erased)
                                        suspended --nor for a week--> uninstalled (erased)
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from b24app import clock
from b24app.bitrix.errors import BitrixError, CredentialRefused, NotInstalled
from b24app.bitrix.payloads import Event
from b24app.models import (
    Credential,
    Deferral,
    Job,
    JobItem,
    OrphanedDeferral,
    Person,
    Portal,
    RestCall,
    SelectedTask,
    Selection,
)
from b24app.portals import access, credentials

logger = logging.getLogger(__name__)


UNCONFIRMED_LIFE = timedelta(hours=24)  # of tokens, while nobody can tell whether the app is still installed
BELIEVED_AFTER = timedelta(days=7)  # somebody would have opened the app again by then
CONFIRMED_SOON = timedelta(hours=1)  # after a report, mostly; who has not answered by then is asked less often
FIRST_PAUSE, LATER_PAUSE = timedelta(minutes=1), timedelta(hours=1)  # between attempts; tests divide them
ORPHAN_LIFE = timedelta(days=90)
PORTION = 1000  # rows that are deleted at a time
CREDENTIALS_TRIED = 5  # the newest ones; each is one call to the authorization server


def report(event: Event) -> Portal | None:
    """Suspend the portal that an uninstall event names, if the event carries its application token.

    Returns the portal whose removal is to be confirmed, None when the event is not to be believed.
    """
    now = clock.now()
    portal = Portal.objects.filter(member_id=event.member_id).first()
    if portal and portal.status == Portal.Status.UNINSTALLED:
        _report_late(portal, event)
        return None
    if not portal or not portal.knows_application_token(event.application_token, now):
        logger.warning("security: uninstall reported with a wrong token, or for nobody")
        return None
    if portal.uninstall_refuted_at and now - portal.uninstall_refuted_at < access.REFUTATION_HOLDS:
        logger.warning("security: portal %s: another uninstall reported right after a forged one", portal.pk)
        return None
    access.suspend(portal, now)
    if _is_clean(event):  # also when a dead token was faster than this event
        Portal.objects.filter(pk=portal.pk, status=Portal.Status.SUSPENDED).update(uninstall_is_clean=True)
    logger.info("portal %s: uninstall reported; suspended until it is confirmed", portal.pk)
    portal.refresh_from_db()
    return portal


def _is_clean(event: Event) -> bool:
    return event.data.get("CLEAN") == "1"


def _report_late(portal: Portal, event: Event) -> None:
    """A dead token was faster than the event, and all but what we owed is erased: that goes if the event says so."""
    if not portal.knew_application_token(event.application_token):
        logger.warning("security: portal %s: uninstall reported with a wrong token after it was removed", portal.pk)
        return
    gone = Portal.objects.filter(pk=portal.pk, status=Portal.Status.UNINSTALLED)
    with transaction.atomic():
        # Nobody can install the app again while its row is locked by this.
        if _is_clean(event) and gone.update(uninstalled_token_digest=""):
            logger.info("portal %s: removed before; now nothing is kept", portal.pk)
            portal.delete()


def unconfirmed() -> list[int]:
    """The portals whose removal somebody could confirm now, or of which something is to be erased: each minute at
    first, each hour after CONFIRMED_SOON."""
    now = clock.now()
    recently = Q(
        uninstall_reported_at__gt=now - CONFIRMED_SOON, uninstall_checked_at__gt=now - FIRST_PAUSE / settings.TIME_SCALE
    )
    tried = recently | Q(
        uninstall_checked_at__gt=now - LATER_PAUSE / settings.TIME_SCALE,
        uninstall_reported_at__lte=now - CONFIRMED_SOON,
    )
    usable = Q(people__credential__state=Credential.State.USABLE)
    stale = Q(people__credential__isnull=False, uninstall_reported_at__lt=now - UNCONFIRMED_LIFE)
    believed = Q(uninstall_reported_at__lt=now - BELIEVED_AFTER)
    waiting = Portal.objects.filter(usable | stale | believed, status=Portal.Status.SUSPENDED).exclude(tried)
    return list(waiting.values_list("pk", flat=True).distinct())


def confirm(portal_id: int) -> None:
    """Ask the authorization server, by trading a stored refresh token, whether the app is still installed.

    May be repeated, and is until somebody has answered. Raises nothing.
    """
    portal = Portal.objects.filter(pk=portal_id, status=Portal.Status.SUSPENDED).first()
    if portal is None:
        return None
    Portal.objects.filter(pk=portal.pk).update(uninstall_checked_at=clock.now())
    stored = Credential.objects.filter(person__portal=portal, state=Credential.State.USABLE)
    for credential in stored.select_related("person__portal").order_by("-obtained_at")[:CREDENTIALS_TRIED]:
        try:
            credentials.renew_now(credential)
        except NotInstalled:
            return erase(portal)
        except CredentialRefused:
            continue  # this one is dead for another reason; somebody else's may still tell
        except BitrixError as error:
            logger.info(
                "portal %s: removal not confirmed yet (%s, request %s)", portal.pk, error.code, error.request_id
            )
            return _go_without_answer(portal)
        else:
            return _refute(portal)
    return _go_without_answer(portal)


def _refute(portal: Portal) -> None:
    """The app is still installed: somebody forged the report. Nothing was lost."""
    Portal.objects.filter(pk=portal.pk, status=Portal.Status.SUSPENDED).update(
        status=Portal.Status.ACTIVE, uninstall_reported_at=None, uninstall_refuted_at=clock.now()
    )
    logger.warning("security: portal %s: the reported uninstall was forged", portal.pk)


def _go_without_answer(portal: Portal) -> None:
    """After a day without an answer we keep no key to a portal that has probably thrown us out; after a week without
    anybody who opened the app, nothing of its people."""
    unanswered = clock.now() - portal.uninstall_reported_at if portal.uninstall_reported_at else timedelta()
    if unanswered > BELIEVED_AFTER:
        logger.info("portal %s: removal never confirmed; taken for real", portal.pk)
        erase(portal)
    elif unanswered > UNCONFIRMED_LIFE:
        deleted, _ = Credential.objects.filter(person__portal=portal).delete()
        if deleted:
            logger.info("portal %s: removal never confirmed; its tokens are erased", portal.pk)


def erase(portal: Portal) -> None:
    """The app was removed: tokens, names, titles and reasons go.

    Unless the admin asked for nothing to be kept, what we owed stays without anybody's name for OWED_LIFE, so
    that no task sleeps for ever unnoticed. People, tokens and the portal's status go last: if we are cut short,
    the removal is confirmed once more and this is repeated.
    """
    guard = Portal.objects.filter(pk=portal.pk, status=Portal.Status.SUSPENDED, epoch=portal.epoch)
    try:
        _erase(portal, guard)
    except Reinstalled:
        logger.info("portal %s: installed again while it was being erased; what is there stays", portal.pk)
        return
    logger.info("portal %s: people and tokens erased", portal.pk)


class Reinstalled(Exception):
    """Somebody installed the app again before we had erased what was there."""


@contextmanager
def _while_uninstalled(guard: QuerySet[Portal]) -> Iterator[None]:
    """A transaction in which the portal is and stays removed. Raises Reinstalled."""
    with transaction.atomic():
        if not guard.update(status=Portal.Status.SUSPENDED):
            raise Reinstalled
        yield


def _erase(portal: Portal, guard: QuerySet[Portal]) -> None:
    with _while_uninstalled(guard):
        RestCall.objects.filter(portal=portal).update(params={}, outcome={}, job=None)
        if not portal.uninstall_is_clean:
            _orphan_deferrals(portal)
    for rows in (
        Deferral.objects.filter(portal=portal),
        JobItem.objects.filter(job__portal=portal),
        Job.objects.filter(portal=portal),
        SelectedTask.objects.filter(selection__person__portal=portal),
        Selection.objects.filter(person__portal=portal),
    ):
        _delete_in_portions(rows, guard)
    with _while_uninstalled(guard):
        _erase_people(portal)


def _erase_people(portal: Portal) -> None:
    if portal.uninstall_is_clean:
        portal.delete()
        return
    Person.objects.filter(portal=portal).delete()
    Portal.objects.filter(pk=portal.pk).update(
        status=Portal.Status.UNINSTALLED,
        uninstalled_at=clock.now(),
        uninstalled_token_digest=portal.digest_of_application_token(),
        sealed_application_token="",
        sealed_previous_token="",
        operating={},
        bindings_checked_at=None,
    )


def _orphan_deferrals(portal: Portal) -> None:
    """Tasks that sleep because of us, those that we have paused on the way there, and those that may sleep: what was
    answered about them was lost with the portal. A return reads first, so one too many does no harm."""
    now = clock.now()
    asleep = Deferral.objects.live().filter(portal=portal)
    owed = list(asleep.values_list("task_id", "previous_status", "status_changed_at", "created_at"))
    half_done = ~Q(step=JobItem.Step.NONE) & ~Q(state=JobItem.State.DONE)
    unanswered = Q(state=JobItem.State.SENT, job__kind=Job.Kind.DEFER)
    touched = JobItem.objects.filter(half_done | unanswered, job__portal=portal, status_before__isnull=False)
    owed += [(id, before, None, now) for id, before in touched.values_list("task_id", "status_before") if before]
    OrphanedDeferral.objects.bulk_create(
        (
            OrphanedDeferral(
                portal=portal,
                task_id=task_id,
                previous_status=previous_status,
                status_changed_at=changed_at,
                deferred_at=deferred_at,
                kept_until=now + ORPHAN_LIFE,
            )
            for task_id, previous_status, changed_at, deferred_at in owed
        ),
        ignore_conflicts=True,
    )


def _delete_in_portions(rows: QuerySet[Any], guard: QuerySet[Portal]) -> None:
    """Each portion is a transaction: neither memory nor locks grow with the portal. Nothing may hang on the rows."""
    while portion := list(rows.values_list("pk", flat=True)[:PORTION]):
        with _while_uninstalled(guard):
            rows.model._default_manager.filter(pk__in=portion).delete()


def delete_expired() -> None:
    """Delete what a removed portal left behind, when its time is over."""
    now = clock.now()
    Portal.objects.filter(status=Portal.Status.UNINSTALLED, uninstalled_at__lt=now - ORPHAN_LIFE).delete()
    OrphanedDeferral.objects.filter(kept_until__lt=now).delete()


def was_uninstalled(portal: Portal) -> bool:
    """Whether the app may have been removed before: the epoch has risen then. Where it never did, nothing is owed."""
    return portal.epoch > 1
