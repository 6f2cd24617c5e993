"""The authorization server: tokens for codes and refresh tokens, and the trusted app.info."""

import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from ..app import tokens
from ..portal import clock, knobs, truth
from ..portal.errors import ConnectionCut, RestError
from ..portal.models import App, Installation, Portal, Request, Token, User
from ..weather import faults
from ..wire import rest
from ..wire.call import Params

Answer = Callable[[Params, Request], dict[str, Any]]

CODE_LIFETIME = 30  # seconds

codes: dict[str, tuple[int, int, float]] = {}  # code -> installation, user, when it dies


class OAuthError(RestError):
    """A refusal; the authorization server leaves the description out where it has none."""

    def body(self) -> dict[str, Any]:
        body = super().body()
        return body if self.description else {"error": self.code}


def issue_code(installation: Installation, user: User) -> str:
    """A code as a portal's /oauth/authorize/ hands it out."""
    code = secrets.token_hex(35)
    codes[code] = (installation.pk, user.pk, clock.seconds() + CODE_LIFETIME)
    return code


@csrf_exempt
def token(request: HttpRequest) -> HttpResponse:
    """/oauth/token/ by GET or POST form."""
    return serve(request, "oauth/token", exchange)


@csrf_exempt
def app_info(request: HttpRequest) -> HttpResponse:
    """/rest/app.info: the trusted word about an access token."""
    return serve(request, "oauth/app.info", describe)


@csrf_exempt
def unknown(request: HttpRequest) -> HttpResponse:
    return rest.refusal(RestError(404, "ERROR_METHOD_NOT_FOUND", "Method not found!"))


def serve(request: HttpRequest, name: str, answer: Answer) -> HttpResponse:
    params, _ = rest.read_parameters(request)
    row = truth.note_request(None, name, params)
    response: HttpResponse | None = None
    try:
        response = faults.strike_before(None, name)
        if response is None:
            params["auth"] = rest.read_key(request, params)
            response = faults.strike_after(None, name, respond(params, row, answer))
    except RestError as error:  # a fault
        response = rest.refusal(OAuthError(error.status, error.code, error.description))
    except ConnectionCut:
        response = None
        faults.cut(request)
    finally:
        truth.note_answer(row, response.status_code if response is not None else None, rest.code_in(response))
    return response or HttpResponse()


def respond(params: Params, row: Request, answer: Answer) -> HttpResponse:
    try:
        return rest.json_response(200, answer(params, row))
    except RestError as error:
        return rest.refusal(error)


def exchange(params: Params, row: Request) -> dict[str, Any]:
    """One grant: a refresh token or a code for a new pair."""
    app = known_app(params)
    grant = parameter(params, "grant_type")
    if grant == "refresh_token":
        return refresh(app, parameter(params, "refresh_token"), params, row)
    if grant == "authorization_code":
        return redeem(app, parameter(params, "code"), row)
    raise OAuthError(400, "invalid_request", "Unsupported grant type")


def parameter(params: Params, name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not value:
        raise OAuthError(400, "invalid_request", f'No "{name}" parameter found')
    return value


def known_app(params: Params) -> App:
    app = App.objects.filter(client_id=parameter(params, "client_id")).first()
    if app is None:
        raise OAuthError(200 if knobs.trap("wrong_client_is_200") else 401, "wrong_client", "")
    if not secrets.compare_digest(app.client_secret, parameter(params, "client_secret")):
        raise OAuthError(400, "invalid_client", "")
    return app


def refresh(app: App, value: str, params: Params, row: Request) -> dict[str, Any]:
    known = Token.objects.select_related("installation__portal", "installation__app", "user")
    old = known.filter(refresh=value, installation__app=app).first()
    if old is None:
        raise OAuthError(400, "invalid_grant", "")
    row.token, row.user = old, old.user
    check_installation(old.installation)
    if "scope" in params and not scope_is_granted(params["scope"], old.installation):
        raise OAuthError(403, "invalid_scope", "")
    new = tokens.spend(old)
    if new is None:
        raise OAuthError(400, "invalid_grant", "")
    return grant(new)


def scope_is_granted(asked: Any, installation: Installation) -> bool:
    return set(str(asked).replace(" ", ",").split(",")) <= set(installation.app.scope.split(","))


def redeem(app: App, code: str, row: Request) -> dict[str, Any]:
    """A code works once, for 30 seconds; as documented, the answer has neither `expires` nor `user_id`."""
    installation_id, user_id, dies = codes.pop(code, (0, 0, 0.0))
    installation = Installation.objects.select_related("portal", "app").filter(pk=installation_id).first()
    if installation is None or installation.app != app or dies < clock.seconds():
        raise OAuthError(400, "invalid_grant", "")
    check_installation(installation)
    new = tokens.open_chain(installation, User.objects.get(pk=user_id))
    row.token, row.user = new, new.user
    left_out = ("expires", "user_id") if knobs.knob("oauth.short_code_answer", installation.portal.key) else ()
    return {name: value for name, value in grant(new).items() if name not in left_out}


def check_installation(installation: Installation) -> None:
    if not installation.active or installation.portal.deleted:
        raise OAuthError(401, "NOT_INSTALLED", "Application not installed")
    if installation.payment_expired:
        raise OAuthError(401, "PAYMENT_REQUIRED", "Payment required")


def grant(token: Token) -> dict[str, Any]:
    portal: Portal = token.installation.portal
    return {
        "access_token": token.access,
        "expires": int(token.expires),
        "expires_in": round(token.expires - clock.seconds()),
        "scope": token.installation.scope,
        "domain": settings.OAUTH_HOST,
        "server_endpoint": f"http://{settings.OAUTH_HOST}/rest/",
        "status": token.installation.status,
        "client_endpoint": f"http://{portal.host}/rest/",
        "member_id": portal.member_id,
        "user_id": token.user.number,
        "refresh_token": token.refresh,
    }


def describe(params: Params, row: Request) -> dict[str, Any]:
    """Whose token this is, for which app, at which portal."""
    started = clock.seconds()
    known = Token.objects.select_related("installation__portal", "installation__app", "user")
    token = known.filter(access=params["auth"]).first() if params["auth"] else None
    if token is None:
        raise OAuthError(400, "invalid_client", "")
    row.token, row.user = token, token.user
    check_installation(token.installation)
    if tokens.is_dead(token):
        raise OAuthError(400, "invalid_client", "")
    if token.expires <= clock.seconds():
        raise RestError(401, "expired_token", "The access token provided has expired.")
    installation, portal = token.installation, token.installation.portal
    expires = datetime.fromtimestamp(token.expires, ZoneInfo(portal.zone))
    result = {
        "client_id": installation.app.client_id,
        "scope": installation.scope,
        "expires": expires.isoformat(timespec="seconds"),
        "install": {
            "installed": installation.installed,
            "version": str(installation.version),
            "status": installation.status,
            "scope": installation.scope,
            "domain": portal.host,
            "uri": f"http://{portal.host}",
            "client_endpoint": f"http://{portal.host}/rest/",
            "member_id": portal.member_id,
            "member_type": "bitrix24",
        },
        "user_id": token.user.number,
    }
    return {"result": result, "time": rest.timing(portal, started, 0)}
