"""What holds for every request: security headers, a limit for its body, and a sentence while the database is away."""

import logging
from collections.abc import Callable

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.translation import gettext

logger = logging.getLogger(__name__)
RETRY_AFTER = 5  # seconds; our pages then ask again
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'none'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors {ancestors}"
)
PERMISSIONS_POLICY = "camera=(), microphone=(), geolocation=(), payment=(), usb=()"


def allow_frame(response: HttpResponse, origin: str) -> HttpResponse:
    """Allow exactly this portal to show the answer in its frame."""
    response["Content-Security-Policy"] = CONTENT_POLICY.format(ancestors=origin or "'none'")
    return response


class BodyLimit:
    """Middleware: answers 413 before it reads a body that is larger than any request of ours.

    Django's own limits do not count files: it would write them to the disk first.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        announced = request.headers.get("Content-Length") or "0"
        if not (announced.isascii() and announced.isdigit()):
            return HttpResponse("Content-Length must be a number.", status=400, content_type="text/plain")
        if len(announced) > 12 or int(announced) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            return HttpResponse("The request is too large.", status=413, content_type="text/plain")
        return self.get_response(request)


class DatabaseOutage:
    """Middleware: answers 503 with Retry-After while our database is away or overloaded."""

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
    """Middleware: the headers of every answer but static files. No site may frame a page unless its view allows it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY.format(ancestors="'none'"))
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        response.headers.setdefault("Cache-Control", "no-store")
        if settings.SECURE_HSTS_SECONDS:
            # Django sends this only with https requests. Behind a proxy that ends TLS, no request looks like one.
            response.headers.setdefault("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}")
        return response
