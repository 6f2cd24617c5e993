"""Methods about the application itself."""

from typing import Any

from ..call import METHODS, Call, Params, method
from ..errors import access_denied


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
    return sorted(call.scope)


@method("methods")
def methods(call: Call, params: Params) -> list[str]:
    return [name for name, found in METHODS.items() if found.permitted(call.scope)]
