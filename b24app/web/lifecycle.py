"""Coming and going: the installer, openings in a frame, fresh proofs, events, and the public page."""

import hashlib
import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from b24app import attempts, canary, credentials, dates, deferrals, jobs, portals, removals, vault
from b24app.attempts import TooManyAttempts
from b24app.bitrix.client import Command
from b24app.bitrix.errors import AccessLost, BitrixError
from b24app.bitrix.payloads import BadPayload, Opening, read_event, read_opening
from b24app.models import Job, PendingOpening, Person, Portal
from b24app.portals import NotAllowed, NotProven, Opened
from b24app.web import reconnect
from b24app.web.access import (
    TICKET_HEADER,
    Ticket,
    allow_frame,
    client_address,
    language_of,
    require_our_page,
    speaking_to,
    ticketed,
)
from b24app.web.jobs import panel
from b24app.web.lists import Listing, list_context
from b24app.web.texts import Trouble, trouble

logger = logging.getLogger(__name__)

PENDING_LIFE = timedelta(seconds=60)  # of an opening whose portal did not answer in time
UNINSTALL = "ONAPPUNINSTALL"

# The steps of the installer: what the screen calls them, and the address that does each.
STEPS = ("connect", "install-scope", "install-bind")


# -- The app in a frame -------------------------------------------------------------------------------


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def home(request: HttpRequest) -> HttpResponse:
    """The public page; posted to by a portal, the app; with a code, the way back from a portal."""
    if request.method == "POST":
        return _open(request)
    if request.method == "GET" and {"code", "state"} <= request.GET.keys():
        return reconnect.come_back(request)
    return render(request, "about.html")


@csrf_exempt
@require_POST
def placement(request: HttpRequest) -> HttpResponse:
    return _open(request)


def _open(request: HttpRequest) -> HttpResponse:
    """Prove who opens the page and show the list it was opened from.

    A portal that takes too long gets a second chance: the page comes without data and asks again by itself.
    """
    try:
        opening = _read_opening(request)
    except BadPayload as error:
        return _refused(request, None, 400, str(error))
    received_at = dates.now()
    listing = Listing.of_opening(opening)
    with translation.override(language_of(opening.language)):
        try:
            opened = _proven(request, opening, listing.command(), portals.OPENING_TIMEOUT, received_at)
        except TooManyAttempts:
            return _come_back_later(request, opening)
        except NotProven as error:
            return _refused(request, opening, 403, str(error))
        except AccessLost as error:
            return _frame(request, opening, "active/page.html", {"trouble": _reopening(trouble(error))})
        except BitrixError:
            return _frame(request, opening, "active/page.html", {"boot_code": _put_aside(opening, received_at)})
    with speaking_to(opened.person, language_of(opening.language)):
        context = _arrive(opened, listing)
        ticket = Ticket.issue(opened.person, language_of(opening.language))
        return _frame(
            request, opening, "active/page.html", {**context, "ticket": ticket.signed()}, opened.person.portal
        )


@csrf_exempt
@require_POST
def opening(request: HttpRequest) -> HttpResponse:
    """The rest of a page whose portal had not answered in time, for the page's one-use code."""
    require_our_page(request)
    taken_back = _take_back(request.POST.get("code", ""))
    if taken_back is None:
        return HttpResponse(status=401)
    pending, received_at = taken_back
    listing = Listing.of_opening(pending)
    language = language_of(pending.language)
    with translation.override(language):
        try:
            opened = _proven(request, pending, listing.command(), credentials.WEB_TIMEOUT, received_at)
        except (NotProven, TooManyAttempts):
            return HttpResponse(status=401)
        except BitrixError as error:
            return render(request, "_trouble.html", vars(_reopening(trouble(error))))
    with speaking_to(opened.person, language):
        response = render(request, "active/_app.html", _arrive(opened, listing))
    response[TICKET_HEADER] = Ticket.issue(opened.person, language).signed()
    return response


@csrf_exempt
@require_POST
def ticket(request: HttpRequest) -> HttpResponse:
    """A fresh ticket for a page that has been open for long, against tokens that the portal just handed it."""
    require_our_page(request)
    try:
        fresh = _read_opening(request)
        opened = _proven(request, fresh, Command("page", "app.info"), credentials.WEB_TIMEOUT, dates.now())
    except (BadPayload, NotProven, TooManyAttempts, BitrixError):
        return HttpResponse(status=401)
    _let_jobs_go_on(opened)
    language = language_of(fresh.language)
    return HttpResponse(status=204, headers={TICKET_HEADER: Ticket.issue(opened.person, language).signed()})


