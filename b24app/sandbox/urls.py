"""The addresses of a portal. Those of the authorization server are in oauth/urls.py."""

from pathlib import Path

from django.urls import URLPattern, URLResolver, include, path
from django.views.static import serve

from . import methods
from .control import interface, watch
from .wire import rest

PACKAGE = __name__.rpartition(".")[0]

assert methods  # noqa: S101 -- importing it fills the table of REST methods

urlpatterns: list[URLPattern | URLResolver] = [
    path("control/", watch.page),
    path("control/news/", watch.news),
    path("control/static/<str:path>", serve, {"document_root": watch.STATIC}),
    path("control/<str:verb>", interface.control),
    path("rest/<path:path>", rest.rest),
]
if (Path(__file__).parent / "desktop" / "urls.py").exists():  # the desktop's folder may be deleted
    urlpatterns.append(path("", include(f"{PACKAGE}.desktop.urls")))
