"""Apps on the desktop: the Market, the menus they hang in, and what an open app frame asks of the portal."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_GET, require_POST

from ..app import lifecycle, openings, tokens
from ..portal import clock
from ..portal.models import App, Installation, Option, Placement, Token, User
from .desk import Desk, at_desk, show

# Of a page's own address, not passed on to the app.
NOT_OPTIONS = (
    "IFRAME",
    "IFRAME_TYPE",
    "install_finished",
    "from",
    "from_app",
    "mute",
    "fail_refresh",
    "mobile",
)


@dataclass(frozen=True)
class MenuItem:
    """An app's entry in a menu or among the tabs of a card."""

    placement: Placement
    title: str
    options: str  # JSON, for the page's script


def placement_items(desk: Desk, code: str, options: Mapping[str, str]) -> list[MenuItem]:
    """What apps put there; of an installation that is not finished nothing is shown."""
    rows = Placement.objects.filter(
        placement=code,
        installation__portal=desk.portal,
        installation__active=True,
        installation__installed=True,
    ).select_related("installation__app")
    return [MenuItem(row, title_of(row, desk.language), json.dumps(options)) for row in rows.order_by("pk")]


def title_of(placement: Placement, language: str) -> str:
    """In the person's language where the app gave one, else the plain title, else the app's name."""
    titles = placement.lang_all.get(language) if isinstance(placement.lang_all, dict) else None
    own = titles.get("TITLE") if isinstance(titles, dict) else None
    return str(own or placement.title or placement.installation.app.name)


# -- The Market ---------------------------------------------------------------------------------------------


@require_GET
@at_desk
def market(request: HttpRequest, desk: Desk) -> HttpResponse:
    rows = [(app, desk.portal.installations.filter(app=app, active=True).first()) for app in App.objects.all()]
    return show(request, desk, "market.html", {"rows": rows, "section": "market"})


@require_POST
@at_desk
def install(request: HttpRequest, desk: Desk, code: str) -> HttpResponse:
    """Install, or install a newer version over the old: the installer page has to run (again) either way."""
    _only_admin(desk)
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
    _only_admin(desk)
    lifecycle.uninstall(_installation(desk, code), clean="clean" in request.POST)
    return redirect("/marketplace/")


def _only_admin(desk: Desk) -> None:
    if not desk.user.is_admin:
        raise PermissionDenied("Only administrators may do this.")


def _installation(desk: Desk, code: str) -> Installation:
    return get_object_or_404(desk.portal.installations.select_related("app", "portal"), app__code=code, active=True)


# -- Pages that hold an app ---------------------------------------------------------------------------------


@require_GET
@at_desk
def app_page(request: HttpRequest, desk: Desk, code: str) -> HttpResponse:
    """The app as a full page: its installer until that has finished, for administrators only."""
    installation = _installation(desk, code)
    options = {name: str(value) for name, value in request.GET.items() if name not in NOT_OPTIONS}
    return _holder(request, desk, installation, None, options)


@require_GET
@at_desk
def app_link(request: HttpRequest, desk: Desk, code: str) -> HttpResponse:
    """A deep link into the app, /marketplace/view/CODE/?params[key]=value."""
    installation = _installation(desk, code)
    placement = installation.placements.filter(placement="REST_APP_URI").order_by("pk").first()
    given = {name[7:-1]: str(value) for name, value in request.GET.items() if name.startswith("params[")}
    return _holder(request, desk, installation, placement, {**given, "URI": request.get_full_path()})


def _holder(
    request: HttpRequest,
    desk: Desk,
    installation: Installation,
    placement: Placement | None,
    options: Mapping[str, str],
) -> HttpResponse:
    context = {
        "app": installation.app,
        "installation": installation,
        "placement": placement,
        "options": json.dumps(options),
        "obstacle": obstacle(desk, installation),
        "section": installation.app.code,
    }
    return show(request, desk, "app.html", context)


def obstacle(desk: Desk, installation: Installation) -> str:
    """Why the person sees a sentence and nothing reaches the app; empty when nothing is in the way."""
    if not desk.user.may_use_app:
        return desk.words["no_access"]
    if not installation.installed and not desk.user.is_admin:
        return desk.words["app_unfinished"]
    return ""


# -- What the page's script asks for its frames -------------------------------------------------------------