def _proven(request: HttpRequest, opening: Opening, command: Command, timeout: float, received_at: datetime) -> Opened:
    """Prove the opening, unless too many from there have failed lately. Raises TooManyAttempts."""
    with attempts.counted(opening.member_id, client_address(request)) as portal:
        return portals.open_page(opening, command, timeout, received_at, portal)


def _arrive(opened: Opened, listing: Listing) -> dict[str, object]:
    """A proven person is here: their jobs go on, and their list is shown with the job that they left behind."""
    person = opened.person
    job = deferrals.latest_job(person)
    if person.portal.parked_until or (job and job.state != Job.State.FINISHED):
        _let_jobs_go_on(opened)
        job = deferrals.latest_job(person)
    _look_after_bindings(person)
    context = list_context(person, listing.seen_by(person), opened.answer)
    is_told = person.is_admin and removals.was_removed(person.portal)
    in_care = deferrals.taken_over(person).count() if is_told else 0
    return {**context, **panel(person, job), "owed": removals.owed_before(person), "in_care": in_care}


def _look_after_bindings(person: Person) -> None:
    if portals.needs_bindings_checked(person):
        transaction.on_commit(lambda: jobs.hint(jobs.check_bindings, person.pk))


def _let_jobs_go_on(opened: Opened) -> None:
    """The portal knows this person again; unless it refuses the app's own question, jobs go on at once."""
    person = opened.person
    if not isinstance(opened.answer, AccessLost) and deferrals.resume_waiting(person):
        transaction.on_commit(lambda: jobs.hint_at_work(person.portal_id))


def _read_opening(request: HttpRequest) -> Opening:
    return read_opening(_flat(request.GET), _flat(request.POST))


def _flat(fields: QueryDict) -> dict[str, str]:
    return {name: str(fields[name]) for name in fields}


def _frame(
    request: HttpRequest, opening: Opening, template: str, context: dict[str, object], portal: Portal | None = None
) -> HttpResponse:
    """A page for the frame of the portal that the opening comes from.

    Until it is proven, that portal may be anybody's, so such a page holds nothing. A portal that we know is
    framed only by the address that was proven for it.
    """
    known = portal or Portal.objects.filter(member_id=opening.member_id).first()
    origin = known.origin if known else opening.portal_origin
    page = {
        "opening": opening,
        "options_json": json.dumps(dict(opening.options)),
        "portal_origin": origin,
        "reopen_url": request.get_full_path(),
        **context,
    }
    return allow_frame(render(request, template, page), origin)


def _refused(request: HttpRequest, opening: Opening | None, status: int, why: str) -> HttpResponse:
    """This did not come from a portal where the app is installed, as far as anybody trustworthy knows."""
    logger.warning("opening refused: %s", why)
    with translation.override(language_of(request.GET.get("LANG", ""))):
        title = gettext("The app is not installed in this Bitrix24 account")
        sentence = gettext("Close this page and open it again from Bitrix24. If this does not help, install the app.")
        response = render(request, "refused.html", {"trouble": Trouble(title, sentence)}, status=status)
    return allow_frame(response, opening.portal_origin if opening else "")


def _come_back_later(request: HttpRequest, opening: Opening) -> HttpResponse:
    """Too many openings from there could not be confirmed: for a minute nobody is asked about another."""
    logger.warning("security: too many openings that nobody confirmed")
    sentence = gettext("Wait a minute, then open this page again from Bitrix24.")
    context = {"trouble": Trouble(gettext("Too many attempts"), sentence)}
    response = render(request, "refused.html", context, status=429)
    response["Retry-After"] = str(int(attempts.MEMORY.total_seconds()))
    return allow_frame(response, opening.portal_origin)


# -- Openings put aside -------------------------------------------------------------------------------


def _put_aside(opening: Opening, received_at: datetime) -> str:
    """Keep an opening until it is a minute old; only the code that is returned brings it back, once."""
    code = secrets.token_urlsafe(24)
    digest = _digest(code)
    PendingOpening.objects.create(
        code_digest=digest,
        sealed_payload=vault.seal(json.dumps(asdict(opening)), digest),
        expires_at=received_at + PENDING_LIFE,
    )
    return code


def _take_back(code: str) -> tuple[Opening, datetime] | None:
    """The opening that was put aside under this code, and when it came, unless it was taken already or is too old."""
    digest = _digest(code)
    pending = PendingOpening.objects.filter(code_digest=digest, expires_at__gt=dates.now()).first()
    if pending is None or not PendingOpening.objects.filter(pk=pending.pk).delete()[0]:
        return None
    opening = Opening(**json.loads(vault.unseal(pending.sealed_payload, digest)))
    return opening, pending.expires_at - PENDING_LIFE


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


