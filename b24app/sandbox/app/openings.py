"""The form that a portal posts to the app when a person opens it."""

import json
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.conf import settings

from ..portal import clock, knobs
from ..portal.models import Installation, Token, User
from . import tokens


@dataclass(frozen=True)
class Opening:
    """A form to post into the app's frame. `url` includes the query; `fields` are in the portal's order."""

    url: str
    query: dict[str, str]
    fields: dict[str, str]
    token: Token


def open_app(
    installation: Installation, user: User, placement: str = "DEFAULT", options: dict[str, Any] | None = None
) -> Opening:
    """Issue a new chain of tokens for `user` and build the form of one opening.

    An unfinished installation opens its installer page, whatever the placement is.
    """
    portal = installation.portal
    token = tokens.open_chain(installation, user)
    query = {
        "DOMAIN": portal.host,
        "PROTOCOL": "0",
        "LANG": user.language or portal.language,
        "APP_SID": secrets.token_hex(16),
    }
    url = handler_of(installation, placement)
    url += ("&" if "?" in url else "?") + urlencode(query)
    fields = posted_fields(installation, token, placement, options or {})
    return Opening(url, query, fields, token)


def handler_of(installation: Installation, placement: str) -> str:
    app = installation.app
    if not installation.installed:
        return app.origin + app.installer_path
    bound = installation.placements.filter(placement=placement).order_by("pk").first()
    return bound.handler if bound is not None else app.origin + app.main_path


def posted_fields(installation: Installation, token: Token, placement: str, options: dict[str, Any]) -> dict[str, str]:
    old = knobs.knob("old_post", installation.portal.key)
    fields = {
        "AUTH_ID": token.access,
        "AUTH_EXPIRES": str(round(token.expires - clock.seconds())),
        "REFRESH_ID": token.refresh,
    }
    if not old:
        fields["SERVER_ENDPOINT"] = f"http://{settings.OAUTH_HOST}/rest/"
        fields["APPLICATION_TOKEN"] = installation.application_token
        fields["APPLICATION_SCOPE"] = installation.scope
    fields["member_id"] = installation.portal.member_id
    fields["status"] = installation.status
    fields["PLACEMENT"] = placement
    if old and not options:
        fields["PLACEMENT_OPTIONS"] = "undefined"
    elif options:
        fields["PLACEMENT_OPTIONS"] = encoded(options)
    return fields


def encoded(options: dict[str, Any]) -> str:
    """JSON as PHP writes it: no spaces, escaped slashes, every scalar a string."""
    text = {key: value if isinstance(value, dict | list) else str(value) for key, value in options.items()}
    return json.dumps(text, separators=(",", ":")).replace("/", "\\/")
