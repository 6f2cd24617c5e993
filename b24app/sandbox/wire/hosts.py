"""Which portal a request is for, or the OAuth server: the Host header tells."""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound

from ..portal import truth
from ..portal.models import Portal, Setting

SANDBOX = __name__.rsplit(".", 2)[0]  # the name of the package


class PortalRequest(HttpRequest):
    """A request that passed `find_host`. At the OAuth server it has no `portal`."""

    portal: Portal


def find_host(answer: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: set `request.portal` or the OAuth server's addresses, or redirect from a portal's old host."""

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
            log(request, elsewhere)
        return elsewhere or HttpResponseNotFound("There is no portal at this address.")

    return middleware


def moved(request: HttpRequest) -> HttpResponse | None:
    """A redirect if the portal of the called host has moved, else None."""
    host = request.get_host().lower()
    place = Setting.objects.filter(key=f"moved:{host}").first()
    if place is None or Portal.objects.filter(host=host).exists():
        return None
    # HTML without a body. A client that simply follows this repeats a POST as a GET.
    headers = {"Location": f"http://{place.value}{request.get_full_path()}", "Content-Type": "text/html"}
    return HttpResponse(status=302, headers=headers)


def log(request: HttpRequest, answer: HttpResponse) -> None:
    """Log a REST request to the old address, without its parameters. The log shows every attempt."""
    if request.path.startswith("/rest/"):
        place = urlsplit(answer.headers["Location"]).netloc
        method = request.path.removeprefix("/rest/").strip("/")
        row = truth.note_request(Portal.objects.filter(host=place).first(), method, {})
        truth.note_answer(row, answer.status_code, "")
