"""The installer: three steps, each with its own answer."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST

from b24app.bitrix.errors import BitrixError
from b24app.bitrix.payloads import BadPayload
from b24app.languages import locale_of
from b24app.models import Person
from b24app.portals import installation
from b24app.portals.installation import NotAllowed
from b24app.web.frames import (
    frame,
    not_installed,
    prove_or_answer,
    read_claims,
    refused_page,
    reopening,
)
from b24app.web.texts import Trouble, trouble
from b24app.web.tickets import Ticket, ticketed

# The steps of the installer: what the screen calls them, and the address that does each.
STEPS = ("connect", "install-scope", "install-bind")


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def install(request: HttpRequest) -> HttpResponse:
    """POST by a portal: the installer in the administrator's frame, after its first step. GET: what this address is."""
    if request.method != "POST":
        return render(request, "about.html", {"is_installer": True})
    try:
        opening = read_claims(request)
    except BadPayload as error:
        return not_installed(request, None, 400, str(error))
    language = locale_of(opening.language)

    def explain(error: NotAllowed | BitrixError) -> HttpResponse:
        return frame(request, opening, "install/page.html", _failed("connect", error))

    with translation.override(language):
        try:
            person = prove_or_answer(
                request,
                opening,
                lambda portal: installation.connect(opening),
                lambda error: refused_page(request, opening, error),
                explain,
            )
        except NotAllowed as error:
            return explain(error)
        if isinstance(person, HttpResponse):
            return person
        context = {**_steps_context("install-scope"), "ticket": Ticket.issue(person, language).signed()}
        return frame(request, opening, "install/page.html", context, person.portal)


@require_POST
@ticketed
def install_scope(request: HttpRequest, person: Person) -> HttpResponse:
    return _take_step(request, "install-scope", lambda: installation.check_scope(person))


@require_POST
@ticketed
def install_bind(request: HttpRequest, person: Person) -> HttpResponse:
    return _take_step(request, "install-bind", lambda: installation.bind(person))


def _take_step(request: HttpRequest, step: str, act: Callable[[], None]) -> HttpResponse:
    """Do one step of the installer. The answer starts the next step by itself, or says what failed."""
    try:
        act()
    except (NotAllowed, BitrixError) as error:
        return render(request, "install/_steps.html", _failed(step, error))
    following = (*STEPS, "")[STEPS.index(step) + 1]
    response = render(request, "install/_steps.html", _steps_context(following))
    if not following:
        response["HX-Trigger-After-Swap"] = "installed"
    return response


def _steps_context(current: str, failure: Trouble | None = None) -> dict[str, object]:
    """Which steps are done, and which one runs or failed. `current` is "" when all steps are done."""
    names = (gettext("Connect"), gettext("Permissions"), gettext("Add to task lists"))
    done = STEPS.index(current) if current else len(STEPS)
    current_state = "failed" if failure else "running"
    states = ["done" if n < done else current_state if n == done else "waiting" for n in range(len(STEPS))]
    act_url = reverse(current) if current in STEPS[1:] else ""
    return {"steps": list(zip(names, states, strict=True)), "act_url": act_url, "trouble": failure}


def _failed(step: str, error: NotAllowed | BitrixError) -> dict[str, object]:
    return _steps_context(step, _install_trouble(error))


def _install_trouble(error: NotAllowed | BitrixError) -> Trouble:
    """What to tell the administrator about a step that failed."""
    if isinstance(error, BitrixError):
        return reopening(trouble(error))
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
