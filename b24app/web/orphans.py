"""After a reinstall: an administrator adopts, returns or dismisses the tasks that are still deferred from before."""

from collections.abc import Callable

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from b24app.bitrix.errors import BitrixError
from b24app.engine import deferrals, jobs
from b24app.models import Person
from b24app.portals import people
from b24app.web.texts import too_many_jobs, trouble
from b24app.web.tickets import ticketed
from b24app.worker import messages


@require_POST
@ticketed
def adopt(request: HttpRequest, person: Person) -> HttpResponse:
    return _decide(request, person, deferrals.adopt, "taken")


@require_POST
@ticketed
def discard(request: HttpRequest, person: Person) -> HttpResponse:
    return _decide(request, person, deferrals.discard, "forgotten")


@require_POST
@ticketed
def return_all(request: HttpRequest, person: Person) -> HttpResponse:
    """Return what this admin has taken over, as a job; pressed twice, it is one. The page then looks for its panel."""
    try:
        jobs.return_adopted(person)
    except jobs.TooManyJobs:
        context = {"in_care": deferrals.adopted(person).count(), "trouble": too_many_jobs()}
        return render(request, "orphans/_notice.html", context)
    except jobs.NotReady:
        return render(request, "orphans/_notice.html", {})
    transaction.on_commit(lambda: messages.enqueue(person.portal_id))
    response = render(request, "orphans/_notice.html", {})
    response["HX-Trigger-After-Swap"] = "job-asked"
    return response


def _decide(request: HttpRequest, person: Person, act: Callable[[Person], object], done: str) -> HttpResponse:
    """Do it for whoever is an admin by the portal's word at this moment: the page may be hours old."""
    context: dict[str, object] = {"owed": deferrals.count_orphans(person)}
    try:
        if people.is_admin_now(person):
            act(person)
            context = {"done": done, "in_care": deferrals.adopted(person).count()}
        else:
            context = {"refused": True}
    except BitrixError as error:
        context["trouble"] = trouble(error)
    return render(request, "orphans/_notice.html", context)
