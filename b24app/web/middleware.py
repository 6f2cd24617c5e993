"""What every answer carries: security headers, and a sentence while the database is away."""

import logging
from collections.abc import Callable

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import gettext

logger = logging.getLogger(__name__)
RETRY_AFTER = 5  # seconds, while our database is away
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'none'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors {ancestors}"
)
PERMISSIONS_POLICY = "camera=(), microphone=(), geolocation=(), payment=(), usb=()"


def allow_frame(response: HttpResponse, origin: str) -> HttpResponse:
    """Let exactly this portal show the answer in its frame."""
    response["Content-Security-Policy"] = CONTENT_POLICY.format(ancestors=origin or "'none'")
    return response


class DatabaseOutage:
    """Middleware: while our database is away or overburdened, whoever asks is told to ask again. Our pages do."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, (OperationalError, InterfaceError)):
            return None
        logger.exception("the database is away")
        sentence = gettext("Something went wrong on our side.")
        headers = {"Retry-After": str(RETRY_AFTER)}
        return HttpResponse(sentence, status=503, content_type="text/plain; charset=utf-8", headers=headers)


class SecurityHeaders:
    """Middleware: what every answer of ours carries, static files apart. Nobody may frame it unless a view said so."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY.format(ancestors="'none'"))
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        response.headers.setdefault("Cache-Control", "no-store")
        if settings.SECURE_HSTS_SECONDS:
            # Django would say so only to requests that look secure; behind a proxy that ends TLS none does.
            response.headers.setdefault("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}")
        return response
