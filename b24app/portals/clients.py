"""Clients for one person's calls to one portal: who calls, how long a call may take, and in which dialect."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from django.conf import settings

from b24app import clock
from b24app.bitrix import http
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
from b24app.models import Person, Portal
from b24app.portals import access, credentials, gate, outgoing
from b24app.portals.lease import Lease

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Caller:
    """On whose behalf a client calls: for a page that a person waits for, or for a slice that holds a lease."""

    patience: float  # seconds to wait while another process renews the token
    timeout: float  # seconds for one request
    share: float  # of the portal's request bucket
    lease: Lease | None = None  # renewed before every request
    job_id: int | None = None  # for the journal
    latest_start: float | None = None  # seconds until a request must have left

    @classmethod
    def slice(cls, lease: Lease, job_id: int | None) -> Self:
        """A slice never waits, and leaves a share of the bucket to pages."""
        return cls(
            0.0, settings.ENGINE_READ_TIMEOUT, outgoing.BACKGROUND_SHARE, lease, job_id, settings.ENGINE_LATEST_START
        )


PAGE = Caller(patience=2.0, timeout=10.0, share=outgoing.FULL_SHARE)


def client_for(portal: Portal, token: str, caller: Caller = PAGE) -> Client:
    """A client that calls the stored address of the portal, in its dialect and within its rate limit."""
    client = _client(
        portal.endpoint, token, portal, caller, lambda: outgoing.reserve_request(portal, caller.share, caller.lease)
    )
    return replace(client, dialect=Dialect(portal.dialect))


def client_at(endpoint: str, token: str, portal: Portal | None, caller: Caller = PAGE) -> Client:
    """A client for an address of a portal that may not be stored yet, so it has no rate limit. The caller has
    proven the address. `portal` is for the journal."""
    return _client(endpoint, token, portal, caller, lambda: None)


def _client(endpoint: str, token: str, portal: Portal | None, caller: Caller, before: Callable[[], None]) -> Client:
    """A client whose calls pass the gate of the portal, then `before`, and then go into the journal."""
    way = gate.Pass(endpoint, caller.timeout, is_slice=caller.lease is not None)
    enter, leave = gate.hooks(way, before, outgoing.journal(portal, caller.job_id))
    longest = http.LONGEST_BATCH if caller.lease else http.LONGEST_PAGE
    return Client(
        endpoint, token, outgoing.egress(), caller.timeout, longest, enter, leave, latest_start=caller.latest_start
    )


def ask(person: Person, question: Callable[[Client], T]) -> T:
    """Call the portal for a page that a person is waiting for. An expired token is renewed once.

    `question` may be called twice, so it must only read, or be safe to repeat. Raises what it raises,
    CredentialRefused, or NotRun if another process is still renewing the token.
    """
    try:
        answer = _with_client(person, PAGE, question)
    except TokenExpired:
        answer = _with_client(person, PAGE, question)
    if person.portal.parked_until:
        access.unpark(person)
    return answer


def act(person: Person, lease: Lease, job_id: int | None, work: Callable[[Client], T]) -> T:
    """Let a slice call the portal with the person's own token. The lease is renewed before every request.

    Raises what `work` raises, LeaseLost, CredentialRefused, or NotRun. It never waits.
    """
    return _with_client(person, Caller.slice(lease, job_id), work)


def _with_client(person: Person, caller: Caller, use: Callable[[Client], T]) -> T:
    """Call `use` with a client for the person. Record it if the portal rejects the token, or the app."""
    portal = person.portal
    credential, pair = credentials.usable(person, caller.patience)
    try:
        return _at_its_address(portal, client_for(portal, pair.access, caller), use)
    except TokenExpired:
        credentials.mark_expired(credential)
        raise
    except CredentialRefused as error:
        if not credentials.mark_refused(credential):
            raise TokenExpired(error.code) from error  # the pair was renewed in the meantime: the new one may work
        raise
    except NotInstalled:
        access.suspend(portal, clock.now())
        raise


def _at_its_address(portal: Portal, client: Client, use: Callable[[Client], T]) -> T:
    """Call `use`. If the portal has moved, store its new address and call `use` once more."""
    try:
        return _in_its_dialect(portal, client, use)
    except MaybeMoved:
        if not follow_move(portal, client.access_token):
            raise
    return _in_its_dialect(portal, replace(client, endpoint=portal.endpoint), use)


def _in_its_dialect(portal: Portal, client: Client, use: Callable[[Client], T]) -> T:
    """Call `use`. If a method is missing, call it once more in the other dialect, and store that if it works.

    Calling twice is safe: a method that does not exist has done nothing. Raises what `use` raises.
    """
    try:
        return use(client)
    except NoSuchMethod:
        result = use(replace(client, dialect=client.dialect.other))
        learn_dialect(portal, client.dialect.other)
        return result


def learn_dialect(portal: Portal, dialect: Dialect) -> None:
    """Store which dialect the portal understands.

    A box without tasks.task.* is expected to defer a task in progress in one step, until it refuses to.
    """
    portal.dialect, portal.defers_directly = Portal.Dialect(dialect.value), dialect is Dialect.LEGACY or None
    Portal.objects.filter(pk=portal.pk).update(dialect=portal.dialect, defers_directly=portal.defers_directly)
    logger.info("portal %s uses the %s dialect", portal.pk, dialect)


def follow_move(portal: Portal, token: str) -> bool:
    """Ask the authorization server for the portal's address. Store it if it is new; return whether it was.

    Never trust the redirect target: the old domain may belong to someone else. Ask the authorization server.
    """
    try:
        info = credentials.token_info(portal.oauth_url, token, portal)
    except BitrixError:
        return False  # the caller raises the error that it has already
    is_new = info.endpoint != portal.endpoint and outgoing.egress().admits_endpoint(info.endpoint)
    if info.member_id != portal.member_id or not is_new:
        return False
    Portal.objects.filter(pk=portal.pk).update(endpoint=info.endpoint)
    logger.info("portal %s has moved", portal.pk)
    portal.endpoint = info.endpoint
    return True
