"""Who may come in: tickets instead of cookies, and the headers of every answer.

Inside a portal's frame our cookies would be third-party ones, so a page holds a short signed ticket in a variable
and sends it as a header. That also stands in for the CSRF token: no other site can make a browser send it.
"""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Concatenate, ParamSpec, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation

from b24app.models import Person
from b24app.portals import people

TICKET_HEADER = "X-Ticket"
TICKET_SALT = "defer.ticket"
TICKET_LIFE = 15 * 60.0  # seconds
SITTING = 8 * 3600.0  # seconds after the opening; then the portal has to confirm the person again
# Bitrix24's language codes to ours; what is not listed reads English.
LANGUAGES = {"en": "en", "ru": "ru"}
P = ParamSpec("P")
TicketedView = Callable[Concatenate[HttpRequest, Person, P], HttpResponse]


@dataclass(frozen=True)
class Ticket:
    """Our signed word that a frame was opened by this person of this portal. Times are unix seconds."""

    portal: int
    person: int
    epoch: int
    language: str
    opened_at: float
    issued_at: float

    @classmethod
    def issue(cls, person: Person, language: str) -> Self:
        now = time.time()
        return cls(person.portal_id, person.pk, person.portal.epoch, language, now, now)

    @classmethod
    def read(cls, signed: str) -> Self | None:
        """The ticket, unless it is forged, damaged or older than TICKET_LIFE."""
        try:
            ticket = cls(**signing.loads(signed, salt=TICKET_SALT))
        except (signing.BadSignature, TypeError):
            return None
        return ticket if time.time() - ticket.issued_at < TICKET_LIFE else None

    def signed(self) -> str:
        return signing.dumps(asdict(self), salt=TICKET_SALT)

    def holder(self) -> Person | None:
        """The person, while their portal's access has not been lost since."""
        return people.person_of(self.portal, self.person, self.epoch)

    def renewed(self) -> Self | None:
        """The same ticket issued now, when it is half spent and the sitting has not ended."""
        now = time.time()
        half_spent = now - self.issued_at > TICKET_LIFE / 2
        return replace(self, issued_at=now) if half_spent and now - self.opened_at < SITTING else None


def ticketed(view: TicketedView[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Admit a request from our own page that carries a valid ticket, and hand its person to the view.

    The view speaks the person's language and time zone. Everybody else gets 401: the page then asks the portal
    for a fresh proof, once, and repeats its request.
    """

    @functools.wraps(view)
    def admitted(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        require_our_page(request)
        ticket = Ticket.read(request.headers.get(TICKET_HEADER, ""))
        person = ticket.holder() if ticket else None
        if not ticket or not person:
            return HttpResponse(status=401)
        with speaking_to(person, ticket.language):
            response = view(request, person, *args, **kwargs)
        if fresh := ticket.renewed():
            response[TICKET_HEADER] = fresh.signed()
        return response

    admitted.csrf_exempt = True  # type: ignore[attr-defined]  # as Django's own csrf_exempt does
    return admitted


def require_our_page(request: HttpRequest) -> None:
    """Raise PermissionDenied when another site's page is behind this request."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise PermissionDenied("another site's page")
    ours = (settings.PUBLIC_URL, f"{request.scheme}://{request.get_host()}")
    if request.method not in ("GET", "HEAD") and request.headers.get("Origin", ours[0]) not in ours:
        raise PermissionDenied("another site's page")


def client_address(request: HttpRequest) -> str:
    """Where a request comes from. In X-Forwarded-For only what our own proxies have added is believed."""
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",")]
    proxies: int = settings.PROXY_COUNT
    if 0 < proxies <= len(hops):
        return hops[-proxies]
    return str(request.META.get("REMOTE_ADDR", ""))


def language_of(code: str) -> str:
    """Our language for one of Bitrix24's codes."""
    return LANGUAGES.get(code.lower(), "en")


@contextmanager
def speaking_to(person: Person, language: str) -> Iterator[None]:
    """Texts in this language, times in the person's zone."""
    with translation.override(language), timezone.override(_zone_of(person)):
        yield


def _zone_of(person: Person) -> ZoneInfo:
    try:
        return ZoneInfo(person.zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the portal's zones need not be ours, "Europe" is a folder
        return ZoneInfo("UTC")
