"""The Market: installing, updating and removing apps."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_GET, require_POST

from ..app import lifecycle
from ..portal.models import App, Installation
from .desk import Desk, at_desk, show


@require_GET
@at_desk
def market(request: HttpRequest, desk: Desk) -> HttpResponse:
    rows = [(app, desk.portal.installations.filter(app=app, active=True).first()) for app in App.objects.all()]
    return show(request, desk, "market.html", {"rows": rows, "section": "market"})


@require_POST
@at_desk
def install(request: HttpRequest, desk: Desk, code: str) -> HttpResponse:
    """Install the app, or update it if it is installed. Either way its installer page must run again."""
    only_admin(desk)
    app = get_object_or_404(App, code=code)
    here = desk.portal.installations.filter(app=app, active=True).first()
    if here is not None:
        lifecycle.update(here)
    else:
        lifecycle.install(desk.portal, app)
    return redirect(f"/marketplace/app/{code}/")


@require_POST
@at_desk
def uninstall(request: HttpRequest, desk: Desk, code: str) -> HttpResponse:
    only_admin(desk)
    lifecycle.uninstall(installation_of(desk, code), clean="clean" in request.POST)
    return redirect("/marketplace/")


def only_admin(desk: Desk) -> None:
    if not desk.user.is_admin:
        raise PermissionDenied("Only administrators may do this.")


def installation_of(desk: Desk, code: str) -> Installation:
    return get_object_or_404(desk.portal.installations.select_related("app", "portal"), app__code=code, active=True)
