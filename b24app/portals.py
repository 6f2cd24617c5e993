"""Tenants: prove who opened us, install, keep credentials alive, and hand out clients that act for a person."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F, Q
from django.utils import translation
from django.utils.translation import gettext

from b24app import dates, vault
from b24app.bitrix import http, oauth
from b24app.bitrix.client import Answer, Client, Command, Exchange
from b24app.bitrix.errors import (
    AccessLost,
    BitrixError,
    CredentialRefused,
    Expired,
    Moved,
    NotRun,
    Refused,
    TooManyRequests,
    Unknown,
)
from b24app.bitrix.limits import Bucket
from b24app.bitrix.payloads import Event, Opening
from b24app.models import Credential, Person, Portal, RestCall, database_now

logger = logging.getLogger(__name__)

T = TypeVar("T")

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

WEB_TIMEOUT = 10.0  # seconds; somebody is looking at a page
OPENING_TIMEOUT = 3.0  # ... and then is shown a skeleton while we go on asking
RENEW_MARGIN = timedelta(minutes=2)
WEB_PATIENCE = 2.0  # seconds that a page waits for another process's refresh
VIEWER = "$result[me][ID]"  # in a page's own command: the user id of whoever opens the page
FULL_SHARE, BACKGROUND_SHARE = 1.0, 2 / 3  # of the request bucket


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


# -- Where we may go, and the journal -----------------------------------------------------------------


def reach() -> http.Reach:
    return http.Reach.parse(settings.B24_PORTAL_NETWORKS, settings.B24_ALLOW_LOCAL_PORTALS)


def registration() -> oauth.Registration:
    return oauth.Registration(settings.B24_CLIENT_ID, settings.B24_CLIENT_SECRET)


def journal(portal: Portal | None, job_id: int | None = None) -> Callable[[Exchange], None]:
    """A hook that writes each exchange down. A journal that cannot be written never stops the work itself."""

    def write(exchange: Exchange) -> None:
        try:
            RestCall.objects.create(
                portal=portal,
                job_id=job_id,
                at=dates.now(),
                method=exchange.method,
                params=exchange.params,
                outcome=exchange.outcome,
                status=exchange.status,
                code=exchange.code[:100],
                milliseconds=exchange.milliseconds,
            )
        except DatabaseError:
            logger.exception("journal not written: %s", exchange.method)
        if portal and exchange.code.upper() == "QUERY_LIMIT_EXCEEDED":
            fill_bucket(portal)

    return write


# -- The request bucket -------------------------------------------------------------------------------


def reserve_request(portal: Portal, share: float) -> None:
    """Take one place in the portal's bucket of requests, or raise TooManyRequests with the seconds to wait."""
    for _ in range(5):
        level, at, plan = Portal.objects.values_list("bucket_level", "bucket_at", "plan").get(pk=portal.pk)
        bucket = Bucket(level, at, plan == "ent").at_time(dates.now().timestamp())
        if wait := bucket.wait(share):
            raise TooManyRequests("own_limit", delay=wait)
        taken = bucket.plus_one()
        unchanged = Portal.objects.filter(pk=portal.pk, bucket_level=level, bucket_at=at)
        if unchanged.update(bucket_level=taken.level, bucket_at=taken.at):
            return
    raise TooManyRequests("own_limit", delay=1.0)


def fill_bucket(portal: Portal) -> None:
    """The portal said that its bucket is full: believe it."""
    full = Bucket(0, dates.now().timestamp(), portal.is_enterprise).full()
    Portal.objects.filter(pk=portal.pk).update(bucket_level=full.level, bucket_at=full.at)


# -- Proving an opening -------------------------------------------------------------------------------


def open_page(opening: Opening, command: Command, timeout: float = OPENING_TIMEOUT) -> Opened:
    """Prove an opening and ask the page's own `command`, in one round trip for a portal that we know.

    The token is shown to the portal's *stored* address: a stranger's token is refused there, and another app's
    token names another app. Only when that does not prove it is the authorization server asked.
    Raises NotProven; NotRun or Unknown when the portal did not answer in time (nothing was stored then);
    AccessLost when the portal refuses the app as such.
    """
    portal = Portal.objects.filter(member_id=opening.member_id, status=Portal.Status.ACTIVE).first()
    if portal:
        try:
            return _opened_at(portal, opening, command, timeout)
        except (CredentialRefused, Expired, Moved, Refused, NotProven):
            pass  # the portal may have moved, or this is a forgery: the authorization server knows
    info = prove(opening)
    portal = keep_portal(opening, info)
    try:
        return _opened_at(portal, opening, command, timeout, info.user_id)
    except (CredentialRefused, Expired, Refused) as error:
        raise NotProven(error.code) from error


