"""/oauth/authorize/ on the portal's host: a person authorizes an app from outside the portal."""

from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_GET

from ..oauth.codes import issue_code
from ..portal.models import Installation
from .desk import Desk, at_desk


@require_GET
@at_desk
def authorize(request: HttpRequest, desk: Desk) -> HttpResponse:
    """Redirect to the app's main address with a code. A refusal is shown here; the app is not told."""
    installation = installation_asked_for(request, desk)
    if installation is None:
        return refusal("The application is not installed.", 404)
    if not desk.user.may_use_app:
        return refusal(desk.words["no_access"], 403)
    query = {
        "code": issue_code(installation, desk.user),
        "state": request.GET.get("state", ""),
        "domain": desk.portal.host,
        "member_id": desk.portal.member_id,
        "scope": installation.scope,
        "server_domain": settings.OAUTH_HOST,
    }
    app = installation.app
    return HttpResponseRedirect(f"{app.origin}{app.main_path}?{urlencode(query)}")


def installation_asked_for(request: HttpRequest, desk: Desk) -> Installation | None:
    rows = desk.portal.installations.filter(active=True, installed=True).select_related("app", "portal")
    return rows.filter(app__client_id=request.GET.get("client_id", "")).first()


def refusal(text: str, status: int) -> HttpResponse:
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
