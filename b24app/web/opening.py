"""A page in a portal's frame: it is opened, gets a second chance at a slow portal, and renews its ticket."""

from functools import partial

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from b24app import clock
from b24app.bitrix.client import Command
from b24app.bitrix.errors import AccessLost, BitrixError
from b24app.bitrix.payloads import BadPayload
from b24app.engine import deferrals, jobs
from b24app.languages import locale_of
from b24app.models import Job, Person
from b24app.portals import clients, installation, openings, uninstall
from b24app.portals.openings import Opened
from b24app.web.active import Listing, list_context
from b24app.web.frames import (
    frame,
    not_installed,
    prove_or_answer,
    read_claims,
    refused_page,
    reopening,
    unauthorized,
)
from b24app.web.jobs import panel
from b24app.web.localization import speaking_to
from b24app.web.stash import stash, unstash
from b24app.web.texts import trouble
from b24app.web.tickets import TICKET_HEADER, Ticket, require_our_page
from b24app.worker import messages


@csrf_exempt
@require_POST
def open_app(request: HttpRequest) -> HttpResponse:
    """Prove who opens the page, and show the list that it was opened from.

    If the portal is too slow, the page comes without data and asks for the rest by itself (`complete`).
    """
    try:
        opening = read_claims(request)
    except BadPayload as error:
        return not_installed(request, None, 400, str(error))
    received_at = clock.now()
    listing, language = Listing.of_opening(opening), locale_of(opening.language)

    def explain(error: BitrixError) -> HttpResponse:
        if isinstance(error, AccessLost):
            return frame(request, opening, "active/page.html", {"trouble": reopening(trouble(error))})
        return frame(request, opening, "active/page.html", {"pending_code": stash(opening, received_at)})

    with translation.override(language):
        opened = prove_or_answer(
            request,
            opening,
            partial(openings.open_page, opening, listing.command(), openings.OPENING_TIMEOUT, received_at),
            lambda error: refused_page(request, opening, error),
            explain,
        )
    if isinstance(opened, HttpResponse):
        return opened
    with speaking_to(opened.person, language):
        context = {**_page_context(opened, listing), "ticket": Ticket.issue(opened.person, language).signed()}
        return frame(request, opening, "active/page.html", context, opened.person.portal)


@csrf_exempt
@require_POST
def complete(request: HttpRequest) -> HttpResponse:
    """The rest of a page whose portal was too slow, for the page's one-use code."""
    require_our_page(request)
    pending = unstash(request.POST.get("code", ""))
    if pending is None:
        return unauthorized()
    opening, received_at = pending
    listing, language = Listing.of_opening(opening), locale_of(opening.language)
    with translation.override(language):
        opened = prove_or_answer(
            request,
            opening,
            lambda portal: openings.open_page(opening, listing.command(), clients.PAGE.timeout, received_at, portal),
            unauthorized,
            lambda error: render(request, "_trouble.html", vars(reopening(trouble(error)))),
        )
    if isinstance(opened, HttpResponse):
        return opened
    with speaking_to(opened.person, language):
        response = render(request, "active/_app.html", _page_context(opened, listing))
    response[TICKET_HEADER] = Ticket.issue(opened.person, language).signed()
    return response


@csrf_exempt
@require_POST
def issue_ticket(request: HttpRequest) -> HttpResponse:
    """A new ticket for a page that was opened long ago, for the new tokens that the portal gave to the page."""
    require_our_page(request)
    try:
        opening = read_claims(request)
    except BadPayload:
        return unauthorized()
    app = Command("page", "app.info")
    opened = prove_or_answer(
        request,
        opening,
        lambda portal: openings.open_page(opening, app, clients.PAGE.timeout, clock.now(), portal),
        unauthorized,
        unauthorized,
    )
    if isinstance(opened, HttpResponse):
        return opened
    _resume_jobs(opened)
    signed = Ticket.issue(opened.person, locale_of(opening.language)).signed()
    return HttpResponse(status=204, headers={TICKET_HEADER: signed})


def _page_context(opened: Opened, listing: Listing) -> dict[str, object]:
    """What the page shows to a proven person: the list, and the job to watch. Their waiting jobs continue."""
    person = opened.person
    job = jobs.latest_job(person)
    if person.portal.parked_until or (job and job.state != Job.State.FINISHED):
        _resume_jobs(opened)
        job = jobs.latest_job(person)
    _check_bindings(person)
    context = list_context(person, listing.seen_by(person), opened.answer)
    is_told = person.is_admin and uninstall.was_uninstalled(person.portal)
    adopted = deferrals.adopted(person).count() if is_told else 0
    return {**context, **panel(person, job), "orphans": deferrals.count_orphans(person), "adopted": adopted}


def _check_bindings(person: Person) -> None:
    if installation.needs_bindings_checked(person):
        transaction.on_commit(lambda: messages.send(messages.check_bindings, person.pk))


def _resume_jobs(opened: Opened) -> None:
    """The portal accepts this person again: their waiting jobs continue, unless the portal rejects the app itself."""
    person = opened.person
    if not isinstance(opened.answer, AccessLost) and jobs.resume_waiting(person):
        transaction.on_commit(lambda: messages.enqueue(person.portal_id))