def prove(opening: Opening, *, installing: bool = False) -> oauth.TokenInfo:
    """Ask an authorization server of our list about the token. Raises NotProven, AccessLost, NotRun or Unknown.

    Until the installer has finished, the server calls the app not installed: only the installer may pass by that.
    """
    for server in _servers(opening.server_endpoint):
        try:
            info = oauth.token_info(reach(), server, opening.access_token)
        except AccessLost as error:
            if not isinstance(error, CredentialRefused) and error.code.lower() != "invalid_client":
                raise
            continue  # not a token of this server
        if info.client_id != settings.B24_CLIENT_ID:
            raise NotProven("another app's token")
        if info.member_id != opening.member_id:
            raise NotProven("another portal's token")
        if not (info.installed or installing) or not reach().admits_url(info.endpoint):
            raise NotProven("not installed there")
        return info
    raise NotProven("no authorization server knows this token")


def keep_portal(opening: Opening, info: oauth.TokenInfo) -> Portal:
    """The portal of a proven token, created or brought up to date."""
    portal, _ = Portal.objects.update_or_create(
        member_id=info.member_id,
        defaults={
            "endpoint": info.endpoint,
            "oauth_url": _servers(opening.server_endpoint)[0],
            "status": Portal.Status.ACTIVE,
        },
    )
    return portal


def _servers(endpoint: str) -> list[str]:
    """The authorization servers to ask: the one that was named, if it is on our list, else all of the list."""
    named = oauth.server_of(endpoint) if endpoint else ""
    return [named] if named in settings.B24_OAUTH_URLS else list(settings.B24_OAUTH_URLS)


def _opened_at(
    portal: Portal, opening: Opening, command: Command, timeout: float, user_id: int | None = None
) -> Opened:
    """Show the token to the portal; store who came (`user_id`, if that is proven), and their fresh pair."""
    client = Client(
        portal.endpoint,
        opening.access_token,
        reach(),
        timeout,
        before=lambda: reserve_request(portal, FULL_SHARE),
        after=journal(portal),
    )
    answers = client.batch([Command("app", "app.info"), Command("me", "profile"), command])
    plan = _check_app(_success(answers["app"]).result)
    profile = read_profile(_success(answers["me"]).result)
    if user_id not in (None, profile.user_id):
        raise NotProven("another person's token")
    if portal.plan != plan:
        Portal.objects.filter(pk=portal.pk).update(plan=plan)
    person = keep_person(portal, profile, opening)
    return Opened(person, answers[command.key])


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


def keep_person(portal: Portal, profile: Profile, opening: Opening) -> Person:
    """The proven person with their fresh pair, and what an admin's opening teaches us about the portal."""
    now = dates.now()
    person, _ = Person.objects.update_or_create(
        portal=portal,
        user_id=profile.user_id,
        defaults={
            "name": profile.name,
            "zone": profile.zone,
            "is_admin": profile.is_admin,
            "language": opening.language or "en",
        },
    )
    expires_at = now + timedelta(seconds=min(opening.lifetime, oauth.LIFETIME))
    store_pair(person, oauth.TokenPair(opening.access_token, opening.refresh_token, expires_at))
    if profile.is_admin and opening.application_token:
        # Every user can read this token in their browser, so only an admin's opening may change it.
        portal.learn_application_token(opening.application_token, now)
        portal.save(update_fields=["sealed_application_token", "sealed_previous_token", "token_learned_at"])
    return person


# -- Installing ---------------------------------------------------------------------------------------


def connect(opening: Opening) -> Person:
    """Step 1 of the installer: the admin who opened it, proven at the authorization server and stored.

    Raises NotProven, NotAllowed("not_admin"), or a BitrixError when somebody did not answer. May be repeated.
    """
    info = prove(opening, installing=True)
    client = Client(info.endpoint, opening.access_token, reach(), WEB_TIMEOUT)
    profile = read_profile(client.call("profile").result)
    if profile.user_id != info.user_id:
        raise NotProven("another person's token")
    if not profile.is_admin:
        raise NotAllowed("not_admin")
    return keep_person(keep_portal(opening, info), profile, opening)


