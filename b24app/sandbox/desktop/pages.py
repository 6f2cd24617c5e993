"""Pages that show an app in a frame, and the reasons not to show it."""

import json
from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from ..portal.models import Installation, Placement
from .desk import Desk, at_desk, show
from .market import installation_of

# Parameters of the page itself, which are not passed on to the app.
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


@require_GET
@at_desk
def app_page(request: HttpRequest, desk: Desk, code: str) -> HttpResponse:
    """The app as a full page. An unfinished installation shows its installer, to administrators only."""
    installation = installation_of(desk, code)
    options = {name: str(value) for name, value in request.GET.items() if name not in NOT_OPTIONS}
    return _holder(request, desk, installation, None, options)


@require_GET
@at_desk
def app_link(request: HttpRequest, desk: Desk, code: str) -> HttpResponse:
    """A deep link into the app, /marketplace/view/CODE/?params[key]=value."""
    installation = installation_of(desk, code)
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
    """The reason why the person cannot open the app, as a text; empty if there is none."""
    if not desk.user.may_use_app:
        return desk.words["no_access"]
    if not installation.installed and not desk.user.is_admin:
        return desk.words["app_unfinished"]
    return ""
