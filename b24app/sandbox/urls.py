"""The addresses of a portal; the authorization server's are in oauth_urls."""

from importlib.util import find_spec

from django.urls import URLPattern, URLResolver, include, path
from django.views.static import serve

from . import control, methods, rest, watch

PACKAGE = __name__.rpartition(".")[0]

assert methods  # noqa: S101 -- importing it fills the table of REST methods

urlpatterns: list[URLPattern | URLResolver] = [
    path("control/", watch.page),
    path("control/news/", watch.news),
    path("control/static/<str:path>", serve, {"document_root": watch.STATIC}),
    path("control/<str:verb>", control.control),
    path("rest/<path:path>", rest.rest),
]
if find_spec(f"{PACKAGE}.desktop_urls") is not None:  # the desktop can be left out
    urlpatterns.append(path("", include(f"{PACKAGE}.desktop_urls")))