def check_scope(person: Person) -> None:
    """Step 2: the portal granted what we need. Raises NotAllowed("scope") naming what is missing."""
    credential = usable_credential(person, WEB_PATIENCE)
    info = oauth.token_info(reach(), person.portal.oauth_url, credential.access_token)
    if missing := REQUIRED_SCOPE - info.scope:
        raise NotAllowed("scope", ", ".join(sorted(missing)))


def bind(person: Person) -> None:
    """Step 3: our menu entries and events are registered at the portal, each exactly once.

    What is there stays; what is missing is added. May be repeated. Raises NotAllowed("bind") with the portal's
    code, or a BitrixError. Source: manual, placement-bind.md, event-bind.md.
    """
    ask(person, _bind_missing)


def _bind_missing(client: Client) -> None:
    missing = _unbound(client)
    if not missing:
        return
    answers = client.batch(missing)
    still = {command.key for command in _unbound(client)}
    for command in missing:
        failure = answers[command.key]
        if command.key in still:
            code = failure.code if isinstance(failure, BitrixError) else "not listed"
            raise NotAllowed("bind", f"{command.params.get('PLACEMENT') or command.params.get('event')}: {code}")


def _unbound(client: Client) -> list[Command]:
    """The commands that would bind what the portal does not list yet."""
    answers = client.batch([Command("placements", "placement.get"), Command("events", "event.get")])
    placements = {(row.get("placement"), row.get("handler")) for row in _rows(_success(answers["placements"]).result)}
    events = {(str(row.get("event")).upper(), row.get("handler")) for row in _rows(_success(answers["events"]).result)}
    page, listener = f"{settings.PUBLIC_URL}/placement/", f"{settings.PUBLIC_URL}/events/"
    commands = [_bind_placement(code, page) for code in PLACEMENTS if (code, page) not in placements]
    return commands + [
        Command(f"event_{code}", "event.bind", {"event": code, "handler": listener})
        for code in EVENTS
        if (code, listener) not in events
    ]


def _bind_placement(code: str, handler: str) -> Command:
    titles = {}
    for language in TITLE_LANGUAGES:
        with translation.override(language):
            titles[language] = {"TITLE": gettext("Defer tasks")}
    params = {"PLACEMENT": code, "HANDLER": handler, "TITLE": titles["en"]["TITLE"], "LANG_ALL": titles}
    return Command(f"placement_{code}", "placement.bind", params)


def _rows(result: Any) -> Iterable[dict[str, Any]]:
    return [row for row in result if isinstance(row, dict)] if isinstance(result, list) else []


def uninstall(event: Event) -> bool:
    """Stop all work for the portal at once, if the event carries its application token; say whether it did."""
    portal = Portal.objects.filter(member_id=event.member_id).first()
    if not portal or not portal.knows_application_token(event.application_token, dates.now()):
        logger.warning("uninstall refused: unknown portal or token")
        return False
    Portal.objects.filter(pk=portal.pk, status=Portal.Status.ACTIVE).update(
        status=Portal.Status.SUSPENDED, epoch=F("epoch") + 1
    )
    logger.info("portal %s reported its uninstalling; suspended", portal.pk)
    return True


# -- Credentials --------------------------------------------------------------------------------------


def store_pair(person: Person, pair: oauth.TokenPair) -> None:
    """Keep a pair that an opening brought; it replaces whatever was there, a refresh in flight included."""
    owner = f"{person.portal.member_id}:{person.user_id}"
    fresh = {
        "sealed_access": vault.seal(pair.access, owner),
        "sealed_refresh": vault.seal(pair.refresh, owner),
        "expires_at": pair.expires_at,
        "obtained_at": dates.now(),
        "state": Credential.State.USABLE,
        "refreshing_until": None,
    }
    mine = Credential.objects.filter(person=person)
    if mine.update(version=F("version") + 1, **fresh):
        return
    try:
        with transaction.atomic():
            Credential.objects.create(person=person, **fresh)
    except IntegrityError:  # another opening was faster with the first one
        mine.update(version=F("version") + 1, **fresh)


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


