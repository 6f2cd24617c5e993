"""What was owed before the app was removed and installed again: an admin takes it over, or forgets it."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from b24app import portals, removals
from b24app.bitrix.errors import BitrixError
from b24app.models import Person
from b24app.web.access import ticketed
from b24app.web.words import trouble


@require_POST
@ticketed
def take_over(request: HttpRequest, person: Person) -> HttpResponse:
    return _decide(request, person, removals.take_over, "taken")


@require_POST
@ticketed
def forget(request: HttpRequest, person: Person) -> HttpResponse:
    return _decide(request, person, removals.let_go, "forgotten")


def _decide(request: HttpRequest, person: Person, act: Callable[[Person], object], done: str) -> HttpResponse:
    """Do it for whoever is an admin by the portal's word at this moment: the page may be hours old."""
    context: dict[str, object] = {"owed": removals.owed_before(person)}
    try:
        if portals.is_admin_now(person):
            act(person)
            context["done"] = done
        else:
            context = {"refused": True}
    except BitrixError as error:
        context["trouble"] = trouble(error)
    return render(request, "_owed.html", context)
