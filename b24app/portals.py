"""Tenants: prove who opened us, install and uninstall. Trusted is what an authorization server of our list says;
everything else is a claim."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import QuerySet
from django.utils import translation
from django.utils.translation import gettext

from b24app import credentials, dates, exchanges
from b24app.bitrix import oauth
from b24app.bitrix.client import Answer, Client, Command, success
from b24app.bitrix.dialects import Dialect
from b24app.bitrix.errors import (
    AccessLost,
    BitrixError,
    CredentialRefused,
    Elsewhere,
    Expired,
    NoSuchMethod,
    Refused,
    Unknown,
)
from b24app.bitrix.payloads import Opening
from b24app.models import Person, Portal

logger = logging.getLogger(__name__)

REQUIRED_SCOPE = frozenset({"task", "placement", "user_brief", "im"})
PLACEMENTS = (
    "TASK_USER_LIST_TOOLBAR",
    "TASK_GROUP_LIST_TOOLBAR",
    "TASK_LIST_CONTEXT_MENU",
    "TASK_VIEW_TAB",
    "REST_APP_URI",
)
EVENTS = ("ONAPPUNINSTALL",)
# Bitrix24's language codes, for titles in its menus. Ours are the same where both have one.
TITLE_LANGUAGES = ("en", "ru")

OPENING_TIMEOUT = 3.0  # seconds; who opens the page then is shown a skeleton while we go on asking
MODERN_SIGN = "modern"  # batch key: what answers here is no old box any more
VIEWER = "$result[me][ID]"  # in a page's own command: the user id of whoever opens the page


Binding = tuple[str, str]  # the code of a placement or an event, and the handler


class NotProven(Exception):
    """Nobody trustworthy confirms this opening. Nothing was stored."""


class NotAllowed(Exception):
    """The app cannot be set up as things are; `code` says why: "not_admin", "scope", "bind"."""

    def __init__(self, code: str, detail: str = "") -> None:
        self.code, self.detail = code, detail
        super().__init__(code, detail)


@dataclass(frozen=True)
class Profile:
    """Who holds a token, by the portal's own word."""

    user_id: int
    name: str
    zone: str
    is_admin: bool


@dataclass(frozen=True)
class Opened:
    """A proven opening: who opened the page, and what the portal answered to the page's own command."""

    person: Person
    answer: Answer | BitrixError


# -- Proving an opening -------------------------------------------------------------------------------


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
    received_at = received_at or dates.now()
    portal = known or installed(opening.member_id).first()
    refused = False
    if portal and _comes_from(portal, opening):
        try:
            return _opened_at(portal, opening, command, timeout, received_at)
        except Elsewhere:
            pass
        except (CredentialRefused, Expired, Refused, NotProven):
            refused = True  # the portal may have moved, or this is a forgery: the authorization server knows
    try:
        info = prove(opening)
    except AccessLost as error:
        if refused:  # the token of a portal without access, shown to one that does not know it
            raise NotProven(error.code) from error
        raise
    portal = keep_portal(info)
    try:
        return _opened_at(portal, opening, command, timeout, received_at, info.user_id)
    except (CredentialRefused, Expired, Refused) as error:
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
        if not (info.installed or installing) or not exchanges.reach().admits_url(info.endpoint):
            raise NotProven("not installed there")
        return info
    raise NotProven("no authorization server knows this token")


