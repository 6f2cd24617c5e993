"""A page in a portal's frame: the opening, its second chance, and a fresh ticket."""

import hashlib
import json
import logging
import secrets
from dataclasses import asdict
from datetime import datetime, timedelta

from django.db import transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import translation
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from b24app import clock, vault
from b24app.bitrix.client import Command
from b24app.bitrix.errors import AccessLost, BitrixError
from b24app.bitrix.payloads import BadPayload, Opening, read_opening
from b24app.engine import deferrals, jobs
from b24app.models import Job, PendingOpening, Person, Portal
from b24app.portals import clients, installation, openings, throttle, uninstall
from b24app.portals.openings import NotProven, Opened
from b24app.portals.throttle import Throttled
from b24app.web.active import Listing, list_context
from b24app.web.jobs import panel
from b24app.web.middleware import allow_frame
from b24app.web.texts import Trouble, trouble
from b24app.web.tickets import (
    TICKET_HEADER,
    Ticket,
    client_address,
    language_of,
    require_our_page,
    speaking_to,
)
from b24app.worker import messages

logger = logging.getLogger(__name__)
PENDING_LIFE = timedelta(seconds=60)  # of an opening whose portal did not answer in time


@csrf_exempt
@require_POST
def placement(request: HttpRequest) -> HttpResponse:
    return open_app(request)


def open_app(request: HttpRequest) -> HttpResponse:
    """Prove who opens the page and show the list it was opened from.

    A portal that takes too long gets a second chance: the page comes without data and asks again by itself.
    """
    try:
        opening = read_request(request)
    except BadPayload as error:
        return refused(request, None, 400, str(error))
    received_at = clock.now()
    listing = Listing.of_opening(opening)
    with translation.override(language_of(opening.language)):
        try:
            opened = _proven(request, opening, listing.command(), openings.OPENING_TIMEOUT, received_at)
        except Throttled:
            return too_many_attempts(request, opening)
        except NotProven as error:
            return refused(request, opening, 403, str(error))
        except AccessLost as error:
            return frame(request, opening, "active/page.html", {"trouble": reopening(trouble(error))})
        except BitrixError:
            return frame(request, opening, "active/page.html", {"boot_code": _stash(opening, received_at)})
    with speaking_to(opened.person, language_of(opening.language)):
        context = _page_context(opened, listing)
        ticket = Ticket.issue(opened.person, language_of(opening.language))
        return frame(request, opening, "active/page.html", {**context, "ticket": ticket.signed()}, opened.person.portal)


@csrf_exempt
@require_POST
def rest(request: HttpRequest) -> HttpResponse:
    """The rest of a page whose portal had not answered in time, for the page's one-use code."""
    require_our_page(request)
    taken_back = _unstash(request.POST.get("code", ""))
    if taken_back is None:
        return HttpResponse(status=401)
    pending, received_at = taken_back
    listing = Listing.of_opening(pending)
    language = language_of(pending.language)
    with translation.override(language):
        try:
            opened = _proven(request, pending, listing.command(), clients.WEB_TIMEOUT, received_at)
        except (NotProven, Throttled):
            return HttpResponse(status=401)
        except BitrixError as error:
            return render(request, "_trouble.html", vars(reopening(trouble(error))))
    with speaking_to(opened.person, language):
        response = render(request, "active/_app.html", _page_context(opened, listing))
    response[TICKET_HEADER] = Ticket.issue(opened.person, language).signed()
    return response


@csrf_exempt
@require_POST
def renew_ticket(request: HttpRequest) -> HttpResponse:
    """A fresh ticket for a page that has been open for long, against tokens that the portal just handed it."""
    require_our_page(request)
    try:
        fresh = read_request(request)
        opened = _proven(request, fresh, Command("page", "app.info"), clients.WEB_TIMEOUT, clock.now())
    except (BadPayload, NotProven, Throttled, BitrixError):
        return HttpResponse(status=401)
    _let_jobs_go_on(opened)
    language = language_of(fresh.language)
    return HttpResponse(status=204, headers={TICKET_HEADER: Ticket.issue(opened.person, language).signed()})


