"""Openings: prove who opened the app, and at which portal.

The app trusts only the authorization servers on its list, and portals at the addresses that they have named.
Everything else in an opening is a claim.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import QuerySet

from b24app import clock
from b24app.bitrix import bounds, oauth
from b24app.bitrix.client import Answer, Client, Command, Reply, success
from b24app.bitrix.dialects import Dialect
from b24app.bitrix.errors import (
    AccessLost,
    CredentialRefused,
    MaybeMoved,
    NoSuchMethod,
    Refused,
    TokenExpired,
)
from b24app.bitrix.payloads import Opening
from b24app.models import Person, Portal
from b24app.portals import clients, credentials, outgoing, people
from b24app.portals.people import Profile

LONGEST_PLAN = 20  # characters
OPENING_TIMEOUT = 3.0  # seconds; after it the page shows a skeleton and asks again
MODERN_SIGN = "modern"  # batch key of a modern method: a portal that answers it understands the modern dialect
VIEWER = "$result[me][ID]"  # in a page's own command: the user id of the person who opens the page


class NotProven(Exception):
    """No trusted server confirms this opening. Nothing was stored."""


@dataclass(frozen=True)
class Opened:
    """A proven opening: the person who opened the page, and the portal's answer to the page's own command."""

    person: Person
    answer: Reply


def installed(member_id: str) -> QuerySet[Portal]:
    """The portal of this member id, if it is active."""
    return Portal.objects.filter(member_id=member_id, status=Portal.Status.ACTIVE)


def open_page(
    opening: Opening,
    command: Command,
    timeout: float = OPENING_TIMEOUT,
    received_at: datetime | None = None,
    known: Portal | None = None,
) -> Opened:
    """Prove an opening and run the page's own `command`, in one round trip if we know the portal.

    `received_at` is the time of the opening (default: now). `known` is the portal if the caller has read it already.
    The token is sent to the portal's *stored* address: the portal rejects a stranger's token, and answers with the
    name of another app to another app's token. Only if that proves nothing, or if the opening comes from another
    address, ask the authorization server.
    Raises NotProven; NotRun or Unknown if the portal did not answer in time (then nothing was stored); AccessLost if
    the portal rejects the app itself (plan, payment, scope).
    """
    visit = _Visit(opening, command, timeout, received_at or clock.now())
    portal = known or installed(opening.member_id).first()
    is_rejected = False
    if portal and _comes_from(portal, opening):
        try:
            return _opened_at(portal, visit)
        except MaybeMoved:
            pass
        except (CredentialRefused, TokenExpired, Refused, NotProven):
            is_rejected = True  # the portal may have moved, or the opening is a forgery
    return _opened_by_proof(visit, is_rejected)


@dataclass(frozen=True)
class _Visit:
    """An opening to be proven, and what the page wants to ask the portal with it."""

    opening: Opening
    command: Command
    timeout: float  # seconds for the portal's answer
    received_at: datetime


def _comes_from(portal: Portal, opening: Opening) -> bool:
    """Whether the opening claims the stored address of the portal, or no address."""
    return not opening.domain or urlsplit(f"//{opening.domain}").hostname == urlsplit(portal.endpoint).hostname


def prove(opening: Opening, *, installing: bool = False) -> oauth.TokenInfo:
    """Ask an authorization server on our list about the token. Raises NotProven, AccessLost, NotRun or Unknown.

    Until the installer has finished, the server says that the app is not installed. Only the installer accepts that.
    """
    claimed = Portal.objects.filter(member_id=opening.member_id).first()
    for server in _servers(opening.server_endpoint):
        try:
            info = credentials.token_info(server, opening.access_token, claimed)
        except AccessLost as error:
            if not isinstance(error, CredentialRefused) and error.code.lower() != "invalid_client":
                raise
            continue  # another server may know this token
        if info.client_id != settings.B24_CLIENT_ID:
            raise NotProven("another app's token")
        if info.member_id != opening.member_id:
            raise NotProven("another portal's token")
        if not (info.installed or installing) or not outgoing.egress().admits_endpoint(info.endpoint):
            raise NotProven("not installed there")
        return info
    raise NotProven("no authorization server knows this token")


def save_portal(info: oauth.TokenInfo) -> Portal:
    """Create or update the portal of a proven token."""
    portal, _ = Portal.objects.update_or_create(
        member_id=info.member_id,
        defaults={
            "endpoint": info.endpoint,
            "oauth_url": info.server,
            "status": Portal.Status.ACTIVE,
            "uninstall_reported_at": None,
            "uninstalled_at": None,
            "uninstalled_token_digest": "",
        },
    )
    return portal


def _servers(endpoint: str) -> list[str]:
    """The authorization servers to ask: the named one if it is on our list, otherwise all of the list."""
    named = oauth.server_of(endpoint) if endpoint else ""
    return [named] if named in settings.B24_OAUTH_URLS else list(settings.B24_OAUTH_URLS)


def _opened_by_proof(visit: _Visit, is_rejected: bool) -> Opened:
    """Ask the authorization server where the portal is, and then the portal at that address.

    `is_rejected` says that the stored address has rejected the token.
    """
    try:
        info = prove(visit.opening)
    except AccessLost as error:
        if is_rejected:  # a token of a portal without access, sent to another portal
            raise NotProven(error.code) from error
        raise
    portal = save_portal(info)
    try:
        return _opened_at(portal, visit, info.user_id)
    except (CredentialRefused, TokenExpired, Refused) as error:
        raise NotProven(error.code) from error


def _opened_at(portal: Portal, visit: _Visit, user_id: int | None = None) -> Opened:
    """Send the token to the portal. Store the person (`user_id`, if that is proven already) and their fresh pair."""
    client = clients.client_for(portal, visit.opening.access_token, replace(clients.PAGE, timeout=visit.timeout))
    me, command = Command("me", "profile"), visit.command
    answers = client.batch([Command("app", "app.info"), me, command, *_questions_about_dialect(portal)])
    plan = _check_app(success(answers["app"]).result)
    profile = people.read_profile(success(answers["me"]).result)
    if user_id not in (None, profile.user_id):
        raise NotProven("another person's token")
    if portal.plan != plan:
        Portal.objects.filter(pk=portal.pk).update(plan=plan)
    person = save_visitor(portal, profile, visit.opening, visit.received_at)
    if isinstance(answers.get(MODERN_SIGN), Answer):
        clients.learn_dialect(portal, Dialect.MODERN)
    return Opened(person, _answer_in_its_dialect(portal, client, [me, command], answers[command.key]))


def _questions_about_dialect(portal: Portal) -> list[Command]:
    """A box with the legacy dialect may have been updated: every opening tries a modern method."""
    return [Command(MODERN_SIGN, "tasks.task.getfields")] if portal.dialect == Portal.Dialect.LEGACY else []


def _answer_in_its_dialect(portal: Portal, client: Client, commands: Sequence[Command], answer: Reply) -> Reply:
    """The answer to the last of `commands`. If its method does not exist, ask again in the other dialect."""
    if not isinstance(answer, NoSuchMethod):
        return answer
    again = replace(client, dialect=client.dialect.other)
    found = again.batch(commands)[commands[-1].key]
    if isinstance(found, Answer):
        clients.learn_dialect(portal, again.dialect)
    return found


def _check_app(result: Any) -> str:
    """The portal's plan. Raises NotProven if the token belongs to another app: it must not open ours."""
    if not isinstance(result, dict) or result.get("CODE") != settings.B24_APP_CODE:
        raise NotProven("another app's token")
    return bounds.text(result.get("LICENSE_FAMILY"), LONGEST_PLAN)


def save_visitor(portal: Portal, profile: Profile, opening: Opening, received_at: datetime) -> Person:
    """Store the proven person of an opening. An administrator's opening also brings the application token."""
    expires_at = received_at + timedelta(seconds=min(opening.lifetime, oauth.LIFETIME))
    pair = oauth.TokenPair(opening.access_token, opening.refresh_token, expires_at)
    person = people.save_person(portal, profile, pair, received_at, language=opening.language or "en")
    if profile.is_admin and opening.application_token:
        # Every user can read and forge this field in their browser, so only an administrator's opening may change it.
        before = portal.sealed_application_token
        portal.learn_application_token(opening.application_token, clock.now())
        if portal.sealed_application_token != before:
            portal.save(update_fields=["sealed_application_token", "sealed_previous_token", "token_learned_at"])
    return person
