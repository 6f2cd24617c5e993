"""Credentials: keep token pairs alive, and act for a person with theirs and nobody else's."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q

from b24app import dates, exchanges, failpoints, refusals, vault
from b24app.bitrix import oauth
from b24app.bitrix.client import Client
from b24app.bitrix.dialects import Dialect
from b24app.bitrix.errors import (
    AccessLost,
    BitrixError,
    CredentialRefused,
    Elsewhere,
    Expired,
    NoSuchMethod,
    NotInstalled,
    NotRun,
    Unknown,
)
from b24app.models import Credential, Lease, Person, Portal, database_now

logger = logging.getLogger(__name__)

T = TypeVar("T")

WEB_TIMEOUT = 10.0  # seconds; somebody is looking at a page
WEB_PATIENCE = 2.0  # seconds that a page waits for another process's refresh
RENEW_MARGIN = timedelta(minutes=2)
REFUTATION_HOLDS = timedelta(minutes=10)  # after the authorization server called the app installed


# -- Token pairs --------------------------------------------------------------------------------------


def token_info(server: str, access_token: str, portal: Portal | None) -> oauth.TokenInfo:
    """Ask an authorization server whose token this is; `portal` is the one that it claims. Raises like oauth's."""
    with exchanges.journaled("oauth/app.info", portal) as trace:
        return oauth.token_info(exchanges.reach(), server, access_token, trace)


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
        if credential.expires_at - dates.now() > RENEW_MARGIN:
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
            suspend(credential.person.portal, dates.now())
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
        obtained_at=dates.now(),
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
    with exchanges.journaled("oauth/token", portal) as trace:
        return oauth.refresh(
            exchanges.reach(), portal.oauth_url, exchanges.registration(), refresh_token, dates.now(), trace
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
    Credential.objects.filter(pk=credential.pk, version=credential.version).update(expires_at=dates.now())


def mark_refused(credential: Credential) -> bool:
    """No calls with this pair until the person opens the app again; says False when there is a newer pair."""
    same_pair = Credential.objects.filter(pk=credential.pk, version=credential.version)
    return same_pair.update(state=Credential.State.NEEDS_REOPEN) == 1


def give_up(person: Person) -> None:
    """However often this person's pair was renewed, the portal did not take it: wait for an opening.

    The pair that was refused counts as expired by now (mark_expired); one that an opening brought meanwhile does not.
    """
    refused = Credential.objects.filter(person=person, expires_at__lte=dates.now() + RENEW_MARGIN)
    refused.update(state=Credential.State.NEEDS_REOPEN)


# -- Clients ------------------------------------------------------------------------------------------


def ask(person: Person, question: Callable[[Client], T]) -> T:
    """Ask the portal something for a page that somebody is looking at; a token that has expired is renewed once.

    `question` may be asked twice, so it only reads, or may be repeated. Raises what it raises, CredentialRefused,
    or NotRun when another process is still renewing the token.
    """
    try:
        answer = _with_client(person, WEB_PATIENCE, WEB_TIMEOUT, exchanges.FULL_SHARE, None, None, question)
    except Expired:
        answer = _with_client(person, WEB_PATIENCE, WEB_TIMEOUT, exchanges.FULL_SHARE, None, None, question)
    if person.portal.parked_until:
        refusals.unpark(person)
    return answer


def act(person: Person, lease: Lease, job_id: int | None, work: Callable[[Client], T]) -> T:
    """Let a slice work with the person's own token; the lease is renewed ahead of every request.

    People's requests have precedence: background work leaves a share of the bucket free. Raises what `work`
    raises, LeaseLost, CredentialRefused, or NotRun; nothing is waited for.
    """
    return _with_client(person, 0.0, settings.READ_TIMEOUT, exchanges.BACKGROUND_SHARE, lease, job_id, work)


def _with_client(
    person: Person,
    patience: float,
    timeout: float,
    share: float,
    lease: Lease | None,
    job_id: int | None,
    use: Callable[[Client], T],
) -> T:
    """Call `use` with a client for the person, and tell their credential when the portal refuses its token."""
    portal = person.portal
    credential = usable_credential(person, patience)

    client = Client(
        portal.endpoint,
        credential.access_token,
        exchanges.reach(),
        timeout,
        lambda: exchanges.reserve_request(portal, share, lease),
        exchanges.journal(portal, job_id),
        Dialect(portal.dialect),
    )
    try:
        try:
            return in_its_dialect(portal, client, use)
        except Elsewhere:
            if not follow_move(credential):
                raise
            return in_its_dialect(portal, replace(client, endpoint=portal.endpoint), use)
    except Expired:
        mark_expired(credential)
        raise
    except CredentialRefused as error:
        if not mark_refused(credential):
            raise Expired(error.code) from error  # the pair was renewed meanwhile: the new one may do
        raise
    except NotInstalled:
        suspend(portal, dates.now())
        raise


def in_its_dialect(portal: Portal, client: Client, use: Callable[[Client], T]) -> T:
    """Call `use`; where a method is missing, once more in the other dialect, which is remembered if it works.

    `use` may be called twice: a method that does not exist has done nothing. Raises what `use` raises.
    """
    try:
        return use(client)
    except NoSuchMethod:
        result = use(replace(client, dialect=client.dialect.other))
        learn_dialect(portal, client.dialect.other)
        return result


def learn_dialect(portal: Portal, dialect: Dialect) -> None:
    """Remember how the portal speaks of tasks. Boxes without tasks.task.* defer a task in progress in one step,
    until one of them refuses to."""
    portal.dialect, portal.defers_directly = Portal.Dialect(dialect.value), dialect is Dialect.LEGACY or None
    Portal.objects.filter(pk=portal.pk).update(dialect=portal.dialect, defers_directly=portal.defers_directly)
    logger.info("portal %s speaks the %s dialect", portal.pk, dialect)


def follow_move(credential: Credential) -> bool:
    """Ask the authorization server where the portal is now; keep a new address, and say whether there is one.

    Where a redirect points to is no evidence: anybody may own the old address by now.
    """
    portal = credential.person.portal
    try:
        info = token_info(portal.oauth_url, credential.access_token, portal)
    except BitrixError:
        return False  # the caller's own error says it all
    is_new = info.endpoint != portal.endpoint and exchanges.reach().admits_url(info.endpoint)
    if info.member_id != portal.member_id or not is_new:
        return False
    Portal.objects.filter(pk=portal.pk).update(endpoint=info.endpoint)
    logger.info("portal %s has moved", portal.pk)
    portal.endpoint = info.endpoint
    return True


def suspend(portal: Portal, now: datetime) -> None:
    """Stop all work for a portal that seems to have removed the app, until the authorization server has spoken.

    Tickets issued before are void. May be repeated. Just after the authorization server has called the app
    installed, nobody else's word counts.
    """
    refuted_long_ago = Q(removal_refuted_at=None) | Q(removal_refuted_at__lte=now - REFUTATION_HOLDS)
    active = Portal.objects.filter(refuted_long_ago, pk=portal.pk, status=Portal.Status.ACTIVE)
    active.update(
        status=Portal.Status.SUSPENDED,
        epoch=F("epoch") + 1,
        removal_reported_at=now,
        removal_is_clean=False,
    )
