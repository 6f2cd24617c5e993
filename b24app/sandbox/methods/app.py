"""Methods about the app itself and about the portal: app.info, scope, methods, method.get, server.time."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ..portal import clock
from ..portal.errors import RestError, access_denied
from ..wire import php
from ..wire.call import METHODS, Call, Params, method
from ..wire.commands import exists


@method("app.info")
def app_info(call: Call, params: Params) -> dict[str, Any]:
    installation, portal = call.installation, call.portal
    if installation is None:
        raise access_denied("Access denied! Application context required")
    family = portal.license_family
    return {
        "ID": installation.pk,
        "CODE": installation.app.code,
        "VERSION": installation.version,
        "STATUS": installation.status,
        "INSTALLED": installation.installed,
        "PAYMENT_EXPIRED": "Y" if installation.payment_expired else "N",
        "DAYS": None,
        "LANGUAGE_ID": portal.language,
        "LICENSE": f"{portal.language}_{family}",
        "LICENSE_TYPE": family,
        "LICENSE_FAMILY": family,
    }


@method("scope")
def scope(call: Call, params: Params) -> list[str]:
    """The scopes of the token; with `full`, all scopes of this portal."""
    upper = {name.upper(): value for name, value in params.items()}
    if php.truthy(upper.get("FULL")):
        return sorted({scope for found in METHODS.values() for scope in found.scopes})
    return sorted(call.scope)


@method("methods")
def methods(call: Call, params: Params) -> list[str]:
    """The methods that the token may call; with `scope`, those of one scope; with `full`, all of this portal."""
    upper = {name.upper(): value for name, value in params.items()}
    known = [found for name, found in METHODS.items() if exists(call.portal, name)]
    if php.truthy(upper.get("FULL")):
        return [found.name for found in known]
    if wanted := str(upper.get("SCOPE") or ""):
        return [found.name for found in known if wanted in found.scopes]
    return [found.name for found in known if found.permitted(call.scope)]


@method("method.get")
def method_get(call: Call, params: Params) -> dict[str, bool]:
    upper = {name.upper(): value for name, value in params.items()}
    name = str(upper.get("NAME") or "").lower()
    if not name:
        raise RestError(400, "ERROR_ARGUMENT", "Argument 'NAME' is null or empty", argument="NAME")
    is_known = exists(call.portal, name)
    return {"isExisting": is_known, "isAvailable": is_known and METHODS[name].permitted(call.scope)}


@method("server.time")
def server_time(call: Call, params: Params) -> str:
    return datetime.fromtimestamp(clock.seconds(), ZoneInfo(call.portal.zone)).isoformat(timespec="seconds")