def keep_portal(info: oauth.TokenInfo) -> Portal:
    """The portal of a proven token, created or brought up to date."""
    portal, _ = Portal.objects.update_or_create(
        member_id=info.member_id,
        defaults={
            "endpoint": info.endpoint,
            "oauth_url": info.server,
            "status": Portal.Status.ACTIVE,
            "removal_reported_at": None,
            "removed_at": None,
            "removed_token_digest": "",
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
        exchanges.reach(),
        timeout,
        before=lambda: exchanges.reserve_request(portal, exchanges.FULL_SHARE),
        after=exchanges.journal(portal),
        dialect=Dialect(portal.dialect),
    )
    me = Command("me", "profile")
    answers = client.batch([Command("app", "app.info"), me, command, *_questions_about_dialect(portal)])
    plan = _check_app(success(answers["app"]).result)
    profile = read_profile(success(answers["me"]).result)
    if user_id not in (None, profile.user_id):
        raise NotProven("another person's token")
    if portal.plan != plan:
        Portal.objects.filter(pk=portal.pk).update(plan=plan)
    person = _keep_visitor(portal, profile, opening, received_at)
    if isinstance(answers.get(MODERN_SIGN), Answer):
        credentials.learn_dialect(portal, Dialect.MODERN)
    return Opened(person, _answer_in_its_dialect(portal, client, [me, command], answers[command.key]))


def _questions_about_dialect(portal: Portal) -> list[Command]:
    """A box that spoke the old dialect may have been updated since: every opening asks for a modern method."""
    return [Command(MODERN_SIGN, "tasks.task.getfields")] if portal.dialect == Portal.Dialect.LEGACY else []


def _answer_in_its_dialect(
    portal: Portal, client: Client, commands: Sequence[Command], answer: Answer | BitrixError
) -> Answer | BitrixError:
    """The answer to the last of `commands`, asked for once more where its method does not exist."""
    if not isinstance(answer, NoSuchMethod):
        return answer
    again = replace(client, dialect=client.dialect.other)
    found = again.batch(commands)[commands[-1].key]
    if isinstance(found, Answer):
        credentials.learn_dialect(portal, again.dialect)
    return found


def _check_app(result: Any) -> str:
    """The portal's plan, once its app.info names our app. A token of another app must not open ours."""
    if not isinstance(result, dict) or result.get("CODE") != settings.B24_APP_CODE:
        raise NotProven("another app's token")
    return str(result.get("LICENSE_FAMILY") or "")[:20]


def read_profile(result: Any) -> Profile:
    """What `profile` answered. Raises Unknown when it is not a profile."""
    if not isinstance(result, dict) or not str(result.get("ID", "")).isdigit():
        raise Unknown("garbled_profile")
    name = f"{result.get('NAME') or ''} {result.get('LAST_NAME') or ''}".strip()
    zone = result.get("TIME_ZONE")
    return Profile(int(result["ID"]), name[:200], str(zone or "")[:50], result.get("ADMIN") is True)


def keep_person(portal: Portal, profile: Profile, pair: oauth.TokenPair, received_at: datetime, **more: str) -> Person:
    """The proven person as the portal shows them now, with the pair that they brought at that moment."""
    shown = {"name": profile.name, "zone": profile.zone, "is_admin": profile.is_admin, **more}
    person = portal.people.filter(user_id=profile.user_id, **shown).first()
    if person is None:  # new here, or something has changed
        person, _ = portal.people.update_or_create(user_id=profile.user_id, defaults=shown)
    credentials.store_pair(person, pair, received_at)
    return person


def _keep_visitor(portal: Portal, profile: Profile, opening: Opening, received_at: datetime) -> Person:
    """The proven person of an opening, and what an admin's opening teaches us about the portal."""
    expires_at = received_at + timedelta(seconds=min(opening.lifetime, oauth.LIFETIME))
    pair = oauth.TokenPair(opening.access_token, opening.refresh_token, expires_at)
    person = keep_person(portal, profile, pair, received_at, language=opening.language or "en")
    if profile.is_admin and opening.application_token:
        # Every user can read this token in their browser, so only an admin's opening may change it.
        before = portal.sealed_application_token
        portal.learn_application_token(opening.application_token, dates.now())
        if portal.sealed_application_token != before:
            portal.save(update_fields=["sealed_application_token", "sealed_previous_token", "token_learned_at"])
    return person


# -- Installing ---------------------------------------------------------------------------------------


def connect(opening: Opening) -> Person:
    """Step 1 of the installer: the admin who opened it, proven at the authorization server and stored.

    Raises NotProven, NotAllowed("not_admin"), or a BitrixError when somebody did not answer. May be repeated.
    """
    received_at = dates.now()
    info = prove(opening, installing=True)
    client = Client(
        info.endpoint,
        opening.access_token,
        exchanges.reach(),
        credentials.WEB_TIMEOUT,
        after=exchanges.journal(Portal.objects.filter(member_id=info.member_id).first()),
    )
    profile = read_profile(client.call("profile").result)
    if profile.user_id != info.user_id:
        raise NotProven("another person's token")
    if not profile.is_admin:
        raise NotAllowed("not_admin")
    return _keep_visitor(keep_portal(info), profile, opening, received_at)


def check_scope(person: Person) -> None:
    """Step 2: the portal granted what we need. Raises NotAllowed("scope") naming what is missing."""
    credential = credentials.usable_credential(person, credentials.WEB_PATIENCE)
    info = credentials.token_info(person.portal.oauth_url, credential.access_token, person.portal)
    if missing := REQUIRED_SCOPE - info.scope:
        raise NotAllowed("scope", ", ".join(sorted(missing)))


def bind(person: Person) -> None:
    """Step 3: exactly our menu entries and events are registered at the portal, each once.

    What is right stays, what is missing is added, what an earlier version or address left is removed. May be
    repeated, also by two admins at once. Raises NotAllowed("bind") with the portal's code, or a BitrixError.
    Source: manual, placement-bind.md, event-bind.md.
    """
    credentials.ask(person, _repair_bindings)
    Portal.objects.filter(pk=person.portal_id).update(bindings_checked_at=dates.now())


def needs_bindings_checked(person: Person) -> bool:
    """Whether this opening should look after the portal's bindings: each one by an admin. Where nothing is missing
    that is one request, in the background."""
    return person.is_admin


def _repair_bindings(client: Client) -> None:
    repairs = _binding_repairs(client)
    if not repairs:
        return
    answers = client.batch(repairs)
    still_missing = {command.key for command in _binding_repairs(client)}
    for command in repairs:
        failure = answers[command.key]
        # Somebody else may have bound it meanwhile: what the portal lists now decides, not what it answered.
        if command.key in still_missing and isinstance(failure, BitrixError):
            raise NotAllowed("bind", f"{command.key}: {failure.code}")


def _binding_repairs(client: Client) -> list[Command]:
    """The commands that turn what the portal lists into what it should list."""
    answers = client.batch([Command("placements", "placement.get"), Command("events", "event.get")])
    placements = [(str(row.get("placement")).upper(), str(row.get("handler"))) for row in _rows(answers["placements"])]
    events = [(str(row.get("event")).upper(), str(row.get("handler"))) for row in _rows(answers["events"])]
    page, listener = f"{settings.PUBLIC_URL}/placement/", f"{settings.PUBLIC_URL}/events/"
    stale_placements, missing_placements = _differences(placements, {(code, page) for code in PLACEMENTS})
    stale_events, missing_events = _differences(events, {(code, listener) for code in EVENTS})
    return [
        *(_unbind("placement", "PLACEMENT", *stale) for stale in stale_placements),
        *(_unbind("event", "event", *stale) for stale in stale_events),
        *(_bind_placement(*missing) for missing in missing_placements),
        *(
            Command(f"event.bind {code}", "event.bind", {"event": code, "handler": handler})
            for code, handler in missing_events
        ),
    ]


def _differences(listed: Sequence[Binding], wanted: set[Binding]) -> tuple[list[Binding], list[Binding]]:
    """What to unbind and what to bind then. What is listed twice goes, as all of it does at once, and comes back."""
    twice = {binding for binding in listed if listed.count(binding) > 1}
    return sorted({*listed} - wanted | twice), sorted(wanted - {*listed} | wanted & twice)


def _unbind(what: str, name: str, code: str, handler: str) -> Command:
    handler_name = "HANDLER" if what == "placement" else "handler"
    return Command(f"{what}.unbind {code} {handler}", f"{what}.unbind", {name: code, handler_name: handler})


def _bind_placement(code: str, handler: str) -> Command:
    titles = {}
    for language in TITLE_LANGUAGES:
        with translation.override(language):
            titles[language] = {"TITLE": gettext("Defer tasks")}
    params = {"PLACEMENT": code, "HANDLER": handler, "TITLE": titles["en"]["TITLE"], "LANG_ALL": titles}
    return Command(f"placement.bind {code}", "placement.bind", params)


def _rows(answer: Answer | BitrixError) -> list[dict[str, Any]]:
    """The rows of a list that was answered. Raises the error that it is."""
    result = success(answer).result
    return [row for row in result if isinstance(row, dict)] if isinstance(result, list) else []


# -- Connecting from outside a frame ------------------------------------------------------------------


def at_domain(domain: str) -> Portal | None:
    """The portal that has the app at this address, host and port."""
    schemes = ("https", "http") if settings.B24_ALLOW_LOCAL_PORTALS else ("https",)
    endpoints = [f"{scheme}://{domain.lower()}/rest/" for scheme in schemes]
    return Portal.objects.filter(endpoint__in=endpoints, status=Portal.Status.ACTIVE).first()


def with_app(portal_id: int) -> Portal | None:
    return Portal.objects.filter(pk=portal_id, status=Portal.Status.ACTIVE).first()


def authorize_url(portal: Portal, state: str) -> str:
    return oauth.authorize_url(portal.origin, exchanges.registration(), state)


def connect_by_code(portal: Portal, code: str) -> Person:
    """The person who came back from `portal` with this code, whoever it was, with their fresh pair.

    The documented answer does not name them: the authorization server and the portal do.
    Raises NotProven, CredentialRefused when the code is too old or was used before, or another BitrixError.
    """
    reach, received_at = exchanges.reach(), dates.now()
    with exchanges.journaled("oauth/token", portal) as trace:
        given = oauth.redeem(reach, portal.oauth_url, exchanges.registration(), code, dates.now(), trace)
    info = credentials.token_info(portal.oauth_url, given.pair.access, portal)
    if {given.member_id, info.member_id} != {portal.member_id} or info.client_id != settings.B24_CLIENT_ID:
        raise NotProven("another portal's code")
    # At the stored address, as ever; a portal that has moved meanwhile is followed by the next call of a job.
    client = Client(
        portal.endpoint,
        given.pair.access,
        reach,
        credentials.WEB_TIMEOUT,
        before=lambda: exchanges.reserve_request(portal, exchanges.FULL_SHARE),
        after=exchanges.journal(portal),
    )
    profile = read_profile(client.call("profile").result)
    if {given.user_id or info.user_id, info.user_id} != {profile.user_id}:
        raise NotProven("another person's code")
    return keep_person(portal, profile, given.pair, received_at)


def is_admin_now(person: Person) -> bool:
    """Ask the portal whether this person is an admin at this moment, and remember it. Raises BitrixError."""
    profile = read_profile(credentials.ask(person, lambda client: client.call("profile")).result)
    Person.objects.filter(pk=person.pk).update(is_admin=profile.is_admin)
    person.is_admin = profile.is_admin
    return profile.is_admin


# -- Who is known ---------------------------------------------------------------------------------------


def admin(person_id: int) -> Person | None:
    """This person, if their portal has the app and they last opened it as an admin."""
    admins = Person.objects.filter(is_admin=True, portal__status=Portal.Status.ACTIVE)
    return admins.select_related("portal").filter(pk=person_id).first()


def person_of(portal_id: int, person_id: int, epoch: int) -> Person | None:
    """The person of a ticket, while the portal's access has not been lost since it was issued."""
    return (
        Person.objects.select_related("portal")
        .filter(pk=person_id, portal_id=portal_id, portal__epoch=epoch, portal__status=Portal.Status.ACTIVE)
        .first()
    )
