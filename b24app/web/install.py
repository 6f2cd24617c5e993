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
from b24app.models import Person
from b24app.portals import installation, throttle
from b24app.portals.installation import NotAllowed
from b24app.portals.openings import NotProven
from b24app.portals.throttle import Throttled
from b24app.web.opening import frame, read_request, refused, reopening, too_many_attempts
from b24app.web.texts import Trouble, trouble
from b24app.web.tickets import (
    Ticket,
    client_address,
    language_of,
    ticketed,
)

# The steps of the installer: what the screen calls them, and the address that does each.
STEPS = ("connect", "install-scope", "install-bind")


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def install(request: HttpRequest) -> HttpResponse:
    """The installer in an admin's frame, its first step done; called by hand, what it is for."""
    if request.method != "POST":
        return render(request, "about.html", {"is_installer": True})
    try:
        opening = read_request(request)
    except BadPayload as error:
        return refused(request, None, 400, str(error))
    language = language_of(opening.language)
    with translation.override(language):
        try:
            with throttle.throttled(opening.member_id, client_address(request)):
                person = installation.connect(opening)
        except Throttled:
            return too_many_attempts(request, opening)
        except NotProven as error:
            return refused(request, opening, 403, str(error))
        except (NotAllowed, BitrixError) as error:
            context = _steps_context("connect", _install_trouble(error))
            return frame(request, opening, "install/page.html", context)
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
