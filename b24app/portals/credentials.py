"""Token pairs of people: store them, refresh each once, and give up those that the portal rejects."""

import logging
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q

from b24app import clock, failpoints, vault
from b24app.bitrix import oauth
from b24app.bitrix.errors import (
    AccessLost,
    CredentialRefused,
    NotInstalled,
    NotRun,
    Unknown,
)
from b24app.clock import database_now
from b24app.models import Credential, Person, Portal
from b24app.portals import access, outgoing

logger = logging.getLogger(__name__)


RENEW_MARGIN = timedelta(minutes=2)


def token_info(server: str, access_token: str, portal: Portal | None) -> oauth.TokenInfo:
    """Ask an authorization server whose token this is; `portal` is the one that it claims. Raises like oauth's."""
    with outgoing.journaled("oauth/app.info", portal) as trace:
        return oauth.token_info(outgoing.egress(), server, access_token, trace)


def store_pair(person: Person, pair: oauth.TokenPair, received_at: datetime) -> None:
    """Keep a pair that an opening brought at that moment.

    It replaces whatever was there, a refresh in flight included, unless that came later and is still used: a portal
    may take a minute to confirm an opening.
    """
    owner = f"{person.portal.member_id}:{person.user_id}"
    fresh = {
        "sealed_access": vault.seal(pair.access, owner),
        "sealed_refresh": vault.seal(pair.refresh, owner),
        "expires_at": pair.expires_at,
        "obtained_at": received_at,
        "state": Credential.State.USABLE,
        "refreshing_until": None,
    }
    mine = Credential.objects.filter(person=person)
    older = mine.filter(Q(obtained_at__lte=received_at) | ~Q(state=Credential.State.USABLE))
    if older.update(version=F("version") + 1, **fresh) or mine.exists():
        return
    try:
        with transaction.atomic():
            Credential.objects.create(person=person, **fresh)
    except IntegrityError:  # another opening was faster with the first one
        older.update(version=F("version") + 1, **fresh)


def usable_credential(person: Person, patience: float) -> Credential:
    """The person's credential with an access token that has not expired, renewed if need be.

    At most one process renews it; the others wait up to `patience` seconds for that one's result.
    Raises CredentialRefused (the person has to open the app again) or NotRun (somebody is renewing it, or the
    authorization server did not answer).
    """
    give_up = time.monotonic() + patience
    while True:
        credential = _credential_of(person)
        if credential.state != Credential.State.USABLE:
            raise CredentialRefused("needs_reopen")
        if credential.expires_at - clock.now() > RENEW_MARGIN:
            return credential
        if _claim_refresh(credential):
            return _renew(credential)
        if time.monotonic() >= give_up:
            raise NotRun("refreshing", delay=2.0)
        time.sleep(0.1)


def renew_now(credential: Credential) -> Credential:
    """Renew a credential whether or not it has expired. Raises like usable_credential; NotRun when somebody else
    is renewing it."""
    if not _claim_refresh(credential):
        raise NotRun("refreshing", delay=2.0)
    return _renew(credential)


def _credential_of(person: Person) -> Credential:
    try:
        credential = Credential.objects.get(person=person)
    except Credential.DoesNotExist:
        raise CredentialRefused("no_credential") from None
    credential.person = person  # the caller's own object, so that it learns where its portal has moved to
    _unsealed(credential)
    return credential


def _unsealed(credential: Credential) -> oauth.TokenPair:
    """The stored pair. Raises CredentialRefused when its key was lost, and nobody tries that one again: only an
    opening brings another."""
    try:
        return oauth.TokenPair(credential.access_token, credential.refresh_token, credential.expires_at)
    except vault.NotOurs:
        logger.error("credential %s: cannot be unsealed with CREDENTIAL_KEYS", credential.pk)
        mark_refused(credential)
        raise CredentialRefused("unreadable") from None


