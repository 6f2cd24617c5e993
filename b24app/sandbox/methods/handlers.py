"""The checks of handler addresses and of other required arguments."""

from urllib.parse import urlsplit

from ..portal.errors import RestError


def check_handler(url: str) -> str:
    """The URL, if it may be a handler. A host without a dot is refused, except localhost (for the demo)."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise RestError(400, "ERROR_UNSUPPORTED_PROTOCOL", "Unsupported event handler protocol")
    host = parts.hostname or ""
    if "." not in host and host != "localhost":
        raise RestError(400, "ERROR_WRONG_HANDLER_URL", "Wrong handler URL")
    return url


def required(params: dict[str, object], name: str) -> str:
    """The text of an argument. Raises ERROR_ARGUMENT without it."""
    value = params.get(name)
    if not isinstance(value, str) or not value:
        raise RestError(400, "ERROR_ARGUMENT", f"Argument '{name}' is null or empty", argument=name)
    return value