@require_POST
@at_desk
def open_frame(request: HttpRequest, desk: Desk) -> HttpResponse:
    """The form to post into a new frame, with fresh tokens, and what the frame may be told."""
    asked = _asked(request)
    installation = _asked_installation(desk, asked)
    placement = None
    if asked.get("placement"):
        placement = get_object_or_404(installation.placements, pk=asked["placement"])
        if not installation.installed:
            raise Http404("Placements rest until the setup is finished.")
    options = asked.get("options") or {}
    opening = openings.open_app(installation, desk.user, placement.placement if placement else "DEFAULT", options)
    sid = opening.query["APP_SID"]
    return JsonResponse(
        {
            "installation": installation.pk,
            "origin": installation.app.origin.rstrip("/"),
            "title": title_of(placement, desk.language) if placement else installation.app.name,
            "page": f"/marketplace/app/{installation.app.code}/",
            "sid": sid,
            "frame": f"{opening.query['DOMAIN']}|{opening.query['PROTOCOL']}|{sid}",
            "url": address(opening, placement),
            "fields": list(opening.fields.items()),
            "init": init_data(desk, installation, opening, options),
        }
    )


def address(opening: openings.Opening, placement: Placement | None) -> str:
    """Where the form goes. Of two entries of one app in the same menu each has its own handler."""
    if placement is None:
        return opening.url
    return f"{placement.handler}{'&' if '?' in placement.handler else '?'}{urlencode(opening.query)}"


def init_data(desk: Desk, installation: Installation, opening: openings.Opening, options: object) -> dict[str, object]:
    """What the frame is told when it asks for getInitData."""
    mine = kept_options(installation, desk.user)
    return {
        "LANG": opening.query["LANG"],
        "DOMAIN": opening.query["DOMAIN"],
        "PROTOCOL": int(opening.query["PROTOCOL"]),
        "PATH": "/rest",
        **auth_of(opening.token),
        "MEMBER_ID": desk.portal.member_id,
        "FIRST_RUN": "install" not in mine,
        "IS_ADMIN": desk.user.is_admin,
        "INSTALL": not installation.installed,
        "USER_OPTIONS": mine,
        "APP_OPTIONS": kept_options(installation, None),
        "PLACEMENT": opening.fields["PLACEMENT"],
        "PLACEMENT_OPTIONS": options,
    }


def auth_of(token: Token) -> dict[str, str]:
    lifetime = max(0, round(token.expires - clock.seconds()))
    return {"AUTH_ID": token.access, "AUTH_EXPIRES": str(lifetime), "REFRESH_ID": token.refresh}


def kept_options(installation: Installation, user: User | None) -> dict[str, object]:
    """What the app keeps at the portal for one person, or (None) for all."""
    rows = Option.objects.filter(installation=installation, user=user)
    return dict(rows.values_list("name", "value"))


@require_POST
@at_desk
def refresh(request: HttpRequest, desk: Desk) -> HttpResponse:
    """A new chain of tokens for the person, beside the one the frame was opened with."""
    installation = _asked_installation(desk, _asked(request))
    return JsonResponse(auth_of(tokens.open_chain(installation, desk.user)))


@require_POST
@at_desk
def finish(request: HttpRequest, desk: Desk) -> HttpResponse:
    """The installer is done: from now on everybody gets the app, placements are shown and events sent."""
    _only_admin(desk)
    installation = _asked_installation(desk, _asked(request))
    lifecycle.finish(installation)
    return JsonResponse({})


@require_POST
@at_desk
def keep_option(request: HttpRequest, desk: Desk) -> HttpResponse:
    """setUserOption, setAppOption (administrators only) and setInstall."""
    asked = _asked(request)
    installation = _asked_installation(desk, asked)
    if asked.get("for_all"):
        _only_admin(desk)
    Option.objects.update_or_create(
        installation=installation,
        user=None if asked.get("for_all") else desk.user,
        name=str(asked.get("name", ""))[:100],
        defaults={"value": asked.get("value")},
    )
    return JsonResponse({})


@require_GET
@at_desk
def people(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Who can be chosen, as selectUser answers it."""
    users = desk.portal.users.filter(active=True).order_by("pk")
    return JsonResponse(
        {
            "people": [
                {
                    "id": str(user.number),
                    "name": user.full_name,
                    "photo": "",
                    "position": user.position,
                    "url": "",
                    "sub": user.boss_id == desk.user.pk,
                    "sup": desk.user.boss_id == user.pk,
                }
                for user in users
            ]
        }
    )


def _asked(request: HttpRequest) -> dict[str, Any]:
    try:
        asked = json.loads(request.body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise Http404("This address is for the desktop's own script.")
    return asked


def _asked_installation(desk: Desk, asked: Mapping[str, Any]) -> Installation:
    rows = desk.portal.installations.select_related("app", "portal")
    installation = get_object_or_404(rows, pk=asked.get("installation") or 0, active=True)
    if obstacle(desk, installation):
        raise PermissionDenied(obstacle(desk, installation))
    return installation
