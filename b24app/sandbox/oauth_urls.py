"""The addresses of the authorization server."""

from django.urls import path, re_path

from . import oauth

urlpatterns = [
    re_path(r"^oauth/token/?$", oauth.token),
    re_path(r"^rest/app\.info(?:\.json)?/?$", oauth.app_info),
    path("<path:rest>", oauth.unknown),
]
