"""Uninstalling: a report suspends the portal, the authorization server confirms it, then the data is erased.

Any user of the app can read its application token in their browser, and report an uninstall with it. So a report
stops the work at once, but nothing is erased before the authorization server has confirmed it:

    active --report, or a dead token--> suspended --"not installed"--> uninstalled (erased)
                                        suspended --a refresh works--> active (reports ignored for ten minutes)
                                        suspended --no answer for a day--> suspended (tokens erased)
                                        suspended --no answer for a week--> uninstalled (erased)
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

TOKENS_KEPT = timedelta(hours=24)  # while no server confirms or refutes the uninstall
DATA_KEPT = timedelta(days=7)  # the same; a person would have opened the app by then
CONFIRMED_SOON = timedelta(hours=1)  # most uninstalls are confirmed within this time; after it we ask once an hour
FIRST_PAUSE, LATER_PAUSE = timedelta(minutes=1), timedelta(hours=1)  # between attempts; TIME_SCALE divides them
ORPHAN_LIFE = timedelta(days=90)
PORTION = 1000  # rows that one transaction deletes
CREDENTIALS_TRIED = 5  # the newest ones; each is one call to the authorization server


def report(event: Event) -> Portal | None:
    """Suspend the portal that an uninstall event names, if the event carries its application token.

    Return the portal whose uninstall must be confirmed, or None if the event is ignored.
    """
    now = clock.now()
    portal = Portal.objects.filter(member_id=event.member_id).first()
    if portal and portal.status == Portal.Status.UNINSTALLED:
        _report_late(portal, event)
        return None
    if not portal or not portal.knows_application_token(event.application_token, now):
        logger.warning("security: uninstall reported with a wrong token, or for an unknown portal")
        return None
    if portal.uninstall_refuted_at and now - portal.uninstall_refuted_at < access.REFUTATION_HOLDS:
        logger.warning("security: portal %s: another uninstall reported soon after a forged one", portal.pk)
        return None
    access.suspend(portal, now)
    if _is_clean(event):  # also if a dead token has suspended the portal before this event
        Portal.objects.filter(pk=portal.pk, status=Portal.Status.SUSPENDED).update(uninstall_is_clean=True)
    logger.info("portal %s: uninstall reported; suspended until it is confirmed", portal.pk)
    portal.refresh_from_db()
    return portal


def _is_clean(event: Event) -> bool:
    return event.data.get("CLEAN") == "1"


def _report_late(portal: Portal, event: Event) -> None:
    """We noticed the uninstall before this event arrived and erased the portal's data. If the event asks for a clean
    uninstall, delete the rest too."""
    if not portal.knew_application_token(event.application_token):
        logger.warning("security: portal %s: uninstall reported with a wrong token after the erasure", portal.pk)
        return
    if _is_clean(event) and _delete_unless_reinstalled(portal):
        logger.info("portal %s: erased before; a clean uninstall was reported late: nothing is kept", portal.pk)


def _delete_unless_reinstalled(portal: Portal) -> bool:
    """Whether the portal is deleted: the app may have been installed again after the caller read it."""
    uninstalled = Portal.objects.filter(pk=portal.pk, status=Portal.Status.UNINSTALLED)
    with transaction.atomic():
        # The update locks the row, so the app cannot be installed again before the deletion.
        if is_still_uninstalled := uninstalled.update(uninstalled_token_digest="") > 0:
            uninstalled.delete()
    return is_still_uninstalled


def unconfirmed() -> list[int]:
    """Ids of suspended portals whose uninstall can be confirmed now, or whose data is due to be erased.

    Each portal is due every FIRST_PAUSE at first, and every LATER_PAUSE after CONFIRMED_SOON.
    """
    now = clock.now()
    is_new = Q(uninstall_reported_at__gt=now - CONFIRMED_SOON)
    tried = is_new & Q(uninstall_checked_at__gt=now - FIRST_PAUSE / settings.TIME_SCALE)
    is_older = Q(uninstall_reported_at__lte=now - CONFIRMED_SOON)
    tried |= is_older & Q(uninstall_checked_at__gt=now - LATER_PAUSE / settings.TIME_SCALE)
    usable = Q(people__credential__state=Credential.State.USABLE)
    has_old_tokens = Q(people__credential__isnull=False, uninstall_reported_at__lt=now - TOKENS_KEPT)
    has_old_data = Q(uninstall_reported_at__lt=now - DATA_KEPT)
    suspended = Portal.objects.filter(status=Portal.Status.SUSPENDED)
    due = suspended.filter(usable | has_old_tokens | has_old_data).exclude(tried)
    return list(due.values_list("pk", flat=True).distinct())


def confirm(portal_id: int) -> None:
    """Ask the authorization server whether the app is still installed, by trading a stored refresh token.

    Safe to repeat; the sweep repeats it until a server has answered. Raises nothing.
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
            continue  # this pair is dead for another reason; another person's may still work
        except BitrixError as error:
            logger.info(
                "portal %s: uninstall not confirmed yet (%s, request %s)", portal.pk, error.code, error.request_id
            )
            return _expire(portal)
        else:
            return _refute(portal)
    return _expire(portal)


