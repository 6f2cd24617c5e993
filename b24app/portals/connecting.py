"""Connecting from outside a frame: a person comes back from the portal with a code."""

from django.conf import settings

from b24app import clock
from b24app.bitrix import oauth
from b24app.bitrix.client import Client
from b24app.models import Person, Portal
from b24app.portals import clients, credentials, outgoing, people
from b24app.portals.openings import NotProven


def at_domain(domain: str) -> Portal | None:
    """The portal that has the app at this address, host and port."""
    schemes = ("https", "http") if settings.B24_ALLOW_LOCAL_PORTALS else ("https",)
    endpoints = [f"{scheme}://{domain.lower()}/rest/" for scheme in schemes]
    return Portal.objects.filter(endpoint__in=endpoints, status=Portal.Status.ACTIVE).first()


def with_app(portal_id: int) -> Portal | None:
    return Portal.objects.filter(pk=portal_id, status=Portal.Status.ACTIVE).first()


def authorize_url(portal: Portal, state: str) -> str:
    return oauth.authorize_url(portal.origin, outgoing.registration(), state)


def connect_by_code(portal: Portal, code: str) -> Person:
    """The person who came back from `portal` with this code, whoever it was, with their fresh pair.

    The documented answer does not name them: the authorization server and the portal do.
    Raises NotProven, CredentialRefused when the code is too old or was used before, or another BitrixError.
    """
    egress, received_at = outgoing.egress(), clock.now()
    with outgoing.journaled("oauth/token", portal) as trace:
        given = oauth.redeem(egress, portal.oauth_url, outgoing.registration(), code, clock.now(), trace)
    info = credentials.token_info(portal.oauth_url, given.pair.access, portal)
    if {given.member_id, info.member_id} != {portal.member_id} or info.client_id != settings.B24_CLIENT_ID:
        raise NotProven("another portal's code")
    # At the stored address, as ever; a portal that has moved meanwhile is followed by the next call of a job.
    client = Client(
        portal.endpoint,
        given.pair.access,
        egress,
        clients.WEB_TIMEOUT,
        before=lambda: outgoing.reserve_request(portal, outgoing.FULL_SHARE),
        after=outgoing.journal(portal),
    )
    profile = people.read_profile(client.call("profile").result)
    if {given.user_id or info.user_id, info.user_id} != {profile.user_id}:
        raise NotProven("another person's code")
    return people.save_person(portal, profile, given.pair, received_at)
