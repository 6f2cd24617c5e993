"""Who may call: tickets instead of cookies, our own page's origin, and the client's address.

Inside a portal's frame our cookies would be third-party cookies. So a page keeps a short signed ticket in a variable
and sends it as a header. The header also replaces the CSRF token: no other site can make a browser send it.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Concatenate, ParamSpec, Self

from django.conf import settings
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from b24app.models import Person
from b24app.portals import people
from b24app.web.localization import speaking_to

TICKET_HEADER = "X-Ticket"
TICKET_SALT = "defer.ticket"
TICKET_LIFE = 15 * 60.0  # seconds
SESSION_LIFE = 8 * 3600.0  # seconds after the opening; then the portal must confirm the person again

P = ParamSpec("P")
TicketedView = Callable[Concatenate[HttpRequest, Person, P], HttpResponse]


@dataclass(frozen=True)
class Ticket:
    """Our signed proof that a frame was opened by this person of this portal. Times are unix seconds."""

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
        """The person. None if the portal has lost its access since the ticket was issued."""
        return people.person_of(self.portal, self.person, self.epoch)

    def renewed(self) -> Self | None:
        """The same ticket issued now, if half of its life is over and the session is not."""
        now = time.time()
        is_half_over = now - self.issued_at > TICKET_LIFE / 2
        return replace(self, issued_at=now) if is_half_over and now - self.opened_at < SESSION_LIFE else None


def ticketed(view: TicketedView[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Admit a request of our own page that carries a valid ticket, and pass its person to the view.

    The view runs in the person's language and time zone. Every other request gets 401: the page then asks the portal
    for new tokens, once, and repeats its request.
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
    """Raise PermissionDenied if the page of another site sent this request."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise PermissionDenied("another site's page")
    ours = (settings.PUBLIC_URL, f"{request.scheme}://{request.get_host()}")
    if request.method not in ("GET", "HEAD") and request.headers.get("Origin", ours[0]) not in ours:
        raise PermissionDenied("another site's page")


def client_address(request: HttpRequest) -> str:
    """The address of the client. Of X-Forwarded-For, only the part that our own proxies added counts."""
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",")]
    proxies: int = settings.PROXY_COUNT
    if 0 < proxies <= len(hops):
        return _without_port(hops[-proxies])
    return str(request.META.get("REMOTE_ADDR", ""))


def _without_port(hop: str) -> str:
    """The address in a hop. Proxies write "2.2.2.2", "2.2.2.2:4711", "::1", "[::1]" or "[::1]:443", also in quotes."""
    hop = hop.strip('"')
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
