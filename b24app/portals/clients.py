"""The one factory of clients: who asks, for whom, how long, and in which dialect."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from django.conf import settings

from b24app import clock
from b24app.bitrix.client import Client
from b24app.bitrix.dialects import Dialect
from b24app.bitrix.errors import (
    BitrixError,
    CredentialRefused,
    MaybeMoved,
    NoSuchMethod,
    NotInstalled,
    TokenExpired,
)
from b24app.models import Credential, Person, Portal
from b24app.portals import access, credentials, outgoing
from b24app.portals.lease import Lease

logger = logging.getLogger(__name__)


T = TypeVar("T")
WEB_TIMEOUT = 10.0  # seconds; somebody is looking at a page
WEB_PATIENCE = 2.0  # seconds that a page waits for another process's refresh


def ask(person: Person, question: Callable[[Client], T]) -> T:
    """Ask the portal something for a page that somebody is looking at; a token that has expired is renewed once.

    `question` may be asked twice, so it only reads, or may be repeated. Raises what it raises, CredentialRefused,
    or NotRun when another process is still renewing the token.
    """
    try:
        answer = _with_client(person, WEB_PATIENCE, WEB_TIMEOUT, outgoing.FULL_SHARE, None, None, question)
    except TokenExpired:
        answer = _with_client(person, WEB_PATIENCE, WEB_TIMEOUT, outgoing.FULL_SHARE, None, None, question)
    if person.portal.parked_until:
        access.unpark(person)
    return answer


def act(person: Person, lease: Lease, job_id: int | None, work: Callable[[Client], T]) -> T:
    """Let a slice work with the person's own token; the lease is renewed ahead of every request.

    People's requests have precedence: background work leaves a share of the bucket free. Raises what `work`
    raises, LeaseLost, CredentialRefused, or NotRun; nothing is waited for.
    """
    return _with_client(person, 0.0, settings.READ_TIMEOUT, outgoing.BACKGROUND_SHARE, lease, job_id, work)


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
    credential = credentials.usable_credential(person, patience)

    client = Client(
        portal.endpoint,
        credential.access_token,
        outgoing.egress(),
        timeout,
        lambda: outgoing.reserve_request(portal, share, lease),
        outgoing.journal(portal, job_id),
        Dialect(portal.dialect),
    )
    try:
        try:
            return in_its_dialect(portal, client, use)
        except MaybeMoved:
            if not follow_move(credential):
                raise
            return in_its_dialect(portal, replace(client, endpoint=portal.endpoint), use)
    except TokenExpired:
        credentials.mark_expired(credential)
        raise
    except CredentialRefused as error:
        if not credentials.mark_refused(credential):
            raise TokenExpired(error.code) from error  # the pair was renewed meanwhile: the new one may do
        raise
    except NotInstalled:
        access.suspend(portal, clock.now())
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
        info = credentials.token_info(portal.oauth_url, credential.access_token, portal)
    except BitrixError:
        return False  # the caller's own error says it all
    is_new = info.endpoint != portal.endpoint and outgoing.egress().admits_url(info.endpoint)
    if info.member_id != portal.member_id or not is_new:
        return False
    Portal.objects.filter(pk=portal.pk).update(endpoint=info.endpoint)
    logger.info("portal %s has moved", portal.pk)
    portal.endpoint = info.endpoint
    return True
