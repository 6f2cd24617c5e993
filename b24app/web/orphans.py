"""After a reinstall: an administrator adopts, returns or discards the tasks that are still deferred from before."""

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
    return _decide(request, person, deferrals.adopt, "adopted")


@require_POST
@ticketed
def discard(request: HttpRequest, person: Person) -> HttpResponse:
    return _decide(request, person, deferrals.discard, "discarded")


@require_POST
@ticketed
def return_all(request: HttpRequest, person: Person) -> HttpResponse:
    """Start the job that returns what this administrator adopted. Pressed twice, it is one job.

    The event in the answer makes the page ask for the panel of the job.
    """
    try:
        jobs.return_adopted(person)
    except jobs.TooManyJobs:
        context = {"adopted": deferrals.adopted(person).count(), "trouble": too_many_jobs()}
        return render(request, "orphans/_notice.html", context)
    except jobs.NotReady:
        return render(request, "orphans/_notice.html", {})
    transaction.on_commit(lambda: messages.enqueue(person.portal_id))
    response = render(request, "orphans/_notice.html", {})
    response["HX-Trigger-After-Swap"] = "job-asked"
    return response


def _decide(request: HttpRequest, person: Person, act: Callable[[Person], object], done: str) -> HttpResponse:
    """Re-check with the portal that the person is an administrator, because the page may be hours old; then `act`."""
    context: dict[str, object] = {"orphans": deferrals.count_orphans(person)}
    try:
        if people.is_admin_now(person):
            act(person)
            context = {"done": done, "adopted": deferrals.adopted(person).count()}
        else:
            context = {"refused": True}
    except BitrixError as error:
        context["trouble"] = trouble(error)
    return render(request, "orphans/_notice.html", context)
