"""What the script of a page asks for the frames of apps: forms with tokens, options, people."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET, require_POST

from ..app import lifecycle, openings, tokens
from ..portal import clock
from ..portal.models import Installation, Option, Placement, Token, User
from .desk import Desk, at_desk
from .market import only_admin
from .menus import title_of
from .pages import obstacle


@require_POST
@at_desk
def open_frame(request: HttpRequest, desk: Desk) -> HttpResponse:
    """The form to post into a new frame, with fresh tokens, and what the page tells the frame."""
    asked = _asked(request)
    installation = _asked_installation(desk, asked)
    placement = None
    if asked.get("placement"):
        placement = get_object_or_404(installation.placements, pk=asked["placement"])
        if not installation.installed:
            raise Http404("Placements do not work until the setup is finished.")
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
    """The address of the form. Two entries of one app in the same menu have different handlers."""
    if placement is None:
        return opening.url
    return f"{placement.handler}{'&' if '?' in placement.handler else '?'}{urlencode(opening.query)}"


def init_data(desk: Desk, installation: Installation, opening: openings.Opening, options: object) -> dict[str, object]:
    """The answer to the frame's getInitData."""
    mine = stored_options(installation, desk.user)
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
        "APP_OPTIONS": stored_options(installation, None),
        "PLACEMENT": opening.fields["PLACEMENT"],
        "PLACEMENT_OPTIONS": options,
    }


def auth_of(token: Token) -> dict[str, str]:
    lifetime = max(0, round(token.expires - clock.seconds()))
    return {"AUTH_ID": token.access, "AUTH_EXPIRES": str(lifetime), "REFRESH_ID": token.refresh}


def stored_options(installation: Installation, user: User | None) -> dict[str, object]:
    """The options that the app stores for one person, or (None) for all."""
    rows = Option.objects.filter(installation=installation, user=user)
    return dict(rows.values_list("name", "value"))


@require_POST
@at_desk
def refresh(request: HttpRequest, desk: Desk) -> HttpResponse:
    """A new chain of tokens for the person. The chain that the frame was opened with stays valid."""
    installation = _asked_installation(desk, _asked(request))
    return JsonResponse(auth_of(tokens.open_chain(installation, desk.user)))


@require_POST
@at_desk
def finish(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Finish the installation: from now on all people can open the app, and placements and events work."""
    only_admin(desk)
    installation = _asked_installation(desk, _asked(request))
    lifecycle.finish(installation)
    return JsonResponse({})


@require_POST
@at_desk
def store_option(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Store an option: setUserOption, setAppOption (administrators only) and setInstall."""
    asked = _asked(request)
    installation = _asked_installation(desk, asked)
    if asked.get("for_all"):
        only_admin(desk)
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
    """The people to choose from, as selectUser returns them."""
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
        raise Http404("Only the desktop's script calls this address.")
    return asked


def _asked_installation(desk: Desk, asked: Mapping[str, Any]) -> Installation:
    rows = desk.portal.installations.select_related("app", "portal")
    installation = get_object_or_404(rows, pk=asked.get("installation") or 0, active=True)
    if obstacle(desk, installation):
        raise PermissionDenied(obstacle(desk, installation))
    return installation