# -- The installer ------------------------------------------------------------------------------------


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def install(request: HttpRequest) -> HttpResponse:
    """The installer in an admin's frame, its first step done; called by hand, what it is for."""
    if request.method != "POST":
        return render(request, "about.html", {"is_installer": True})
    try:
        opening = _read_opening(request)
    except BadPayload as error:
        return _refused(request, None, 400, str(error))
    language = language_of(opening.language)
    with translation.override(language):
        try:
            with attempts.counted(opening.member_id, client_address(request)):
                person = portals.connect(opening)
        except TooManyAttempts:
            return _come_back_later(request, opening)
        except NotProven as error:
            return _refused(request, opening, 403, str(error))
        except (NotAllowed, BitrixError) as error:
            context = _steps_context("connect", _install_trouble(error))
            return _frame(request, opening, "install/page.html", context)
        context = {**_steps_context("install-scope"), "ticket": Ticket.issue(person, language).signed()}
        return _frame(request, opening, "install/page.html", context, person.portal)


@require_POST
@ticketed
def install_scope(request: HttpRequest, person: Person) -> HttpResponse:
    return _take_step(request, "install-scope", lambda: portals.check_scope(person))


@require_POST
@ticketed
def install_bind(request: HttpRequest, person: Person) -> HttpResponse:
    return _take_step(request, "install-bind", lambda: portals.bind(person))


def _take_step(request: HttpRequest, step: str, act: Callable[[], None]) -> HttpResponse:
    """Do one step of the installer; the answer does the next one by itself, or says what is the matter."""
    try:
        act()
    except (NotAllowed, BitrixError) as error:
        return render(request, "install/_steps.html", _steps_context(step, _install_trouble(error)))
    following = (*STEPS, "")[STEPS.index(step) + 1]
    response = render(request, "install/_steps.html", _steps_context(following))
    if not following:
        response["HX-Trigger-After-Swap"] = "installed"
    return response


def _steps_context(current: str, failure: Trouble | None = None) -> dict[str, object]:
    """Which steps are done, which one runs or failed ("" when all are done), and what is the matter with it."""
    names = (gettext("Connect"), gettext("Permissions"), gettext("Add to task lists"))
    done = STEPS.index(current) if current else len(STEPS)
    current_state = "failed" if failure else "running"
    states = ["done" if n < done else current_state if n == done else "waiting" for n in range(len(STEPS))]
    act_url = reverse(current) if current in STEPS[1:] else ""
    return {"steps": list(zip(names, states, strict=True)), "act_url": act_url, "trouble": failure}


def _install_trouble(error: NotAllowed | BitrixError) -> Trouble:
    if isinstance(error, BitrixError):
        return _reopening(trouble(error))
    if error.code == "not_admin":
        return Trouble(
            gettext("Only an administrator can set up the app"), gettext("Ask an administrator to open it once.")
        )
    if error.code == "scope":
        sentence = gettext(
            "Bitrix24 has not granted these permissions: %(missing)s. Grant them on the app's page, then try again."
        )
        return Trouble(gettext("A permission is missing"), sentence % {"missing": error.detail}, "again")
    sentence = gettext("Bitrix24 rejected the request. Please try again.")
    return Trouble(gettext("The app could not be added to the menus"), sentence, "again", error.detail)


def _reopening(what: Trouble) -> Trouble:
    """The same trouble where trying again takes fresh tokens."""
    return Trouble(what.title, what.sentence, "reopen", what.code)


# -- Events, and signs of life ------------------------------------------------------------------------


@csrf_exempt
@require_POST
def events(request: HttpRequest) -> HttpResponse:
    """What a portal reports. The answer is always the same: it must not tell who is a customer of ours."""
    try:
        event = read_event(_flat(request.POST))
    except BadPayload as error:
        return HttpResponse(str(error), status=400, content_type="text/plain")
    if event.name == UNINSTALL:
        portal = removals.report(event)
        if portal:
            transaction.on_commit(lambda: jobs.hint(jobs.confirm_removal, portal.pk))
    return HttpResponse("ok", content_type="text/plain")


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers."""
    return HttpResponse("ok", content_type="text/plain")


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """The database answers too, its tables are those that this code expects, and some worker does what is due."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return HttpResponse("migrations are missing", status=503, content_type="text/plain")
    if not canary.is_anybody_working():
        return HttpResponse("no worker has read a message lately", status=503, content_type="text/plain")
    return HttpResponse("ok", content_type="text/plain")