def _refute(portal: Portal) -> None:
    """The app is still installed, so the report was forged. Activate the portal again; nothing was lost."""
    Portal.objects.filter(pk=portal.pk, status=Portal.Status.SUSPENDED).update(
        status=Portal.Status.ACTIVE, uninstall_reported_at=None, uninstall_refuted_at=clock.now()
    )
    logger.warning("security: portal %s: the reported uninstall was forged", portal.pk)


def _expire(portal: Portal) -> None:
    """No confirmation for 24 hours: delete the tokens. No confirmation and no opening for 7 days: treat the app as
    uninstalled."""
    unanswered = clock.now() - portal.uninstall_reported_at if portal.uninstall_reported_at else timedelta()
    if unanswered > DATA_KEPT:
        logger.info("portal %s: uninstall never confirmed; treated as confirmed", portal.pk)
        erase(portal)
    elif unanswered > TOKENS_KEPT:
        deleted, _ = Credential.objects.filter(person__portal=portal).delete()
        if deleted:
            logger.info("portal %s: uninstall never confirmed; its tokens are erased", portal.pk)


def erase(portal: Portal) -> None:
    """Erase the data of an uninstalled portal: tokens, names, titles and reasons.

    Unless the administrator asked for a clean uninstall, the orphaned deferrals stay for ORPHAN_LIFE, without any
    names. So a later administrator can still find the tasks that the app left deferred. People, tokens and the
    portal's status change last: if the process dies before that, the uninstall is confirmed and erased again.
    """
    guard = Portal.objects.filter(pk=portal.pk, status=Portal.Status.SUSPENDED, epoch=portal.epoch)
    try:
        _erase(portal, guard)
    except Reinstalled:
        logger.info("portal %s: installed again during the erasure; the rest is kept", portal.pk)
        return
    logger.info("portal %s: people and tokens erased", portal.pk)


class Reinstalled(Exception):
    """The app was installed again before the erasure had finished."""


@contextmanager
def _while_uninstalled(guard: QuerySet[Portal]) -> Iterator[None]:
    """A transaction that holds the portal's row, so that the app cannot be installed again. Raises Reinstalled."""
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
        Portal.objects.filter(pk=portal.pk).delete()
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
    """Keep an orphaned deferral for every task that the app has deferred, has paused, or may have deferred.

    "May have": the answer was lost when the portal was suspended. A return reads the task first, so an orphan too
    many does no harm.
    """
    now = clock.now()
    deferred = Deferral.objects.live().filter(portal=portal)
    orphans = list(deferred.values_list("task_id", "previous_status", "status_changed_at", "created_at"))
    half_done = ~Q(step=JobItem.Step.NONE) & ~Q(state=JobItem.State.DONE)
    unanswered = Q(state=JobItem.State.SENT, job__kind=Job.Kind.DEFER)
    touched = JobItem.objects.filter(half_done | unanswered, job__portal=portal, status_before__isnull=False)
    orphans += [(id, before, None, now) for id, before in touched.values_list("task_id", "status_before") if before]
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
            for task_id, previous_status, changed_at, deferred_at in orphans
        ),
        ignore_conflicts=True,
    )


def _delete_in_portions(rows: QuerySet[Any], guard: QuerySet[Portal]) -> None:
    """Delete in one transaction per portion, so that memory and locks do not grow with the portal.

    No other rows may refer to these.
    """
    while portion := list(rows.values_list("pk", flat=True)[:PORTION]):
        with _while_uninstalled(guard):
            rows.model._default_manager.filter(pk__in=portion).delete()


def delete_expired() -> None:
    """Delete uninstalled portals and orphaned deferrals that are older than ORPHAN_LIFE."""
    now = clock.now()
    for portal in Portal.objects.filter(status=Portal.Status.UNINSTALLED, uninstalled_at__lt=now - ORPHAN_LIFE):
        _delete_unless_reinstalled(portal)
    OrphanedDeferral.objects.filter(kept_until__lt=now).delete()


def was_uninstalled(portal: Portal) -> bool:
    """Whether the app may have been uninstalled before: then the epoch has risen. If it has not, no orphans exist."""
    return portal.epoch > 1
