"""Connecting from outside a frame: a person goes to their portal and comes back with a code.

The sign-in belongs to one browser: a signed cookie, valid for ten minutes, must contain the state that the portal
returns. It is the only cookie of the app.
"""

import logging
import secrets
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.crypto import constant_time_compare
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.views.decorators.http import require_GET

from b24app.bitrix.errors import AccessLost, BitrixError, CredentialRefused
from b24app.engine import jobs
from b24app.languages import locale_of
from b24app.models import Portal
from b24app.portals import connecting
from b24app.portals.openings import NotProven
from b24app.web.texts import trouble
from b24app.worker import messages

logger = logging.getLogger(__name__)

STATE_LIFE = 600  # seconds from leaving for the portal to coming back
STATE_SALT = "defer.oauth-state"


@dataclass(frozen=True)
class Result:
    """What the page says after the sign-in, and the address of the next try."""

    title: str
    sentence: str
    status: int = 200
    again_url: str = ""
    code: str = ""


def start_url(portal: Portal) -> str:
    """The address at which a person of this portal starts the sign-in."""
    domain = portal.origin.partition("://")[2]
    return f"{reverse('oauth-start')}?{urlencode({'domain': domain})}"


@require_GET
def start(request: HttpRequest) -> HttpResponse:
    """Send the browser to its portal, if the app is installed there."""
    portal = connecting.at_domain(request.GET.get("domain", ""))
    if portal is None:
        raise Http404("no such portal")
    state = secrets.token_urlsafe(24)
    answer = HttpResponseRedirect(connecting.authorize_url(portal, state))
    answer.set_cookie(
        _cookie_name(),
        signing.dumps([portal.pk, state], salt=STATE_SALT),
        max_age=STATE_LIFE,
        secure=_is_https(),
        httponly=True,
        samesite="Lax",  # the portal's redirect comes from another site
    )
    return answer


def come_back(request: HttpRequest) -> HttpResponse:
    """The browser is back with a code. Trade it at once, because it expires after 30 seconds, and show the result."""
    with translation.override(translation.get_language_from_request(request)):
        portal = _portal_of_state(request)
        result = _connect(portal, request.GET["code"]) if portal else _unknown_state()
        answer = render(request, "connected.html", {"result": result}, status=result.status)
    answer.delete_cookie(_cookie_name(), samesite="Lax")
    return answer


def _portal_of_state(request: HttpRequest) -> Portal | None:
    """The portal that this browser was sent to, if it brings back the state that it was given."""
    try:
        kept: list[Any] = signing.loads(request.COOKIES.get(_cookie_name(), ""), salt=STATE_SALT, max_age=STATE_LIFE)
    except signing.BadSignature:
        return None
    portal_id, state = kept
    return connecting.with_app(portal_id) if constant_time_compare(state, request.GET["state"]) else None


def _connect(portal: Portal, code: str) -> Result:
    """Connect the person who came back with this code, and say what happened."""
    again = start_url(portal)
    try:
        person = connecting.connect_by_code(portal, code)
    except NotProven as error:
        logger.warning("security: portal %s: code refused: %s", portal.pk, error)
        sentence = gettext(
            "You came back from a different Bitrix24 account than the one you went to. Nothing was changed."
        )
        return Result(gettext("This is a different Bitrix24 account"), sentence, 403, again)
    except CredentialRefused as error:
        sentence = gettext("This sign-in link has expired. Please try again.")
        return Result(gettext("That took too long"), sentence, 400, again, error.code)
    except BitrixError as error:
        what = trouble(error)
        return Result(what.title, what.sentence, 403 if isinstance(error, AccessLost) else 503, again, what.code)
    if jobs.resume_waiting(person):
        transaction.on_commit(lambda: messages.enqueue(portal.pk))
    with translation.override(locale_of(person.language)):
        sentence = gettext("Connected as %(name)s. Your waiting jobs will continue. You can go back to Bitrix24.")
        return Result(gettext("You are connected"), sentence % {"name": person.name})


def _unknown_state() -> Result:
    sentence = gettext(
        "The sign-in did not start in this browser, or it started more than ten minutes ago. Nothing was changed."
    )
    return Result(gettext("This page has expired"), sentence, 400)


def _is_https() -> bool:
    return str(settings.PUBLIC_URL).startswith("https://")


def _cookie_name() -> str:
    """The name of the cookie. With the prefix, browsers accept it over https only, and only for this host."""
    return "__Host-oauth" if _is_https() else "oauth"
