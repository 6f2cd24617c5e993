"""Who is being called: a portal or the OAuth server, by the Host header."""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound

from ..portal import truth
from ..portal.models import Portal, Setting

SANDBOX = __name__.rsplit(".", 2)[0]  # the name of the package


class PortalRequest(HttpRequest):
    """A request that `find_host` has seen; `portal` is missing at the OAuth server."""

    portal: Portal


def find_host(answer: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: set `request.portal` or the OAuth server's addresses; send callers of a moved portal on."""

    def middleware(request: HttpRequest) -> HttpResponse:
        host = request.get_host().lower()
        if request.path.startswith("/control/"):
            return answer(request)
        if host == settings.OAUTH_HOST:
            request.urlconf = f"{SANDBOX}.oauth.urls"
            return answer(request)
        portal = Portal.objects.filter(host=host).first()
        if portal is not None:
            request.portal = portal  # type: ignore[attr-defined]
            return answer(request)
        elsewhere = moved(request)
        if elsewhere is not None:
            note(request, elsewhere)
        return elsewhere or HttpResponseNotFound("No portal lives at this address.")

    return middleware


def moved(request: HttpRequest) -> HttpResponse | None:
    """Where the portal that lived at the called host lives now; None when it lives there still, or never did."""
    host = request.get_host().lower()
    place = Setting.objects.filter(key=f"moved:{host}").first()
    if place is None or Portal.objects.filter(host=host).exists():
        return None
    # HTML and no body: a client that follows this blindly repeats a POST as a GET.
    headers = {"Location": f"http://{place.value}{request.get_full_path()}", "Content-Type": "text/html"}
    return HttpResponse(status=302, headers=headers)


def note(request: HttpRequest, answer: HttpResponse) -> None:
    """Write a REST request to the old address down, without its parameters: the log shows all that was tried."""
    if request.path.startswith("/rest/"):
        place = urlsplit(answer.headers["Location"]).netloc
        method = request.path.removeprefix("/rest/").strip("/")
        row = truth.note_request(Portal.objects.filter(host=place).first(), method, {})
        truth.note_answer(row, answer.status_code, "")
