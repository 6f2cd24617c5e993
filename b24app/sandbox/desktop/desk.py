"""The desktop: a portal as a person sees it in the browser. Who sits there, and what surrounds every page."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from ..portal.models import Portal, User
from . import words

P = ParamSpec("P")
LANGUAGES = {"en": "English", "ru": "Русский"}


@dataclass(frozen=True)
class Desk:
    """Who sits at the desktop of which portal."""

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
    """Hand the view its Desk; who has not said yet who they are is asked first."""

    @functools.wraps(view)
    def admitted(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        portal = portal_of(request)
        user = portal.users.filter(number=_cookie_number(request, portal), active=True).first()
        if user is None:
            return redirect("/")
        return view(request, Desk(portal, user), *args, **kwargs)

    return admitted


def portal_of(request: HttpRequest) -> Portal:
    portal: Portal | None = getattr(request, "portal", None)  # set by the middleware in hosts.py
    if portal is None:
        raise Http404("No portal lives at this address.")
    return portal


def _cookie_name(portal: Portal) -> str:
    """A name of its own for every portal: browsers share cookies between the ports of one host."""
    return f"desk_{portal.key}"


def _cookie_number(request: HttpRequest, portal: Portal) -> int:
    return _number(request.COOKIES.get(_cookie_name(portal), ""))


def _number(text: str) -> int:
    """A user's number, or 0, which nobody has."""
    return int(text) if text.isdecimal() else 0


# -- Who am I -----------------------------------------------------------------------------------------------


@require_GET
def front(request: HttpRequest) -> HttpResponse:
    """The person's own task list, or the question who it is."""
    portal = portal_of(request)
    user = portal.users.filter(number=_cookie_number(request, portal), active=True).first()
    if user is not None:
        return redirect(f"/company/personal/user/{user.number}/tasks/")
    context = {
        "portal": portal,
        "language": portal.language,
        "w": words.words_for(portal.language),
        "people": [(person, role_words(person)) for person in portal.users.filter(active=True).order_by("pk")],
    }
    return render(request, "desktop/templates/people.html", context)


def role_words(user: User) -> str:
    """What the person may do here, in the portal's language."""
    w = words.words_for(user.portal.language)
    if user.is_admin:
        return w["admin"]
    if subordinates := [person.full_name for person in user.subordinates.all()]:
        return w["boss_of"].format(", ".join(subordinates))
    if edited := [project.name for project in user.edited_projects.all()]:
        return w["moderator_of"].format(", ".join(edited))
    return w["ordinary"] if user.own_tasks.filter(status=3).count() > user.audited_tasks.count() else w["outsider"]


@require_POST
def become(request: HttpRequest) -> HttpResponse:
    portal = portal_of(request)
    user = get_object_or_404(portal.users, number=_number(request.POST.get("number", "")), active=True)
    answer = redirect(f"/company/personal/user/{user.number}/tasks/")
    answer.set_cookie(_cookie_name(portal), str(user.number), samesite="Lax", httponly=True)
    return answer


@require_POST
@at_desk
def speak(request: HttpRequest, desk: Desk) -> HttpResponse:
    language = request.POST.get("language", "")
    if language not in LANGUAGES:
        raise Http404("No such language.")
    User.objects.filter(pk=desk.user.pk).update(language=language)
    return back(request)


def back(request: HttpRequest, *, refused: bool = False) -> HttpResponseRedirect:
    """To the page the form stood on, which says so when something was refused."""
    url = urlsplit(request.POST.get("back", "/"))
    kept = [(name, value) for name, value in parse_qsl(url.query) if name != "refused"]
    query = urlencode([*kept, ("refused", "1")] if refused else kept)
    # The path alone: never to another host.
    return HttpResponseRedirect("/" + url.path.lstrip("/") + (f"?{query}" if query else ""))


def last_change(portal: Portal) -> int:
    """A number that rises with every change of a task's status; pages that show tasks watch it."""
    return portal.changes.aggregate(last=Max("pk"))["last"] or 0


def show(request: HttpRequest, desk: Desk, template: str, context: Mapping[str, Any]) -> HttpResponse:
    """The page in the portal's chrome, or without it where it is shown in a slider."""
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
