"""Tenants: prove who opened us, install and uninstall. Trusted is what an authorization server of our list says;
everything else is a claim."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import QuerySet

from b24app import clock
from b24app.bitrix import oauth
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

OPENING_TIMEOUT = 3.0  # seconds; who opens the page then is shown a skeleton while we go on asking
MODERN_SIGN = "modern"  # batch key: what answers here is no old box any more
VIEWER = "$result[me][ID]"  # in a page's own command: the user id of whoever opens the page


class NotProven(Exception):
    """Nobody trustworthy confirms this opening. Nothing was stored."""


@dataclass(frozen=True)
class Opened:
    """A proven opening: who opened the page, and what the portal answered to the page's own command."""

    person: Person
    answer: Reply


def installed(member_id: str) -> QuerySet[Portal]:
    """The portal of this member id, where it has the app and nobody says that it was removed."""
    return Portal.objects.filter(member_id=member_id, status=Portal.Status.ACTIVE)


def open_page(
    opening: Opening,
    command: Command,
    timeout: float = OPENING_TIMEOUT,
    received_at: datetime | None = None,
    known: Portal | None = None,
) -> Opened:
    """Prove an opening and ask the page's own `command`, in one round trip for a portal that we know.

    `received_at` is when it came, where that was not now; `known` is the portal, where it was looked up already.

    The token is shown to the portal's *stored* address: a stranger's token is refused there, and another app's
    token names another app. Only when that does not prove it, or the opening comes from another address, is the
    authorization server asked.
    Raises NotProven; NotRun or Unknown when the portal did not answer in time (nothing was stored then);
    AccessLost when the portal refuses the app as such.
    """
    received_at = received_at or clock.now()
    portal = known or installed(opening.member_id).first()
    refused = False
    if portal and _comes_from(portal, opening):
        try:
            return _opened_at(portal, opening, command, timeout, received_at)
        except MaybeMoved:
            pass
        except (CredentialRefused, TokenExpired, Refused, NotProven):
            refused = True  # the portal may have moved, or this is a forgery: the authorization server knows
    try:
        info = prove(opening)
    except AccessLost as error:
        if refused:  # the token of a portal without access, shown to one that does not know it
            raise NotProven(error.code) from error
        raise
    portal = save_portal(info)
    try:
        return _opened_at(portal, opening, command, timeout, received_at, info.user_id)
    except (CredentialRefused, TokenExpired, Refused) as error:
        raise NotProven(error.code) from error


def _comes_from(portal: Portal, opening: Opening) -> bool:
    """Whether the opening claims the stored address of the portal, or none."""
    return not opening.domain or urlsplit(f"//{opening.domain}").hostname == urlsplit(portal.endpoint).hostname


def prove(opening: Opening, *, installing: bool = False) -> oauth.TokenInfo:
    """Ask an authorization server of our list about the token. Raises NotProven, AccessLost, NotRun or Unknown.

    Until the installer has finished, the server calls the app not installed: only the installer may pass by that.
    """
    claimed = Portal.objects.filter(member_id=opening.member_id).first()
    for server in _servers(opening.server_endpoint):
        try:
            info = credentials.token_info(server, opening.access_token, claimed)
        except AccessLost as error:
            if not isinstance(error, CredentialRefused) and error.code.lower() != "invalid_client":
                raise
            continue  # not a token of this server
        if info.client_id != settings.B24_CLIENT_ID:
            raise NotProven("another app's token")
        if info.member_id != opening.member_id:
            raise NotProven("another portal's token")
        if not (info.installed or installing) or not outgoing.egress().admits_url(info.endpoint):
            raise NotProven("not installed there")
        return info
    raise NotProven("no authorization server knows this token")


def save_portal(info: oauth.TokenInfo) -> Portal:
    """The portal of a proven token, created or brought up to date."""
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
    """The authorization servers to ask: the one that was named, if it is on our list, else all of the list."""
    named = oauth.server_of(endpoint) if endpoint else ""
    return [named] if named in settings.B24_OAUTH_URLS else list(settings.B24_OAUTH_URLS)


def _opened_at(
    portal: Portal,
    opening: Opening,
    command: Command,
    timeout: float,
    received_at: datetime,
    user_id: int | None = None,
) -> Opened:
    """Show the token to the portal; store who came (`user_id`, if that is proven), and their fresh pair."""
    client = Client(
        portal.endpoint,
        opening.access_token,
        outgoing.egress(),
        timeout,
        before=lambda: outgoing.reserve_request(portal, outgoing.FULL_SHARE),
        after=outgoing.journal(portal),
        dialect=Dialect(portal.dialect),
    )
    me = Command("me", "profile")
    answers = client.batch([Command("app", "app.info"), me, command, *_questions_about_dialect(portal)])
    plan = _check_app(success(answers["app"]).result)
    profile = people.read_profile(success(answers["me"]).result)
    if user_id not in (None, profile.user_id):
        raise NotProven("another person's token")
    if portal.plan != plan:
        Portal.objects.filter(pk=portal.pk).update(plan=plan)
    person = save_visitor(portal, profile, opening, received_at)
    if isinstance(answers.get(MODERN_SIGN), Answer):
        clients.learn_dialect(portal, Dialect.MODERN)
    return Opened(person, _answer_in_its_dialect(portal, client, [me, command], answers[command.key]))


def _questions_about_dialect(portal: Portal) -> list[Command]:
    """A box that spoke the old dialect may have been updated since: every opening asks for a modern method."""
    return [Command(MODERN_SIGN, "tasks.task.getfields")] if portal.dialect == Portal.Dialect.LEGACY else []


def _answer_in_its_dialect(portal: Portal, client: Client, commands: Sequence[Command], answer: Reply) -> Reply:
    """The answer to the last of `commands`, asked for once more where its method does not exist."""
    if not isinstance(answer, NoSuchMethod):
        return answer
    again = replace(client, dialect=client.dialect.other)
    found = again.batch(commands)[commands[-1].key]
    if isinstance(found, Answer):
        clients.learn_dialect(portal, again.dialect)
    return found


def _check_app(result: Any) -> str:
    """The portal's plan, once its app.info names our app. A token of another app must not open ours."""
    if not isinstance(result, dict) or result.get("CODE") != settings.B24_APP_CODE:
        raise NotProven("another app's token")
    return str(result.get("LICENSE_FAMILY") or "")[:20]


def save_visitor(portal: Portal, profile: Profile, opening: Opening, received_at: datetime) -> Person:
    """The proven person of an opening, and what an admin's opening teaches us about the portal."""
    expires_at = received_at + timedelta(seconds=min(opening.lifetime, oauth.LIFETIME))
    pair = oauth.TokenPair(opening.access_token, opening.refresh_token, expires_at)
    person = people.save_person(portal, profile, pair, received_at, language=opening.language or "en")
    if profile.is_admin and opening.application_token:
        # Every user can read this token in their browser, so only an admin's opening may change it.
        before = portal.sealed_application_token
        portal.learn_application_token(opening.application_token, clock.now())
        if portal.sealed_application_token != before:
            portal.save(update_fields=["sealed_application_token", "sealed_previous_token", "token_learned_at"])
    return person
