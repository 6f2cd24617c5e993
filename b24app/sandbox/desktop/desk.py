"""What every page of the desktop needs: the person at it, and the menus around it."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render

from ..portal.models import Portal, User
from . import words

P = ParamSpec("P")
LANGUAGES = {"en": "English", "ru": "Русский"}


@dataclass(frozen=True)
class Desk:
    """The person at the desktop, and the portal."""

    portal: Portal
    user: User

    @property
    def language(self) -> str:
        return self.user.language or self.portal.language

    @property
    def words(self) -> dict[str, str]:
        return words.words_for(self.language)


DeskView = Callable[Concatenate[HttpRequest, Desk, P], HttpResponse]


def at_desk(view: DeskView[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Pass the view its Desk. A visitor who has not chosen a person yet is sent to the front page."""

    @functools.wraps(view)
    def admitted(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        portal = portal_of(request)
        user = portal.users.filter(number=cookie_number(request, portal), active=True).first()
        if user is None:
            return redirect("/")
        return view(request, Desk(portal, user), *args, **kwargs)

    return admitted


def portal_of(request: HttpRequest) -> Portal:
    portal: Portal | None = getattr(request, "portal", None)  # set by the middleware find_host
    if portal is None:
        raise Http404("There is no portal at this address.")
    return portal


def cookie_name(portal: Portal) -> str:
    """A different name for each portal, because browsers share cookies between the ports of a host."""
    return f"desk_{portal.key}"


def cookie_number(request: HttpRequest, portal: Portal) -> int:
    return user_number(request.COOKIES.get(cookie_name(portal), ""))


def user_number(text: str) -> int:
    """A user's number, or 0, which no user has."""
    return int(text) if text.isdecimal() else 0


def back(request: HttpRequest, *, refused: bool = False) -> HttpResponseRedirect:
    """Redirect to the page with the form. With `refused`, that page shows that the action was refused."""
    url = urlsplit(request.POST.get("back", "/"))
    kept = [(name, value) for name, value in parse_qsl(url.query) if name != "refused"]
    query = urlencode([*kept, ("refused", "1")] if refused else kept)
    # Only the path: never redirect to another host.
    return HttpResponseRedirect("/" + url.path.lstrip("/") + (f"?{query}" if query else ""))


def last_change(portal: Portal) -> int:
    """A number that rises with every change of a task's status. Pages with tasks watch it."""
    return portal.changes.aggregate(last=Max("pk"))["last"] or 0


def show(request: HttpRequest, desk: Desk, template: str, context: Mapping[str, Any]) -> HttpResponse:
    """Render a page with the portal's menus around it, or without them in a slider."""
    installations = desk.portal.installations.filter(active=True).select_related("app")
    chrome = {
        "portal": desk.portal,
        "me": desk.user,
        "language": desk.language,
        "languages": LANGUAGES,
        "w": desk.words,
        "people": desk.portal.users.filter(active=True).order_by("pk"),
        "apps": [installation.app for installation in installations],
        "in_slider": request.GET.get("IFRAME") == "Y",
        "here": request.get_full_path(),
        "last_change": last_change(desk.portal),
    }
    return render(request, f"desktop/templates/{template}", {**chrome, **context})
