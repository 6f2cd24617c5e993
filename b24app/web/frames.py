"""Answers inside a portal's frame: the page, and what a page says when its opening cannot be proven."""

import json
import logging
from collections.abc import Callable
from typing import TypeVar

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import translation
from django.utils.translation import gettext

from b24app.bitrix.errors import BitrixError
from b24app.bitrix.payloads import Opening, read_opening
from b24app.languages import locale_of
from b24app.models import Portal
from b24app.portals import throttle
from b24app.portals.openings import NotProven
from b24app.portals.throttle import Throttled
from b24app.web.middleware import allow_frame
from b24app.web.texts import Trouble
from b24app.web.tickets import client_address

logger = logging.getLogger(__name__)

T = TypeVar("T")

Refusal = NotProven | Throttled  # of an opening: nothing was stored


def read_claims(request: HttpRequest) -> Opening:
    """What the portal posted, unproven. Raises BadPayload."""
    return read_opening(flat(request.GET), flat(request.POST))


def flat(fields: QueryDict) -> dict[str, str]:
    """Form fields by name; of a field that comes several times, the last value."""
    return {name: str(fields[name]) for name in fields}


def prove_or_answer(
    request: HttpRequest,
    opening: Opening,
    prove: Callable[[Portal | None], T],
    refuse: Callable[[Refusal], HttpResponse],
    explain: Callable[[BitrixError], HttpResponse],
) -> T | HttpResponse:
    """The result of `prove`, or the answer of this view if the opening cannot be proven.

    `prove` gets the portal that the opening names, if the app is installed there. `refuse` answers an opening that is
    forged, or that comes after too many failed ones from the same address. `explain` answers if the portal or the
    authorization server failed. Raises whatever else `prove` raises.
    """
    try:
        with throttle.throttled(opening.member_id, client_address(request)) as portal:
            return prove(portal)
    except (NotProven, Throttled) as error:
        return refuse(error)
    except BitrixError as error:
        return explain(error)


def frame(
    request: HttpRequest, opening: Opening, template: str, context: dict[str, object], portal: Portal | None = None
) -> HttpResponse:
    """A page for the frame of the portal that the opening names.

    Until the opening is proven, any site may have posted it, so such a page contains no data. A portal that we know may
    frame the page only from its proven address.
    """
    known = portal or Portal.objects.filter(member_id=opening.member_id).first()
    origin = known.origin if known else opening.portal_origin
    page = {
        "opening": opening,
        "options_json": json.dumps(dict(opening.options)),
        "portal_origin": origin,
        "reopen_url": request.get_full_path(),
        **context,
    }
    return allow_frame(render(request, template, page), origin)


def refused_page(request: HttpRequest, opening: Opening, error: Refusal) -> HttpResponse:
    """The page for an opening that was refused."""
    if isinstance(error, Throttled):
        return _throttled(request, opening)
    return not_installed(request, opening, 403, str(error))


def not_installed(request: HttpRequest, opening: Opening | None, status: int, why: str) -> HttpResponse:
    """The opening could not be verified: no trusted server confirms that the app is installed there."""
    logger.warning("opening refused: %s", why)
    with translation.override(locale_of(request.GET.get("LANG", ""))):
        title = gettext("The app is not installed in this Bitrix24 account")
        sentence = gettext("Close this page and open it again from Bitrix24. If this does not help, install the app.")
        response = render(request, "refused.html", {"trouble": Trouble(title, sentence)}, status=status)
    return allow_frame(response, opening.portal_origin if opening else "")


def _throttled(request: HttpRequest, opening: Opening) -> HttpResponse:
    """Too many openings from this address failed. The app asks no server about another one for a minute."""
    logger.warning("security: too many failed openings")
    sentence = gettext("Wait a minute, then open this page again from Bitrix24.")
    context = {"trouble": Trouble(gettext("Too many attempts"), sentence)}
    response = render(request, "refused.html", context, status=429)
    response["Retry-After"] = str(int(throttle.MEMORY.total_seconds()))
    return allow_frame(response, opening.portal_origin)


def unauthorized(error: object = None) -> HttpResponse:
    """401 for a script of our page: it then asks the portal for new tokens, once, or says that the session ended."""
    return HttpResponse(status=401)


def reopening(what: Trouble) -> Trouble:
    """The same trouble, if trying again needs new tokens: the page opens itself again."""
    return Trouble(what.title, what.sentence, "reopen", what.code)