def _claim_refresh(credential: Credential) -> bool:
    """Take the right to renew this very pair, unless another process has it."""
    free = Q(refreshing_until=None) | Q(refreshing_until__lte=database_now())
    claim_end = database_now() + timedelta(seconds=settings.REFRESH_CLAIM)
    mine = Credential.objects.filter(free, pk=credential.pk, version=credential.version)
    return mine.update(refreshing_until=claim_end) == 1


def _renew(credential: Credential) -> Credential:
    """Trade the refresh token for a new pair and save that before anybody uses it. The caller holds the claim."""
    try:
        renewed = _refreshed(credential)
    except CredentialRefused as error:
        return _adopt_or_break(credential, error)
    except (NotRun, AccessLost) as error:
        _release_claim(credential)
        if isinstance(error, NotInstalled):
            access.suspend(credential.person.portal, clock.now())
        raise
    except Unknown as error:
        # Whether the old token was spent, the next attempt will tell; a moment's pause spares the server.
        _release_claim(credential)
        raise NotRun(error.code, delay=10.0) from error
    if not _is_for(credential, renewed):
        return _adopt_or_break(credential, CredentialRefused("foreign_answer"))
    failpoints.reach("renewed")
    saved = Credential.objects.filter(pk=credential.pk, version=credential.version).update(
        sealed_access=vault.seal(renewed.pair.access, credential.owner),
        sealed_refresh=vault.seal(renewed.pair.refresh, credential.owner),
        expires_at=renewed.pair.expires_at,
        obtained_at=clock.now(),
        version=F("version") + 1,
        refreshing_until=None,
        state=Credential.State.USABLE,  # a call with the old pair may have been refused meanwhile
    )
    if not saved:
        logger.info("credential %s: an opening brought a newer pair during the refresh", credential.pk)
    return _credential_of(credential.person)


def _refreshed(credential: Credential) -> oauth.Renewed:
    portal = credential.person.portal
    refresh_token = _unsealed(credential).refresh
    with outgoing.journaled("oauth/token", portal) as trace:
        return oauth.refresh(
            outgoing.egress(), portal.oauth_url, outgoing.registration(), refresh_token, clock.now(), trace
        )


def _is_for(credential: Credential, renewed: oauth.Renewed) -> bool:
    """Whether the new pair belongs to the same person of the same portal; older answers leave out the person."""
    same_person = renewed.user_id in (None, credential.person.user_id)
    return renewed.member_id == credential.person.portal.member_id and same_person


def _adopt_or_break(credential: Credential, error: CredentialRefused) -> Credential:
    """The stored pair was refused: use a newer one if there is, else stop using it until the person comes back."""
    broken = Credential.objects.filter(pk=credential.pk, version=credential.version).update(
        state=Credential.State.NEEDS_REOPEN, refreshing_until=None
    )
    if broken:
        logger.warning("credential %s was refused (%s, request %s)", credential.pk, error.code, error.request_id)
        raise error
    return _credential_of(credential.person)


def _release_claim(credential: Credential) -> None:
    Credential.objects.filter(pk=credential.pk, version=credential.version).update(refreshing_until=None)


def mark_expired(credential: Credential) -> None:
    """The portal says that this access token has expired, whatever our clock says."""
    Credential.objects.filter(pk=credential.pk, version=credential.version).update(expires_at=clock.now())


def mark_refused(credential: Credential) -> bool:
    """No calls with this pair until the person opens the app again; says False when there is a newer pair."""
    same_pair = Credential.objects.filter(pk=credential.pk, version=credential.version)
    return same_pair.update(state=Credential.State.NEEDS_REOPEN) == 1


def give_up(person: Person) -> None:
    """However often this person's pair was renewed, the portal did not take it: wait for an opening.

    The pair that was refused counts as expired by now (mark_expired); one that an opening brought meanwhile does not.
    """
    refused = Credential.objects.filter(person=person, expires_at__lte=clock.now() + RENEW_MARGIN)
    refused.update(state=Credential.State.NEEDS_REOPEN)
