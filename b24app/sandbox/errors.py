"""What a portal refuses with."""

from typing import Any


class RestError(Exception):
    """Becomes `{"error": code, "error_description": description, ...extra}` with `status`."""

    def __init__(self, status: int, code: str, description: str, **extra: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.description = description
        self.extra = extra

    def body(self) -> dict[str, Any]:
        return {"error": self.code, "error_description": self.description, **self.extra}


class ConnectionCut(Exception):
    """The caller gets no answer at all."""


def access_denied(text: str = "Access denied!") -> RestError:
    return RestError(403, "ACCESS_DENIED", text)


def wrong_auth_type() -> RestError:
    return RestError(
        403,
        "WRONG_AUTH_TYPE",
        "Current authorization type is denied for this method Application context required",
    )
