"""What was owed before the app was removed and installed again: an admin takes it over, returns it, or forgets it."""

from collections.abc import Callable

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from b24app import deferrals, jobs, portals, removals
from b24app.bitrix.errors import BitrixError
from b24app.models import Person
from b24app.web.access import ticketed
from b24app.web.texts import too_many_jobs, trouble


@require_POST
@ticketed
def take_over(request: HttpRequest, person: Person) -> HttpResponse:
    return _decide(request, person, removals.take_over, "taken")


@require_POST
@ticketed
def forget(request: HttpRequest, person: Person) -> HttpResponse:
    return _decide(request, person, removals.let_go, "forgotten")


@require_POST
@ticketed
def return_all(request: HttpRequest, person: Person) -> HttpResponse:
    """Return what this admin has taken over, as a job; pressed twice, it is one. The page then looks for its panel."""
    try:
        deferrals.return_taken_over(person)
    except deferrals.TooManyJobs:
        context = {"in_care": deferrals.taken_over(person).count(), "trouble": too_many_jobs()}
        return render(request, "orphans/_notice.html", context)
    except deferrals.NotReady:
        return render(request, "orphans/_notice.html", {})
    transaction.on_commit(lambda: jobs.hint_at_work(person.portal_id))
    response = render(request, "orphans/_notice.html", {})
    response["HX-Trigger-After-Swap"] = "job-asked"
    return response


def _decide(request: HttpRequest, person: Person, act: Callable[[Person], object], done: str) -> HttpResponse:
    """Do it for whoever is an admin by the portal's word at this moment: the page may be hours old."""
    context: dict[str, object] = {"owed": removals.owed_before(person)}
    try:
        if portals.is_admin_now(person):
            act(person)
            context = {"done": done, "in_care": deferrals.taken_over(person).count()}
        else:
            context = {"refused": True}
    except BitrixError as error:
        context["trouble"] = trouble(error)
    return render(request, "orphans/_notice.html", context)
