"""The errors of calls, named for what the caller does next.

BitrixError
├── NotRun       nothing happened: call again later
├── Unknown      the answer was lost: read before doing anything else
├── AccessLost   stop until a person acts
└── Refused      do not repeat this call; other calls may still work
"""

import uuid
from typing import Any

from b24app.bitrix import bounds


class BitrixError(Exception):
    """A call failed. `code` is the vendor's error code, cleaned; `request_id` is the id of the exchange."""

    request_id: uuid.UUID | None = None

    def __init__(self, code: str = "", detail: str = "") -> None:
        self.code = bounds.code(code)
        self.detail = bounds.text(detail, bounds.LONGEST_DETAIL)
        super().__init__(self.code, self.detail)

    def __str__(self) -> str:
        # Without the detail: a portal's text may quote what it was sent.
        return self.code or type(self).__name__

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.detail), self.__dict__


class NotRun(BitrixError):
    """Nothing happened at the portal. Call again after `delay` seconds."""

    delay = 30.0

    def __init__(self, code: str = "", detail: str = "", delay: float | None = None) -> None:
        super().__init__(code, detail)
        if delay is not None:
            self.delay = delay


class TokenExpired(NotRun):
    """The access token has expired: renew it and call again."""

    delay = 0.0


class MaybeMoved(NotRun):
    """The portal may have moved: ask the authorization server where it is, and believe only that."""

    delay = 60.0


class Moved(MaybeMoved):
    """The portal's old address points to another one."""


class Unreachable(MaybeMoved):
    """No connection to the portal's address could be made."""

    delay = 30.0


class NoSuchMethod(NotRun):
    """The portal does not have the method. It may be an old box that understands the other dialect."""

    delay = 60.0


class TooManyRequests(NotRun):
    """The portal's request bucket is full."""

    delay = 10.0


class OperatingLimit(NotRun):
    """This method has used up its operating time at this portal."""

    delay = 60.0


class Unknown(BitrixError):
    """The answer was lost: the portal may have executed the call. Read before doing anything else."""


class AccessLost(BitrixError):
    """Stop: no call works until a person reinstalls, pays for, or opens the app again."""


class CredentialRefused(AccessLost):
    """This person's tokens no longer work. A new opening of the app brings new ones."""


class PersonBlocked(AccessLost):
    """The portal does not let this person use the app: they were dismissed, or have no access to it."""


class MethodDenied(AccessLost):
    """An administrator has forbidden the app this method. Waiting will not help this task."""


class NotInstalled(AccessLost):
    """The portal or the authorization server says that the app is not installed."""


class Refused(BitrixError):
    """Do not repeat this call; other calls may still work."""


# By lower-cased code, because its case differs between portals. The status alone is ambiguous: 401 may mean an expired
# token, a missing scope, an uninstalled app, a dismissed user or an unpaid app.
KINDS: dict[str, type[BitrixError]] = {
    "expired_token": TokenExpired,
    "query_limit_exceeded": TooManyRequests,
    "operation_time_limit": OperatingLimit,
    "connection_error": NotRun,  # the portal could not reach its authorization server
    "error_method_not_found": NoSuchMethod,
    "method_confirm_waiting": AccessLost,
    "method_confirm_denied": MethodDenied,
    "overload_limit": AccessLost,  # blocks the whole app; not a rate limit, although both have status 503
    "invalid_token": TokenExpired,  # used up by a refresh elsewhere, or unknown: a refresh shows which
    "no_auth_found": CredentialRefused,
    "authorization_error": PersonBlocked,
    "user_access_error": PersonBlocked,
    "invalid_grant": CredentialRefused,
    "bad_verification_code": CredentialRefused,
    "insufficient_scope": AccessLost,
    "invalid_scope": AccessLost,
    "access_denied": AccessLost,
    "allowed_only_intranet_user": PersonBlocked,
    "application_not_found": NotInstalled,
    "error_oauth": NotInstalled,
    "not_installed": NotInstalled,
    "payment_required": AccessLost,
    "portal_deleted": AccessLost,
    "wrong_client": AccessLost,
    "invalid_client": AccessLost,
    "internal_server_error": Unknown,
    "error_unexpected_answer": Unknown,
}


def error_for(code: str, detail: str = "") -> BitrixError:
    """The error for a vendor's code. An unknown code is Refused."""
    return KINDS.get(code.lower(), Refused)(code, detail)
