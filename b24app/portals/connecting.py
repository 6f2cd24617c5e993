"""Connecting from outside a frame: the portal sends a person back to the app with a code."""

from django.conf import settings

from b24app import clock
from b24app.bitrix import oauth
from b24app.models import Person, Portal
from b24app.portals import clients, credentials, outgoing, people
from b24app.portals.openings import NotProven


def at_domain(domain: str) -> Portal | None:
    """The active portal at this address (host and port)."""
    schemes = ("https", "http") if settings.B24_ALLOW_LOCAL_PORTALS else ("https",)
    endpoints = [f"{scheme}://{domain.lower()}/rest/" for scheme in schemes]
    return Portal.objects.filter(endpoint__in=endpoints, status=Portal.Status.ACTIVE).first()


def with_app(portal_id: int) -> Portal | None:
    """This portal, if it is active."""
    return Portal.objects.filter(pk=portal_id, status=Portal.Status.ACTIVE).first()


def authorize_url(portal: Portal, state: str) -> str:
    return oauth.authorize_url(portal.origin, outgoing.registration(), state)


def connect_by_code(portal: Portal, code: str) -> Person:
    """The person who came back from `portal` with this code, stored with a fresh token pair.

    The documented answer does not name the person, so the authorization server and the portal are asked.
    Raises NotProven, CredentialRefused if the code is too old or was used before, or another BitrixError.
    """
    received_at = clock.now()
    given = _redeem(portal, code)
    info = credentials.token_info(portal.oauth_url, given.pair.access, portal)
    if {given.member_id, info.member_id} != {portal.member_id} or info.client_id != settings.B24_CLIENT_ID:
        raise NotProven("another portal's code")
    # Calls the stored address. If the portal has moved, the next call of a job finds its new address.
    client = clients.client_for(portal, given.pair.access)
    profile = people.read_profile(client.call("profile").result)
    if {given.user_id or info.user_id, info.user_id} != {profile.user_id}:
        raise NotProven("another person's code")
    return people.save_person(portal, profile, given.pair, received_at)


def _redeem(portal: Portal, code: str) -> oauth.Renewed:
    """Trade the code for a token pair, at the portal's authorization server."""
    egress, app = outgoing.egress(), outgoing.registration()
    with outgoing.journaled("oauth/token", portal) as trace:
        return oauth.redeem(egress, portal.oauth_url, app, code, clock.now(), trace)
