"""What can go wrong with a call, named for what the caller does next.

BitrixError
├── NotRun       nothing happened: call again later
├── Unknown      the answer was lost: read before doing anything else
├── AccessLost   stop until a person acts
└── Refused      do not repeat this call; others may still work
"""

import uuid
from typing import Any


class BitrixError(Exception):
    """A call failed. `code` is the vendor's word for it, compared only here; `request_id` is the exchange's."""

    request_id: uuid.UUID | None = None

    def __init__(self, code: str = "", detail: str = "") -> None:
        self.code = code
        self.detail = detail[:500]
        super().__init__(code, self.detail)

    def __str__(self) -> str:
        # Never the detail: a portal's text may quote what it was sent.
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
    """The portal does not know the method: an old box, perhaps, which speaks the other dialect."""

    delay = 60.0


class TooManyRequests(NotRun):
    """The portal's bucket of requests is full."""

    delay = 10.0


class OperatingLimit(NotRun):
    """This method has used up its operating time at this portal."""

    delay = 60.0


class Unknown(BitrixError):
    """The answer was lost: it may have happened. Read before doing anything else."""


class AccessLost(BitrixError):
    """Stop: nothing works until a person reinstalls, pays or opens the app again."""


class CredentialRefused(AccessLost):
    """This person's tokens are dead; a fresh opening of the app brings new ones."""


class PersonBlocked(AccessLost):
    """The portal does not let this person use the app: dismissed, or without access to it."""


class MethodDenied(AccessLost):
    """An administrator has forbidden the app this method; waiting will not help the task it was meant for."""


class NotInstalled(AccessLost):
    """The app is gone from this portal, as whoever answered says."""


class Refused(BitrixError):
    """Do not repeat this call; others may still work."""


# By lower-cased code, as its case differs between portals. Trust codes before statuses: 401 alone stands for an
# expired token, a missing scope, an uninstalled app, a dismissed user and an unpaid one.
KINDS: dict[str, type[BitrixError]] = {
    "expired_token": TokenExpired,
    "query_limit_exceeded": TooManyRequests,
    "operation_time_limit": OperatingLimit,
    "connection_error": NotRun,  # the portal could not reach its authorization server
    "error_method_not_found": NoSuchMethod,
    "method_confirm_waiting": AccessLost,
    "method_confirm_denied": MethodDenied,
    "overload_limit": AccessLost,  # a block of the whole app, not a rate limit, though both come with 503
    "invalid_token": TokenExpired,  # spent by a refresh elsewhere, or unknown: a refresh tells
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
    """The error that a vendor's code means; what is not known is refused for good."""
    return KINDS.get(code.lower(), Refused)(code, detail)
