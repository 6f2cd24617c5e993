"""app.info of the authorization server: the user, app and portal of an access token."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ..app import tokens
from ..portal import clock
from ..portal.errors import RestError
from ..portal.models import Installation, Request, Token
from ..wire.answers import timing
from ..wire.call import Params
from .grants import OAuthError, check_installation


def describe(params: Params, row: Request) -> dict[str, Any]:
    """The answer about the token in `auth`. Raises RestError for a token that is unknown, dead or expired."""
    started = clock.seconds()
    token = known_token(params["auth"])
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
        "install": described_installation(installation),
        "user_id": token.user.number,
    }
    return {"result": result, "time": timing(portal, started, 0)}


def known_token(access: str) -> Token:
    known = Token.objects.select_related("installation__portal", "installation__app", "user")
    token = known.filter(access=access).first() if access else None
    if token is None:
        raise OAuthError(400, "invalid_client", "")
    return token


def described_installation(installation: Installation) -> dict[str, Any]:
    portal = installation.portal
    return {
        "installed": installation.installed,
        "version": str(installation.version),
        "status": installation.status,
        "scope": installation.scope,
        "domain": portal.host,
        "uri": f"http://{portal.host}",
        "client_endpoint": f"http://{portal.host}/rest/",
        "member_id": portal.member_id,
        "member_type": "bitrix24",
    }