def _proven(request: HttpRequest, opening: Opening, command: Command, timeout: float, received_at: datetime) -> Opened:
    """Prove the opening, unless too many from there have failed lately. Raises Throttled."""
    with throttle.throttled(opening.member_id, client_address(request)) as portal:
        return openings.open_page(opening, command, timeout, received_at, portal)


def _page_context(opened: Opened, listing: Listing) -> dict[str, object]:
    """A proven person is here: their jobs go on, and their list is shown with the job that they left behind."""
    person = opened.person
    job = jobs.latest_job(person)
    if person.portal.parked_until or (job and job.state != Job.State.FINISHED):
        _let_jobs_go_on(opened)
        job = jobs.latest_job(person)
    _look_after_bindings(person)
    context = list_context(person, listing.seen_by(person), opened.answer)
    is_told = person.is_admin and uninstall.was_uninstalled(person.portal)
    in_care = deferrals.adopted(person).count() if is_told else 0
    return {**context, **panel(person, job), "owed": deferrals.count_orphans(person), "in_care": in_care}


def _look_after_bindings(person: Person) -> None:
    if installation.needs_bindings_checked(person):
        transaction.on_commit(lambda: messages.send(messages.check_bindings, person.pk))


def _let_jobs_go_on(opened: Opened) -> None:
    """The portal knows this person again; unless it refuses the app's own question, jobs go on at once."""
    person = opened.person
    if not isinstance(opened.answer, AccessLost) and jobs.resume_waiting(person):
        transaction.on_commit(lambda: messages.enqueue(person.portal_id))


def read_request(request: HttpRequest) -> Opening:
    return read_opening(flat(request.GET), flat(request.POST))


def flat(fields: QueryDict) -> dict[str, str]:
    return {name: str(fields[name]) for name in fields}


def frame(
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


def refused(request: HttpRequest, opening: Opening | None, status: int, why: str) -> HttpResponse:
    """This did not come from a portal where the app is installed, as far as anybody trustworthy knows."""
    logger.warning("opening refused: %s", why)
    with translation.override(language_of(request.GET.get("LANG", ""))):
        title = gettext("The app is not installed in this Bitrix24 account")
        sentence = gettext("Close this page and open it again from Bitrix24. If this does not help, install the app.")
        response = render(request, "refused.html", {"trouble": Trouble(title, sentence)}, status=status)
    return allow_frame(response, opening.portal_origin if opening else "")


def too_many_attempts(request: HttpRequest, opening: Opening) -> HttpResponse:
    """Too many openings from there could not be confirmed: for a minute nobody is asked about another."""
    logger.warning("security: too many openings that nobody confirmed")
    sentence = gettext("Wait a minute, then open this page again from Bitrix24.")
    context = {"trouble": Trouble(gettext("Too many attempts"), sentence)}
    response = render(request, "refused.html", context, status=429)
    response["Retry-After"] = str(int(throttle.MEMORY.total_seconds()))
    return allow_frame(response, opening.portal_origin)


def _stash(opening: Opening, received_at: datetime) -> str:
    """Keep an opening until it is a minute old; only the code that is returned brings it back, once."""
    code = secrets.token_urlsafe(24)
    digest = _digest(code)
    PendingOpening.objects.create(
        code_digest=digest,
        sealed_payload=vault.seal(json.dumps(asdict(opening)), digest),
        expires_at=received_at + PENDING_LIFE,
    )
    return code


def _unstash(code: str) -> tuple[Opening, datetime] | None:
    """The opening that was put aside under this code, and when it came, unless it was taken already or is too old."""
    digest = _digest(code)
    pending = PendingOpening.objects.filter(code_digest=digest, expires_at__gt=clock.now()).first()
    if pending is None or not PendingOpening.objects.filter(pk=pending.pk).delete()[0]:
        return None
    opening = Opening(**json.loads(vault.unseal(pending.sealed_payload, digest)))
    return opening, pending.expires_at - PENDING_LIFE


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def reopening(what: Trouble) -> Trouble:
    """The same trouble where trying again takes fresh tokens."""
    return Trouble(what.title, what.sentence, "reopen", what.code)
