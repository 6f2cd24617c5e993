"""The addresses of the authorization server."""

from django.urls import re_path

from . import server

urlpatterns = [
    re_path(r"^oauth/token/?$", server.token),
    re_path(r"^rest/app\.info(?:\.json)?/?$", server.app_info),
    re_path(r"", server.unknown),
]
