"""Grants of the authorization server: a new pair of tokens for a refresh token or a code."""

import secrets
from typing import Any

from django.conf import settings

from ..app import tokens
from ..portal import clock, knobs
from ..portal.errors import RestError
from ..portal.models import App, Installation, Portal, Request, Token
from ..wire.call import Params
from .codes import spend_code


class OAuthError(RestError):
    """An error of the authorization server, which leaves out an empty description."""

    def body(self) -> dict[str, Any]:
        body = super().body()
        return body if self.description else {"error": self.code}


def exchange(params: Params, row: Request) -> dict[str, Any]:
    """Exchange a refresh token or a code for a new pair of tokens. Raises OAuthError."""
    app = known_app(params)
    grant = parameter(params, "grant_type")
    if grant == "refresh_token":
        return refresh(app, parameter(params, "refresh_token"), params, row)
    if grant == "authorization_code":
        return redeem(app, parameter(params, "code"), row)
    raise OAuthError(400, "invalid_request", "Unsupported grant type")


def parameter(params: Params, name: str) -> str:
    """The text of a required parameter. Raises invalid_request without it."""
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
    """Exchange a code. As documented, the answer has neither `expires` nor `user_id`."""
    installation, user = spend_code(code) or (None, None)
    if installation is None or user is None or installation.app != app:
        raise OAuthError(400, "invalid_grant", "")
    check_installation(installation)
    new = tokens.open_chain(installation, user)
    row.token, row.user = new, new.user
    left_out = ("expires", "user_id") if knobs.knob("oauth.short_code_answer", installation.portal.key) else ()
    return {name: value for name, value in grant(new).items() if name not in left_out}


def check_installation(installation: Installation) -> None:
    """Raise OAuthError if the app was removed, the portal deleted, or the subscription has expired."""
    if not installation.active or installation.portal.deleted:
        raise OAuthError(401, "NOT_INSTALLED", "Application not installed")
    if installation.payment_expired:
        raise OAuthError(401, "PAYMENT_REQUIRED", "Payment required")


def grant(token: Token) -> dict[str, Any]:
    """The answer with a new pair."""
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
