"""Token pairs of people: store them, renew each one only once, and stop using those that the portal rejects."""

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

RENEW_MARGIN = timedelta(minutes=2)  # a token is renewed this long before it expires
Usable = tuple[Credential, oauth.TokenPair]  # the row and its unsealed pair


def token_info(server: str, access_token: str, portal: Portal | None) -> oauth.TokenInfo:
    """Ask an authorization server whose token this is. `portal` is the one that it claims to be for.

    Raises the errors of oauth.token_info.
    """
    with outgoing.journaled("oauth/app.info", portal) as trace:
        return oauth.token_info(outgoing.egress(), server, access_token, trace)


def store_pair(person: Person, pair: oauth.TokenPair, received_at: datetime) -> None:
    """Store a pair that an opening brought at `received_at`.

    It replaces the stored pair, also during a refresh. It does not replace a newer pair that is still usable: a
    portal may take a minute to confirm an opening.
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
    except IntegrityError:  # another opening has created the credential in the meantime
        older.update(version=F("version") + 1, **fresh)


def usable(person: Person, patience: float) -> Usable:
    """The person's credential and its pair, with an access token that has not expired. Renews it if necessary.

    Only one process renews it; the others wait up to `patience` seconds for the result.
    Raises CredentialRefused (the person has to open the app again) or NotRun (another process is renewing it, or the
    authorization server did not answer).
    """
    give_up = time.monotonic() + patience
    while True:
        credential, pair = _stored(person)
        if credential.state != Credential.State.USABLE:
            raise CredentialRefused("needs_reopen")
        if credential.expires_at - clock.now() > RENEW_MARGIN:
            return credential, pair
        if _claim_refresh(credential):
            return _renew(credential, pair)
        if time.monotonic() >= give_up:
            raise NotRun("refreshing", delay=2.0)
        time.sleep(0.1)


def renew_now(credential: Credential) -> Usable:
    """Renew a credential even if it has not expired. Raises like `usable`."""
    pair = _unsealed(credential)
    if not _claim_refresh(credential):
        raise NotRun("refreshing", delay=2.0)
    return _renew(credential, pair)


def _stored(person: Person) -> Usable:
    """The person's credential as it is now. Raises CredentialRefused if there is none, or it cannot be unsealed."""
    try:
        credential = Credential.objects.get(person=person)
    except Credential.DoesNotExist:
        raise CredentialRefused("no_credential") from None
    credential.person = person  # the caller's own object, and not another copy of the row
    return credential, _unsealed(credential)


def _unsealed(credential: Credential) -> oauth.TokenPair:
    """The stored pair. Raises CredentialRefused if the encryption key is gone.

    The credential is then marked `needs_reopen`, because only a new opening can replace it.
    """
    try:
        return oauth.TokenPair(credential.access_token, credential.refresh_token, credential.expires_at)
    except vault.NotOurs:
        logger.error("credential %s: cannot be unsealed with CREDENTIAL_KEYS", credential.pk)
        mark_refused(credential)
        raise CredentialRefused("unreadable") from None


def _claim_refresh(credential: Credential) -> bool:
    """Claim the right to renew this pair. Return False if another process holds it."""
    free = Q(refreshing_until=None) | Q(refreshing_until__lte=database_now())
    claim_end = database_now() + timedelta(seconds=settings.ENGINE_REFRESH_CLAIM)
    mine = Credential.objects.filter(free, pk=credential.pk, version=credential.version)
    return mine.update(refreshing_until=claim_end) == 1


def _renew(credential: Credential, pair: oauth.TokenPair) -> Usable:
    """Trade the refresh token for a new pair, and save it before it is used. The caller holds the claim."""
    try:
        renewed = _refreshed(credential, pair)
    except CredentialRefused as error:
        return _adopt_or_break(credential, error)
    except (NotRun, AccessLost) as error:
        _release_claim(credential)
        if isinstance(error, NotInstalled):
            access.suspend(credential.person.portal, clock.now())
        raise
    except Unknown as error:
        # The next attempt shows whether the old token was used up. The delay spares the server.
        _release_claim(credential)
        raise NotRun(error.code, delay=10.0) from error
    if not _is_for(credential, renewed):
        return _adopt_or_break(credential, CredentialRefused("foreign_answer"))
    failpoints.reach("renewed")
    _save(credential, renewed.pair)
    return _stored(credential.person)


def _refreshed(credential: Credential, pair: oauth.TokenPair) -> oauth.Renewed:
    portal = credential.person.portal
    with outgoing.journaled("oauth/token", portal) as trace:
        return oauth.refresh(
            outgoing.egress(), portal.oauth_url, outgoing.registration(), pair.refresh, clock.now(), trace
        )


def _is_for(credential: Credential, renewed: oauth.Renewed) -> bool:
    """Whether the new pair belongs to the same person of the same portal. Older servers do not name the person."""
    same_person = renewed.user_id in (None, credential.person.user_id)
    return renewed.member_id == credential.person.portal.member_id and same_person


def _save(credential: Credential, pair: oauth.TokenPair) -> None:
    """Store the renewed pair, unless an opening has stored a newer one during the refresh."""
    saved = Credential.objects.filter(pk=credential.pk, version=credential.version).update(
        sealed_access=vault.seal(pair.access, credential.owner),
        sealed_refresh=vault.seal(pair.refresh, credential.owner),
        expires_at=pair.expires_at,
        obtained_at=clock.now(),
        version=F("version") + 1,
        refreshing_until=None,
        state=Credential.State.USABLE,  # a call with the old pair may have been rejected during the refresh
    )
    if not saved:
        logger.info("credential %s: an opening brought a newer pair during the refresh", credential.pk)


def _adopt_or_break(credential: Credential, error: CredentialRefused) -> Usable:
    """The server rejected the stored pair. Return a newer pair if there is one; else mark it `needs_reopen`."""
    broken = Credential.objects.filter(pk=credential.pk, version=credential.version).update(
        state=Credential.State.NEEDS_REOPEN, refreshing_until=None
    )
    if broken:
        logger.warning("credential %s was rejected (%s, request %s)", credential.pk, error.code, error.request_id)
        raise error
    return _stored(credential.person)


def _release_claim(credential: Credential) -> None:
    Credential.objects.filter(pk=credential.pk, version=credential.version).update(refreshing_until=None)


def mark_expired(credential: Credential) -> None:
    """The portal says that this access token has expired, so it has, even if our clock disagrees."""
    Credential.objects.filter(pk=credential.pk, version=credential.version).update(expires_at=clock.now())


def mark_refused(credential: Credential) -> bool:
    """Stop using this pair until the person opens the app again. Return False if there is a newer pair."""
    same_pair = Credential.objects.filter(pk=credential.pk, version=credential.version)
    return same_pair.update(state=Credential.State.NEEDS_REOPEN) == 1


def give_up(person: Person) -> None:
    """The portal keeps rejecting the renewed tokens. Stop using them until the person opens the app again.

    `mark_expired` has marked the rejected pair as expired. A pair that an opening brought since then is kept.
    """
    refused = Credential.objects.filter(person=person, expires_at__lte=clock.now() + RENEW_MARGIN)
    refused.update(state=Credential.State.NEEDS_REOPEN)
