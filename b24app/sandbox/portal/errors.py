"""The errors of a portal: codes, statuses and texts."""

from typing import Any


class RestError(Exception):
    """An error answer: `{"error": code, "error_description": description, ...extra}` with HTTP status `status`."""

    def __init__(self, status: int, code: str, description: str, **extra: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.description = description
        self.extra = extra

    def body(self) -> dict[str, Any]:
        return {"error": self.code, "error_description": self.description, **self.extra}


class TimeUp(Exception):
    """The request has taken longer than the front end allows. Nothing more of it runs."""


class ConnectionCut(Exception):
    """The connection is dropped: the caller gets no answer."""


def access_denied(text: str = "Access denied!") -> RestError:
    return RestError(403, "ACCESS_DENIED", text)


def wrong_auth_type() -> RestError:
    return RestError(
        403,
        "WRONG_AUTH_TYPE",
        "Current authorization type is denied for this method Application context required",
    )


# Code -> (status, description), unless a fault overrides them.
USUAL: dict[str, tuple[int, str]] = {
    "NO_AUTH_FOUND": (401, "Wrong authorization data"),
    "invalid_token": (401, "Unable to get application by token"),
    "expired_token": (401, "The access token provided has expired."),
    "insufficient_scope": (401, "The request requires higher privileges than provided by the access token"),
    "user_access_error": (403, "The user does not have access to the application."),
    "ACCESS_DENIED": (403, "Access denied!"),
    "authorization_error": (401, "Unable to authorize user"),
    "APPLICATION_NOT_FOUND": (401, "Application not found"),
    "ERROR_OAUTH": (401, "Application not installed"),
    "PAYMENT_REQUIRED": (401, "Subscription has been ended"),
    "CONNECTION_ERROR": (401, "Error connecting to authorization server"),
    "OVERLOAD_LIMIT": (503, "REST API is blocked due to overload."),
    "QUERY_LIMIT_EXCEEDED": (503, "Too many requests"),
    "OPERATION_TIME_LIMIT": (429, "Method is blocked due to operation time limit."),
    "ERROR_METHOD_NOT_FOUND": (404, "Method not found!"),
    "METHOD_CONFIRM_WAITING": (401, "Waiting for confirmation"),
    "METHOD_CONFIRM_DENIED": (403, "Method call denied"),
    "PORTAL_DELETED": (403, "Portal was deleted"),
    "INTERNAL_SERVER_ERROR": (500, "Internal server error"),
    "ERROR_UNEXPECTED_ANSWER": (500, "Server returned an unexpected response"),
    "WRONG_ENCODING": (200, "Wrong request encoding"),
    "ALLOWED_ONLY_INTRANET_USER": (403, "Allowed only for intranet users"),
    "1048582": (400, "Action on the task is not allowed"),
    # Of the authorization server, which sends the code alone:
    "invalid_grant": (400, ""),
    "invalid_client": (400, ""),
    "invalid_scope": (403, ""),
    "wrong_client": (200, ""),
    "NOT_INSTALLED": (401, "Application not installed"),
}


def usual(code: str, status: int | None = None, description: str | None = None) -> RestError:
    """The error with this code. A code that is not in USUAL gets status 400 and no description."""
    usual_status, usual_description = USUAL.get(code, (400, ""))
    return RestError(status or usual_status, code, usual_description if description is None else description)
