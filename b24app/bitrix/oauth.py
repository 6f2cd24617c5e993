"""The authorization server: get and renew token pairs, and ask whose token this is.

Callers pass a server from a constant list. The client secret is sent to no other host, and only in a request's body.
Source: manual, settings/oauth.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

import requests
from oauthlib.oauth2 import OAuth2Error
from oauthlib.oauth2.rfc6749.errors import MissingTokenError
from requests_oauthlib import OAuth2Session
from urllib3.exceptions import NewConnectionError

from b24app.bitrix import bounds, http
from b24app.bitrix.client import parse
from b24app.bitrix.errors import BitrixError, CredentialRefused, NotRun, Refused, TokenExpired, Unknown, error_for

TIMEOUT = 10.0  # seconds
UNKNOWN_REFUSAL_DELAY = 60.0  # seconds
LONGEST_WORD, LONGEST_ADDRESS = 255, 1000  # characters of an answer's fields
LIFETIME = 3600  # of an access token, in seconds, if the answer does not say


@dataclass(frozen=True)
class Registration:
    """The app's registration at the vendor."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True)
class TokenPair:
    """An access token, valid until `expires_at`, and the refresh token, which can be traded once for the next pair."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class Renewed:
    """A fresh pair, and the portal and person that it belongs to."""

    pair: TokenPair
    member_id: str
    user_id: int | None


@dataclass(frozen=True)
class TokenInfo:
    """What the authorization `server` says about an access token. Only this answer about it is trusted."""

    server: str
    client_id: str
    member_id: str
    user_id: int
    endpoint: str
    scope: frozenset[str]
    installed: bool


def refresh(
    egress: http.Egress, server: str, app: Registration, refresh_token: str, now: datetime, trace: http.Trace
) -> Renewed:
    """Trade `refresh_token` for a new pair. The token is used up even if the answer is lost.

    Raises NotRun (nothing sent), Unknown (perhaps used up), CredentialRefused (it was used up before, or expired)
    or AccessLost (uninstalled, unpaid). Source: manual, settings/oauth/auto-renewal.md.
    """
    url = token_url(egress, server)

    def trade(session: OAuth2Session) -> dict[str, Any]:
        secrets = {"client_id": app.client_id, "client_secret": app.client_secret}
        return dict(session.refresh_token(url, refresh_token=refresh_token, timeout=TIMEOUT, **secrets))

    return _traded(egress, trade, now, trace)


def authorize_url(portal: str, app: Registration, state: str) -> str:
    """The page of `portal` (its origin) on which a person authorizes the app. It sends them back with a code.

    The address to come back to is part of the app's registration, and no parameter. Source: manual, settings/oauth.
    """
    return f"{portal}/oauth/authorize/?{urlencode({'client_id': app.client_id, 'state': state})}"


def redeem(egress: http.Egress, server: str, app: Registration, code: str, now: datetime, trace: http.Trace) -> Renewed:
    """Trade the code that a person came back with for a pair. A code works once, within 30 seconds.

    Raises like `refresh`: CredentialRefused if the code was used before, or is too old.
    """
    url = token_url(egress, server)

    def trade(session: OAuth2Session) -> dict[str, Any]:
        session.client_id = app.client_id
        # In the body, because Bitrix24 ignores an Authorization header here.
        secrets = {"include_client_id": True, "client_secret": app.client_secret}
        return dict(session.fetch_token(url, code=code, timeout=TIMEOUT, **secrets))

    return _traded(egress, trade, now, trace)


def _traded(
    egress: http.Egress, trade: Callable[[OAuth2Session], dict[str, Any]], now: datetime, trace: http.Trace
) -> Renewed:
    """Call `trade` in a new session, and read the pair in the answer."""
    session = http.new_session(egress)
    session.headers.update(trace.headers)
    session.max_redirects = 0  # oauthlib has no parameter for this

    def read(response: requests.Response) -> requests.Response:
        trace.status = response.status_code
        return _need_json(response)

    # oauthlib checks only the body: without this it would take a proxy's error page for a rejected token.
    for hook in ("refresh_token_response", "access_token_response"):
        session.register_compliance_hook(hook, read)
    try:
        with http.deadline(TIMEOUT):
            return _renewed(trade(session), now)
    except MissingTokenError:
        raise Unknown("no_token_in_answer") from None
    except OAuth2Error as error:
        raise _refusal(bounds.text(error.error, bounds.LONGEST_CODE)) from None
    except requests.RequestException as error:
        _raise_lost(error)
    finally:
        session.close()


def token_info(egress: http.Egress, server: str, access_token: str, trace: http.Trace) -> TokenInfo:
    """Ask the authorization server whose token this is. Safe to repeat.

    Raises CredentialRefused if the server does not know the token, AccessLost, NotRun or Unknown.
    Source: manual, settings/oauth/simple-way.md.
    """
    response = http.post(egress, f"{server}/rest/app.info", {"auth": access_token}, TIMEOUT, trace)
    try:
        result = parse(response)["result"]
    except (TokenExpired, Refused) as error:
        raise CredentialRefused(error.code) from None
    result = result if isinstance(result, dict) else {}
    install, user_id = result.get("install"), bounds.identity(result.get("user_id"))
    if not isinstance(install, dict) or user_id is None:
        raise Unknown("garbled_app_info")
    return TokenInfo(
        server=server,
        client_id=bounds.text(result.get("client_id"), LONGEST_WORD),
        member_id=bounds.text(install.get("member_id"), LONGEST_WORD),
        user_id=user_id,
        endpoint=bounds.text(install.get("client_endpoint"), LONGEST_ADDRESS),
        scope=frozenset(bounds.text(result.get("scope"), LONGEST_ADDRESS).replace(" ", "").split(",")),
        installed=bool(install.get("installed")),
    )


def server_of(endpoint: str) -> str:
    """Scheme and host of a SERVER_ENDPOINT such as "https://oauth.bitrix.info/rest/"."""
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def token_url(egress: http.Egress, server: str) -> str:
    url = f"{server}/oauth/token/"
    if not egress.admits_url(url):
        raise Refused("address_refused")
    return url


def _need_json(response: requests.Response) -> requests.Response:
    if response.status_code >= 500 or not response.content.lstrip().startswith(b"{"):
        raise Unknown(f"not_json_{response.status_code}")
    return response


def _refusal(code: str) -> BitrixError:
    """The error for a code of the token endpoint. An unknown code is about the connection: try again later."""
    error = error_for(code)
    return NotRun(code, delay=UNKNOWN_REFUSAL_DELAY) if isinstance(error, Refused) else error


def _raise_lost(error: requests.RequestException) -> NoReturn:
    inner = error.args[0] if error.args else None
    not_sent = isinstance(getattr(inner, "reason", inner), NewConnectionError)
    if not_sent or isinstance(error, requests.ConnectTimeout):
        raise NotRun("connect_failed") from None
    raise Unknown(type(error).__name__) from None


def _renewed(answer: dict[str, Any], now: datetime) -> Renewed:
    try:
        user_id = answer.get("user_id")
        return Renewed(
            TokenPair(answer["access_token"], answer["refresh_token"], expiry(answer, now)),
            member_id=str(answer.get("member_id", "")),
            user_id=int(user_id) if user_id is not None else None,
        )
    except (KeyError, TypeError, ValueError):
        raise Unknown("garbled_token_answer") from None


def expiry(answer: dict[str, Any], now: datetime) -> datetime:
    """When the access token of a token answer or a placement POST expires, by our clock."""
    seconds = answer.get("expires_in") or LIFETIME
    return now.astimezone(UTC) + timedelta(seconds=max(0, min(int(float(seconds)), LIFETIME)))