def _credential_of(person: Person) -> Credential:
    try:
        return Credential.objects.select_related("person__portal").get(person=person)
    except Credential.DoesNotExist:
        raise CredentialRefused("no_credential") from None


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
    except NotRun:
        _release_claim(credential)
        raise
    except Unknown as error:
        # Whether the old token was spent, the next attempt will tell; a moment's pause spares the server.
        _release_claim(credential)
        raise NotRun(error.code, delay=10.0) from error
    if not _is_for(credential, renewed):
        return _adopt_or_break(credential, CredentialRefused("foreign_answer"))
    saved = Credential.objects.filter(pk=credential.pk, version=credential.version).update(
        sealed_access=vault.seal(renewed.pair.access, credential.owner),
        sealed_refresh=vault.seal(renewed.pair.refresh, credential.owner),
        expires_at=renewed.pair.expires_at,
        obtained_at=dates.now(),
        version=F("version") + 1,
        refreshing_until=None,
    )
    if not saved:
        logger.info("credential %s: an opening brought a newer pair during the refresh", credential.pk)
    return _credential_of(credential.person)


def _refreshed(credential: Credential) -> oauth.Renewed:
    portal = credential.person.portal
    started = time.monotonic()
    code = ""
    try:
        return oauth.refresh(reach(), portal.oauth_url, registration(), credential.refresh_token, dates.now())
    except BitrixError as error:
        code = error.code
        raise
    finally:
        milliseconds = int((time.monotonic() - started) * 1000)
        journal(portal)(Exchange("oauth/token", {}, None, code, milliseconds, {}))


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
        logger.warning("credential %s was refused (%s)", credential.pk, error.code)
        raise error
    return _credential_of(credential.person)


def _release_claim(credential: Credential) -> None:
    Credential.objects.filter(pk=credential.pk, version=credential.version).update(refreshing_until=None)


def mark_expired(credential: Credential) -> None:
    """The portal says that this access token has expired, whatever our clock says."""
    Credential.objects.filter(pk=credential.pk, version=credential.version).update(expires_at=dates.now())


def mark_refused(credential: Credential) -> None:
    """The portal does not accept this person's token: no calls until the person opens the app again."""
    Credential.objects.filter(pk=credential.pk, version=credential.version).update(state=Credential.State.NEEDS_REOPEN)


# -- Clients ------------------------------------------------------------------------------------------


def ask(person: Person, question: Callable[[Client], T]) -> T:
    """Ask the portal something for a page that somebody is looking at; a token that has expired is renewed once.

    `question` may be asked twice, so it only reads, or may be repeated. Raises what it raises, CredentialRefused,
    or NotRun when another process is still renewing the token.
    """
    try:
        return _with_client(person, WEB_PATIENCE, WEB_TIMEOUT, FULL_SHARE, _no_check, None, question)
    except Expired:
        return _with_client(person, WEB_PATIENCE, WEB_TIMEOUT, FULL_SHARE, _no_check, None, question)


def act(person: Person, check: Callable[[], None], job_id: int | None, work: Callable[[Client], T]) -> T:
    """Let a slice work with the person's own token; `check` runs ahead of every request and may stop it.

    People's requests have precedence: background work leaves a share of the bucket free. Raises what `work`
    raises, CredentialRefused, or NotRun; nothing is waited for.
    """
    return _with_client(person, 0.0, settings.READ_TIMEOUT, BACKGROUND_SHARE, check, job_id, work)


def _with_client(
    person: Person,
    patience: float,
    timeout: float,
    share: float,
    check: Callable[[], None],
    job_id: int | None,
    use: Callable[[Client], T],
) -> T:
    """Call `use` with a client for the person, and tell their credential when the portal refuses its token."""
    portal = person.portal
    credential = usable_credential(person, patience)

    def before() -> None:
        check()
        reserve_request(portal, share)

    client = Client(portal.endpoint, credential.access_token, reach(), timeout, before, journal(portal, job_id))
    try:
        return use(client)
    except Expired:
        mark_expired(credential)
        raise
    except CredentialRefused:
        mark_refused(credential)
        raise


def _no_check() -> None:
    """A page's request needs no lease."""


def _success(answer: Answer | BitrixError) -> Answer:
    if isinstance(answer, BitrixError):
        raise answer
    return answer


def person_of(portal_id: int, person_id: int, epoch: int) -> Person | None:
    """The person of a ticket, while the portal's access has not been lost since it was issued."""
    return (
        Person.objects.select_related("portal")
        .filter(pk=person_id, portal_id=portal_id, portal__epoch=epoch, portal__status=Portal.Status.ACTIVE)
        .first()
    )
