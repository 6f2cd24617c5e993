"""Who is being called: a portal or the OAuth server, by the Host header."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound

from .models import Portal, Setting

PACKAGE = __name__.rpartition(".")[0]


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
            request.urlconf = f"{PACKAGE}.oauth_urls"
            return answer(request)
        portal = Portal.objects.filter(host=host).first()
        if portal is not None:
            request.portal = portal  # type: ignore[attr-defined]
            return answer(request)
        moved = Setting.objects.filter(key=f"moved:{host}").first()
        if moved is not None:
            # HTML and no body: a client that follows this blindly repeats a POST as a GET.
            place = f"http://{moved.value}{request.get_full_path()}"
            return HttpResponse(status=302, headers={"Location": place, "Content-Type": "text/html"})
        return HttpResponseNotFound("No portal lives at this address.")

    return middleware
